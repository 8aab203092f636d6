"""Queue positions: how many bookings wait in front of one for their intents. All that the gateway knows is here.

While bookings wait, the booking actors publish a sample of the queue about once a second (QUEUE_MS). Sockets of an
owner are sent the positions of their bookings as they fall, and answers contain the newest. A deferred booking is
behind all that are not, so that its position can also rise, and its sockets are sent that, too.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from aiohttp import web

from common.contracts.messages import QueueMoved
from gateway.bookings import BookingView
from gateway.hub import Hub
from gateway.websocket import message_frame

# Bookings whose positions are tracked; beyond it the one that was checked longest ago is forgotten.
TRACKED_MAX = 100_000  # of a few hundred bytes each
# For each sample: how many bookings are checked, and how many positions are sent. The rest is sent with the next
# sample, so that ten thousand sockets cost a few milliseconds of each second.
CHECKED_MAX = 10_000
SENT_MAX = 2_000
# After this many bookings other tasks run, so that requests and replies do not wait.
YIELD_EVERY = 100
# One sample may be late; after this many intervals without a new one, the last one is not used any more.
FRESH_INTERVALS = 3


Places = tuple[tuple[int, datetime, UUID], ...]


class QueueSample:
    """A sample of one part of the queue: some of its bookings, with their positions."""

    def __init__(self, places: Places) -> None:
        self._keys = [(created_at, id) for _, created_at, id in places]
        self._positions = [position for position, _, _ in places]

    def position(self, created_at: datetime, id: UUID) -> int | None:
        """How many bookings are before this one: exact at the front, behind that estimated as if the bookings
        between two of the sample had come evenly. None if it has left the queue, or came after the sample."""
        key = (created_at, id)
        at = bisect_right(self._keys, key) - 1
        if at < 0:
            return None
        if self._keys[at] == key:
            return self._positions[at]
        if at + 1 == len(self._keys):
            return None
        before, after = self._positions[at], self._positions[at + 1]
        return before + 1 + int((after - before - 1) * _between(self._keys[at], key, self._keys[at + 1]))


def _between(low: tuple[datetime, UUID], key: tuple[datetime, UUID], high: tuple[datetime, UUID]) -> float:
    """How far `key` lies between `low` (0) and `high` (1): by the time or, in one batch, by the id."""
    length = high[0] - low[0]
    if length > timedelta():
        return (key[0] - low[0]) / length
    return (key[1].int - low[1].int) / (high[1].int - low[1].int)


@dataclass(slots=True)
class Tracked:
    """A waiting booking whose owner has a socket. `position`: the lowest sent or shown, of a deferred booking the
    last; None before the first."""

    topic: str
    created_at: datetime
    deferred: bool
    position: int | None


class QueuePositions:
    """The waiting bookings whose owners have sockets, and the newest sample of the queue."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._tracked: OrderedDict[str, Tracked] = OrderedDict()
        # The newest sample of both parts, by whether they are deferred.
        self._samples: dict[bool, QueueSample] = {}
        self._fresh_until = 0.0
        self._sampled = asyncio.Event()

    def track(self, topic: str, booking: BookingView) -> None:
        """Track the booking while it waits for its intent and a socket listens to `topic`."""
        if not booking.queued:
            self._tracked.pop(booking.id, None)
        elif self._hub.has(topic):
            known = self._tracked.get(booking.id)
            deferred, shown = _deferred(booking), booking.payment.get("queue_position")
            position = known.position if known else None
            if position is None or (shown is not None and (deferred or shown < position)):
                position = shown
            self._tracked[booking.id] = Tracked(topic, _created_at(booking), deferred, position)
        if len(self._tracked) > TRACKED_MAX:
            self._tracked.popitem(last=False)

    def receive(self, message: QueueMoved) -> None:
        self._samples = {False: QueueSample(message.places), True: QueueSample(message.deferred)}
        self._fresh_until = asyncio.get_running_loop().time() + FRESH_INTERVALS * message.interval_ms / 1000
        if message.places or message.deferred:
            self._sampled.set()

    def position(self, booking: BookingView) -> int | None:
        """The booking's position, if it waits and its position is known."""
        if not booking.queued:
            return None
        known: int | None = booking.payment.get("queue_position")
        if not self._samples or asyncio.get_running_loop().time() >= self._fresh_until:
            return known
        now = self._samples[_deferred(booking)].position(_created_at(booking), UUID(booking.id))
        return known if now is None else now

    async def run(self) -> None:
        """Send positions with each sample, until cancelled."""
        while True:
            await self._sampled.wait()
            self._sampled.clear()
            await self.send()

    async def send(self) -> None:
        """Send positions by the newest sample, for up to CHECKED_MAX bookings and at most SENT_MAX."""
        sent = 0
        for checked in range(1, min(len(self._tracked), CHECKED_MAX) + 1):
            if not self._tracked or sent >= SENT_MAX:
                return
            id, tracked = next(iter(self._tracked.items()))
            self._tracked.move_to_end(id)
            sent += self._send(id, tracked)
            if checked % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def _send(self, id: str, tracked: Tracked) -> bool:
        """Send the position if it is known and lower than the last one or, of a deferred booking, another one;
        returns whether it was sent."""
        if not self._hub.has(tracked.topic):
            del self._tracked[id]
            return False
        position, last = self._samples[tracked.deferred].position(tracked.created_at, UUID(id)), tracked.position
        if position is None or position == last:
            return False
        if last is not None and position > last and not tracked.deferred:
            return False
        tracked.position = position
        message = {"type": "queue", "booking_id": id, "queue_position": position}
        self._hub.broadcast(tracked.topic, message_frame(message))
        return True


QUEUE_POSITIONS = web.AppKey("queue_positions", QueuePositions)


def _deferred(booking: BookingView) -> bool:
    """Whether it is behind all that are not; a booking actor of the release before does not say."""
    return bool(booking.payment.get("deferred"))


def _created_at(booking: BookingView) -> datetime:
    return datetime.fromisoformat(booking.fields["created_at"])
