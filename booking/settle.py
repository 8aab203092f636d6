"""What heals lost messages and ends holds: bookings that still wait for something are driven on when due.

With nothing due a pass is one look at the first entry of two partial indexes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from redis.asyncio import Redis

from booking import domain
from booking.availability import Availability
from booking.books import Books
from booking.domain import Decision, Moment, Signal
from booking.repository import Repository
from booking.state import Follow, Terms
from common.bus import Bus
from common.messages import PAYMENT_INTENTS
from common.settler import Settler
from common.statuses import CancelReason
from common.streams import oldest

# Rows taken in one pass: about what is published in one pipeline.
PASS_MAX = 200
# Events whose calling off goes on in one pass.
EVENTS_MAX = 5
# Whoever takes up an event that was called off has so long for one part of its bookings.
CALL_OFF_AGAIN = timedelta(seconds=15)
# Rows may become due sooner than the ones that were there at the last look: so long that may go unseen.
LOOK_S = 2.0
# Between passes while there is more than one pass can take.
BUSY_S = 0.05
# A booking's request enters its queue so long after the booking was made, at the most, when nothing is wrong.
ON_ITS_WAY = timedelta(seconds=5)
# Of its pause, the most that a row is put off, so that what became due together does not stay together.
SPREAD = 0.1

log = structlog.get_logger()


class BookingSettler(Settler):
    def __init__(
        self,
        repository: Repository,
        availability: Availability,
        bus: Bus,
        redis: Redis,
        clock: Callable[[], datetime],
        terms: Terms,
    ) -> None:
        super().__init__()
        self._repository = repository
        self._availability = availability
        self._bus = bus
        self._redis = redis
        self._clock = clock
        self._terms = terms

    async def run_once(self) -> float:
        """Drive what is due; says after how many seconds to look again."""
        now = self._clock()
        due = await self._repository.next_due()
        if due is None:
            return LOOK_S
        if due > now:
            return min(LOOK_S, (due - now).total_seconds())
        bookings = await self._drive(now)
        called_off = 0
        for event_id in await self._repository.take_due_events(now, CALL_OFF_AGAIN, EVENTS_MAX):
            called_off += await self._call_off(event_id, now)
        log.info("settled", bookings=bookings, called_off=called_off)
        return BUSY_S

    async def _drive(self, now: datetime) -> int:
        waiting_since = await oldest(self._redis, PAYMENT_INTENTS)
        async with self._repository.work() as work:
            books = Books(await work.take_due(now, PASS_MAX))
            for booking in tuple(books.bookings.values()):
                decision = domain.drive(booking, Moment(now, self._terms))
                if waiting_since is not None and booking.created_at >= waiting_since - ON_ITS_WAY:
                    decision = _without_intent(decision)
                books.take(_spread(decision, now))
            await books.save(work)
        # The next times are committed: what is lost from here on comes again then.
        await self._publish(books)
        return len(books.bookings)

    async def _call_off(self, event_id: UUID, now: datetime) -> int:
        """Cancel some bookings of an event that was called off; it is settled when there are no more."""
        moment = Moment(now, self._terms, cancel=CancelReason.EVENT_CANCELLED)
        async with self._repository.work() as work:
            ids = await work.to_call_off(event_id, PASS_MAX)
            books = await Books.open(work, ids)
            for booking in tuple(books.bookings.values()):
                books.take(domain.decide(booking, Signal.CANCEL, moment))
            await books.save(work)
        async with self._repository.work() as work:
            await work.settle_event(event_id, now if ids else None)
        await self._publish(books)
        return len(ids)

    async def _publish(self, books: Books) -> None:
        self._availability.touched(books.events_moved())
        await self._bus.publish(books.envelopes())


def _without_intent(decision: Decision) -> Decision:
    """A request for an intent that is still in its queue need not be sent again: in a rush that would only make
    the queue longer. What is older than all that waits there has been handled or lost."""
    follow = tuple(each for each in decision.follow if each is not Follow.CREATE_INTENT)
    return replace(decision, follow=follow)


def _spread(decision: Decision, now: datetime) -> Decision:
    booking = decision.booking
    if booking.settle_after is None:
        return decision
    later = (booking.settle_after - now) * (random.random() * SPREAD)
    return replace(decision, booking=replace(booking, settle_after=booking.settle_after + later))
