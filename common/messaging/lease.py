"""Leases in Redis: what lets one of many processes do something alone for as long as it renews.

A lease is only a hint: two holders for a moment are still correct. A lease whose holder dies expires.
"""

from __future__ import annotations

import asyncio
import random
import time

from redis.asyncio import Redis

from common.messaging.redis import Argument, Command, Script

# A holder renews at most once in this many seconds.
RENEW_SECONDS = 0.5

# The reader's lease. Redis gives each entry to the consumer that has waited longest: eight waiting consumers read
# one entry each where one would read eight, and eight transactions cost about eight times as much as one. So one
# consumer reads. The others poll: they help when more entries wait than a good batch has, and read when the lease
# expires. LEASE_MS is longer than a blocking read, and short enough that nobody notices a dead holder.
LEASE_MS = 1500
WAIT_MAX_MS = 500
# Seconds between the polls of each of the others, on average: the more there are, the sooner one polls.
POLL_SECONDS = 0.8
# From this many unread entries on all consumers read: about half of the largest batch.
HELP_FROM = 128
# After this many seconds a holder whose lease was seized knows it, and its last read is over.
SEIZED_SECONDS = RENEW_SECONDS + WAIT_MAX_MS / 1000 + 0.1

# Acquires a lease that is free, or renews the holder's own.
_ACQUIRE = Script[int](
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
# Acquires or renews it, and returns -1; when another holds it, returns how many entries are unread. Acknowledged
# ones are deleted, so these are all but the pending ones. Without a group there is nothing to help with.
_POLL = Script[int](
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


def _reader_key(stream: str) -> str:
    """The key of a reader's lease has this name in every release."""
    return f"turn:{stream}"


async def has_reader(redis: Redis, stream: str) -> bool:
    """Whether some process reads the mailbox `stream`. False also for a moment after its only reader has died, or
    while that one has too much in hand. Raises RedisOutage."""
    return bool(await redis.exists(_reader_key(stream)))


class Lease:
    """The lease `key`, which `holder` may hold. It expires `lasts_ms` after it was acquired or renewed."""

    def __init__(self, key: str, holder: str, lasts_ms: int) -> None:
        self._key = key
        self._holder = holder
        self._lasts_ms = lasts_ms
        self._parameters: dict[str, Argument] = {"key": key, "holder": holder, "lasts_ms": lasts_ms}
        # Whether `holder` held it at the last check.
        self.held = False
        # Acquires or renews it, as one command among others; pass its answer to `acquired`.
        self.acquire_command: Command = _ACQUIRE.command(**self._parameters)
        self._renewed_at = 0.0

    @property
    def renewal_due(self) -> bool:
        return time.monotonic() - self._renewed_at > RENEW_SECONDS

    def acquired(self, answer: int) -> bool:
        """Whether it is held, by the answer to `acquire_command`."""
        self.held = answer == 1
        if self.held:
            self._renewed_at = time.monotonic()
        return self.held

    async def acquire(self, redis: Redis) -> bool:
        """Acquire or renew it; returns whether it is held. Raises RedisOutage."""
        return self.acquired(await _ACQUIRE(redis, **self._parameters))

    async def seize(self, redis: Redis) -> None:
        """Acquire it even if another holds it, who notices at the next renewal."""
        await redis.set(self._key, self._holder, px=self._lasts_ms)
        self.acquired(1)

    async def release(self, redis: Redis) -> None:
        """Give it up, if it is held."""
        self.held = False
        await _RELEASE(redis, key=self._key, holder=self._holder)


class ReaderLease(Lease):
    """The lease of the one consumer that reads the mailbox `stream` alone while it keeps up."""

    def __init__(self, stream: str, group: str, consumer: str) -> None:
        super().__init__(_reader_key(stream), consumer, LEASE_MS)
        self._stream = stream
        self._group = group
        # A consumer that starts reads at once; the renewal with that read shows whether another holds the lease.
        self.held = True

    async def may_help(self, redis: Redis, most_s: float) -> bool:
        """Without the lease: wait a little, at most `most_s` seconds; return whether its holder cannot keep up."""
        await asyncio.sleep(min(POLL_SECONDS * (0.5 + random.random()), most_s))  # so that not all poll at once
        unread = await _POLL(redis, stream=self._stream, group=self._group, **self._parameters)
        return not self.acquired(int(unread < 0)) and unread >= HELP_FROM
