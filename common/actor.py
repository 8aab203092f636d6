"""The loop of an actor: read a batch, handle it, publish what follows, acknowledge. Knows no domain.

Each mailbox has a loop of its own, and the loops do not wait for one another. A handler takes all
deliveries of its message type at once, commits, and returns what to publish. It must be right when a
message comes late, twice or never: after any fault the same batch is simply handled again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from redis.asyncio import Redis

from common.backoff import Backoff
from common.bus import Bus
from common.envelope import Delivery, Envelope, Undecodable, decode
from common.health import Gate, Health
from common.messages import Message
from common.settings import ActorSettings
from common.streams import REDIS_AWAY, Entry, Mailbox
from common.telemetry import Metrics

Handler = Callable[[Sequence[Delivery]], Awaitable[Iterable[Envelope]]]
Handlers = Mapping[type[Message], Handler]

# A dependency that answers its ping but breaks the connection so often is not away: the batch breaks it.
BROKEN_MAX = 5
# How often idle consumers are looked for.
HOUSEKEEPING_S = 60.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Intake:
    """One mailbox, who handles what comes in, and how many entries may be in hand at once.

    With `slots`, batches run side by side (for calls to a slow party); without, one after the other.
    """

    mailbox: Mailbox
    handlers: Handlers
    slots: int | None = None


def in_order(deliveries: Sequence[Delivery], handlers: Handlers) -> list[tuple[Handler, list[Delivery]]]:
    """Group deliveries by handler without changing the order of messages about one subject.

    Deliveries of one handler keep their order too: seats are given in stream order.
    """
    groups: list[tuple[Handler, list[Delivery]]] = []
    last_of: dict[str, int] = {}
    for delivery in deliveries:
        handler = handlers[type(delivery.envelope.message)]
        subject = delivery.envelope.subject
        earliest = last_of.get(subject, 0)
        index = next((i for i in range(earliest, len(groups)) if groups[i][0] == handler), len(groups))
        if index == len(groups):
            groups.append((handler, []))
        groups[index][1].append(delivery)
        last_of[subject] = index
    return groups


class Loop:
    """The loop of one mailbox."""

    def __init__(
        self,
        intake: Intake,
        bus: Bus,
        settings: ActorSettings,
        metrics: Metrics,
        gate: Gate,
        *,
        reachable: Callable[[], Awaitable[object]],
        away: tuple[type[BaseException], ...],
    ) -> None:
        self._intake = intake
        self._mailbox = intake.mailbox
        self._bus = bus
        self._settings = settings
        self._metrics = metrics
        self._gate = gate
        self._reachable = reachable
        self._away = (*REDIS_AWAY, *away)
        self._stopping = asyncio.Event()
        self._in_hand: set[asyncio.Task[None]] = set()
        self._entries_in_hand = 0

    def stop(self) -> None:
        """Read no more; `run` returns when what was read is done."""
        self._stopping.set()

    async def run(self) -> None:
        backoff = Backoff()
        housekeeping = 0.0
        while not self._stopping.is_set():
            try:
                if not self._gate.opened.is_set():
                    await self._reachable()
                    await self._mailbox.create()
                    self._gate.open()
                if time.monotonic() >= housekeeping:
                    await self._mailbox.remove_idle_consumers(self._settings.consumer_idle_ms)
                    housekeeping = time.monotonic() + HOUSEKEEPING_S
                entries = await self._mailbox.read(await self._free_slots(), self._settings.block_ms)
                backoff.reset()
            except self._away as error:
                self._pause(error)
                await self._rest(backoff)
                continue
            if entries:
                await self._start(entries)
        if self._in_hand:
            await asyncio.wait(self._in_hand)
        self._gate.close("stopped")

    async def _free_slots(self) -> int:
        """How many entries may be taken now; waits until there is room for one."""
        slots = self._intake.slots
        if slots is None:
            return self._settings.batch_max
        while self._entries_in_hand >= slots:
            await asyncio.wait(self._in_hand, return_when=asyncio.FIRST_COMPLETED)
        return min(slots - self._entries_in_hand, self._settings.batch_max)

    async def _start(self, entries: list[Entry]) -> None:
        if self._intake.slots is None:
            await self._finish(entries)
            return
        self._entries_in_hand += len(entries)
        task = asyncio.create_task(self._finish(entries), name=f"batch {self._mailbox.stream}")
        self._in_hand.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._in_hand.discard(task)
            self._entries_in_hand -= len(entries)
            if not task.cancelled() and task.exception() is not None:
                # Its entries stay pending and come again.
                log.error("batch lost", mailbox=self._mailbox.stream, exc_info=task.exception())

        task.add_done_callback(done)

    def _pause(self, error: BaseException) -> None:
        if self._gate.reason is None:
            log.warning("paused", mailbox=self._mailbox.stream, error=f"{type(error).__name__}: {error}")
        self._gate.close(f"{type(error).__name__}: {error}")

    async def _rest(self, backoff: Backoff) -> None:
        try:
            async with asyncio.timeout(backoff.next()):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _finish(self, entries: list[Entry]) -> None:
        """See a batch through. While a dependency is away it waits, and no entry counts as failed."""
        backoff = Backoff()
        broken = 0
        started = time.perf_counter()
        while True:
            try:
                deliveries = await self._decode(entries)
                await self._handle(deliveries)
            except Exception as error:
                # A handler that ran out of time is judged by whether its dependencies answer.
                is_away = isinstance(error, self._away) and not isinstance(error, TimeoutError)
                is_away = is_away and broken < BROKEN_MAX
                if not (is_away or await self._unreachable()):
                    if len(entries) == 1:
                        await self._failed(entries[0], error)
                    else:
                        await self._one_by_one(entries, error, started)
                    return
                broken += 1
                self._pause(error)
                if self._stopping.is_set():
                    return  # left pending: another consumer takes them over
                await self._rest(backoff)
                await self._wait_until_reachable()
            else:
                self._gate.open()
                self._metrics.handler_seconds.labels(self._mailbox.stream).observe(time.perf_counter() - started)
                return

    async def _unreachable(self) -> bool:
        try:
            async with asyncio.timeout(5):
                await self._reachable()
        except Exception:
            log.debug("not reachable", mailbox=self._mailbox.stream, exc_info=True)
            return True
        return False

    async def _wait_until_reachable(self) -> None:
        backoff = Backoff(first=0.1)
        while not self._stopping.is_set() and await self._unreachable():
            await self._rest(backoff)

    async def _decode(self, entries: list[Entry]) -> list[Delivery]:
        """Decoded entries; those that are not messages go to the dead letters at once."""
        deliveries = []
        for entry in entries:
            try:
                delivery = decode(self._mailbox.stream, entry)
                if type(delivery.envelope.message) not in self._intake.handlers:
                    raise Undecodable(f"{delivery.envelope.message.type} does not belong here")
            except Undecodable as error:
                log.error("undecodable", mailbox=self._mailbox.stream, entry=entry.id.decode(), error=str(error))
                await self._mailbox.bury(entry, f"undecodable: {error}", attempts=1)
                self._metrics.messages.labels(self._mailbox.stream, "unknown", "undecodable").inc()
            else:
                deliveries.append(delivery)
        return deliveries

    async def _handle(self, deliveries: list[Delivery]) -> None:
        """Handle, publish, acknowledge: in that order, so that a crash in between only repeats."""
        if not deliveries:
            return
        started = time.perf_counter()
        follow: list[Envelope] = []
        async with asyncio.timeout(self._settings.handler_timeout_ms / 1000):
            for handler, group in in_order(deliveries, self._intake.handlers):
                follow.extend(await handler(group))
        await self._bus.publish(follow)
        await self._mailbox.ack([delivery.entry for delivery in deliveries])
        self._report(deliveries, "done", time.perf_counter() - started)

    def _report(self, deliveries: Sequence[Delivery], outcome: str, elapsed: float, **extra: object) -> None:
        mailbox = self._mailbox.stream
        self._metrics.batch_size.labels(mailbox).observe(len(deliveries))
        ms = round(elapsed * 1000, 2)
        for delivery in deliveries:
            envelope = delivery.envelope
            self._metrics.messages.labels(mailbox, envelope.message.type, outcome).inc()
            log.info(
                "message",
                type=envelope.message.type,
                subject=envelope.subject,
                id=envelope.id,
                trace=envelope.traceparent[3:35],
                reclaimed=delivery.entry.reclaimed,
                batch=len(deliveries),
                outcome=outcome,
                ms=ms,
                **extra,
            )

    async def _one_by_one(self, entries: list[Entry], error: BaseException, started: float) -> None:
        """One poison entry harms nobody else: each is tried on its own.

        Stops when the claim's idle time nears: what is left stays pending and comes again.
        """
        log.warning("batch failed", mailbox=self._mailbox.stream, size=len(entries), error=repr(error))
        budget = (self._settings.claim_idle_ms - self._settings.handler_timeout_ms) / 1000
        for entry in entries:
            if time.perf_counter() - started > budget or self._stopping.is_set():
                return
            await self._finish([entry])

    async def _failed(self, entry: Entry, error: Exception) -> None:
        """Count a failure of an entry on its own; after too many it goes to the dead letters."""
        try:
            attempts = await self._mailbox.count_failure(entry)
            dead = attempts >= self._settings.attempts_max
            if dead:
                await self._mailbox.bury(entry, f"{type(error).__name__}: {error}", attempts)
        except REDIS_AWAY as away:
            self._pause(away)
            return  # still pending
        outcome = "dead" if dead else "failed"
        delivery = decode(self._mailbox.stream, entry)
        self._metrics.messages.labels(self._mailbox.stream, delivery.envelope.message.type, outcome).inc()
        log.error(
            "message",
            type=delivery.envelope.message.type,
            subject=delivery.envelope.subject,
            id=delivery.envelope.id,
            attempt=attempts,
            outcome=outcome,
            exc_info=error,
        )


class Actor:
    """The loops of one process' mailboxes, started and stopped together."""

    def __init__(
        self,
        intakes: Sequence[Intake],
        *,
        bus: Bus,
        redis: Redis,
        settings: ActorSettings,
        metrics: Metrics,
        health: Health,
        ping: Callable[[], Awaitable[object]],
        away: tuple[type[BaseException], ...],
    ) -> None:
        async def reachable() -> None:
            await redis.ping()
            await ping()

        self.loops = {
            intake.mailbox.stream: Loop(
                intake,
                bus,
                settings,
                metrics,
                health.gate(intake.mailbox.stream),
                reachable=reachable,
                away=away,
            )
            for intake in intakes
        }

    def stop(self) -> None:
        for loop in self.loops.values():
            loop.stop()

    async def run(self) -> None:
        """Until `stop`; an unexpected error of one loop ends all and is raised."""
        async with asyncio.TaskGroup() as group:
            for stream, loop in self.loops.items():
                group.create_task(loop.run(), name=f"loop {stream}")
