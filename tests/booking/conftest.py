"""One database of the booking actor, emptied between tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.asyncio import Redis

from common.messaging.redis import connect
from common.postgres.database import Database, open_database
from tests.booking.stage import TABLES, Stage
from tests.servers import empty


@pytest.fixture(scope="session")
async def booking_dsn(migrated_database: Callable[..., Awaitable[str]]) -> str:
    return await migrated_database("booking")


@pytest.fixture(scope="session")
async def database(booking_dsn: str) -> AsyncIterator[Database]:
    async with open_database(booking_dsn, 10) as database:
        yield database


@pytest.fixture
async def redis(redis_database: Callable[[str], str]) -> AsyncIterator[Redis]:
    client = connect(redis_database("booking"))
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
async def stage(database: Database, redis: Redis) -> Stage:
    async with database.connection() as connection:
        await empty(connection, TABLES)
    return Stage.build(database, redis)
