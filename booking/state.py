"""What the booking actor knows: bookings, their payment, their event. Frozen, standard library only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from common.contracts.statuses import BookingStatus, EventStatus, PaymentMethods, PaymentStatus, Reason
from common.contracts.values import (
    BoxOfficeSale,
    Customer,
    Dispute,
    EventImage,
    PaymentError,
    Refund,
    Rejection,
    Venue,
)

PENDING, CONFIRMED = BookingStatus.PENDING, BookingStatus.CONFIRMED
CANCELLED, FAILED = BookingStatus.CANCELLED, BookingStatus.FAILED


class Item(NamedTuple):
    """Seats of one ticket type: the price of each, and what the booking's promo code takes off it."""

    ticket_type_id: UUID
    quantity: int
    unit_amount: int
    unit_discount: int = 0


class Seat(NamedTuple):
    """One of a booking's seats: of this ticket type with this number, counted from 1."""

    ticket_type_id: UUID
    number: int


class Booking(NamedTuple):
    """One booking. `closing` is the reason for which it will be cancelled once Stripe has canceled its intent:
    `hold_expired` while expiring, another one while cancelling. `intent_to_cancel`: the booking has ended, and its
    intent may be live: payment is asked to cancel it until it reports the intent's end. `payment_digest` is of the
    report that was applied with `payment_version`. `refund_id` is the last refund asked for; `refund_amount` is set
    until the payment actor has accepted it; `refund_whole`: it is for all that is left, None if an earlier release
    has not said so. `refund_waiting` and `refund_error` are why a refund is not made yet and why the last one
    failed, `refund_failed_amount` how much of what failed can be retried (None: not known), `refund_failed_whole`
    whether that is all that is left, whatever the amount. `refund_by`: the subject that asked for `refund_id`, None
    if the system owes it. `refunds`: all that payment has reported. `refund_retry_id`: the last request to retry an
    event's refunds by which this booking's refund was retried. `rejection`: why Stripe refused to make the intent.
    `payment_methods` are those that its customer is offered, from the event as it was when it was booked.
    `deferred`: what it asks of Stripe waits behind what others ask.

    `attempts` to pay have failed; `last_attempt_at` is Stripe's time of the newest one that gave its customer time
    to try again. `expires_at` is when the hold ends, `hold_until` its last moment, which nothing moves: set with
    the first report of the intent (of bookings from before `hold_until` existed: with the next one). `revision` is
    the row's as it was read, and differs after each write of the row; None if the booking was not read.

    `address`: a keyed hash of the address of a guest, None after some days. `counted`: as what its buyers' rows
    count it (see `buyers.py`); None if they do not. `cancelled_seats`: those that a refund has cancelled; `items`
    and `amount` stay as they were booked.

    `customer`: whom it is for; `customer_digest`: by which the customer in a repeated request is compared with that
    of the first one ("": there was none; None: not known, or erased). `description`: what is read of it at Stripe,
    from the event as it was when it was booked; None if it costs nothing. `box_office`: how an operator sold it, so
    that its money is not Stripe's; None otherwise. `code_id` and `code`: the promo code that it was made with, as
    its customer has written it; None: without one. What that takes off is in `items`, and `amount` is what is
    paid.

    `announce_from`: the first version of it whose change is still to be announced (see `announcements.py`); None if
    there is none."""

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
    refund_by: str | None = None
    payment_methods: PaymentMethods = PaymentMethods.ALL
    expires_at: datetime | None = None
    hold_until: datetime | None = None
    retry_at: datetime | None = None
    retry_count: int = 0
    disputes: tuple[Dispute, ...] = ()
    refunds: tuple[Refund, ...] = ()
    rejection: Rejection | None = None
    address: str | None = None
    counted: int | None = None
    deferred: bool = False
    customer: Customer | None = None
    customer_digest: str | None = None
    description: str | None = None
    box_office: BoxOfficeSale | None = None
    cancelled_seats: tuple[Seat, ...] = ()
    code_id: UUID | None = None
    code: str | None = None
    announce_from: int | None = None
    revision: str | None = None

    @property
    def discount(self) -> int:
        """What its promo code takes off all its items."""
        return sum(item.quantity * item.unit_discount for item in self.items)

    @property
    def items_left(self) -> tuple[Item, ...]:
        """Its items without the seats that were cancelled."""
        if not self.cancelled_seats:
            return self.items
        gone = Counter(seat.ticket_type_id for seat in self.cancelled_seats)
        return tuple(each._replace(quantity=each.quantity - gone[each.ticket_type_id]) for each in self.items)

    @property
    def refund_owed(self) -> bool:
        return self.refund_amount is not None

    @property
    def cancelling(self) -> bool:
        return self.closing not in (None, Reason.HOLD_EXPIRED)


class FollowUp(Enum):
    """What a change asks of the payment actor."""

    CREATE_INTENT = "create_intent"
    CANCEL_INTENT = "cancel_intent"
    SYNC = "sync"
    REFUND = "refund"


class HoldPolicy(NamedTuple):
    """The durations that the rules use: of a hold, of a hold with all the time that declines add, of the time that
    a decline leaves, and of the grace time, after which an expired hold's seats are released without an answer."""

    hold: timedelta = timedelta(minutes=15)
    hold_max: timedelta = timedelta(minutes=30)
    extension: timedelta = timedelta(minutes=10)
    grace: timedelta = timedelta(minutes=5)


class TicketType(NamedTuple):
    """`held` and `sold` count seats; `version` grows with each change of the row. `terms_token` is another one
    after each change of the event's terms; 0 if it was not read. `hidden`: only those see it, and can book it, who
    have a promo code that unlocks it; `version_when_hidden` was its version when it became so."""

    id: UUID
    name: str
    unit_amount: int
    capacity: int
    held: int = 0
    sold: int = 0
    version: int = 0
    terms_token: UUID = UUID(int=0)
    hidden: bool = False
    version_when_hidden: int = 0

    @property
    def free(self) -> int:
        return self.capacity - self.held - self.sold

    @property
    def public_version(self) -> int:
        """What of its version everybody may know: none of its changes while it is hidden, and never less."""
        return self.version_when_hidden if self.hidden else self.version


# From this long before an event slow payment methods are no longer offered, unless the event says otherwise: SEPA
# debits, the slowest, take up to 14 business days to answer (https://docs.stripe.com/payments/sepa-debit).
SLOW_PAYMENTS_END = timedelta(weeks=3)


class Event(NamedTuple):
    """An event and its ticket types in their order. `called_off_at`: when it was cancelled, and its sales ended for
    good. `sales_end` is None if it was not set: then it follows the start. `time_zone`: the venue's, by its IANA
    name. `slow_payments_until`: from then on only instant payment methods are offered; None: SLOW_PAYMENTS_END.
    `max_per_owner`: how many seats one owner may have; None: as many as the settings say. `status`: a draft is not
    there for anybody but operators. `content_version`: the version with which its content changed last; 0: it has
    none."""

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
    max_per_owner: int | None = None
    status: EventStatus = EventStatus.PUBLISHED
    content_version: int = 0

    @property
    def sales_end_at(self) -> datetime | None:
        """The time from which nothing is sold; None: there is no end."""
        if self.sales_end is not None:
            return self.sales_end
        return None if self.sell_after_start else self.starts_at

    def methods_offered(self, now: datetime) -> PaymentMethods:
        """The payment methods for a customer who books now."""
        slow_until = self.slow_payments_until or self.starts_at - SLOW_PAYMENTS_END
        return self.payment_methods if now < slow_until else PaymentMethods.INSTANT


class Content(NamedTuple):
    """What an event shows beside its terms; no rule of a booking depends on it. `description` is Markdown, and None
    also where it was not read."""

    description: str | None = None
    category: str | None = None
    venue: Venue | None = None
    image: EventImage | None = None


class SeatMove(NamedTuple):
    """What a change of a booking adds to the counters of one ticket type."""

    booking_id: UUID
    ticket_type_id: UUID
    held: int
    sold: int


class Bound(NamedTuple):
    """What decisions about new bookings depend on, for one ticket type: its terms, at least `needed` free seats
    and, if a booking found too few, fewer than `below`."""

    ticket_type_id: UUID
    terms_token: UUID
    needed: int
    below: int | None


class Cause(NamedTuple):
    """What made a booking change: a message's type and id; or, if only time did, "time" and an empty text. `by`:
    the subject that asked for it."""

    type: str = "time"
    id: str = ""
    by: str | None = None
