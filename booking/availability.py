"""Publishes to the clients of an event how many seats are left, rarely enough that a rush costs nothing; and to
operators, how far the cancellation of an event has come."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from uuid import UUID

from redis.asyncio import Redis

from booking.presenters import event_changed
from booking.repository import Store
from common.contracts.messages import EVENTS_TOPIC
from common.contracts.statuses import EventStatus
from common.messaging.lease import Lease
from common.messaging.publisher import Publisher
from common.messaging.registry import listeners
from common.runtime.background import repeat
from common.runtime.health import Gate

# The progress of a cancellation is counted over all the event's bookings: published this many times less often.
COUNTED_TIMES = 4
# An event that only catalogues of gateways listen for, and no socket, is published this many times less often.
CATALOGUE_TIMES = 4
# So many of these at a time, those first that have waited longest. Each costs the fleet a tenth of a booking: where
# hundreds of events sell at the same time, a catalogue is some seconds behind, until it reads them all again.
CATALOGUE_EVENTS = 10
# The lease to publish an event lasts this many pauses: more than one, so that its holder renews it in time.
LEASE_PAUSES = 2


class Availability:
    """Reads changed events and publishes them, each event from one process of the fleet at a time.

    A change that no gateway listens for is dropped: a gateway registers before it asks for its snapshot, so that
    the snapshot has the change. Gateways with a catalogue listen for all events; what no socket follows is
    published more seldom. An event that another process publishes waits until that process' lease has expired. So
    what is published is at least as new as the change, and EventChanged carries a version that grows
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
        # In the order in which they have waited.
        self._touched: dict[UUID, None] = {}
        self._changed = asyncio.Event()
        # When events that only catalogues listen for may be published again, in the loop's time.
        self._catalogues_at = 0.0

    def touched(self, event_ids: Iterable[UUID]) -> None:
        """Mark these events as changed. Call it after the commit."""
        self._touched.update(dict.fromkeys(event_ids))
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
        touched, self._touched = self._touched, {}
        pause_ms, ours, tried = self._interval_ms, set[UUID](), set[UUID]()
        try:
            followed, catalogues = await self._listeners(touched)
            if followed:
                pause_ms = self._pause_ms(max(followed.values()))
                ours = await self._take(followed, pause_ms)
            elif catalogues:
                pause_ms = self._pause_ms(catalogues, CATALOGUE_TIMES)
            if catalogues and self._now() >= self._catalogues_at:
                tried = set([id for id in touched if id not in followed][:CATALOGUE_EVENTS])
                ours |= await self._take_for_catalogues(tried, catalogues)
            if ours and await self._publish(ours, followed, pause_ms * COUNTED_TIMES):
                pause_ms *= COUNTED_TIMES
        except BaseException:
            self._wait_again(touched)
            raise
        left = [id for id in (touched if catalogues else followed) if id not in ours]
        # What another process publishes must not keep others waiting.
        self._wait_again(sorted(left, key=tried.__contains__))
        return pause_ms / 1000

    def _wait_again(self, event_ids: Iterable[UUID]) -> None:
        """These have waited longer than those that were marked meanwhile."""
        self._touched = dict.fromkeys(event_ids) | self._touched
        if self._touched:
            self._changed.set()

    async def _listeners(self, touched: Collection[UUID]) -> tuple[dict[UUID, int], int]:
        """How many gateways listen for each of these events, where any does, and how many for all events."""
        topics = {f"event:{id}": id for id in touched}
        counts = await listeners(self._redis, [*topics, EVENTS_TOPIC] if topics else [])
        return {id: counts[topic] for topic, id in topics.items() if topic in counts}, counts.get(EVENTS_TOPIC, 0)

    def _pause_ms(self, gateways: int, times: int = 1) -> int:
        return min(self._interval_ms * gateways * times, self._most_ms)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _take_for_catalogues(self, event_ids: Collection[UUID], gateways: int) -> set[UUID]:
        """Those of the events, which no socket follows, that this process gets the lease for."""
        pause_ms = self._pause_ms(gateways, CATALOGUE_TIMES)
        ours = await self._take(event_ids, pause_ms) if event_ids else set[UUID]()
        if ours:
            self._catalogues_at = self._now() + pause_ms / 1000
        return ours

    async def _publish(
        self, event_ids: Collection[UUID], followed: Collection[UUID], counted_pause_ms: int
    ) -> bool:
        """Publish these events without drafts, cancelled ones with their progress if a socket may follow them;
        returns whether there are any of those."""
        async with self._store.reading() as rows:
            events = await rows.events.find(event_ids)
            found = {id: event for id, event in events.items() if event.status is not EventStatus.DRAFT}
            counted = {id for id, event in found.items() if event.called_off_at is not None and id in followed}
            progress = await rows.cancellations.progress(counted)
        await self._take(counted, counted_pause_ms)
        await self._publisher.publish([event_changed(event, progress.get(id)) for id, event in found.items()])
        return bool(counted)

    async def _take(self, event_ids: Collection[UUID], pause_ms: int) -> set[UUID]:
        """Take or renew these events' leases for publishing once in `pause_ms`; returns the events that it got."""
        lasts_ms = max(1, LEASE_PAUSES * pause_ms)
        leases = {id: Lease(f"availability:{id}", self._holder, lasts_ms) for id in event_ids}
        async with self._redis.pipeline(transaction=False) as commands:
            for lease in leases.values():
                commands.execute_command(*lease.acquire_command)
            answers = await commands.execute()
        return {id for (id, lease), answer in zip(leases.items(), answers, strict=True) if lease.acquired(answer)}
