"""What gateways receive: replies to their calls, and notifications."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from common.contracts.messages.base import NOTIFICATIONS, Message
from common.contracts.resources import Booking, Event, OperatorsEvent, Revocation, WaitingEntry

# The topic of all events' changes: gateways keep their catalogue current by it.
EVENTS_TOPIC = "events"
# The topic of all revocations of tokens.
REVOCATIONS_TOPIC = "revocations"


class Reply(Message, type="reply"):
    """The reply to a call: either `result` or an error's code, detail and extra."""

    result: Any = None
    error: str | None = None
    detail: str = ""
    extra: dict[str, Any] = Field(default_factory=dict)


class BookingChanged(Message, type="booking.changed", stream=NOTIFICATIONS):
    """The whole booking, as its owner may see it."""

    owner: str
    booking: Booking

    def topics(self) -> tuple[str, ...]:
        return f"owner:{self.owner}", f"booking:{self.booking.id}"


class WaitingEntryChanged(Message, type="waiting_list.changed", stream=NOTIFICATIONS):
    """Somebody joined a waiting list, got an offer, left, or is told that there will be none. What becomes of an
    offer is told by the changes of its booking."""

    owner: str
    entry: WaitingEntry

    def topics(self) -> tuple[str, ...]:
        return (f"owner:{self.owner}",)


class EventChanged(Message, type="event.changed", stream=NOTIFICATIONS):
    """The event with how many seats are available; also as operators see it. It has the version of its content, and
    not the content: gateways read that when the version is another. Never of a draft."""

    event: Event
    operators: OperatorsEvent | None = None

    def topics(self) -> tuple[str, ...]:
        return f"event:{self.event.id}", EVENTS_TOPIC


class EventWithdrawn(Message, type="event.withdrawn", stream=NOTIFICATIONS):
    """The event is a draft again, which nobody but operators may see. `version`: its `terms_version` since. What is
    newer has been published again, and what is older was sent before."""

    event_id: UUID
    version: int

    def topics(self) -> tuple[str, ...]:
        return (EVENTS_TOPIC,)


class QueueMoved(Message, type="queue.moved", stream=NOTIFICATIONS):
    """The queue of bookings that wait for their intents, in the order of their requests: queue position, created_at
    and id of some of them. It has all of the first ones, fewer and fewer of those behind, and the last one. The
    same of those that are `deferred`, which are behind all others.

    `interval_ms`: how often this is published while any booking waits.
    """

    places: tuple[tuple[int, datetime, UUID], ...]
    deferred: tuple[tuple[int, datetime, UUID], ...] = ()
    total: int
    interval_ms: int

    def topics(self) -> tuple[str, ...]:
        return ("queue",)


class TokensRevoked(Message, type="token.revoked", stream=NOTIFICATIONS):
    """An operator has revoked tokens, which every gateway refuses from now on."""

    revocation: Revocation

    def topics(self) -> tuple[str, ...]:
        return (REVOCATIONS_TOPIC,)
