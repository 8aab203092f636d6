"""What clients send and get, beyond `common/contracts/resources.py`: models that validate and describe it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from common.contracts.currencies import LARGEST_AMOUNT
from common.contracts.messages import ItemRequest
from common.contracts.resources import (
    Amount,
    Currency,
    Event,
    Exponent,
    Page,
    Resource,
)
from common.contracts.statuses import PaymentMethods
from common.contracts.values import QUANTITY_MAX, TICKET_TYPES_MAX
from gateway.values import Capacity, Id, Label, Methods, Quantity, SoldIn, Time, TimeZone


class Body(BaseModel):
    """What a client sends: without unknown fields, and with values of exactly the declared types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


# These descriptions of an event's fields also hold for what operators send.
SHOWN = Event.model_fields
SALES_END = "From then on no seats are sold. Null: the start, even if it changes; with `sell_after_start` no end"
SELL_AFTER_START = "Sales may go on after the start; without it `sales_end` is the start at the latest"
CANCEL_AFTER_START = "Customers may cancel after the start; without it `cancel_until` is the start at the latest"


# --- requests ---------------------------------------------------------------------------------------------


class NewBookingItem(ItemRequest):
    model_config = Body.model_config

    ticket_type_id: Id
    quantity: Quantity


class NewBooking(Body):
    """Either `items`, or `quantity` alone where the event has one ticket type."""

    # The rule of `_one_form` for JSON Schema, which the fields alone cannot express.
    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": [one], "properties": {one: {"type": kind}, other: {"type": "null"}}}
                for one, kind, other in (("items", "array", "quantity"), ("quantity", "integer", "items"))
            ]
        }
    )

    event_id: Id
    items: tuple[NewBookingItem, ...] | None = Field(default=None, min_length=1, max_length=TICKET_TYPES_MAX)
    quantity: Quantity | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.items is None) == (self.quantity is None):
            raise ValueError("send either items or quantity")
        items = self.items or ()
        if len({item.ticket_type_id for item in items}) < len(items):
            raise ValueError("each ticket type may be named once")
        if sum(item.quantity for item in items) > QUANTITY_MAX:
            raise ValueError(f"a booking has at most {QUANTITY_MAX} seats")
        return self


class NewPaymentIntent(Body):
    """`amount` and `currency` may be left out; if sent they must be the booking's."""

    booking_id: Id
    amount: Annotated[int, Field(ge=0, le=LARGEST_AMOUNT)] | None = None
    currency: Currency | None = None


class NewEventTicketType(Body):
    name: Label
    unit_amount: Amount
    capacity: Capacity


class NewEvent(Body):
    name: Label
    starts_at: Time = Field(description="In the future")
    time_zone: TimeZone = "UTC"
    currency: SoldIn
    on_sale: bool = True
    sales_start: Time | None = Field(None, description=SHOWN["sales_start"].description)
    sales_end: Time | None = Field(default=None, description=SALES_END)
    sell_after_start: bool = Field(default=False, description=SELL_AFTER_START)
    max_per_booking: Quantity = 10
    cancel_until: Time | None = Field(
        default=None,
        description="Until when customers may cancel, the start at the latest; null: not at all",
    )
    cancel_after_start: bool = Field(default=False, description=CANCEL_AFTER_START)
    payment_methods: Methods = Field(PaymentMethods.INSTANT, description=SHOWN["payment_methods"].description)
    slow_payments_until: Time | None = Field(None, description=SHOWN["slow_payments_until"].description)
    ticket_types: tuple[NewEventTicketType, ...] = Field(min_length=1, max_length=TICKET_TYPES_MAX)


def left_out(factory: Callable[[], Any] = lambda: None, **about: Any) -> Any:
    """A field that may be left out, which is not the same as null: `model_fields_set` has what was sent."""
    return Field(default_factory=factory, **about)


class TicketTypePatch(Body):
    """With `id`: changes the fields that are sent. Without: adds a ticket type, which needs all other fields."""

    id: Id = left_out()
    name: Label = left_out()
    unit_amount: Amount = left_out()
    capacity: Capacity = left_out()

    @model_validator(mode="after")
    def _complete_when_new(self) -> Self:
        needed = {"name", "unit_amount", "capacity"}
        if "id" not in self.model_fields_set and not needed <= self.model_fields_set:
            raise ValueError("a new ticket type needs name, unit_amount and capacity")
        return self


class EventPatch(Body):
    """Changes the fields that are sent. A `sales_end` that was not set follows the start when that moves; a date
    that was set and does not fit the new start is refused, unless the request also sends another."""

    name: Label = left_out()
    starts_at: Time = left_out(description="If it changes: in the future")
    time_zone: TimeZone = left_out()
    on_sale: bool = left_out()
    sales_start: Time | None = left_out(description="null: immediately")
    sales_end: Time | None = left_out(description=SALES_END)
    sell_after_start: bool = left_out(description=SELL_AFTER_START)
    max_per_booking: Quantity = left_out()
    cancel_until: Time | None = left_out(description="null: customers may not cancel")
    cancel_after_start: bool = left_out(description=CANCEL_AFTER_START)
    payment_methods: Methods = left_out(description="Of later bookings")
    slow_payments_until: Time | None = left_out(description="null: three weeks before the start")
    ticket_types: tuple[TicketTypePatch, ...] = left_out(tuple, max_length=TICKET_TYPES_MAX)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        ids = [ticket_type.id for ticket_type in self.ticket_types if "id" in ticket_type.model_fields_set]
        if len(set(ids)) < len(ids):
            raise ValueError("each ticket type may be named once")
        return self


class NewRefund(Body):
    """Without `amount`, everything that is left is refunded."""

    amount: Annotated[int, Field(ge=1, le=LARGEST_AMOUNT)] | None = None


# --- answers ----------------------------------------------------------------------------------------------


class QueuedPayment(Resource):
    status: Literal["creating"] = "creating"


class QueuedBooking(Resource):
    """A booking that was requested and does not exist yet: it may still be refused, as when seats are sold out.

    Read it again at `Location`, or send the same request with the same Idempotency-Key.
    """

    id: UUID
    event_id: UUID
    items: tuple[ItemRequest, ...]
    status: Literal["pending"] = "pending"
    payment: QueuedPayment = QueuedPayment()
    version: Literal[0] = 0


class PaymentIntent(Resource):
    """What Stripe.js needs to let the customer pay."""

    booking_id: UUID
    payment_intent_id: str
    client_secret: str
    amount: Amount
    currency: Currency
    currency_exponent: Exponent = None
    publishable_key: str | None = None


class GuestToken(Resource):
    token: str
    subject: str
    expires_at: datetime


@cache
def page_of(kind: type[Resource]) -> type[Resource]:
    """The model of a page of `kind`, with a name of its own in the OpenAPI document."""
    return create_model(f"{kind.__name__}Page", __base__=Page[kind])  # type: ignore[valid-type]


class FieldError(Resource):
    loc: tuple[str | int, ...] = Field(description="Where: body, query, path or header, then the path to the value")
    msg: str
    type: str = Field(description="Which rule it breaks")
    limit: int | datetime | None = Field(default=None, description="The rule's limit, where it is a number or time")


class Problem(Resource):
    """RFC 9457: `code` is stable, `detail` is for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: tuple[FieldError, ...] | None = None


class HealthState(Resource):
    """One word; operators find the reasons on a port of their own."""

    status: Literal["live", "ready", "not ready"]


# --- over the WebSocket -----------------------------------------------------------------------------------


class Auth(Body):
    """The first message, if there was no Authorization header; later ones renew the token."""

    type: Literal["auth"]
    token: str


class Subscription(Body):
    """A subscription to a booking or to an event."""

    type: Literal["subscribe", "unsubscribe"]
    booking_id: Id | None = None
    event_id: Id | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.booking_id is None) == (self.event_id is None):
            raise ValueError("name either booking_id or event_id")
        return self


ClientMessage = Annotated[Auth | Subscription, Field(discriminator="type")]
