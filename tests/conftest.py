"""One Redis and one Postgres for all tests that run in this process, started when first used.

Each package of tests has databases of its own in them, so that none disturbs another: in Redis by number, emptied
with FLUSHDB. Tests that stop a server start one of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
import structlog

from ops.migrate import migrate
from ops.postgres import Postgres, embedded_postgres
from ops.redis import RedisServer, embedded_redis

# Which package of tests has which of Redis' sixteen databases.
REDIS_DATABASES = {"common": 1, "gateway": 2, "booking": 3, "payment": 4, "integration": 5}


@pytest.fixture(scope="session", autouse=True)
def logging() -> None:
    """Tracebacks as Python writes them: drawing the frames' variables takes longer than many a test."""
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])


@pytest.fixture(scope="session")
async def redis_server() -> AsyncIterator[RedisServer]:
    async with embedded_redis(persist=False) as server:
        yield server


@pytest.fixture(scope="session")
def redis_database(redis_server: RedisServer) -> Callable[[str], str]:
    """The URL of the Redis database of a package of tests."""

    def url(package: str) -> str:
        return f"{redis_server.url.removesuffix('/0')}/{REDIS_DATABASES[package]}"

    return url


@pytest.fixture(scope="session")
async def postgres_server() -> AsyncIterator[Postgres]:
    async with embedded_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def empty_database(postgres_server: Postgres) -> Callable[[str], Awaitable[str]]:
    """Makes a database of that name with nothing in it; says its URL."""

    async def make(name: str) -> str:
        connection = await asyncpg.connect(postgres_server.url())
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return postgres_server.url(name)

    return make


@pytest.fixture(scope="session")
def migrated_database(empty_database: Callable[[str], Awaitable[str]]) -> Callable[..., Awaitable[str]]:
    """Makes a database with the tables of `app` (booking or payment), under that or another name; says its URL."""

    async def make(app: str, name: str = "") -> str:
        url = await empty_database(name or app)
        await migrate(**{"booking_url": None, "payment_url": None, f"{app}_url": url})
        return url

    return make
