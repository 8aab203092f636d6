"""Tokens for calls to Stripe: one rate for the fleet, and neither priority starves the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from common.messaging.redis import connect
from common.runtime.outages import RedisOutage
from payment.rate_limiter import AHEAD, Priority, StripeRateLimiter

RATE = 200.0
# How many seconds longer all may take on a machine that is busy with other tests.
BUSY_SECONDS = 10.0
KEY = "stripe:turns:test"


@pytest.fixture
async def rate_limiters(redis: Redis, redis_url: str) -> AsyncIterator[list[StripeRateLimiter]]:
    """The rate_limiters of two processes, over one bucket."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            client = connect(redis_url)
            stack.push_async_callback(client.aclose)
            made.append(StripeRateLimiter(client, key=KEY, per_second=RATE))
        yield made
        for rate_limiter in made:
            await rate_limiter.close()


async def seconds_for(*tokens: Awaitable[None]) -> float:
    loop = asyncio.get_running_loop()
    started = loop.time()
    await asyncio.gather(*tokens)
    return loop.time() - started


def take(rate_limiter: StripeRateLimiter, priority: Priority, count: int) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(rate_limiter.acquire(priority)) for _ in range(count)]


async def test_two_processes_share_one_rate(rate_limiters: list[StripeRateLimiter]) -> None:
    """Together they get what one alone would get: a burst, and then the rate."""
    count = 60
    burst = RATE / 10
    seconds = await seconds_for(
        *(token for rate_limiter in rate_limiters for token in take(rate_limiter, Priority.INTENTS, count // 2))
    )

    assert seconds >= (count - burst) / RATE * 0.95
    assert seconds < (count - burst) / RATE * 2 + BUSY_SECONDS


async def test_one_request_to_redis_serves_all_waiting_calls(redis: Redis) -> None:
    """A batch of calls costs Redis few requests."""
    rate_limiter = StripeRateLimiter(redis, key=KEY, per_second=10_000)
    await rate_limiter.acquire(Priority.INTENTS)
    before = (await redis.info("commandstats"))["cmdstat_eval"]["calls"]
    await asyncio.gather(*take(rate_limiter, Priority.INTENTS, 50))
    after = (await redis.info("commandstats"))["cmdstat_eval"]["calls"]

    assert after - before <= 3


async def test_sequential_calls_use_tokens_taken_in_advance(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process takes some tokens in advance; it does not keep them for long."""
    monkeypatch.setattr(
        "payment.rate_limiter.AHEAD_S", 3600.0
    )  # longer than a busy machine needs for the first part
    rate_limiter = StripeRateLimiter(redis, key=KEY, per_second=10_000)

    async def asked(tokens: int) -> int:
        before: int = (await redis.info("commandstats"))["cmdstat_eval"]["calls"]
        for _ in range(tokens):
            await rate_limiter.acquire(Priority.INTENTS)
        after: int = (await redis.info("commandstats"))["cmdstat_eval"]["calls"]
        return after - before

    await rate_limiter.acquire(Priority.INTENTS)
    assert await asked(AHEAD) == 0
    assert await asked(1) == 1
    monkeypatch.setattr("payment.rate_limiter.AHEAD_S", 0.0)
    await asked(AHEAD + 1)
    assert await asked(3) == 3


async def test_a_pause_of_stripe_drops_tokens_taken_in_advance(rate_limiters: list[StripeRateLimiter]) -> None:
    """Tokens taken in advance are given up when Stripe asks for a pause."""
    await rate_limiters[0].acquire(Priority.INTENTS)

    async def slowed() -> None:
        await rate_limiters[0].slow_down(0.3)
        await rate_limiters[0].acquire(Priority.INTENTS)

    assert await seconds_for(slowed()) >= 0.29


async def test_money_gets_tokens_in_a_rush_of_intents(rate_limiters: list[StripeRateLimiter]) -> None:
    """However many intents wait, in however many processes."""
    rush = [token for rate_limiter in rate_limiters for token in take(rate_limiter, Priority.INTENTS, 200)]
    await rush[30]
    await asyncio.gather(*take(rate_limiters[0], Priority.MONEY, 4))
    left = [token for token in rush if not token.done()]

    assert len(left) > 200
    for token in rush:
        token.cancel()


async def test_a_rush_of_refunds_leaves_intents_their_share(rate_limiters: list[StripeRateLimiter]) -> None:
    """An event with a thousand paid bookings is cancelled, and others can still be booked."""
    rush = take(rate_limiters[0], Priority.MONEY, 400)
    await rush[30]
    intents = take(rate_limiters[1], Priority.INTENTS, 40)
    await asyncio.gather(*intents)
    done = sum(token.done() for token in rush)

    # From then on each priority had half of the rate.
    assert 30 + 20 <= done <= 30 + 90
    for token in rush:
        token.cancel()


@pytest.mark.parametrize("priority", [Priority.INTENTS, Priority.MONEY])
async def test_deferred_calls_get_a_small_part_while_others_want_tokens(
    rate_limiters: list[StripeRateLimiter], priority: Priority
) -> None:
    """However many deferred calls wait, in however many processes; and they do not starve."""
    rush = [token for each in rate_limiters for token in take(each, Priority.DEFERRED, 200)]
    await rush[30]
    before = sum(token.done() for token in rush)
    await asyncio.gather(*take(rate_limiters[0], priority, 100))
    beside = sum(token.done() for token in rush) - before

    assert 2 <= beside <= 15
    for token in rush:
        token.cancel()


@pytest.mark.parametrize("other", list(Priority))
async def test_deferred_calls_may_use_the_whole_rate_only_while_others_are_idle(
    redis: Redis, other: Priority
) -> None:
    """Of a bucket that is full they get a fifth, and their small part while another priority waits."""
    rate_limiter = StripeRateLimiter(redis, key=KEY, per_second=5010)
    await redis.hset(KEY, f"waits:{other}", 10**15)
    given, _ = await rate_limiter._request(Priority.DEFERRED, 400, ahead=0)

    assert given == (101 if other is Priority.DEFERRED else 25)


async def test_deferred_calls_leave_tokens_for_those_who_come_next(redis: Redis) -> None:
    """However many wait, and for however long: who comes then need not wait for the rate."""
    rate_limiter = StripeRateLimiter(redis, key=KEY, per_second=100)
    rush = take(rate_limiter, Priority.DEFERRED, 100)
    await rush[10]
    given, _ = await rate_limiter._request(Priority.INTENTS, 7, ahead=0)

    assert given == 7
    for token in rush:
        token.cancel()
    await rate_limiter.close()


async def test_money_and_intents_share_what_deferred_calls_leave(rate_limiters: list[StripeRateLimiter]) -> None:
    rush = [*take(rate_limiters[0], Priority.DEFERRED, 300), *take(rate_limiters[0], Priority.MONEY, 300)]
    await rush[310]
    money_before = sum(token.done() for token in rush[300:])
    await asyncio.gather(*take(rate_limiters[1], Priority.INTENTS, 60))
    money = sum(token.done() for token in rush[300:]) - money_before

    assert 40 <= money <= 90
    for token in rush:
        token.cancel()


async def test_retry_after_slows_the_whole_fleet(rate_limiters: list[StripeRateLimiter]) -> None:
    """No process gets a token before Stripe's time is over; a shorter pause does not cut a longer one."""
    tokens: list[asyncio.Task[None]] = []

    async def first_after_the_pause() -> None:
        await rate_limiters[0].slow_down(0.3)
        await rate_limiters[0].slow_down(0.05)
        tokens.extend(take(rate_limiters[1], Priority.MONEY, 1))
        tokens.extend(take(rate_limiters[0], Priority.INTENTS, 1))
        await asyncio.wait(tokens, return_when=asyncio.FIRST_COMPLETED)

    assert await seconds_for(first_after_the_pause()) >= 0.29
    await asyncio.gather(*tokens)


async def test_a_caller_that_gives_up_takes_no_token(rate_limiters: list[StripeRateLimiter]) -> None:
    """A caller that ran out of time leaves its token to others."""
    await rate_limiters[0].slow_down(0.1)
    gone = take(rate_limiters[0], Priority.INTENTS, 50)
    await asyncio.wait(gone, timeout=0)
    for token in gone:
        token.cancel()
    await asyncio.wait(gone)

    assert await seconds_for(*take(rate_limiters[0], Priority.INTENTS, 1)) < 0.2


async def test_a_caller_without_a_token_by_its_deadline_gets_an_error(
    rate_limiters: list[StripeRateLimiter],
) -> None:
    """It gets the error soon after its own deadline, whichever calls wait before it; the others keep waiting."""
    await rate_limiters[0].slow_down(60)
    (waiting,) = take(rate_limiters[0], Priority.INTENTS, 1)
    with pytest.raises(TimeoutError):
        await rate_limiters[0].acquire(Priority.INTENTS, asyncio.get_running_loop().time())

    assert not waiting.done()
    waiting.cancel()


async def test_without_redis_there_are_no_tokens() -> None:
    """The error is the one at which an actor waits for Redis; the next call asks again."""
    unreachable = connect("redis://127.0.0.1:1/0")
    rate_limiter = StripeRateLimiter(unreachable, key=KEY, per_second=RATE)
    for _ in range(2):
        with pytest.raises(RedisOutage):
            await rate_limiter.acquire(Priority.INTENTS)
    await unreachable.aclose()
