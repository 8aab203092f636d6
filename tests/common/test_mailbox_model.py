"""The mailbox does what its model does, whatever its consumers do, in any order: no unacknowledged entry is lost,
trimmed or hidden, and no acknowledged entry comes back.

HOLDFAST_EXAMPLES sets how many sequences are tried, HOLDFAST_SEED which ones.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Coroutine, Iterator
from itertools import count
from typing import Any, ClassVar, TypeVar, cast

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from hypothesis.stateful import run_state_machine_as_test as run_machine
from redis.asyncio import Redis

from common.messaging import mailbox
from common.messaging.redis import connect
from common.messaging.streams import dead_letters, replay
from ops.redis import RedisServer, embedded_redis
from tests.common.mailbox_model import (
    BLOCK_MS,
    GROUP,
    STREAM,
    Clock,
    Consumer,
    Item,
    Model,
    compare,
    consumer,
    consumers,
    let_grow_old,
)
from tests.common.stage import finish, read_entries

# `make test` tries few, `make races` many: see HOLDFAST_EXAMPLES in the Makefile.
EXAMPLES = int(os.environ.get("HOLDFAST_EXAMPLES", "15"))
STEPS = 40
# One for each sequence: a restart costs a tenth of a second.
RESTARTS_MAX = 1
PICKS = st.lists(st.integers(0, 4), min_size=1, max_size=4, unique=True)

T = TypeVar("T")


class Server:
    """A Redis that may be restarted, used from outside the event loop."""

    def __init__(self, runner: asyncio.Runner, redis: RedisServer) -> None:
        self._runner = runner
        self._server = redis
        self.redis: Redis = connect(redis.url)
        self.run(self._hurry())

    async def _hurry(self) -> None:
        """Make the server quick: a read without entries ends within 2 ms, not at the next of ten ticks a second.

        Without fsync Redis writes all that it answers at once, and a killed process has lost none of it; with fsync
        a slow disk can delay all writes for up to two seconds.
        """
        await self.redis.config_set("hz", 500)
        await self.redis.config_set("appendfsync", "no")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def restart(self) -> None:
        self.run(self._restart())

    async def _restart(self) -> None:
        await self._server.kill()
        await self._server.start()
        await self.close()
        await self._hurry()

    async def close(self) -> None:
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()


class Consumers(RuleBasedStateMachine):
    """Any number of consumers, each of which may be slow, crash, or come back late."""

    server: ClassVar[Server]
    clock: ClassVar[Clock]
    readers = Bundle("readers")

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.names = (f"reader-{number}" for number in count(1))
        self.values = count(1)
        self.restarts = 0
        self.run(self.redis.flushall())

    @property
    def redis(self) -> Redis:
        return self.server.redis

    def run(self, work: Any) -> Any:
        async def awaited() -> Any:
            return await work

        return self.server.run(awaited())

    # --- what consumers do

    @initialize(target=readers)
    def begin(self) -> Any:
        """Two consumers have entries in hand already, and more wait."""
        readers = [self._start(), self._start()]
        self.publish(8)
        for reader in readers:
            self._read(reader, 3)
        return multiple(*readers)

    @rule(target=readers)
    def start(self) -> Any:
        return self._start()

    def _start(self) -> Consumer:
        started = consumer(self.redis, next(self.names))
        self.run(started.mailbox.create())
        self.model.group = True
        return started

    @rule(reader=consumes(readers))
    def crash(self, reader: Consumer) -> None:
        """What it has in hand stays pending."""

    @rule(reader=readers, most=st.integers(1, 5))
    def read(self, reader: Consumer, most: int) -> None:
        self._read(reader, most)

    def _read(self, reader: Consumer, most: int) -> int:
        entries = self.run(read_entries(reader.mailbox, most, BLOCK_MS))
        if self.model.group:
            self.model.given(reader.name, entries, most)
        else:
            assert entries == []
            self.model.group = True
        reader.given = [*entries, *reader.given]
        return len(entries)

    @rule(reader=readers, picks=PICKS)
    def acknowledge(self, reader: Consumer, picks: list[int]) -> None:
        """Including entries that it has acknowledged before, and entries that others have claimed from it."""
        entries = reader.some(picks)
        self.run(finish(reader.mailbox, entries))
        self.model.acknowledged(entries)

    @rule(reader=readers, picks=PICKS)
    def fail(self, reader: Consumer, picks: list[int]) -> None:
        """An entry that no longer exists does not fail."""
        for entry in reader.some(picks):
            failures = self.run(reader.mailbox.count_failure(entry))
            if entry.id in self.model.outstanding:
                self.model.failures[entry.id] = self.model.failures.get(entry.id, 0) + 1
            assert failures == self.model.failures.get(entry.id, 0)

    @rule(reader=readers, picks=PICKS)
    def dead_letter(self, reader: Consumer, picks: list[int]) -> None:
        """An entry that no longer exists makes no dead letter: another consumer has handled it before."""
        for entry in reader.some(picks):
            before = set(self.model.dead)
            self.run(reader.mailbox.dead_letter(entry, "no", attempts=5))
            letters = [id for id, _ in self.run(self.redis.xrange(dead_letters(STREAM))) if id not in before]
            item = self.model.outstanding.pop(entry.id, None)
            self.model.failures.pop(entry.id, None)
            assert len(letters) == (item is not None)
            if item is not None:
                self.model.dead[letters[0]] = (entry.id, item.value)

    @rule(reader=readers)
    def keep_house(self, reader: Consumer) -> None:
        """All consumers with nothing in hand are removed, and no other; entries in hand stay there."""
        before = self.run(consumers(self.redis)) if self.model.group else {}
        removed = self.run(reader.mailbox.remove_idle_consumers(-1))
        after = self.run(consumers(self.redis)) if self.model.group else {}
        kept = {name: held for name, held in before.items() if held or name == reader.name}
        assert (after, removed) == (kept, len(before) - len(kept))

    @rule(reader=readers, most=st.integers(1, 5))
    def take_everything_over(self, reader: Consumer, most: int) -> None:
        """Nothing is hidden: when all others are silent for long, one reader gets every unacknowledged entry."""
        self.time_passes()
        wanted = set(self.model.outstanding)
        given: set[bytes] = set()
        for _ in range(2 * len(wanted) + 3):
            if given >= wanted:
                break
            read = self._read(reader, most)
            given |= {entry.id for entry in reader.given[:read]}
            # As if a little time had passed: it searches for abandoned entries again, and finds none of its own.
            self.clock.now += 60
        assert given >= wanted

    # --- what others do

    @rule(number=st.integers(1, 4))
    def publish(self, number: int) -> None:
        for _ in range(number):
            value = str(next(self.values)).encode()
            id = cast(bytes, self.run(self.redis.xadd(STREAM, {"value": value})))
            self.model.outstanding[id] = Item(value)

    @precondition(lambda self: self.model.dead)
    @rule(picks=PICKS)
    def replay(self, picks: list[int]) -> None:
        """The dead letters come back at the end of the mailbox, without their failures."""
        letters = [list(self.model.dead)[pick] for pick in picks if pick < len(self.model.dead)]
        assert self.run(replay(self.redis, STREAM, letters)) == len(letters)
        entries = self.run(self.redis.xrange(STREAM))[len(self.model.outstanding) :]
        for letter, (id, _) in zip(letters, entries, strict=True):
            _, value = self.model.dead.pop(letter)
            self.model.outstanding[id] = Item(value)

    @rule()
    def time_passes(self) -> None:
        """Longer than a claim's idle time."""
        self.clock.now += 60
        if self.model.group:
            self.run(let_grow_old(self.redis, self.model))

    @precondition(lambda self: len(self.model.outstanding) > 3)
    @rule()
    def forget_everything(self) -> None:
        self.run(self.redis.flushall())
        self.model.forgotten()
        # An id made in the same millisecond could be the same as one before.
        time.sleep(0.002)

    @precondition(lambda self: self.model.group and self.model.held)
    @rule()
    def lose_the_group(self) -> None:
        self.run(self.redis.xgroup_destroy(STREAM, GROUP))
        self.model.ungrouped()

    @precondition(lambda self: self.restarts < RESTARTS_MAX and len(self.model.held) > 1)
    @rule()
    def restart(self) -> None:
        """kill -9; the server comes back with its data."""
        self.restarts += 1
        self.server.restart()

    @invariant()
    def is_as_the_model_says(self) -> None:
        self.run(compare(self.redis, self.model))

    def teardown(self) -> None:
        """At the end one reader finishes all that is left."""
        last = self._start()
        self.take_everything_over(last, 5)
        self.run(finish(last.mailbox, [entry for entry in last.given if entry.id in self.model.outstanding]))
        self.model.acknowledged(last.given)
        self.is_as_the_model_says()
        assert self.model.outstanding == {}


@pytest.fixture
def server() -> Iterator[Server]:
    with asyncio.Runner() as runner:
        context = embedded_redis()
        server = Server(runner, runner.run(context.__aenter__()))
        yield server
        runner.run(server.close())
        runner.run(context.__aexit__(None, None, None))


@pytest.mark.timeout(max(120, EXAMPLES))
def test_a_mailbox_loses_nothing_and_repeats_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = int(os.environ.get("HOLDFAST_SEED") or random.randrange(2**32))
    print(f"HOLDFAST_SEED={chance}")  # noqa: T201

    class Machine(Consumers):
        pass

    Machine.server, Machine.clock = server, Clock()
    monkeypatch.setattr(mailbox, "time", Machine.clock)
    machine = seed(chance)(Machine)
    phases = (Phase.explicit, Phase.generate)  # without shrinking, which takes minutes
    run_machine(
        cast(Any, machine),
        settings=settings(
            max_examples=EXAMPLES,
            phases=phases,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
