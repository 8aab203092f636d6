"""The queue in front of Stripe: where each booking stands that waits for its intent, told to all gateways.

A place is how many such bookings were asked for before. One message every so often holds the whole queue in a
sample, however many wait in it: exact at the front, thinner and thinner behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from redis.asyncio import Redis

from booking.counts import Counts
from common.contracts.messages import QueueMoved
from common.contracts.resources import Booking
from common.messaging.envelope import tell
from common.messaging.publisher import Publisher
from common.runtime.background import repeat
from common.runtime.health import Gate

# Whoever has set it tells of the queue; the others of the fleet look again when it has expired.
TURN_KEY = "booking.queue:turn"
# The first places are all told; behind them each is so many times the one before: less than a tenth is unknown.
EXACT = 32
GROWTH = 1.1
# More than can ever wait: gateways turn bookings away long before.
PLACE_MAX = 10_000_000


def _sampled() -> tuple[int, ...]:
    places = list(range(EXACT + 1))
    while places[-1] < PLACE_MAX:
        places.append(int(places[-1] * GROWTH))
    return tuple(places)


# Always the same ones, so that a place that is read off them falls as the queue moves.
SAMPLED = _sampled()


class Queue:
    """Tells of the queue, at most once in `interval_ms` by the whole fleet; of an empty one, once."""

    def __init__(self, counts: Counts, publisher: Publisher, redis: Redis, interval_ms: int) -> None:
        self._counts = counts
        self._publisher = publisher
        self._redis = redis
        self._interval_ms = interval_ms
        self._told = False

    async def run(self, gate: Gate) -> None:
        """Until cancelled; nothing is told while Postgres or Redis is away."""

        async def step() -> float:
            await self.run_once()
            return self._interval_ms / 1000

        await repeat(step, gate)

    async def run_once(self) -> None:
        """Tell, if it is this process's turn and anybody waits."""
        # A little shorter than the pause: whoever had the last turn would else come just too early for the next.
        if not await self._redis.set(TURN_KEY, "", nx=True, px=max(1, self._interval_ms * 9 // 10)):
            return
        total, places = await self._counts.queue(SAMPLED)
        if total or self._told:
            moved = QueueMoved(places=tuple(places), total=total, interval_ms=self._interval_ms)
            await self._publisher.publish([tell(moved, "queue")])
        self._told = total > 0


async def placed(counts: Counts, bookings: Sequence[Booking]) -> dict[UUID, Booking]:
    """The bookings, by id: with their places those that wait for their intents."""
    places = await counts.places([(each.created_at, each.id) for each in bookings if each.queued])
    return {each.id: each.at_place(places[each.id]) if each.id in places else each for each in bookings}
