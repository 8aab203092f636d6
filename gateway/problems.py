"""Problem documents as clients see them: RFC 9457, with the further members that some codes have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from common.contracts import errors
from common.contracts.errors import HoldfastError
from common.contracts.open_enums import BookingReason, ProblemCode
from common.contracts.resources import Resource
from common.contracts.statuses import BookingStatus, PaymentStatus

_ENDED = (
    errors.SoldOut, errors.PaymentRejected, errors.PaymentMismatch, errors.PaymentCanceled, errors.HoldExpired,
    errors.EventCancelled, errors.BookingCancelled,
)  # fmt: skip
# The further members that the problem documents of a code may have; other codes have none.
MEMBERS: Mapping[type[HoldfastError], tuple[str, ...]] = {
    **dict.fromkeys(_ENDED, ("booking_id", "reason")),
    errors.InvalidRequest: ("errors",),
    errors.Forbidden: ("scope",),
    errors.AmountOverLimit: ("limit",),
    errors.AmountUnderLimit: ("limit",),
    errors.AmountOffStep: ("limit",),
    errors.SalesNotStarted: ("sales_start",),
    errors.SalesEnded: ("sales_end",),
    errors.PriceChanged: ("amount", "expected_amount", "currency"),
    errors.OwnerLimitReached: ("max_per_owner",),
    errors.CodeNotValidYet: ("valid_from",),
    errors.CodeExpired: ("valid_until",),
    errors.CodeOwnerLimitReached: ("uses_per_owner",),
    errors.UsesBelowUsed: ("uses",),
    errors.TooManyHolds: ("retry_after",),
    errors.BookingPaused: ("retry_after",),
    errors.PreconditionFailed: ("etag",),
    errors.TicketUsed: ("ticket_id", "check_in_id", "used_at", "gate", "device"),
    errors.TicketCancelled: ("ticket_id",),
    errors.TicketOfAnotherEvent: ("ticket_id",),
    errors.CheckInUndone: ("ticket_id", "check_in_id"),
    errors.NothingToPay: ("booking_status", "payment_status", "closing"),
    errors.TooManyRequests: ("retry_after", "limited_by"),
    errors.Unavailable: ("retry_after",),
    errors.Timeout: ("queue_position",),
}


def _member(name: str, meaning: str) -> Any:
    """A member that only some codes have, which its description names."""
    codes = sorted(kind.code for kind, members in MEMBERS.items() if name in members)
    return Field(default=None, description=f"{meaning}. With {', '.join(f'`{code}`' for code in codes)}")


class FieldError(Resource):
    """One value of a request that is not valid."""

    loc: tuple[str | int, ...] = Field(description="Where: body, query, path or header, then the way to the value")
    msg: str = Field(description="What is wrong, for people")
    type: str = Field(description="Which rule it breaks. Open: rules may be added")
    limit: int | datetime | None = Field(
        default=None, description="What the rule allows, where it is a number or time"
    )


class Members(Resource):
    """The further members of all codes."""

    errors: tuple[FieldError, ...] | None = _member("errors", "Every value that is not valid")
    limited_by: str | None = _member(
        "limited_by",
        "Which limit: `address`, `subject`, `guests`, `sockets_per_subject`, `sockets_per_address`, "
        "`wasted_bookings_per_subject`, `wasted_bookings_per_address`, `wrong_codes_per_subject` or "
        "`wrong_codes_per_address`",
    )
    scope: str | None = _member("scope", "The scope that the token lacks, where one would do")
    limit: int | None = _member("limit", "What an amount may be at most, must be at least, or be a multiple of")
    sales_start: datetime | None = _member("sales_start", "When the sale starts")
    sales_end: datetime | None = _member("sales_end", "When the sale ended")
    amount: int | None = _member("amount", "What the seats cost now, in the currency's minor unit")
    expected_amount: int | None = _member("expected_amount", "What the request expected")
    max_per_owner: int | None = _member("max_per_owner", "How many seats of the event one owner may have")
    valid_from: datetime | None = _member("valid_from", "From when on the promo code is good")
    valid_until: datetime | None = _member("valid_until", "Until when the promo code was good")
    uses_per_owner: int | None = _member(
        "uses_per_owner", "How many bookings one owner may make with the promo code"
    )
    uses: int | None = _member("uses", "How many bookings were made with the promo code")
    currency: str | None = _member("currency", "The currency of the amounts")
    booking_id: UUID | None = _member("booking_id", "The booking that has ended")
    reason: BookingReason | None = _member("reason", "Why it has ended")
    booking_status: BookingStatus | None = _member("booking_status", "How the booking stands")
    payment_status: PaymentStatus | None = _member("payment_status", "How its money stands")
    closing: BookingReason | None = _member("closing", "What it is about to be cancelled for; null: it is not")
    queue_position: int | None = _member(
        "queue_position", "How many bookings are before this one in the queue in front of Stripe, where it is known"
    )
    etag: str | None = _member("etag", "The entity tag of the version as it is now, as in the header `ETag`")
    ticket_id: UUID | None = _member("ticket_id", "The ticket")
    check_in_id: UUID | None = _member("check_in_id", "The check-in that came first, or this one")
    used_at: datetime | None = _member("used_at", "When somebody was let in by the ticket")
    gate: str | None = _member("gate", "Where that was; null: the scanner did not say so")
    device: str | None = _member("device", "By which scanner; null: it did not say so")
    retry_after: int | None = _member("retry_after", "Seconds to wait, as in the header `Retry-After`")


class Problem(Members):
    """RFC 9457: `code` is stable, `detail` is for people. Which further members there are depends on the code."""

    type: str = Field(description="`urn:holdfast:problem:` and the code")
    title: str = Field(description="What the code means, for people")
    status: int = Field(description="The HTTP status")
    code: ProblemCode
    detail: str = Field(description="What is wrong here, for people")


# A value of each member, for examples.
_EXAMPLES: Mapping[str, Any] = {
    "errors": [{"loc": ["body", "event_id"], "msg": "Field required", "type": "missing"}],
    "scope": "holdfast:finance",
    "limit": 50,
    "limited_by": "address",
    "sales_start": "2030-03-01T09:00:00Z",
    "sales_end": "2030-05-01T19:30:00Z",
    "amount": 9900,
    "expected_amount": 9000,
    "max_per_owner": 20,
    "valid_from": "2030-02-01T09:00:00Z",
    "valid_until": "2030-04-01T00:00:00Z",
    "uses_per_owner": 1,
    "uses": 19,
    "currency": "eur",
    "booking_id": "018f2b6e-1f5a-5c3d-9e21-5b7c8d9e0f12",
    "booking_status": "confirmed",
    "payment_status": "paid",
    "closing": None,
    "queue_position": 41,
    "etag": '"7"',
    "ticket_id": "5f4c8f0e-6a57-5d2b-8f43-9a1b2c3d4e61",
    "check_in_id": "7a1c8f0e-6a57-5d2b-8f43-9a1b2c3d4e62",
    "used_at": "2030-05-01T18:58:03Z",
    "gate": "North",
    "device": "scanner 4",
    "retry_after": 3,
}


def examples(kinds: Iterable[type[HoldfastError]]) -> dict[str, Any]:
    """A problem document of each code, as OpenAPI's `components/examples` have it."""
    return {kind.code: {"summary": kind.title, "value": _example(kind)} for kind in kinds}


def _example(kind: type[HoldfastError]) -> dict[str, Any]:
    reason = kind.code if kind is not errors.BookingCancelled else "by_operator"
    values = {**_EXAMPLES, "reason": reason}
    return {
        "type": f"urn:holdfast:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "code": kind.code,
        "detail": kind.title,
        **{name: values[name] for name in MEMBERS.get(kind, ())},
    }


def described(kind: type[HoldfastError]) -> str:
    """The code in one line: what it means, and which further members it has."""
    members = ", ".join(f"`{name}`" for name in MEMBERS.get(kind, ()))
    return f"`{kind.code}`: {kind.title}" + (f" (with {members})" if members else "")
