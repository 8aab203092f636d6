"""The settled bookings of the growth phase are what the audit takes for settled bookings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg

from bench.settled import INDEXES, KEYS, fill
from booking.repository import NEXT_DUE as BOOKING_DUE
from ops.audit.databases import Databases
from ops.audit.rules import driven, history, items, judge_seats, payment_row
from payment.repository import NEXT_DUE as PAYMENT_DUE

COUNT = 200
# Of twenty, see bench/settled.py.
STATUSES = {"confirmed": COUNT * 13 // 20, "cancelled": COUNT * 4 // 20, "failed": COUNT * 3 // 20}
# What can be said without asking Stripe, which does not know these bookings.
CHECKS = (items, history, driven, payment_row)
EVENT = """
INSERT INTO events (id, name, starts_at, currency, on_sale, max_per_booking, content_hash, created_at)
VALUES ($1, 'Evening', now() + interval '1 day', 'eur', true, 10, '', now())
"""
TICKET_TYPE = """
INSERT INTO ticket_types (id, event_id, position, name, unit_amount, capacity) VALUES ($1, $2, 0, 'Seat', 2500, 100)
"""


async def schema(connection: asyncpg.Connection) -> set[str]:
    """The names of all keys and indexes: Postgres tells a definition in other words once it was taken in again."""
    return {row["name"] for query in (KEYS, INDEXES) for row in await connection.fetch(query)}


async def test_settled_bookings_are_clean_and_leave_the_schema_as_it_was(
    migrated_database: Callable[..., Awaitable[str]],
) -> None:
    """The audit finds nothing wrong and nothing under way, nothing is ever due, every index is there again."""
    urls = (
        await migrated_database("booking", "growth_booking"),
        await migrated_database("payment", "growth_payment"),
    )
    async with AsyncExitStack() as stack:
        booking, payment = [await asyncpg.connect(url) for url in urls]
        stack.push_async_callback(booking.close)
        stack.push_async_callback(payment.close)
        events = []
        for _ in range(3):
            event, ticket_type = str(uuid4()), str(uuid4())
            await booking.execute(EVENT, event)
            await booking.execute(TICKET_TYPE, ticket_type, event)
            events.append({"id": event, "ticket_types": [{"id": ticket_type, "unit_amount": 2500}]})
        before = await schema(booking), await schema(payment)

        await fill(*urls, events, COUNT)

        assert (await schema(booking), await schema(payment)) == before
        both = Databases(booking, payment)
        cases = [case async for page in both.bookings(None) for case in page]
        found = [text for case in cases for check in CHECKS for text in check(case, datetime.now(UTC))]
        assert found == []
        assert [text async for row in both.seats(None) for text in judge_seats(row)] == []
        assert [page async for page in both.payments_alone(None)] == []
        counted = await booking.fetch("SELECT status, count(*) FROM bookings GROUP BY status")
        assert dict(map(tuple, counted)) == STATUSES
        assert await booking.fetchval(BOOKING_DUE) is None
        assert await payment.fetchval(PAYMENT_DUE) is None
