"""The rate limit of Stripe calls for the whole fleet: a token bucket in Redis with three priorities. One call takes
one token.

Cancels, refunds and questions about money have one priority, new intents the second. Either can use the whole rate
while the other is idle; when both want tokens, each gets its share of the rate. So money never waits behind a rush
of bookings, nor bookings behind a thousand refunds. The third is of what owners want beyond their share
(`booking/fair_share.py`): it gets a small part of the rate while others want tokens. While none do it may use the
rate, but leaves most of the bucket: who comes next finds tokens there, and does not wait.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from enum import StrEnum
from math import inf

from redis.asyncio import Redis

from common.messaging.redis import Script


class Priority(StrEnum):
    MONEY = "money"
    INTENTS = "intents"
    DEFERRED = "deferred"


# The share of money and of intents in the rate when both want tokens: half, so that neither starves the other.
SHARE = 0.5
# The share of deferred calls while money or intents want tokens; the others share the rest.
DEFERRED_SHARE = 0.05
# The part of the bucket that deferred calls leave to the others.
RESERVED_PART = 0.8
# The size of the bucket, in seconds at the full rate: the calls of any second exceed the rate by a tenth at most.
BURST_S = 0.1
# The most tokens of one request to Redis, so that the other processes get some, too.
TOKENS_MAX = 50
# Tokens that a process takes beyond those it needs now, while the other priorities are idle, and how many seconds
# it may keep them: sequential calls then ask Redis every fifth time only. Redis counts them as used, so that the
# fleet keeps to its rate; a process is ahead of the rate by this number of calls at most.
AHEAD = 4
AHEAD_S = 0.5
# How late, in seconds, a call without a token may notice that its deadline has passed: Redis is asked at least that
# often, which costs five requests a second.
LATE_S = 0.2

# `rate` is in tokens a second; `burst`, `reserved` and `wanted` are tokens, `ahead` those to keep beyond these.
# `pause` is for how many milliseconds the whole fleet must pause first (Stripe's Retry-After), or 0. Returns the
# number of tokens given, and after how many milliseconds to ask again.
_TAKE = Script[tuple[int, int]](
    """
local now = redis.call('TIME')
now = now[1] * 1000 + now[2] / 1000
rate, burst, share, deferred_share = rate / 1000, tonumber(burst), tonumber(share), tonumber(deferred_share)
reserved, wanted, ahead, pause = tonumber(reserved), tonumber(wanted), tonumber(ahead), tonumber(pause)
local kept = redis.call('HMGET', bucket, 'at', 'all', priority, 'not_before',
    'waits:money', 'waits:intents', 'waits:deferred')
local at, not_before = tonumber(kept[1]) or now, tonumber(kept[4]) or 0
local function waiting(field) return (tonumber(kept[field]) or 0) >= now end
local money, intents, deferred = waiting(5), waiting(6), waiting(7)
-- This priority's part of the rate, beside those that wait, and how many tokens of the bucket it must leave.
local part, leave = 1, 0
if priority == 'deferred' then
  if money or intents then part = deferred_share else leave = reserved end
else
  if priority == 'money' and intents or priority == 'intents' and money then part = share end
  if deferred then part = part * (1 - deferred_share) end
end
local passed = math.max(0, now - at)
local all = math.min(burst, (tonumber(kept[2]) or burst) + passed * rate)
-- A priority's own tokens grow at its part of the rate; kept as the time when there were last none.
local own_burst = math.max(1, burst * part)
local since = tonumber(kept[3]) or 0
local own = math.min(own_burst, math.max(0, now - since) * rate * part)
if pause > 0 then
  not_before = math.max(not_before, now + pause)
  all = 0
end
local given, again = 0, 0
if now < not_before then
  again = not_before - now
else
  local may = part == 1 and wanted + ahead or math.min(wanted, math.floor(own))
  given = math.max(0, math.min(may, math.floor(all - leave)))
  all = all - given
  own = math.max(0, own - given)
  if given < wanted then
    again = (1 + leave - all) / rate
    if part < 1 then again = math.max(again, (1 - own) / (rate * part)) end
    again = math.max(1, again)
  end
end
-- While it waits, the others keep to their parts; one that does not ask again counts as idle.
local waits = given < wanted and now + again + 100 or 0
redis.call('HSET', bucket, 'at', now, 'all', all, priority, now - own / (rate * part), 'not_before', not_before)
if wanted > 0 then redis.call('HSET', bucket, 'waits:' .. priority, waits) end
redis.call('PEXPIRE', bucket, math.ceil(math.max(60000, not_before - now + 1000)))
return {given, math.ceil(again)}
""",
    keys="bucket",
    args="rate burst share deferred_share reserved priority wanted ahead pause",
)


class StripeRateLimiter:
    """Gives this process its tokens. One request to Redis serves all waiting calls of a priority."""

    def __init__(self, redis: Redis, *, key: str, per_second: float) -> None:
        self._redis = redis
        self._key = key
        self._rate = per_second
        self._burst = max(1.0, per_second * BURST_S)
        # The calls that wait for a token, in their order, with their deadlines (the loop's time).
        self._waiting: dict[Priority, OrderedDict[asyncio.Future[None], float]] = {
            priority: OrderedDict() for priority in Priority
        }
        self._tasks: dict[Priority, asyncio.Task[None]] = {}
        # Tokens that are not used yet, and until when they may be used.
        self._kept: dict[Priority, tuple[int, float]] = dict.fromkeys(Priority, (0, 0.0))

    async def acquire(self, priority: Priority, deadline: float = inf) -> None:
        """Wait for a token. Raises TimeoutError when there is none by `deadline`, and RedisOutage."""
        loop = asyncio.get_running_loop()
        kept, until = self._kept[priority]
        if kept and loop.time() < until:
            self._kept[priority] = (kept - 1, until)
            return
        token = loop.create_future()
        self._waiting[priority][token] = deadline
        task = self._tasks.get(priority)
        if task is None or task.done():
            self._tasks[priority] = asyncio.create_task(self._request_tokens(priority), name=f"tokens {priority}")
        try:
            await token
        finally:
            self._waiting[priority].pop(token, None)

    async def slow_down(self, seconds: float) -> None:
        """No process calls Stripe for `seconds`, except with tokens that another process has kept."""
        self._kept = dict.fromkeys(Priority, (0, 0.0))
        await self._request(Priority.MONEY, 0, ahead=0, pause_s=seconds)

    async def close(self) -> None:
        """Stop asking Redis for tokens."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _request_tokens(self, priority: Priority) -> None:
        waiting, time = self._waiting[priority], asyncio.get_running_loop().time
        try:
            while waiting:
                given, again_ms = await self._request(priority, min(len(waiting), TOKENS_MAX), ahead=AHEAD)
                while given and waiting:
                    _end(waiting.popitem(last=False)[0])
                    given -= 1
                self._kept[priority] = (given, time() + AHEAD_S)
                if waiting and again_ms:
                    # One timer for all calls: one for each would cost more than everything else here.
                    await asyncio.sleep(min(again_ms / 1000, LATE_S))
                    for token in [token for token, deadline in waiting.items() if deadline <= time()]:
                        del waiting[token]
                        _end(token, TimeoutError())
        except Exception as error:
            while waiting:
                _end(waiting.popitem()[0], error)

    async def _request(self, priority: Priority, wanted: int, *, ahead: int, pause_s: float = 0) -> tuple[int, int]:
        return await _TAKE(
            self._redis,
            bucket=self._key,
            rate=self._rate,
            burst=self._burst,
            share=SHARE,
            deferred_share=DEFERRED_SHARE,
            reserved=(self._burst - 1) * RESERVED_PART,
            priority=priority,
            wanted=wanted,
            ahead=ahead,
            pause=pause_s * 1000,
        )


def _end(token: asyncio.Future[None], error: Exception | None = None) -> None:
    if token.done():
        return  # its call was cancelled
    if error is None:
        token.set_result(None)
    else:
        token.set_exception(error)
