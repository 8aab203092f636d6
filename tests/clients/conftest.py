"""A played gateway for each test, and a Python client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from holdfast_client import Holdfast, Platform
from tests.clients.stage import Clock, Gateway, gateway_running


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with gateway_running() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(gateway: Gateway, clock: Clock) -> AsyncIterator[Callable[..., Any]]:
    """Makes clients, which end with the test."""
    async with AsyncExitStack() as clients:

        async def make(**options: Any) -> Holdfast:
            platform = Platform(now=clock.now, sleep=clock.sleep, random=clock.random)
            return await clients.enter_async_context(Holdfast(gateway.url, platform=platform, **options))

        yield make
