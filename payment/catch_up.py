"""The catch-up: Stripe's event list is compared with the stored events, to find those whose webhook never came.

https://docs.stripe.com/webhooks/process-undelivered-events. The list is newest first, and an event may appear in it
minutes after its `created`. All times that are compared with events are Stripe's.

The fleet shares two kinds of scan of the list, each with a cursor in the database. An ordinary scan, often, reads
the events since the last scan and shortly before it; a deep scan, more rarely, reads the last minutes again, for
events that appeared late. A scan reads few pages, and the next one continues where it stopped: the cursor only
passes events that were read. An event that is missing is applied as if its webhook had come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from common.runtime.background import repeat
from common.runtime.backoff import Backoff
from common.runtime.health import Gate
from common.runtime.outages import error_text
from payment.repository import Cursor, Store
from payment.stripe_api import Answer, StripeApi
from payment.stripe_calls import side_by_side
from payment.stripe_errors import OutcomeUnknown, Refused
from payment.stripe_objects import NEEDED_TYPES, Json, time_of

# By this age a webhook has arrived unless its first delivery failed: newer events would only be applied twice.
WEBHOOK_UNDER_WAY = timedelta(seconds=5)
# How much of the last scan an ordinary scan reads again: only the newest events of the list are out of order.
OVERLAP = timedelta(seconds=30)
# How far back a deep scan reads. Stripe does not document how far its list may lag; reports are of seconds.
DEPTH = timedelta(minutes=15)
DEEP_EVERY = timedelta(seconds=30)
# While webhooks arrive, the next ordinary scan comes after this many periods, but no later than a deep one.
CALM_PERIODS = 3
# The most pages, of 100 events, in one scan: with a scan every 10 s it keeps up with 100 lost events a second.
PAGES_MAX = 10
# How often one process tries to apply an event: after that, the event counts as one that cannot be stored.
TRIES_MAX = 5
# The most events whose tries a process counts, so that its memory is bounded.
TRIED_MAX = 10_000
# How long events are stored: Stripe lists an event for 30 days, and sends its webhook for 3. One scan deletes at
# most FORGET_MAX of them, so that its statement is short.
EVENT_LIFE = timedelta(days=35)
FORGET_MAX = 5000
# One scan is given up after this many seconds; the next one begins where it began.
SCAN_TIMEOUT_S = 30.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Window:
    """One kind of scan: its cursor's name, its period, and how far before the end of the last scan it reads."""

    name: str
    every: timedelta
    depth: timedelta


class CatchUp:
    """Reads Stripe's event list every `every_s` seconds, one process of the fleet at a time. `apply` stores and
    applies a Stripe event, or puts it into the mailbox `payment.webhooks`."""

    def __init__(
        self,
        store: Store,
        stripe: StripeApi,
        apply: Callable[[Json], Awaitable[None]],
        clock: Callable[[], datetime],
        every_s: float,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._apply = apply
        self._clock = clock
        self._every_s = every_s
        every = timedelta(seconds=every_s)
        self._often = Window("stripe", every, OVERLAP)
        self._deep = Window("stripe deep", max(every, DEEP_EVERY), DEPTH)
        self._calm_every = min(CALM_PERIODS * every, self._deep.every)
        # Events that this process has tried to apply and not seen stored since: their `created`, and the tries.
        self._tried: dict[str, tuple[datetime, int]] = {}

    async def run(self, gate: Gate) -> None:
        """Runs until cancelled. A cancelled scan loses nothing: the next one begins where it began."""
        backoff = Backoff(first=0.5, most=10.0)

        async def step() -> float:
            try:
                await self.scan()
            except (OutcomeUnknown, Refused) as error:
                log.warning("event list not read", error=error_text(error))
                return backoff.next()
            backoff.reset()
            return self._every_s

        await repeat(step, gate)

    async def scan(self) -> None:
        """Apply missing events, if a scan is due and no other process has begun it. A deep scan comes only after an
        ordinary one that was complete."""
        now = self._clock()
        if await self._scan(self._often, now):
            await self._scan(self._deep, now)

    async def _scan(self, window: Window, now: datetime) -> bool:
        """Take one scan; returns whether it is complete."""
        cursor = await self._store.take_cursor(window.name, now, window.every)
        if cursor is None:
            return False
        deadline = asyncio.get_running_loop().time() + SCAN_TIMEOUT_S
        after, until, missed, newer, ended = cursor.walked_to, cursor.walk_until, 0, False, False
        for _ in range(PAGES_MAX):
            page = await self._page(after, deadline)
            events: list[Json] = page.body["data"]
            until = until or page.at - WEBHOOK_UNDER_WAY
            # A cursor ahead of Stripe's time was written from our own clock.
            before = min(cursor.scanned_until or until, until)
            bottom = before - window.depth
            # The rest of a page costs nothing more, so every scan compares all of the last minutes that are in it.
            since = min(bottom, until - DEPTH)
            listed = [event for event in events if since <= time_of(event["created"]) <= until]
            missed += await self._apply_missed(listed, since)
            newer = newer or any(time_of(event["created"]) > before for event in listed[:1])
            ended = not page.body["has_more"] or time_of(events[-1]["created"]) < bottom
            if ended:
                break
            after = events[-1]["id"]
        assert until is not None
        if ended:
            arrives = newer and not missed
            pause = self._calm_every if arrives and window is self._often else window.every
            await self._store.move_cursor(window.name, cursor, Cursor(await self._end(cursor, until)), now + pause)
            await self._store.forget_events(until - EVENT_LIFE, FORGET_MAX)
        else:
            # It continues in the next period, even if a scan of this kind is not due yet.
            walked = Cursor(cursor.scanned_until, after, until)
            await self._store.move_cursor(window.name, cursor, walked, now + self._often.every)
        return ended

    async def _page(self, after: str | None, deadline: float) -> Answer:
        """The page of the list after the event `after`; the first page if Stripe has deleted that event."""
        try:
            return await self._stripe.list_page("/v1/events", after, types=NEEDED_TYPES, deadline=deadline)
        except Refused:
            if after is None:
                raise
            log.warning("event list begun again", after=after)
        return await self._page(None, deadline)

    async def _apply_missed(self, listed: list[Json], since: datetime) -> int:
        """Apply the events that are not stored; returns their number. The list is newest first."""
        events = {event["id"]: event for event in reversed(listed)}
        unknown = await self._store.unknown_events(list(events))
        missed = [event for id, event in events.items() if id in unknown and self._tries(event)]
        await side_by_side(map(self._apply, missed))
        if new := [event["id"] for event in missed if self._tried[event["id"]][1] == 1]:
            log.warning("missed webhooks applied", events=len(new), first=new[0], since=since.isoformat())
        return len(missed)

    def _tries(self, event: Json) -> bool:
        """Count a try to apply the event; False if there were TRIES_MAX before."""
        created, tries = self._tried.pop(event["id"], (time_of(event["created"]), 0))
        self._tried[event["id"]] = (created, tries + 1)
        if len(self._tried) > TRIED_MAX:
            del self._tried[next(iter(self._tried))]
        if tries == TRIES_MAX:
            log.error("event cannot be applied", id=event["id"], type=event["type"], tries=TRIES_MAX)
        return tries < TRIES_MAX

    async def _end(self, cursor: Cursor, until: datetime) -> datetime:
        """The cursor's time after a complete scan: not after an event that is not stored and will be tried
        again."""
        unknown = await self._store.unknown_events(list(self._tried))
        self._tried = {id: tried for id, tried in self._tried.items() if id in unknown}
        waiting = [created for created, tries in self._tried.values() if tries < TRIES_MAX]
        return max(min([until, *waiting]), min(cursor.scanned_until or until, until))
