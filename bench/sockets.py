"""Ten thousand idle sockets of one gateway: what each takes of its memory, and how soon all of them are told."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aiohttp
import orjson
import psutil

from bench import raw, stage
from bench.clients import JSON, order
from bench.cpu import spent
from bench.crowd import LINE_MAX_BYTES
from bench.errors import BenchError
from bench.findings import Chart, Findings, Goal, Series, Table
from bench.lag import Lag
from bench.measures import percentile
from bench.progress import Steps
from bench.stage import Stage
from common.bus import Bus
from common.envelope import Envelope, tell
from common.ids import uuid7
from common.messages import BookingChanged, EventChanged
from common.resources import Booking, BookingStatus, Event, Item, PaymentStatus, PaymentSummary
from common.streams import connect
from ops.actor import CHECKOUT, ActorProcess

SECONDS = 45.0
SOCKETS = 10_000
# A process needs some files for itself.
FILES_MIN = SOCKETS + 500
# Of the seconds, how long each way of telling takes; the rest is for starting, opening and stopping.
TELLING_SHARE = 0.2
TELLING_SECONDS_MIN = 3.0
# A little more than what is asked for, so that a goal can be met at all.
OWN_PER_SECOND = 10_500
# One change of an event goes to every socket.
EVENT_PER_SECOND = 1.05
BEAT_SECONDS = 0.01
REST_PER_SECOND = 200
# Arrivals after the last change; who has heard nothing by then never will.
ARRIVED_SECONDS = 15.0
POLL_SECONDS = 0.1
FAILURES_SHOWN = 3

KB_MAX, PER_SECOND_MIN, P99_MAX_MS = 20.0, 10_000.0, 250.0
PERCENTILES = (1, 10, 25, 50, 75, 90, 95, 99, 99.9, 100)


@dataclass(frozen=True)
class Memory:
    """Of a process with `SOCKETS` sockets, beyond what it takes without any: KB a socket."""

    resident: float
    proportional: float


@dataclass(frozen=True)
class Told:
    """What became of `sent` notifications. Times in seconds: `delays` from just before XADD to the client's socket,
    `rest` of the requests beside, `late` (p99) of the loops that measure. `cpu`: the gateway's, for one of them."""

    sent: int
    per_second: float
    delays: Sequence[float]
    cpu: float
    rest: Sequence[float]
    late: float
    problems: Sequence[str]

    @property
    def p99_ms(self) -> float | None:
        return _ms(self.delays, 0.99)


@dataclass
class Rest:
    """GET requests, sent whether or not those before are answered."""

    session: aiohttp.ClientSession
    urls: Sequence[str]
    headers: dict[str, str]
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    async def get(self, number: int) -> None:
        url = self.urls[number % len(self.urls)]
        started = time.perf_counter()
        try:
            async with self.session.get(url, headers=self.headers) as response:
                body = await response.read()
            if response.status != 200:
                self.failures.append(f"GET {url}: {response.status} {body[:200]!r}")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.failures.append(f"GET {url}: {type(error).__name__} {error}")
        self.seconds.append(time.perf_counter() - started)


class Listeners:
    """The sockets of a child process, see bench/crowd.py."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, command: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(orjson.dumps({"do": command, **arguments}) + b"\n")
            line = await self._process.stdout.readline()
        except (OSError, RuntimeError):  # uvloop's, of a pipe that is closed
            line = b""
        if not line:
            raise BenchError("the process that listens has ended")
        answer: dict[str, Any] = orjson.loads(line)
        if answer["failures"]:
            raise BenchError(f"{len(answer['failures'])} sockets failed: {answer['failures'][:FAILURES_SHOWN]}")
        return answer


@asynccontextmanager
async def _listeners() -> AsyncIterator[Listeners]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.crowd"),
        cwd=CHECKOUT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_MAX_BYTES,
    )
    try:
        yield Listeners(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def run(seconds: float, steps: Steps) -> Findings:
    _allow_files()
    telling = max(seconds * TELLING_SHARE, TELLING_SECONDS_MIN)
    steps.begin("sockets: starting Holdfast", 0.1)
    async with stage.running() as holdfast:
        steps.begin(f"sockets: {SOCKETS} of a bare server", 0.1)
        async with raw.process("bare", "bench.bare", holdfast.stack.data_dir) as bare, _listeners() as listeners:
            bare_memory = await _memory(bare, listeners, _Crowd(holdfast, listeners).tokens)
        async with _listeners() as listeners:
            steps.begin(f"sockets: {SOCKETS} of a gateway", 0.2)
            crowd = _Crowd(holdfast, listeners)
            rest = await crowd.warm_up()
            memory = await _memory(holdfast.actor("gateway-1"), listeners, crowd.tokens)
            steps.begin("sockets: each is told of its own booking", 0.2)
            own = await crowd.tell_each(telling, rest())
            steps.begin("sockets: all subscribe to one event", 0.2)
            await crowd.subscribe()
            steps.begin("sockets: all are told of one event", 0.2)
            everybody = await crowd.tell_all(telling, rest())
        steps.begin("sockets: stopping")
    return _findings(bare_memory, memory, own, everybody)


def _allow_files() -> None:
    """For this process and those that it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < FILES_MIN:
        raise BenchError(f"{SOCKETS} sockets need {FILES_MIN} open files, and only {most} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _memory(server: ActorProcess, listeners: Listeners, tokens: Sequence[str]) -> Memory:
    before = psutil.Process(server.pid).memory_full_info()
    await listeners.do("open", host="127.0.0.1", port=server.port, tokens=tokens)
    after = psutil.Process(server.pid).memory_full_info()
    return Memory((after.rss - before.rss) / 1024 / SOCKETS, (after.pss - before.pss) / 1024 / SOCKETS)


class _Crowd:
    """Ten thousand customers, each with one confirmed booking, who all look at one event."""

    def __init__(self, stage: Stage, listeners: Listeners) -> None:
        self._stage = stage
        self._listeners = listeners
        self._owners = [f"bench-listener-{number}" for number in range(SOCKETS)]
        self._bookings = [_booking() for _ in self._owners]
        self._event: dict[str, Any] = {}
        self.tokens = [stage.token(owner) for owner in self._owners]

    async def warm_up(self) -> Callable[[], Rest]:
        """An event and a booking to be read beside, both read until nothing is new to the gateway."""
        (self._event,) = await self._stage.events(1, SOCKETS, "Looked at")
        headers = {"Authorization": f"Bearer {self.tokens[0]}"}
        base, session = self._stage.gateway_url, self._stage.session
        body = order(self._event["id"])
        async with session.post(f"{base}/bookings", data=body, headers=headers | JSON) as response:
            booking = await response.json()
            if response.status != 201:
                raise BenchError(f"POST /bookings: {response.status} {booking}")
        urls = (f"{base}/bookings/{booking['id']}", f"{base}/events/{self._event['id']}")
        warm = Rest(session, urls, headers)
        for number in range(REST_PER_SECOND):
            await warm.get(number)
        return lambda: Rest(session, urls, headers)

    async def subscribe(self) -> None:
        message = orjson.dumps({"type": "subscribe", "event_id": self._event["id"]})
        await self._listeners.do("say", message=message.decode())

    async def tell_each(self, seconds: float, rest: Rest) -> Told:
        """One change after the other, each of another owner's booking."""
        at_once = int(OWN_PER_SECOND * BEAT_SECONDS)

        def changes(beat: int, version: int) -> tuple[list[Envelope], list[int]]:
            numbers = [number % SOCKETS for number in range(beat * at_once, (beat + 1) * at_once)]
            return [self._booking_changed(number, version) for number in numbers], numbers

        return await self._tell(seconds, BEAT_SECONDS, changes, rest)

    async def tell_all(self, seconds: float, rest: Rest) -> Told:
        """Changes of the event that everybody looks at."""
        event = Event.model_validate(self._event)

        def changes(_: int, version: int) -> tuple[list[Envelope], Sequence[int]]:
            message = EventChanged(event=event.model_copy(update={"version": version}))
            return [tell(message, event.id)], range(SOCKETS)

        return await self._tell(seconds, 1 / EVENT_PER_SECOND, changes, rest)

    def _booking_changed(self, number: int, version: int) -> Envelope:
        booking = self._bookings[number].model_copy(update={"version": version})
        return tell(BookingChanged(owner=self._owners[number], booking=booking), booking.id)

    async def _tell(
        self,
        seconds: float,
        every: float,
        changes: Callable[[int, int], tuple[list[Envelope], Sequence[int]]],
        rest: Rest,
    ) -> Told:
        """Publish as the booking actors do, with REST beside. A version is the time at which it was published: that
        grows, and comes back from the socket."""
        gateway = self._stage.actor("gateway-1").pid
        redis = connect(self._stage.stack.redis_url)
        bus = Bus(redis, source="/booking/bench", instance="bench")
        sent: list[tuple[int, int]] = []
        lag = Lag()
        watching = asyncio.create_task(lag.watch())

        async def publish(beat: int) -> None:
            version = time.time_ns() // 1000
            envelopes, numbers = changes(beat, version)
            sent.extend((number, version) for number in numbers)
            await bus.publish(envelopes)

        before = spent(gateway)
        async with asyncio.TaskGroup() as group:

            async def request(number: int) -> None:
                group.create_task(rest.get(number))

            group.create_task(_every(every, seconds, publish))
            group.create_task(_every(1 / REST_PER_SECOND, seconds, request))
        watching.cancel()
        await self._arrived(len(sent))
        cpu = spent(gateway) - before
        await redis.aclose()
        got = await self._listeners.do("take")
        late = max(percentile(lag.samples, 0.99) or 0.0, got["late_p99"])
        return _told(sent, got, int(seconds / every) * every, cpu, rest, late)

    async def _arrived(self, expected: int) -> None:
        """Until so many notifications have come, or there is no more hope for them."""
        deadline = time.monotonic() + ARRIVED_SECONDS
        while True:
            arrived = (await self._listeners.do("count"))["arrivals"]
            if arrived >= expected or time.monotonic() > deadline:
                return
            await asyncio.sleep(POLL_SECONDS)


def _told(
    sent: Sequence[tuple[int, int]], got: dict[str, Any], seconds: float, cpu: float, rest: Rest, late: float
) -> Told:
    received = [(number, version) for number, version, _ in got["heard"]]
    once = set(received)
    last = max((at for _, _, at in got["heard"]), default=0)
    problems = rest.failures[:FAILURES_SHOWN]
    if lost := len(set(sent) - once):
        problems.append(f"{lost} of {len(sent)} notifications were lost")
    if doubled := len(received) - len(once):
        problems.append(f"{doubled} of {len(sent)} notifications came twice")
    if unknown := len(once - set(sent)):
        problems.append(f"{unknown} notifications were never sent")
    first = min(version for _, version in sent)
    return Told(
        sent=len(sent),
        per_second=len(once) / max(seconds, (last - first) / 1e6),
        delays=[(at - version) / 1e6 for _, version, at in got["heard"]],
        cpu=cpu / len(sent),
        rest=rest.seconds,
        late=late,
        problems=problems,
    )


async def _every(interval: float, seconds: float, act: Callable[[int], Awaitable[None]]) -> None:
    """Call `act` with 0, 1, … at fixed times; what was late is caught up with."""
    started = time.perf_counter()
    for number in range(int(seconds / interval)):
        left = started + number * interval - time.perf_counter()
        if left > 0:
            await asyncio.sleep(left)
        await act(number)


def _booking() -> Booking:
    now = datetime.now(UTC)
    return Booking(
        id=uuid7(),
        event_id=UUID(int=1),
        items=(Item(ticket_type_id=uuid7(), quantity=1, unit_amount=stage.UNIT_AMOUNT),),
        amount=stage.UNIT_AMOUNT,
        currency="eur",
        status=BookingStatus.CONFIRMED,
        payment=PaymentSummary(status=PaymentStatus.PAID, intent_id=f"pi_{uuid7().hex}"),
        version=1,
        created_at=now,
        updated_at=now,
    )


# --- what it says -----------------------------------------------------------------------------------------


def _ms(samples: Sequence[float], share: float) -> float | None:
    found = percentile(samples, share)
    return None if found is None else found * 1000


def _findings(bare: Memory, memory: Memory, own: Told, everybody: Told) -> Findings:
    ways = {"own booking": own, "one event": everybody}
    return Findings(
        figures={
            "sockets": SOCKETS,
            "kb_per_socket": memory.resident,
            "kb_per_socket_proportional": memory.proportional,
            "bare_kb_per_socket": bare.resident,
            "ratio_to_bare": memory.resident / bare.resident,
            "ways": {name: _figures(told) for name, told in ways.items()},
        },
        tables=(_memory_table(bare, memory), _telling_table(ways)),
        goals=(
            Goal("an idle authenticated socket, beyond the gateway's base", memory.resident, KB_MAX, False, "KB"),
            *(goal for name, told in ways.items() for goal in _goals(name, told)),
        ),
        charts=(
            Chart(
                f"From XADD to one of {SOCKETS} sockets",
                "percentile",
                "ms",
                [
                    Series(name, [(at, _ms(told.delays, at / 100) or 0.0) for at in PERCENTILES])
                    for name, told in ways.items()
                ],
            ),
        ),
        problems=[f"{name}: {problem}" for name, told in ways.items() for problem in told.problems],
    )


def _goals(name: str, told: Told) -> tuple[Goal, Goal]:
    return (
        Goal(f"notifications delivered a second, {name}", told.per_second, PER_SECOND_MIN, True, "/s"),
        Goal(f"XADD to socket p99 meanwhile, {name}", told.p99_ms, P99_MAX_MS, False, "ms"),
    )


def _figures(told: Told) -> dict[str, Any]:
    return {
        "sent": told.sent,
        "per_second": told.per_second,
        "p50_ms": _ms(told.delays, 0.5),
        "p99_ms": told.p99_ms,
        "gateway_cpu_us": told.cpu * 1e6,
        "rest_p50_ms": _ms(told.rest, 0.5),
        "rest_p99_ms": _ms(told.rest, 0.99),
        "driver_late_p99_ms": told.late * 1000,
    }


def _memory_table(bare: Memory, memory: Memory) -> Table:
    rows = [
        (name, f"{each.resident:.1f}", f"{each.proportional:.1f}", f"{each.resident / bare.resident:.2f}")
        for name, each in (("bare aiohttp", bare), ("gateway", memory))
    ]
    return Table(f"Memory of one of {SOCKETS} idle sockets", ("", "RSS KB", "PSS KB", "of bare"), rows)


def _telling_table(ways: dict[str, Told]) -> Table:
    columns = ("", "a second", "p50 ms", "p99 ms", "gateway µs", "REST p50 ms", "REST p99 ms", "driver late ms")
    rows = []
    for name, told in ways.items():
        figures = _figures(told)
        rows.append((name, *(f"{figures[key]:.1f}" for key in list(figures)[1:])))
    return Table(
        f"Notifications to {SOCKETS} sockets, {REST_PER_SECOND} REST requests a second beside", columns, rows
    )
