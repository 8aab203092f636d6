"""The consumer of one mailbox: read a batch, handle it, publish what follows, acknowledge. Knows no domain."""

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
from common.runtime.outages import Away, RedisAway
from common.runtime.settings import ActorSettings
from common.runtime.supervisor import heed_cancel
from common.runtime.telemetry import Metrics

# A consumer whose work was refused is not ready until some of it succeeds, or nothing has been refused for this
# many times the idle time after which entries are claimed again.
BARRED_CLAIMS = 2
# How often idle consumers are looked for, and messages that this process knows and another did not.
HOUSEKEEPING_S = 60.0
# The same, while there are more unknown messages than one step looks at.
PAGE_S = 0.5
# An upgrade takes minutes: after this nobody seems to come who knows a message.
UNKNOWN_LATE_S = 600.0

# With concurrency, a lone batch is waited for this long before others are read. Calls to a slow party take longer.
QUICK_S = 0.02

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a process reads from the mailbox `stream`, and the handlers of what comes in.

    With `concurrency`, up to that many entries are in hand at once, and their handlers run side by side (for calls
    to a slow party); without, one batch is handled after the other.
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
        """`reachable` raises while something that handlers need is away. `gate` is closed while nothing is read."""
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
        # An attempt that starts within this time after a batch was read ends before its entries can be claimed.
        self._budget_s = (settings.claim_idle_ms - settings.handler_timeout_ms) / 1000
        # With concurrency: the entries in hand, and that there are fewer than before.
        self._in_hand = 0
        self._less = asyncio.Event()
        # The lone one of which the loop still waits to hear.
        self._awaited: Batch | None = None

    def stop(self) -> None:
        """Read no more; `run` returns when what was read is done."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`. Cancelled, it drops what is in hand: that stays pending and is taken over by others."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._run(group)
        finally:
            self._gate.close("stopped")
            await self._mailbox.close()

    async def _run(self, group: asyncio.TaskGroup) -> None:
        batch: Batch | None = None  # to be handled
        handled: Batch | None = None  # what follows from it leaves with the next read
        while batch or handled or not self._stopping.is_set():
            heed_cancel()
            if batch is None:
                batch = await self._publish_and_read(handled)
                handled = None
            elif self._concurrency is not None:
                handled = await self._handle_beside(batch, group)
                batch = None
            elif handled is None and not batch.full:
                handled = await self._seen_through(batch, await self._worker.handle(batch))
                batch = None
            else:
                batch, handled = await self._read_while_handling(batch, handled)
        with suppress(RedisAway):
            await self._mailbox.leave()

    async def _publish_and_read(self, handled: Batch | None) -> Batch | None:
        """What follows from a batch leaves in one round trip with the next read."""
        if handled is None and not await self._prepare():
            return None
        while self._concurrency is not None and self._in_hand >= self._concurrency:
            self._less.clear()
            await self._less.wait()
        begun = time.perf_counter()
        error, reads = await self._exchange(handled, wait=True)
        await self._seen_through(handled, error)
        # Where the step took long to see through, the entries may have been there since it was sent.
        return await self._read(begun if error else None) if reads else None

    async def _read_while_handling(self, batch: Batch, handled: Batch | None) -> tuple[Batch | None, Batch | None]:
        """Behind a full batch there are more entries: they are read and decoded while it is handled, and before
        that what follows from the last one is sent."""
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(self._receive(handled, more=batch.full))
            error = await self._worker.handle(batch)
        refused, following = receiving.result()
        await self._seen_through(handled, refused)
        return following, await self._seen_through(batch, error)

    async def _receive(self, handled: Batch | None, *, more: bool) -> tuple[Exception | None, Batch | None]:
        error, reads = await self._exchange(handled, wait=False, more=more)
        return error, await self._read() if reads else None

    async def _exchange(
        self, handled: Batch | None, *, wait: bool, more: bool = True
    ) -> tuple[Exception | None, bool]:
        """Send the step of `handled`, and with it the next read: what became of it, and whether there is one.
        Without `wait` the read does not wait for entries."""
        error = self._worker.prepare(handled) if handled else None
        sent = None if error else handled
        open_, most = self._gate.opened.is_set(), self._settings.batch_max
        if self._concurrency is not None:
            most = min(most, self._concurrency - self._in_hand)
        # Something has to be seen to first, which the step must not wait for.
        prepares = sent is not None and (not open_ or self._housekeeping_due)
        reads = more and not prepares and not self._stopping.is_set()
        # While paused, it is asked without waiting whether all is well again.
        block_ms = 1 if not open_ and not self._dependencies.barred else self._settings.block_ms
        await self._mailbox.begin(
            sent.step if sent else (), most if reads else 0, block_ms if wait else 0, sent.news if sent else ()
        )
        if sent is not None:
            try:
                await self._mailbox.finish()
            except Exception as refused:
                return refused, reads
            self._worker.succeeded(sent)
        return error, reads

    async def _seen_through(self, batch: Batch | None, error: Exception | None) -> Batch | None:
        """`batch` where there was no error; else it is attempted again, and nothing of it is left to be sent."""
        if error is None or batch is None:
            return batch
        await self._worker.see_through(batch, error)
        return None

    # --- with concurrency

    async def _handle_beside(self, batch: Batch, group: asyncio.TaskGroup) -> Batch | None:
        """Handle it beside what else is in hand. A lone one that is soon handled is returned: what follows from it
        leaves with the next read."""
        self._awaited = None if self._in_hand else batch
        self._in_hand += batch.size
        task = group.create_task(uncancelled(self._in_background(batch)), name=f"batch {self.stream}")
        if self._awaited is not None:
            await asyncio.wait([task], timeout=QUICK_S)
            self._awaited = None
        return batch if task.done() and task.result() else None

    async def _in_background(self, batch: Batch) -> bool:
        """Whether what follows from it is still to be sent."""
        try:
            error = await self._worker.handle(batch)
            if error is None and self._awaited is batch:
                return True
            await self._seen_through(batch, error or await self._worker.publish(batch))
            return False
        finally:
            self._in_hand -= batch.size
            self._less.set()

    async def _prepare(self) -> bool:
        """What comes before a read that follows nothing. False, after a pause, while a dependency is away."""
        try:
            if not self._gate.opened.is_set():
                await self._dependencies.reach()
                await self._mailbox.create()
            if self._housekeeping_due:
                await self._mailbox.remove_idle_consumers(self._settings.consumer_idle_ms)
                pause = PAGE_S if await self._put_back() else HOUSEKEEPING_S
                self._housekeeping = time.monotonic() + pause
        except (Away, TimeoutError) as error:
            await self._dependencies.rest(self._backoff, error)
            return False
        return True

    @property
    def _housekeeping_due(self) -> bool:
        return time.monotonic() >= self._housekeeping

    async def _put_back(self) -> bool:
        """Put messages back that a process set aside which did not know them; says whether there are more."""
        back = await self._mailbox.put_back([name for kind in self._handlers for name in kind.types])
        if back.found:
            log.info("unknown messages put back", mailbox=self.stream, messages=back.found)
        messages, oldest_s = back.left
        if oldest_s > UNKNOWN_LATE_S:
            shown = {"messages": messages, "oldest_seconds": round(oldest_s)}
            log.error("messages that nobody knows", mailbox=self.stream, **shown)
        return bool(back.looked_at)

    async def _read(self, since: float | None = None) -> Batch | None:
        """What the read has brought: now, or since `since`."""
        opened = self._gate.opened.is_set()
        try:
            entries = await self._mailbox.entries()
        except (Away, TimeoutError) as error:
            await self._dependencies.rest(self._backoff, error)
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
    """`work`, of which something may have been cancelled that it awaits: a group would take that for an end as it
    should be. Raises RuntimeError then."""
    try:
        return await work
    except asyncio.CancelledError as cancelled:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("what a consumer awaited was cancelled") from cancelled
