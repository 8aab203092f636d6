"""What booking receives."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, TypeAdapter

from common.contracts.currencies import LARGEST_AMOUNT
from common.contracts.messages.base import (
    BOOKING_COMMANDS,
    BOOKING_DOOR,
    BOOKING_PAYMENTS,
    BOOKING_QUERIES,
    Message,
    OfBooking,
)
from common.contracts.resources import CAPACITY_MAX, Amount, Currency, Name, Resource
from common.contracts.statuses import (
    BookingStatus,
    CancelReason,
    EventStatus,
    IntentStatus,
    MailKind,
    PaymentMethods,
    PaymentStatus,
)
from common.contracts.values import (
    CHECK_INS_MAX,
    PROMO_CODE_MAX,
    PROMO_CODES_MAX,
    QUANTITY_MAX,
    TICKET_TYPES_MAX,
    BoxOfficeSale,
    Customer,
    PaymentState,
    Venue,
)

# --- booking.commands -------------------------------------------------------------------------------------


class OperatorRequest(Resource):
    """By which a repeated request is recognized: one row for each.

    `operation` is the method and the path, with the id in it; `key` the Idempotency-Key, None without one;
    `content_hash` the SHA-256 of the body, which detects another request under the same key.
    """

    subject: str
    operation: str
    key: str | None = None
    content_hash: str


class OperatorCommand(Message, stream=BOOKING_COMMANDS):
    """A command of operators. `request` is None from a gateway of the previous release, and for customers.

    `if_match`: the versions one of which the changed object must have (If-Match); None: any.
    """

    request: OperatorRequest | None = None
    if_match: tuple[int, ...] | None = None

    @property
    def requester(self) -> str | None:
        return None if self.request is None else self.request.subject


class ItemRequest(Resource):
    """How many seats of which ticket type; without `ticket_type_id` of the event's only one."""

    ticket_type_id: UUID | None = Field(default=None, description="The ticket type")
    quantity: int = Field(ge=1, le=QUANTITY_MAX, description="How many seats")


class CreateBooking(OfBooking, type="booking.create", stream=BOOKING_COMMANDS):
    """`address`: a keyed hash of the address that a guest asks from; None for others, and from older gateways.
    `expected_amount`: no booking is made at another price; None: at any price. It is a precondition, and no
    part of what identifies the request: a booking that is there already is the answer, whatever is expected.
    `customer`: None also from older gateways."""

    owner: str
    event_id: UUID
    items: tuple[ItemRequest, ...]
    address: str | None = Field(default=None, max_length=32)
    expected_amount: int | None = None
    customer: Customer | None = None

    @property
    def requester(self) -> str | None:
        return self.owner


class CreateBookingWithCode(CreateBooking, type="booking.create_with_code"):
    """The same by a promo code, as the customer has written it. A message of its own: a process that does not know
    of codes would sell at the full price."""

    code: str = Field(max_length=PROMO_CODE_MAX)


class JoinWaitingList(Message, type="waiting_list.join", stream=BOOKING_COMMANDS):
    """Somebody waits for seats of a sold-out ticket type; without `ticket_type_id` of the event's only one.
    `entry_id` follows from the owner and the Idempotency-Key. `address`: as in CreateBooking. `customer`: whom the
    booking is for that will be offered."""

    entry_id: UUID
    owner: str
    event_id: UUID
    ticket_type_id: UUID | None = None
    quantity: int = Field(ge=1, le=QUANTITY_MAX)
    address: str | None = Field(default=None, max_length=32)
    customer: Customer | None = None

    @property
    def requester(self) -> str | None:
        return self.owner


class LeaveWaitingList(Message, type="waiting_list.leave", stream=BOOKING_COMMANDS):
    """The owner of an entry waits no longer. An offer is declined by cancelling its booking instead."""

    entry_id: UUID
    owner: str

    @property
    def requester(self) -> str | None:
        return self.owner


class SellSeats(OperatorCommand, type="booking.sell"):
    """An operator has sold seats, or gives them away: the booking is confirmed at once, without Stripe. Whether the
    event is on sale just now, and how many seats one owner may have, does not matter. `owner`: whose booking it is
    to be."""

    booking_id: UUID
    owner: str
    event_id: UUID
    items: tuple[ItemRequest, ...]
    sale: BoxOfficeSale
    expected_amount: int | None = None
    customer: Customer | None = None


class OwnersCommand(OperatorCommand):
    """A command of the booking's owner, which `owner` must be; or, with None, of operators for any booking."""

    booking_id: UUID
    owner: str | None

    @property
    def requester(self) -> str | None:
        return super().requester if self.owner is None else self.owner


class CancelBooking(OwnersCommand, type="booking.cancel"):
    reason: CancelReason


class SetCustomer(OwnersCommand, type="booking.set_customer"):
    """Somebody says whom a booking is for. Stripe is not asked again: what it was asked under one idempotency key
    stays."""

    customer: Customer


class RequestPayment(OfBooking, type="booking.request_payment", stream=BOOKING_COMMANDS):
    """The owner wants to pay: the reply has what Stripe.js needs. Amount and currency must be right if sent."""

    owner: str
    amount: int | None = None
    currency: str | None = None

    @property
    def requester(self) -> str | None:
        return self.owner


class NewTicketType(Resource):
    id: UUID
    name: Name
    unit_amount: Amount
    capacity: int = Field(ge=0, le=CAPACITY_MAX)
    hidden: bool = False


class CreateEvent(OperatorCommand, type="event.create"):
    event_id: UUID
    name: Name
    starts_at: AwareDatetime
    currency: Currency
    on_sale: bool
    max_per_booking: int
    cancel_until: AwareDatetime | None
    time_zone: str = "UTC"
    sales_start: AwareDatetime | None = None
    sales_end: AwareDatetime | None = None
    sell_after_start: bool = False
    cancel_after_start: bool = False
    payment_methods: PaymentMethods = PaymentMethods.INSTANT
    slow_payments_until: AwareDatetime | None = None
    max_per_owner: int | None = None
    status: EventStatus = EventStatus.PUBLISHED
    description: str | None = None
    category: str | None = None
    venue: Venue | None = None
    ticket_types: tuple[NewTicketType, ...] = Field(max_length=TICKET_TYPES_MAX)


class TicketTypeChange(Resource):
    """None leaves a value unchanged. `new`: this id adds a ticket type (true) or changes one of the event's
    (false); with None, from a gateway of the previous release, an id that the event does not have adds one."""

    id: UUID
    new: bool | None = None
    name: Name | None = None
    unit_amount: Amount | None = None
    capacity: int | None = Field(default=None, ge=0, le=CAPACITY_MAX)
    hidden: bool | None = None


class EventChanges(Resource):
    """Only the fields that were sent (`model_fields_set`) change; only `cancel_until`, `sales_start`, `sales_end`,
    `slow_payments_until`, `max_per_owner`, `description`, `category` and `venue` may be set to None."""

    name: Name | None = None
    starts_at: AwareDatetime | None = None
    on_sale: bool | None = None
    max_per_booking: int | None = Field(default=None, ge=1, le=QUANTITY_MAX)
    max_per_owner: int | None = Field(default=None, ge=1)
    cancel_until: AwareDatetime | None = None
    time_zone: str | None = None
    sales_start: AwareDatetime | None = None
    sales_end: AwareDatetime | None = None
    sell_after_start: bool | None = None
    cancel_after_start: bool | None = None
    payment_methods: PaymentMethods | None = None
    slow_payments_until: AwareDatetime | None = None
    status: EventStatus | None = None
    description: str | None = None
    category: str | None = None
    venue: Venue | None = None


class UpdateEvent(OperatorCommand, type="event.update"):
    """Only the fields in `changes` and these ticket types change."""

    event_id: UUID
    changes: EventChanges
    ticket_types: tuple[TicketTypeChange, ...] = ()


class SetEventImage(OperatorCommand, type="event.set_image"):
    """The event has this image from now on. `data`: a WebP that the gateway has made of what the operator sent, in
    base64; None: the event has no image any more."""

    event_id: UUID
    data: str | None
    width: int = Field(default=0, ge=0)
    height: int = Field(default=0, ge=0)


class CodeTerms(Resource):
    """What a promo code does, how often and when it is good; only the fields that were sent (`model_fields_set`)
    change."""

    percent_off: int | None = Field(default=None, ge=1, le=100)
    amount_off: int | None = Field(default=None, ge=1, le=LARGEST_AMOUNT)
    ticket_types: tuple[UUID, ...] = Field(default=(), max_length=TICKET_TYPES_MAX)
    unlocks: tuple[UUID, ...] = Field(default=(), max_length=TICKET_TYPES_MAX)
    uses_max: int | None = Field(default=None, ge=1, le=CAPACITY_MAX)
    uses_per_owner: int | None = Field(default=None, ge=1, le=CAPACITY_MAX)
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    active: bool = True


class NewPromoCode(Resource):
    id: UUID
    code: str = Field(min_length=1, max_length=PROMO_CODE_MAX)


class CreatePromoCodes(OperatorCommand, type="event.create_promo_codes"):
    """The event has these codes from now on, which all have the same terms: all of them, or none if one exists."""

    event_id: UUID
    codes: tuple[NewPromoCode, ...] = Field(min_length=1, max_length=PROMO_CODES_MAX)
    terms: CodeTerms


class UpdatePromoCode(OperatorCommand, type="event.update_promo_code"):
    """Only the fields that were sent change, for bookings that are made from then on."""

    event_id: UUID
    code_id: UUID
    changes: CodeTerms


class CancelEvent(OperatorCommand, type="event.cancel"):
    event_id: UUID


class RetryRefunds(OperatorCommand, type="event.retry_refunds"):
    """Retry all failed refunds of an event. `retry_id` makes that happen once only."""

    event_id: UUID
    retry_id: UUID


class RefundBooking(OperatorCommand, type="booking.refund"):
    """An operator refunds `amount`, or all that is left when it is None, once only by `refund_id`."""

    booking_id: UUID
    refund_id: UUID
    amount: int | None = Field(default=None, ge=1)


class RefundTickets(RefundBooking, type="booking.refund_tickets"):
    """An operator cancels these tickets, and refunds `amount`, or what they cost when it is None. A message of its
    own: a process that does not know of tickets would refund all that is left."""

    ticket_ids: tuple[UUID, ...] = Field(min_length=1)


class ResendMail(OperatorCommand, type="booking.resend_mail"):
    """An operator wants a mail sent, to whom the booking is for now, whether or not there was one before."""

    booking_id: UUID
    mail_id: UUID
    kind: MailKind


class EraseCustomers(OperatorCommand, type="customer.erase"):
    """Erase the customers with this email, whatever its case, or those of this owner's bookings. `erasure_id` makes
    that one piece of work."""

    erasure_id: UUID
    email: str | None = None
    subject: str | None = None


class RevokeTokens(OperatorCommand, type="token.revoke"):
    """Refuse the tokens whose `claim` has this value: the one with this id (`jti`), or those of this subject
    (`sub`) that were issued until now. `expires_at`: when they end by themselves."""

    claim: Literal["jti", "sub"]
    value: str
    expires_at: AwareDatetime


class KeepRecoveryCode(Message, type="guest.keep_recovery_code", stream=BOOKING_COMMANDS):
    """A guest has a new recovery code, which replaces the one made before: the reply has its end. Only the guest
    has the code itself. `made_at`, by the time of Redis, orders the codes of one guest."""

    owner: str
    code_hash: str = Field(min_length=64, max_length=64)
    made_at: AwareDatetime


class UseRecoveryCode(Message, type="guest.use_recovery_code", stream=BOOKING_COMMANDS):
    """Somebody has the code with this hash, and wants to be its guest again: the reply has its `owner`.

    By `request_hash`, the SHA-256 of the code's hash and the Idempotency-Key, the request that has used the code is
    recognized when it is repeated.
    """

    code_hash: str = Field(min_length=64, max_length=64)
    request_hash: str = Field(min_length=64, max_length=64)


# --- booking.queries --------------------------------------------------------------------------------------


class GetBooking(OfBooking, type="booking.get", stream=BOOKING_QUERIES):
    """`owner` must be the booking's owner; None for an operator."""

    owner: str | None


class FindGuest(Message, type="guest.find", stream=BOOKING_QUERIES):
    """Somebody has the link in a mail about the booking with this reference, and wants to be its guest again: the
    reply has the `owner`."""

    reference: str
    link_hash: str = Field(min_length=64, max_length=64)


class ListBookings(Message, type="booking.list", stream=BOOKING_QUERIES):
    """Newest first. None in a filter means any. `operator`: include what only operators see."""

    owner: str | None
    operator: bool = False
    status: BookingStatus | None = None
    event_id: UUID | None = None
    before: tuple[datetime, UUID] | None = None
    limit: int = Field(ge=1, le=200)
    payment: PaymentStatus | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    reference: str | None = None
    name: str | None = None
    email: str | None = None
    intent_id: str | None = None


class GetWaitingEntry(Message, type="waiting_list.get", stream=BOOKING_QUERIES):
    """An entry of a waiting list, with its position. `owner` must be the entry's owner; None for an operator."""

    entry_id: UUID
    owner: str | None


class ListWaitingEntries(Message, type="waiting_list.list", stream=BOOKING_QUERIES):
    """The entries of an `owner`, newest first; or, for operators, those of an event in the order in which they were
    made. `behind`: the number of the last entry of the page before."""

    owner: str | None = None
    event_id: UUID | None = None
    behind: int | None = None
    limit: int = Field(ge=1, le=200)


class ListMails(GetBooking, type="booking.list_mails"):
    """The mails about a booking, oldest first."""


class GetHistory(GetBooking, type="booking.history"):
    """The booking's transitions."""


class GetTickets(GetBooking, type="booking.tickets"):
    """The booking's tickets, in order. `after`: how many come before the page. `ticket_id`: this one alone."""

    after: int = Field(default=0, ge=0)
    limit: int = Field(ge=1, le=200)
    ticket_id: UUID | None = None


class GetSigningKeys(Message, type="ticket.keys", stream=BOOKING_QUERIES):
    """The public keys that check the codes of tickets."""


class ListEvents(Message, type="event.list", stream=BOOKING_QUERIES):
    """Ordered by start, then id. `after` is the last one of the page before. `starts_from`: none that starts
    earlier; when both are None, events that have not started. `operator`: the reply has OperatorsEvents, of all
    events or of those with this `status`; without it, published events alone. `versions_only`: of each event the
    reply has only `id`, `starts_at` and `version`; from a booking actor of the release before, the events
    themselves."""

    after: tuple[datetime, UUID] | None = None
    limit: int = Field(ge=1, le=200)
    operator: bool = False
    starts_from: AwareDatetime | None = None
    versions_only: bool = False
    status: EventStatus | None = None


class GetEvent(Message, type="event.get", stream=BOOKING_QUERIES):
    """`operator`: the reply is an OperatorsEvent, with the progress of a cancellation; only operators see a draft.
    `details`: the reply has the event's description, too. `code`: and the hidden ticket types that this promo code
    unlocks."""

    event_id: UUID
    operator: bool = False
    details: bool = False
    code: str | None = None


class GetQuote(Message, type="event.quote", stream=BOOKING_QUERIES):
    """What these seats would cost `owner`, with this promo code. Nothing is held."""

    owner: str
    event_id: UUID
    items: tuple[ItemRequest, ...]
    code: str | None = None
    expected_amount: int | None = None


class ListPromoCodes(Message, type="event.list_promo_codes", stream=BOOKING_QUERIES):
    """An event's codes. `after`: the code before the page; `code`: this one alone, however it is written."""

    event_id: UUID
    after: str | None = None
    code: str | None = None
    limit: int = Field(ge=1, le=200)


class GetEventImage(Message, type="event.get_image", stream=BOOKING_QUERIES):
    """The reply has the image's `hash` and, unless the gateway has it already, its `data` in base64. `known`: the
    hash of the image that the gateway has. `operator`: also that of a draft."""

    event_id: UUID
    known: str | None = None
    operator: bool = False


class ListRevocations(Message, type="token.list_revocations", stream=BOOKING_QUERIES):
    """Those that were asked for last come first. `before` is the last one of the page before."""

    before: tuple[datetime, UUID] | None = None
    limit: int = Field(ge=1, le=200)


class GetAttention(Message, type="booking.get_attention", stream=BOOKING_QUERIES):
    """What needs a person now, as far as booking knows it."""


class GetEventHistory(Message, type="event.history", stream=BOOKING_QUERIES):
    """The changes of an event, oldest first. `after`: the version of the last change of the page before."""

    event_id: UUID
    after: int | None = None
    limit: int = Field(ge=1, le=200)


# --- booking.door -----------------------------------------------------------------------------------------


class CheckInEntry(Resource):
    """A ticket that is shown at a door, by its `code` or by the ids of booking and ticket.

    `id` makes it one check-in of this ticket, however often it comes. `at`: when it was shown; None: now.
    """

    id: UUID
    code: str | None = None
    booking_id: UUID | None = None
    ticket_id: UUID | None = None
    at: AwareDatetime | None = None
    gate: str | None = None
    device: str | None = None


class CheckInTickets(Message, type="ticket.check_in", stream=BOOKING_DOOR):
    """Let people in by their tickets, each once. `event_id`: the event of the door; None: any."""

    by: str
    event_id: UUID | None = None
    entries: tuple[CheckInEntry, ...] = Field(max_length=CHECK_INS_MAX)

    @property
    def requester(self) -> str | None:
        return self.by


class UndoCheckIn(Message, type="ticket.undo_check_in", stream=BOOKING_DOOR):
    """This check-in was a mistake: its ticket lets somebody in again."""

    by: str
    check_in_id: UUID

    @property
    def requester(self) -> str | None:
        return self.by


class GetDoor(Message, type="ticket.door", stream=BOOKING_DOOR):
    """What scanners need to know of an event, and the tickets that have changed since a mark. `since`: the server,
    transaction and number of the last change that is known; None: all changes."""

    event_id: UUID
    since: tuple[str, int, int] | None = None
    limit: int = Field(ge=1, le=1000)


# --- booking.payments -------------------------------------------------------------------------------------


# The type that a payment's status alone gives.
_CREATED = "payment.intent_created"
_REPORTED = {
    IntentStatus.REQUIRES_ACTION: "payment.action_required",
    IntentStatus.PROCESSING: "payment.processing",
    IntentStatus.REQUIRES_CAPTURE: "payment.processing",
    IntentStatus.SUCCEEDED: "payment.succeeded",
    IntentStatus.CANCELED: "payment.canceled",
    IntentStatus.REJECTED: "payment.intent_rejected",
}
_STATE = TypeAdapter(PaymentState)
_DECLINED, _REFUND, _DISPUTE = "payment.declined", "payment.refund_updated", "payment.dispute_updated"
REPORT_TYPES = (_CREATED, *dict.fromkeys(_REPORTED.values()), _DECLINED, _REFUND, _DISPUTE)


class PaymentReport(OfBooking, type=REPORT_TYPES, stream=BOOKING_PAYMENTS):
    """How the payment of a booking stands, in one JSON object with the booking's id.

    Its type follows from the payment and names the most important fact for people; booking decides by the payment.
    """

    payment: PaymentState

    @property
    def type(self) -> str:
        payment = self.payment
        if payment.status is IntentStatus.SUCCEEDED and (payment.disputed or payment.disputes):
            return _DISPUTE
        if payment.status is IntentStatus.SUCCEEDED and payment.refund_ids:
            return _REFUND
        return _REPORTED.get(payment.status, _DECLINED if payment.last_error else _CREATED)

    @classmethod
    def of_json(cls, data: bytes) -> Self:
        of = OfBooking.__pydantic_validator__.validate_json(data)
        return cls(booking_id=of.booking_id, payment=_STATE.validator.validate_json(data))

    def as_json(self, *, exclude_unset: bool = False) -> bytes:
        """One flat object with all of the payment's fields, whether set or not."""
        payment = _STATE.serializer.to_json(self.payment)
        return b'{"booking_id":"%b",%b' % (str(self.booking_id).encode(), payment[1:])
