"""The finished bookings that the growth phase writes are finished for the audit, too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import pytest

from bench.arrivals import Served
from bench.clients import Sale
from bench.finished import INDEXES, KEYS, fill
from bench.hops import hops
from booking.repository import NEXT_DUE as BOOKING_DUE
from ops.audit.databases import Databases
from ops.audit.rules import history, items, judge_seats, payment_row, retried
from payment.repository import NEXT_DUE as PAYMENT_DUE

COUNT = 200
# The shares of twenty bookings, see bench/finished.py.
STATUSES = {"confirmed": COUNT * 13 // 20, "cancelled": COUNT * 4 // 20, "failed": COUNT * 3 // 20}
# The rules that need no answer of Stripe, which does not know these bookings.
CHECKS = (items, history, retried, payment_row)
EVENT = """
INSERT INTO events (id, name, starts_at, currency, on_sale, max_per_booking, content_hash, created_at)
VALUES ($1, 'Evening', now() + interval '1 day', 'eur', true, 10, '', now())
"""
TICKET_TYPE = """
INSERT INTO ticket_types (id, event_id, position, name, unit_amount, capacity) VALUES ($1, $2, 0, 'Seat', 2500, 100)
"""


async def schema(connection: asyncpg.Connection) -> set[str]:
    """The names of all keys and indexes. Postgres shows a definition in other words once it has been restored."""
    return {row["name"] for query in (KEYS, INDEXES) for row in await connection.fetch(query)}


@pytest.fixture(scope="module")
async def urls(migrated_database: Callable[..., Awaitable[str]]) -> tuple[str, str]:
    """Both databases with finished bookings of three events."""
    booking_url = await migrated_database("booking", "growth_booking")
    payment_url = await migrated_database("payment", "growth_payment")
    booking, payment = await asyncpg.connect(booking_url), await asyncpg.connect(payment_url)
    events = []
    for _ in range(3):
        event, ticket_type = str(uuid4()), str(uuid4())
        await booking.execute(EVENT, event)
        await booking.execute(TICKET_TYPE, ticket_type, event)
        events.append({"id": event, "ticket_types": [{"id": ticket_type, "unit_amount": 2500}]})
    before = await schema(booking), await schema(payment)
    await fill(booking_url, payment_url, events, COUNT)
    assert (await schema(booking), await schema(payment)) == before
    await booking.close()
    await payment.close()
    return booking_url, payment_url


async def test_the_audit_finds_finished_bookings_clean(urls: tuple[str, str]) -> None:
    """The audit finds nothing wrong and nothing under way, no row is ever due, and every index exists again."""
    async with AsyncExitStack() as stack:
        booking, payment = [await asyncpg.connect(url) for url in urls]
        stack.push_async_callback(booking.close)
        stack.push_async_callback(payment.close)
        both = Databases(booking, payment)
        cases = [case async for page in both.bookings(None) for case in page]
        found = [text for case in cases for check in CHECKS for text in check(case, datetime.now(UTC))]
        assert found == []
        assert [text async for row in both.seats(None) for text in judge_seats(row)] == []
        assert [page async for page in both.payments_alone(None)] == []
        counted = await booking.fetch("SELECT status, count(*) FROM bookings GROUP BY status")
        assert dict(map(tuple, counted)) == STATUSES
        assert await booking.fetchval(BOOKING_DUE, datetime.now(UTC)) is None
        assert await payment.fetchval(PAYMENT_DUE) is None


async def test_hops_are_read_from_the_rows(urls: tuple[str, str]) -> None:
    """The hops up to 201 sum up to the time until payable, those after it to the time until notified."""
    connection = await asyncpg.connect(urls[0])
    row = await connection.fetchrow("SELECT id, created_at FROM bookings WHERE status = 'confirmed' LIMIT 1")
    never_paid = await connection.fetchval("SELECT id FROM bookings WHERE status = 'failed' LIMIT 1")
    await connection.close()
    due = row["created_at"].timestamp() - 100
    served = [Served(due, 0.0, Sale(str(id), 1000.0, 2000.0)) for id in (row["id"], never_paid)]
    found = [seconds for (seconds,) in (await hops(*urls, served)).values()]
    # As `fill` writes them: payment has a booking at once, its intent exists after 300 s, and it is confirmed after
    # 600 s. The two databases were written one after the other.
    assert found == pytest.approx([100, 0, 300, 600, -900, 600, 2300], abs=20)
    assert sum(found[:4]) == pytest.approx(1000)
    assert sum(found[4:]) == pytest.approx(2000)
