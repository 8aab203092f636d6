"""Leases in Redis: what one of many processes does alone, for as long as it renews.

Only a hint: two that hold one for a moment are as right as ever. A lease whose holder dies expires.
"""

from __future__ import annotations

import asyncio
import random
import time

from redis.asyncio import Redis

from common.messaging.redis import Argument, Command, Script

# A holder that comes by more often renews no sooner.
RENEW_S = 0.5

# The reader's lease. Redis gives each entry to the consumer that has waited longest: eight that wait take one entry
# each where one would take eight, and eight transactions cost about eight times as much as one. So one reads, and
# the others look now and then: they help when more waits than a good batch, and take over when the lease expires.
# Longer than a blocking read, short enough that nobody notices a dead holder.
LEASE_MS = 1500
WAIT_MAX_MS = 500
# How often each of the others looks, on average, in seconds: the more there are, the sooner one does.
LOOK_S = 0.8
# Entries that nobody has read yet from which on all read: about half of the largest batch.
HELP_FROM = 128
# After this a holder from whom the lease was seized has learned of it, and its last read is over.
SEIZED_S = RENEW_S + WAIT_MAX_MS / 1000 + 0.1

# Takes a lease that is free or the holder's own, and renews it.
_TAKE = Script[int](
    """
local current = redis.call('GET', key)
if current and current ~= holder then return 0 end
redis.call('SET', key, holder, 'PX', lasts_ms)
return 1
""",
    keys="key",
    args="holder lasts_ms",
)
_RELEASE = Script[int](
    "if redis.call('GET', key) == holder then return redis.call('DEL', key) end return 0",
    keys="key",
    args="holder",
)
# Takes it like that, and answers -1; where another has it, how many entries nobody has read yet. Acknowledged ones
# are deleted, so these are all but the pending ones. Without a group there is nothing to help with.
_LOOK = Script[int](
    """
local current = redis.call('GET', key)
if not current or current == holder then
  redis.call('SET', key, holder, 'PX', lasts_ms)
  return -1
end
local pending = redis.pcall('XPENDING', stream, group)
if pending.err then return 0 end
return redis.call('XLEN', stream) - pending[1]
""",
    keys="key stream",
    args="holder lasts_ms group",
)


class Lease:
    """The lease `key`, as `holder` has it or not. It expires `lasts_ms` after it was taken or renewed."""

    def __init__(self, key: str, holder: str, lasts_ms: int) -> None:
        self._key = key
        self._holder = holder
        self._lasts_ms = lasts_ms
        self._terms: dict[str, Argument] = {"key": key, "holder": holder, "lasts_ms": lasts_ms}
        # Whether it was ours when that was asked last.
        self.held = False
        # Takes or renews it, as one command among others; its answer goes to `taken`.
        self.take_command: Command = _TAKE.command(**self._terms)
        self._renewed_at = 0.0

    @property
    def renewal_due(self) -> bool:
        return time.monotonic() - self._renewed_at > RENEW_S

    def taken(self, answer: int) -> bool:
        """Whether it is ours, by the answer to `take_command`."""
        self.held = answer == 1
        if self.held:
            self._renewed_at = time.monotonic()
        return self.held

    async def take(self, redis: Redis) -> bool:
        """Take or renew it; says whether it is ours. Raises RedisAway."""
        return self.taken(await _TAKE(redis, **self._terms))

    async def seize(self, redis: Redis) -> None:
        """Take it from any other holder, who learns of it when renewing."""
        await redis.set(self._key, self._holder, px=self._lasts_ms)
        self.taken(1)

    async def release(self, redis: Redis) -> None:
        """Let another have it, if it is ours."""
        self.held = False
        await _RELEASE(redis, key=self._key, holder=self._holder)


class ReaderLease(Lease):
    """The lease of the one consumer that reads the mailbox `stream` alone while it keeps up."""

    def __init__(self, stream: str, group: str, consumer: str) -> None:
        # By the name that it has had in every release.
        super().__init__(f"turn:{stream}", consumer, LEASE_MS)
        self._stream = stream
        self._group = group
        # One that starts reads at once, and learns by that whether another does.
        self.held = True

    async def may_help(self, redis: Redis, most_s: float) -> bool:
        """Without the lease: wait a little, `most_s` seconds at the most, then say whether more waits than its
        holder can read."""
        await asyncio.sleep(min(LOOK_S * (0.5 + random.random()), most_s))  # not all look at once
        unread = await _LOOK(redis, stream=self._stream, group=self._group, **self._terms)
        return not self.taken(int(unread < 0)) and unread >= HELP_FROM
