"""A Redis database that is empty before each test, and separate servers for tests that stop one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.asyncio import Redis

from common.messaging.redis import connect
from common.postgres.database import Database, open_database
from ops.postgres import Postgres, embedded_postgres
from ops.redis import RedisServer, embedded_redis
from tests.common.stage import Stage


@pytest.fixture
async def redis_url(redis_database: Callable[[str], str]) -> str:
    url = redis_database("common")
    async with Redis.from_url(url) as client:
        await client.flushdb()
    return url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def stage(redis: Redis) -> AsyncIterator[Stage]:
    stage = Stage(redis)
    yield stage
    await stage.close()


@pytest.fixture
async def own_redis() -> AsyncIterator[RedisServer]:
    """A server that a test may stop, and that loses no data when it stops."""
    async with embedded_redis() as server:
        yield server


@pytest.fixture
async def own_stage(own_redis: RedisServer) -> AsyncIterator[Stage]:
    redis = connect(own_redis.url)
    stage = Stage(redis)
    yield stage
    await stage.close()
    await redis.aclose()


@pytest.fixture(scope="session")
async def database_url(empty_database: Callable[[str], Awaitable[str]]) -> str:
    return await empty_database("common")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url, 3) as database:
        yield database


@pytest.fixture(scope="module")
async def own_postgres() -> AsyncIterator[Postgres]:
    """A server that the tests of one file may stop; it runs at the start of each."""
    async with embedded_postgres() as server:
        yield server


@pytest.fixture
async def own_database(own_postgres: Postgres) -> AsyncIterator[Database]:
    own_postgres.resume()
    if not own_postgres.running:
        await own_postgres.start()
    async with open_database(own_postgres.url("payment"), 3) as database:
        yield database
