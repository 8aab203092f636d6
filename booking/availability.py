"""How many seats are left, told to everybody who looks at an event: seldom enough that a rush costs nothing. And to
operators, how far the calling off of an event has come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from uuid import UUID

from booking.notices import event_changed
from booking.repository import Repository
from booking.state import Event
from common.messaging.bus import Bus
from common.runtime.background import repeat
from common.runtime.health import Gate

# How far a calling off has come is counted over all bookings of the event: told so many times more seldom.
COUNTED_TIMES = 4


class Availability:
    """Reads events that were touched and publishes them, each at most once in `interval_ms`.

    What is read is at least as new as the change that touched it, and EventChanged carries a version that grows
    with each change: whoever hears of several keeps the newest.
    """

    def __init__(self, repository: Repository, bus: Bus, interval_ms: int) -> None:
        self._repository = repository
        self._bus = bus
        self._interval_s = interval_ms / 1000
        self._touched: set[UUID] = set()
        self._counted_at: dict[UUID, float] = {}
        self._news = asyncio.Event()

    def touched(self, event_ids: Iterable[UUID]) -> None:
        """Call after the commit."""
        self._touched.update(event_ids)
        if self._touched:
            self._news.set()

    async def run(self, gate: Gate) -> None:
        """Until cancelled; what cannot be told while Postgres or Redis is away is told later."""

        async def step() -> float:
            await self._news.wait()
            await self.run_once()
            return self._interval_s

        await repeat(step, gate)

    async def run_once(self) -> None:
        """Tell of what was touched up to now."""
        self._news.clear()
        touched, self._touched = self._touched, set()
        try:
            async with self._repository.reading() as work:
                found = await work.events(touched)
            now = time.monotonic()
            later = {id for id, event in found.items() if self._too_soon(event, now)}
            called_off = {id for id, event in found.items() if event.called_off_at is not None} - later
            counted = await self._repository.counts.calling_off(called_off)
            await self._bus.publish(
                [event_changed(event, counted.get(id)) for id, event in found.items() if id not in later]
            )
        except BaseException:
            self.touched(touched)
            raise
        self._counted_at.update(dict.fromkeys(called_off, now))
        self.touched(later)

    def _too_soon(self, event: Event, now: float) -> bool:
        counted_at = self._counted_at.get(event.id)
        return counted_at is not None and now - counted_at < self._interval_s * COUNTED_TIMES
