"""Webhooks that never came: Stripe's event list is compared with the events that were taken in.

https://docs.stripe.com/webhooks/process-undelivered-events. Stripe keeps events for 30 days. The whole fleet
looks once in each period: whoever comes first takes the turn in the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import orjson
import structlog

from common.background import repeat
from common.backoff import Backoff
from common.bus import Bus
from common.envelope import tell
from common.health import Gate
from common.messages import StripeEventReceived
from common.outages import said
from payment.pictures import BOOKING_ID, NEEDED_TYPES, Json, moment, own_id
from payment.repository import Repository
from payment.stripe_api import Refused, StripeApi, Unanswered

# So old an event's webhook has arrived, if it ever does at first try: younger ones would only be doubled.
WEBHOOK_UNDER_WAY = timedelta(seconds=5)
# Events may turn up in the list a little after their time.
OVERLAP = timedelta(seconds=5)
# An event that nobody manages to take in does not hold up the look for longer.
FOUND_WITHIN = timedelta(minutes=5)
# Stripe itself forgets an event after 30 days, and sends its webhook for 3. So many are dropped in one look.
EVENT_LIFE = timedelta(days=35)
FORGET_MAX = 5000
# One look is given up after this; it begins again where it began.
LOOK_TIMEOUT_S = 120.0

log = structlog.get_logger()


class CatchUp:
    """Looks at Stripe's event list every `every_s` seconds, the fleet together."""

    def __init__(
        self,
        repository: Repository,
        stripe: StripeApi,
        bus: Bus,
        clock: Callable[[], datetime],
        every_s: float,
        livemode: bool,
    ) -> None:
        self._repository = repository
        self._stripe = stripe
        self._bus = bus
        self._clock = clock
        self._every = timedelta(seconds=every_s)
        self._livemode = livemode

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
            return self._every.total_seconds()

        await repeat(step, gate)

    async def look(self) -> int:
        """Take in the events that are missing, if it is this process' turn; says how many there were."""
        now = self._clock()
        since = await self._repository.take_cursor(now, self._every)
        if since is None:
            return 0
        until = now - WEBHOOK_UNDER_WAY
        deadline = asyncio.get_running_loop().time() + LOOK_TIMEOUT_S
        created = {"gte": int((since - OVERLAP).timestamp()), "lte": int(until.timestamp())}
        missed: list[datetime] = []
        pages = self._stripe.list_all("/v1/events", created=created, types=NEEDED_TYPES, deadline=deadline)
        async for page in pages:
            missed += await self._take_in(page)
        # What was found is looked for again until it is stored: its message may be lost, too.
        await self._repository.move_cursor(max(min([until, *missed]), now - FOUND_WITHIN))
        await self._repository.forget_events(now - EVENT_LIFE, FORGET_MAX)
        if missed:
            log.warning("missed webhooks taken in", events=len(missed), since=since.isoformat())
        return len(missed)

    async def _take_in(self, page: Sequence[Json]) -> list[datetime]:
        """Publish the page's events that are not known; says their times."""
        events = {event["id"]: event for event in page if event.get("livemode", False) is self._livemode}
        unknown = await self._repository.unknown_events(list(events))
        await self._bus.publish(
            [
                tell(
                    StripeEventReceived(payload=orjson.dumps(events[id]).decode()),
                    own_id(events[id]["data"]["object"], BOOKING_ID) or id,
                )
                # The list is newest first.
                for id in reversed(events)
                if id in unknown
            ]
        )
        return [moment(events[id]["created"]) for id in unknown]
