"""Redis Streams as mailboxes: one stream, one consumer group, many consumers. Knows nothing of what is sent.

A mailbox holds outstanding work only: an entry is acknowledged and deleted in one step, so XLEN is the
work that is left. Nothing unacknowledged is ever trimmed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple, cast
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from common.messaging.redis import Command, Script, writable
from common.messaging.turns import HELP_FROM, MINE, WAIT_MAX_MS, Turn
from common.messaging.unknown import Waiting, put_back, unknown_messages, waiting

Fields = dict[bytes, bytes]

# Characters of an error that are kept with a dead letter.
DEAD_ERROR_MAX = 2000
# Failures of an entry are counted together when no more than so long passes between any two in its mailbox.
ATTEMPTS_TTL_MS = 7 * 24 * 3_600_000
# In earlier releases many ids at once overflow XACKDEL's stack (CVE-2025-62507).
XACKDEL_SINCE = (8, 2, 3)

# After this a read that began before another has taken the turn is over.
SEIZED_S = WAIT_MAX_MS / 1000 + 0.1

# Set once in the life of Redis' data: another value, and all that was in Redis before is gone.
_MEMORY = "memory"

# A consumer is removed only in the same step in which it is seen to have nothing pending: DELCONSUMER
# drops pending entries (https://redis.io/docs/latest/commands/xgroup-delconsumer/).
_REMOVE_IDLE = Script[int](
    """
local removed = 0
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local consumer = {}
  for i = 1, #fields, 2 do consumer[fields[i]] = fields[i + 1] end
  if consumer['pending'] == 0 and consumer['idle'] > tonumber(idle_ms) and consumer['name'] ~= this_one then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer['name'])
    removed = removed + 1
  end
end
return removed
""",
    keys="stream",
    args="group idle_ms this_one",
)

# Both only where the entry is still there. Who was slow finds that another has finished it, or buried it: then it
# has not failed, and is no dead letter a second time.
_COUNT_FAILURE = Script[int](
    """
if #redis.call('XRANGE', stream, id, id) == 0 then return 0 end
redis.call('PEXPIRE', attempts, ttl_ms)
return redis.call('HINCRBY', attempts, id, 1)
""",
    keys="stream attempts",
    args="id ttl_ms",
)
# What cannot be added is not deleted either: a script is not undone.
_MOVE = Script[int](
    """
if #redis.call('XRANGE', stream, id, id) == 0 then return 0 end
redis.call('XADD', destination, '*', unpack(fields))
redis.call('XDEL', stream, id)
redis.call('XACK', stream, group, id)
redis.call('HDEL', attempts, id)
return 1
""",
    keys="stream attempts destination",
    args="id group *fields",
)


class Entry(NamedTuple):
    """One stream entry as Redis gave it. `reclaimed`: another consumer had it before."""

    id: bytes
    fields: Fields
    reclaimed: bool = False


class PutBack(NamedTuple):
    """What became of unknown messages: how many were put back, what is left, whether there are more to look at."""

    moved: int
    left: Waiting
    more: bool


def dead_letters(stream: str) -> str:
    """The stream that keeps what `stream`'s consumers could not handle."""
    return f"dead:{stream}"


class Mailbox:
    """One consumer's view of a mailbox. Every method raises RedisAway while Redis cannot serve."""

    def __init__(
        self,
        redis: Redis,
        blocking: Redis,
        stream: str,
        *,
        group: str,
        consumer: str,
        claim_idle_ms: int,
        turn: Turn | None = None,
    ) -> None:
        """Consumers with a `turn` leave new entries to one of them while it keeps up (see turns.py)."""
        self.stream = stream
        self._redis = redis
        self._blocking = blocking
        self._group = group
        self._consumer = consumer
        self._claim_idle_ms = claim_idle_ms
        # Looking for abandoned entries costs a round trip: a dozen looks in each idle time cost next to nothing,
        # and whoever was killed is waited for little longer than that.
        self._claim_every_s = claim_idle_ms / 12_000
        self._next_claim = 0.0
        self._cursor: bytes | str = "0-0"
        self._turn = turn
        self._ack_and_delete = False
        # The unknown message that was looked at last; empty: begin with the first.
        self._looked_at = b""

    async def create(self) -> None:
        """Make the group from the stream's very beginning, and the stream; existing ones are left as they are."""
        # Asked each time: this may be another server than before.
        self._ack_and_delete = await acknowledges_and_deletes(self._redis)
        try:
            await self._redis.xgroup_create(self.stream, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def read(self, count: int, block_ms: int) -> list[Entry]:
        """Up to `count` entries: abandoned ones first, else new ones, waiting up to `block_ms` for them."""
        try:
            if time.monotonic() >= self._next_claim and (claimed := await self._claim(count)):
                return claimed
            answer = await self._read_new(count, block_ms)
        except ResponseError as error:
            # The stream is gone (FLUSHALL, failover): make it anew, and what is in it is read again.
            if not str(error).startswith(("NOGROUP", "UNBLOCKED the stream key")):
                raise
            await self.create()
            return []
        return [Entry(id, fields) for _, entries in cast(Any, answer or []) for id, fields in entries]

    async def _read_new(self, count: int, block_ms: int) -> Any:
        new: Any = {self.stream: ">"}
        turn = self._turn
        if turn is None:
            return await self._blocking.xreadgroup(self._group, self._consumer, new, count=count, block=block_ms)
        if not turn.mine:
            await asyncio.sleep(min(turn.pause_s(), block_ms / 1000))
            unread = await cast(Any, self._redis).execute_command(*turn.take)
            turn.mine = unread == MINE
            if unread < HELP_FROM:
                return []
            return await self._redis.xreadgroup(self._group, self._consumer, new, count=count)
        async with self._blocking.pipeline(transaction=False) as pipe:
            cast(Any, pipe).execute_command(*turn.take)
            pipe.xreadgroup(self._group, self._consumer, new, count=count, block=min(block_ms, WAIT_MAX_MS))
            # An error as it came: a pipeline's own has another text.
            unread, answer = await pipe.execute(raise_on_error=False)
        for each in (unread, answer):
            if isinstance(each, Exception):
                raise each  # RedisAway, where it is an outage (see redis.py)
        turn.mine = unread == MINE
        return answer

    async def leave(self) -> None:
        """Read no more: whoever else is there has the turn."""
        if self._turn is not None and self._turn.mine:
            await cast(Any, self._redis).execute_command(*self._turn.leave)

    async def _claim(self, count: int) -> list[Entry]:
        answer = cast(
            Any,
            await self._redis.xautoclaim(
                self.stream,
                self._group,
                self._consumer,
                min_idle_time=self._claim_idle_ms,
                start_id=cast(str, self._cursor),
                count=count,
            ),
        )
        self._cursor = answer[0]
        if self._cursor == b"0-0":
            self._next_claim = time.monotonic() + self._claim_every_s
        # Redis 6.2 names entries that were deleted while pending as nil.
        return [Entry(id, fields, reclaimed=True) for id, fields in answer[1] if id is not None]

    def finishing(self, entries: Sequence[Entry]) -> list[Command]:
        """The commands that acknowledge and delete `entries`, to be done in one step (see Bus.publish); entries
        that are gone already are passed over."""
        if not entries:
            return []
        ids = [entry.id for entry in entries]
        if self._ack_and_delete:
            commands: list[Command] = [("XACKDEL", self.stream, self._group, "IDS", len(ids), *ids)]
        else:
            commands = [("XACK", self.stream, self._group, *ids), ("XDEL", self.stream, *ids)]
        if reclaimed := [entry.id for entry in entries if entry.reclaimed]:
            commands.append(("HDEL", self._attempts, *reclaimed))
        return commands

    @property
    def _attempts(self) -> str:
        return f"attempts:{self.stream}"

    async def count_failure(self, entry: Entry) -> int:
        """How often `entry` has now failed on its own, in whichever consumer's hands; 0 when it is gone."""
        stream, attempts = self.stream, self._attempts
        return await _COUNT_FAILURE(
            self._redis, stream=stream, attempts=attempts, id=entry.id, ttl_ms=ATTEMPTS_TTL_MS
        )

    async def bury(self, entry: Entry, error: str, attempts: int) -> None:
        """Move `entry` to the dead letters, with the reason, in one step; not when it is gone."""
        letter = {
            **entry.fields,
            b"dead_entry": entry.id,
            b"dead_error": error[:DEAD_ERROR_MAX].encode(errors="replace"),
            b"dead_attempts": str(attempts).encode(),
            b"dead_time": str(int(time.time() * 1000)).encode(),
        }
        await self._move(entry.id, dead_letters(self.stream), letter)

    async def set_aside(self, entry: Entry) -> None:
        """Move `entry`, whose type is not known here, as it is to the unknown messages (see unknown.py)."""
        await self._move(entry.id, unknown_messages(self.stream), entry.fields)

    async def _move(self, id: bytes, stream: str, fields: Fields) -> None:
        """In one step; not when it is gone."""
        await _MOVE(
            self._redis,
            stream=self.stream,
            attempts=self._attempts,
            destination=stream,
            id=id,
            group=self._group,
            fields=chain.from_iterable(fields.items()),
        )

    async def put_back(self, types: Collection[str]) -> PutBack:
        """Put unknown messages of `types` back, a bounded number of them."""
        left = (await waiting(self._redis, [self.stream]))[self.stream]
        if not left.messages:
            return PutBack(0, left, more=False)
        after = self._looked_at
        another_reads = not await self._reads()
        page = await put_back(self._redis, self.stream, types, after, move=not another_reads)
        if another_reads and page.found:
            await self._take_over()
            page = await put_back(self._redis, self.stream, types, after)
        self._looked_at = page.end
        if page.found:
            left = (await waiting(self._redis, [self.stream]))[self.stream]
        return PutBack(page.found, left, more=bool(page.end))

    async def _reads(self) -> bool:
        """Whether this consumer is the one that reads, or may as well be."""
        if self._turn is not None:
            # Asked: at its start it only takes itself for the one.
            self._turn.mine = await cast(Any, self._redis).execute_command(*self._turn.take) == MINE
        return self._turn is None or self._turn.mine

    async def _take_over(self) -> None:
        """Be the one that reads: else one that does not know these messages would read them, and move them again.
        Waits until the read that it has under way is over."""
        assert self._turn is not None
        await cast(Any, self._redis).execute_command(*self._turn.seize)
        self._turn.mine = True
        await asyncio.sleep(SEIZED_S)

    async def remove_idle_consumers(self, idle_ms: int) -> int:
        """Forget consumers that have nothing pending and were not heard of for `idle_ms`; says how many."""
        try:
            return await _REMOVE_IDLE(
                self._redis, stream=self.stream, group=self._group, idle_ms=idle_ms, this_one=self._consumer
            )
        except ResponseError as error:
            if "NOGROUP" in str(error) or "no such key" in str(error):
                return 0
            raise


async def has_command(redis: Redis, name: str) -> bool:
    """Whether the server knows `name`: newer commands are probed for, not assumed."""
    # As one name: redis-py's own reading of COMMAND's answer fails on a command that the server doesn't know.
    answer = await cast(Any, redis).execute_command("COMMAND INFO", name)
    return any(answer)


async def acknowledges_and_deletes(redis: Redis) -> bool:
    """Whether the server has an XACKDEL that can be relied on."""
    if not await has_command(redis, "XACKDEL"):
        return False
    version = str(cast(Any, await redis.info("server"))["redis_version"])
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit()) >= XACKDEL_SINCE


async def replay(redis: Redis, stream: str, ids: Sequence[bytes | str]) -> int:
    """Put dead letters of `stream` back at its end as they were; says how many there were."""
    replayed = 0
    for id in ids:
        for found, letter in cast(Any, await redis.xrange(dead_letters(stream), id, id)):
            fields = {key: value for key, value in letter.items() if not key.startswith(b"dead_")}
            async with redis.pipeline(transaction=True) as pipe:
                pipe.xadd(stream, fields)
                pipe.xdel(dead_letters(stream), found)
                await pipe.execute()
            replayed += 1
    return replayed


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


async def lengths(redis: Redis, streams: Sequence[str]) -> Mapping[str, int]:
    """How many entries each stream has: for a mailbox, its outstanding work."""
    async with redis.pipeline(transaction=False) as pipe:
        for stream in streams:
            pipe.xlen(stream)
        return dict(zip(streams, await pipe.execute(), strict=True))


async def oldest(redis: Redis, stream: str, now: datetime) -> datetime | None:
    """When, by the clock that says `now`, the first of the entries that are left in `stream` was added; None when
    it is empty. Entries are dated by Redis' clock: how old one is, is asked of that clock, too."""
    first = cast(Any, await redis.xrange(stream, count=1))
    if not first:
        return None
    seconds, microseconds = cast(Any, await redis.time())
    age_ms = seconds * 1000 + microseconds // 1000 - int(first[0][0].split(b"-")[0])
    return now - timedelta(milliseconds=max(age_ms, 0))
