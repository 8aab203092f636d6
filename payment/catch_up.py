"""Webhooks that never came: Stripe's event list is compared with the events that were taken in.

https://docs.stripe.com/webhooks/process-undelivered-events. Stripe keeps events for 30 days. The list is newest
first, and an event may turn up in it minutes after its `created`. All times that are compared with events are
Stripe's.

The fleet looks together, in two ways, each with a cursor in the database: often, at what came since the last look
and a little before that; and now and then deep, at the last minutes once more, for what the list did not show yet.
A look asks for few pages. What it did not come to, the next one goes on with: the cursor moves only over what was
seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
import structlog
from redis.asyncio import Redis

from common.contracts.messages import PAYMENT_WEBHOOKS, StripeEventReceived
from common.messaging.envelope import Envelope, tell
from common.messaging.publisher import Publisher
from common.messaging.streams import oldest
from common.runtime.background import repeat
from common.runtime.backoff import Backoff
from common.runtime.health import Gate
from common.runtime.outages import said
from payment.pictures import BOOKING_ID, NEEDED_TYPES, Json, moment, own_id, without_spent_secret
from payment.repository import Cursor, Store
from payment.stripe_api import PAGE, Page, Refused, StripeApi, Unanswered

# The webhook of an event that is so old has arrived, if it does at the first try: younger ones would be doubled.
WEBHOOK_UNDER_WAY = timedelta(seconds=5)
# Of an ordinary look: what it looks at twice. The list is in order but for its youngest events.
OVERLAP = timedelta(seconds=30)
# Of a deep look. Stripe says nothing of how long its list may lag; what others have seen is seconds.
DEPTH = timedelta(minutes=15)
DEEP_EVERY = timedelta(seconds=30)
# Pages of 100 events that one look asks for: with a look each 10 s it keeps up with 100 events a second.
PAGES_MAX = 10
DEEP_PAGES_MAX = 10
# The cursor waits so long for an event that was found to be stored, since Redis may lose its message.
STORED_WITHIN = timedelta(minutes=5)
# After that no look comes by it any more: the cursor has gone on, and a deep look does not reach so far.
REMEMBERED = STORED_WITHIN + 2 * DEPTH
# An event is put on the stream so often by one process: after that it is one that cannot be taken in.
TRIES_MAX = 5
# Stripe itself forgets an event after 30 days, and sends its webhook for 3. So many are dropped in one look.
EVENT_LIFE = timedelta(days=35)
FORGET_MAX = 5000
# One look is given up after this; the next one begins where it began.
LOOK_TIMEOUT_S = 30.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reach:
    """One way of looking: the name of its cursor, how often, how far back, and how many pages at once."""

    name: str
    every: timedelta
    # How far a look goes back behind the end of the one before.
    depth: timedelta
    pages_max: int

    def bottom(self, cursor: Cursor, until: datetime) -> datetime:
        """Where a walk that begins at `until` has come to its end. A cursor that is ahead of Stripe's time was
        written by our own clock."""
        return min(cursor.looked_until or until, until) - self.depth


@dataclass(slots=True)
class Found:
    """An event that is at Stripe and was not taken in."""

    created: datetime
    since: datetime
    put_at: datetime
    # Of this process' looks, the one that put it on the stream last.
    look: int
    tries: int = 1


class CatchUp:
    """Looks at Stripe's event list every `every_s` seconds, the fleet together."""

    def __init__(
        self,
        store: Store,
        stripe: StripeApi,
        publisher: Publisher,
        redis: Redis,
        clock: Callable[[], datetime],
        every_s: float,
        livemode: bool,
        page_size: int = PAGE,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._publisher = publisher
        self._redis = redis
        self._clock = clock
        self._every_s = every_s
        self._livemode = livemode
        self._page_size = page_size
        every = timedelta(seconds=every_s)
        self._often = Reach("stripe", every, OVERLAP, PAGES_MAX)
        self._deep = Reach("stripe deep", max(every, DEEP_EVERY), DEPTH, DEEP_PAGES_MAX)
        # By id: what this process has put on the stream and not seen stored since.
        self._found: dict[str, Found] = {}
        self._looks = 0

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

    async def look(self) -> int:
        """Put the events that are missing on the stream, if it is this process' turn; says how many."""
        self._looks += 1
        return await self._look(self._often) + await self._look(self._deep)

    async def _look(self, reach: Reach) -> int:
        now = self._clock()
        cursor = await self._store.take_cursor(reach.name, now, reach.every)
        if cursor is None:
            return 0
        # In a long queue most of what is not stored yet has come all the same.
        waits_since = await oldest(self._redis, PAYMENT_WEBHOOKS, now)
        queued = min(now - waits_since, STORED_WITHIN) if waits_since is not None else timedelta()
        deadline = asyncio.get_running_loop().time() + LOOK_TIMEOUT_S
        after, until, put, ended = cursor.walked_to, cursor.walk_until, 0, False
        for _ in range(reach.pages_max):
            page = await self._page(after, deadline)
            until = until or page.at - WEBHOOK_UNDER_WAY - max(queued, timedelta())
            bottom = reach.bottom(cursor, until)
            # Whatever else is in a page costs nothing more: of few events each look sees all of the last minutes.
            put += await self._take_in(page, min(bottom, until - DEPTH), until, queued)
            ended = not page.has_more or moment(page.data[-1]["created"]) < bottom
            if ended:
                break
            after = page.data[-1]["id"]
        assert until is not None
        if ended:
            await self._store.move_cursor(reach.name, cursor, Cursor(await self._end(cursor, until)))
            await self._store.forget_events(until - EVENT_LIFE, FORGET_MAX)
        else:
            # In the next period, also where a look of this kind is not due yet.
            again = now + self._often.every
            await self._store.move_cursor(reach.name, cursor, Cursor(cursor.looked_until, after, until), again)
        return put

    async def _page(self, after: str | None, deadline: float) -> Page:
        """The page of the list behind the event `after`; the first one where Stripe does not know it any more."""
        try:
            return await self._stripe.list_page(
                "/v1/events", after, limit=self._page_size, types=NEEDED_TYPES, deadline=deadline
            )
        except Refused:
            if after is None:
                raise
            log.warning("event list begun again", after=after)
        return await self._stripe.list_page(
            "/v1/events", None, limit=self._page_size, types=NEEDED_TYPES, deadline=deadline
        )

    async def _take_in(self, page: Page, since: datetime, until: datetime, queued: timedelta) -> int:
        """Put those of the page's events on the stream that are not known; says how many."""
        events = {
            event["id"]: event
            for event in page.data
            if event.get("livemode", False) is self._livemode and since <= moment(event["created"]) <= until
        }
        unknown = await self._store.unknown_events(list(events))
        for id in self._found.keys() & (events.keys() - unknown):
            del self._found[id]
        # The list is newest first.
        missed = [
            events[id]
            for id in reversed(events)
            if id in unknown and self._is_to_be_put(events[id], page.at, queued)
        ]
        await self._publisher.publish([_envelope(event) for event in missed])
        if new := [event["id"] for event in missed if self._found[event["id"]].tries == 1]:
            log.warning("missed webhooks taken in", events=len(new), first=new[0], since=since.isoformat())
        return len(missed)

    def _is_to_be_put(self, event: Json, at: datetime, queued: timedelta) -> bool:
        """Whether to put an event on the stream that is not stored: not while its message may still wait there, and
        not for ever."""
        found = self._found.get(event["id"])
        if found is None:
            self._found[event["id"]] = Found(moment(event["created"]), at, at, self._looks)
            return True
        waits = found.look == self._looks or at - found.put_at < queued
        if waits or found.tries > TRIES_MAX:
            return False
        found.tries, found.put_at, found.look = found.tries + 1, at, self._looks
        if found.tries > TRIES_MAX:
            log.error("event cannot be taken in", id=event["id"], type=event["type"], tries=TRIES_MAX)
            return False
        return True

    async def _end(self, cursor: Cursor, until: datetime) -> datetime:
        """Where the cursor goes when a walk has come to its end: not over what was found and is not stored yet, for
        its message may be lost. That is waited for, but not for long."""
        unknown = await self._store.unknown_events(list(self._found))
        # While a look may still come by it, it is remembered that it was found: else it would be put on for ever.
        self._found = {
            id: found for id, found in self._found.items() if id in unknown and until - found.since < REMEMBERED
        }
        waited_for = [each.created for each in self._found.values() if until - each.since < STORED_WITHIN]
        return max(min([until, *waited_for]), min(cursor.looked_until or until, until))


def _envelope(event: Json) -> Envelope:
    message = StripeEventReceived(payload=orjson.dumps(without_spent_secret(event)).decode())
    return tell(message, own_id(event["data"]["object"], BOOKING_ID) or event["id"])
