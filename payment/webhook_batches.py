"""Stripe events are applied where they arrive: those that arrive while one batch is written make the next one.

No timer: a lone event waits for nobody. The webhook is answered after the commit; what follows from it is published
beside the answer. The mailbox `payment.webhooks` takes what cannot be applied here: all of it while Postgres is
away, and an event that fails on its own, which is counted and buried there.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from common.contracts.messages import PAYMENT_WEBHOOKS
from common.messaging.envelope import Delivery, Envelope
from common.messaging.publisher import Publisher
from common.messaging.reporting import Reporter
from common.messaging.streams import Entry
from common.runtime.outages import Away, RedisAway, log_away, said
from common.runtime.telemetry import Metrics
from payment.pictures import Json

# One batch is given up after this many seconds. Stripe counts a webhook as failed that is not answered soon, and
# names no time (https://docs.stripe.com/webhooks#acknowledge-events-immediately).
BATCH_SECONDS = 5.0
# After a batch met an outage, events go to the mailbox without another attempt for this many seconds.
OUTAGE_SECONDS = 1.0
# Events that wait for the batch in hand, in full batches; more of them go to the mailbox.
WAITING_BATCHES = 4

TakeEvents = Callable[[Sequence[tuple[Json, Delivery]]], Awaitable[Iterable[Envelope]]]
# An event that comes over HTTP is no entry of a stream.
NO_ENTRY = Entry(b"", {})

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Received:
    """One event as it was sent and as it was read, and the future that its webhook's answer waits for: whether it
    was committed."""

    delivery: Delivery
    event: Json
    committed: asyncio.Future[bool]


class WebhookBatches:
    """Applies events in batches of at most `batch_max`, one batch after the other, as the mailbox' handler does."""

    def __init__(self, take_events: TakeEvents, publisher: Publisher, metrics: Metrics, batch_max: int) -> None:
        self._take_events = take_events
        self._publisher = publisher
        self._report = Reporter(PAYMENT_WEBHOOKS, metrics)
        self._batch_max = batch_max
        self._waiting: deque[_Received] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._outage_until = 0.0
        # Kept here, as the event loop keeps no task alive.
        self._tasks: set[asyncio.Task[None]] = set()

    async def apply(self, message: Envelope, event: Json) -> None:
        """Returns when the event is committed, or in the mailbox: there the actor's loop tries again, or another
        process. Raises RedisAway when neither can be done now."""
        if not self._outage and len(self._waiting) < WAITING_BATCHES * self._batch_max:
            received = _Received(Delivery(NO_ENTRY, message), event, asyncio.get_running_loop().create_future())
            self._waiting.append(received)
            if self._writer is None or self._writer.done():
                self._writer = self._spawn("webhooks", self._write_all())
            if await received.committed:
                return
        await self._publisher.publish([message])

    async def close(self) -> None:
        """Wait for all that was begun. No event may come any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def _outage(self) -> bool:
        return asyncio.get_running_loop().time() < self._outage_until

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _write_all(self) -> None:
        while self._waiting:
            size = min(len(self._waiting), self._batch_max)
            await self._write([self._waiting.popleft() for _ in range(size)])

    async def _write(self, batch: Sequence[_Received]) -> None:
        follow: Iterable[Envelope] | None = None
        started = time.perf_counter()
        try:
            if not self._outage:
                async with asyncio.timeout(BATCH_SECONDS):
                    follow = await self._take_events([(each.event, each.delivery) for each in batch])
        except (Away, TimeoutError) as error:
            log_away("webhooks to the mailbox", error, events=len(batch))
            self._outage_until = asyncio.get_running_loop().time() + OUTAGE_SECONDS
        except Exception as error:
            if len(batch) > 1:  # one of them alone may be the cause
                for each in batch:
                    await self._write([each])
                return
            log.warning("webhook to the mailbox", id=batch[0].delivery.envelope.id, error=said(error))
        for each in batch:
            if not each.committed.done():  # else its client has gone
                each.committed.set_result(follow is not None)
        if follow is not None:
            self._report.done([each.delivery for each in batch], time.perf_counter() - started)
            self._spawn("publish what follows", self._publish(follow))

    async def _publish(self, follow: Iterable[Envelope]) -> None:
        try:
            await self._publisher.publish(follow)
        except RedisAway as away:
            # The rows have times at which all of it is published again.
            log_away("reports are left to the reconciler", away)
