"""What follows from a batch is published and acknowledged with the next read, and each of these may fail alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, cast

import pytest

from common.contracts.messages import SyncPayment
from common.messaging.connection import Connection
from common.messaging.envelope import Delivery, Envelope
from common.runtime.outages import RedisOutage
from ops.redis import RedisServer
from tests.common.stage import BLOCK_MS, STREAM, WAIT_MAX_SECONDS, Recorder, Stage, subjects, sync, until

LONG_BLOCK_MS = 2_500


async def test_a_publish_that_is_refused_is_known_while_the_read_waits(own_stage: Stage) -> None:
    """Redis is full. The batch is handled again, and so is what the waiting read brings meanwhile."""

    async def act(deliveries: Sequence[Delivery]) -> list[Envelope]:
        if len(handler.batches) == 1:
            await own_stage.redis.config_set("maxmemory", "1")
        return [follow_up] if deliveries[0].envelope.subject == first.subject else []

    first, second, follow_up = sync(), sync(), sync()._replace(stream="published")
    handler = Recorder(act)
    await own_stage.bus.publish([first])
    async with own_stage.acting({SyncPayment: handler}, block_ms=LONG_BLOCK_MS):
        await until(lambda: "OOM" in str(own_stage.reason()))
        assert await own_stage.a_read_waits()
        assert await own_stage.pending() == {"one": 1}
        await own_stage.redis.config_set("maxmemory", "0")
        assert await own_stage.a_read_waits()
        await own_stage.bus.publish([second])
        await until(own_stage.idle)
    assert handler.handled[-2:] == subjects([first, second])
    assert await own_stage.read_all("published") == [follow_up]
    assert own_stage.count(SyncPayment, "failed") == 0


async def test_a_connection_that_is_cut_after_the_publish_loses_nothing(stage: Stage) -> None:
    """The connection is cut while the read that was sent with the publish waits."""
    follow_up = sync()._replace(stream="published")
    first, second = sync(), sync()

    async def act(deliveries: Sequence[Delivery]) -> list[Envelope]:
        return [follow_up] if deliveries[0].envelope.subject == first.subject else []

    handler = Recorder(act)
    await stage.bus.publish([first])
    async with stage.acting({SyncPayment: handler}, block_ms=LONG_BLOCK_MS):
        await until(stage.idle)
        await until(stage.a_read_waits)
        blocked = [each for each in cast(Any, await stage.redis.client_list()) if "b" in each["flags"]]
        for each in blocked:
            await cast(Any, stage.redis).client_kill_filter(_id=each["id"])
        await stage.bus.publish([second])
        await until(lambda: second.subject in handler.handled)
        await until(stage.idle)
    assert handler.handled == subjects([first, second])
    assert await stage.read_all("published") == [follow_up]


@pytest.mark.parametrize("concurrency", [None, 4])
async def test_a_publish_and_the_next_read_are_one_send(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, concurrency: int | None
) -> None:
    """With concurrency too, for a batch that is alone and soon handled."""
    monkeypatch.setattr("common.messaging.consumer.QUICK_SECONDS", WAIT_MAX_SECONDS)
    sends: list[list[str]] = []
    send = Connection.send

    async def counted(self: Connection, commands: Sequence[Any], **options: Any) -> None:
        sends.append([command[0] for command in commands])
        await send(self, commands, **options)

    async def act(_: Sequence[Delivery]) -> list[Envelope]:
        return [sync()._replace(stream="published")]

    options: dict[str, Any] = {"claim_idle_ms": 120_000, "block_ms": LONG_BLOCK_MS}
    async with stage.acting({SyncPayment: Recorder(act)}, concurrency=concurrency, **options):
        await until(stage.a_read_waits)
        await stage.bus.publish([sync()])
        await until(stage.idle)
        monkeypatch.setattr(Connection, "send", counted)
        await stage.bus.publish([sync()])
        await until(lambda: len(sends) == 2)
        await until(stage.idle)
    publish, exchange = sends[:2]
    assert publish == ["XADD"]
    assert exchange == ["MULTI", "XADD", *exchange[2:-2], "EXEC", "XREADGROUP"]


@pytest.mark.parametrize(
    ("full", "points", "concurrency"),
    [(False, 10, None), (True, 20, None), (False, 10, 4)],
    ids=["lone", "full batches", "side by side"],
)
async def test_a_process_that_ends_at_any_point_loses_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, full: bool, points: int, concurrency: int | None
) -> None:
    """Whether it ends before or after something is sent, answered or handled: another process does its work."""
    send, answers = Connection.send, Connection.answers
    point, last, running = 0, -1, asyncio.create_task(asyncio.sleep(0))

    async def pass_by() -> None:
        nonlocal point
        point += 1
        if point == last:
            running.cancel()
            await asyncio.sleep(0)

    async def cut_send(self: Connection, *args: Any, **options: Any) -> None:
        await pass_by()
        await send(self, *args, **options)
        await pass_by()

    async def cut_answers(self: Connection, number: int) -> list[Any]:
        found = await answers(self, number)
        await pass_by()
        return found

    async def act(deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        await pass_by()
        return [each.envelope._replace(stream="published") for each in deliveries]

    options: dict[str, Any] = {"batch_max": 2 if full else 256, "block_ms": BLOCK_MS}
    for last in range(1, points + 1):
        sent = [sync() for _ in range(6 if full else 1)]
        await stage.bus.publish(sent)
        point = 0
        monkeypatch.setattr(Connection, "send", cut_send)
        monkeypatch.setattr(Connection, "answers", cut_answers)
        handlers: dict[Any, Any] = {SyncPayment: Recorder(act)}
        consumer = stage.consumer(handlers, name=f"ends at {last}", concurrency=concurrency, **options)
        running = asyncio.create_task(consumer.run())
        await asyncio.wait([running], timeout=WAIT_MAX_SECONDS)
        assert running.cancelled()
        monkeypatch.undo()
        if held := await stage.entries(STREAM):
            await stage.abandon(held, f"ends at {last}")
        async with stage.acting({SyncPayment: Recorder(act)}, name="heir"):
            await until(stage.idle)
        published = {each.subject for each in await stage.read_all("published")}
        assert published >= set(subjects(sent)), f"lost at {last}"


async def test_answers_that_a_user_did_not_read_reach_no_other_user(stage: Stage) -> None:
    """A user that gave up on its answers uses another connection next."""
    connection = Connection(stage.redis)
    await stage.redis.set("key", "1")
    await connection.send([("GET", "key"), ("BLPOP", "nothing", 10)], block_s=10)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await connection.answers(2)
    await connection.send([("GET", "key")])
    await connection.send([("GET", "none")])
    assert await connection.answers(1) == [None]
    await connection.close()


async def test_a_connection_to_a_silent_server_is_closed(
    own_redis: RedisServer, own_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.messaging.connection.ANSWER_TIMEOUT_SECONDS", 0.1)
    connection = Connection(own_stage.redis)
    await connection.send([("PING",)])
    assert await connection.answers(1) == [b"PONG"]
    own_redis.pause()
    try:
        await connection.send([("PING",)])
        with pytest.raises(RedisOutage, match="no answer within"):
            await connection.answers(1)
    finally:
        own_redis.resume()
    await connection.send([("PING",)])
    assert await connection.answers(1) == [b"PONG"]
    await connection.close()
