"""What clients send and get, beyond `common/contracts/resources.py`: models that validate and describe it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from common.contracts import resources, tickets
from common.contracts.currencies import LARGEST_AMOUNT
from common.contracts.messages import ItemRequest
from common.contracts.resources import (
    Amount,
    Currency,
    Event,
    Exponent,
    OperatorsEvent,
    Page,
    PromoCode,
    Resource,
)
from common.contracts.statuses import MailKind, PaymentMethods
from common.contracts.values import CHECK_INS_MAX, PROMO_CODES_MAX, QUANTITY_MAX, TICKET_TYPES_MAX, Customer
from common.contracts.webhooks import WebhookType
from gateway.values import (
    AmountOff,
    Capacity,
    Category,
    ClaimText,
    CodePrefix,
    Country,
    DescriptionText,
    Email,
    Id,
    Label,
    Locale,
    Methods,
    NewPromoCodeText,
    Percent,
    Phone,
    PromoCodeText,
    Quantity,
    SeatLimit,
    SoldBy,
    SoldIn,
    Status,
    Time,
    TimeZone,
    WebhookTypes,
    WebhookUrl,
)


class Body(BaseModel):
    """What a client sends: without unknown fields, and with values of exactly the declared types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


# Longer than AUTH_TOKEN_SECONDS may be.
REVOKED_FOR = timedelta(days=366)
PRICE = "The price of one seat, in the currency's minor unit"
CAPACITY = "How many seats there are, sold and held ones included"
REFERENCE = (
    "By what people name the booking to each other. It follows from the id; another booking may have the same"
)
# Characters: several times the tokens of the usual captchas.
PROOF_MAX = 8192
# Characters: a recovery code has 34, with its hyphens.
CODE_MAX = 100
# Characters: a ticket's code has 216.
TICKET_CODE_MAX = 400
# These descriptions of an event's fields also hold for what operators send.
SHOWN = Event.model_fields
WEBHOOK_TYPES_SENT = "What it gets; null: all, also types that later releases add"
DESCRIPTION = "Markdown (CommonMark). HTML, images, and links to anything but http, https and mailto are refused"
CATEGORY = "A label of your own, by which `GET /events` can be filtered"
CODE = "A promo code, as the customer writes it: case, spaces and hyphens do not count"
HIDDEN = "Only those see it, and can book it, who have a promo code that unlocks it"
SALES_END = "From then on no seats are sold. Null: the start, even if it changes; with `sell_after_start` no end"
SELL_AFTER_START = "Sales may go on after the start; without it `sales_end` is the start at the latest"
CANCEL_AFTER_START = "Customers may cancel after the start; without it `cancel_until` is the start at the latest"


# --- requests ---------------------------------------------------------------------------------------------


class NewCustomer(Body):
    """Whom a booking is for."""

    name: Label
    email: Email
    locale: Locale
    phone: Phone | None = Field(default=None, description="By E.164, with the `+`")

    @property
    def value(self) -> Customer:
        return Customer(self.name, self.email, self.locale, self.phone)


class NewBookingItem(ItemRequest):
    """How many seats of which ticket type."""

    model_config = Body.model_config

    ticket_type_id: Id = Field(description="The ticket type; each is named once")
    quantity: Quantity = Field(description="How many seats")


class SeatsWanted(Body):
    """Which seats: exactly one of `items` and, where the event has a single ticket type, `quantity`."""

    event_id: Id = Field(description="The event")
    items: tuple[NewBookingItem, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=TICKET_TYPES_MAX,
        description=f"How many seats of which ticket types, {QUANTITY_MAX} at most; not beside `quantity`",
    )
    quantity: Quantity | None = Field(
        default=None, description="How many seats of the event's only ticket type; not beside `items`"
    )
    expected_amount: Annotated[int, Field(ge=0, le=LARGEST_AMOUNT)] | None = Field(
        default=None,
        description="What all seats together cost as the customer was shown it, in the currency's minor unit: at "
        "another price the request is refused with `price_changed`, and no seats are held. A precondition, and no "
        "content: the same Idempotency-Key with another `expected_amount` is the same booking",
    )

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

    @property
    def wanted(self) -> tuple[ItemRequest, ...]:
        return (ItemRequest(quantity=self.quantity),) if self.quantity is not None else self.items or ()


class NewQuote(SeatsWanted):
    """Which seats: exactly one of `items` and, where the event has a single ticket type, `quantity`."""

    code: PromoCodeText | None = Field(default=None, description=CODE)


class NewBooking(SeatsWanted):
    """Which seats: exactly one of `items` and, where the event has a single ticket type, `quantity`."""

    code: PromoCodeText | None = Field(default=None, description=CODE)
    customer: NewCustomer | None = Field(
        default=None,
        description="Whom it is for. Stripe sends its receipt to `email` as it is here, also when the customer is "
        "changed later",
    )


class NewWaitingEntry(Body):
    """For which seats of a sold-out ticket type somebody waits."""

    event_id: Id = Field(description="The event")
    ticket_type_id: Id | None = Field(
        default=None, description="The ticket type; may be left out where the event has a single one"
    )
    quantity: Quantity = Field(description="How many seats, which are offered together")
    customer: NewCustomer | None = Field(
        default=None, description="Whom the booking is for that will be offered: as in `POST /bookings`"
    )


class NewSale(SeatsWanted):
    """What an operator sells or gives away, without Stripe."""

    method: SoldBy = Field(
        description="How it is paid: `cash`, or by `card_terminal`; `complimentary`: it costs nothing, whatever "
        "its seats cost"
    )
    note: Label | None = Field(
        default=None,
        description="What operators are to read with it, such as a receipt's number. It stays when the customer is "
        "erased: write no names into it",
    )
    owner: ClaimText | None = Field(
        default=None,
        description="The subject whose booking it is to be, and who sees it; left out: nobody",
    )
    customer: NewCustomer | None = Field(default=None, description="Whom it is for")


class NewGuest(Body):
    """What a new guest sends where this installation needs a proof; otherwise nothing, and a proof is ignored."""

    proof: str | None = Field(
        None,
        min_length=1,
        max_length=PROOF_MAX,
        description="What the installation's check has given to the client, as the token of a captcha",
    )


class RecoveredGuest(Body):
    """By what a guest comes back on another device."""

    code: str = Field(
        min_length=1,
        max_length=CODE_MAX,
        description="The recovery code, in upper or lower case, with or without the hyphens",
    )


class NewPaymentIntent(Body):
    """Which booking is to be paid. `amount` and `currency` may be left out; if sent they must be the booking's."""

    booking_id: Id = Field(description="The booking")
    amount: Annotated[int, Field(ge=0, le=LARGEST_AMOUNT)] | None = Field(
        default=None, description="What the booking costs, in the currency's minor unit"
    )
    currency: Currency | None = Field(default=None, description="The booking's currency")


class NewVenue(Body):
    """Where the event takes place."""

    name: Label
    address: Label | None = Field(default=None, description="Street and number")
    postal_code: Label | None = Field(default=None, description="As it is written there")
    city: Label | None = Field(default=None, description="The city or place")
    country: Country | None = Field(default=None, description="By ISO 3166-1, in two capital letters")


class NewEventTicketType(Body):
    """A kind of seat of the new event."""

    name: Label
    unit_amount: Amount = Field(description=PRICE)
    capacity: Capacity = Field(description=CAPACITY)
    hidden: bool = Field(default=False, description=HIDDEN)


class NewEvent(Body):
    """An event with its ticket types."""

    name: Label
    starts_at: Time = Field(description="In the future")
    time_zone: TimeZone = "UTC"
    currency: SoldIn
    on_sale: bool = Field(default=True, description=SHOWN["on_sale"].description)
    sales_start: Time | None = Field(None, description=SHOWN["sales_start"].description)
    sales_end: Time | None = Field(default=None, description=SALES_END)
    sell_after_start: bool = Field(default=False, description=SELL_AFTER_START)
    max_per_booking: Quantity = Field(default=10, description=SHOWN["max_per_booking"].description)
    max_per_owner: SeatLimit | None = Field(default=None, description=SHOWN["max_per_owner"].description)
    cancel_until: Time | None = Field(
        default=None,
        description="Until when customers may cancel, the start at the latest; null: not at all",
    )
    cancel_after_start: bool = Field(default=False, description=CANCEL_AFTER_START)
    payment_methods: Methods = Field(PaymentMethods.INSTANT, description=SHOWN["payment_methods"].description)
    slow_payments_until: Time | None = Field(None, description=SHOWN["slow_payments_until"].description)
    status: Literal["draft", "published"] = Field(
        default="published", description="`draft`: nobody but operators sees it until it is published"
    )
    description: DescriptionText | None = Field(default=None, description=DESCRIPTION)
    category: Category | None = Field(default=None, description=CATEGORY)
    venue: NewVenue | None = Field(default=None, description="Where it takes place")
    ticket_types: tuple[NewEventTicketType, ...] = Field(
        min_length=1, max_length=TICKET_TYPES_MAX, description=SHOWN["ticket_types"].description
    )


def left_out(factory: Callable[[], Any] = lambda: None, **about: Any) -> Any:
    """A field that may be left out, which is not the same as null: `model_fields_set` has what was sent."""
    return Field(default_factory=factory, **about)


class TicketTypePatch(Body):
    """With `id`: changes the fields that are sent. Without: adds a ticket type, which needs all other fields."""

    id: Id = left_out(description="The ticket type that changes")
    name: Label = left_out()
    unit_amount: Amount = left_out(description=f"{PRICE}, for bookings from now on")
    capacity: Capacity = left_out(description=CAPACITY)
    hidden: bool = left_out(description=HIDDEN)

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
    on_sale: bool = left_out(description=SHOWN["on_sale"].description)
    sales_start: Time | None = left_out(description="null: immediately")
    sales_end: Time | None = left_out(description=SALES_END)
    sell_after_start: bool = left_out(description=SELL_AFTER_START)
    max_per_booking: Quantity = left_out(description=SHOWN["max_per_booking"].description)
    max_per_owner: SeatLimit | None = left_out(description=SHOWN["max_per_owner"].description)
    cancel_until: Time | None = left_out(description="null: customers may not cancel")
    cancel_after_start: bool = left_out(description=CANCEL_AFTER_START)
    payment_methods: Methods = left_out(description="Of later bookings")
    slow_payments_until: Time | None = left_out(description="null: three weeks before the start")
    status: Status = left_out(
        description="A draft becomes `published`, and that `archived` and back. It becomes a `draft` again only "
        "while it has no booking"
    )
    description: DescriptionText | None = left_out(description=f"{DESCRIPTION}; null: none")
    category: Category | None = left_out(description=f"{CATEGORY}; null: none")
    venue: NewVenue | None = left_out(description="Where it takes place, as a whole; null: nowhere")
    ticket_types: tuple[TicketTypePatch, ...] = left_out(
        tuple, max_length=TICKET_TYPES_MAX, description="Changes of ticket types, and new ones"
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        ids = [ticket_type.id for ticket_type in self.ticket_types if "id" in ticket_type.model_fields_set]
        if len(set(ids)) < len(ids):
            raise ValueError("each ticket type may be named once")
        return self


class PreviewedDescription(Body):
    """A description that no event has yet."""

    description: DescriptionText = Field(description=DESCRIPTION)


# These descriptions of a promo code's fields also hold for what operators send.
OF_CODE = PromoCode.model_fields
TicketTypeIds = Annotated[tuple[Id, ...], Field(max_length=TICKET_TYPES_MAX)]


class NewPromoCodes(Body):
    """One code, by `code`, or many with the same terms, by `prefix` and `count`. What it does: `percent_off` or
    `amount_off`, `unlocks`, or both."""

    code: NewPromoCodeText | None = Field(default=None, description=OF_CODE["code"].description)
    prefix: CodePrefix | None = Field(
        default=None, description="What each code begins with, before a hyphen and 10 random characters"
    )
    count: Annotated[int, Field(ge=1, le=PROMO_CODES_MAX)] | None = Field(
        default=None, description=f"How many codes are made, {PROMO_CODES_MAX} at most; beside `prefix`"
    )
    percent_off: Percent | None = Field(default=None, description=OF_CODE["percent_off"].description)
    amount_off: AmountOff | None = Field(default=None, description=OF_CODE["amount_off"].description)
    ticket_types: TicketTypeIds = Field(default=(), description=OF_CODE["ticket_types"].description)
    unlocks: TicketTypeIds = Field(default=(), description=OF_CODE["unlocks"].description)
    uses_max: SeatLimit | None = Field(
        default=None,
        description="How many bookings may be made with the code, with each of many; null: any number",
    )
    uses_per_owner: SeatLimit | None = Field(default=None, description=OF_CODE["uses_per_owner"].description)
    valid_from: Time | None = Field(default=None, description=OF_CODE["valid_from"].description)
    valid_until: Time | None = Field(default=None, description=OF_CODE["valid_until"].description)
    active: bool = Field(default=True, description=OF_CODE["active"].description)

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.prefix is None) != (self.count is None) or (self.code is None) == (self.count is None):
            raise ValueError("send either code, or prefix and count")
        return self


class PromoCodePatch(Body):
    """Changes the fields that are sent, for bookings that are made from then on."""

    percent_off: Percent | None = left_out(description=OF_CODE["percent_off"].description)
    amount_off: AmountOff | None = left_out(description=OF_CODE["amount_off"].description)
    ticket_types: TicketTypeIds = left_out(tuple, description=OF_CODE["ticket_types"].description)
    unlocks: TicketTypeIds = left_out(tuple, description=OF_CODE["unlocks"].description)
    uses_max: SeatLimit | None = left_out(description=OF_CODE["uses_max"].description)
    uses_per_owner: SeatLimit | None = left_out(description=OF_CODE["uses_per_owner"].description)
    valid_from: Time | None = left_out(description=OF_CODE["valid_from"].description)
    valid_until: Time | None = left_out(description=OF_CODE["valid_until"].description)
    active: bool = left_out(description=OF_CODE["active"].description)


class NewRefund(Body):
    """How much goes back to the customer."""

    amount: Annotated[int, Field(ge=1, le=LARGEST_AMOUNT)] | None = Field(
        default=None,
        description="In the currency's minor unit; left out or null: all that is left, or what `ticket_ids` cost",
    )
    ticket_ids: tuple[Id, ...] = Field(
        default=(),
        max_length=QUANTITY_MAX,
        description="Tickets that are cancelled with it, while the booking keeps others: they let nobody in any "
        "more, and their seats are free again. Left out: none",
    )


class NewMail(Body):
    """Which mail is sent again."""

    kind: Literal[MailKind.CONFIRMATION, MailKind.CANCELLATION, MailKind.REFUND] = Field(
        description="What it is about: it must be true of the booking"
    )


class NewErasure(Body):
    """Who wants to be forgotten: exactly one of `email` and `subject`."""

    email: Email | None = Field(default=None, description="The email address of the customer, whatever its case")
    subject: ClaimText | None = Field(default=None, description="The owner whose bookings' customers are erased")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.email is None) == (self.subject is None):
            raise ValueError("send either email or subject")
        return self


class WebhookEndpointPatch(Body):
    """Changes the fields that are sent."""

    url: WebhookUrl = left_out()
    description: Label | None = left_out(description="What it is for")
    types: WebhookTypes | None = left_out(description=WEBHOOK_TYPES_SENT)
    enabled: bool = left_out(
        description="False: it gets nothing, until it is enabled again; what waits for it then is sent"
    )


class NewWebhookEndpoint(Body):
    """Where webhooks are sent."""

    url: WebhookUrl
    description: Label | None = Field(default=None, description="What it is for")
    types: WebhookTypes | None = Field(default=None, description=WEBHOOK_TYPES_SENT)
    enabled: bool = Field(default=True, description="False: it gets nothing until it is enabled")


class NewWebhookSecret(Body):
    """A rotation of an endpoint's secret."""

    overlap_seconds: Annotated[int, Field(ge=0, le=30 * 86_400)] = Field(
        default=86_400,
        description="For how many seconds the secrets before are used beside the new one; 0: not any more",
    )


class NewRepetition(Body):
    """Which of an endpoint's failed deliveries are sent again."""

    since: Time = Field(description="Those that were made then or later")


class NewRevocation(Body):
    """Which tokens are refused from now on: exactly one of `jti` and `subject`."""

    jti: ClaimText | None = Field(default=None, description="The id of one token, its claim `jti`")
    subject: ClaimText | None = Field(
        default=None,
        description="The subject whose tokens are refused that were issued until now, and for some seconds more; "
        "those issued later are good",
    )
    expires_at: Time | None = Field(
        default=None,
        description="When the tokens end by themselves, so that the revocation need not be known any longer. Left "
        f"out: in {REVOKED_FOR.days} days, which is longer than the tokens of guests last",
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.jti is None) == (self.subject is None):
            raise ValueError("send either jti or subject")
        return self


class ShownTicket(Body):
    """A ticket that is shown at a door: by its `code`, or by `booking_id` and `ticket_id`."""

    code: str | None = Field(
        default=None, min_length=1, max_length=TICKET_CODE_MAX, description="What the QR code says"
    )
    booking_id: Id | None = Field(default=None, description="Without `code`: the ticket's booking")
    ticket_id: Id | None = Field(default=None, description="Without `code`: the ticket")
    at: Time | None = Field(
        default=None, description="When it was shown, by the scanner's clock; left out, or in the future: now"
    )
    gate: Label | None = Field(default=None, description="Where, for people")
    device: Label | None = Field(default=None, description="By which scanner, for people")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        ids = (self.booking_id is None, self.ticket_id is None)
        if ids != ((True, True) if self.code is not None else (False, False)):
            raise ValueError("send either code, or booking_id and ticket_id")
        return self


OF_DOOR = "The event of this door: tickets of others are refused. Left out: any event"


class NewCheckIn(ShownTicket):
    """A ticket that is shown at a door now."""

    id: Id | None = Field(
        default=None,
        description="A new one for each time that a ticket is shown: the request may be sent again with it, and is "
        "answered as before",
    )
    event_id: Id | None = Field(default=None, description=OF_DOOR)


class OfflineCheckIn(ShownTicket):
    """A ticket that was shown at a door without a network."""

    id: Id = Field(description="A new one for each time that a ticket was shown")


class NewCheckIns(Body):
    """Tickets that were shown at a door without a network, in the order in which they were."""

    event_id: Id | None = Field(default=None, description=OF_DOOR)
    items: tuple[OfflineCheckIn, ...] = Field(
        min_length=1, max_length=CHECK_INS_MAX, description=f"The check-ins, {CHECK_INS_MAX} at most"
    )


class UndoneCheckIn(Body):
    """Which check-in was a mistake."""

    check_in_id: Id = Field(description="The check-in; a refused one names that which came first")


# --- answers ----------------------------------------------------------------------------------------------


class Booking(resources.Booking):
    """One customer's seats at one event, from the request to its end."""

    # Not part of the contract between the processes: the gateway adds these to what booking sends.
    kind: Literal["booking"] = Field(default="booking", description="Which shape this is, beside `queued`")
    reference: str = Field(description=REFERENCE)


class DescriptionPreview(Resource):
    """A description as customers will see it."""

    description_html: str = Field(description="HTML that is safe to insert into a page, as that of events")


class BookingWebhook(Resource):
    """What an endpoint is sent about a booking. https://www.standardwebhooks.com"""

    type: WebhookType
    timestamp: datetime = Field(description="When the booking changed")
    version: int = Field(
        description="The booking's version since this change. That of `data` is the same or higher"
    )
    data: Booking = Field(description="The booking as operators see it, when it was sent")


class EventWebhook(Resource):
    """What an endpoint is sent about an event. https://www.standardwebhooks.com"""

    type: WebhookType
    timestamp: datetime = Field(description="When the event changed")
    version: int = Field(description="Its `terms_version` since this change. That of `data` is the same or higher")
    data: OperatorsEvent = Field(description="The event as operators see it, when it was sent")


class QueuedPayment(Resource):
    """How the money of a booking stands that is not made yet."""

    status: Literal["creating"] = "creating"


class QueuedBooking(Resource):
    """A booking that was requested and does not exist yet: it may still be refused, as when seats are sold out.

    Read it again at `Location`, or send the same request with the same Idempotency-Key.
    """

    kind: Literal["queued"] = Field(default="queued", description="Which shape this is, beside `booking`")
    id: UUID = Field(description="The id that the booking will have")
    reference: str = Field(description=REFERENCE)
    event_id: UUID = Field(description="The event")
    items: tuple[ItemRequest, ...] = Field(description="How many seats of which ticket types were asked for")
    status: Literal["pending"] = "pending"
    payment: QueuedPayment = QueuedPayment()
    version: Literal[0] = Field(default=0, description="Less than that of any booking")


BookingOrQueued = Annotated[Booking | QueuedBooking, Field(discriminator="kind")]


class Ticket(tickets.Ticket):
    """One seat of a booking that is, or was, confirmed."""

    svg: str = Field(description="Where its QR code is as an SVG image. A token is needed, as for everything else")
    png: str = Field(description="Where its QR code is as a PNG image")


class BookingTickets(tickets.BookingTickets):
    """The tickets of a booking, with all that a page to print them needs."""

    items: tuple[Ticket, ...] = Field(description=tickets.BookingTickets.model_fields["items"].description)


class PaymentIntent(Resource):
    """What Stripe.js needs to let the customer pay."""

    booking_id: UUID = Field(description="The booking")
    payment_intent_id: str = Field(description="Stripe's id of the PaymentIntent")
    client_secret: str = Field(description="What Stripe.js confirms the intent with; keep it from others")
    amount: Amount = Field(description="What the booking costs, in the currency's minor unit")
    currency: Currency
    currency_exponent: Exponent = None
    publishable_key: str | None = Field(
        default=None, description="The key of the Stripe account that Stripe.js needs; null where none is set"
    )


class GuestToken(Resource):
    """A new guest: who has the token owns what is booked with it."""

    token: str = Field(description="For the header `Authorization: Bearer …`")
    subject: str = Field(description="Who the guest is: the owner of the bookings")
    expires_at: datetime = Field(description="Until when the token is accepted")


class RecoveryCode(Resource):
    """What the guest writes down to come back to the bookings on another device. It is shown this once."""

    code: str = Field(description="Good for one use. It replaces the guest's code before")
    expires_at: datetime = Field(description="Until when it is good")


@cache
def page_of(kind: type[Resource]) -> type[Resource]:
    """The model of a page of `kind`, with a name of its own in the OpenAPI document."""
    about = f"A page of a list: each item is a `{kind.__name__}`."
    return create_model(f"{kind.__name__}Page", __base__=Page[kind], __doc__=about)  # type: ignore[valid-type]


class HealthState(Resource):
    """One word; operators find the reasons on a port of their own."""

    status: Literal["live", "ready", "not ready"] = Field(description="Whether the process answers, or serves")
