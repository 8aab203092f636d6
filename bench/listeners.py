"""Ten thousand customers with sockets, the changes of which they are notified, and what becomes of each change."""

from __future__ import annotations

import asyncio
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

from bench.clients import JSON, order
from bench.cpu import spent
from bench.crowd import LINE_MAX_BYTES
from bench.errors import BenchError
from bench.lag import Lag
from bench.measures import percentile
from bench.stage import UNIT_AMOUNT, Stage
from common.contracts.ids import uuid7
from common.contracts.messages import BookingChanged, EventChanged
from common.contracts.resources import Booking, Event, Item, PaymentSummary
from common.contracts.statuses import BookingStatus, PaymentStatus
from common.messaging.envelope import Envelope, envelope_for
from common.messaging.publisher import Publisher
from common.messaging.redis import connect
from ops.actor import CHECKOUT

SOCKETS = 10_000
# A little more than the goal asks for, so that it can be met at all.
OWN_PER_SECOND = 10_500
# One change of an event goes to every socket.
EVENT_PER_SECOND = 1.05
BEAT_SECONDS = 0.01
REST_PER_SECOND = 200
# How long arrivals are awaited after the last change; what has not arrived by then never will.
ARRIVED_SECONDS = 15.0
POLL_SECONDS = 0.1
FAILURES_SHOWN = 3


@dataclass(frozen=True)
class Delivered:
    """What became of `sent` notifications. Times in seconds: `delays` from just before XADD to the client's socket,
    `rest` of the requests beside, `late` (p99) of the loops that measure. `cpu`: of the gateway, for one
    notification."""

    sent: int
    per_second: float
    delays: Sequence[float]
    cpu: float
    rest: Sequence[float]
    late: float
    problems: Sequence[str]

    @property
    def p99_ms(self) -> float | None:
        return in_ms(self.delays, 0.99)


@dataclass
class Rest:
    """GET requests, sent whether or not the ones before have been answered."""

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
    """The sockets of a child process; see bench/crowd.py."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, command: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(orjson.dumps({"do": command, **arguments}) + b"\n")
            line = await self._process.stdout.readline()
        except (OSError, RuntimeError):  # uvloop raises RuntimeError for a closed pipe
            line = b""
        if not line:
            raise BenchError("the process that listens has ended")
        answer: dict[str, Any] = orjson.loads(line)
        if answer["failures"]:
            raise BenchError(f"{len(answer['failures'])} sockets failed: {answer['failures'][:FAILURES_SHOWN]}")
        return answer


@asynccontextmanager
async def listening() -> AsyncIterator[Listeners]:
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


class Customers:
    """Ten thousand customers, each with one confirmed booking, who all listen for one event."""

    def __init__(self, stage: Stage, listeners: Listeners) -> None:
        self._stage = stage
        self._listeners = listeners
        self._owners = [f"bench-listener-{number}" for number in range(SOCKETS)]
        self._bookings = [_booking() for _ in self._owners]
        self._event: dict[str, Any] = {}
        self.tokens = [stage.token(owner) for owner in self._owners]

    async def warm_up(self) -> Callable[[], Rest]:
        """An event and a booking for the requests beside; both are read until the gateway has met all of it."""
        (self._event,) = await self._stage.events(1, SOCKETS, "Looked at")
        headers = {"Authorization": f"Bearer {self.tokens[0]}", "Idempotency-Key": self._event["id"]}
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

    async def notify_each(self, seconds: float, rest: Rest) -> Delivered:
        """One change after the other, each of another owner's booking."""
        at_once = int(OWN_PER_SECOND * BEAT_SECONDS)

        def changes(beat: int, version: int) -> tuple[list[Envelope], list[int]]:
            numbers = [number % SOCKETS for number in range(beat * at_once, (beat + 1) * at_once)]
            return [self._booking_changed(number, version) for number in numbers], numbers

        return await self._notify(seconds, BEAT_SECONDS, changes, rest)

    async def notify_all(self, seconds: float, rest: Rest) -> Delivered:
        """Changes of the event for which all customers listen."""
        event = Event.model_validate(self._event)

        def changes(_: int, version: int) -> tuple[list[Envelope], Sequence[int]]:
            message = EventChanged(event=event.model_copy(update={"version": version}))
            return [envelope_for(message, event.id)], range(SOCKETS)

        return await self._notify(seconds, 1 / EVENT_PER_SECOND, changes, rest)

    def _booking_changed(self, number: int, version: int) -> Envelope:
        booking = self._bookings[number].model_copy(update={"version": version})
        return envelope_for(BookingChanged(owner=self._owners[number], booking=booking), booking.id)

    async def _notify(
        self,
        seconds: float,
        every: float,
        changes: Callable[[int, int], tuple[list[Envelope], Sequence[int]]],
        rest: Rest,
    ) -> Delivered:
        """Publish as the booking actors do, with REST requests beside. The version of a change is the time at which
        it was published: that grows, and comes back from the socket."""
        gateway = self._stage.actor("gateway-1").pid
        redis = connect(self._stage.stack.redis_url)
        bus = Publisher(redis, source="/booking/bench")
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
        return _delivered(sent, got, int(seconds / every) * every, cpu, rest, late)

    async def _arrived(self, expected: int) -> None:
        """Until `expected` notifications have arrived, or ARRIVED_SECONDS are over."""
        deadline = time.monotonic() + ARRIVED_SECONDS
        while True:
            arrived = (await self._listeners.do("count"))["arrivals"]
            if arrived >= expected or time.monotonic() > deadline:
                return
            await asyncio.sleep(POLL_SECONDS)


def _delivered(
    sent: Sequence[tuple[int, int]], got: dict[str, Any], seconds: float, cpu: float, rest: Rest, late: float
) -> Delivered:
    received = [(number, version) for number, version, _ in got["received"]]
    once = set(received)
    last = max((at for _, _, at in got["received"]), default=0)
    problems = rest.failures[:FAILURES_SHOWN]
    if lost := len(set(sent) - once):
        problems.append(f"{lost} of {len(sent)} notifications were lost")
    if doubled := len(received) - len(once):
        problems.append(f"{doubled} of {len(sent)} notifications came twice")
    if unknown := len(once - set(sent)):
        problems.append(f"{unknown} notifications were never sent")
    first = min(version for _, version in sent)
    return Delivered(
        sent=len(sent),
        per_second=len(once) / max(seconds, (last - first) / 1e6),
        delays=[(at - version) / 1e6 for _, version, at in got["received"]],
        cpu=cpu / len(sent),
        rest=rest.seconds,
        late=late,
        problems=problems,
    )


async def _every(interval: float, seconds: float, act: Callable[[int], Awaitable[None]]) -> None:
    """Call `act` with 0, 1, … at fixed times; late calls are made up for."""
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
        items=(Item(ticket_type_id=uuid7(), quantity=1, unit_amount=UNIT_AMOUNT),),
        amount=UNIT_AMOUNT,
        currency="eur",
        status=BookingStatus.CONFIRMED,
        payment=PaymentSummary(status=PaymentStatus.PAID, intent_id=f"pi_{uuid7().hex}"),
        version=1,
        created_at=now,
        updated_at=now,
    )


def in_ms(samples: Sequence[float], share: float) -> float | None:
    found = percentile(samples, share)
    return None if found is None else found * 1000
