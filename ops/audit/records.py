"""What the audit compares, as it was read: one case for each booking, one row for each ticket type. Frozen.

Amounts are in the currency's minor unit. Our databases' UUIDs are texts here, as Stripe has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Seats:
    """A ticket type's counters, and the sums over its bookings; `capacity` is None if there is no such type."""

    id: str
    capacity: int | None
    held: int
    sold: int
    booked_held: int
    booked_sold: int


@dataclass(frozen=True, slots=True)
class Buyer:
    """What the row of a buyer says, and the sums over its bookings."""

    key: str
    seats: int
    holds: int
    booked_seats: int
    booked_holds: int


@dataclass(frozen=True, slots=True)
class PromoCode:
    """What the row of a promo code says, or that of an owner of its uses, and the sums over their bookings."""

    key: str
    held: int
    used: int
    uses_max: int | None
    booked_held: int
    booked_used: int


@dataclass(frozen=True, slots=True)
class CheckIn:
    """A check-in: the seat's number, how many seats of its ticket type the booking has, and the booking's status
    then; None if the booking has no such version."""

    id: str
    number: int
    seats: int
    status: str | None


@dataclass(frozen=True, slots=True)
class Unsent:
    """A mail that was given up (no other of its kind was sent since), a mail or webhook that nobody sends, or
    changes of a booking or event that nobody announces (no `kind`). `due`: since when it should be done."""

    rule: str
    id: str
    kind: str | None
    status: str
    due: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class EventHistory:
    """An event's version, and those of the changes in its history, in order."""

    id: str
    version: int
    changes: Sequence[int]


@dataclass(frozen=True, slots=True)
class Change:
    """One row of a booking's history."""

    version: int
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class Booking:
    """`items_amount` is the sum over its items; the other fields' meaning is in `booking/state.py`."""

    id: str
    status: str
    payment: str
    amount: int
    items_amount: int
    currency: str
    created_at: datetime
    intent_id: str | None = None
    payment_version: int = 0
    amount_captured: int = 0
    amount_refunded: int = 0
    refund_id: str | None = None
    refund_amount: int | None = None
    closing: str | None = None
    intent_to_cancel: bool = False
    version: int = 1
    retry_at: datetime | None = None
    box_office: bool = False
    history: tuple[Change, ...] = ()

    @property
    def unfinished(self) -> bool:
        return self.status == "pending" or self.refund_amount is not None or self.intent_to_cancel


@dataclass(frozen=True, slots=True)
class Payment:
    """The columns' meaning is in `payment/domain.py`."""

    booking_id: str
    status: str
    amount: int
    currency: str
    created_at: datetime
    intent_id: str | None = None
    amount_captured: int = 0
    amount_refunded: int = 0
    dispute_status: str | None = None
    cancel_requested: bool = False
    retry_at: datetime | None = None
    version: int = 0
    reported_version: int = 0
    report_retry_at: datetime | None = None
    return_after: datetime | None = None

    @property
    def reported(self) -> bool:
        """Whether booking has acknowledged the newest version."""
        return self.report_retry_at is None and self.reported_version == self.version


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund in payment's database; `pending_reason`: what it waits for, or why Stripe refuses it for now."""

    id: str
    amount: int
    status: str
    stripe_id: str | None = None
    retry_at: datetime | None = None
    pending_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """A payment intent at Stripe; `booking_id` is the one in its metadata."""

    id: str
    booking_id: str | None
    status: str
    amount: int
    received: int
    currency: str


@dataclass(frozen=True, slots=True)
class StripeRefund:
    """A refund at Stripe; `refund_id` is the one in its metadata, None if the refund was made by hand."""

    id: str
    intent_id: str
    refund_id: str | None
    amount: int
    status: str


@dataclass(frozen=True, slots=True)
class Stray:
    """A stray intent that payment knows; until it has ended, its retry time is `retry_at`."""

    intent_id: str
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """All that is known of one booking, from three sources that were read at different moments."""

    id: str
    booking: Booking | None = None
    payment: Payment | None = None
    refunds: tuple[Refund, ...] = ()
    intents: tuple[Intent, ...] = ()
    stripe_refunds: tuple[StripeRefund, ...] = ()
    strays: tuple[Stray, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not match. If two checks find it under the same rule and id, it is a mismatch."""

    rule: str
    id: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        return self.rule, self.id


@dataclass(frozen=True, slots=True)
class Verdict:
    """What does not match in one case, and the kinds of work under way in it."""

    findings: tuple[Finding, ...] = ()
    under_way: tuple[str, ...] = ()


@dataclass(slots=True)
class UnderWay:
    """How many bookings have one kind of work under way, with a few of their ids."""

    examples_max: int = 5
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, id: str) -> None:
        self.count += 1
        if len(self.examples) < self.examples_max:
            self.examples.append(id)


def tally(kinds: Iterable[str], id: str, into: dict[str, UnderWay]) -> None:
    """Count `id` under each of `kinds`."""
    for kind in kinds:
        into.setdefault(kind, UnderWay()).add(id)
