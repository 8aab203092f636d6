"""Redis Streams as mailboxes: one stream, one consumer group, many consumers. Knows nothing of the messages.

A mailbox has unfinished work only: an entry is acknowledged and deleted in one step, so XLEN is the work that is
left. Unacknowledged entries are never trimmed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from common.messaging.connection import Connection, check, transaction
from common.messaging.lease import SEIZED_SECONDS, WAIT_MAX_MS, ReaderLease
from common.messaging.redis import Command, Script
from common.messaging.streams import Entry, Fields, dead_letters
from common.messaging.unknown import PutBack, put_back, unknown_messages
from common.runtime.outages import error_text

# Characters of an error that a dead letter keeps.
DEAD_ERROR_MAX = 2000
# The failure counts of a mailbox are dropped after this long without a new failure.
ATTEMPTS_TTL_MS = 7 * 24 * 3_600_000

log = structlog.get_logger()


# A consumer is removed only in the same step that finds it without pending entries: DELCONSUMER drops pending
# entries (https://redis.io/docs/latest/commands/xgroup-delconsumer/).
_REMOVE_IDLE = Script[int](
    """
local removed = 0
local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, group)
if consumers.err then return 0 end
for _, fields in ipairs(consumers) do
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
# Both act only if the entry still exists. A slow consumer may find that another has finished or dead-lettered it:
# that is not a failure, and makes no second dead letter.
_COUNT_FAILURE = Script[int](
    """
if #redis.call('XRANGE', stream, id, id) == 0 then return 0 end
redis.call('PEXPIRE', attempts, ttl_ms)
return redis.call('HINCRBY', attempts, id, 1)
""",
    keys="stream attempts",
    args="id ttl_ms",
)
# The entry is added first, because a script is not undone: an entry that cannot be added is not deleted either.
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


class Mailbox:
    """One consumer's view of a mailbox. Every method raises RedisOutage during an outage.

    It is read over a connection of its own. `begin` sends commands, which Redis runs as a whole or not at all, and
    the next read; `finish` waits for the result of the commands, then `entries` returns what the read brought.
    """

    def __init__(
        self,
        redis: Redis,
        stream: str,
        *,
        group: str,
        consumer: str,
        claim_idle_ms: int,
        shared: bool = False,
    ) -> None:
        """With `shared`, one of its consumers reads alone while it keeps up (see lease.py)."""
        self.stream = stream
        # The key that counts failures of entries that were attempted on their own.
        self._attempts = f"attempts:{stream}"
        self._redis: Any = redis
        self._connection = Connection(redis)
        self._group = group
        self._consumer = consumer
        self._claim_idle_ms = claim_idle_ms
        # A search for abandoned entries costs a round trip: a dozen of them in each idle time cost next to nothing,
        # and the entries of a killed consumer wait little longer than that.
        self._claim_every_s = claim_idle_ms / 12_000
        self._next_claim = 0.0
        self._cursor: bytes | str = "0-0"
        self._lease = ReaderLease(stream, group, consumer) if shared else None
        # The last unknown message that was checked; empty: begin with the first.
        self._last_checked = b""
        # What `begin` has sent: how many answers its commands and notifications have, the wanted number of entries
        # and the wait for them in ms, whether a read went with them, and whether the read renews the lease.
        self._command_answers = self._notification_answers = 0
        self._wanted = (0, 0)
        self._reading = self._renewing = False

    async def create(self) -> None:
        """Create the group, from the stream's first entry on, and the stream; existing ones stay as they are."""
        try:
            await self._redis.xgroup_create(self.stream, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    # --- reading, and acknowledging with the next read

    async def begin(
        self, commands: Sequence[Command], count: int, block_ms: int, notifications: Sequence[Command] = ()
    ) -> None:
        """Send `commands`, `notifications` beside them, and a read of up to `count` entries that waits up to
        `block_ms` (0: not at all). Raises nothing: `finish` and `entries` raise the errors; those of notifications
        are logged."""
        sent = [*transaction(commands), *notifications]
        self._command_answers, self._notification_answers = len(sent) - len(notifications), len(notifications)
        self._wanted = count, block_ms
        holds_lease = self._lease is None or self._lease.held
        self._reading = count > 0 and holds_lease and time.monotonic() < self._next_claim
        if self._reading:
            sent += self._read_commands(count, block_ms)
        if sent:
            await self._connection.send(sent, block_s=block_ms / 1000)

    async def finish(self) -> None:
        """Wait for the result of the commands. Raises the error with which Redis refused them, so that nothing was
        done, or RedisOutage when the result is not known."""
        if number := self._command_answers + self._notification_answers:
            answers = await self._connection.answers(number)
            for answer in answers[self._command_answers :]:
                if isinstance(answer, Exception):
                    log.warning("notifications not published", mailbox=self.stream, error=error_text(answer))
            check(answers[: self._command_answers])

    async def entries(self) -> list[Entry]:
        """What the read brought: abandoned entries first, otherwise new ones. An empty list, too, when the group
        had to be created again."""
        try:
            return await self._entries(*self._wanted)
        except ResponseError as error:
            # The stream is gone (FLUSHALL, failover): with the new group all that is in it is read again.
            if not str(error).startswith(("NOGROUP", "UNBLOCKED the stream key")):
                raise
            await self.create()
            return []

    async def _entries(self, count: int, block_ms: int) -> list[Entry]:
        if not count:
            return []
        if not self._reading:
            if time.monotonic() >= self._next_claim and (claimed := await self._claim(count)):
                return claimed
            if self._lease is not None and not self._lease.held:
                # While a batch is in hand, this consumer does not help.
                if not block_ms or not await self._lease.may_help(self._redis, block_ms / 1000):
                    return []
                block_ms = 0
            await self._connection.send(self._read_commands(count, block_ms), block_s=block_ms / 1000)
        answers = check(await self._connection.answers(1 + self._renewing))
        if self._renewing:
            assert self._lease is not None
            self._lease.acquired(answers[0])
        return [
            Entry(id, dict(zip(parts := iter(fields), parts, strict=True)))
            for _, entries in answers[-1] or ()
            for id, fields in entries
        ]

    def _read_commands(self, count: int, block_ms: int) -> list[Command]:
        """The commands of a read; the holder of the lease renews it with them."""
        commands: list[Command] = []
        if self._lease is not None and self._lease.held:
            block_ms = min(block_ms, WAIT_MAX_MS)
            if self._lease.renewal_due:
                commands.append(self._lease.acquire_command)
        self._renewing = bool(commands)
        block: Command = ("BLOCK", block_ms) if block_ms else ()
        read = ("XREADGROUP", "GROUP", self._group, self._consumer, "COUNT", count, *block)
        commands.append((*read, "STREAMS", self.stream, ">"))
        return commands

    async def leave(self) -> None:
        """Read no more, and release the lease for another consumer."""
        if self._lease is not None and self._lease.held:
            await self._lease.release(self._redis)

    async def close(self) -> None:
        """Close the connection: entries on their way stay pending."""
        await self._connection.close()

    async def _claim(self, count: int) -> list[Entry]:
        answer = await self._redis.xautoclaim(
            self.stream,
            self._group,
            self._consumer,
            min_idle_time=self._claim_idle_ms,
            start_id=self._cursor,
            count=count,
        )
        self._cursor = answer[0]
        if self._cursor == b"0-0":
            self._next_claim = time.monotonic() + self._claim_every_s
        # Redis 6.2 returns nil for entries that were deleted while pending.
        return [Entry(id, fields, reclaimed=True) for id, fields in answer[1] if id is not None]

    def acknowledgement(self, entries: Sequence[Entry]) -> list[Command]:
        """The commands that acknowledge and delete `entries`; those that are gone are ignored."""
        if not entries:
            return []
        ids = [entry.id for entry in entries]
        commands: list[Command] = [("XACK", self.stream, self._group, *ids), ("XDEL", self.stream, *ids)]
        if reclaimed := [entry.id for entry in entries if entry.reclaimed]:
            commands.append(("HDEL", self._attempts, *reclaimed))
        return commands

    # --- what fails, and what nobody here knows

    async def count_failure(self, entry: Entry) -> int:
        """How often `entry` has now failed on its own, with any consumer; 0 when it no longer exists."""
        return await _COUNT_FAILURE(
            self._redis, stream=self.stream, attempts=self._attempts, id=entry.id, ttl_ms=ATTEMPTS_TTL_MS
        )

    async def dead_letter(self, entry: Entry, error: str, attempts: int) -> None:
        """Make `entry` a dead letter with the reason, in one step; not when it no longer exists."""
        letter = {
            **entry.fields,
            b"dead_entry": entry.id,
            b"dead_error": error[:DEAD_ERROR_MAX].encode(errors="replace"),
            b"dead_attempts": str(attempts).encode(),
            b"dead_time": str(int(time.time() * 1000)).encode(),
        }
        await self._move(entry.id, dead_letters(self.stream), letter)

    async def set_aside(self, entry: Entry) -> None:
        """Move `entry`, whose type is not known here, to the unknown messages unchanged (see unknown.py)."""
        await self._move(entry.id, unknown_messages(self.stream), entry.fields)

    async def _move(self, id: bytes, stream: str, fields: Fields) -> None:
        """In one step; not when the entry no longer exists."""
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
        # The lease is checked in Redis, because a consumer that has just started only assumes that it holds it.
        another_reads = self._lease is not None and not await self._lease.acquire(self._redis)
        back = await put_back(self._redis, self.stream, types, self._last_checked, move=not another_reads)
        if another_reads and back.found:
            # Otherwise the reader, which does not know these messages, would move them aside again.
            assert self._lease is not None
            await self._lease.seize(self._redis)
            await asyncio.sleep(SEIZED_SECONDS)
            back = await put_back(self._redis, self.stream, types, self._last_checked)
        self._last_checked = back.last_checked
        return back

    async def remove_idle_consumers(self, idle_ms: int) -> int:
        """Remove consumers that have nothing pending and were idle for `idle_ms`; returns how many."""
        return await _REMOVE_IDLE(
            self._redis, stream=self.stream, group=self._group, idle_ms=idle_ms, this_one=self._consumer
        )
