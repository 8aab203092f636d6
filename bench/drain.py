"""One booking actor drains a full mailbox: how many CreateBooking entries of one event it handles a second.

The entries are there before the actor starts, and nothing else runs but Postgres and Redis: what is measured is
reading, deciding, one transaction for each batch, publishing and acknowledging.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from bench.cpu import Meter, Usage, difference
from bench.measures import Histogram, scrape
from common.contracts.ids import booking_id
from common.contracts.messages import BOOKING_COMMANDS, CreateBooking, ItemRequest
from common.messaging.envelope import envelope_for
from ops.actor import ActorProcess

# How many XADDs one pipeline has.
PIPELINE = 500
POLL_SECONDS = 0.02
SOURCE = "/bench"
BATCH_SIZE = "holdfast_batch_size"
HANDLER_SECONDS = "holdfast_handler_seconds"
MAILBOX = {"mailbox": BOOKING_COMMANDS}
# The share of a run's time that filling the mailbox takes, for the progress that is shown.
FILLING = 0.3

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Drained:
    """`entries` of `enqueued` were handled in `seconds`; `left` were not when the time was over.

    `handler` (seconds for each batch) and `batch` (entries) are the actor's own metrics.
    """

    enqueued: int
    left: int
    entries: int
    seconds: float
    handler: Histogram
    batch: Histogram
    cpu: Usage

    @property
    def per_second(self) -> float:
        return self.entries / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class _Sample:
    """How many entries were left at one time, and how much CPU all processes had used by then."""

    left: int
    at: float
    cpu: Usage


class Drain:
    """Fills the mailbox of `booking`, which must be stopped, starts it, and times how the mailbox empties."""

    def __init__(self, redis: Redis, booking: ActorProcess, servers: Mapping[str, int]) -> None:
        self._redis = redis
        self._booking = booking
        self._servers = dict(servers)

    async def run(self, event_id: UUID, run: str, entries: int, deadline: float, progress: Progress) -> Drained:
        """`entries` entries, as far as they are handled before `deadline` (monotonic); the rest is deleted. `run`
        makes the booking ids different from those of other runs. The actor is stopped at the end."""
        await self._fill(event_id, run, entries, lambda share: progress(share * FILLING))
        starting = asyncio.create_task(self._booking.start())
        try:
            first = await self._sample_until(starting, lambda left: left < entries, deadline + 5)
            last = await self._sample_until(
                starting,
                lambda left: left == 0,
                deadline,
                lambda left: progress(FILLING + (1 - FILLING) * (1 - left / entries)),
            )
            await starting
            handler = await scrape(self._booking.admin_url, HANDLER_SECONDS, MAILBOX)
            batch = await scrape(self._booking.admin_url, BATCH_SIZE, MAILBOX)
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await self._booking.stop(at_once=True)
        # Counted after the stop: the batch that was in hand at the deadline has been finished.
        left = await self._redis.xlen(BOOKING_COMMANDS)
        await self._redis.delete(BOOKING_COMMANDS)
        return Drained(
            enqueued=entries,
            left=int(left),
            entries=first.left - last.left,
            seconds=last.at - first.at,
            handler=handler,
            batch=batch,
            cpu=difference(first.cpu, last.cpu),
        )

    async def _fill(self, event_id: UUID, run: str, entries: int, progress: Progress) -> None:
        for start in range(0, entries, PIPELINE):
            async with self._redis.pipeline(transaction=False) as pipe:
                for number in range(start, min(start + PIPELINE, entries)):
                    pipe.xadd(BOOKING_COMMANDS, _entry(event_id, run, number))
                await pipe.execute()
            progress(start / entries)

    async def _sample_until(
        self,
        starting: asyncio.Task[None],
        enough: Callable[[int], bool],
        deadline: float,
        progress: Callable[[int], None] = lambda left: None,
    ) -> _Sample:
        """The first time at which `enough` is true of what is left, or the deadline."""
        while True:
            left = int(await self._redis.xlen(BOOKING_COMMANDS))
            now = time.monotonic()
            if enough(left) or now > deadline:
                return _Sample(left, now, Meter({**self._servers, "booking": self._booking.pid}).read())
            if starting.done():
                await starting  # raises why it could not start
            progress(left)
            await asyncio.sleep(POLL_SECONDS)


def _entry(event_id: UUID, run: str, number: int) -> dict[Any, Any]:
    owner = f"bench-{run}-{number}"
    message = CreateBooking(
        booking_id=booking_id(owner, run), owner=owner, event_id=event_id, items=(ItemRequest(quantity=1),)
    )
    fields = iter(envelope_for(message, message.booking_id).fields(SOURCE))
    return dict(zip(fields, fields, strict=True))
