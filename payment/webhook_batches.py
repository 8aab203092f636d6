"""Stripe events are applied in the process where they arrive: those that arrive during one batch make the next one.

There is no timer, so a single event never waits. The webhook is answered after the commit; the messages that follow
are published at the same time. An event that cannot be applied here goes to the mailbox `payment.webhooks`: all
of them while Postgres is unavailable, and one that fails alone, whose failures are counted there until it is a dead
letter.
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
from common.messaging.envelope import Envelope, envelope_for
from common.messaging.publisher import Publisher, log_lost
from common.runtime.outages import Outage, error_text, log_outage
from common.runtime.telemetry import Metrics
from payment.stripe_objects import BOOKING_ID, Json, own_id, without_spent_secret

# One batch is given up after this many seconds. Stripe expects a quick answer, and names no time
# (https://docs.stripe.com/webhooks#acknowledge-events-immediately).
BATCH_SECONDS = 5.0
# After an outage, events go directly to the mailbox for this many seconds: each attempt may cost BATCH_SECONDS.
OUTAGE_SECONDS = 1.0
# The most Stripe events that wait for the current batch, in full batches; more go to the mailbox.
WAITING_BATCHES = 4

# Applies Stripe events, each with its trace (`traceparent`), and returns the messages to publish.
ApplyEvents = Callable[[Sequence[tuple[Json, str]]], Awaitable[Iterable[Envelope]]]

log = structlog.get_logger()


class _Received(NamedTuple):
    """A Stripe event, its trace, and the future that its webhook waits for: whether the event was committed."""

    event: Json
    traceparent: str
    committed: asyncio.Future[bool]


class WebhookBatches:
    """Applies Stripe events in batches of at most `batch_max`, one after another, as the mailbox' handler does."""

    def __init__(self, apply_events: ApplyEvents, publisher: Publisher, metrics: Metrics, batch_max: int) -> None:
        self._apply_events = apply_events
        self._publisher = publisher
        self._done = metrics.messages.labels(PAYMENT_WEBHOOKS, StripeEventReceived.types[0], "done")
        self._sizes = metrics.batch_size.labels(PAYMENT_WEBHOOKS)
        self._seconds = metrics.handler_seconds.labels(PAYMENT_WEBHOOKS)
        self._batch_max = batch_max
        self._waiting: deque[_Received] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._outage_until = 0.0
        # Kept here, because the event loop holds only weak references to tasks.
        self._begun: set[asyncio.Future[Any]] = set()

    async def apply(self, event: Json, traceparent: str = "") -> None:
        """Store and apply a genuine Stripe event. Returns when it is committed, or is in the mailbox, where a
        consumer will retry. Raises RedisOutage when neither is possible now."""
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
        """Wait for everything that was begun. No event may come any more."""
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
        follow_ups: Iterable[Envelope] | None = None
        started = time.perf_counter()
        try:
            if not self._outage:
                async with asyncio.timeout(BATCH_SECONDS):
                    follow_ups = await self._apply_events([(each.event, each.traceparent) for each in batch])
        except (Outage, TimeoutError) as error:
            log_outage("webhooks to the mailbox", error, events=len(batch))
            self._outage_until = asyncio.get_running_loop().time() + OUTAGE_SECONDS
        except Exception as error:
            if len(batch) > 1:  # one event alone may be the cause
                for each in batch:
                    await self._write([each])
                return
            log.warning("webhook to the mailbox", id=batch[0].event["id"], error=error_text(error))
        for each in batch:
            if not each.committed.done():  # else Stripe has closed the connection
                each.committed.set_result(follow_ups is not None)
        if follow_ups is not None:
            seconds = time.perf_counter() - started
            self._done.inc(len(batch))
            self._sizes.observe(len(batch))
            self._seconds.observe(seconds)
            for event, trace, _ in batch:
                log.info("webhook", id=event["id"], type=event["type"], batch=len(batch), trace=trace[3:35])
            messages, notifications = self._publisher.commands(follow_ups)
            if messages or notifications:
                published = self._publisher.enqueue([*messages, *notifications])
                published.add_done_callback(
                    log_lost
                )  # logged if lost; the rows have retry times, so it is repeated
                self._keep(published)


def for_mailbox(event: Json, traceparent: str) -> Envelope:
    """The message with the Stripe event. Its subject is the booking that Stripe's object names, else the event."""
    message = StripeEventReceived(payload=orjson.dumps(without_spent_secret(event)).decode())
    data = event["data"]
    id = own_id(data.get("object", {}), BOOKING_ID) if isinstance(data, dict) else None
    return envelope_for(message, id or event["id"], traceparent=traceparent)
