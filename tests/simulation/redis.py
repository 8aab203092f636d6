"""A made-up Redis, which the seed controls. It stands in for Redis only: messages are encoded as on the wire."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Self, cast

from common.contracts.messages import NOTIFICATIONS, PAYMENT_INTENTS
from common.messaging import lease as leases
from common.messaging.envelope import Envelope, decode
from common.messaging.redis import Argument, Command
from common.messaging.streams import Entry, Fields
from common.messaging.unknown import PutBack, Waiting
from common.runtime.outages import RedisOutage
from tests.simulation.clockwork import Clock
from tests.simulation.faults import Fault, Point
from tests.simulation.gates import Gates
from tests.simulation.process import Process
from tests.simulation.story import Story

REDIS_OUTAGE = RedisOutage
# How many unread entries let a consumer read without the lease: few, so that two often read at once.
HELP_FROM = 2


@dataclass
class Stream:
    """A mailbox with its one group: entries that are not read yet, and when each pending entry was read."""

    entries: dict[bytes, Fields] = field(default_factory=dict)
    new: list[bytes] = field(default_factory=list)
    pending: dict[bytes, float] = field(default_factory=dict)
    failures: dict[bytes, int] = field(default_factory=dict)


@dataclass(eq=False)
class Reader:
    """A consumer that waits for entries."""

    process: Process
    stream: str
    count: int
    entries: asyncio.Future[list[Entry]]


@dataclass(frozen=True)
class Lease:
    """The reader's lease of a mailbox, which its holder acquired or renewed at `since`."""

    holder: Process
    since: float


class SimulatedRedis:
    """One server. It calls `received` with every notification and reply."""

    def __init__(self, gates: Gates, clock: Clock, story: Story, received: Callable[[Envelope], None]) -> None:
        self._gates = gates
        self._clock = clock
        self._story = story
        self._received = received
        self._added = 0
        self.streams: dict[str, Stream] = {}
        self.readers: list[Reader] = []
        self.leases: dict[str, Lease] = {}
        self.dead: list[tuple[str, Fields, str]] = []
        # Unknown messages, by mailbox.
        self.unknown: dict[str, list[Fields]] = {}
        # When booking first asked for the intent of a booking, beside what is deferred.
        self.asked: dict[str, float] = {}
        # Ids of messages that Redis forgot before they were acknowledged.
        self.forgotten: set[bytes] = set()

    def stream(self, name: str) -> Stream:
        return self.streams.setdefault(name, Stream())

    def add(self, stream: str, encoded: Fields) -> None:
        """XADD, with the faults that may lose or double the entry."""
        if stream == NOTIFICATIONS or stream.startswith(("replies:", "inbox:")):
            self._received(decode(stream, Entry(b"0-0", encoded)).envelope)
            return
        if stream == PAYMENT_INTENTS and encoded[b"source"].startswith(b"/booking"):
            self.asked.setdefault(encoded[b"subject"].decode(), self._clock.monotonic())
        line = f"{encoded[b'type'].decode()} {encoded[b'subject'].decode()} -> {stream}"
        if self._gates.happens(Fault.ENTRY_LOST):
            self._story.note(f"{line}: forgotten")
            self.forgotten.add(encoded[b"id"])
            return
        self._put(stream, encoded)
        if self._gates.happens(Fault.ENTRY_DOUBLED):
            self._put(stream, encoded)
            line += ", twice"
        self._story.note(line)

    def put_back(self, stream: str, fields: Fields) -> None:
        self._story.note(f"puts back {fields[b'type'].decode()} {fields[b'subject'].decode()}")
        self._put(stream, fields)

    def _put(self, stream: str, fields: Fields) -> None:
        self._added += 1
        id = f"{int(self._clock.time() * 1000)}-{self._added}".encode()
        self.stream(stream).entries[id] = fields
        self.stream(stream).new.append(id)

    def remove(self, stream: str, id: bytes) -> None:
        """XACK and XDEL."""
        found = self.stream(stream)
        found.entries.pop(id, None)
        found.pending.pop(id, None)
        found.failures.pop(id, None)

    def flush(self) -> None:
        """FLUSHALL."""
        for stream in self.streams.values():
            self.forgotten |= {fields[b"id"] for fields in stream.entries.values()}
        self.forgotten |= {fields[b"id"] for unknown in self.unknown.values() for fields in unknown}
        self.streams.clear()
        self.leases.clear()
        self.unknown.clear()

    # --- delivery

    def deliver(self, reader: Reader, ids: Sequence[bytes], *, reclaimed: bool) -> None:
        """Give entries to a waiting consumer: from now on they are pending, and its process handles them."""
        stream = self.stream(reader.stream)
        if self.lease_expires(reader) is None:
            self.leases[reader.stream] = Lease(reader.process, self._clock.monotonic())
        entries = []
        for id in ids:
            if not reclaimed:
                stream.new.remove(id)
            stream.pending[id] = self._clock.monotonic()
            entries.append(Entry(id, stream.entries[id], reclaimed=reclaimed))
        types = " ".join(f"{e.fields[b'type'].decode()} {e.fields[b'subject'].decode()}" for e in entries)
        self._story.note(f"{'takes over' if reclaimed else 'reads'} {types}", reader.process.name)
        self.readers.remove(reader)
        reader.entries.set_result(entries)

    def lease_expires(self, reader: Reader) -> float | None:
        """When the lease of another process expires; None when `reader` has the lease, or may acquire it."""
        lease = self.leases.get(reader.stream)
        if lease is None or lease.holder is reader.process:
            return None
        if any(each.process is lease.holder and each.stream == reader.stream for each in self.readers):
            return math.inf  # its holder is reading, and renotifications it with each read
        expires = lease.since + leases.LEASE_MS / 1000
        return expires if expires > self._clock.monotonic() else None

    def may_read(self, reader: Reader) -> bool:
        """Whether `reader` may read new entries: while another has the lease, only if HELP_FROM or more wait."""
        new = self.stream(reader.stream).new
        return bool(new) and (len(new) >= HELP_FROM or self.lease_expires(reader) is None)

    def claimable(self, stream: str, idle_s: float) -> list[bytes]:
        """The entries that have been pending for `idle_s` seconds or longer."""
        now = self._clock.monotonic()
        return [id for id, since in self.stream(stream).pending.items() if now - since >= idle_s]

    # --- what the product calls

    def pipeline(self, transaction: bool = True) -> Lengths:
        return Lengths(self)

    async def execute(self, commands: Sequence[Command]) -> None:
        """The commands of Publisher and Mailbox. A transaction is done as a whole or not at all."""
        self.check()
        additions: list[tuple[str, Fields]] = []
        finished: list[tuple[str, bytes]] = []
        for command in commands:
            if command[0] == "XADD":
                additions.append((str(command[1]), encoded(command[command.index("*") + 1 :])))
            elif command[0] == "EVAL":  # notifications
                additions += [(NOTIFICATIONS, fields) for fields in _notifications(command)]
            elif command[0] == "XDEL":
                finished += [(str(command[1]), _bytes(id)) for id in command[2:]]
        if not additions and not finished:
            return
        gates = self._gates
        await gates.reach(Point.BEFORE_PUBLISH)
        if gates.strikes(Fault.PUBLISH_FAILED, Fault.REDIS_OUTAGE):
            raise REDIS_OUTAGE("made up: Redis is unavailable")
        half = len(additions) > 1 and not finished and gates.strikes(Fault.PUBLISH_HALF)
        for stream, fields in additions[: len(additions) // 2 if half else None]:
            self.add(stream, fields)
        for stream, id in finished:
            self.remove(stream, id)
        if half or gates.strikes(Fault.PUBLISH_UNKNOWN):
            raise REDIS_OUTAGE("made up: no answer")
        await gates.reach(Point.AFTER_PUBLISH)

    async def xrange(self, stream: str, count: int | None = None) -> list[tuple[bytes, Fields]]:
        self.check()
        return list(self.stream(stream).entries.items())[:count]

    async def time(self) -> tuple[int, int]:
        self.check()
        now_ns = self._clock.time_ns()
        return now_ns // 1_000_000_000, now_ns % 1_000_000_000 // 1000

    def check(self) -> None:
        """Raises while the server is unavailable."""
        if Fault.REDIS_OUTAGE in self._gates.outages:
            raise REDIS_OUTAGE("made up: Redis is unavailable")


class Lengths:
    """The parts of a pipeline that the product uses outside mailboxes."""

    def __init__(self, redis: SimulatedRedis) -> None:
        self._redis = redis
        self._answers: list[object] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def xlen(self, stream: str) -> None:
        self._answers.append(len(self._redis.stream(stream).entries))

    def set(self, _: str, __: str, **options: int) -> None:
        """A claim, which always succeeds, so that each process publishes all counts that it knows."""
        self._answers.append(True)

    async def execute(self) -> list[object]:
        self._redis.check()
        return self._answers


class SimulatedConnection:
    """A publisher's own connection, as `common.messaging.connection.Connection` is."""

    def __init__(self, redis: SimulatedRedis) -> None:
        self._redis = redis
        self._lost: RedisOutage | None = None

    async def send(self, commands: Sequence[Command]) -> None:
        self._lost = None
        try:
            await self._redis.execute(commands)
        except RedisOutage as error:
            self._lost = error

    async def answers(self, number: int) -> list[object]:
        if self._lost is not None:
            raise self._lost
        return [b"OK"] * number


class SimulatedMailbox:
    """One process' view of a mailbox, as `common.messaging.mailbox.Mailbox` is."""

    def __init__(self, redis: SimulatedRedis, story: Story, stream: str, process: Process) -> None:
        self.stream = stream
        self._redis = redis
        self._story = story
        self._process = process
        self._wanted = (0, 0)
        self._lost: RedisOutage | None = None

    async def create(self) -> None:
        self._redis.check()

    async def begin(
        self, commands: Sequence[Command], count: int, block_ms: int, notifications: Sequence[Command] = ()
    ) -> None:
        self._wanted = count, block_ms
        self._lost = None
        try:
            await self._redis.execute([*commands, *notifications])
        except RedisOutage as error:
            self._lost = error

    async def finish(self) -> None:
        if self._lost is not None:
            raise self._lost

    async def entries(self) -> list[Entry]:
        """Wait until the scheduler delivers entries."""
        count, block_ms = self._wanted
        await self.finish()
        self._redis.check()
        if not count or not block_ms:
            return []
        reader = Reader(self._process, self.stream, count, asyncio.get_running_loop().create_future())
        self._redis.readers.append(reader)
        try:
            return await reader.entries
        finally:
            if reader in self._redis.readers:
                self._redis.readers.remove(reader)

    def acknowledgement(self, entries: Sequence[Entry]) -> list[Command]:
        return [("XDEL", self.stream, *(entry.id for entry in entries))]

    async def count_failure(self, entry: Entry) -> int:
        self._redis.check()
        failures = self._redis.stream(self.stream).failures
        failures[entry.id] = failures.get(entry.id, 0) + 1
        return failures[entry.id]

    async def dead_letter(self, entry: Entry, error: str, attempts: int) -> None:
        self._redis.check()
        fields = entry.fields
        self._redis.dead.append((self.stream, fields, error))
        self._story.note(f"dead-letters {fields[b'type'].decode()} {fields[b'subject'].decode()}: {error}")
        self._redis.remove(self.stream, entry.id)

    async def set_aside(self, entry: Entry) -> None:
        self._redis.check()
        if entry.id in self._redis.stream(self.stream).entries:
            self._redis.unknown.setdefault(self.stream, []).append(entry.fields)
            self._story.note(f"sets aside {entry.fields[b'type'].decode()} {entry.fields[b'subject'].decode()}")
        self._redis.remove(self.stream, entry.id)

    async def put_back(self, types: Collection[str]) -> PutBack:
        self._redis.check()
        unknown = self._redis.unknown.get(self.stream, [])
        known = [fields for fields in unknown if fields[b"type"].decode() in types]
        for fields in known:
            unknown.remove(fields)
            self._redis.put_back(self.stream, fields)
        return PutBack(len(known), b"", Waiting(len(unknown), 0.0))

    async def remove_idle_consumers(self, idle_ms: int) -> int:
        return 0

    async def leave(self) -> None:
        if (lease := self._redis.leases.get(self.stream)) is not None and lease.holder is self._process:
            del self._redis.leases[self.stream]

    async def close(self) -> None:
        return None


def _notifications(command: Command) -> list[Fields]:
    """The notifications in a script call that `Publisher.commands` makes; see there."""
    items = list(command[5:])
    found: list[Fields] = []
    while items:
        topics = cast(int, items[0])
        size = cast(int, items[topics + 1])
        found.append(encoded(items[topics + 2 : topics + 2 + size]))
        del items[: topics + 2 + size]
    return found


def encoded(fields: Sequence[Argument]) -> Fields:
    """Alternating names and values, as they are on the wire."""
    parts = map(_bytes, fields)
    return dict(zip(parts, parts, strict=True))


def _bytes(value: Argument) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
