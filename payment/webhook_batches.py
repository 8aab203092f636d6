"""Stripe events are applied where they arrive: those that arrive while one batch is written make the next one.

No timer: a lone event waits for nobody. The webhook is answered after the commit; what follows from it is published
beside the answer. The mailbox `payment.webhooks` takes what cannot be applied here: all of it while Postgres is
away, and an event that fails on its own, which is counted and buried there.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

import orjson
import structlog

from common.contracts.messages import PAYMENT_WEBHOOKS, StripeEventReceived
from common.messaging.envelope import Envelope, tell
from common.messaging.publisher import Publisher, lost
from common.runtime.outages import Away, log_away, said
from common.runtime.telemetry import Metrics
from payment.pictures import BOOKING_ID, Json, own_id, without_spent_secret

# One batch is given up after this many seconds. Stripe counts a webhook as failed that is not answered soon, and
# names no time (https://docs.stripe.com/webhooks#acknowledge-events-immediately).
BATCH_SECONDS = 5.0
# After a batch met an outage, events go to the mailbox without another attempt for this many seconds.
OUTAGE_SECONDS = 1.0
# Events that wait for the batch in hand, in full batches; more of them go to the mailbox.
WAITING_BATCHES = 4

# Of events, each with its trace (`traceparent`).
TakeEvents = Callable[[Sequence[tuple[Json, str]]], Awaitable[Iterable[Envelope]]]

log = structlog.get_logger()


class _Received(NamedTuple):
    """An event, its trace, and the future that its webhook's answer waits for: whether it was committed."""

    event: Json
    traceparent: str
    committed: asyncio.Future[bool]


class WebhookBatches:
    """Applies events in batches of at most `batch_max`, one batch after the other, as the mailbox' handler does."""

    def __init__(self, take_events: TakeEvents, publisher: Publisher, metrics: Metrics, batch_max: int) -> None:
        self._take_events = take_events
        self._publisher = publisher
        self._done = metrics.messages.labels(PAYMENT_WEBHOOKS, StripeEventReceived.types[0], "done")
        self._sizes = metrics.batch_size.labels(PAYMENT_WEBHOOKS)
        self._seconds = metrics.handler_seconds.labels(PAYMENT_WEBHOOKS)
        self._batch_max = batch_max
        self._waiting: deque[_Received] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._outage_until = 0.0
        # Kept here, as the event loop keeps nothing alive.
        self._begun: set[asyncio.Future[Any]] = set()

    async def apply(self, event: Json, traceparent: str = "") -> None:
        """Have a genuine event stored and applied. Returns when it is committed, or in the mailbox: there this
        process' loop tries again, or another's. Raises RedisAway when neither can be done now."""
        if not self._outage and len(self._waiting) < WAITING_BATCHES * self._batch_max:
            received = _Received(event, traceparent, asyncio.get_running_loop().create_future())
            self._waiting.append(received)
            if self._writer is None or self._writer.done():
                self._writer = asyncio.create_task(self._write_all(), name="webhooks")
                self._keep(self._writer)
            if await received.committed:
                return
        await self._publisher.publish([for_mailbox(event, traceparent)])

    async def close(self) -> None:
        """Wait for all that was begun. No event may come any more."""
        while self._begun:
            await asyncio.wait(self._begun)

    @property
    def _outage(self) -> bool:
        return asyncio.get_running_loop().time() < self._outage_until

    def _keep(self, begun: asyncio.Future[Any]) -> None:
        self._begun.add(begun)
        begun.add_done_callback(self._begun.discard)

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
                    follow = await self._take_events([(each.event, each.traceparent) for each in batch])
        except (Away, TimeoutError) as error:
            log_away("webhooks to the mailbox", error, events=len(batch))
            self._outage_until = asyncio.get_running_loop().time() + OUTAGE_SECONDS
        except Exception as error:
            if len(batch) > 1:  # one of them alone may be the cause
                for each in batch:
                    await self._write([each])
                return
            log.warning("webhook to the mailbox", id=batch[0].event["id"], error=said(error))
        for each in batch:
            if not each.committed.done():  # else its client has gone
                each.committed.set_result(follow is not None)
        if follow is not None:
            seconds = time.perf_counter() - started
            self._done.inc(len(batch))
            self._sizes.observe(len(batch))
            self._seconds.observe(seconds)
            for event, trace, _ in batch:
                log.info("webhook", id=event["id"], type=event["type"], batch=len(batch), trace=trace[3:35])
            step, news = self._publisher.commands(follow)
            if step or news:
                published = self._publisher.enqueue([*step, *news])
                published.add_done_callback(lost)  # and published again: the rows have times for that
                self._keep(published)


def for_mailbox(event: Json, traceparent: str) -> Envelope:
    """The message that brings the event. It is about the booking, where Stripe's object names it."""
    message = StripeEventReceived(payload=orjson.dumps(without_spent_secret(event)).decode())
    data = event["data"]
    id = own_id(data.get("object", {}), BOOKING_ID) if isinstance(data, dict) else None
    return tell(message, id or event["id"], traceparent=traceparent)
