"""A booking at the gateway, which reads the fields that it needs and passes on the JSON of the booking actor."""

from __future__ import annotations

from typing import Any

import orjson

from common.contracts.codes import reference_of
from common.contracts.errors import (
    BookingCancelled,
    EventCancelled,
    HoldExpired,
    HoldfastError,
    PaymentCanceled,
    PaymentMismatch,
    PaymentRejected,
    SoldOut,
)
from common.contracts.resources import is_payable, is_undecided
from common.contracts.statuses import BookingStatus, PaymentStatus
from gateway.schemas import Booking

# The errors by reasons of `statuses.Reason`. For other reasons (cancelled on request, refunded), and for those
# that a later release adds, the error is BookingCancelled, whose `reason` names it.
ERRORS_BY_REASON: dict[str | None, type[HoldfastError]] = {
    kind.code: kind
    for kind in (EventCancelled, HoldExpired, PaymentCanceled, PaymentMismatch, PaymentRejected, SoldOut)
}
ENDED = (BookingStatus.CANCELLED, BookingStatus.FAILED)
# Cancellations on request: a client that repeats the request that made the booking then gets the booking.
CANCELLED_ON_REQUEST = ("by_customer", "by_operator")

Json = dict[str, Any]


def redacted(booking: Json) -> Json:
    """The booking as operators may see it, by the rule of `resources.Booking`. The booking actor sends operators no
    client secret, but one of the release before does."""
    return Booking.model_validate(completed(booking)).redacted().model_dump(mode="json")


def completed(booking: Json) -> Json:
    """The same booking, with what the gateway adds: the member by which clients tell it from a QueuedBooking, and
    its reference."""
    booking["kind"] = "booking"
    booking["reference"] = reference_of(booking["id"])
    return booking


class BookingView:
    """One version of a booking, as its owner may see it."""

    __slots__ = ("_encoded", "closing", "fields", "id", "payment", "reason", "status", "version")

    def __init__(self, fields: Json) -> None:
        """`fields`: the JSON of a `resources.Booking`. Raises KeyError when a field is missing."""
        self.fields = completed(fields)
        self.id: str = fields["id"]
        self.version: int = fields["version"]
        self.status: str = fields["status"]
        self.reason: str | None = fields.get("reason")
        self.closing: str | None = fields.get("closing")
        self.payment: Json = fields["payment"]
        self._encoded: bytes | None = None

    @property
    def json(self) -> bytes:
        """Encoded once, for all answers and sockets."""
        if self._encoded is None:
            self._encoded = orjson.dumps(self.fields)
        return self._encoded

    @property
    def undecided(self) -> bool:
        """Pending, and the client can do nothing yet, as the intent is being made."""
        return is_undecided(self.status, self.payment["status"])

    @property
    def queued(self) -> bool:
        """Undecided, and still wanted: it has a position in the queue in front of Stripe."""
        return self.undecided and self.closing is None

    @property
    def payable(self) -> bool:
        """The owner can pay, and the booking has the intent and the client secret to pay with."""
        shown = self.payment.get("intent_id") is not None and self.payment.get("client_secret") is not None
        return shown and is_payable(self.status, self.payment["status"], self.closing)

    @property
    def awaits_stripe(self) -> bool:
        """Pending, or its refund is under way: Stripe has not answered yet."""
        return self.status == BookingStatus.PENDING or self.payment["status"] == PaymentStatus.REFUND_PENDING

    def at_position(self, position: int | None) -> BookingView:
        """The same booking, with its queue position if that is known."""
        if position is None:
            return self
        return BookingView({**self.fields, "payment": {**self.payment, "queue_position": position}})

    def problem(self) -> HoldfastError | None:
        """The error that says how the booking ended; None for a pending or confirmed booking."""
        if self.status not in ENDED:
            return None
        return ERRORS_BY_REASON.get(self.reason, BookingCancelled)(booking_id=self.id, reason=self.reason)

    def refuse_ended(self, *, created: bool) -> None:
        """Raises the error that POST /bookings answers with instead of a booking that has ended.

        The request that `created` the booking always gets the error. A repeated request gets the booking if it was
        cancelled on request, or if money was paid for it, as the booking shows what becomes of the money.
        """
        problem = self.problem()
        shown = self.payment["status"] != PaymentStatus.NONE or self.reason in CANCELLED_ON_REQUEST
        if problem is not None and (created or not shown):
            raise problem
