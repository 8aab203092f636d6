"""The place of each booking in the queue in front of Stripe, told to the sockets of its owner as it falls."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import orjson
from aiohttp import web

from common.contracts.messages import QueueMoved
from common.contracts.resources import Booking
from gateway.live import Change, Hub
from gateway.websocket import Topic, text_frame

# Bookings that are followed; past it the ones longest not looked at are forgotten, and their places with them.
FOLLOWED_MAX = 100_000
# Of each picture: how many bookings are looked at, and how many are told their places. The rest has its turn at the
# next one, so that ten thousand sockets take a few milliseconds of each second.
LOOKED_AT_MAX = 10_000
TOLD_MAX = 2_000
# After so many others have their turn: requests, replies, changes.
AT_ONCE = 100
# A picture that no other has followed for so many times its interval is of a queue that is gone.
FRESH_INTERVALS = 3
# Hubs send what has a higher version than what was sent before: of places that is the lower one.
PLACES_END = 2**31


def queue_topic(booking_id: UUID) -> Topic:
    return ("queue", booking_id)


def version_of(place: int) -> int:
    return PLACES_END - place


class Picture:
    """The queue at one moment, in a sample."""

    def __init__(self, moved: QueueMoved) -> None:
        self._keys = [(created_at, id) for _, created_at, id in moved.places]
        self._places = [place for place, _, _ in moved.places]

    def place(self, created_at: datetime, id: UUID) -> int | None:
        """How many are before this booking: exact at the front; behind it as if all between two of the sample had
        come evenly. None for one that has left the queue, or has come to it since."""
        at = bisect_right(self._keys, (created_at, id)) - 1
        if at < 0:
            return None
        if self._keys[at] == (created_at, id):
            return self._places[at]
        if at + 1 == len(self._keys):
            return None
        before, after = self._places[at], self._places[at + 1]
        return (
            before + 1 + int((after - before - 1) * _between(self._keys[at], (created_at, id), self._keys[at + 1]))
        )


def _between(low: tuple[datetime, UUID], key: tuple[datetime, UUID], high: tuple[datetime, UUID]) -> float:
    """How far `key` is on its way from `low` to `high`; bookings of one batch have one time."""
    length = high[0] - low[0]
    if length > timedelta():
        return (key[0] - low[0]) / length
    return (key[1].int - low[1].int) / (high[1].int - low[1].int)


@dataclass(slots=True)
class Followed:
    topic: Topic
    created_at: datetime


class Queue:
    """The bookings of those who listen, and the newest picture of the queue that they wait in."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._followed: OrderedDict[UUID, Followed] = OrderedDict()
        self._picture: Picture | None = None
        self._fresh_until = 0.0
        self._news = asyncio.Event()

    def heard(self, topic: Topic, booking: Booking) -> None:
        """Follow the booking for those who listen to `topic` while it waits for its intent."""
        if not booking.queued:
            self._followed.pop(booking.id, None)
        elif self._hub.has(topic):
            self._followed[booking.id] = Followed(topic, booking.created_at)
        if len(self._followed) > FOLLOWED_MAX:
            self._followed.popitem(last=False)

    def moved(self, message: QueueMoved) -> None:
        self._picture = Picture(message)
        self._fresh_until = asyncio.get_running_loop().time() + FRESH_INTERVALS * message.interval_ms / 1000
        if message.places:
            self._news.set()

    def place(self, booking: Booking) -> int | None:
        """The booking's place, as far as it is known now."""
        if not booking.queued:
            return None
        known = booking.payment.queue_position
        if self._picture is None or asyncio.get_running_loop().time() >= self._fresh_until:
            return known
        now = self._picture.place(booking.created_at, booking.id)
        return known if now is None else now

    async def run(self) -> None:
        """Tell places with each picture, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.tell()

    async def tell(self) -> None:
        """Tell the newest picture's places to those who listen, as far as its bounds go."""
        told = 0
        for looked_at in range(1, min(len(self._followed), LOOKED_AT_MAX) + 1):
            if not self._followed or told >= TOLD_MAX:
                return
            id, followed = next(iter(self._followed.items()))
            self._followed.move_to_end(id)
            told += self._tell_one(id, followed)
            if looked_at % AT_ONCE == 0:
                await asyncio.sleep(0)

    def _tell_one(self, id: UUID, followed: Followed) -> bool:
        """Whether somebody is told something: a place that is lower than the one told before."""
        if not self._hub.has(followed.topic):
            del self._followed[id]
            return False
        assert self._picture is not None
        place = self._picture.place(followed.created_at, id)
        if place is None:
            return False
        frame = text_frame(orjson.dumps({"type": "queue", "booking_id": id, "queue_position": place}))
        self._hub.broadcast(followed.topic, Change(queue_topic(id), version_of(place), frame))
        return True


QUEUE = web.AppKey("queue", Queue)
