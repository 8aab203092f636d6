"""How refusals and outages of Redis look to callers, and that nothing is sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvloop
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

import common.messaging.redis
from common.messaging.redis import connect, writable
from common.runtime.outages import RedisOutage
from ops.redis import RedisServer
from tests.common.stage import STREAM, FakeRedis, Stage, read_entries, until


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Redis]:
    client = connect(url)
    try:
        yield client
    finally:
        await client.aclose()


@pytest.mark.parametrize("command", ["XADD s * a b", "XREADGROUP GROUP g me BLOCK 10 STREAMS s >"])
async def test_a_command_whose_answer_is_lost_is_not_sent_again(command: str) -> None:
    server = FakeRedis(lambda _: None)
    async with server.serving() as url, connected(url) as client:
        with pytest.raises(RedisOutage):
            await cast(Any, client).execute_command(*command.split())
    assert len(server.received) == 1


async def test_a_pipeline_whose_answer_is_lost_is_not_sent_again() -> None:
    server = FakeRedis(lambda _: None)
    async with server.serving() as url, connected(url) as client:
        pipe = client.pipeline(transaction=False)
        pipe.xadd(STREAM, {"a": "b"})
        with pytest.raises(RedisOutage):
            await pipe.execute()
    assert len(server.received) == 1


async def test_reads_that_wait_delay_no_other_command(stage: Stage) -> None:
    mailbox = stage.mailbox()
    await mailbox.create()
    reading = asyncio.create_task(read_entries(mailbox, 1, 10_000))
    await until(stage.a_read_waits)
    await stage.redis.ping()
    assert not reading.done()
    await stage.redis.xadd(STREAM, {"a": "b"})
    assert len(await reading) == 1


async def test_a_server_that_does_not_answer_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common.messaging.redis, "ANSWER_TIMEOUT_SECONDS", 0.1)
    async with FakeRedis(lambda _: b"").serving() as url, connected(url) as client:
        with pytest.raises(RedisOutage):
            await client.ping()


@pytest.mark.parametrize(
    "answer",
    [
        "LOADING Redis is loading the dataset in memory",
        "MISCONF Errors writing to the AOF file: No space left on device",
    ],
)
async def test_the_answer_of_a_server_that_cannot_serve_yet_is_an_outage(answer: str) -> None:
    server = FakeRedis(lambda _: f"-{answer}\r\n".encode())
    async with server.serving() as url, connected(url) as client:
        with pytest.raises(RedisOutage, match=answer.split()[0]):
            await client.xadd(STREAM, {"a": "b"})


async def test_an_error_of_ours_is_no_outage(redis: Redis) -> None:
    await redis.set(STREAM, "no stream")
    with pytest.raises(ResponseError) as raised:
        await redis.xadd(STREAM, {"a": "b"})
    assert not isinstance(raised.value, RedisOutage)


async def test_the_check_for_writes_changes_nothing(redis: Redis) -> None:
    await writable(redis)
    assert await redis.keys("*") == []


@pytest.mark.parametrize(
    ("setting", "value", "code"), [("maxmemory", "1", "OOM"), ("min-replicas-to-write", "1", "NOREPLICAS")]
)
async def test_a_server_that_accepts_no_writes_is_an_outage(
    own_redis: RedisServer, setting: str, value: str, code: str
) -> None:
    async with connected(own_redis.url) as client:
        await client.config_set(setting, value)
        assert await client.ping()
        with pytest.raises(RedisOutage, match=code):
            await writable(client)
        await client.config_set(setting, "0")
        await writable(client)


async def test_a_replica_is_an_outage_and_its_connections_are_closed(own_redis: RedisServer) -> None:
    """The address may lead to another server when it connects again."""
    async with connected(own_redis.url) as client, connected(own_redis.url) as operator:
        await operator.replicaof("127.0.0.1", 1)
        before = await client.client_id()
        with pytest.raises(RedisOutage, match="READONLY"):
            await writable(client)
        assert await client.client_id() != before
        await operator.config_set("replica-serve-stale-data", "no")
        with pytest.raises(RedisOutage, match="MASTERDOWN"):
            await client.xlen(STREAM)


async def test_a_server_that_wants_a_password_is_an_outage(own_redis: RedisServer) -> None:
    async with connected(own_redis.url) as client:
        await client.config_set("requirepass", "another")
        async with connected(own_redis.url) as stranger:
            with pytest.raises(RedisOutage) as raised:
                await stranger.xadd(STREAM, {"a": "b"})
        assert raised.value.needs_operator
        await client.config_set("requirepass", own_redis.password)


async def test_a_server_busy_with_a_script_is_an_outage(own_redis: RedisServer) -> None:
    async with connected(own_redis.url) as client, connected(own_redis.url) as other:
        await client.config_set("lua-time-limit", 1)
        script = asyncio.create_task(cast(Any, other.eval("while true do end", 0)))
        with pytest.raises(RedisOutage, match="BUSY"):
            await _add_for_ever(client)
        await client.script_kill()
        with pytest.raises(ResponseError):
            await script
        await writable(client)


async def _add_for_ever(client: Redis) -> None:
    while True:
        await client.xadd(STREAM, {"a": "b"})


async def test_connections_from_before_a_restart_are_replaced(own_redis: RedisServer) -> None:
    async with connected(own_redis.url) as client:
        await asyncio.gather(*(client.ping() for _ in range(10)))
        await own_redis.stop()
        with pytest.raises(RedisOutage):
            await client.ping()
        await own_redis.start()
        await asyncio.gather(*(client.ping() for _ in range(10)))


async def test_a_connection_that_is_lost_unnoticed_is_an_outage(redis_url: str) -> None:
    """Under uvloop, on which processes run: its transports refuse writes after their end."""

    async def write_too_late() -> None:
        async with connected(redis_url) as client:
            await client.ping()
            (connection,) = cast(Any, client.connection_pool)._available_connections
            connection._writer.transport.abort()
            await asyncio.sleep(0)
            with pytest.raises(RedisConnectionError):
                await connection.send_command("PING")
            assert await client.ping()

    await asyncio.to_thread(uvloop.run, write_too_late())
