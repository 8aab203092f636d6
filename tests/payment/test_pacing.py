"""Tokens for calls to Stripe: one rate for the fleet, and neither lane starves the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from common.messaging.redis import connect
from common.runtime.outages import RedisAway
from payment.pacing import AHEAD, Lane, Pacer

RATE = 200.0
KEY = "stripe:turns:test"


@pytest.fixture
async def pacers(redis: Redis, redis_url: str) -> AsyncIterator[list[Pacer]]:
    """The pacers of two processes, over one bucket."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            client = connect(redis_url)
            stack.push_async_callback(client.aclose)
            made.append(Pacer(client, key=KEY, per_second=RATE))
        yield made
        for pacer in made:
            await pacer.close()


async def seconds_for(*turns: asyncio.Future[None] | asyncio.Task[None]) -> float:
    loop = asyncio.get_running_loop()
    started = loop.time()
    await asyncio.gather(*turns)
    return loop.time() - started


def take(pacer: Pacer, lane: Lane, count: int) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(pacer.turn(lane)) for _ in range(count)]


async def test_two_processes_share_one_rate(pacers: list[Pacer]) -> None:
    """Together they get what one alone would get: a burst, and then the rate."""
    count = 60
    burst = RATE / 10
    taken = await seconds_for(*(turn for pacer in pacers for turn in take(pacer, Lane.INTENTS, count // 2)))

    assert taken >= (count - burst) / RATE * 0.95
    assert taken < (count - burst) / RATE * 2 + 0.2


async def test_one_question_serves_all_who_wait(redis: Redis) -> None:
    """A batch of calls costs Redis few requests."""
    pacer = Pacer(redis, key=KEY, per_second=10_000)
    await pacer.turn(Lane.INTENTS)
    before = (await redis.info("commandstats"))["cmdstat_eval"]["calls"]
    await asyncio.gather(*take(pacer, Lane.INTENTS, 50))
    after = (await redis.info("commandstats"))["cmdstat_eval"]["calls"]

    assert after - before <= 3


async def test_calls_that_follow_one_another_ask_once(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process takes some tokens in advance; it does not keep them for long."""
    pacer = Pacer(redis, key=KEY, per_second=10_000)

    async def asked(turns: int) -> int:
        before: int = (await redis.info("commandstats"))["cmdstat_eval"]["calls"]
        for _ in range(turns):
            await pacer.turn(Lane.INTENTS)
        after: int = (await redis.info("commandstats"))["cmdstat_eval"]["calls"]
        return after - before

    await pacer.turn(Lane.INTENTS)
    assert await asked(AHEAD) == 0
    assert await asked(1) == 1
    monkeypatch.setattr("payment.pacing.AHEAD_S", 0.0)
    await asked(AHEAD + 1)
    assert await asked(3) == 3


async def test_nobody_is_ahead_of_stripes_pause(pacers: list[Pacer]) -> None:
    """Tokens taken in advance are given up when Stripe asks for a pause."""
    await pacers[0].turn(Lane.INTENTS)
    await pacers[0].slow_down(0.3)

    assert await seconds_for(*take(pacers[0], Lane.INTENTS, 1)) >= 0.29


async def test_money_has_its_turn_in_a_rush_of_intents(pacers: list[Pacer]) -> None:
    """However many intents wait, in however many processes."""
    rush = [turn for pacer in pacers for turn in take(pacer, Lane.INTENTS, 200)]
    await rush[30]
    taken = await seconds_for(*take(pacers[0], Lane.MONEY, 4))
    left = [turn for turn in rush if not turn.done()]

    assert taken < 0.2
    assert len(left) > 200
    for turn in rush:
        turn.cancel()


async def test_a_rush_of_refunds_leaves_intents_their_share(pacers: list[Pacer]) -> None:
    """An event with a thousand paid bookings is cancelled, and others can still be booked."""
    rush = take(pacers[0], Lane.MONEY, 400)
    await rush[30]
    intents = take(pacers[1], Lane.INTENTS, 40)
    await asyncio.gather(*intents)
    done = sum(turn.done() for turn in rush)

    # From then on each lane had half of the rate.
    assert 30 + 20 <= done <= 30 + 90
    for turn in rush:
        turn.cancel()


async def test_retry_after_slows_the_whole_fleet(pacers: list[Pacer]) -> None:
    """No process gets a token before Stripe's time is over; a shorter pause does not cut a longer one."""
    await pacers[0].slow_down(0.3)
    await pacers[0].slow_down(0.05)

    assert await seconds_for(*take(pacers[1], Lane.MONEY, 1), *take(pacers[0], Lane.INTENTS, 1)) >= 0.29


async def test_who_gives_up_takes_no_turn(pacers: list[Pacer]) -> None:
    """A caller that ran out of time leaves its token to others."""
    await pacers[0].slow_down(0.1)
    gone = take(pacers[0], Lane.INTENTS, 50)
    await asyncio.wait(gone, timeout=0)
    for turn in gone:
        turn.cancel()
    await asyncio.wait(gone)

    assert await seconds_for(*take(pacers[0], Lane.INTENTS, 1)) < 0.2


async def test_who_has_no_turn_in_time_is_told_so(pacers: list[Pacer]) -> None:
    """It gets the error soon after its own deadline, whichever calls wait before it; the others keep waiting."""
    await pacers[0].slow_down(60)
    (patient,) = take(pacers[0], Lane.INTENTS, 1)
    with pytest.raises(TimeoutError):
        await pacers[0].turn(Lane.INTENTS, asyncio.get_running_loop().time())

    assert not patient.done()
    patient.cancel()


async def test_without_redis_there_are_no_turns() -> None:
    """The error is the one at which an actor waits for Redis; the next call asks again."""
    away = connect("redis://127.0.0.1:1/0")
    pacer = Pacer(away, key=KEY, per_second=RATE)
    for _ in range(2):
        with pytest.raises(RedisAway):
            await pacer.turn(Lane.INTENTS)
    await away.aclose()
