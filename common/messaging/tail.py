"""Reads whole streams as they grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import uuid4

from redis.asyncio import Redis

from common.messaging.redis import writable
from common.messaging.streams import Entry

# Set once in the life of Redis' data: another value, and all that was in Redis before is gone.
_MEMORY = "memory"


class Tail:
    """Reads whole streams as they grow, without a group: broadcasts, and replies to oneself."""

    def __init__(self, blocking: Redis, streams: Sequence[str]) -> None:
        self._blocking = blocking
        self._last: dict[str, bytes | str] = dict.fromkeys(streams, "")
        self._memory: tuple[object, ...] | None = None
        self._passed_over = False

    async def start(self) -> None:
        """Remember where each stream ends now: what comes later is read, however long the first read waits."""
        if self._memory is None:
            self._memory = await _memory(self._blocking)
        for stream, last in self._last.items():
            if not last:
                self._last[stream] = await self._end(stream) or b"0-0"

    async def _end(self, stream: str) -> bytes | None:
        newest = cast(Any, await self._blocking.xrevrange(stream, count=1))
        return cast(bytes, newest[0][0]) if newest else None

    async def _follow_new_streams(self) -> None:
        """A stream that ends before what was read of it is another one: Redis lost the old one, and now has a clock
        that is behind. All of it is news."""
        for stream, last in self._last.items():
            end = await self._end(stream)
            if end is not None and _order(end) < _order(last):
                self._last[stream] = b"0-0"

    async def read(self, count: int, block_ms: int) -> list[tuple[str, Entry]]:
        """What has come since the last call, in order within a stream."""
        answer = cast(Any, await self._blocking.xread(cast(Any, self._last), count=count, block=block_ms))
        found: list[tuple[str, Entry]] = []
        for name, entries in answer or []:
            stream = name.decode()
            found += [(stream, Entry(id, fields)) for id, fields in entries]
            if len(entries) == count and await self._trimmed(stream, self._last[stream]):
                self._passed_over = True
            self._last[stream] = entries[-1][0]
        if not found:
            await self._follow_new_streams()
        return found

    async def _trimmed(self, stream: str, last: bytes | str) -> bool:
        """Whether the stream was trimmed past `last`. Only who is far behind can be overtaken by that."""
        first = cast(Any, await self._blocking.xrange(stream, count=1))
        return last != b"0-0" and bool(first) and _order(first[0][0]) > _order(last)

    async def missed(self) -> bool:
        """Whether something may have gone unread since the last call: Redis has lost its data, or its last moments
        in a restart, or streams were trimmed faster than they were read."""
        known, self._memory = self._memory, await _memory(self._blocking)
        passed_over, self._passed_over = self._passed_over, False
        return passed_over or known != self._memory


async def _memory(redis: Redis) -> tuple[object, ...]:
    """Another one whenever Redis may have forgotten something: of the server's process, and of its data.

    Raises RedisAway of a replica, too: what is written to the primary may never come to be read there.
    """
    await writable(redis)
    data = await redis.get(_MEMORY)
    if data is None:
        await redis.set(_MEMORY, str(uuid4()), nx=True)
        data = await redis.get(_MEMORY)
    return data, cast(Any, await redis.info("server"))["run_id"]


def _order(id: bytes | str) -> tuple[int, int]:
    milliseconds, _, sequence = (id if isinstance(id, str) else id.decode()).partition("-")
    return int(milliseconds), int(sequence)
