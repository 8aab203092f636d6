"""Fair in front of Stripe: what an owner, or the guests of one address, ask of Stripe beyond their share waits
behind what all others ask.

An owner may ask for some Stripe calls at once, and for one more every few seconds: for the intents of new bookings,
and for cancelling intents when it cancels bookings or lets holds expire. What it asks beyond that is deferred: it
goes to `payment.deferred`, which gets a small part of Stripe's rate while others want it. A booking that was
deferred once stays so. Refunds, and what operators ask for, are never deferred.

Each process counts for itself, in memory, so that a booking pays no round trip: of a fleet of N processes an owner
gets up to N shares.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple
from uuid import UUID

from redis.asyncio import Redis

from booking.rules import Decision
from booking.state import Booking, FollowUp
from common.contracts.messages import PAYMENT_DEFERRED
from common.contracts.statuses import Reason
from common.messaging.lease import has_reader
from common.messaging.streams import lengths
from common.runtime.background import repeat
from common.runtime.health import Gate

# Owners and addresses whose calls are counted; beyond it the one that asked longest ago is forgotten.
COUNTED_MAX = 100_000  # of a few hundred bytes each
# How often each process checks whether somebody reads the deferred mailbox, in seconds; and for how many seconds
# after somebody did: longer than a reader is busy with what it has in hand.
CHECK_SECONDS = 2.0
READ_SECONDS = 30.0
# While the deferred mailbox is longer, nothing is added to it: bookings ask again at their retry times.
LENGTH_MAX = 5_000
# Why a booking ends by what its owner does, or leaves undone.
BY_OWNER = frozenset({Reason.BY_CUSTOMER.value, Reason.HOLD_EXPIRED.value})


class Share(NamedTuple):
    """Of an owner: `calls` at once (0: nothing is deferred), and one more every `seconds`. An address has the share
    of `per_address` owners (0: addresses are not counted)."""

    calls: int = 4
    seconds: float = 2.0
    per_address: int = 20


class FairShare:
    """What this process knows of who asked Stripe for how much."""

    def __init__(self, redis: Redis, share: Share, now: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._share = share
        self._now = now
        # By owner or address, how many calls are left of its share, and when that was so.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        # Until when somebody counts as reading the deferred mailbox: processes of the release before do not.
        self._read_until = 0.0
        self.full = False

    async def run(self, gate: Gate) -> None:
        """Run until cancelled; during an outage of Redis it keeps what it found last."""

        async def step() -> float:
            await self.check()
            return CHECK_SECONDS

        await repeat(step, gate)

    async def check(self) -> None:
        """Find out whether somebody reads the deferred mailbox, and whether it is full. Raises RedisOutage."""
        self.full = (await lengths(self._redis, (PAYMENT_DEFERRED,)))[PAYMENT_DEFERRED] > LENGTH_MAX
        if await has_reader(self._redis, PAYMENT_DEFERRED):
            self._read_until = self._now() + READ_SECONDS

    def asks(self) -> Asks:
        return Asks(self)

    # --- what `Asks` needs

    @property
    def defers(self) -> bool:
        """Whether what is asked beyond a share is deferred: else nobody would read it."""
        return self._share.calls > 0 and self._now() < self._read_until

    def keys(self, booking: Booking) -> Iterator[tuple[str, float]]:
        """Whose calls those of `booking` are, each with the multiple of an owner's share that it has."""
        yield f"owner {booking.owner}", 1
        if booking.address is not None and self._share.per_address:
            yield f"address {booking.address}", self._share.per_address

    def left(self, key: str, times: float) -> float:
        """How many calls are left of the share."""
        most = self._share.calls * times
        left, at = self._left.get(key, (most, 0.0))
        return min(most, left + (self._now() - at) / self._share.seconds * times)

    def take(self, key: str, times: float) -> None:
        self._left[key] = (max(0.0, self.left(key, times) - 1), self._now())
        self._left.move_to_end(key)
        if len(self._left) > COUNTED_MAX:
            self._left.popitem(last=False)


class Asks:
    """What the bookings of one batch ask of Stripe. It counts when the batch is committed: a batch that is handled
    again, and a request that is repeated, count once."""

    def __init__(self, of: FairShare) -> None:
        self._of = of
        # The calls of this batch that are not deferred, by whom, and the bookings that they are for.
        self._asked: Counter[str] = Counter()
        self._bookings: dict[UUID, Booking] = {}

    def new(self, booking: Booking) -> Booking:
        """A booking that asks for its intent."""
        return self._judged(booking)

    def changed(self, decision: Decision, before: Booking) -> Decision:
        """A change that may ask for the cancellation of the intent. What was asked for before, and is asked again
        because something else has changed, counts once."""
        booking = decision.booking
        if FollowUp.CANCEL_INTENT not in decision.follow_ups or not _by_owner(booking) or _by_owner(before):
            return decision
        return decision._replace(booking=self._judged(booking))

    def _judged(self, booking: Booking) -> Booking:
        if not self._of.defers or booking.deferred:
            return booking
        keys = list(self._of.keys(booking))
        if any(self._of.left(key, times) - self._asked[key] < 1 for key, times in keys):
            return booking._replace(deferred=True)
        self._asked.update(key for key, _ in keys)
        self._bookings[booking.id] = booking
        return booking

    def committed(self, written: Collection[UUID]) -> None:
        """Count what was written."""
        for id in self._bookings.keys() & written:
            for key, times in self._of.keys(self._bookings[id]):
                self._of.take(key, times)

    @property
    def full(self) -> bool:
        """Nothing more is deferred now: what would be is asked for again at its retry time."""
        return self._of.full

    def deferred(self, booking: Booking, follow_up: FollowUp) -> bool:
        """Whether the booking's request for `follow_up` goes to the deferred mailbox."""
        if not booking.deferred or not self._of.defers:
            return False
        return follow_up is FollowUp.CREATE_INTENT or (follow_up is FollowUp.CANCEL_INTENT and _by_owner(booking))


def _by_owner(booking: Booking) -> bool:
    """Whether the cancellation of its intent, which needs a Stripe call, is its owner's doing. An intent that is
    not known yet is not canceled at Stripe: payment only notes that it is not wanted."""
    return booking.intent_id is not None and (booking.closing or booking.reason) in BY_OWNER
