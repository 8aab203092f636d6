"""During an outage of Redis or the database an actor waits; no entry counts as failed, and none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, cast

import pytest

from common.contracts.messages import SyncPayment
from common.messaging import batch, dependencies
from common.messaging import consumer as module
from common.messaging.envelope import Delivery, Envelope
from common.postgres.database import Database
from common.runtime.backoff import Backoff
from common.runtime.outages import DatabaseOutage, RedisOutage
from ops.postgres import Postgres
from ops.redis import RedisServer
from tests.common.stage import GROUP, STREAM, Recorder, Stage, failing, subjects, sync, until

QUICK: dict[str, Any] = {"claim_idle_ms": 700, "handler_timeout_ms": 300}


async def test_an_actor_waits_for_redis_and_continues_to_read(own_stage: Stage, own_redis: RedisServer) -> None:
    handler = Recorder()
    async with own_stage.acting({SyncPayment: handler}):
        await until(lambda: own_stage.reason() is None)
        await own_redis.stop()
        await until(lambda: own_stage.reason() is not None)
        assert "Connection" in str(own_stage.reason())
        await own_redis.start()
        await own_stage.bus.publish([late := sync()])
        await until(lambda: handler.handled == [late.subject])
        await until(own_stage.idle)
    assert own_stage.count(SyncPayment, "failed") == 0


async def test_an_actor_that_starts_before_redis_waits_for_it(own_stage: Stage, own_redis: RedisServer) -> None:
    await own_redis.stop()
    handler = Recorder()
    async with own_stage.acting({SyncPayment: handler}):
        await until(lambda: own_stage.reason() not in (None, "starting"))
        await own_redis.start()
        await until(lambda: own_stage.reason() is None)


async def test_a_batch_outlives_redis(own_stage: Stage, own_redis: RedisServer) -> None:
    async def act(_: Sequence[Delivery]) -> list[Envelope]:
        if len(handler.batches) == 1:
            await own_redis.kill()
        return [follow_up]

    follow_up, sent = sync(), [sync(), sync()]
    handler = Recorder(act)
    await own_stage.bus.publish(sent)
    actor = own_stage.consumer({SyncPayment: handler})
    running = asyncio.create_task(actor.run())
    await until(lambda: own_stage.reason() is not None and handler.batches)
    await own_redis.start()
    await until(lambda: len(handler.batches) >= 2)
    await until(lambda: follow_up.subject in handler.handled)
    actor.stop()
    await running
    assert handler.batches[1] == subjects(sent)
    assert own_stage.count(SyncPayment, "failed") == 0
    assert await own_stage.dead() == []


async def test_a_batch_waits_while_redis_is_full(own_stage: Stage) -> None:
    async def act(deliveries: Sequence[Delivery]) -> list[Envelope]:
        if len(handler.batches) == 1:
            await own_stage.redis.config_set("maxmemory", "1")
        return [follow_up] if deliveries[0].envelope.subject == first.subject else []

    first, follow_up = sync(), sync()
    handler = Recorder(act)
    await own_stage.bus.publish([first])
    async with own_stage.acting({SyncPayment: handler}):
        await until(lambda: "OOM" in str(own_stage.reason()))
        pings = own_stage.database.pings
        await own_stage.redis.config_set("maxmemory", "0")
        await until(own_stage.idle)
    assert handler.batches == [[first.subject], [first.subject], [follow_up.subject]]
    assert own_stage.database.pings >= pings
    assert own_stage.count(SyncPayment, "failed") == 0


async def test_an_actor_waits_for_the_database_and_reads_nothing_meanwhile(stage: Stage) -> None:
    async def act(_: Sequence[Delivery]) -> None:
        stage.database.check()

    handler = Recorder(act)
    async with stage.acting({SyncPayment: handler}):
        await until(lambda: stage.reason() is None)
        stage.database.unavailable = True
        await stage.bus.publish([first := sync()])
        await until(lambda: "the database is unavailable" in str(stage.reason()))
        await stage.bus.publish([second := sync()])
        pings = stage.database.pings
        await until(lambda: stage.database.pings > pings + 1)
        assert handler.batches == [[first.subject]]
        assert await stage.left() == 2
        stage.database.unavailable = False
        await until(stage.idle)
        assert stage.reason() is None
    assert handler.batches == [[first.subject], [first.subject], [second.subject]]
    assert stage.count(SyncPayment, "failed") == 0


@pytest.mark.parametrize("concurrency", [None, 4])
async def test_after_a_long_outage_each_entry_is_handled_once(stage: Stage, concurrency: int | None) -> None:
    """Others could claim what it had in hand: it claims that itself again, and no two consumers handle it."""

    async def act(_: Sequence[Delivery]) -> None:
        stage.database.check()

    handler = Recorder(act)
    sent = [sync(), sync()]
    async with stage.acting({SyncPayment: handler}, concurrency=concurrency, **QUICK):
        await until(lambda: stage.reason() is None)
        stage.database.unavailable = True
        await stage.bus.publish(sent)
        await until(lambda: abandoned(stage))
        before = len(handler.handled)
        stage.database.unavailable = False
        await until(stage.idle)
    assert sorted(handler.handled[before:]) == sorted(subjects(sent))
    assert stage.count(SyncPayment, "failed") == 0


@pytest.mark.parametrize("concurrency", [None, 4])
async def test_entries_that_another_claimed_in_a_long_outage_are_left_to_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, concurrency: int | None
) -> None:
    # So that it is back before it could claim the entry from the other consumer.
    for each in (module, batch, dependencies):
        monkeypatch.setattr(each, "Backoff", lambda **_: Backoff(first=0.01, most=0.02))

    async def act(_: Sequence[Delivery]) -> None:
        stage.database.check()

    handler = Recorder(act)
    async with stage.acting({SyncPayment: handler}, concurrency=concurrency, **QUICK):
        await until(lambda: stage.reason() is None)
        stage.database.unavailable = True
        await stage.bus.publish([sync()])
        await until(lambda: abandoned(stage))
        ids = [entry.id for entry in await stage.entries(STREAM)]
        await cast(Any, stage.redis).xclaim(STREAM, GROUP, "another", 0, ids)
        before = len(handler.handled)
        await stage.bus.publish([late := sync()])
        stage.database.unavailable = False
        await until(lambda: late.subject in handler.handled)
    assert handler.handled[before:] == [late.subject]
    assert await stage.pending() == {"another": 1}


async def abandoned(stage: Stage) -> bool:
    answer = cast(Any, await stage.redis.xpending_range(STREAM, GROUP, "-", "+", 10))
    return bool(answer) and all(each["time_since_delivered"] > QUICK["claim_idle_ms"] for each in answer)


async def test_a_batch_that_an_outage_interrupts_is_retried_as_a_whole(stage: Stage) -> None:
    async def act(_: Sequence[Delivery]) -> None:
        if len(handler.batches) < 3:
            raise DatabaseOutage("for a moment")

    handler = Recorder(act)
    sent = [sync() for _ in range(3)]
    await stage.bus.publish(sent)
    async with stage.acting({SyncPayment: handler}):
        await until(stage.idle)
    assert handler.batches == [subjects(sent)] * 3
    assert stage.count(SyncPayment, "done") == 3


async def test_an_entry_that_breaks_every_connection_is_poison(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "BROKEN_MAX", 2)
    poison, good = sync(), sync()

    async def act(deliveries: Sequence[Delivery]) -> None:
        if poison.subject in subjects(deliveries):
            raise DatabaseOutage("each time")

    await stage.bus.publish([poison, good])
    handler = Recorder(act)
    async with stage.acting({SyncPayment: handler}, attempts_max=1):
        await until(stage.idle)
    assert [letter["subject"] for letter in await stage.dead()] == [poison.subject]
    assert stage.count(SyncPayment, "done") == 1


async def test_an_outage_that_the_server_reports_is_no_entrys_fault_however_often(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, a missing permission: a ping succeeds, and the consumer is not ready until some work does."""
    monkeypatch.setattr(batch, "BROKEN_MAX", 1)
    for each in (module, batch, dependencies):
        monkeypatch.setattr(each, "Backoff", lambda **_: Backoff(first=0.01, most=0.02))
    open_meanwhile: list[bool] = []
    mended = False

    async def act(_: Sequence[Delivery]) -> None:
        if not mended:
            open_meanwhile.append(stage.reason() is None)
            raise DatabaseOutage("disk full", reported=True)

    handler = Recorder(act)
    async with stage.acting({SyncPayment: handler}, attempts_max=1, **QUICK):
        await until(lambda: stage.reason() is None)
        await stage.bus.publish([sent := sync()])
        await until(lambda: len(handler.batches) > 20)
        mended = True
        await until(stage.idle)
        await until(lambda: stage.reason() is None)
    assert open_meanwhile == [True] + [False] * (len(open_meanwhile) - 1)
    assert handler.batches[-1] == [sent.subject]
    assert (stage.count(SyncPayment, "failed"), await stage.dead()) == (0, [])


async def test_a_statement_that_is_always_too_slow_is_poison(stage: Stage) -> None:
    slow, good = sync(), sync()
    handler = Recorder(failing(slow.subject, DatabaseOutage("statement timeout", slow=True)))
    await stage.bus.publish([slow, good])
    async with stage.acting({SyncPayment: handler}, attempts_max=1):
        await until(stage.idle)
    assert [letter["subject"] for letter in await stage.dead()] == [slow.subject]
    assert stage.count(SyncPayment, "done") == 1


@pytest.mark.parametrize("end", ["stop", "kill", "pause"])
async def test_a_batch_outlives_postgres(
    stage: Stage,
    own_postgres: Postgres,
    own_database: Database,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    monkeypatch.setattr(dependencies, "REACH_TIMEOUT_SECONDS", 0.5)
    async with own_database.connection() as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS handled (subject text)")
        await connection.execute("TRUNCATE handled")

    async def act(deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        async with own_database.transaction() as transaction:
            values = [(subject,) for subject in subjects(deliveries)]
            await transaction.executemany("INSERT INTO handled VALUES ($1)", values)
            if len(handler.batches) == 1:
                begun.set()
                await gone.wait()
            await transaction.execute("SELECT 1")
        return ()

    begun, gone = asyncio.Event(), asyncio.Event()
    stage.ping = own_database.ping
    handler = Recorder(act)
    sent = [sync() for _ in range(3)]
    await stage.bus.publish(sent)
    async with stage.acting({SyncPayment: handler}, handler_timeout_ms=1000):
        await begun.wait()
        await cut_off(own_postgres, end)
        gone.set()
        await until(lambda: stage.reason() is not None)
        await bring_back(own_postgres)
        await until(stage.idle)
        assert stage.reason() is None
    assert set(map(tuple, handler.batches)) == {tuple(subjects(sent))}
    assert (stage.count(SyncPayment, "done"), stage.count(SyncPayment, "failed")) == (3, 0)
    async with own_database.connection() as connection:
        rows = await connection.fetch("SELECT subject FROM handled")
    assert sorted(row["subject"] for row in rows) == sorted(subjects(sent))


async def cut_off(postgres: Postgres, end: str) -> None:
    if end == "pause":
        postgres.pause()
    else:
        await getattr(postgres, end)()


async def bring_back(postgres: Postgres) -> None:
    if postgres.running:
        postgres.resume()
    else:
        await postgres.start()


class Killed(Exception):
    """The process ends here."""


async def test_the_work_of_an_actor_that_dies_after_the_commit_is_repeated_by_another(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publish and the acknowledgement are one step: nothing can happen in between."""
    reached = asyncio.Event()

    async def begin(step: Sequence[Any], *args: Any) -> None:
        if step:
            reached.set()
            await asyncio.Event().wait()
        await begin_reading(step, *args)

    async def act(_: Sequence[Delivery]) -> list[Envelope]:
        return [follow_up]

    entry = sync()
    follow_up = sync()._replace(stream="published")
    await stage.bus.publish([entry])
    handler = Recorder(act)
    dying = stage.consumer({SyncPayment: handler}, name="dying", **QUICK)
    begin_reading = dying._mailbox.begin
    monkeypatch.setattr(dying._mailbox, "begin", begin)
    running = asyncio.create_task(dying.run())
    await reached.wait()
    running.cancel()
    await asyncio.wait([running])
    assert await stage.pending() == {"dying": 1}
    assert await stage.read_all("published") == []
    async with stage.acting({SyncPayment: handler}, name="heir", **QUICK):
        await until(stage.idle)
    assert handler.handled == [entry.subject] * 2
    assert await stage.read_all("published") == [follow_up]


async def test_a_failure_that_cannot_be_counted_is_not_lost(
    own_stage: Stage, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(_: Sequence[Delivery]) -> None:
        if len(handler.batches) == 1:
            raise RuntimeError("poison")

    handler = Recorder(act)
    counted = asyncio.Event()
    actor = own_stage.consumer({SyncPayment: handler}, **QUICK)
    mailbox = actor._mailbox
    count_failure = mailbox.count_failure

    async def without_redis(*args: Any) -> int:
        await own_redis.stop()
        try:
            return await count_failure(*args)
        except RedisOutage:
            counted.set()
            raise

    monkeypatch.setattr(mailbox, "count_failure", without_redis)
    await own_stage.bus.publish([sync()])
    running = asyncio.create_task(actor.run())
    await counted.wait()
    await own_redis.start()
    await until(own_stage.idle)
    actor.stop()
    await running
    assert len(handler.batches) == 2
