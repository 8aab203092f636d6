"""What heals lost messages and ends holds: bookings that still wait for something are driven on when due.

With nothing due a pass is one look at the first entry of two partial indexes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from redis.asyncio import Redis

from booking import domain
from booking.availability import Availability
from booking.booking_rows import Place
from booking.repository import Store
from booking.rules import Decision
from booking.schedule import turn, waits_for
from booking.state import Booking, Follow, HoldPolicy
from booking.triggers import Cancel, Happening, RetryRefunds
from booking.unit_of_work import UnitOfWork
from common.contracts.messages import PAYMENT_COMMANDS, PAYMENT_INTENTS
from common.contracts.statuses import BookingStatus, CancelReason
from common.messaging.publisher import Publisher
from common.messaging.streams import lengths, oldest
from common.runtime.reconciler import Reconciler

# Rows taken in one pass: about what is published in one pipeline.
PASS_MAX = 200
# Events whose calling off, or retry of failed refunds, goes on in one pass.
EVENTS_MAX = 5
# Whoever takes up such an event has so long for one part of its bookings.
CALL_OFF_AGAIN = timedelta(seconds=15)
# Operators' requests that were answered long ago: looked for so often by each process, and dropped so many at once.
FORGET_AGAIN = timedelta(hours=1)
FORGET_MAX = 1000
# So many commands that wait for Stripe are handled soon: asking for one of them again costs little.
COMMANDS_MANY = 1000
# A booking's request enters its queue so long after the booking was changed, at the most, when nothing is wrong.
ON_ITS_WAY = timedelta(seconds=5)
# What nobody asked for is told once more so long after it was changed.
TOLD_AGAIN = timedelta(seconds=10)
# And with so many drives of a booking that still waits for something.
TOLD_AGAIN_DRIVES = 2
# Of its pause, the most that a row is put off, so that what became due together does not stay together.
SPREAD = 0.1

log = structlog.get_logger()


class BookingReconciler(Reconciler):
    def __init__(
        self,
        store: Store,
        unit: Callable[[], UnitOfWork],
        availability: Availability,
        publisher: Publisher,
        redis: Redis,
        clock: Callable[[], datetime],
        policy: HoldPolicy,
        requests_kept: timedelta = timedelta(days=30),
    ) -> None:
        super().__init__(clock)
        self._store = store
        self._unit = unit
        self._availability = availability
        self._publisher = publisher
        self._redis = redis
        self._policy = policy
        self._requests_kept = requests_kept
        self._forget_at: datetime | None = None
        # Up to where the bookings of events have been gone through, by this process.
        self._gone_through: dict[UUID, Place] = {}

    async def next_due(self) -> datetime | None:
        return await self._store.next_due()

    async def run_once(self) -> float:
        now = self._clock()
        if self._forget_at is None or now >= self._forget_at:
            async with self._store.reading() as rows:
                forgotten = await rows.requests.forget(now - self._requests_kept, FORGET_MAX)
            # While there are more, a part in each pass.
            self._forget_at = now if forgotten == FORGET_MAX else now + FORGET_AGAIN
        return await super().run_once()

    async def drive_due(self, now: datetime) -> None:
        bookings = await self._drive(now)
        called_off = await self._go_on("events", lambda _: Cancel(CancelReason.EVENT_CANCELLED.value), now)
        retried = await self._go_on("refund_retries", RetryRefunds, now)
        log.info("settled", bookings=bookings, called_off=called_off, retried=retried)

    async def _drive(self, now: datetime) -> int:
        intents_since, commands_since = await self._waiting_since(now)
        unit = self._unit()
        async with unit.careful() as rows:
            unit.take(await rows.bookings.take_due(now, PASS_MAX))
            for booking in tuple(unit.bookings.values()):
                if _may_be_untold(booking):
                    unit.tell_again(booking.id)
                decision = domain.drive(booking, now, self._policy)
                if decision.booking.version != booking.version:
                    decision = _once_more(decision, now)
                else:  # a change asks for the first time
                    if intents_since is not None and booking.created_at >= intents_since - ON_ITS_WAY:
                        decision = _without(decision, Follow.CREATE_INTENT)
                    if commands_since is not None and booking.updated_at >= commands_since - ON_ITS_WAY:
                        decision = _without(decision, Follow.REFUND, Follow.CANCEL_INTENT)
                unit.change(_spread(decision, now, self._policy))
        # The next times are committed: what is lost from here on comes again then.
        await self._publisher.publish(unit.envelopes())
        return len(unit.bookings)

    async def _waiting_since(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        """Since when the first of the intents has waited, and of the commands where these are many: an event that
        is called off asks for more at once than Stripe takes in minutes."""
        intents = await oldest(self._redis, PAYMENT_INTENTS, now)
        many = (await lengths(self._redis, (PAYMENT_COMMANDS,)))[PAYMENT_COMMANDS] > COMMANDS_MANY
        return intents, await oldest(self._redis, PAYMENT_COMMANDS, now) if many else None

    async def _go_on(self, table: str, what: Callable[[UUID], Happening], now: datetime) -> int:
        """`what` happens to some bookings of each event that is due in `table`; when a look from the first one on
        finds no more, it is settled. After a crash whoever goes on finds those that are left."""
        done = 0
        for id, event_id in await self._store.take_due(table, now, CALL_OFF_AGAIN, EVENTS_MAX):
            # Without the place, each part would look at all bookings that the parts before it have changed.
            after = self._gone_through.pop(id, None)
            unit = self._unit()
            async with unit.careful() as rows:
                places = await rows.calling_off.left(table, id, PASS_MAX, after)
                unit.take(await rows.bookings.lock([id for _, id in places]))
                for booking in tuple(unit.bookings.values()):
                    unit.change(_once_more(domain.decide(booking, what(id), now, self._policy), now))
            if len(places) == PASS_MAX:
                self._gone_through[id] = places[-1]
            await self._store.settle(table, id, now if places or after else None)
            await self._publisher.publish(unit.envelopes())
            if table == "events":
                self._availability.touched([event_id])
            done += len(places)
        return done


def _may_be_untold(booking: Booking) -> bool:
    """What time alone has changed is told again with the next drives: the process may have ended, or Redis may have
    been away, between the commit and the news of it, and no message comes again that would bring it."""
    if waits_for(booking) is None:
        return True
    by_time = booking.closing is not None or booking.status is not BookingStatus.PENDING
    return by_time and booking.settle_attempts < TOLD_AGAIN_DRIVES


def _once_more(decision: Decision, now: datetime) -> Decision:
    """No message comes again when a process ends between the commit of this change and the news of it: a booking
    that is settled by it is driven once more, and told again then."""
    booking = decision.booking
    if booking.settle_after is not None:
        return decision
    return decision._replace(booking=booking._replace(settle_after=now + TOLD_AGAIN))


def _without(decision: Decision, *queued: Follow) -> Decision:
    """A request that is still in its queue need not be sent again: in a rush that would only make the queue longer.
    What is older than all that waits there has been handled or lost."""
    follow = tuple(each for each in decision.follow if each not in queued)
    return decision._replace(follow=follow)


def _spread(decision: Decision, now: datetime, policy: HoldPolicy) -> Decision:
    """A pause is put off a little; the end of a hold is not, nor of Stripe's time to answer."""
    booking = decision.booking
    if booking.settle_after is None or booking.settle_after == turn(booking, policy):
        return decision
    later = (booking.settle_after - now) * (random.random() * SPREAD)
    return decision._replace(booking=booking._replace(settle_after=booking.settle_after + later))
