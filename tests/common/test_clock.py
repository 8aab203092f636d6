"""The time is the server's: measured, close, never backwards without a jump, and not moved by one wrong answer."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry, Gauge
from redis.asyncio import Redis
from structlog.testing import capture_logs

from common.messaging.redis import read_clock
from common.postgres.database import open_database
from common.runtime.clock import JUMP_CONFIRMED_BY, JUMP_MAX_SECONDS, ROUND_TRIP_MAX_SECONDS, Bounds, Clock
from common.runtime.health import Gate
from common.runtime.outages import Outage
from tests.common.stage import WAIT_MAX_SECONDS, until

LIMIT_SECONDS = 5.0
START_SECONDS = 2_000_000_000.0


class Server:
    """A made-up server with its own clock, a network with delays, and a process whose clocks a test sets."""

    def __init__(self, own_ahead_s: float = 0.0) -> None:
        self.true_s = START_SECONDS
        self.ahead_s = 0.0
        self.own_ahead_s = own_ahead_s
        self.there_s = self.back_s = 0.001
        self.unavailable = False
        self.requests = 0
        self.registry = CollectorRegistry()
        self.clock = Clock(
            "postgres",
            self._read,
            skew_max_s=LIMIT_SECONDS,
            offset=Gauge("offset", "", ("source",), registry=self.registry),
            own=lambda: self.true_s + self.own_ahead_s,
            monotonic=lambda: self.true_s - START_SECONDS,
        )

    @property
    def server_s(self) -> float:
        return self.true_s + self.ahead_s

    async def _read(self, monotonic: object) -> Bounds:
        self.requests += 1
        if self.unavailable:
            raise Outage("made up")
        sent = self.true_s - START_SECONDS
        self.true_s += self.there_s
        answered = self.server_s
        self.true_s += self.back_s
        return Bounds(answered - (self.true_s - START_SECONDS), answered - sent)

    def error_s(self) -> float:
        return self.clock.timestamp() - self.server_s


async def measured(**values: float) -> Server:
    server = Server(**values)
    await server.clock.measure()
    return server


async def test_a_clock_without_a_measurement_has_no_time() -> None:
    server = Server()
    with pytest.raises(Outage, match="not known yet"):
        server.clock()
    await server.clock.measure()
    assert abs(server.clock() - datetime.fromtimestamp(server.server_s, UTC)).total_seconds() < 0.01


@pytest.mark.parametrize("ahead", [-1200.0, -3.0, 0.0, 360.0, 1200.0])
async def test_the_own_clock_changes_nothing(ahead: float) -> None:
    server = await measured(own_ahead_s=ahead)
    server.true_s += 3600
    assert abs(server.error_s()) < 0.01


async def test_the_error_is_at_most_half_of_the_best_round_trip() -> None:
    """The worst network: the whole delay is in one direction."""
    server = Server()
    for there, back in ((0.9, 0.0), (0.0, 0.6), (0.02, 0.0), (1.0, 0.1)):
        server.there_s, server.back_s = there, back
        await server.clock.measure()
    assert abs(server.error_s()) < 0.02


async def test_a_slow_measurement_is_ignored() -> None:
    server = await measured()
    server.ahead_s, server.back_s = 100.0, ROUND_TRIP_MAX_SECONDS + 0.1
    for _ in range(2 * JUMP_CONFIRMED_BY):
        await server.clock.measure()
    assert abs(server.error_s() + 100.0) < 0.1


async def test_time_never_goes_backwards_by_a_small_correction() -> None:
    server = await measured()
    before = server.clock.timestamp()
    server.ahead_s = -JUMP_MAX_SECONDS + 0.1
    await server.clock.measure()
    stood = server.clock.timestamp()
    assert stood >= before
    server.true_s += JUMP_MAX_SECONDS
    assert abs(server.error_s()) < 0.01


@pytest.mark.parametrize("jump", [-1200.0, -JUMP_MAX_SECONDS - 1, JUMP_MAX_SECONDS + 1, 1200.0])
async def test_a_jump_is_believed_when_several_measurements_agree(jump: float) -> None:
    """As after a failover to a server whose clock differs."""
    server = await measured()
    server.ahead_s = jump
    with capture_logs() as logs:
        for _ in range(JUMP_CONFIRMED_BY - 1):
            await server.clock.measure()
            assert abs(server.error_s() + jump) < 0.01
        assert logs == []
        await server.clock.measure()
    assert abs(server.error_s()) < 0.01
    (jumped,) = [line for line in logs if line["event"] == "clock jumped"]
    assert (jumped["log_level"], round(jumped["seconds"])) == ("error", round(jump))


async def test_measurements_that_contradict_each_other_are_ignored() -> None:
    server = await measured()
    with capture_logs() as logs:
        for odd in (500.0, -500.0, 900.0, 0.0, 500.0, 500.0, 0.0):
            server.ahead_s = odd
            await server.clock.measure()
    assert abs(server.error_s()) < 0.01
    assert logs == []


async def test_an_own_clock_that_is_wrong_is_logged_once_until_it_is_right() -> None:
    server = await measured(own_ahead_s=LIMIT_SECONDS - 1)
    assert await server.clock.own_clock_problem() is None
    with capture_logs() as logs:
        for ahead in (1200.0, 1210.0, -LIMIT_SECONDS - 1, 0.0, 0.0):
            server.own_ahead_s = ahead
            await server.clock.measure()
            shown = server.registry.get_sample_value("offset", {"source": "postgres"})
            assert shown == pytest.approx(ahead, abs=0.1)
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("own clock is wrong", "error"),
        ("own clock is right again", "info"),
    ]
    server.own_ahead_s = 1200.0
    assert await server.clock.own_clock_problem() == (
        "this process' clock is 1200.0 s ahead of that of postgres; it does not act by it"
    )
    server.own_ahead_s = -360.0
    assert "360.0 s behind" in str(await server.clock.own_clock_problem())


async def test_the_gate_opens_with_the_first_measurement_and_stays_open() -> None:
    server, gate = Server(), Gate("clock")
    server.unavailable = True
    running = asyncio.create_task(server.clock.run(gate))
    try:
        await until(lambda: gate.reason == "Outage: made up")
        server.unavailable = False
        async with asyncio.timeout(WAIT_MAX_SECONDS):
            await gate.opened.wait()
        server.unavailable, before = True, server.requests
        await until(lambda: server.requests > before)
        assert gate.reason is None
        assert abs(server.error_s()) < 0.01
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_redis_and_postgres_answer_with_their_time(redis: Redis, database_url: str) -> None:
    """The time of this machine, on which both servers run."""
    async with open_database(database_url, 1) as database:
        for bounds in (await read_clock(redis, time.monotonic), await database.read_clock(time.monotonic)):
            ahead = time.time() - time.monotonic()
            assert bounds.low - 0.1 <= ahead <= bounds.high + 0.1
