"""The queue in front of Stripe: all that this actor knows of the bookings that wait for their intents.

A place is how many such bookings were asked for before. One message every so often holds the whole queue in a
sample, however many wait in it: exact at the front, thinner and thinner behind. A booking that has its intent in a
moment has not waited: nobody is told of it before.
"""

# Statements are put together from the condition below and never from data.

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from redis.asyncio import Redis

from booking.notices import booking_changed
from booking.repository import Store
from booking.schedule import waits_for
from booking.state import Booking, Follow
from common.contracts import resources
from common.contracts.messages import QueueMoved
from common.messaging.envelope import Delivery, tell
from common.messaging.lease import Lease
from common.messaging.publisher import Publisher
from common.runtime.background import repeat
from common.runtime.health import Gate

# By the name that it has had in every release.
LEASE_KEY = "booking.queue:turn"
# For how many intervals after the last time a process goes on telling of the queue.
LEASE_INTERVALS = 2
# The first places are all told; behind them each is so many times the one before: less than a tenth is unknown.
EXACT = 32
GROWTH = 1.1
# More than can ever wait: gateways turn bookings away long before.
PLACE_MAX = 10_000_000
# How many seconds the news of a new booking is held back while its intent is on its way: longer than Stripe mostly
# takes, short enough for another socket of its owner. The client that made the booking has its reply at once.
HELD_S = 1.0
# Of these, as many are told at once without keeping others waiting.
TOLD_MAX = 250

# The partial index `bookings_queued` holds these, in this order: no row has to be looked at.
QUEUED = "payment = 'creating' AND status = 'pending' AND closing IS NULL"
PLACES = f"""
SELECT id, place FROM (
    SELECT id, row_number() OVER (ORDER BY created_at, id) - 1 AS place FROM bookings
    WHERE {QUEUED} AND (created_at, id) <= ($2::timestamptz, $3::uuid)
) AS queue WHERE id = ANY($1::uuid[])
"""
STILL_QUEUED = f"SELECT id FROM bookings WHERE id = ANY($1::uuid[]) AND {QUEUED}"
SAMPLE = f"""
SELECT place, created_at, id, total FROM (
    SELECT created_at, id, row_number() OVER (ORDER BY created_at, id) - 1 AS place, count(*) OVER () AS total
    FROM bookings WHERE {QUEUED}
) AS queue WHERE place = ANY($1::bigint[]) OR place = total - 1 ORDER BY place
"""


# Always the same ones, so that a place that is read off them falls as the queue moves.
SAMPLED = [*range(EXACT + 1)]
while SAMPLED[-1] < PLACE_MAX:
    SAMPLED.append(int(SAMPLED[-1] * GROWTH))


class Queue:
    """Publishes the first news of new bookings that wait for long, and, while any wait, a sample of the queue: at
    most once in `interval_ms`, by one process of the fleet, and of an empty one once."""

    def __init__(self, store: Store, publisher: Publisher, redis: Redis, holder: str, interval_ms: int) -> None:
        """`holder`: this process, in its lease."""
        self._store = store
        self._publisher = publisher
        self._redis = redis
        self._interval_s = interval_ms / 1000
        self._lease = Lease(LEASE_KEY, holder, LEASE_INTERVALS * interval_ms)
        # New bookings whose news was not published: since when, in the loop's time, and what has asked for them.
        self._held: dict[UUID, tuple[float, Booking, Delivery]] = {}
        # Some may wait: at the start those that another process has left. When places may be published again.
        self._looks = True
        self._places_at = 0.0
        # The places that this process published last were not those of an empty queue.
        self._told = False
        self._woken = asyncio.Event()
        self._woken.set()

    def hold(self, made: Sequence[tuple[Booking, Delivery]]) -> None:
        """New bookings wait for their intents; their news is held back. Call after the commit."""
        if made:
            since = asyncio.get_running_loop().time()
            self._held.update((booking.id, (since, booking, cause)) for booking, cause in made)
            self._woken.set()

    def told(self, booking_ids: Iterable[UUID]) -> None:
        """Later news of these is published: what is held back of them is not needed any more."""
        for id in booking_ids:
            self._held.pop(id, None)

    def look(self) -> None:
        """Somebody waits, for whom another process may have told of the queue."""
        self._looks = True
        self._woken.set()

    async def run(self, gate: Gate) -> None:
        """Until cancelled; nothing is told while Postgres or Redis is away."""

        async def step() -> float:
            await self._woken.wait()
            await self.run_once()
            return min(HELD_S, self._interval_s)

        await repeat(step, gate)

    async def run_once(self) -> None:
        """Tell what is to be told now. While nobody has waited for long, nothing is asked."""
        self._woken.clear()
        try:
            self._looks = await self._tell_late_news() or self._looks
            now = asyncio.get_running_loop().time()
            # What another process tells may be this one's to tell when that one has ended.
            if self._looks and now >= self._places_at and await self._lease.take(self._redis):
                self._places_at = now + self._interval_s
                await self._tell_places()
        finally:
            if self._held or self._looks:
                self._woken.set()

    async def _tell_late_news(self) -> bool:
        """Whether there are new bookings that have waited for so long that they are told of now."""
        before = asyncio.get_running_loop().time() - HELD_S
        late = [id for id, (since, *_) in self._held.items() if since <= before]
        waited = False
        for begin in range(0, len(late), TOLD_MAX):
            page = late[begin : begin + TOLD_MAX]
            async with self._store.reading() as rows:
                waits = [row["id"] for row in await rows.connection.fetch(STILL_QUEUED, page)]
            # Of the others another process has published later news. What is shown of these has not changed.
            news = [booking_changed(*self._held[id][1:]) for id in waits if id in self._held]
            await self._publisher.publish(news)
            self.told(page)
            waited |= bool(news)
        return waited

    async def _tell_places(self) -> None:
        async with self._store.reading() as rows:
            sample = await rows.connection.fetch(SAMPLE, SAMPLED)
        if sample or self._told:
            places = tuple((row["place"], row["created_at"], row["id"]) for row in sample)
            total = sample[0]["total"] if sample else 0
            moved = QueueMoved(places=places, total=total, interval_ms=round(self._interval_s * 1000))
            await self._publisher.publish([tell(moved, "queue")])
        self._told = self._looks = bool(sample)


def queued(booking: Booking) -> bool:
    """Whether it waits for its intent, and is still wanted."""
    return waits_for(booking) is Follow.CREATE_INTENT


async def placed(store: Store, bookings: Sequence[resources.Booking]) -> dict[UUID, resources.Booking]:
    """The bookings, by id: with their places those that wait for their intents."""
    found = {each.id: each for each in bookings}
    waiting: list[tuple[datetime, UUID]] = [(each.created_at, each.id) for each in bookings if each.queued]
    if waiting:
        async with store.reading() as rows:
            places = await rows.connection.fetch(PLACES, [id for _, id in waiting], *max(waiting))
        found |= {row["id"]: found[row["id"]].with_payment(queue_position=row["place"]) for row in places}
    return found
