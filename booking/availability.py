"""How many seats are left, published to everybody who looks at an event: seldom enough that a rush costs nothing.
And to operators, how far the calling off of an event has come."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from uuid import UUID

from redis.asyncio import Redis

from booking.notices import event_changed
from booking.repository import Store
from common.messaging.publisher import Publisher
from common.runtime.background import repeat
from common.runtime.health import Gate

# How far a calling off has come is counted over all bookings of the event: published this many times less often.
COUNTED_TIMES = 4


class Availability:
    """Reads events that were touched and publishes them, each at most once in `interval_ms` by the whole fleet.

    A process claims an event in Redis, then reads it; an event that another has claimed waits until that claim has
    expired. So what is read is at least as new as the change that touched it, and EventChanged carries a version
    that grows with each change: of several the receiver keeps the newest.
    """

    def __init__(self, store: Store, publisher: Publisher, redis: Redis, interval_ms: int) -> None:
        self._store = store
        self._publisher = publisher
        self._redis = redis
        self._interval_ms = interval_ms
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
            await self.run_once()
            return self._interval_ms / 1000

        await repeat(step, gate)

    async def run_once(self) -> None:
        """Publish what was touched up to now and is not another's to publish."""
        self._news.clear()
        touched, self._touched = self._touched, set()
        try:
            claimed = await self._claim(touched, self._interval_ms, only_free=True)
            async with self._store.reading() as rows:
                found = await rows.events.find(claimed)
            called_off = {id for id, event in found.items() if event.called_off_at is not None}
            await self._claim(called_off, self._interval_ms * COUNTED_TIMES)
            counted = await self._store.counts.calling_off(called_off)
            await self._publisher.publish([event_changed(event, counted.get(id)) for id, event in found.items()])
        except BaseException:
            self.touched(touched)
            raise
        self.touched(touched - claimed)

    async def _claim(self, event_ids: Collection[UUID], ms: int, *, only_free: bool = False) -> set[UUID]:
        """Keep others from publishing these for `ms`; says which are ours. The events that another has claimed stay
        its own with `only_free`. https://redis.io/docs/latest/commands/set/"""
        if not event_ids:
            return set()
        async with self._redis.pipeline(transaction=False) as commands:
            for id in event_ids:
                commands.set(f"availability:{id}", "", nx=only_free, px=max(1, ms))
            answers = await commands.execute()
        return {id for id, ours in zip(event_ids, answers, strict=True) if ours}
