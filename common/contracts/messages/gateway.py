"""What gateways receive: replies to what they have asked, and news."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from common.contracts.messages.base import NOTIFICATIONS, Message
from common.contracts.resources import Booking, Event, OperatorsEvent


class Reply(Message, type="reply"):
    """The answer to a message that was asked: either `result` or an error's code, detail and extra."""

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
