"""What clients see: bookings, events and payments, as `docs/` and the OpenAPI document describe them.

Messages carry the same models, so that REST, the WebSocket and the actors all say the same.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Self, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from common.contracts.currencies import LARGEST_AMOUNT
from common.contracts.open_enums import BookingReason, KindOfMail
from common.contracts.statuses import (
    BookingStatus,
    BoxOfficeMethod,
    EventStatus,
    MailStatus,
    PaymentMethods,
    PaymentStatus,
)
from common.contracts.values import (
    DESCRIPTION_MAX,
    QUANTITY_MAX,
    Customer,
    Dispute,
    EventImage,
    PaymentError,
    Refund,
    Rejection,
    Venue,
)

CAPACITY_MAX = 10_000_000

Amount = Annotated[int, Field(ge=0, le=LARGEST_AMOUNT, description="In the currency's minor unit")]
Currency = Annotated[str, StringConstraints(pattern="^[a-z]{3}$"), Field(description="By ISO 4217, in lower case")]
Exponent = Annotated[
    int | None,
    Field(
        description="How many decimals the currency has at Stripe: an amount divided by 10 to this power is in the "
        "main unit. Null for a currency that Stripe does not list (any more)"
    ),
]
NAME_MAX = 200
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=NAME_MAX)]
Description = Annotated[
    str | None,
    Field(description=f"Markdown (CommonMark without HTML and images), at most {DESCRIPTION_MAX} characters"),
]
DescriptionHtml = Annotated[
    str | None,
    Field(
        description="The description as HTML that is safe to insert into a page: paragraphs, headings, lists, "
        "emphasis, quotes, code, and links to http, https and mailto. The gateway makes it"
    ),
]


class Resource(BaseModel):
    """A frozen model that ignores fields it does not know: contracts only ever grow."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def as_json(self, *, exclude_unset: bool = False) -> bytes:
        """The same as model_dump_json, in a third of the time."""
        return orjson.dumps(self, _set_fields if exclude_unset else plain, orjson.OPT_UTC_Z)


def plain(value: Any) -> Any:
    """What orjson writes for a model, a NamedTuple, or an id as asyncpg reads it."""
    if isinstance(value, UUID):
        return str(value)
    return value._asdict() if isinstance(value, tuple) else value.__dict__  # type: ignore[attr-defined]


def _set_fields(value: Any) -> Any:
    fields = plain(value)
    known = getattr(value, "model_fields_set", fields)
    return fields if len(known) == len(fields) else {name: fields[name] for name in fields if name in known}


def entity_tag(version: int) -> str:
    """The strong entity tag (RFC 9110, section 8.8.3) of a version."""
    return f'"{version}"'


PAYABLE = frozenset({PaymentStatus.AWAITING, PaymentStatus.ACTION_REQUIRED})


def is_payable(status: str, payment: str, closing: str | None) -> bool:
    """Whether the owner of such a booking can pay it now, and therefore sees the client secret."""
    return status == BookingStatus.PENDING and payment in PAYABLE and closing is None


def is_undecided(status: str, payment: str) -> bool:
    """Whether such a booking is pending and its client can do nothing yet, because its intent is not there."""
    return status == BookingStatus.PENDING and payment == PaymentStatus.CREATING


class Item(Resource):
    """Seats of one ticket type, at the price at which they were booked."""

    ticket_type_id: UUID = Field(description="The ticket type")
    quantity: int = Field(ge=1, le=QUANTITY_MAX, description="How many seats")
    unit_amount: Amount
    unit_discount: Amount = Field(
        default=0, description="What the promo code takes off each seat, in the currency's minor unit"
    )


class PaymentSummary(Resource):
    """How the money of a booking stands."""

    status: PaymentStatus
    intent_id: str | None = Field(default=None, description="Stripe's id of the PaymentIntent")
    client_secret: str | None = Field(
        default=None, description="Only for the owner, and only while there is something to pay"
    )
    last_error: PaymentError | None = Field(default=None, description="Why the last attempt to pay failed")
    queue_position: int | None = Field(
        default=None,
        description="While `creating`: how many bookings are before this one in the queue in front of Stripe; "
        "0 is the next. Null where it is not known",
    )
    deferred: bool = Field(
        default=False,
        description="Its owner, or the guests of its address, have asked Stripe for more than their share: what it "
        "needs there waits behind what others need, and its place in the queue is behind theirs",
    )
    refund_waiting: str | None = Field(
        default=None,
        description="Only for operators: why a refund that is under way is not made yet. Stripe's `pending_reason` "
        "(`processing`, `insufficient_funds` of our balance, `charge_pending`), or the code with which Stripe "
        "refuses it for now",
    )
    refund_error: str | None = Field(
        default=None, description="Only for operators: why the last refund that nothing has made good failed"
    )
    disputes: tuple[Dispute, ...] | None = Field(
        default=None, description="Only for operators: every dispute of the charge, oldest first"
    )
    attempts: int = Field(
        default=0, description="How many attempts to pay have failed; `last_error` says why the last"
    )
    amount_captured: Amount = Field(
        default=0, description="The money that came in, in the currency's minor unit, whatever went back since"
    )
    amount_refunded: Amount = Field(default=0, description="What of it has gone back, in the currency's minor unit")
    refunds: tuple[Refund, ...] | None = Field(
        default=None, description="Only for operators: every refund, also those that failed, oldest first"
    )
    rejection: Rejection | None = Field(
        default=None, description="Only for operators: why Stripe refused to make the intent (`payment_rejected`)"
    )
    method: BoxOfficeMethod | None = Field(
        default=None, description="How it was paid where an operator sold it; null: not at the box office"
    )
    note: str | None = Field(default=None, description="Only for operators: what they noted when they sold it")


class Booking(Resource):
    """One customer's seats at one event, from the request to its end."""

    id: UUID = Field(description="Its id, the same for the same owner and Idempotency-Key")
    owner: str | None = Field(default=None, description="The subject of the token that made it")
    event_id: UUID = Field(description="The event")
    items: tuple[Item, ...] = Field(description="How many seats of which ticket types")
    amount: Amount = Field(description="What is paid, with the discount taken off, in the currency's minor unit")
    discount: Amount = Field(
        default=0, description="What the promo code takes off all seats, in the currency's minor unit"
    )
    code: str | None = Field(
        default=None, description="The promo code, as the customer wrote it; null: booked without"
    )
    currency: Currency
    currency_exponent: Exponent = None
    status: BookingStatus
    reason: BookingReason | None = Field(default=None, description="Why it is not, or no longer, confirmed")
    payment: PaymentSummary
    version: int = Field(description="Grows by one with each change: what clients order by")
    expires_at: datetime | None = Field(
        default=None, description="Until when the seats are held, while the booking is pending"
    )
    hold_until: datetime | None = Field(
        default=None,
        description="The last moment of the hold: time to try again after a decline ends there. Null until the "
        "payment can be made",
    )
    closing: BookingReason | None = Field(
        default=None,
        description="Of a pending booking: what it will be cancelled for as soon as Stripe has canceled its intent",
    )
    created_at: datetime = Field(description="When it was made")
    updated_at: datetime = Field(description="When `version` grew last")
    customer: Customer | None = Field(
        default=None, description="Whom it is for; null: nobody has said, or it was erased since"
    )

    @property
    def queued(self) -> bool:
        """Undecided, and not to be cancelled: it has a queue position in front of Stripe."""
        return is_undecided(self.status, self.payment.status) and self.closing is None

    def redacted(self) -> Booking:
        """The booking for everybody but its owner: without the client secret."""
        return self.with_payment(client_secret=None)

    def with_payment(self, **fields: Any) -> Booking:
        """This booking, with these fields of its payment replaced."""
        return self.model_copy(update={"payment": self.payment.model_copy(update=fields)})


class TicketType(Resource):
    """A kind of seat of one event, with a price and a capacity."""

    id: UUID = Field(description="Its id")
    name: Name = Field(description="Its title")
    unit_amount: Amount = Field(description="The price of one seat, in the currency's minor unit")
    capacity: int = Field(description="How many seats there are, sold and held ones included")
    available: int = Field(description="How many seats are free")
    hidden: bool = Field(
        default=False,
        description="Only operators see it, and those who have a promo code that unlocks it: it is nowhere else",
    )


class Event(Resource):
    """A performance for which seats are sold."""

    id: UUID = Field(description="Its id")
    name: Name = Field(description="Its title")
    starts_at: datetime = Field(description="When it starts")
    time_zone: str = Field(default="UTC", description="The venue's, by its IANA name: times themselves are in UTC")
    currency: Currency
    currency_exponent: Exponent = None
    on_sale: bool = Field(description="Whether seats are sold at all: the operators' switch")
    sales_start: datetime | None = Field(default=None, description="Before it nothing is sold; null: at once")
    sales_end: datetime | None = Field(
        default=None,
        description="From then on nothing is sold: the start, unless another time was set. Null: no end",
    )
    sell_after_start: bool = Field(default=False, description="Whether seats are sold after the start")
    cancel_after_start: bool = Field(default=False, description="Whether customers may cancel after the start")
    ticket_types: tuple[TicketType, ...] = Field(description="Its ticket types, in their order")
    max_per_booking: int = Field(description="The most seats of one booking")
    max_per_owner: int | None = Field(
        default=None,
        description="How many seats one owner may have, over all bookings; null: as many as this Holdfast allows",
    )
    cancel_until: datetime | None = Field(
        default=None, description="Until when customers may cancel a booking that is paid; null: never"
    )
    called_off_at: datetime | None = Field(default=None, description="Since when it is cancelled, for good")
    payment_methods: PaymentMethods = Field(
        default=PaymentMethods.ALL,
        description="`instant`: methods that answer at once; `all`: also slow ones, whose money takes days to come",
    )
    slow_payments_until: datetime | None = Field(
        default=None,
        description="With `all`: new bookings from then on are offered instant methods alone; null: from three "
        "weeks before the start",
    )
    status: EventStatus = Field(
        default=EventStatus.PUBLISHED,
        description="`draft`: only operators see it; `published`: everybody does; `archived`: it is in no list and "
        "is not sold, and everybody may read it by its id",
    )
    category: str | None = Field(
        default=None,
        description="The operator's own label. Missing in changes on the WebSocket: see `content_version`",
    )
    venue: Venue | None = Field(
        default=None, description="Where it takes place. Missing in changes on the WebSocket: see `content_version`"
    )
    image: EventImage | None = Field(
        default=None, description="Its image. Missing in changes on the WebSocket: see `content_version`"
    )
    content_version: int = Field(
        default=0,
        description="The `terms_version` with which its description, category, venue or image changed last: read "
        "it again when this is another. 0: it never had any of them",
    )
    version: int = Field(default=1, description="Grows with each change, also of how many seats are left")
    terms_version: int | None = Field(
        default=None,
        description="Grows with each change of the event and its ticket types, not with its seats: the `ETag`",
    )

    def public(self) -> Self:
        """The event without its hidden ticket types, which the answers to operators have."""
        if not any(each.hidden for each in self.ticket_types):
            return self
        shown = tuple(each for each in self.ticket_types if not each.hidden)
        return self.model_copy(update={"ticket_types": shown})


class EventDetails(Event):
    """An event with its description."""

    description: Description = None
    description_html: DescriptionHtml = None


class PromoCode(Resource):
    """What customers enter to pay less, or to see hidden ticket types."""

    id: UUID = Field(description="Its id")
    event_id: UUID = Field(description="The event")
    code: str = Field(
        description="As it was written. What customers enter is compared without regard to case, spaces and hyphens"
    )
    percent_off: int | None = Field(
        description="What it takes off each ticket in percent, rounded half up for each; null: no percentage"
    )
    amount_off: int | None = Field(
        description="What it takes off each ticket in the currency's minor unit, at most the price; null: no amount"
    )
    ticket_types: tuple[UUID, ...] = Field(description="Whose tickets cost less; empty: all ticket types'")
    unlocks: tuple[UUID, ...] = Field(description="The hidden ticket types that it shows, and lets its owner book")
    uses_max: int | None = Field(description="How many bookings may be made with it; null: any number")
    uses_per_owner: int | None = Field(
        description="How many bookings one owner may make with it; null: any number. A guest is a new owner with "
        "each token"
    )
    valid_from: datetime | None = Field(description="From when on it is good; null: from the beginning")
    valid_until: datetime | None = Field(description="From when on it is no longer good; null: always")
    active: bool = Field(description="Whether it is good at all: the operators' switch")
    held: int = Field(description="Its pending bookings")
    used: int = Field(description="Its confirmed bookings")


class PromoCodes(Resource):
    """Codes that were made together."""

    items: tuple[PromoCode, ...] = Field(description="All of them")


class QuotedItem(Item):
    """What seats of one ticket type would cost."""

    name: str = Field(description="The ticket type's title")


class Quote(Resource):
    """What seats would cost now. Nothing is held."""

    event_id: UUID = Field(description="The event")
    items: tuple[QuotedItem, ...] = Field(description="How many seats of which ticket types, and their prices")
    subtotal: int = Field(description="What they cost without the code, in the currency's minor unit")
    discount: Amount = Field(description="What the code takes off, in the currency's minor unit")
    amount: Amount = Field(
        description="What is to be paid, in the currency's minor unit: the `expected_amount` of the booking"
    )
    currency: Currency
    currency_exponent: Exponent = None
    code: str | None = Field(default=None, description="The promo code, as an operator wrote it; null: without one")


class OperatorsTicketType(TicketType):
    """Of the seats that are not available: `held` by pending bookings, `sold` to confirmed ones."""

    held: int = Field(description="Seats of pending bookings")
    sold: int = Field(description="Seats of confirmed bookings")


class Refunds(Resource):
    """Bookings that were paid and are cancelled, counted by the state of their refunds."""

    owed: int = Field(description="Not taken up by the payment actor yet")
    under_way: int = Field(description="Taken up; Stripe has still to answer")
    waiting: int = Field(
        default=0,
        description="Stripe has it and waits, as for our balance, or refuses it for now and is asked again: "
        "`payment.refund_waiting` of each booking says for what",
    )
    succeeded: int = Field(description="Given back in full")
    failed: int = Field(description="Money is left and nobody gives it back by itself: an operator has to")
    disputed: int = Field(description="The customer's bank decides about the money")


class Progress(Resource):
    """How far the cancellation of an event has come."""

    bookings: int = Field(description="To be ended: those that are cancelled for it, and those still to be")
    cancelled: int = Field(description="How many of them are cancelled for it")
    refunds: Refunds
    finished: bool = Field(description="Nothing is to be cancelled, and no refund owed, under way or waiting")


class RefundRetry(Resource):
    """How far an operator's request to retry all failed refunds of an event has come."""

    id: UUID = Field(description="Made from the operator's Idempotency-Key")
    event_id: UUID = Field(description="The event")
    asked_at: datetime = Field(description="When the operator asked")
    by: str | None = Field(
        default=None, description="The subject of the operator's token; null where that is not known"
    )
    refunds: int = Field(description="Bookings whose refund is tried again")
    remaining: int = Field(description="Not tried again yet")
    under_way: int = Field(description="Owed, taken up, or waiting at Stripe")
    succeeded: int = Field(description="Given back")
    failed: int = Field(description="Failed again")
    finished: bool = Field(description="None is remaining or under way")


class Revocation(Resource):
    """Tokens that are refused because an operator has revoked them: one by its id, or all that a subject had."""

    jti: str | None = Field(default=None, description="The token's id; null: the tokens of `subject` are revoked")
    subject: str | None = Field(default=None, description="Whose tokens are revoked; null: the one token `jti` is")
    revoked_at: datetime = Field(
        description="When that was last asked for. Of a `subject` those are revoked that were issued until then"
    )
    expires_at: datetime = Field(
        description="When these tokens end by themselves: the revocation is forgotten after that"
    )
    by: str | None = Field(default=None, description="The subject of the operator who last asked for it")


class Mail(Resource):
    """A mail about a booking, and what became of it."""

    id: UUID = Field(description="Its id, which its Message-ID begins with")
    kind: KindOfMail
    status: MailStatus = Field(
        description="`owed` until a mail server has taken it (`sent`), refuses it for good (`refused`), or has not "
        "taken it for days (`given_up`); `dropped` where there was nobody to write to any more, or nothing to write"
    )
    recipient: str | None = Field(
        description="To whom it was tried to be sent last; null before that, and where it was erased"
    )
    attempts: int = Field(description="How often it was tried")
    error: str | None = Field(description="Why it is not sent: the mail server's last answer, or ours")
    amount: int | None = Field(
        description="Of a refund: what was given back, in the currency's minor unit; null for other kinds"
    )
    by: str | None = Field(description="The subject of the operator who wanted it sent again; null: nobody did")
    made_at: datetime = Field(description="Since when it is owed")
    tried_at: datetime | None = Field(description="When it was tried last")
    send_after: datetime | None = Field(description="When it is tried next; null when it has ended")
    ended_at: datetime | None = Field(description="When it was sent, or ended otherwise")


class Erasure(Resource):
    """What was erased because somebody asked to be forgotten: the customers of bookings."""

    asked_at: datetime = Field(description="When the operator asked")
    by: str | None = Field(
        default=None, description="The subject of the operator's token; null where that is not known"
    )
    bookings: int = Field(description="How many bookings have such a customer: erased one after the other")


class OperatorsEvent(Event):
    """An event as operators see it. With a cancellation's progress, `version` also counts its bookings' changes."""

    ticket_types: tuple[OperatorsTicketType, ...] = Field(description="Its ticket types, in their order")
    progress: Progress | None = Field(
        default=None, description="Of a cancelled event, where it is read by itself; null in lists"
    )
    refund_retry: RefundRetry | None = Field(
        default=None, description="The last time that all failed refunds were tried again; null in lists"
    )


class OperatorsEventDetails(OperatorsEvent):
    """An event as operators see it, with its description."""

    description: Description = None
    description_html: DescriptionHtml = None


T = TypeVar("T")


class Page(Resource, Generic[T]):
    items: tuple[T, ...] = Field(description="What is on this page, in the order of the list")
    next_cursor: str | None = Field(default=None, description="Where the next page begins; null on the last one")
