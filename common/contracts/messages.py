"""Every message that Holdfast's processes exchange: the one list of contracts.

Commands are imperative, events are past tense. Contracts only ever grow: a new field has a default, and a
consumer ignores what it does not know, so that old and new processes run side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, Self, cast
from uuid import UUID

from pydantic import AwareDatetime, Field, TypeAdapter

from common.contracts.limits import QUANTITY_MAX, TICKET_TYPES_MAX
from common.contracts.resources import (
    CAPACITY_MAX,
    Amount,
    Booking,
    Currency,
    Event,
    Name,
    OperatorsEvent,
    Resource,
)
from common.contracts.statuses import BookingStatus, CancelReason, IntentStatus, PaymentMethods, PaymentStatus
from common.contracts.values import PaymentState

BOOKING_COMMANDS = "booking.commands"
BOOKING_QUERIES = "booking.queries"
BOOKING_PAYMENTS = "booking.payments"
PAYMENT_INTENTS = "payment.intents"
PAYMENT_COMMANDS = "payment.commands"
PAYMENT_WEBHOOKS = "payment.webhooks"
NOTIFICATIONS = "notifications"

MAILBOXES = (
    BOOKING_COMMANDS,
    BOOKING_QUERIES,
    BOOKING_PAYMENTS,
    PAYMENT_INTENTS,
    PAYMENT_COMMANDS,
    PAYMENT_WEBHOOKS,
)

TYPES: dict[str, type[Message]] = {}


class Message(Resource):
    """One contract. `types` are its CloudEvents types, of which most have one; `stream` where it goes ("" for
    replies). A `patient` one has time: nobody waits for it, and whatever it would have done is done without it,
    only later."""

    types: ClassVar[tuple[str, ...]] = ()
    stream: ClassVar[str]
    patient: ClassVar[bool]

    def __init_subclass__(
        cls, *, type: str | tuple[str, ...] = (), stream: str = "", patient: bool = False, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        cls.patient = patient
        cls.stream = stream or getattr(cls, "stream", "")
        if type:
            cls.types = (type,) if isinstance(type, str) else type
            TYPES.update(dict.fromkeys(cls.types, cls))

    @property
    def type(self) -> str:
        """Its CloudEvents type."""
        return self.types[0]

    def topics(self) -> tuple[str, ...]:
        """Of news: what gateways listen for that want it."""
        return ()

    @classmethod
    def together(cls, messages: Sequence[Message]) -> Sequence[Message]:
        """What says the same as all of these, which are of this class: where many can be said in one, that one."""
        return messages

    @classmethod
    def of_json(cls, data: bytes) -> Self:
        """Raises ValidationError."""
        return cls.__pydantic_validator__.validate_json(data)  # type: ignore[no-any-return]


class Reply(Message, type="reply"):
    """The answer to a message that was asked: either `result` or an error's code, detail and extra."""

    result: Any = None
    error: str | None = None
    detail: str = ""
    extra: dict[str, Any] = Field(default_factory=dict)


# --- booking.commands -------------------------------------------------------------------------------------


class OperatorRequest(Resource):
    """Who asks for what: the row that a repeated request is known by.

    `operation` is the method and the path, with the id in it; `key` the Idempotency-Key, None where there was none;
    `content_hash` the SHA-256 of the body, by which another request under the same key is told.
    """

    subject: str
    operation: str
    key: str | None = None
    content_hash: str


class OperatorCommand(Message, stream=BOOKING_COMMANDS):
    """What an operator may send. `request` is None from a gateway of the release before, and for customers.

    `if_match`: the versions of which what is to be changed must have one (If-Match); None: any.
    """

    request: OperatorRequest | None = None
    if_match: tuple[int, ...] | None = None


class ItemRequest(Resource):
    """`ticket_type_id` may be left out where the event has one ticket type."""

    ticket_type_id: UUID | None = None
    quantity: int = Field(ge=1, le=QUANTITY_MAX)


class CreateBooking(Message, type="booking.create", stream=BOOKING_COMMANDS):
    booking_id: UUID
    owner: str
    event_id: UUID
    items: tuple[ItemRequest, ...]


class CancelBooking(OperatorCommand, type="booking.cancel"):
    """`owner` is whose booking it must be; None for an operator."""

    booking_id: UUID
    owner: str | None
    reason: CancelReason


class RequestPayment(Message, type="booking.request_payment", stream=BOOKING_COMMANDS):
    """The owner wants to pay: answers with what Stripe.js needs. Amount and currency must be right if sent."""

    booking_id: UUID
    owner: str
    amount: int | None = None
    currency: str | None = None


class NewTicketType(Resource):
    id: UUID
    name: Name
    unit_amount: Amount
    capacity: int = Field(ge=0, le=CAPACITY_MAX)


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
    ticket_types: tuple[NewTicketType, ...] = Field(max_length=TICKET_TYPES_MAX)


class TicketTypeChange(Resource):
    """None leaves a value as it is. `new`: whether a ticket type is added under this id or one of the event's is
    changed; None, from a gateway of the release before, means that an id which the event does not have adds one."""

    id: UUID
    new: bool | None = None
    name: Name | None = None
    unit_amount: Amount | None = None
    capacity: int | None = Field(default=None, ge=0, le=CAPACITY_MAX)


class EventChanges(Resource):
    """The fields that were sent (`model_fields_set`) are changed; only `cancel_until`, `sales_start`, `sales_end`
    and `slow_payments_until` may be set to None."""

    name: Name | None = None
    starts_at: AwareDatetime | None = None
    on_sale: bool | None = None
    max_per_booking: int | None = Field(default=None, ge=1, le=QUANTITY_MAX)
    cancel_until: AwareDatetime | None = None
    time_zone: str | None = None
    sales_start: AwareDatetime | None = None
    sales_end: AwareDatetime | None = None
    sell_after_start: bool | None = None
    cancel_after_start: bool | None = None
    payment_methods: PaymentMethods | None = None
    slow_payments_until: AwareDatetime | None = None


class UpdateEvent(OperatorCommand, type="event.update"):
    """Only what is in `changes`, and these ticket types, change."""

    event_id: UUID
    changes: EventChanges
    ticket_types: tuple[TicketTypeChange, ...] = ()


class CancelEvent(OperatorCommand, type="event.cancel"):
    event_id: UUID


class RetryRefunds(OperatorCommand, type="event.retry_refunds"):
    """All failed refunds of an event are to be tried again. `retry_id` makes it once only."""

    event_id: UUID
    retry_id: UUID


class RefundBooking(OperatorCommand, type="booking.refund"):
    """An operator gives money back: all that is left when `amount` is None. `refund_id` makes it once only."""

    booking_id: UUID
    refund_id: UUID
    amount: int | None = Field(default=None, ge=1)


# --- booking.queries --------------------------------------------------------------------------------------


class GetBooking(Message, type="booking.get", stream=BOOKING_QUERIES):
    """`owner` is whose booking it must be; None for an operator."""

    booking_id: UUID
    owner: str | None


class ListBookings(Message, type="booking.list", stream=BOOKING_QUERIES):
    """Newest first. None in a filter means any. `operator`: with what operators alone see."""

    owner: str | None
    operator: bool = False
    status: BookingStatus | None = None
    event_id: UUID | None = None
    before: tuple[datetime, UUID] | None = None
    limit: int = Field(ge=1, le=200)
    payment: PaymentStatus | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None


class GetHistory(GetBooking, type="booking.history"):
    """The booking's transitions."""


class ListEvents(Message, type="event.list", stream=BOOKING_QUERIES):
    """By start, then id. `after` is the last one of the page before. `starts_from`: none that starts earlier; where
    it and `after` are None, what is to come. `operator`: answered with OperatorsEvent."""

    after: tuple[datetime, UUID] | None = None
    limit: int = Field(ge=1, le=200)
    operator: bool = False
    starts_from: AwareDatetime | None = None


class GetEvent(Message, type="event.get", stream=BOOKING_QUERIES):
    """`operator`: answered with OperatorsEvent, and the progress of a calling off."""

    event_id: UUID
    operator: bool = False


# --- booking.payments -------------------------------------------------------------------------------------


# What a payment's status alone says.
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


class _OfBooking(Resource):
    booking_id: UUID


class PaymentReport(Message, type=REPORT_TYPES, stream=BOOKING_PAYMENTS):
    """How the payment of a booking stands, in one JSON object with the booking's id.

    Its type follows from the payment alone and says to people what is most worth knowing; the booking goes by the
    payment.
    """

    booking_id: UUID
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
        of = _OfBooking.__pydantic_validator__.validate_json(data)
        return cls(booking_id=of.booking_id, payment=_STATE.validator.validate_json(data))

    def as_json(self, *, exclude_unset: bool = False) -> bytes:
        """Flat, with all of the payment, whatever of it is set."""
        payment = _STATE.serializer.to_json(self.payment)
        return b'{"booking_id":"%b",%b' % (str(self.booking_id).encode(), payment[1:])


# --- payment.intents and payment.commands -----------------------------------------------------------------


class CreatePaymentIntent(Message, type="payment.create_intent", stream=PAYMENT_INTENTS):
    """An intent is wanted. The payment that is noted first keeps all of it: each request for it is the same."""

    booking_id: UUID
    event_id: UUID
    amount: Amount
    currency: Currency
    payment_methods: PaymentMethods = PaymentMethods.ALL


class PaymentCommand(Message, stream=PAYMENT_COMMANDS):
    """Something about the payment of a booking. The booking says by which intent it is paid, where it knows of one,
    and what it costs: payment finds that intent at Stripe when it has lost its row."""

    booking_id: UUID
    intent_id: str | None = None
    booking_amount: int | None = None
    booking_currency: str | None = None


class CancelPaymentIntent(PaymentCommand, type="payment.cancel_intent"):
    """No money shall come by it any more."""


class SyncPayment(PaymentCommand, type="payment.sync"):
    """Compare the payment with Stripe's own object. `decided`: an operator says that what is found there and
    belongs to no booking goes back, now and however much there is of it."""

    decided: bool = False


class RefundPayment(PaymentCommand, type="payment.refund"):
    """Give back all that is left (`whole`; `amount` is what the sender knows of it) or a part of `amount`, never in
    another amount. `refund_id` makes it once only. Of a sender that does not say whether it is `whole`, it is when
    `amount` is None or all that is left."""

    refund_id: UUID
    amount: int | None = None
    whole: bool | None = None


class PaymentReportApplied(Message, type="payment.report_applied", stream=PAYMENT_COMMANDS, patient=True):
    """The booking holds the payment's `version`: it has taken it in, or a higher one before. `conflict`: what it
    holds under that version is another report. Payment has lost rows when it is not above these, and goes above."""

    booking_id: UUID
    version: int
    conflict: bool = False

    @classmethod
    def together(cls, messages: Sequence[Message]) -> Sequence[Message]:
        reports = cast("tuple[PaymentReportApplied, ...]", tuple(messages))
        return messages if len(messages) == 1 else [PaymentReportsApplied(reports=reports)]


class PaymentReportsApplied(Message, type="payment.reports_applied", stream=PAYMENT_COMMANDS):
    """The same of many bookings."""

    reports: tuple[PaymentReportApplied, ...]


class BookingUnknown(Message, type="booking.unknown", stream=PAYMENT_COMMANDS):
    """There is no such booking as was reported of: the payment as it was reported."""

    booking_id: UUID
    version: int
    intent_id: str | None
    amount: int
    currency: str
    amount_captured: int


class CloseStrayIntent(Message, type="payment.close_stray_intent", stream=PAYMENT_COMMANDS):
    """An intent of ours by which its booking is not paid: cancel it, or give back what it has brought."""

    booking_id: UUID
    intent_id: str


# --- payment.webhooks -------------------------------------------------------------------------------------


class StripeEventReceived(Message, type="stripe.event_received", stream=PAYMENT_WEBHOOKS):
    """A verified event, raw as Stripe sent it: https://docs.stripe.com/api/events/object."""

    payload: str


# --- notifications ----------------------------------------------------------------------------------------


class BookingChanged(Message, type="booking.changed", stream=NOTIFICATIONS):
    """The whole booking, as its owner may see it."""

    owner: str
    booking: Booking

    def topics(self) -> tuple[str, ...]:
        return f"owner:{self.owner}", f"booking:{self.booking.id}"


class EventChanged(Message, type="event.changed", stream=NOTIFICATIONS):
    """The whole event, with how many seats are left; and as operators see it."""

    event: Event
    operators: OperatorsEvent | None = None

    def topics(self) -> tuple[str, ...]:
        return (f"event:{self.event.id}",)


class QueueMoved(Message, type="queue.moved", stream=NOTIFICATIONS):
    """The queue of bookings that wait for their intents, in the order in which they were asked for: place,
    created_at and id of some of them. The first ones are all there, behind them fewer and fewer, and the last one.

    `interval_ms`: how often this is told while anybody waits.
    """

    places: tuple[tuple[int, datetime, UUID], ...]
    total: int
    interval_ms: int

    def topics(self) -> tuple[str, ...]:
        return ("queue",)
