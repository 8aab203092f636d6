"""Seats that became free are offered to those who wait: with each pass of the reconciler, by whichever process
comes first. The ticket types' locks make it one at a time, and what the first has done the second finds done."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from booking.availability import Availability
from booking.booking_rows import Interfered
from booking.buyers import Buyers, owner_key
from booking.presenters import entry_changed
from booking.repository import Store
from booking.state import HoldPolicy
from booking.unit_of_work import UnitOfWork
from booking.waiting_list import SeenEntry, decide, offered_of
from booking.waiting_rows import WaitedFor
from common.messaging.publisher import Publisher
from common.runtime.outages import Outage

# What no message asked for is published once more after this time: the process may have ended before that.
NOTIFY_AGAIN = timedelta(seconds=10)
NOTIFIED_MAX = 200
# Events handled in one pass, and of each ticket type the first entries: about as many bookings as a batch has.
EVENTS_MAX = 5
ENTRIES_MAX = 50

log = structlog.get_logger()


class Offers:
    def __init__(
        self,
        store: Store,
        unit: Callable[[], UnitOfWork],
        availability: Availability,
        publisher: Publisher,
        clock: Callable[[], datetime],
        policy: HoldPolicy,
    ) -> None:
        self._store = store
        self._unit = unit
        self._availability = availability
        self._publisher = publisher
        self._clock = clock
        self._policy = policy

    async def sample(self) -> None:
        """Set the gauges of waiting lists, which every process reads for itself."""
        try:
            waited_for = await self._waited_for()
        except Outage as error:
            log.debug("waiting lists not sampled", error=str(error))
            return
        metrics = self._store.metrics
        metrics.waiting_seats.labels("wanted").set(sum(each.waiting for each in waited_for))
        metrics.waiting_seats.labels("reserved").set(sum(each.reserved for each in waited_for))
        metrics.offers_due.set(sum(each.due for each in waited_for))

    async def _waited_for(self) -> list[WaitedFor]:
        async with self._store.reading() as rows:
            return await rows.waiting.waited_for(self._clock())

    async def run_once(self, now: datetime) -> int:
        """Make the offers that are due, close the lists of events that are over, and notify once more of what may
        have been missed; returns of how many entries."""
        async with self._store.statement() as rows:
            unnotified = await rows.waiting.take_unnotified(now, NOTIFIED_MAX)
        async with self._store.reading() as rows:
            seen = await rows.waiting.find(unnotified) if unnotified else {}
        await self._publisher.publish([entry_changed(each) for each in seen.values()])
        due = dict.fromkeys(each.event_id for each in await self._waited_for() if each.due)
        ended = [await self._of_event(event_id, now) for event_id in list(due)[:EVENTS_MAX]]
        return len(seen) + sum(ended)

    async def _of_event(self, event_id: UUID, now: datetime) -> int:
        unit = self._unit()
        try:
            async with unit.locked() as rows:
                sales = await rows.events.lock_sales([event_id])
                await rows.waiting.reserve(event_id)
                entries = await rows.waiting.first(event_id, ENTRIES_MAX)
                taken = await rows.buyers.lock({owner_key(event_id, each.owner) for each in entries})
                # A pause keeps its owner from joining; who stands in the line has waited.
                buyers = Buyers(
                    self._store.buyers, {key: each._replace(paused_until=None) for key, each in taken.items()}
                )
                event = sales.get(event_id)
                ended = [] if event is None else decide(event, entries, buyers, now, self._policy)
                offered = {owner_key(event_id, each.owner) for each, booking in ended if booking is not None}
                if paused := [key for key in offered & taken.keys() if taken[key].paused_until is not None]:
                    await rows.buyers.end_pauses(paused)
                await rows.waiting.end([entry for entry, _ in ended], now + NOTIFY_AGAIN)
                for _, booking in ended:
                    if booking is not None:
                        # Nobody repeats a request for it: one that is confirmed at once is published again, too.
                        unit.add(booking._replace(retry_at=booking.retry_at or now + NOTIFY_AGAIN))
                unit.buyers = buyers.bounds
        except Interfered as interfered:
            # An owner books for the first time at this very moment: the next pass makes the offers.
            log.info("offers interfered with", subject=str(event_id), error=str(interfered))
            return 0
        finally:
            # The counters of this event were changed by more than bookings.
            self._store.events.drop([event_id])
        for entry, _ in ended:
            self._store.metrics.waiting_entries.labels(entry.status).inc()
        log.info("waiting list", subject=str(event_id), ended=len(ended), offers=len(unit.bookings))
        self._availability.touched([event_id])
        changed = [entry_changed(SeenEntry(entry, offered=offered_of(booking))) for entry, booking in ended]
        await self._publisher.publish([*unit.envelopes(), *changed])
        return len(ended)
