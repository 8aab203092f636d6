"""What the interface sends and takes, by the names of its OpenAPI document, which says what each member means.

Times are RFC 3339, in UTC. Written by `make docs`.
"""
# fmt: off

from __future__ import annotations

from datetime import datetime
from typing import Generic, Literal, NotRequired, TypedDict, TypeVar

T = TypeVar("T")

# Where a time is sent.
TimeLike = str | datetime
BookingStatus = Literal["pending", "confirmed", "cancelled", "failed"]
BoxOfficeMethod = Literal["complimentary", "cash", "card_terminal"]
DeliveryStatus = Literal["pending", "delivered", "failed"]
EventStatus = Literal["draft", "published", "archived"]
KnownBookingReason = Literal[
    "by_customer",
    "by_operator",
    "event_cancelled",
    "hold_expired",
    "payment_canceled",
    "payment_mismatch",
    "payment_rejected",
    "refunded",
    "sold_out",
]
KnownCheckInOutcome = Literal["cancelled", "invalid", "ok", "other_event", "undone", "used"]
KnownEventChangeKind = Literal["cancelled", "changed", "created"]
KnownKindOfAttention = Literal[
    "balance_too_low",
    "dead_letters",
    "dispute",
    "endpoint_disabled",
    "mail_not_sent",
    "money_without_booking",
    "payment_mismatch",
    "refund_by_hand",
    "refund_failed",
]
KnownKindOfMail = Literal["attention", "cancellation", "confirmation", "offer", "refund"]
KnownPartOfAttention = Literal["booking", "payment"]
KnownProblemCode = Literal[
    "already_waiting",
    "amount_mismatch",
    "amount_off_step",
    "amount_over_left",
    "amount_over_limit",
    "amount_under_limit",
    "booking_cancelled",
    "booking_paused",
    "cancellation_closed",
    "capacity_below_sold",
    "check_in_undone",
    "code_exists",
    "code_expired",
    "code_not_applicable",
    "code_not_found",
    "code_not_valid_yet",
    "code_owner_limit_reached",
    "code_used_up",
    "conflict",
    "event_cancelled",
    "event_not_found",
    "forbidden",
    "guest_proof_refused",
    "guest_token_required",
    "hold_expired",
    "idempotency_key_required",
    "idempotency_key_reused",
    "image_invalid",
    "internal_error",
    "invalid_request",
    "last_tickets",
    "link_invalid",
    "mail_not_possible",
    "malformed_request",
    "method_not_allowed",
    "not_found",
    "not_on_sale",
    "not_sold_out",
    "nothing_to_pay",
    "nothing_to_recover",
    "offer_made",
    "owner_limit_reached",
    "payload_too_large",
    "payment_canceled",
    "payment_mismatch",
    "payment_rejected",
    "precondition_failed",
    "price_changed",
    "quantity_over_limit",
    "recovery_code_invalid",
    "request_timeout",
    "sales_ended",
    "sales_not_started",
    "sold_out",
    "ticket_cancelled",
    "ticket_invalid",
    "ticket_of_another_event",
    "ticket_type_not_found",
    "ticket_type_required",
    "ticket_types_over_limit",
    "ticket_used",
    "timeout",
    "too_many_holds",
    "too_many_requests",
    "too_many_waiting",
    "unauthorized",
    "unavailable",
    "unsupported_media_type",
    "uses_below_used",
]
KnownTicketState = Literal["cancelled", "refunded", "used", "valid"]
KnownTransitionCause = Literal[
    "booking.cancel",
    "booking.create",
    "booking.create_with_code",
    "booking.refund",
    "booking.refund_tickets",
    "booking.sell",
    "booking.set_customer",
    "payment.action_required",
    "payment.canceled",
    "payment.declined",
    "payment.dispute_updated",
    "payment.intent_created",
    "payment.intent_rejected",
    "payment.processing",
    "payment.refund_updated",
    "payment.succeeded",
    "time",
]
KnownWebhookDisabledReason = Literal["by_operator", "failing", "gone"]
KnownWebhookType = Literal[
    "booking.cancelled",
    "booking.confirmed",
    "booking.customer_changed",
    "booking.disputed",
    "booking.failed",
    "booking.refund_failed",
    "booking.refunded",
    "event.cancelled",
    "event.changed",
    "event.created",
    "waiting_list.offered",
]
MailStatus = Literal["owed", "sent", "refused", "given_up", "dropped"]
PaymentMethods = Literal["instant", "all"]
PaymentStatus = Literal[
    "none",
    "creating",
    "awaiting",
    "action_required",
    "processing",
    "paid",
    "refund_pending",
    "partially_refunded",
    "refunded",
    "refund_failed",
    "disputed",
]
WaitingStatus = Literal["waiting", "offered", "accepted", "lapsed", "left", "closed"]
BookingReason = KnownBookingReason | str
CheckInOutcome = KnownCheckInOutcome | str
EventChangeKind = KnownEventChangeKind | str
KindOfAttention = KnownKindOfAttention | str
KindOfMail = KnownKindOfMail | str
PartOfAttention = KnownPartOfAttention | str
ProblemCode = KnownProblemCode | str
TicketState = KnownTicketState | str
TransitionCause = KnownTransitionCause | str
WebhookDisabledReason = KnownWebhookDisabledReason | str
WebhookType = KnownWebhookType | str


class Page(TypedDict, Generic[T]):
    """One page of any list."""

    items: list[T]
    next_cursor: NotRequired[str | None]


class PageQuery(TypedDict, total=False):
    """Of lists without further parameters."""

    limit: int
    cursor: str


class Attention(TypedDict):
    at: str
    items: list[AttentionItem]
    missing: list[PartOfAttention]


class AttentionExample(TypedDict):
    id: str
    booking_id: NotRequired[str | None]
    reference: NotRequired[str | None]
    event_id: NotRequired[str | None]
    amount: NotRequired[int | None]
    currency: NotRequired[str | None]
    since: str
    text: str


class AttentionItem(TypedDict):
    kind: KindOfAttention
    mailbox: NotRequired[str | None]
    count: int
    since: str
    to_do: str
    examples: list[AttentionExample]


class Booking(TypedDict):
    id: str
    owner: NotRequired[str | None]
    event_id: str
    items: list[Item]
    amount: int
    discount: NotRequired[int]
    code: NotRequired[str | None]
    currency: str
    currency_exponent: NotRequired[int | None]
    status: BookingStatus
    reason: NotRequired[BookingReason | None]
    payment: PaymentSummary
    version: int
    expires_at: NotRequired[str | None]
    hold_until: NotRequired[str | None]
    closing: NotRequired[BookingReason | None]
    created_at: str
    updated_at: str
    customer: NotRequired[Customer | None]
    kind: Literal["booking"]
    reference: str


class BookingPage(TypedDict):
    items: list[Booking]
    next_cursor: NotRequired[str | None]


class BookingTickets(TypedDict):
    booking_id: str
    reference: str
    holder: NotRequired[str | None]
    status: BookingStatus
    event: TicketEvent
    seats: list[TicketSeats]
    items: list[Ticket]
    next_cursor: NotRequired[str | None]


class CheckIn(TypedDict):
    id: str
    ticket_id: str
    booking_id: str
    event_id: str
    ticket_type_id: str
    number: int
    at: str
    gate: NotRequired[str | None]
    device: NotRequired[str | None]
    by: str
    undone_at: NotRequired[str | None]
    undone_by: NotRequired[str | None]


class CheckInResult(TypedDict):
    id: str
    outcome: CheckInOutcome
    ticket_id: NotRequired[str | None]
    check_in: NotRequired[CheckIn | None]


class CheckInResults(TypedDict):
    items: list[CheckInResult]


class Customer(TypedDict):
    name: str
    email: str
    locale: str
    phone: NotRequired[str | None]


class DescriptionPreview(TypedDict):
    description_html: str


class Dispute(TypedDict):
    id: str
    status: str
    amount: NotRequired[int | None]
    currency: NotRequired[str | None]
    reason: NotRequired[str | None]
    opened_at: NotRequired[str | None]
    respond_by: NotRequired[str | None]


class Door(TypedDict):
    event: DoorEvent
    keys: list[SigningKey]
    ticket_types: list[DoorTicketType]
    reset: bool
    items: list[DoorTicket]
    mark: str
    more: bool


class DoorEvent(TypedDict):
    id: str
    name: str
    starts_at: str
    starts_at_local: str
    time_zone: str
    called_off_at: NotRequired[str | None]
    version: int


class DoorTicket(TypedDict):
    ticket_id: str
    state: TicketState
    used_at: NotRequired[str | None]
    gate: NotRequired[str | None]


class DoorTicketType(TypedDict):
    id: str
    name: str
    sold: int
    checked_in: int


class Erasure(TypedDict):
    asked_at: str
    by: NotRequired[str | None]
    bookings: int


class Event(TypedDict):
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
    ticket_types: list[TicketType]
    max_per_booking: int
    max_per_owner: NotRequired[int | None]
    cancel_until: NotRequired[str | None]
    called_off_at: NotRequired[str | None]
    payment_methods: NotRequired[PaymentMethods]
    slow_payments_until: NotRequired[str | None]
    status: NotRequired[EventStatus]
    category: NotRequired[str | None]
    venue: NotRequired[Venue | None]
    image: NotRequired[EventImage | None]
    content_version: NotRequired[int]
    version: NotRequired[int]
    terms_version: NotRequired[int | None]


class EventChange(TypedDict):
    version: int
    what: EventChangeKind
    changes: list[FieldChange] | None
    by: str | None
    at: str


class EventChangePage(TypedDict):
    items: list[EventChange]
    next_cursor: NotRequired[str | None]


class EventDetails(TypedDict):
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
    ticket_types: list[TicketType]
    max_per_booking: int
    max_per_owner: NotRequired[int | None]
    cancel_until: NotRequired[str | None]
    called_off_at: NotRequired[str | None]
    payment_methods: NotRequired[PaymentMethods]
    slow_payments_until: NotRequired[str | None]
    status: NotRequired[EventStatus]
    category: NotRequired[str | None]
    venue: NotRequired[Venue | None]
    image: NotRequired[EventImage | None]
    content_version: NotRequired[int]
    version: NotRequired[int]
    terms_version: NotRequired[int | None]
    description: NotRequired[str | None]
    description_html: NotRequired[str | None]


class EventImage(TypedDict):
    url: str
    hash: str
    width: int
    height: int


class EventPage(TypedDict):
    items: list[Event]
    next_cursor: NotRequired[str | None]


class EventPatch(TypedDict):
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
    status: NotRequired[EventStatus]
    description: NotRequired[str | None]
    category: NotRequired[str | None]
    venue: NotRequired[NewVenue | None]
    ticket_types: NotRequired[list[TicketTypePatch]]


class FieldChange(TypedDict):
    field: str
    ticket_type_id: NotRequired[str | None]
    code: NotRequired[str | None]
    old: str | int | bool | None
    new: str | int | bool | None


class FieldError(TypedDict):
    loc: list[str | int]
    msg: str
    type: str
    limit: NotRequired[int | str | None]


class GuestToken(TypedDict):
    token: str
    subject: str
    expires_at: str


class Item(TypedDict):
    ticket_type_id: str
    quantity: int
    unit_amount: int
    unit_discount: NotRequired[int]


class ItemRequest(TypedDict):
    ticket_type_id: NotRequired[str | None]
    quantity: int


class LinkedGuest(TypedDict):
    reference: str
    token: str


class Mail(TypedDict):
    id: str
    kind: KindOfMail
    status: MailStatus
    recipient: str | None
    attempts: int
    error: str | None
    amount: int | None
    by: str | None
    made_at: str
    tried_at: str | None
    send_after: str | None
    ended_at: str | None


class MailPage(TypedDict):
    items: list[Mail]
    next_cursor: NotRequired[str | None]


class NewBooking(TypedDict):
    event_id: str
    items: NotRequired[list[NewBookingItem] | None]
    quantity: NotRequired[int | None]
    expected_amount: NotRequired[int | None]
    code: NotRequired[str | None]
    customer: NotRequired[NewCustomer | None]


class NewBookingItem(TypedDict):
    ticket_type_id: str
    quantity: int


class NewCheckIn(TypedDict):
    code: NotRequired[str | None]
    booking_id: NotRequired[str | None]
    ticket_id: NotRequired[str | None]
    at: NotRequired[TimeLike | None]
    gate: NotRequired[str | None]
    device: NotRequired[str | None]
    id: NotRequired[str | None]
    event_id: NotRequired[str | None]


class NewCheckIns(TypedDict):
    event_id: NotRequired[str | None]
    items: list[OfflineCheckIn]


class NewCustomer(TypedDict):
    name: str
    email: str
    locale: str
    phone: NotRequired[str | None]


class NewErasure(TypedDict):
    email: NotRequired[str | None]
    subject: NotRequired[str | None]


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
    status: NotRequired[Literal["draft", "published"]]
    description: NotRequired[str | None]
    category: NotRequired[str | None]
    venue: NotRequired[NewVenue | None]
    ticket_types: list[NewEventTicketType]


class NewEventTicketType(TypedDict):
    name: str
    unit_amount: int
    capacity: int
    hidden: NotRequired[bool]


class NewGuest(TypedDict):
    proof: NotRequired[str | None]


class NewMail(TypedDict):
    kind: Literal["confirmation", "cancellation", "refund"]


class NewPaymentIntent(TypedDict):
    booking_id: str
    amount: NotRequired[int | None]
    currency: NotRequired[str | None]


class NewPromoCodes(TypedDict):
    code: NotRequired[str | None]
    prefix: NotRequired[str | None]
    count: NotRequired[int | None]
    percent_off: NotRequired[int | None]
    amount_off: NotRequired[int | None]
    ticket_types: NotRequired[list[str]]
    unlocks: NotRequired[list[str]]
    uses_max: NotRequired[int | None]
    uses_per_owner: NotRequired[int | None]
    valid_from: NotRequired[TimeLike | None]
    valid_until: NotRequired[TimeLike | None]
    active: NotRequired[bool]


class NewQuote(TypedDict):
    event_id: str
    items: NotRequired[list[NewBookingItem] | None]
    quantity: NotRequired[int | None]
    expected_amount: NotRequired[int | None]
    code: NotRequired[str | None]


class NewRefund(TypedDict):
    amount: NotRequired[int | None]
    ticket_ids: NotRequired[list[str]]


class NewRepetition(TypedDict):
    since: TimeLike


class NewRevocation(TypedDict):
    jti: NotRequired[str | None]
    subject: NotRequired[str | None]
    expires_at: NotRequired[TimeLike | None]


class NewSale(TypedDict):
    event_id: str
    items: NotRequired[list[NewBookingItem] | None]
    quantity: NotRequired[int | None]
    expected_amount: NotRequired[int | None]
    method: BoxOfficeMethod
    note: NotRequired[str | None]
    owner: NotRequired[str | None]
    customer: NotRequired[NewCustomer | None]


class NewVenue(TypedDict):
    name: str
    address: NotRequired[str | None]
    postal_code: NotRequired[str | None]
    city: NotRequired[str | None]
    country: NotRequired[str | None]


class NewWaitingEntry(TypedDict):
    event_id: str
    ticket_type_id: NotRequired[str | None]
    quantity: int
    customer: NotRequired[NewCustomer | None]


class NewWebhookEndpoint(TypedDict):
    url: str
    description: NotRequired[str | None]
    types: NotRequired[list[Literal["booking.confirmed", "booking.cancelled", "booking.failed", "booking.refunded", "booking.refund_failed", "booking.disputed", "booking.customer_changed", "waiting_list.offered", "event.created", "event.changed", "event.cancelled"]] | None]
    enabled: NotRequired[bool]


class NewWebhookSecret(TypedDict):
    overlap_seconds: NotRequired[int]


class OfflineCheckIn(TypedDict):
    code: NotRequired[str | None]
    booking_id: NotRequired[str | None]
    ticket_id: NotRequired[str | None]
    at: NotRequired[TimeLike | None]
    gate: NotRequired[str | None]
    device: NotRequired[str | None]
    id: str


class OperatorsEvent(TypedDict):
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
    ticket_types: list[OperatorsTicketType]
    max_per_booking: int
    max_per_owner: NotRequired[int | None]
    cancel_until: NotRequired[str | None]
    called_off_at: NotRequired[str | None]
    payment_methods: NotRequired[PaymentMethods]
    slow_payments_until: NotRequired[str | None]
    status: NotRequired[EventStatus]
    category: NotRequired[str | None]
    venue: NotRequired[Venue | None]
    image: NotRequired[EventImage | None]
    content_version: NotRequired[int]
    version: NotRequired[int]
    terms_version: NotRequired[int | None]
    progress: NotRequired[Progress | None]
    refund_retry: NotRequired[RefundRetry | None]


class OperatorsEventDetails(TypedDict):
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
    ticket_types: list[OperatorsTicketType]
    max_per_booking: int
    max_per_owner: NotRequired[int | None]
    cancel_until: NotRequired[str | None]
    called_off_at: NotRequired[str | None]
    payment_methods: NotRequired[PaymentMethods]
    slow_payments_until: NotRequired[str | None]
    status: NotRequired[EventStatus]
    category: NotRequired[str | None]
    venue: NotRequired[Venue | None]
    image: NotRequired[EventImage | None]
    content_version: NotRequired[int]
    version: NotRequired[int]
    terms_version: NotRequired[int | None]
    progress: NotRequired[Progress | None]
    refund_retry: NotRequired[RefundRetry | None]
    description: NotRequired[str | None]
    description_html: NotRequired[str | None]


class OperatorsEventPage(TypedDict):
    items: list[OperatorsEvent]
    next_cursor: NotRequired[str | None]


class OperatorsTicketType(TypedDict):
    id: str
    name: str
    unit_amount: int
    capacity: int
    available: int
    hidden: NotRequired[bool]
    held: int
    sold: int
    reserved: NotRequired[int]
    waiting: NotRequired[int]


class OperatorsWaitingEntry(TypedDict):
    id: str
    event_id: str
    ticket_type_id: str
    quantity: int
    status: WaitingStatus
    reason: NotRequired[str | None]
    position: NotRequired[int | None]
    booking_id: NotRequired[str | None]
    offered_until: NotRequired[str | None]
    joined_at: str
    updated_at: str
    version: int
    owner: str
    customer: NotRequired[Customer | None]


class OperatorsWaitingEntryPage(TypedDict):
    items: list[OperatorsWaitingEntry]
    next_cursor: NotRequired[str | None]


class PaymentError(TypedDict):
    code: str
    decline_code: NotRequired[str | None]
    message: NotRequired[str | None]


class PaymentIntent(TypedDict):
    booking_id: str
    payment_intent_id: str
    client_secret: str
    amount: int
    currency: str
    currency_exponent: NotRequired[int | None]
    publishable_key: NotRequired[str | None]


class PaymentSummary(TypedDict):
    status: PaymentStatus
    intent_id: NotRequired[str | None]
    client_secret: NotRequired[str | None]
    last_error: NotRequired[PaymentError | None]
    queue_position: NotRequired[int | None]
    deferred: NotRequired[bool]
    refund_waiting: NotRequired[str | None]
    refund_error: NotRequired[str | None]
    disputes: NotRequired[list[Dispute] | None]
    attempts: NotRequired[int]
    amount_captured: NotRequired[int]
    amount_refunded: NotRequired[int]
    refunds: NotRequired[list[Refund] | None]
    rejection: NotRequired[Rejection | None]
    method: NotRequired[BoxOfficeMethod | None]
    note: NotRequired[str | None]


class PreviewedDescription(TypedDict):
    description: str


class Problem(TypedDict):
    errors: NotRequired[list[FieldError] | None]
    limited_by: NotRequired[str | None]
    scope: NotRequired[str | None]
    limit: NotRequired[int | None]
    sales_start: NotRequired[str | None]
    sales_end: NotRequired[str | None]
    available: NotRequired[int | None]
    amount: NotRequired[int | None]
    expected_amount: NotRequired[int | None]
    max_per_owner: NotRequired[int | None]
    valid_from: NotRequired[str | None]
    valid_until: NotRequired[str | None]
    uses_per_owner: NotRequired[int | None]
    uses: NotRequired[int | None]
    currency: NotRequired[str | None]
    booking_id: NotRequired[str | None]
    reason: NotRequired[BookingReason | None]
    booking_status: NotRequired[BookingStatus | None]
    payment_status: NotRequired[PaymentStatus | None]
    closing: NotRequired[BookingReason | None]
    queue_position: NotRequired[int | None]
    etag: NotRequired[str | None]
    ticket_id: NotRequired[str | None]
    check_in_id: NotRequired[str | None]
    used_at: NotRequired[str | None]
    gate: NotRequired[str | None]
    device: NotRequired[str | None]
    retry_after: NotRequired[int | None]
    type: str
    title: str
    status: int
    code: ProblemCode
    detail: str


class Progress(TypedDict):
    bookings: int
    cancelled: int
    refunds: Refunds
    finished: bool


class PromoCode(TypedDict):
    id: str
    event_id: str
    code: str
    percent_off: int | None
    amount_off: int | None
    ticket_types: list[str]
    unlocks: list[str]
    uses_max: int | None
    uses_per_owner: int | None
    valid_from: str | None
    valid_until: str | None
    active: bool
    held: int
    used: int


class PromoCodePage(TypedDict):
    items: list[PromoCode]
    next_cursor: NotRequired[str | None]


class PromoCodePatch(TypedDict):
    percent_off: NotRequired[int | None]
    amount_off: NotRequired[int | None]
    ticket_types: NotRequired[list[str]]
    unlocks: NotRequired[list[str]]
    uses_max: NotRequired[int | None]
    uses_per_owner: NotRequired[int | None]
    valid_from: NotRequired[TimeLike | None]
    valid_until: NotRequired[TimeLike | None]
    active: NotRequired[bool]


class PromoCodes(TypedDict):
    items: list[PromoCode]


class QueuedBooking(TypedDict):
    kind: Literal["queued"]
    id: str
    reference: str
    event_id: str
    items: list[ItemRequest]
    status: Literal["pending"]
    payment: NotRequired[QueuedPayment]
    version: Literal[0]


class QueuedPayment(TypedDict):
    status: Literal["creating"]


class Quote(TypedDict):
    event_id: str
    items: list[QuotedItem]
    subtotal: int
    discount: int
    amount: int
    currency: str
    currency_exponent: NotRequired[int | None]
    code: NotRequired[str | None]


class QuotedItem(TypedDict):
    ticket_type_id: str
    quantity: int
    unit_amount: int
    unit_discount: NotRequired[int]
    name: str


class RecoveredGuest(TypedDict):
    code: str


class RecoveryCode(TypedDict):
    code: str
    expires_at: str


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


class Refunds(TypedDict):
    owed: int
    under_way: int
    waiting: NotRequired[int]
    succeeded: int
    failed: int
    disputed: int


class Rejection(TypedDict):
    code: str
    message: NotRequired[str | None]
    param: NotRequired[str | None]
    request_id: NotRequired[str | None]


class Repeated(TypedDict):
    deliveries: int
    more: bool


class Revocation(TypedDict):
    jti: NotRequired[str | None]
    subject: NotRequired[str | None]
    revoked_at: str
    expires_at: str
    by: NotRequired[str | None]


class RevocationPage(TypedDict):
    items: list[Revocation]
    next_cursor: NotRequired[str | None]


class SecretWebhookEndpoint(TypedDict):
    id: str
    url: str
    description: NotRequired[str | None]
    types: NotRequired[list[WebhookType] | None]
    disabled_reason: NotRequired[WebhookDisabledReason | None]
    disabled_at: NotRequired[str | None]
    failing_since: NotRequired[str | None]
    secrets: list[WebhookSecret]
    version: int
    created_at: str
    updated_at: str
    secret: NotRequired[str | None]


class SigningKey(TypedDict):
    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    use: Literal["sig"]
    alg: Literal["EdDSA"]
    kid: str
    x: str


class SigningKeys(TypedDict):
    keys: list[SigningKey]


class Ticket(TypedDict):
    id: str
    ticket_type_id: str
    ticket_type: str
    number: int
    state: TicketState
    code: str | None
    used_at: NotRequired[str | None]
    check_in: NotRequired[CheckIn | None]
    svg: str
    png: str


class TicketEvent(TypedDict):
    id: str
    name: str
    starts_at: str
    starts_at_local: str
    time_zone: str
    called_off_at: NotRequired[str | None]
    version: int
    venue: NotRequired[Venue | None]


class TicketSeats(TypedDict):
    ticket_type_id: str
    name: str
    quantity: int


class TicketType(TypedDict):
    id: str
    name: str
    unit_amount: int
    capacity: int
    available: int
    hidden: NotRequired[bool]


class TicketTypePatch(TypedDict):
    id: NotRequired[str]
    name: NotRequired[str]
    unit_amount: NotRequired[int]
    capacity: NotRequired[int]
    hidden: NotRequired[bool]


class Transition(TypedDict):
    version: int
    from_status: BookingStatus | None
    to_status: BookingStatus
    reason: BookingReason | None
    payment_status: PaymentStatus
    cause_type: TransitionCause
    cause_id: str
    by: NotRequired[str | None]
    at: str


class TransitionPage(TypedDict):
    items: list[Transition]
    next_cursor: NotRequired[str | None]


class UndoneCheckIn(TypedDict):
    check_in_id: str


class Venue(TypedDict):
    name: str
    address: NotRequired[str | None]
    postal_code: NotRequired[str | None]
    city: NotRequired[str | None]
    country: NotRequired[str | None]


class WaitingEntry(TypedDict):
    id: str
    event_id: str
    ticket_type_id: str
    quantity: int
    status: WaitingStatus
    reason: NotRequired[str | None]
    position: NotRequired[int | None]
    booking_id: NotRequired[str | None]
    offered_until: NotRequired[str | None]
    joined_at: str
    updated_at: str
    version: int


class WaitingEntryPage(TypedDict):
    items: list[WaitingEntry]
    next_cursor: NotRequired[str | None]


class WebhookDelivery(TypedDict):
    id: str
    endpoint_id: str
    message_id: str
    type: WebhookType
    resource_id: str
    version: int
    happened_at: str
    made_at: str
    status: DeliveryStatus
    attempts: int
    next_attempt_at: NotRequired[str | None]
    last_attempt_at: NotRequired[str | None]
    response_status: NotRequired[int | None]
    response: NotRequired[str | None]
    error: NotRequired[str | None]


class WebhookDeliveryPage(TypedDict):
    items: list[WebhookDelivery]
    next_cursor: NotRequired[str | None]


class WebhookEndpoint(TypedDict):
    id: str
    url: str
    description: NotRequired[str | None]
    types: NotRequired[list[WebhookType] | None]
    disabled_reason: NotRequired[WebhookDisabledReason | None]
    disabled_at: NotRequired[str | None]
    failing_since: NotRequired[str | None]
    secrets: list[WebhookSecret]
    version: int
    created_at: str
    updated_at: str


class WebhookEndpointPage(TypedDict):
    items: list[WebhookEndpoint]
    next_cursor: NotRequired[str | None]


class WebhookEndpointPatch(TypedDict):
    url: NotRequired[str]
    description: NotRequired[str | None]
    types: NotRequired[list[Literal["booking.confirmed", "booking.cancelled", "booking.failed", "booking.refunded", "booking.refund_failed", "booking.disputed", "booking.customer_changed", "waiting_list.offered", "event.created", "event.changed", "event.cancelled"]] | None]
    enabled: NotRequired[bool]


class WebhookSecret(TypedDict):
    made_at: str
    ends_at: NotRequired[str | None]


ListEventsQuery = TypedDict(
    "ListEventsQuery",
    {
        "limit": int,
        "sort": Literal["starts_at", "-starts_at", "name"],
        "cursor": str,
        "from": TimeLike,
        "to": TimeLike,
        "q": str,
        "category": str,
        "on_sale": bool,
    },
    total=False,
)


class GetEventQuery(TypedDict, total=False):
    code: str


class GetEventImageQuery(TypedDict, total=False):
    v: str


class ListBookingsQuery(TypedDict, total=False):
    limit: int
    cursor: str
    status: BookingStatus
    event_id: str


class GetDoorQuery(TypedDict, total=False):
    since: str
    limit: int


AdminListEventsQuery = TypedDict(
    "AdminListEventsQuery",
    {
        "limit": int,
        "cursor": str,
        "status": EventStatus,
        "from": TimeLike,
    },
    total=False,
)


class ListPromoCodesQuery(TypedDict, total=False):
    limit: int
    cursor: str
    code: str


class AdminListBookingsQuery(TypedDict, total=False):
    limit: int
    cursor: str
    status: BookingStatus
    event_id: str
    owner: str
    payment: PaymentStatus
    created_from: TimeLike
    created_before: TimeLike
    reference: str
    name: str
    email: str
    intent: str


class ExportBookingsQuery(TypedDict, total=False):
    event_id: str
    status: BookingStatus
    payment: PaymentStatus
    created_from: TimeLike
    created_before: TimeLike


class ExportSeatsQuery(TypedDict, total=False):
    event_id: str
    status: BookingStatus
    payment: PaymentStatus
    created_from: TimeLike
    created_before: TimeLike


class ExportMoneyQuery(TypedDict, total=False):
    event_id: str
    status: BookingStatus
    payment: PaymentStatus
    created_from: TimeLike
    created_before: TimeLike


class ListWebhookDeliveriesQuery(TypedDict, total=False):
    limit: int
    cursor: str
    status: DeliveryStatus
