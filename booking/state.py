"""What the booking actor knows: bookings, their payment, their event. Frozen, standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import NamedTuple
from uuid import UUID

from common.contracts.statuses import BookingStatus, CancelReason, PaymentMethods, PaymentStatus
from common.contracts.values import Dispute, PaymentError

PENDING, CONFIRMED = BookingStatus.PENDING, BookingStatus.CONFIRMED
CANCELLED, FAILED = BookingStatus.CANCELLED, BookingStatus.FAILED


class Reason(StrEnum):
    """Why a booking is not, or no longer, confirmed."""

    SOLD_OUT = "sold_out"
    HOLD_EXPIRED = "hold_expired"
    PAYMENT_REJECTED = "payment_rejected"
    PAYMENT_MISMATCH = "payment_mismatch"
    PAYMENT_CANCELED = "payment_canceled"
    REFUNDED = "refunded"
    BY_CUSTOMER = CancelReason.BY_CUSTOMER.value
    BY_OPERATOR = CancelReason.BY_OPERATOR.value
    EVENT_CANCELLED = CancelReason.EVENT_CANCELLED.value


class Item(NamedTuple):
    ticket_type_id: UUID
    quantity: int
    unit_amount: int


class Booking(NamedTuple):
    """One booking. `closing` is the reason it will be cancelled for once Stripe has canceled its intent:
    `hold_expired` while expiring, another one while cancelling. `intent_to_cancel`: the booking has ended, and its
    intent may live: payment is asked to cancel it until it reports the intent's end. `payment_digest` is of the
    report that was applied under `payment_version`. `refund_id` is the last refund asked for;
    `refund_amount` is set while the payment actor has not taken it up; `refund_whole`: it is for all that is left,
    None where an earlier release has not said so. `refund_waiting` and `refund_error` are why a refund is not made
    yet and why the last one failed, `refund_failed_amount` how much of what failed can be tried again (None: not
    known), `refund_failed_whole` whether that is all that is left, however much that is.
    `refund_retry_id`: the last request of an operator, for the whole event, that it was tried again by.
    `payment_methods` is what its customer is offered, as the event was when it was booked.

    `attempts` to pay have failed; `last_attempt_at` is Stripe's time of the newest that gave its customer time to
    try again. `expires_at` is when the hold ends, `hold_until` its last moment, which nothing moves: set with the
    first news of the intent (of bookings from before there was one: with the next news). `revision` is that of the
    row as it was read, other after each write of it; None of a booking that was not read."""

    id: UUID
    owner: str
    event_id: UUID
    items: tuple[Item, ...]
    amount: int
    currency: str
    status: BookingStatus
    payment: PaymentStatus
    created_at: datetime
    updated_at: datetime
    version: int = 1
    reason: str | None = None
    intent_id: str | None = None
    client_secret: str | None = None
    last_error: PaymentError | None = None
    attempts: int = 0
    last_attempt_at: datetime | None = None
    payment_version: int = 0
    payment_digest: str | None = None
    amount_captured: int = 0
    amount_refunded: int = 0
    closing: str | None = None
    intent_to_cancel: bool = False
    refund_id: UUID | None = None
    refund_amount: int | None = None
    refund_whole: bool | None = None
    refund_waiting: str | None = None
    refund_error: str | None = None
    refund_failed_amount: int | None = None
    refund_failed_whole: bool = False
    refund_retry_id: UUID | None = None
    payment_methods: PaymentMethods = PaymentMethods.ALL
    expires_at: datetime | None = None
    hold_until: datetime | None = None
    settle_after: datetime | None = None
    settle_attempts: int = 0
    disputes: tuple[Dispute, ...] = ()
    revision: str | None = None

    @property
    def refund_owed(self) -> bool:
        return self.refund_amount is not None

    @property
    def cancelling(self) -> bool:
        return self.closing not in (None, Reason.HOLD_EXPIRED)


class Follow(Enum):
    """What a change asks of the payment actor."""

    CREATE_INTENT = "create_intent"
    CANCEL_INTENT = "cancel_intent"
    SYNC = "sync"
    REFUND = "refund"


class HoldPolicy(NamedTuple):
    """The times that the rules go by: how long a hold lasts, and at most with all that declines leave, what a
    decline leaves, how long an expired hold waits for Stripe before its seats are given back without an answer."""

    hold: timedelta = timedelta(minutes=15)
    hold_max: timedelta = timedelta(minutes=30)
    decline: timedelta = timedelta(minutes=10)
    grace: timedelta = timedelta(minutes=5)


class TicketType(NamedTuple):
    """`held` and `sold` count seats; `version` grows with each change of the row. `terms_token` is other after each
    change of the event's terms; 0 where it was not read."""

    id: UUID
    name: str
    unit_amount: int
    capacity: int
    held: int = 0
    sold: int = 0
    version: int = 0
    terms_token: UUID = UUID(int=0)

    @property
    def free(self) -> int:
        return self.capacity - self.held - self.sold


# From so long before an event slow payment methods are no longer offered, where it says nothing else: a SEPA debit
# takes up to 14 business days to answer, the slowest of them (https://docs.stripe.com/payments/sepa-debit).
SLOW_PAYMENTS_END = timedelta(weeks=3)


class Event(NamedTuple):
    """An event and its ticket types in their order. `called_off_at`: sales are closed for good. `sales_end` is None
    where it was not set: then it follows the start. `time_zone`: the venue's, by its IANA name.
    `slow_payments_until`: from then on only instant payment methods are offered; None: SLOW_PAYMENTS_END."""

    id: UUID
    name: str
    starts_at: datetime
    currency: str
    on_sale: bool
    max_per_booking: int
    ticket_types: Mapping[UUID, TicketType]
    cancel_until: datetime | None = None
    called_off_at: datetime | None = None
    payment_methods: PaymentMethods = PaymentMethods.INSTANT
    slow_payments_until: datetime | None = None
    version: int = 1
    time_zone: str = "UTC"
    sales_start: datetime | None = None
    sales_end: datetime | None = None
    sell_after_start: bool = False
    cancel_after_start: bool = False

    @property
    def sales_end_at(self) -> datetime | None:
        """From when on nothing is sold; None: there is no end."""
        if self.sales_end is not None:
            return self.sales_end
        return None if self.sell_after_start else self.starts_at

    def methods_offered(self, now: datetime) -> PaymentMethods:
        """What a customer who books now may pay by."""
        slow_until = self.slow_payments_until or self.starts_at - SLOW_PAYMENTS_END
        return self.payment_methods if now < slow_until else PaymentMethods.INSTANT


class SeatMove(NamedTuple):
    """What a change of a booking adds to the counters of one ticket type."""

    booking_id: UUID
    ticket_type_id: UUID
    held: int
    sold: int


class Bound(NamedTuple):
    """What new bookings were decided by, of one ticket type: its terms, at least `needed` free seats and, where a
    booking found too few, fewer than `below`."""

    ticket_type_id: UUID
    terms_token: UUID
    needed: int
    below: int | None


# What made a booking change: a message's type and id; or "time" alone, and nothing.
Cause = tuple[str, str]
