"""The loop of one mailbox: read a batch, handle it, publish what follows, acknowledge. Knows no domain.

A handler takes all deliveries of its message type at once, commits, and returns what to publish. It must be
right when a message comes late, twice or never: after any fault the same batch is simply handled again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from common.contracts.messages import Message
from common.messaging.bus import Bus
from common.messaging.envelope import Delivery, Envelope, Undecodable, UnknownType, decode
from common.messaging.reporting import Reporter
from common.messaging.streams import Entry, Mailbox
from common.runtime.backoff import Backoff
from common.runtime.health import Gate
from common.runtime.outages import Away, RedisAway, log_away, said
from common.runtime.settings import ActorSettings
from common.runtime.supervisor import heed_cancel
from common.runtime.telemetry import Metrics

Handler = Callable[[Sequence[Delivery]], Awaitable[Iterable[Envelope]]]
Handlers = Mapping[type[Message], Handler]

# A dependency that answers its ping but breaks the connection so often is not away: the batch breaks it.
BROKEN_MAX = 5
# Behind a full batch there is more: the next one is read and decoded while the one before is handled or published.
BATCHES_AHEAD = 2
# A loop whose work was refused is not ready until some of it succeeds, or nothing has been refused for this many
# times the idle time after which entries are claimed again.
BARRED_CLAIMS = 2
# How often idle consumers are looked for, and messages that this process knows and another did not.
HOUSEKEEPING_S = 60.0
# While there are more unknown messages than one step looks at.
PAGE_S = 0.5
# An upgrade takes minutes: after this nobody seems to come who knows a message.
UNKNOWN_LATE_S = 600.0
# A dependency that has not answered after so long is away.
REACH_TIMEOUT_S = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Intake:
    """One mailbox, who handles what comes in, and how many entries may be in hand at once.

    With `slots`, handlers run side by side (for calls to a slow party); without, one after the other.
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
    ) -> None:
        self._intake = intake
        self._mailbox = intake.mailbox
        self._bus = bus
        self._settings = settings
        self._metrics = metrics
        self._report = Reporter(intake.mailbox.stream, metrics)
        self._gate = gate
        self._reachable = reachable
        self._stopping = asyncio.Event()
        self._in_hand: set[asyncio.Task[None]] = set()
        self._entries_in_hand = 0
        # In whose order batches are handled. With slots nobody waits for another.
        self._turn = asyncio.Semaphore(1 if intake.slots is None else intake.slots)
        self._more = False
        self._lost: asyncio.Task[None] | None = None
        self._housekeeping = 0.0
        # Until then this loop is not ready though all that it asks for answers: its work was refused all the same.
        self._barred_until = 0.0
        # A handler that starts within this time after a batch was read ends before its entries can be claimed.
        self._budget_s = (settings.claim_idle_ms - settings.handler_timeout_ms) / 1000

    def stop(self) -> None:
        """Read no more; `run` returns when what was read is done."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`. Cancelled, it drops what is in hand: that stays pending and is taken over by others."""
        try:
            await self._read_on()
            with suppress(RedisAway):
                await self._mailbox.leave()
            if self._in_hand:
                await asyncio.wait(self._in_hand)
        finally:
            for task in self._in_hand:
                task.cancel()
            if self._in_hand:
                await asyncio.wait(self._in_hand)
            self._gate.close("stopped")

    async def _read_on(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            heed_cancel()
            try:
                await self._prepare()
                room = await self._room()
                if self._stopping.is_set():
                    return
                # While paused, it is asked without waiting whether all is well again.
                paused = not self._gate.opened.is_set()
                wait_ms = 1 if paused and not self._barred else self._settings.block_ms
                entries = await self._mailbox.read(room, wait_ms)
                backoff.reset()
                if paused:
                    self._open()
            except (Away, TimeoutError) as error:
                self._pause(error)
                await self._rest(backoff)
                continue
            if entries:
                self._start(entries)

    async def _prepare(self) -> None:
        if not self._gate.opened.is_set():
            async with asyncio.timeout(REACH_TIMEOUT_S):
                await self._reachable()
            await self._mailbox.create()
        if time.monotonic() >= self._housekeeping:
            await self._mailbox.remove_idle_consumers(self._settings.consumer_idle_ms)
            pause = PAGE_S if await self._put_back() else HOUSEKEEPING_S
            self._housekeeping = time.monotonic() + pause

    async def _put_back(self) -> bool:
        """Put messages back that were set aside by a process that did not know them; says whether to look again."""
        known = [name for kind in self._intake.handlers for name in kind.types]
        moved, left, more = await self._mailbox.put_back(known)
        if moved:
            log.info("unknown messages put back", mailbox=self._mailbox.stream, messages=moved)
        if left.oldest_s > UNKNOWN_LATE_S:
            log.error(
                "messages that nobody knows",
                mailbox=self._mailbox.stream,
                messages=left.messages,
                oldest_seconds=round(left.oldest_s),
            )
        return more

    async def _room(self) -> int:
        """How many entries may be taken now; waits until there is room for one."""
        slots = self._intake.slots
        if slots is None:
            while len(self._in_hand) >= (BATCHES_AHEAD if self._more else 1):
                await asyncio.wait(self._in_hand, return_when=asyncio.FIRST_COMPLETED)
            if self._lost is not None:
                self._lost.result()  # raises what has happened to it, which ends this loop
            return self._settings.batch_max
        while self._entries_in_hand >= slots:
            await asyncio.wait(self._in_hand, return_when=asyncio.FIRST_COMPLETED)
        return min(slots - self._entries_in_hand, self._settings.batch_max)

    def _start(self, entries: list[Entry]) -> None:
        self._more = len(entries) == self._settings.batch_max
        self._entries_in_hand += len(entries)
        task = asyncio.create_task(self._take(entries), name=f"batch {self._mailbox.stream}")
        self._in_hand.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._in_hand.discard(task)
            self._entries_in_hand -= len(entries)
            if task.cancelled():
                self._lost = task
            elif task.exception() is not None:
                # Its entries stay pending and come again.
                self._lost = task
                log.error("batch lost", mailbox=self._mailbox.stream, exc_info=task.exception())

        task.add_done_callback(done)

    @property
    def _barred(self) -> bool:
        return time.monotonic() < self._barred_until

    def _open(self) -> None:
        if self._barred:
            return
        if self._gate.reason is not None:
            log.info("reading", mailbox=self._mailbox.stream)
        self._gate.open()

    def _pause(self, error: BaseException) -> None:
        if self._gate.opened.is_set() or self._gate.reason == "starting":
            log_away("paused", error, mailbox=self._mailbox.stream)
        self._gate.close(said(error))

    async def _rest(self, backoff: Backoff) -> None:
        try:
            async with asyncio.timeout(backoff.next()):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _take(self, entries: list[Entry]) -> None:
        """Decode what was read, and see it through."""
        deadline = time.perf_counter() + self._budget_s
        deliveries: list[Delivery] = []
        wrong: list[tuple[Entry, Undecodable]] = []
        unknown: list[Entry] = []
        for entry in entries:
            try:
                delivery = decode(self._mailbox.stream, entry)
                if type(delivery.envelope.message) not in self._intake.handlers:
                    # A newer release may have moved it here.
                    raise UnknownType(f"{delivery.envelope.message.type} is not known in this mailbox")
            except UnknownType:
                unknown.append(entry)
            except Undecodable as error:
                wrong.append((entry, error))
            else:
                deliveries.append(delivery)
        if wrong:
            await self._finish(lambda: self._bury(wrong), (), deadline)
        if unknown:
            await self._finish(lambda: self._set_aside(unknown), (), deadline)
        if deliveries:
            await self._handle(deliveries, deadline)

    async def _handle(self, deliveries: Sequence[Delivery], deadline: float) -> bool:
        return await self._finish(lambda: self._handle_once(deliveries, deadline), deliveries, deadline)

    async def _finish(
        self, work: Callable[[], Awaitable[bool]], deliveries: Sequence[Delivery], deadline: float
    ) -> bool:
        """See `work` through; False when its time was over. While a dependency is away it waits, and no entry
        counts as failed; what cannot be started again before `deadline` is left pending: others have a claim to
        it then."""
        backoff = Backoff()
        broken = 0
        while True:
            try:
                done = await work()
            except Exception as error:
                # What a dependency itself has stated is no entry's fault, however often it does.
                stated = isinstance(error, Away) and error.stated
                if (broken == BROKEN_MAX and not stated) or not await self._is_outage(error):
                    await self._fault(deliveries, error, deadline)
                    return True
                broken += not stated
                await self._rest(backoff)
                if not await self._is_back(error, deadline):
                    log.warning("left pending", mailbox=self._mailbox.stream, size=len(deliveries))
                    return False
            else:
                if self._barred:
                    self._barred_until = 0.0
                    self._open()
                return done

    async def _is_outage(self, error: Exception) -> bool:
        """Whether `error` came of a dependency that is away. Any other error, and time that ran out, is judged by
        whether they answer."""
        if isinstance(error, Away) and not error.slow:
            return True
        if not await self._unreachable():
            return False
        self._pause(error)
        return True

    async def _unreachable(self) -> bool:
        try:
            async with asyncio.timeout(REACH_TIMEOUT_S):
                await self._reachable()
        except Exception:
            log.debug("not reachable", mailbox=self._mailbox.stream, exc_info=True)
            return True
        return False

    async def _is_back(self, error: BaseException, deadline: float) -> bool:
        """Wait until the dependencies answer; says whether there is time left to go on."""
        backoff = Backoff(first=0.1)
        hidden = isinstance(error, Away) and error.stated
        while await self._unreachable():
            hidden = False
            self._pause(error)
            if self._stopping.is_set():
                return False
            await self._rest(backoff)
        if hidden:  # such as a command that is not permitted, or a full disk
            self._pause(error)
            self._barred_until = time.monotonic() + BARRED_CLAIMS * self._settings.claim_idle_ms / 1000
            if self._stopping.is_set():
                return False
        else:
            self._open()
        return time.perf_counter() < deadline

    async def _bury(self, wrong: list[tuple[Entry, Undecodable]]) -> bool:
        """What is no message goes to the dead letters at once."""
        while wrong:
            entry, error = wrong[0]
            await self._mailbox.bury(entry, f"undecodable: {error}", attempts=1)
            self._report.undecodable(entry, error)
            wrong.pop(0)
        return True

    async def _set_aside(self, unknown: list[Entry]) -> bool:
        """What another release's process may know waits for it."""
        while unknown:
            await self._mailbox.set_aside(unknown[0])
            self._report.unknown(unknown.pop(0))
        return True

    async def _handle_once(self, deliveries: Sequence[Delivery], deadline: float) -> bool:
        """Handle, then publish and acknowledge in one step: a crash in between only repeats."""
        follow: list[Envelope] = []
        async with self._turn:
            started = time.perf_counter()
            if started > deadline:  # its turn came so late that others have a claim to it
                return False
            async with asyncio.timeout(self._settings.handler_timeout_ms / 1000):
                for handler, group in in_order(deliveries, self._intake.handlers):
                    follow.extend(await handler(group))
        await self._bus.publish(follow, self._mailbox.finishing([delivery.entry for delivery in deliveries]))
        seconds = time.perf_counter() - started
        self._metrics.handler_seconds.labels(self._mailbox.stream).observe(seconds)
        self._report.done(deliveries, seconds)
        return True

    async def _fault(self, deliveries: Sequence[Delivery], error: Exception, deadline: float) -> None:
        """One poison entry harms nobody else: each of a batch is tried on its own.

        Stops when the claim's idle time nears: what is left stays pending and comes again.
        """
        if not deliveries and not isinstance(error, Away):
            raise error
        if len(deliveries) == 1:
            await self._failed(deliveries[0], error)
            return
        log.warning("batch failed", mailbox=self._mailbox.stream, size=len(deliveries), error=repr(error))
        for delivery in deliveries:
            if time.perf_counter() > deadline or not await self._handle([delivery], deadline):
                return

    async def _failed(self, delivery: Delivery, error: Exception) -> None:
        """Count a failure of an entry on its own; after too many it goes to the dead letters."""
        try:
            attempts = await self._mailbox.count_failure(delivery.entry)
            dead = attempts >= self._settings.attempts_max
            if dead:
                await self._mailbox.bury(delivery.entry, f"{type(error).__name__}: {error}", attempts)
        except RedisAway as away:
            self._pause(away)
            return  # still pending
        self._report.failed(delivery, error, attempts, dead=dead)
