"""How many seats are left, published to those who look at an event: seldom enough that a rush costs nothing.
And to operators, how far the calling off of an event has come."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from uuid import UUID

from redis.asyncio import Redis

from booking.notices import event_changed
from booking.repository import Store
from common.messaging.lease import Lease
from common.messaging.publisher import Publisher
from common.messaging.registry import listeners
from common.runtime.background import repeat
from common.runtime.health import Gate

# How far a calling off has come is counted over all bookings of the event: published this many times less often.
COUNTED_TIMES = 4
# A process that publishes an event goes on doing so for this many of its pauses after the last time.
LEASE_PAUSES = 2


class Availability:
    """Reads events that were touched and publishes them, each by one process of the fleet.

    What nobody listens for is forgotten: a gateway registers before it asks for a snapshot, so that has the change.
    An event that another process publishes waits until that one's lease has expired. So what is read is at least as
    new as the change that touched it, and EventChanged carries a version that grows with each change: of several
    the receiver keeps the newest.
    """

    def __init__(
        self, store: Store, publisher: Publisher, redis: Redis, holder: str, interval_ms: int, most_ms: int
    ) -> None:
        """Between two times that an event is published: `interval_ms` for each gateway that listens for it, but no
        more than `most_ms`. `holder`: this process, in leases."""
        self._store = store
        self._publisher = publisher
        self._redis = redis
        self._holder = holder
        self._interval_ms = interval_ms
        self._most_ms = max(interval_ms, most_ms)
        self._touched: set[UUID] = set()
        self._news = asyncio.Event()

    def touched(self, event_ids: Iterable[UUID]) -> None:
        """Call after the commit."""
        self._touched.update(event_ids)
        if self._touched:
            self._news.set()

    async def run(self, gate: Gate) -> None:
        """Until cancelled; what cannot be published while Postgres or Redis is away is published later."""

        async def step() -> float:
            await self._news.wait()
            return await self.run_once()

        await repeat(step, gate)

    async def run_once(self) -> float:
        """Publish what was touched up to now, is listened for, and is not another's to publish. Says after how many
        seconds to do so again."""
        self._news.clear()
        touched, self._touched = self._touched, set()
        pause_ms, ours = self._interval_ms, set[UUID]()
        try:
            topics = {f"event:{id}": id for id in touched}
            listened = {topics[topic]: number for topic, number in (await listeners(self._redis, topics)).items()}
            if listened:
                pause_ms = min(self._interval_ms * max(listened.values()), self._most_ms)
                ours = await self._take(listened, pause_ms)
            if ours and await self._publish(ours, pause_ms * COUNTED_TIMES):
                pause_ms *= COUNTED_TIMES
        except BaseException:
            self.touched(touched)
            raise
        self.touched(listened.keys() - ours)
        return pause_ms / 1000

    async def _publish(self, event_ids: Collection[UUID], counted_pause_ms: int) -> bool:
        """Whether there are some among them that are called off."""
        async with self._store.reading() as rows:
            found = await rows.events.find(event_ids)
            called_off = {id for id, event in found.items() if event.called_off_at is not None}
            progress = await rows.calling_off.progress(called_off)
        await self._take(called_off, counted_pause_ms)
        await self._publisher.publish([event_changed(event, progress.get(id)) for id, event in found.items()])
        return bool(called_off)

    async def _take(self, event_ids: Collection[UUID], pause_ms: int) -> set[UUID]:
        """Those of these events that this process is to publish, at such pauses."""
        lasts_ms = max(1, LEASE_PAUSES * pause_ms)
        leases = {id: Lease(f"availability:{id}", self._holder, lasts_ms) for id in event_ids}
        async with self._redis.pipeline(transaction=False) as commands:
            for lease in leases.values():
                commands.execute_command(*lease.take_command)
            answers = await commands.execute()
        return {id for (id, lease), answer in zip(leases.items(), answers, strict=True) if lease.taken(answer)}
