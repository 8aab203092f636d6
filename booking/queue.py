"""The queue in front of Stripe: the bookings that wait for their intents, as this actor knows them.

A queue position is the number of such bookings in front: those made before and, of a deferred booking, all that are
not deferred (`fair_share.py`). One message per interval has the whole queue as a sample, however many bookings
wait: exact at the front of both parts, sparser and sparser behind. A booking that gets its intent within HELD_S has
not waited: its first notification is the one with the intent.
"""

# Statements are put together from the condition below and never from data.

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from booking.presenters import booking_changed
from booking.repository import Store
from booking.schedule import waits_for
from booking.state import Booking, FollowUp
from common.contracts import resources
from common.contracts.messages import QueueMoved
from common.messaging.envelope import Delivery, envelope_for
from common.messaging.lease import Lease
from common.messaging.publisher import Publisher
from common.runtime.background import repeat
from common.runtime.health import Gate

# The same name in every release, so that processes of two releases share one lease.
LEASE_KEY = "booking.queue:turn"
# The lease lasts this many intervals: more than one, so that its holder renews it in time.
LEASE_INTERVALS = 2
# The sample has all first positions; behind them each is this many times the one before: less than 10 % is unknown.
EXACT = 32
GROWTH = 1.1
# More than can ever wait: gateways refuse bookings long before.
POSITION_MAX = 10_000_000
# How many seconds the first notification of a booking is held back while its intent is on its way: longer than
# Stripe mostly takes, short enough for its owner's other sockets. The client that made it has its reply at once.
HELD_S = 1.0
# As many of these are read and published at once without keeping others waiting.
PUBLISHED_MAX = 250

# The partial index `bookings_queue` has these, in this order: no row has to be read.
QUEUED = "payment = 'creating' AND status = 'pending' AND closing IS NULL"
POSITIONS = f"""
SELECT id, position FROM (
    SELECT id, row_number() OVER (ORDER BY deferred, created_at, id) - 1 AS position FROM bookings
    WHERE {QUEUED} AND (deferred, created_at, id) <= ($2::boolean, $3::timestamptz, $4::uuid)
) AS queue WHERE id = ANY($1::uuid[])
"""
STILL_QUEUED = f"SELECT id FROM bookings WHERE id = ANY($1::uuid[]) AND {QUEUED}"
# `rank` counts within one of the two parts.
SAMPLE = f"""
SELECT deferred, position, created_at, id, total FROM (
    SELECT deferred, created_at, id, row_number() OVER (ORDER BY deferred, created_at, id) - 1 AS position,
        row_number() OVER part - 1 AS rank, count(*) OVER (PARTITION BY deferred) AS size, count(*) OVER () AS total
    FROM bookings WHERE {QUEUED} WINDOW part AS (PARTITION BY deferred ORDER BY created_at, id)
) AS queue WHERE rank = ANY($1::bigint[]) OR rank = size - 1 ORDER BY position
"""


# Always the same positions, so that a position estimated from them only falls as the queue moves.
SAMPLED = [*range(EXACT + 1)]
while SAMPLED[-1] < POSITION_MAX:
    SAMPLED.append(int(SAMPLED[-1] * GROWTH))


class Queue:
    """Publishes the first notification of new bookings that wait for HELD_S and, while any wait, a sample of the
    queue: at most once in `interval_ms`, from one process of the fleet, and of an empty queue once."""

    def __init__(self, store: Store, publisher: Publisher, redis: Redis, holder: str, interval_ms: int) -> None:
        """`holder` names this process in its lease."""
        self._store = store
        self._publisher = publisher
        self._redis = redis
        self._interval_s = interval_ms / 1000
        self._lease = Lease(LEASE_KEY, holder, LEASE_INTERVALS * interval_ms)
        # New bookings whose notification is held back: since when (the loop's time), the booking, and its delivery.
        self._held: dict[UUID, tuple[float, Booking, Delivery | None]] = {}
        # Bookings may wait, at the start those that another process left. When a sample may be published again.
        self._sample_wanted = True
        self._next_sample_at = 0.0
        # The last sample that this process published was not that of an empty queue.
        self._published_some = False
        self._woken = asyncio.Event()
        self._woken.set()

    def hold(self, made: Sequence[tuple[Booking, Delivery | None]]) -> None:
        """Hold back the notifications of new bookings that wait for their intents. Call it after the commit."""
        if made:
            since = asyncio.get_running_loop().time()
            self._held.update((booking.id, (since, booking, cause)) for booking, cause in made)
            self._woken.set()

    def drop(self, booking_ids: Iterable[UUID]) -> None:
        """Later notifications of these are published: the ones held back are no longer needed."""
        for id in booking_ids:
            self._held.pop(id, None)

    def request_sample(self) -> None:
        """Somebody waits whose booking is not held back here: publish samples, unless another process does."""
        self._sample_wanted = True
        self._woken.set()

    async def run(self, gate: Gate) -> None:
        """Run until cancelled; nothing is published during an outage of Postgres or Redis."""

        async def step() -> float:
            await self._woken.wait()
            await self.run_once()
            return min(HELD_S, self._interval_s)

        await repeat(step, gate)

    async def run_once(self) -> None:
        """Publish what is due now. While no booking has waited for long, nothing is read."""
        self._woken.clear()
        try:
            self._sample_wanted = await self._publish_held() or self._sample_wanted
            now = asyncio.get_running_loop().time()
            # While another process has the lease, this one asks for it again: that process may end.
            if self._sample_wanted and now >= self._next_sample_at and await self._lease.acquire(self._redis):
                self._next_sample_at = now + self._interval_s
                await self._publish_sample()
        finally:
            if self._held or self._sample_wanted:
                self._woken.set()

    async def _publish_held(self) -> bool:
        """Publish what has been held back for HELD_S of bookings that still wait; whether there was any."""
        before = asyncio.get_running_loop().time() - HELD_S
        late = [id for id, (since, *_) in self._held.items() if since <= before]
        waited = False
        for begin in range(0, len(late), PUBLISHED_MAX):
            page = late[begin : begin + PUBLISHED_MAX]
            async with self._store.reading() as rows:
                waits = [row["id"] for row in await rows.connection.fetch(STILL_QUEUED, page)]
            # Another process has notified of the others later. What is shown of these has not changed.
            notifications = [booking_changed(*self._held[id][1:]) for id in waits if id in self._held]
            await self._publisher.publish(notifications)
            self.drop(page)
            waited |= bool(notifications)
        return waited

    async def _publish_sample(self) -> None:
        async with self._store.reading() as rows:
            sample = await rows.connection.fetch(SAMPLE, SAMPLED)
        if sample or self._published_some:
            parts: tuple[list[Any], list[Any]] = ([], [])
            for row in sample:
                parts[row["deferred"]].append((row["position"], row["created_at"], row["id"]))
            moved = QueueMoved(
                places=tuple(parts[False]),
                deferred=tuple(parts[True]),
                total=sample[0]["total"] if sample else 0,
                interval_ms=round(self._interval_s * 1000),
            )
            await self._publisher.publish([envelope_for(moved, "queue")])
        self._published_some = self._sample_wanted = bool(sample)


def queued(booking: Booking) -> bool:
    """Whether the booking waits for its intent, and is still wanted."""
    return waits_for(booking) is FollowUp.CREATE_INTENT


async def with_positions(store: Store, bookings: Sequence[resources.Booking]) -> dict[UUID, resources.Booking]:
    """The bookings, by id; those that wait for their intents have their queue positions."""
    found = {each.id: each for each in bookings}
    waiting: list[tuple[bool, datetime, UUID]] = [
        (each.payment.deferred, each.created_at, each.id) for each in bookings if each.queued
    ]
    if waiting:
        async with store.reading() as rows:
            positions = await rows.connection.fetch(POSITIONS, [id for *_, id in waiting], *max(waiting))
        found |= {row["id"]: found[row["id"]].with_payment(queue_position=row["position"]) for row in positions}
    return found
