"""Fetches what `audit` compares: both databases, Stripe's ledger, the mailboxes."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
from redis.asyncio import Redis

from common.messages import MAILBOXES
from common.streams import dead_letters, lengths
from ops.stack import Stack
from tests.acceptance.audit import Books, Row, discrepancies
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.waiting import eventually

BOOKING_TABLES = ("ticket_types", "bookings", "booking_transitions")
PAYMENT_TABLES = ("payments", "refunds")
# What moves by itself: when something is driven again, and how far Stripe's event list has been compared.
RESTLESS = (
    "settle_after",
    "settle_attempts",
    "report_after",
    "report_attempts",
    "drive_after",
    "drive_attempts",
)
NOT_COMPARED = ("event_cursor", "tortoise_migrations")


async def rows(url: str, *tables: str) -> list[list[Row]]:
    """All rows of `tables`, of one moment."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return [[dict(row) for row in await connection.fetch(f'SELECT * FROM "{table}"')] for table in tables]
    finally:
        await connection.close()


async def read_books(holdfast: Holdfast) -> Books:
    stack, stripe = holdfast.stack, holdfast.stripe
    ticket_types, bookings, transitions = await rows(stack.booking_database_url, *BOOKING_TABLES)
    payments, refunds = await rows(stack.payment_database_url, *PAYMENT_TABLES)
    async with Redis.from_url(stack.redis_url) as redis:
        waiting = dict(await lengths(redis, (*MAILBOXES, *map(dead_letters, MAILBOXES))))
    waiting["Stripe's webhooks"] = await stripe.undelivered()
    return Books(
        ticket_types=ticket_types,
        bookings=bookings,
        transitions=transitions,
        payments=payments,
        refunds=refunds,
        intents=await stripe.all("payment_intents"),
        stripe_refunds=await stripe.all("refunds"),
        mailboxes=waiting,
    )


async def assert_clean(holdfast: Holdfast) -> Books:
    """The books, once the system has come to rest with nothing wrong in them."""
    latest = Books()

    async def look() -> list[str]:
        nonlocal latest
        latest = await read_books(holdfast)
        return discrepancies(latest)

    await eventually(look, lambda found: not found)
    return latest


async def snapshot(stack: Stack) -> dict[str, list[str]]:
    """All that both databases hold, to be compared with a later look."""
    found: dict[str, list[str]] = {}
    for name, url in (("booking", stack.booking_database_url), ("payment", stack.payment_database_url)):
        tables = await _tables(url)
        for table, content in zip(tables, await rows(url, *tables), strict=True):
            found[f"{name}.{table}"] = sorted(_fixed(row) for row in content)
    return found


async def _tables(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()
    return [row["tablename"] for row in names if row["tablename"] not in NOT_COMPARED]


def _fixed(row: Row) -> str:
    kept: dict[str, Any] = {name: value for name, value in row.items() if name not in RESTLESS}
    return json.dumps(kept, default=str, sort_keys=True)
