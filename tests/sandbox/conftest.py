"""A sandbox for each test, one HTTP session for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, DummyCookieJar

from tests.sandbox.receiver import Receiver
from tests.sandbox.stand import Stand, standing


@pytest.fixture(scope="session")
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().listening() as receiver:
        yield receiver


@pytest.fixture
async def stand(session: ClientSession, receiver: Receiver) -> AsyncIterator[Stand]:
    """A sandbox whose asynchronous payment methods end at once."""
    async with standing(session, receiver) as stand:
        yield stand


@pytest.fixture
async def manual(session: ClientSession, receiver: Receiver) -> AsyncIterator[Stand]:
    """A sandbox in which what is asynchronous waits until a test moves it."""
    async with standing(session, receiver, sandbox_settle_seconds=3600) as stand:
        yield stand
