"""One database of the booking actor, emptied between tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from common.database import Database, open_database
from common.streams import connect
from ops.migrate import migrate
from ops.postgres import embedded_postgres
from ops.redis import embedded_redis
from tests.booking.stage import TABLES, Stage


@pytest.fixture(scope="session")
async def booking_dsn() -> AsyncIterator[str]:
    async with embedded_postgres() as server:
        await migrate(server.url("booking"), None)
        yield server.url("booking")


@pytest.fixture(scope="session")
async def redis_url() -> AsyncIterator[str]:
    async with embedded_redis(persist=False) as server:
        yield server.url


@pytest.fixture(scope="session")
async def database(booking_dsn: str) -> AsyncIterator[Database]:
    async with open_database("booking", booking_dsn, 10) as database:
        yield database


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
async def stage(database: Database, redis: Redis) -> Stage:
    async with database.connection() as connection:
        await connection.execute(f"TRUNCATE {TABLES}")
    return Stage.build(database, redis)
