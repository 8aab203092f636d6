"""The rate limit of Stripe calls for the whole fleet: a token bucket in Redis with two lanes. One call takes one
token, which the code calls a turn.

Cancels, refunds and questions about money use one lane, new intents the other. Either can use the whole rate while
the other is idle; when both want tokens, each gets its share of the rate. So money never waits behind a rush of
bookings, nor bookings behind a thousand refunds.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from enum import StrEnum
from math import inf

from redis.asyncio import Redis

from common.messaging.redis import Script


class Lane(StrEnum):
    MONEY = "money"
    INTENTS = "intents"


# Each lane's share of the rate when both want tokens: half, so that neither starves the other.
SHARE = 0.5
# The size of the bucket, in seconds at the full rate: the calls of any second exceed the rate by a tenth at most.
BURST_S = 0.1
# The most tokens of one request to Redis, so that the other processes get some, too.
TURNS_MAX = 50
# Tokens that a process takes beyond those it needs now, while the other lane is idle, and how many seconds it may
# keep them: sequential calls then ask Redis every fifth time only. Redis counts them as used, so that the fleet
# keeps to its rate; a process is ahead of the rate by this number of calls at most.
AHEAD = 4
AHEAD_S = 0.5
# How late, in seconds, a call without a token may notice that its deadline has passed: Redis is asked at least that
# often, which costs five requests a second.
LATE_S = 0.2

# `rate` is in tokens a second, `burst` and `wanted` in tokens, `ahead` is the number to keep beyond those, `pause`
# is for how many milliseconds the whole fleet must pause first (Stripe's Retry-After), or 0. Returns the number of
# tokens given, and after how many milliseconds to ask again.
_TAKE = Script[tuple[int, int]](
    """
local now = redis.call('TIME')
now = now[1] * 1000 + now[2] / 1000
rate, burst, share = rate / 1000, tonumber(burst), tonumber(share)
wanted, ahead, pause = tonumber(wanted), tonumber(ahead), tonumber(pause)
local kept = redis.call('HMGET', bucket, 'at', 'all', lane, 'not_before', 'waits:' .. other)
local at, not_before = tonumber(kept[1]) or now, tonumber(kept[4]) or 0
local passed = math.max(0, now - at)
local all = math.min(burst, (tonumber(kept[2]) or burst) + passed * rate)
-- A lane's own turns grow at its share of the rate; kept here as the time when they were last none.
local own_burst = math.max(1, burst * share)
local since = tonumber(kept[3]) or 0
local own = math.min(own_burst, math.max(0, now - since) * rate * share)
if pause > 0 then
  not_before = math.max(not_before, now + pause)
  all = 0
end
local given, again = 0, 0
if now < not_before then
  again = not_before - now
else
  local alone = (tonumber(kept[5]) or 0) < now
  local may = alone and wanted + ahead or math.min(wanted, math.floor(own))
  given = math.max(0, math.min(may, math.floor(all)))
  all = all - given
  own = math.max(0, own - given)
  if given < wanted then
    again = (1 - all) / rate
    if not alone then again = math.max(again, (1 - own) / (rate * share)) end
    again = math.max(1, again)
  end
end
-- While it waits, the other lane keeps to its share; a lane that is not heard of again waits no more.
local waits = given < wanted and now + again + 100 or 0
redis.call('HSET', bucket, 'at', now, 'all', all, lane, now - own / (rate * share), 'not_before', not_before)
if wanted > 0 then redis.call('HSET', bucket, 'waits:' .. lane, waits) end
redis.call('PEXPIRE', bucket, math.ceil(math.max(60000, not_before - now + 1000)))
return {given, math.ceil(again)}
""",
    keys="bucket",
    args="rate burst share lane other wanted ahead pause",
)


class Pacer:
    """Gives this process its tokens. One request to Redis serves all calls that wait in a lane."""

    def __init__(self, redis: Redis, *, key: str, per_second: float) -> None:
        self._redis = redis
        self._key = key
        self._rate = per_second
        self._burst = max(1.0, per_second * BURST_S)
        # The calls that wait for a token, in their order, with their deadlines (the loop's time).
        self._waiting: dict[Lane, OrderedDict[asyncio.Future[None], float]] = {lane: OrderedDict() for lane in Lane}
        self._asking: dict[Lane, asyncio.Task[None]] = {}
        # Tokens that are not used yet, and until when they may be used.
        self._kept: dict[Lane, tuple[int, float]] = dict.fromkeys(Lane, (0, 0.0))

    async def turn(self, lane: Lane, deadline: float = inf) -> None:
        """Wait for a token. Raises TimeoutError when there is none by `deadline`, and RedisAway."""
        loop = asyncio.get_running_loop()
        kept, until = self._kept[lane]
        if kept and loop.time() < until:
            self._kept[lane] = (kept - 1, until)
            return
        turn = loop.create_future()
        self._waiting[lane][turn] = deadline
        asking = self._asking.get(lane)
        if asking is None or asking.done():
            self._asking[lane] = asyncio.create_task(self._ask(lane), name=f"turns {lane}")
        try:
            await turn
        finally:
            self._waiting[lane].pop(turn, None)

    async def slow_down(self, seconds: float) -> None:
        """No process calls Stripe for `seconds`, except with tokens that another process has kept."""
        self._kept = dict.fromkeys(Lane, (0, 0.0))
        await self._request(Lane.MONEY, 0, ahead=0, pause_s=seconds)

    async def close(self) -> None:
        """Stop asking Redis for tokens."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def _ask(self, lane: Lane) -> None:
        waiting, time = self._waiting[lane], asyncio.get_running_loop().time
        try:
            while waiting:
                given, again_ms = await self._request(lane, min(len(waiting), TURNS_MAX), ahead=AHEAD)
                while given and waiting:
                    _end(waiting.popitem(last=False)[0])
                    given -= 1
                self._kept[lane] = (given, time() + AHEAD_S)
                if waiting and again_ms:
                    # One timer for all calls: one for each would cost more than everything else here.
                    await asyncio.sleep(min(again_ms / 1000, LATE_S))
                    for turn in [turn for turn, deadline in waiting.items() if deadline <= time()]:
                        del waiting[turn]
                        _end(turn, TimeoutError())
        except Exception as error:
            while waiting:
                _end(waiting.popitem()[0], error)

    async def _request(self, lane: Lane, wanted: int, *, ahead: int, pause_s: float = 0) -> tuple[int, int]:
        other = Lane.INTENTS if lane is Lane.MONEY else Lane.MONEY
        return await _TAKE(
            self._redis,
            bucket=self._key,
            rate=self._rate,
            burst=self._burst,
            share=SHARE,
            lane=lane,
            other=other,
            wanted=wanted,
            ahead=ahead,
            pause=pause_s * 1000,
        )


def _end(turn: asyncio.Future[None], error: Exception | None = None) -> None:
    if turn.done():
        return  # its call was cancelled
    if error is None:
        turn.set_result(None)
    else:
        turn.set_exception(error)
