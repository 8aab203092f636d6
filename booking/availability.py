"""Publishes to the clients of an event how many seats are left, rarely enough that a rush costs nothing; and to
operators, how far the cancellation of an event has come."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from uuid import UUID

from redis.asyncio import Redis

from booking.presenters import event_changed
from booking.repository import Store
from common.messaging.lease import Lease
from common.messaging.publisher import Publisher
from common.messaging.registry import listeners
from common.runtime.background import repeat
from common.runtime.health import Gate

# The progress of a cancellation is counted over all the event's bookings: published this many times less often.
COUNTED_TIMES = 4
# The lease to publish an event lasts this many pauses: more than one, so that its holder renews it in time.
LEASE_PAUSES = 2


class Availability:
    """Reads changed events and publishes them, each event from one process of the fleet at a time.

    A change that no gateway listens for is dropped: a gateway registers before it asks for its snapshot, so that
    the snapshot has the change. An event that another process publishes waits until that process' lease has
    expired. So what is published is at least as new as the change, and EventChanged carries a version that grows
    with each change: of several notifications the receiver keeps the newest.
    """

    def __init__(
        self, store: Store, publisher: Publisher, redis: Redis, holder: str, interval_ms: int, most_ms: int
    ) -> None:
        """The pause between two notifications of an event is `interval_ms` for each gateway that listens for it,
        and `most_ms` at most. `holder` names this process in leases."""
        self._store = store
        self._publisher = publisher
        self._redis = redis
        self._holder = holder
        self._interval_ms = interval_ms
        self._most_ms = max(interval_ms, most_ms)
        self._touched: set[UUID] = set()
        self._changed = asyncio.Event()

    def touched(self, event_ids: Iterable[UUID]) -> None:
        """Mark these events as changed. Call it after the commit."""
        self._touched.update(event_ids)
        if self._touched:
            self._changed.set()

    async def run(self, gate: Gate) -> None:
        """Run until cancelled; what cannot be published during an outage is published later."""

        async def step() -> float:
            await self._changed.wait()
            return await self.run_once()

        await repeat(step, gate)

    async def run_once(self) -> float:
        """Publish the events marked up to now for which gateways listen and whose lease this process gets. Returns
        the seconds until the next run."""
        self._changed.clear()
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
        """Publish these events; returns whether some of them are cancelled."""
        async with self._store.reading() as rows:
            found = await rows.events.find(event_ids)
            cancelled = {id for id, event in found.items() if event.called_off_at is not None}
            progress = await rows.cancellations.progress(cancelled)
        await self._take(cancelled, counted_pause_ms)
        await self._publisher.publish([event_changed(event, progress.get(id)) for id, event in found.items()])
        return bool(cancelled)

    async def _take(self, event_ids: Collection[UUID], pause_ms: int) -> set[UUID]:
        """Take or renew these events' leases for publishing once in `pause_ms`; returns the events that it got."""
        lasts_ms = max(1, LEASE_PAUSES * pause_ms)
        leases = {id: Lease(f"availability:{id}", self._holder, lasts_ms) for id in event_ids}
        async with self._redis.pipeline(transaction=False) as commands:
            for lease in leases.values():
                commands.execute_command(*lease.acquire_command)
            answers = await commands.execute()
        return {id for (id, lease), answer in zip(leases.items(), answers, strict=True) if lease.acquired(answer)}
