"""What the interface sends and takes, by the names of its OpenAPI document, which says what each member means.

Texts that are open may have values that a later release adds; times are RFC 3339, in UTC.
`tests/clients/test_types.py` compares this with the document.
"""

from __future__ import annotations

from datetime import datetime
from typing import Generic, Literal, NotRequired, TypedDict, TypeVar

T = TypeVar("T")

# Where a time is sent.
TimeLike = str | datetime
BookingStatus = Literal["pending", "confirmed", "cancelled", "failed"]
PaymentStatus = Literal[
    "none", "creating", "awaiting", "action_required", "processing", "paid", "refund_pending",
    "partially_refunded", "refunded", "refund_failed", "disputed",
]  # fmt: skip
# Open: "sold_out", "hold_expired" and others.
BookingReason = str
PaymentMethods = Literal["instant", "all"]


class Booking(TypedDict):
    """One customer's seats at one event, from the request to its end."""

    kind: Literal["booking"]
    id: str
    owner: NotRequired[str | None]
    event_id: str
    items: list[Item]
    # In the currency's minor unit.
    amount: int
    currency: str
    currency_exponent: NotRequired[int | None]
    status: BookingStatus
    reason: NotRequired[BookingReason | None]
    payment: PaymentSummary
    version: int
    # Until when the seats are held, while the booking is pending.
    expires_at: NotRequired[str | None]
    hold_until: NotRequired[str | None]
    closing: NotRequired[BookingReason | None]
    created_at: str
    updated_at: str


class Item(TypedDict):
    ticket_type_id: str
    quantity: int
    unit_amount: int


class PaymentSummary(TypedDict):
    status: PaymentStatus
    intent_id: NotRequired[str | None]
    client_secret: NotRequired[str | None]
    last_error: NotRequired[PaymentError | None]
    # While `creating`: how many bookings wait in front of this one.
    queue_position: NotRequired[int | None]
    deferred: NotRequired[bool]
    attempts: NotRequired[int]
    amount_captured: NotRequired[int]
    amount_refunded: NotRequired[int]
    # These are for operators only.
    refund_waiting: NotRequired[str | None]
    refund_error: NotRequired[str | None]
    disputes: NotRequired[list[Dispute] | None]
    refunds: NotRequired[list[Refund] | None]
    rejection: NotRequired[Rejection | None]


class PaymentError(TypedDict):
    code: str
    decline_code: NotRequired[str | None]
    message: NotRequired[str | None]


class Dispute(TypedDict):
    id: str
    status: str
    amount: NotRequired[int | None]
    currency: NotRequired[str | None]
    reason: NotRequired[str | None]
    opened_at: NotRequired[str | None]
    respond_by: NotRequired[str | None]


class Refund(TypedDict):
    id: str
    amount: int
    status: str
    reason: NotRequired[str | None]
    pending_reason: NotRequired[str | None]
    by: NotRequired[str | None]
    by_hand: NotRequired[bool]
    stripe_refund_id: NotRequired[str | None]
    created_at: NotRequired[str | None]
    updated_at: NotRequired[str | None]


class Rejection(TypedDict):
    code: str
    message: NotRequired[str | None]
    param: NotRequired[str | None]
    request_id: NotRequired[str | None]


class PaymentIntent(TypedDict):
    """What Stripe.js needs to let the customer pay."""

    booking_id: str
    payment_intent_id: str
    client_secret: str
    amount: int
    currency: str
    currency_exponent: NotRequired[int | None]
    publishable_key: NotRequired[str | None]


class Transition(TypedDict):
    version: int
    from_status: BookingStatus | None
    to_status: BookingStatus
    reason: BookingReason | None
    payment_status: PaymentStatus
    cause_type: str
    cause_id: str
    by: NotRequired[str | None]
    at: str


class NewBooking(TypedDict):
    """Which seats: exactly one of `items` and, where the event has a single ticket type, `quantity`."""

    event_id: str
    items: NotRequired[list[NewBookingItem] | None]
    quantity: NotRequired[int | None]
    # At another price the request is refused with `price_changed`.
    expected_amount: NotRequired[int | None]


class NewBookingItem(TypedDict):
    ticket_type_id: str
    quantity: int


class NewRefund(TypedDict):
    # Left out: all that is left.
    amount: NotRequired[int | None]


class _Event(TypedDict):
    id: str
    name: str
    starts_at: str
    time_zone: NotRequired[str]
    currency: str
    currency_exponent: NotRequired[int | None]
    on_sale: bool
    sales_start: NotRequired[str | None]
    sales_end: NotRequired[str | None]
    sell_after_start: NotRequired[bool]
    cancel_after_start: NotRequired[bool]
    max_per_booking: int
    max_per_owner: NotRequired[int | None]
    cancel_until: NotRequired[str | None]
    called_off_at: NotRequired[str | None]
    payment_methods: NotRequired[PaymentMethods]
    slow_payments_until: NotRequired[str | None]
    version: NotRequired[int]
    # For `ifMatch`.
    terms_version: NotRequired[int | None]


class Event(_Event):
    """A performance for which seats are sold."""

    ticket_types: list[TicketType]


class TicketType(TypedDict):
    id: str
    name: str
    unit_amount: int
    capacity: int
    available: int


class OperatorsEvent(_Event):
    """An event as operators see it."""

    ticket_types: list[OperatorsTicketType]
    progress: NotRequired[Progress | None]
    refund_retry: NotRequired[RefundRetry | None]


class OperatorsTicketType(TicketType):
    held: int
    sold: int


class Progress(TypedDict):
    """How far the cancellation of an event has come."""

    bookings: int
    cancelled: int
    refunds: Refunds
    finished: bool


class Refunds(TypedDict):
    owed: int
    under_way: int
    waiting: NotRequired[int]
    succeeded: int
    failed: int
    disputed: int


class RefundRetry(TypedDict):
    id: str
    event_id: str
    asked_at: str
    by: NotRequired[str | None]
    refunds: int
    remaining: int
    under_way: int
    succeeded: int
    failed: int
    finished: bool


class EventChange(TypedDict):
    version: int
    what: str
    changes: list[FieldChange] | None
    by: str | None
    at: str


class FieldChange(TypedDict):
    field: str
    ticket_type_id: NotRequired[str | None]
    old: str | int | bool | None
    new: str | int | bool | None


class NewEvent(TypedDict):
    name: str
    starts_at: TimeLike
    time_zone: NotRequired[str]
    currency: str
    on_sale: NotRequired[bool]
    sales_start: NotRequired[TimeLike | None]
    sales_end: NotRequired[TimeLike | None]
    sell_after_start: NotRequired[bool]
    max_per_booking: NotRequired[int]
    max_per_owner: NotRequired[int | None]
    cancel_until: NotRequired[TimeLike | None]
    cancel_after_start: NotRequired[bool]
    payment_methods: NotRequired[PaymentMethods]
    slow_payments_until: NotRequired[TimeLike | None]
    ticket_types: list[NewEventTicketType]


class NewEventTicketType(TypedDict):
    name: str
    unit_amount: int
    capacity: int


class EventPatch(TypedDict):
    """Changes the members that are sent."""

    name: NotRequired[str]
    starts_at: NotRequired[TimeLike]
    time_zone: NotRequired[str]
    on_sale: NotRequired[bool]
    sales_start: NotRequired[TimeLike | None]
    sales_end: NotRequired[TimeLike | None]
    sell_after_start: NotRequired[bool]
    max_per_booking: NotRequired[int]
    max_per_owner: NotRequired[int | None]
    cancel_until: NotRequired[TimeLike | None]
    cancel_after_start: NotRequired[bool]
    payment_methods: NotRequired[PaymentMethods]
    slow_payments_until: NotRequired[TimeLike | None]
    ticket_types: NotRequired[list[TicketTypePatch]]


class TicketTypePatch(TypedDict):
    """With `id`: changes the members that are sent. Without: adds a ticket type."""

    id: NotRequired[str]
    name: NotRequired[str]
    unit_amount: NotRequired[int]
    capacity: NotRequired[int]


class GuestToken(TypedDict):
    """Who has the token owns what is booked with it."""

    token: str
    subject: str
    expires_at: str


class NewGuest(TypedDict):
    proof: NotRequired[str | None]


class RecoveryCode(TypedDict):
    code: str
    expires_at: str


class NewRevocation(TypedDict):
    """Exactly one of `jti` and `subject`."""

    jti: NotRequired[str | None]
    subject: NotRequired[str | None]
    expires_at: NotRequired[TimeLike | None]


class Revocation(TypedDict):
    jti: NotRequired[str | None]
    subject: NotRequired[str | None]
    revoked_at: str
    expires_at: str
    by: NotRequired[str | None]


class Page(TypedDict, Generic[T]):
    items: list[T]
    next_cursor: NotRequired[str | None]


class PageQuery(TypedDict):
    limit: NotRequired[int]
    cursor: NotRequired[str]


# `from` is no name in Python.
_From = TypedDict("_From", {"from": NotRequired[TimeLike]})


class EventsQuery(PageQuery, _From):
    sort: NotRequired[Literal["starts_at", "-starts_at", "name"]]
    to: NotRequired[TimeLike]
    q: NotRequired[str]
    on_sale: NotRequired[bool]


class AdminEventsQuery(PageQuery, _From):
    pass


class BookingsQuery(PageQuery):
    status: NotRequired[BookingStatus]
    event_id: NotRequired[str]


class AdminBookingsQuery(BookingsQuery):
    owner: NotRequired[str]
    payment: NotRequired[PaymentStatus]
    created_from: NotRequired[TimeLike]
    created_before: NotRequired[TimeLike]


class Problem(TypedDict):
    """RFC 9457, with the further members that some codes have."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: NotRequired[list[FieldError] | None]
    limited_by: NotRequired[str | None]
    scope: NotRequired[str | None]
    limit: NotRequired[int | None]
    sales_start: NotRequired[str | None]
    sales_end: NotRequired[str | None]
    amount: NotRequired[int | None]
    expected_amount: NotRequired[int | None]
    max_per_owner: NotRequired[int | None]
    currency: NotRequired[str | None]
    booking_id: NotRequired[str | None]
    reason: NotRequired[BookingReason | None]
    booking_status: NotRequired[BookingStatus | None]
    payment_status: NotRequired[PaymentStatus | None]
    closing: NotRequired[BookingReason | None]
    queue_position: NotRequired[int | None]
    etag: NotRequired[str | None]
    retry_after: NotRequired[int | None]


class FieldError(TypedDict):
    loc: list[str | int]
    msg: str
    type: str
    limit: NotRequired[int | str | None]
