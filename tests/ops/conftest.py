"""Real Postgres with both databases, and the sandbox, which a test fills and changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from aiohttp import ClientSession, DummyCookieJar
from aiohttp.test_utils import TestServer

from ops.audit.sources import Sources
from sandbox.app import build_app as build_sandbox
from tests.booking.stage import TABLES as BOOKING_TABLES
from tests.ops.audited_system import KEY, AuditedSystem
from tests.payment.stage import TABLES as PAYMENT_TABLES
from tests.sandbox.stand import without_webhooks
from tests.servers import empty


@pytest.fixture(scope="session")
async def databases(
    migrated_database: Callable[..., Awaitable[str]],
) -> AsyncIterator[tuple[asyncpg.Connection, asyncpg.Connection, str, str]]:
    booking_url = await migrated_database("booking", "ops_booking")
    payment_url = await migrated_database("payment", "ops_payment")
    booking, payment = await asyncpg.connect(booking_url), await asyncpg.connect(payment_url)
    yield booking, payment, booking_url, payment_url
    await booking.close()
    await payment.close()


@pytest.fixture
async def system(
    databases: tuple[asyncpg.Connection, asyncpg.Connection, str, str],
) -> AsyncIterator[AuditedSystem]:
    """Empty databases and an empty sandbox."""
    booking, payment, booking_url, payment_url = databases
    await empty(booking, BOOKING_TABLES)
    await empty(payment, PAYMENT_TABLES)
    async with (
        TestServer(build_sandbox(without_webhooks())) as sandbox,
        ClientSession(cookie_jar=DummyCookieJar()) as session,
    ):
        stripe = str(sandbox.make_url("/")).rstrip("/")
        yield AuditedSystem(booking, payment, session, Sources(booking_url, payment_url, KEY, stripe, None))
