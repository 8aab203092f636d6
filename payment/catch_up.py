"""Webhooks that never came: Stripe's event list is compared with the events that are stored.

https://docs.stripe.com/webhooks/process-undelivered-events. The list is newest first, and an event may turn up in
it minutes after its `created`. All times that are compared with events are Stripe's.

The fleet looks together, in two ways, each with a cursor in the database: often, at what came since the last look
and a little before that; and now and then deep, at the last minutes once more, for what the list did not show yet.
A look asks for few pages. What it did not come to, the next one goes on with: the cursor moves only over what was
seen. What is found is taken in as if its webhook had come.
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
from common.runtime.outages import said
from payment.asking import side_by_side
from payment.pictures import NEEDED_TYPES, Json, moment
from payment.repository import Cursor, Store
from payment.stripe_api import Answer, StripeApi
from payment.stripe_errors import Refused, Unanswered

# The webhook of an event that is so old has arrived, if it does at the first try: younger ones would be doubled.
WEBHOOK_UNDER_WAY = timedelta(seconds=5)
# Of an ordinary look: what it looks at twice. The list is in order but for its youngest events.
OVERLAP = timedelta(seconds=30)
# Of a deep look. Stripe says nothing of how long its list may lag; what others have seen is seconds.
DEPTH = timedelta(minutes=15)
DEEP_EVERY = timedelta(seconds=30)
# While webhooks arrive, the next ordinary look comes after so many periods, and no later than a deep one.
CALM_PERIODS = 3
# Pages of 100 events that one look asks for: with a look each 10 s it keeps up with 100 lost events a second.
PAGES_MAX = 10
# An event is taken in so often by one process: after that it is one that cannot be stored.
TRIES_MAX = 5
# Events that could not be stored, of which a process knows how often it has tried.
TRIED_MAX = 10_000
# Stripe itself forgets an event after 30 days, and sends its webhook for 3. So many are dropped in one look.
EVENT_LIFE = timedelta(days=35)
FORGET_MAX = 5000
# One look is given up after this; the next one begins where it began.
LOOK_TIMEOUT_S = 30.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reach:
    """One way of looking: the name of its cursor, how often, and how far behind the end of the look before."""

    name: str
    every: timedelta
    depth: timedelta


class CatchUp:
    """Looks at Stripe's event list every `every_s` seconds, the fleet together. `take` has an event stored and
    applied; it is in the mailbox `payment.webhooks` where it could not be."""

    def __init__(
        self,
        store: Store,
        stripe: StripeApi,
        take: Callable[[Json], Awaitable[None]],
        clock: Callable[[], datetime],
        every_s: float,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._take = take
        self._clock = clock
        self._every_s = every_s
        every = timedelta(seconds=every_s)
        self._often = Reach("stripe", every, OVERLAP)
        self._deep = Reach("stripe deep", max(every, DEEP_EVERY), DEPTH)
        self._calm_every = min(CALM_PERIODS * every, self._deep.every)
        # Events that this process has taken in and not seen stored since: when they were made, and how often.
        self._tried: dict[str, tuple[datetime, int]] = {}

    async def run(self, gate: Gate) -> None:
        """Until cancelled: stopping in the middle loses nothing, the next look begins where this one did."""
        backoff = Backoff(first=0.5, most=10.0)

        async def step() -> float:
            try:
                await self.look()
            except (Unanswered, Refused) as error:
                log.warning("event list not read", error=said(error))
                return backoff.next()
            backoff.reset()
            return self._every_s

        await repeat(step, gate)

    async def look(self) -> None:
        """Take in the events that are missing, if it is this process' turn. A deep look comes after an ordinary one
        that has seen all there was."""
        now = self._clock()
        if await self._look(self._often, now):
            await self._look(self._deep, now)

    async def _look(self, reach: Reach, now: datetime) -> bool:
        """Whether it has come to its end."""
        cursor = await self._store.take_cursor(reach.name, now, reach.every)
        if cursor is None:
            return False
        deadline = asyncio.get_running_loop().time() + LOOK_TIMEOUT_S
        after, until, missed, news, ended = cursor.walked_to, cursor.walk_until, 0, False, False
        for _ in range(PAGES_MAX):
            page = await self._page(after, deadline)
            events: list[Json] = page.body["data"]
            until = until or page.at - WEBHOOK_UNDER_WAY
            # A cursor that is ahead of Stripe's time was written by our own clock.
            before = min(cursor.looked_until or until, until)
            bottom = before - reach.depth
            # Whatever else is in a page costs nothing more: of few events each look sees all of the last minutes.
            since = min(bottom, until - DEPTH)
            listed = [event for event in events if since <= moment(event["created"]) <= until]
            missed += await self._take_in(listed, since)
            news = news or any(moment(event["created"]) > before for event in listed[:1])
            ended = not page.body["has_more"] or moment(events[-1]["created"]) < bottom
            if ended:
                break
            after = events[-1]["id"]
        assert until is not None
        if ended:
            arrives = news and not missed
            pause = self._calm_every if arrives and reach is self._often else reach.every
            await self._store.move_cursor(reach.name, cursor, Cursor(await self._end(cursor, until)), now + pause)
            await self._store.forget_events(until - EVENT_LIFE, FORGET_MAX)
        else:
            # In the next period, also where a look of this kind is not due yet.
            walked = Cursor(cursor.looked_until, after, until)
            await self._store.move_cursor(reach.name, cursor, walked, now + self._often.every)
        return ended

    async def _page(self, after: str | None, deadline: float) -> Answer:
        """The page of the list behind the event `after`; the first one where Stripe does not know it any more."""
        try:
            return await self._stripe.list_page("/v1/events", after, types=NEEDED_TYPES, deadline=deadline)
        except Refused:
            if after is None:
                raise
            log.warning("event list begun again", after=after)
        return await self._page(None, deadline)

    async def _take_in(self, listed: list[Json], since: datetime) -> int:
        """Take in those events that are not stored; says how many. The list is newest first."""
        events = {event["id"]: event for event in reversed(listed)}
        unknown = await self._store.unknown_events(list(events))
        missed = [event for id, event in events.items() if id in unknown and self._tries(event)]
        await side_by_side(map(self._take, missed))
        if new := [event["id"] for event in missed if self._tried[event["id"]][1] == 1]:
            log.warning("missed webhooks taken in", events=len(new), first=new[0], since=since.isoformat())
        return len(missed)

    def _tries(self, event: Json) -> bool:
        """Count that an event is taken in; False where that was tried often enough."""
        created, tries = self._tried.pop(event["id"], (moment(event["created"]), 0))
        self._tried[event["id"]] = (created, tries + 1)
        if len(self._tried) > TRIED_MAX:
            del self._tried[next(iter(self._tried))]
        if tries == TRIES_MAX:
            log.error("event cannot be taken in", id=event["id"], type=event["type"], tries=TRIES_MAX)
        return tries < TRIES_MAX

    async def _end(self, cursor: Cursor, until: datetime) -> datetime:
        """Where the cursor goes when a walk has come to its end: not over what is not stored yet and is going to be
        tried again."""
        unknown = await self._store.unknown_events(list(self._tried))
        self._tried = {id: tried for id, tried in self._tried.items() if id in unknown}
        waiting = [created for created, tries in self._tried.values() if tries < TRIES_MAX]
        return max(min([until, *waiting]), min(cursor.looked_until or until, until))
