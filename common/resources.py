"""What clients see: bookings, events and payments, as `docs/` and the OpenAPI document describe them.

The same models travel inside messages, so that what is told over REST, over the WebSocket and between
the actors is one thing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from common.statuses import BookingStatus as BookingStatus
from common.statuses import PaymentStatus as PaymentStatus

AMOUNT_MAX = 99_999_999  # the largest amount of one charge: https://docs.stripe.com/currencies
CAPACITY_MAX = 10_000_000
QUANTITY_MAX = 1000
TICKET_TYPES_MAX = 100

Amount = Annotated[int, Field(ge=0, le=AMOUNT_MAX, description="In the currency's minor unit")]
Currency = Annotated[str, StringConstraints(pattern="^[a-z]{3}$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class Resource(BaseModel):
    """A frozen model that ignores fields it does not know: contracts only ever grow."""

    model_config = ConfigDict(frozen=True, extra="ignore")


PAYABLE = frozenset({PaymentStatus.AWAITING, PaymentStatus.ACTION_REQUIRED})


class PaymentError(Resource):
    """Why a payment was declined, in Stripe's words: https://docs.stripe.com/declines/codes."""

    code: str
    decline_code: str | None = None
    message: str | None = None


class Item(Resource):
    ticket_type_id: UUID
    quantity: int = Field(ge=1, le=QUANTITY_MAX)
    unit_amount: Amount


class PaymentSummary(Resource):
    status: PaymentStatus
    intent_id: str | None = None
    client_secret: str | None = Field(
        default=None, description="Only for the owner, and only while there is something to pay"
    )
    last_error: PaymentError | None = None
    queue_position: int | None = Field(
        default=None, description="While `creating`: how many bookings are before this one at Stripe"
    )


class Booking(Resource):
    id: UUID
    event_id: UUID
    items: tuple[Item, ...]
    amount: Amount
    currency: Currency
    status: BookingStatus
    reason: str | None = None
    payment: PaymentSummary
    version: int = Field(description="Grows by one with each change: what clients order by")
    expires_at: datetime | None = Field(
        default=None, description="Until when the seats are held, while the booking is pending"
    )
    created_at: datetime
    updated_at: datetime

    @property
    def payable(self) -> bool:
        return self.status is BookingStatus.PENDING and self.payment.status in PAYABLE

    @property
    def undecided(self) -> bool:
        """Pending, and the client can do nothing yet: its intent is being made."""
        return self.status is BookingStatus.PENDING and self.payment.status is PaymentStatus.CREATING


class Transition(Resource):
    """One change of a booking, and what caused it."""

    version: int
    from_status: BookingStatus | None
    to_status: BookingStatus
    reason: str | None
    payment_status: PaymentStatus
    cause_type: str
    cause_id: str
    at: datetime


class TicketType(Resource):
    id: UUID
    name: Name
    unit_amount: Amount
    capacity: int
    available: int


class Event(Resource):
    id: UUID
    name: Name
    starts_at: datetime
    currency: Currency
    on_sale: bool
    ticket_types: tuple[TicketType, ...]
    max_per_booking: int
    cancel_until: datetime | None = None
    version: int = 1


T = TypeVar("T")


class Page(Resource, Generic[T]):
    items: tuple[T, ...]
    next_cursor: str | None = None
