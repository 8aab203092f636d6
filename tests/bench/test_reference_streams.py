"""What the reference design has acknowledged to Stripe is not lost with a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from bench.reference import streams
from bench.reference.streams import GROUP, WEBHOOKS, Streams
from common.messaging.redis import connect
from common.runtime.supervisor import cancel
from ops.redis import RedisServer

WAIT_SECONDS_MAX = 10.0


@pytest.fixture
async def redis(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Redis]:
    """An empty database; another consumer may claim an entry after 50 ms."""
    monkeypatch.setattr(streams, "CLAIM_IDLE_MS", 50)
    client = connect(f"{redis_server.url.removesuffix('/0')}/9")
    await client.flushdb()
    yield client
    await client.aclose()


@asynccontextmanager
async def at_work(*work: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    try:
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            yield
    finally:
        for task in tasks:
            await cancel(task)


async def until_left(redis: Redis, entries: int) -> None:
    while await redis.xlen(WEBHOOKS) > entries:
        """Redis notifies nobody when an entry is deleted."""


async def test_entries_of_a_dead_consumer_are_claimed(redis: Redis) -> None:
    """Another consumer claims what a consumer had read when it died, and acknowledges it."""
    living = Streams(redis, "living")
    await living.open()
    await living.put_webhook("payload")
    await redis.xreadgroup(GROUP, "dead", {WEBHOOKS: ">"}, count=1)
    handled = asyncio.Queue[bytes]()
    async with at_work(living.work(0, handled.put), living.take_over(handled.put)):
        assert await handled.get() == b"payload"
        await until_left(redis, 0)


async def test_a_webhook_whose_handler_failed_is_retried(redis: Redis) -> None:
    """A webhook whose transaction fails is not acknowledged, and is retried; others do not wait for it."""
    living = Streams(redis, "living")
    await living.open()
    tried = asyncio.Queue[bytes]()
    failures = 1

    async def handle(payload: bytes) -> None:
        nonlocal failures
        await tried.put(payload)
        if payload == b"first" and failures:
            failures -= 1
            raise RuntimeError("the database is unavailable")

    await living.put_webhook("first")
    await living.put_webhook("second")
    async with at_work(living.work(0, handle)):
        assert [await tried.get() for _ in range(2)] == [b"first", b"second"]
        await until_left(redis, 1)
    async with at_work(living.take_over(handle)):
        assert await tried.get() == b"first"
        await until_left(redis, 0)


async def test_a_later_process_finds_the_group_and_its_entries(redis: Redis) -> None:
    """A later process finds the group, and the entries that wait in it."""
    await Streams(redis, "one").open()
    await Streams(redis, "one").put_webhook("payload")
    await Streams(redis, "other").open()
    assert await redis.xlen(WEBHOOKS) == 1
