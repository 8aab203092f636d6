"""What repairs lost messages and ends holds: bookings that wait for something are handled at their retry times.

With nothing due a pass reads the first entry of each of four partial indexes.
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
from booking.booking_rows import Position
from booking.repository import Store
from booking.rules import Decision
from booking.schedule import next_change, waits_for
from booking.state import Booking, FollowUp, HoldPolicy
from booking.triggers import Cancel, Happening, RetryRefunds, SetCustomer
from booking.unit_of_work import UnitOfWork
from common.contracts.messages import PAYMENT_COMMANDS, PAYMENT_DEFERRED, PAYMENT_INTENTS
from common.contracts.statuses import BookingStatus, CancelReason
from common.messaging.publisher import Publisher
from common.messaging.streams import lengths, oldest
from common.runtime.reconciler import Reconciler

# Rows handled in one pass: about as many as are published in one pipeline.
PASS_MAX = 200
# Cancelled events, and as many retries of refunds and erasures, that one pass continues: up to PASS_MAX bookings of
# each.
EVENTS_MAX = 5
# A process that claims such a row has this long for one part of its bookings before another one may claim it.
EVENT_CLAIM = timedelta(seconds=15)
# Revoked tokens are known this long after they have ended: the clocks of gateways may differ.
REVOCATIONS_KEPT = timedelta(hours=1)
# How often each process deletes what is no longer needed (operators' requests that were answered long ago, old
# addresses, revocations and recovery codes that have ended), and how many of each at once.
FORGET_AGAIN = timedelta(hours=1)
FORGET_MAX = 1000
# How often each process counts anew what one of the release before has changed, and how many bookings at once.
RECOUNT_AGAIN = timedelta(minutes=1)
RECOUNT_MAX = 200
# Up to this many commands that wait for Stripe are handled soon: repeating one of them costs little.
COMMANDS_MANY = 1000
# If nothing is wrong, a booking's request is in its mailbox at most this long after the booking was changed.
ON_ITS_WAY = timedelta(seconds=5)
# A change that no message asked for is published once more after this time.
NOTIFY_AGAIN = timedelta(seconds=10)
# And, of a booking that still waits for something, with this many of its retries.
NOTIFY_AGAIN_RETRIES = 2
# The longest delay of a retry, as a share of its pause, so that rows that became due together spread out.
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
        addresses_kept: timedelta = timedelta(days=7),
    ) -> None:
        super().__init__(clock)
        self._store = store
        self._unit = unit
        self._availability = availability
        self._publisher = publisher
        self._redis = redis
        self._policy = policy
        self._requests_kept = requests_kept
        self._addresses_kept = addresses_kept
        self._forget_at: datetime | None = None
        self._recount_at: datetime | None = None
        # Up to which position this process has handled the bookings of events.
        self._handled_up_to: dict[UUID, Position] = {}

    async def next_due(self) -> datetime | None:
        return await self._store.next_due()

    async def run_once(self) -> float:
        now = self._clock()
        if self._forget_at is None or now >= self._forget_at:
            async with self._store.reading() as rows:
                requests = await rows.requests.forget(now - self._requests_kept, FORGET_MAX)
                addresses = await rows.buyers.forget_addresses(now - self._addresses_kept, FORGET_MAX)
                revocations = await rows.revocations.forget(now - REVOCATIONS_KEPT, FORGET_MAX)
                codes = await rows.recovery.forget(now, FORGET_MAX)
            # While there are more, each pass deletes a part.
            more = FORGET_MAX in (requests, addresses, revocations, codes)
            self._forget_at = now if more else now + FORGET_AGAIN
        if self._recount_at is None or now >= self._recount_at:
            async with self._store.reading() as rows:
                recounted = await rows.buyers.recount(self._store.buyers.pause, RECOUNT_MAX)
                of_codes = await rows.codes.recount(RECOUNT_MAX)
            more = RECOUNT_MAX in (recounted, of_codes)
            self._recount_at = now if more else now + RECOUNT_AGAIN
        return await super().run_once()

    async def retry_due(self, now: datetime) -> None:
        bookings = await self._retry_bookings(now)
        cancelled = await self._continue("events", _event_cancelled, now)
        retried = await self._continue("refund_retries", RetryRefunds, now)
        erased = await self._continue("erasures", _erased, now)
        log.info("reconciled", bookings=bookings, cancelled=cancelled, retried=retried, erased=erased)

    async def _retry_bookings(self, now: datetime) -> int:
        intents_since, commands_since, deferred_since = await self._waiting_since(now)
        unit = self._unit()
        async with unit.locked() as rows:
            unit.take(await rows.bookings.take_due(now, PASS_MAX))
            for booking in tuple(unit.bookings.values()):
                if _may_be_unpublished(booking):
                    unit.notify_again(booking.id)
                decision = domain.retry(booking, now, self._policy)
                if decision.booking.version != booking.version:
                    decision = _once_more(decision, now)
                elif unit.defers(booking):
                    if deferred_since is not None and booking.updated_at >= deferred_since - ON_ITS_WAY:
                        decision = _without(decision, FollowUp.CREATE_INTENT, FollowUp.CANCEL_INTENT)
                else:  # a changed booking asks for the first time
                    if intents_since is not None and booking.created_at >= intents_since - ON_ITS_WAY:
                        decision = _without(decision, FollowUp.CREATE_INTENT)
                    if commands_since is not None and booking.updated_at >= commands_since - ON_ITS_WAY:
                        decision = _without(decision, FollowUp.REFUND, FollowUp.CANCEL_INTENT)
                unit.change(_spread(decision, now, self._policy))
        # The retry times are committed: a message that is lost from here on is published again then.
        await self._publisher.publish(unit.envelopes())
        return len(unit.bookings)

    async def _waiting_since(self, now: datetime) -> tuple[datetime | None, datetime | None, datetime | None]:
        """Since when the oldest request for an intent has waited, the oldest command if there are many (cancelling
        an event asks for more at once than Stripe accepts in minutes), and the oldest deferred request."""
        intents = await oldest(self._redis, PAYMENT_INTENTS, now)
        many = (await lengths(self._redis, (PAYMENT_COMMANDS,)))[PAYMENT_COMMANDS] > COMMANDS_MANY
        commands = await oldest(self._redis, PAYMENT_COMMANDS, now) if many else None
        return intents, commands, await oldest(self._redis, PAYMENT_DEFERRED, now)

    async def _continue(self, table: str, what: Callable[[UUID, str | None], Happening], now: datetime) -> int:
        """`what`, which somebody asked for, happens to some bookings of each row that is due in `table`. When a
        pass from the first booking on finds none left, the row is finished. After a crash another process finds
        those that are left."""
        done = 0
        for id, by in await self._store.take_due(table, now, EVENT_CLAIM, EVENTS_MAX):
            # Without the position, each part would read all bookings that the parts before it have changed.
            after = self._handled_up_to.pop(id, None)
            unit = self._unit()
            async with unit.locked() as rows:
                positions = await rows.cancellations.left(table, id, PASS_MAX, after)
                if table == "erasures":
                    await rows.mails.erase(id)
                unit.take(await rows.bookings.lock([id for _, id in positions]))
                for booking in tuple(unit.bookings.values()):
                    decision = domain.decide(booking, what(id, by), now, self._policy)
                    unit.change(_once_more(decision, now), by=by)
            if len(positions) == PASS_MAX:
                self._handled_up_to[id] = positions[-1]
            await self._store.set_retry_time(table, id, now if positions or after else None)
            await self._publisher.publish(unit.envelopes())
            if table == "events":
                self._availability.touched([id])
            done += len(positions)
        return done


def _event_cancelled(_: UUID, by: str | None) -> Cancel:
    return Cancel(CancelReason.EVENT_CANCELLED.value, by=by)


def _erased(_: UUID, __: str | None) -> SetCustomer:
    return SetCustomer(None)


def _may_be_unpublished(booking: Booking) -> bool:
    """Whether a notification may be lost: the process may have ended, or Redis may have been unavailable, after the
    commit of a change by time alone, which no message causes again. The next retries publish it again."""
    if waits_for(booking) is None:
        return True
    by_time = booking.closing is not None or booking.status is not BookingStatus.PENDING
    return by_time and booking.retry_count < NOTIFY_AGAIN_RETRIES


def _once_more(decision: Decision, now: datetime) -> Decision:
    """No message comes again if the process ends between the commit of this change and its notification: a booking
    that the change finishes is handled once more, and published again then."""
    booking = decision.booking
    if booking.retry_at is not None:
        return decision
    return decision._replace(booking=booking._replace(retry_at=now + NOTIFY_AGAIN))


def _without(decision: Decision, *queued: FollowUp) -> Decision:
    """A request that still waits in its mailbox need not be repeated: in a rush that would only make the mailbox
    longer. A request that is older than all that wait there has been handled or lost."""
    follow_ups = tuple(each for each in decision.follow_ups if each not in queued)
    return decision._replace(follow_ups=follow_ups)


def _spread(decision: Decision, now: datetime, policy: HoldPolicy) -> Decision:
    """Delay a retry a little, but not the end of a hold, nor that of the grace time."""
    booking = decision.booking
    if booking.retry_at is None or booking.retry_at == next_change(booking, policy):
        return decision
    later = (booking.retry_at - now) * (random.random() * SPREAD)
    return decision._replace(booking=booking._replace(retry_at=booking.retry_at + later))
