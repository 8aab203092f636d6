"""A fleet over a Redis database and two Postgres databases of its own."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from unittest.mock import patch

import pytest
from redis.asyncio import Redis

from common.postgres import database
from ops.redis import RedisServer
from tests.races.fleet import InProcess, open_fleet

REDIS_DATABASE = 6
IDLE_IN_TRANSACTION_MS = 1000


@pytest.fixture(scope="session")
def seed() -> str:
    """The seed of all chance in this folder; HOLDFAST_SEED repeats it."""
    seed = os.environ.get("HOLDFAST_SEED") or str(random.randrange(2**32))
    print(f"HOLDFAST_SEED={seed}")  # noqa: T201
    return seed


@pytest.fixture(scope="session")
async def database_urls(migrated_database: Callable[..., Awaitable[str]]) -> tuple[str, str]:
    """The URLs of the databases of booking and payment."""
    return await migrated_database("booking", "races"), await migrated_database("payment", "races-money")


@pytest.fixture(scope="module")
async def fleet(redis_server: RedisServer, database_urls: tuple[str, str]) -> AsyncIterator[InProcess]:
    url = f"{redis_server.url.removesuffix('/0')}/{REDIS_DATABASE}"
    async with Redis.from_url(url) as redis:
        await redis.flushdb()
    # Postgres ends the transaction of a stopped actor, here after one second, so that no test waits long for that.
    with patch.object(database, "IDLE_IN_TRANSACTION_MS", IDLE_IN_TRANSACTION_MS):
        async with open_fleet(url, *database_urls) as fleet:
            yield fleet
