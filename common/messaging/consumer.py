"""The consumer of one mailbox: reads a batch, handles it, publishes what follows, acknowledges. Knows no domain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog

from common.messaging.batch import Batch, Handlers, Worker
from common.messaging.dependencies import Dependencies
from common.messaging.mailbox import Mailbox
from common.messaging.publisher import Publisher
from common.runtime.backoff import Backoff
from common.runtime.health import Gate
from common.runtime.outages import Outage, RedisOutage
from common.runtime.settings import ActorSettings
from common.runtime.supervisor import raise_if_cancelled
from common.runtime.telemetry import Metrics

# A consumer whose work was refused is not ready until some of it succeeds, or nothing has been refused for this
# many times CLAIM_IDLE_MS, after which its entries are claimed again.
BARRED_CLAIMS = 2
# Seconds between searches for idle consumers, and for unknown messages whose type this process knows.
HOUSEKEEPING_SECONDS = 60.0
# The same, while there are more unknown messages than one search reads.
PAGE_SECONDS = 0.5
# An upgrade takes minutes: an unknown message older than this is logged as an error.
UNKNOWN_LATE_SECONDS = 600.0

# With concurrency: seconds to wait for a batch that is alone in hand. Calls to Stripe take longer.
QUICK_SECONDS = 0.02

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which mailbox (`stream`) a process reads, and the handlers of its messages.

    Without `concurrency` batches are handled one after the other. With it, up to that many entries are in hand at
    once, and their batches are handled side by side (for calls to a slow server).
    """

    stream: str
    handlers: Handlers
    concurrency: int | None = None


class Consumer:
    """The consumer of one mailbox."""

    def __init__(
        self,
        subscription: Subscription,
        mailbox: Mailbox,
        publisher: Publisher,
        settings: ActorSettings,
        metrics: Metrics,
        gate: Gate,
        *,
        reachable: Callable[[], Awaitable[object]],
    ) -> None:
        """`reachable` raises during an outage of what handlers need. `gate` is closed while nothing is read."""
        self.stream = subscription.stream
        self._handlers = subscription.handlers
        self._concurrency = subscription.concurrency
        self._mailbox = mailbox
        self._settings = settings
        self._gate = gate
        self._stopping = asyncio.Event()
        barred_s = BARRED_CLAIMS * settings.claim_idle_ms / 1000
        self._dependencies = Dependencies(gate, reachable, self._stopping, barred_s)
        self._worker = Worker(subscription.handlers, mailbox, publisher, settings, metrics, self._dependencies)
        self._backoff = Backoff()
        self._housekeeping = 0.0
        # An attempt that begins within this time after a batch was read ends before its entries can be claimed.
        self._budget_s = (settings.claim_idle_ms - settings.handler_timeout_ms) / 1000
        # With concurrency: how many entries are in hand, and an event that is set when there are fewer.
        self._in_hand = 0
        self._less = asyncio.Event()
        # The batch that is alone in hand, while the loop waits for it.
        self._awaited: Batch | None = None

    def stop(self) -> None:
        """Read no more; `run` returns when all that was read is done."""
        self._stopping.set()

    async def run(self) -> None:
        """Run until `stop`. When cancelled, drop what is in hand: that stays pending, and others claim it."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._run(group)
        finally:
            self._gate.close("stopped")
            await self._mailbox.close()

    async def _run(self, group: asyncio.TaskGroup) -> None:
        batch: Batch | None = None  # read, and not handled yet
        handled: Batch | None = None  # handled: what follows from it leaves with the next read
        while batch or handled or not self._stopping.is_set():
            raise_if_cancelled()
            if batch is None:
                batch = await self._publish_and_read(handled)
                handled = None
            elif self._concurrency is not None:
                handled = await self._handle_beside(batch, group)
                batch = None
            elif handled is None and not batch.full:
                handled = await self._retry_if_failed(batch, await self._worker.handle(batch))
                batch = None
            else:
                batch, handled = await self._read_while_handling(batch, handled)
        with suppress(RedisOutage):
            await self._mailbox.leave()

    async def _publish_and_read(self, handled: Batch | None) -> Batch | None:
        """The exchange: publish what follows from `handled`, acknowledge it and read the next batch, together."""
        if handled is None and not await self._prepare():
            return None
        while self._concurrency is not None and self._in_hand >= self._concurrency:
            self._less.clear()
            await self._less.wait()
        begun = time.perf_counter()
        error, reads = await self._exchange(handled, wait=True)
        await self._retry_if_failed(handled, error)
        # When the commands needed retries, the entries may have been here since it was sent.
        return await self._read(begun if error else None) if reads else None

    async def _read_while_handling(self, batch: Batch, handled: Batch | None) -> tuple[Batch | None, Batch | None]:
        """A full batch has more entries behind it: they are read and decoded while it is handled, after what
        follows from the batch before it was sent."""
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(self._receive(handled, more=batch.full))
            error = await self._worker.handle(batch)
        refused, following = receiving.result()
        await self._retry_if_failed(handled, refused)
        return following, await self._retry_if_failed(batch, error)

    async def _receive(self, handled: Batch | None, *, more: bool) -> tuple[Exception | None, Batch | None]:
        error, reads = await self._exchange(handled, wait=False, more=more)
        return error, await self._read() if reads else None

    async def _exchange(
        self, handled: Batch | None, *, wait: bool, more: bool = True
    ) -> tuple[Exception | None, bool]:
        """Send the commands of `handled`, and the next read with them: their error, and whether a read was sent.
        Without `wait` the read does not wait for entries."""
        error = self._worker.prepare(handled) if handled else None
        sent = None if error else handled
        open_, most = self._gate.opened.is_set(), self._settings.batch_max
        if self._concurrency is not None:
            most = min(most, self._concurrency - self._in_hand)
        # Something must be done before the next read, which the commands must not wait for.
        prepares = sent is not None and (not open_ or self._housekeeping_due)
        reads = more and not prepares and not self._stopping.is_set()
        # While paused, a read without waiting checks whether Redis serves again.
        block_ms = 1 if not open_ and not self._dependencies.barred else self._settings.block_ms
        await self._mailbox.begin(
            sent.commands if sent else (),
            most if reads else 0,
            block_ms if wait else 0,
            sent.notifications if sent else (),
        )
        if sent is not None:
            try:
                await self._mailbox.finish()
            except Exception as refused:
                return refused, reads
            self._worker.succeeded(sent)
        return error, reads

    async def _retry_if_failed(self, batch: Batch | None, error: Exception | None) -> Batch | None:
        """Returns `batch` when there was no error; otherwise retries it, and then nothing of it is left to send."""
        if error is None or batch is None:
            return batch
        await self._worker.retry(batch, error)
        return None

    # --- with concurrency

    async def _handle_beside(self, batch: Batch, group: asyncio.TaskGroup) -> Batch | None:
        """Handle it beside what else is in hand. A batch that is alone and soon handled is returned: what follows
        from it leaves with the next read."""
        self._awaited = None if self._in_hand else batch
        self._in_hand += batch.size
        task = group.create_task(uncancelled(self._in_background(batch)), name=f"batch {self.stream}")
        if self._awaited is not None:
            await asyncio.wait([task], timeout=QUICK_SECONDS)
            self._awaited = None
        return batch if task.done() and task.result() else None

    async def _in_background(self, batch: Batch) -> bool:
        """Whether what follows from it is still to be sent."""
        try:
            error = await self._worker.handle(batch)
            if error is None and self._awaited is batch:
                return True
            await self._retry_if_failed(batch, error or await self._worker.publish(batch))
            return False
        finally:
            self._in_hand -= batch.size
            self._less.set()

    async def _prepare(self) -> bool:
        """What precedes a read without an exchange before it. False, after a pause, during an outage."""
        try:
            if not self._gate.opened.is_set():
                await self._dependencies.reach()
                await self._mailbox.create()
            if self._housekeeping_due:
                await self._mailbox.remove_idle_consumers(self._settings.consumer_idle_ms)
                pause = PAGE_SECONDS if await self._put_back() else HOUSEKEEPING_SECONDS
                self._housekeeping = time.monotonic() + pause
        except (Outage, TimeoutError) as error:
            await self._dependencies.wait_to_retry(self._backoff, error)
            return False
        return True

    @property
    def _housekeeping_due(self) -> bool:
        return time.monotonic() >= self._housekeeping

    async def _put_back(self) -> bool:
        """Put unknown messages back whose type this process knows; returns whether there are more to check."""
        back = await self._mailbox.put_back([name for kind in self._handlers for name in kind.types])
        if back.found:
            log.info("unknown messages put back", mailbox=self.stream, messages=back.found)
        messages, oldest_s = back.left
        if oldest_s > UNKNOWN_LATE_SECONDS:
            shown = {"messages": messages, "oldest_seconds": round(oldest_s)}
            log.error("messages that nobody knows", mailbox=self.stream, **shown)
        return bool(back.last_checked)

    async def _read(self, since: float | None = None) -> Batch | None:
        """The batch that a read brought, which came now, or at `since`."""
        opened = self._gate.opened.is_set()
        try:
            entries = await self._mailbox.entries()
        except (Outage, TimeoutError) as error:
            await self._dependencies.wait_to_retry(self._backoff, error)
            return None
        self._backoff.reset()
        if not opened:
            self._dependencies.open()
        if not entries:
            return None
        batch = Batch(
            (since or time.perf_counter()) + self._budget_s,
            len(entries),
            full=len(entries) >= self._settings.batch_max,
        )
        batch.decode(self.stream, entries, self._handlers)
        return batch


async def run_all(consumers: Iterable[Consumer]) -> None:
    """Until all are stopped; an unexpected error of one ends all and is raised."""
    async with asyncio.TaskGroup() as group:
        for consumer in consumers:
            group.create_task(uncancelled(consumer.run()), name=f"consumer {consumer.stream}")


async def uncancelled(work: Awaitable[T]) -> T:
    """Awaits `work`. Raises RuntimeError if something that it awaited was cancelled: a task group would take the
    CancelledError for a normal end."""
    try:
        return await work
    except asyncio.CancelledError as cancelled:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("what a consumer awaited was cancelled") from cancelled
