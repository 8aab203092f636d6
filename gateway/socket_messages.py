"""The messages of the WebSocket, in both directions: models that validate what clients send, and describe the rest.

What the gateway sends is not made from these models but from JSON that it passes on: `tests/gateway/test_socket.py`
compares the two.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from common.contracts.open_enums import ProblemCode
from common.contracts.resources import Event, OperatorsEvent, Resource, WaitingEntry
from gateway.problems import Members
from gateway.schemas import Body, Booking
from gateway.values import Id

# --- from clients -----------------------------------------------------------------------------------------


class Auth(Body):
    """The first message, if there was no Authorization header; later ones renew the token."""

    type: Literal["auth"]
    token: str = Field(description="The token that a request has in its Authorization header, without `Bearer`")


class Subscription(Body):
    """To a booking, an event or a waiting list's entry, or the end of it: exactly one of the ids is sent."""

    type: Literal["subscribe", "unsubscribe"]
    booking_id: Id | None = Field(default=None, description="The booking")
    event_id: Id | None = Field(default=None, description="The event")
    waiting_entry_id: Id | None = Field(default=None, description="The owner's entry in a waiting list")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.booking_id, self.event_id, self.waiting_entry_id).count(None) != 2:
            raise ValueError("name one of booking_id, event_id and waiting_entry_id")
        return self


ClientMessage = Annotated[Auth | Subscription, Field(discriminator="type")]


# --- from the gateway -------------------------------------------------------------------------------------


class BookingMessage(Resource):
    """A booking has changed: the whole booking, as its owner sees it, or an operator who has subscribed to it."""

    type: Literal["booking"]
    booking: Booking


class EventMessage(Resource):
    """An event that the client has subscribed to has changed, or how many of its seats are left."""

    type: Literal["event"]
    event: Event | OperatorsEvent = Field(description="For operators with what they see of it")


class WaitingEntryMessage(Resource):
    """An entry of the owner's in a waiting list has changed: it was made, it has an offer, or it has ended. What
    becomes of an offer is told by its booking's messages."""

    type: Literal["waiting_entry"]
    waiting_entry: WaitingEntry


class SnapshotMessage(Resource):
    """The answer to a subscription: what it named as it is now, one of these."""

    type: Literal["snapshot"]
    booking: Booking | None = Field(default=None, description="Where the subscription named a booking")
    event: Event | OperatorsEvent | None = Field(
        default=None, description="Where the subscription named an event; for operators with what they see of it"
    )
    waiting_entry: WaitingEntry | None = Field(
        default=None, description="Where the subscription named an entry in a waiting list"
    )


class QueueMessage(Resource):
    """The queue position in front of Stripe of a booking of the owner's that waits for its intent."""

    type: Literal["queue"]
    booking_id: UUID = Field(description="The booking")
    queue_position: int = Field(description="How many bookings are before this one; 0 is the next. It only falls")


class ErrorMessage(Members):
    """A message of the client's was refused; the socket stays open. The codes and members are those of REST."""

    type: Literal["error"]
    code: ProblemCode
    detail: str = Field(description="What is wrong here, for people")
    booking_id: UUID | None = Field(default=None, description="The booking that the refused message named")
    event_id: UUID | None = Field(default=None, description="The event that the refused message named")
    waiting_entry_id: UUID | None = Field(default=None, description="The entry that the refused message named")


SENT = (Auth, Subscription)
RECEIVED = (BookingMessage, EventMessage, WaitingEntryMessage, SnapshotMessage, QueueMessage, ErrorMessage)
