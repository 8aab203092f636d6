"""A model in memory of how a mailbox must behave, and what any number of its consumers may do to the real one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from redis.asyncio import Redis

from common.messaging.mailbox import Mailbox
from common.messaging.streams import Entry, dead_letters, lengths, oldest

MILLISECOND = timedelta(milliseconds=1)
STREAM = "model"
GROUP = "model"
CLAIM_IDLE_MS = 60_000
BLOCK_MS = 1
LONG_MS = 3_600_000


@dataclass
class Item:
    """One unacknowledged entry. `owner` has it in hand; `times` counts its deliveries."""

    value: bytes
    owner: str | None = None
    times: int = 0
    # It has been in hand for longer than a claim's idle time.
    old: bool = False


@dataclass
class Model:
    """What must be in Redis."""

    # By id, in the order in which they were added.
    outstanding: dict[bytes, Item] = field(default_factory=dict)
    failures: dict[bytes, int] = field(default_factory=dict)
    # Dead letters: by their own id, the entry's id and value.
    dead: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)
    done: set[bytes] = field(default_factory=set)
    group: bool = False

    @property
    def new(self) -> list[bytes]:
        return [id for id, item in self.outstanding.items() if item.owner is None]

    @property
    def held(self) -> dict[bytes, Item]:
        return {id: item for id, item in self.outstanding.items() if item.owner is not None}

    def given(self, consumer: str, entries: Sequence[Entry], count: int) -> None:
        """A consumer has read these: only abandoned ones, or exactly the next new ones."""
        assert len(entries) <= count
        values = [entry.fields[b"value"] for entry in entries]
        assert not self.done.intersection(values), "what was acknowledged has come back"
        assert len(set(values)) == len(values)
        if entries and entries[0].reclaimed:
            for entry in entries:
                item = self.outstanding[entry.id]
                assert entry.reclaimed
                assert item.owner is not None
                assert item.old, "it was claimed from a consumer that has it in hand"
        else:
            assert [entry.id for entry in entries] == self.new[:count], "first deliveries are not in order"
        for entry in entries:
            item = self.outstanding[entry.id]
            assert entry.fields == {b"value": item.value}
            item.owner, item.times, item.old = consumer, item.times + 1, False

    def acknowledged(self, entries: Sequence[Entry]) -> None:
        """Any consumer may acknowledge an entry, whichever has it in hand: it has done the work."""
        for entry in entries:
            item = self.outstanding.pop(entry.id, None)
            if item is not None:
                self.done.add(item.value)
                self.failures.pop(entry.id, None)

    def forgotten(self) -> None:
        """Redis has lost all data."""
        self.outstanding.clear()
        self.failures.clear()
        self.dead.clear()
        self.group = False

    def ungrouped(self) -> None:
        """Only the group was lost: all entries are new again."""
        self.group = False
        for item in self.outstanding.values():
            item.owner, item.times, item.old = None, 0, False


class Clock:
    """Stands in for the module `time`: a test says how long ago the last search for abandoned entries was."""

    time = staticmethod(time.time)

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Consumer:
    """A consumer with all entries that it ever read: it may handle one of them late."""

    name: str
    mailbox: Mailbox
    given: list[Entry] = field(default_factory=list)

    def some(self, picks: Sequence[int]) -> list[Entry]:
        return [self.given[pick] for pick in picks if pick < len(self.given)]


def consumer(redis: Redis, name: str) -> Consumer:
    mailbox = Mailbox(redis, STREAM, group=GROUP, consumer=name, claim_idle_ms=CLAIM_IDLE_MS)
    return Consumer(name, mailbox)


async def let_grow_old(redis: Redis, model: Model) -> None:
    """Make all entries in hand look as if they had been there for long; nothing else about them changes."""
    for id, item in model.held.items():
        await cast(Any, redis).xclaim(STREAM, GROUP, item.owner, 0, [id], idle=LONG_MS, justid=True)
        item.old = True


async def consumers(redis: Redis) -> dict[str, int]:
    """How many entries each consumer has in hand, 0 included."""
    found = cast(Any, await redis.xinfo_consumers(STREAM, GROUP))
    return {each["name"].decode(): each["pending"] for each in found}


async def compare(redis: Redis, model: Model) -> None:
    """Assert that Redis has what the model has."""
    entries = cast(Any, await redis.xrange(STREAM))
    assert [(id, fields[b"value"]) for id, fields in entries] == [
        (id, item.value) for id, item in model.outstanding.items()
    ]
    if model.group:
        pending = cast(Any, await redis.xpending_range(STREAM, GROUP, "-", "+", 1000))
        found = {each["message_id"]: (each["consumer"].decode(), each["times_delivered"]) for each in pending}
        assert found == {id: (item.owner, item.times) for id, item in model.held.items()}
    letters = cast(Any, await redis.xrange(dead_letters(STREAM)))
    assert {id: (fields[b"dead_entry"], fields[b"value"]) for id, fields in letters} == model.dead
    failures = cast(dict[bytes, bytes], await cast(Any, redis.hgetall(f"attempts:{STREAM}")))
    assert {id: int(count) for id, count in failures.items() if id in model.outstanding} == model.failures
    assert await lengths(redis, [STREAM]) == {STREAM: len(model.outstanding)}
    before = await _redis_time(redis)
    first = await oldest(redis, STREAM, before)
    passed = await _redis_time(redis) - before
    expected = next((int(id.partition(b"-")[0]) for id in model.outstanding), None)
    assert (first is None) is (expected is None)
    if first is not None and expected is not None:
        added = datetime.fromtimestamp(expected / 1000, UTC)
        assert added - passed - MILLISECOND <= first <= added + MILLISECOND


async def _redis_time(redis: Redis) -> datetime:
    seconds, microseconds = cast(Any, await redis.time())
    return datetime.fromtimestamp(seconds + microseconds / 1_000_000, UTC)
