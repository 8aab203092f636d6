"""A real Redis, the real gateway, and a booking actor whose answers are scripted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import unused_port

from tests.gateway.stage import Client, RedisServer, ScriptedBooking, acting, flush, serving

Gateway = Callable[..., Awaitable[Client]]


@pytest.fixture(scope="session")
async def redis_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    server = RedisServer(Path(tmp_path_factory.mktemp("redis")), unused_port())
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def redis_url(redis_server: RedisServer) -> str:
    await flush(redis_server.url)
    return redis_server.url


@pytest.fixture
async def actor(redis_url: str) -> AsyncIterator[ScriptedBooking]:
    async with acting(redis_url) as scripted:
        yield scripted


@pytest.fixture
async def start(redis_url: str) -> AsyncIterator[Gateway]:
    """Starts gateways with the given settings; each listens when it is returned."""
    async with AsyncExitStack() as stack:

        async def start_gateway(**overrides: Any) -> Client:
            return await stack.enter_async_context(serving(redis_url, **overrides))

        yield start_gateway


@pytest.fixture
async def gateway(start: Gateway) -> Client:
    return await start()
