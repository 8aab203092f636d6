"""Rate limits on a clock that the tests drive: one gateway alone, and four that share counts in a real Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from common.messaging.redis import connect
from common.runtime.outages import RedisOutage
from common.runtime.settings import load
from gateway.limiter import COUNTS, KNOWN_SECONDS, SHARE_SECONDS, Limiter
from gateway.rates import (
    BURST_SECONDS,
    PAUSE_LEAST,
    PAUSE_MAX_S,
    QUEUE_SECONDS,
    SHARED_MAX,
    UNSHARED_PART,
    RateLimit,
)
from gateway.settings import GatewaySettings
from tests.gateway.stage import SECRET

RATE = 10.0
BURST = RATE * BURST_SECONDS
GATEWAYS = 4
STEP_S = 0.02


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def let_in(limit: RateLimit, client: str, times: int) -> int:
    return sum(limit.take(client) is None for _ in range(times))


# --- one gateway ------------------------------------------------------------------------------------------


def test_a_client_has_a_burst_and_then_its_rate(clock: Clock) -> None:
    limit = RateLimit(RATE, clock=clock)
    assert let_in(limit, "a", 100) == BURST
    assert let_in(limit, "b", 1) == 1
    clock.now += 0.5
    assert let_in(limit, "a", 100) == RATE / 2
    clock.now += 3600
    assert let_in(limit, "a", 100) == BURST


def test_a_rate_below_one_lets_single_requests_through(clock: Clock) -> None:
    limit = RateLimit(0.25, clock=clock)
    assert let_in(limit, "a", 2) == 1
    refusal = limit.take("a")
    assert refusal is not None
    clock.now += 4
    assert let_in(limit, "a", 2) == 1


def test_without_a_rate_there_is_no_limit(clock: Clock) -> None:
    assert let_in(RateLimit(0, clock=clock), "a", 10_000) == 10_000


def test_an_office_gets_through_by_waiting_for_retry_after(clock: Clock) -> None:
    """500 people behind one address each send again when they were told to: nobody has to more than twice, and the
    last is let in as early as the rate allows, to a second or two."""
    limit = RateLimit(100, clock=clock)
    chance = Random(1)
    started, tries = clock.now, Counter[int]()
    coming = [(clock.now, number) for number in range(500)]
    while coming:
        coming.sort(reverse=True)
        clock.now, number = coming.pop()
        tries[number] += 1
        refusal = limit.take("office")
        if refusal is not None:
            coming.append((clock.now + refusal.pause_s + refusal.retry_after + chance.random(), number))
    assert max(tries.values()) <= 3
    assert clock.now - started < 500 / 100 + 2


def test_clients_that_do_not_wait_are_answered_slowly_and_harm_no_others(clock: Clock) -> None:
    limit = RateLimit(RATE, clock=clock)
    let_in(limit, "a", int(BURST))
    refusals = [limit.take("a") for _ in range(1000)]
    pauses = [refusal.pause_s for refusal in refusals if refusal is not None]
    assert pauses[:5] == [0.0] * 5  # those that will soon be let in need no pause
    assert all(PAUSE_LEAST * PAUSE_MAX_S <= pause <= PAUSE_MAX_S for pause in pauses[100:])
    assert len(set(pauses[100:])) > 800  # they are not answered all together
    longest = max(refusal.retry_after for refusal in refusals if refusal is not None)
    assert longest <= QUEUE_SECONDS - PAUSE_LEAST * PAUSE_MAX_S + 1
    clock.now += 0.1
    assert let_in(limit, "a", 1) == 1  # what was refused has taken no token
    assert limit.take("b") is None


def test_a_client_floods_until_it_lets_off(clock: Clock) -> None:
    """An office of 500 is not, nor is a client whose rate is so low that few refusals fill its queue."""
    limit, slow = RateLimit(100, clock=clock), RateLimit(0.05, clock=clock)
    let_in(limit, "office", 500)
    let_in(limit, "flood", 5000)
    let_in(slow, "slow", 10)
    assert [limit.floods(who) for who in ("office", "flood", "nobody")] == [False, True, False]
    assert not slow.floods("slow")
    clock.now += QUEUE_SECONDS / 2
    limit.to_share()  # which also forgets full buckets
    assert limit.floods("flood")
    clock.now += QUEUE_SECONDS / 2
    assert not limit.floods("flood")


def test_the_number_of_clients_that_are_counted_is_bounded(clock: Clock) -> None:
    limit = RateLimit(RATE, clock=clock, most=10)
    let_in(limit, "busy", int(BURST))
    for number in range(9):
        limit.take(str(number))
    assert let_in(limit, "busy", 1) == 0
    for number in range(20):
        limit.take(str(number))
    assert len(limit._buckets) == 10
    assert len(limit._busy) <= 10
    clock.now += 60
    limit.to_share()
    assert len(limit._buckets) == 0  # whose buckets are full are forgotten


# --- several gateways -------------------------------------------------------------------------------------


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with connect(redis_url) as client:
        yield client


def limiter(clock: Clock, number: int, **overrides: Any) -> Limiter:
    values = {
        "auth_jwt_secrets": SECRET,
        "instance": f"gateway-{number}",
        "rate_limit_per_subject": RATE,
        **overrides,
    }
    return Limiter(load(GatewaySettings, **values), CollectorRegistry(), clock)


def most_let_in(seconds: float) -> float:
    """What docs/operations.md states for a client that uses all gateways at once: the rate, a burst of each, what
    the others let in before one hears of it, and what need not be shared."""
    unheard = (GATEWAYS - 1) * RATE * 2 * SHARE_SECONDS
    return (1 + UNSHARED_PART) * (RATE * seconds + BURST) + (GATEWAYS - 1) * BURST + unheard


@pytest.mark.parametrize("each_way", ["all at once", "in due", "evenly at its rate"])
async def test_four_gateways_together_keep_the_limit(redis: Redis, clock: Clock, each_way: str) -> None:
    gateways = [limiter(clock, number) for number in range(GATEWAYS)]
    for gateway in gateways:
        await gateway.share_counts(redis)
    seconds, steps = 60, int(60 / STEP_S)
    passed = [0] * steps
    for step in range(steps):
        for number, gateway in enumerate(gateways):
            # They share one after the other within each second, as real ones do.
            if step % int(SHARE_SECONDS / STEP_S) == 10 * number:
                await gateway.share_counts(redis)
            wanted = {
                "all at once": 5,
                "in due": 20 if step // 100 % GATEWAYS == number else 0,
                "evenly at its rate": int(step % int(1 / RATE / STEP_S) == 0),
            }[each_way]
            passed[step] += let_in(gateway.subjects, "greedy", wanted)
        assert gateways[0].subjects.take(f"honest {step}") is None
        clock.now += STEP_S
    assert sum(passed) <= most_let_in(seconds)
    assert sum(passed) >= RATE * seconds * 0.8
    # In any ten seconds, not only in the first.
    window = int(10 / STEP_S)
    assert max(sum(passed[begin : begin + window]) for begin in range(steps - window)) <= most_let_in(10)
    # When all know of one another, the rate is kept, but for what need not be shared.
    late = sum(passed[steps // 2 :])
    assert late <= (1 + UNSHARED_PART) * RATE * seconds / 2 + GATEWAYS * BURST / 2


async def test_the_counts_of_few_clients_are_shared(redis: Redis, clock: Clock) -> None:
    """Thousands that send a request a second, or a burst below a tenth of the limit, are not."""
    one, other = limiter(clock, 1), limiter(clock, 2)
    for _ in range(10):
        await one.share_counts(redis)
        await other.share_counts(redis)
        for number in range(2000):
            let_in(one.subjects, f"polls {number}", 1)
        clock.now += SHARE_SECONDS
    assert one.subjects.to_share() == {}
    let_in(one.subjects, "busy", 10)
    assert one.subjects.to_share() == {"busy": 10}
    assert one.subjects.to_share() == {}


async def test_what_a_gateway_shares_is_bounded_those_with_most_requests_first(clock: Clock) -> None:
    limit = RateLimit(RATE, clock=clock)
    for number in range(SHARED_MAX + 100):
        let_in(limit, f"busy {number}", 10)
    let_in(limit, "busiest", 15)
    shared = limit.to_share()
    assert len(shared) == SHARED_MAX
    assert shared["busiest"] == 15


async def test_a_client_is_known_to_a_gateway_that_it_has_never_used(redis: Redis, clock: Clock) -> None:
    one, other = limiter(clock, 1), limiter(clock, 2)
    await other.share_counts(redis)
    let_in(one.subjects, "busy", int(BURST))
    await one.share_counts(redis)
    await other.share_counts(redis)
    assert let_in(other.subjects, "busy", 10) == 0
    assert let_in(other.addresses, "busy", 10) == 10  # another limit


async def test_without_redis_each_gateway_limits_alone(clock: Clock) -> None:
    gateway = limiter(clock, 1)
    async with connect("redis://127.0.0.1:1/0") as nowhere:
        for _ in range(20):
            with pytest.raises(RedisOutage):
                await gateway.share_counts(nowhere)
            let_in(gateway.subjects, "busy", 1000)
            clock.now += SHARE_SECONDS
            assert let_in(gateway.subjects, "busy", 1000) == RATE
    assert gateway.subjects.take("other") is None


async def test_after_an_outage_nobody_pays_for_all_of_it(redis: Redis, clock: Clock) -> None:
    """One client used both gateways for a minute without Redis: then it is let in again after seconds."""
    one, other = limiter(clock, 1), limiter(clock, 2)
    for _ in range(60):
        for gateway in (one, other):
            let_in(gateway.subjects, "busy", 1000)
        clock.now += 1
    for gateway in (one, other, one):
        await gateway.share_counts(redis)
    assert let_in(one.subjects, "busy", 1) == 0
    clock.now += 2 * BURST_SECONDS + 2 * SHARE_SECONDS
    assert let_in(one.subjects, "busy", 1) == 1


async def entries(redis: Redis) -> list[tuple[bytes, dict[bytes, bytes]]]:
    return cast(Any, await redis.xrange(COUNTS))  # type: ignore[no-any-return]


async def test_addresses_are_kept_in_redis_for_seconds(redis: Redis, clock: Clock) -> None:
    gateway = limiter(clock, 1, rate_limit_per_address=RATE)
    let_in(gateway.addresses, "192.0.2.1", int(BURST))
    await gateway.share_counts(redis)
    ((_, entry),) = await entries(redis)
    assert b"192.0.2.1" in entry[b"counts"]
    assert 0 < await redis.ttl(COUNTS) <= KNOWN_SECONDS
    await redis.delete(COUNTS)
    await redis.xadd(COUNTS, {"gateway": "gone", "counts": "{}"}, id="1-1")
    await gateway.share_counts(redis)
    assert [entry[b"gateway"] for _, entry in await entries(redis)] == [b"gateway-1"]


async def test_what_a_later_release_shares_of_its_own_limits_is_ignored(redis: Redis, clock: Clock) -> None:
    gateway = limiter(clock, 1)
    await gateway.share_counts(redis)
    await redis.xadd(COUNTS, {"gateway": "later", "counts": b'{"countries": {"x": 5}, "subject": {"busy": 100}}'})
    await gateway.share_counts(redis)
    assert let_in(gateway.subjects, "busy", 1) == 0


async def test_gateways_of_a_fleet_divide_what_need_not_be_shared(redis: Redis, clock: Clock) -> None:
    gateways = [limiter(clock, number) for number in range(GATEWAYS)]
    for gateway in (*gateways, *gateways):
        await gateway.share_counts(redis)
    alone = limiter(clock, 9)
    few = int(UNSHARED_PART * BURST)
    let_in(alone.subjects, "few", few)
    let_in(gateways[0].subjects, "few", few)
    assert alone.subjects.to_share() == {}
    assert gateways[0].subjects.to_share() == {"few": few}
