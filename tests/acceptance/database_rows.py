"""The audit of a stack at rest, and copies of both databases' rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from ops.audit.command import examine
from ops.audit.mailboxes import read_mailboxes
from ops.audit.runner import AuditResult
from ops.audit.sources import Sources
from ops.stack import Stack
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually

Row = Mapping[str, Any]

# Columns that change without a cause from outside: retry times, their attempts, which report was acknowledged, and
# whether a change of an event is still to be announced.
VOLATILE = (
    "settle_after",
    "settle_attempts",
    "report_after",
    "report_attempts",
    "reported_version",
    "drive_after",
    "drive_attempts",
    "notify_after",
    "to_announce",
)
NOT_COMPARED = ("event_cursor", "tortoise_migrations")
# What has not been announced yet, and the mails of it that nobody has tried to send.
UNANNOUNCED = """
SELECT (SELECT count(*) FROM bookings WHERE announce_from IS NOT NULL)
    + (SELECT count(*) FROM mails WHERE status = 'owed' AND attempts = 0 AND send_after <= now())
"""
# Kinds of work that a system at rest has finished. Holds, and what Stripe takes days for, may go on.
UNFINISHED = ("report on its way", "refund asked for")


@dataclass(frozen=True)
class RowsAtRest:
    """Rows that tests read when the audit is clean."""

    ticket_types: Sequence[Row] = ()


async def rows(url: str, *tables: str) -> list[list[Row]]:
    """All rows of each of `tables`, as they are at one moment."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return [[dict(row) for row in await connection.fetch(f'SELECT * FROM "{table}"')] for table in tables]
    finally:
        await connection.close()


async def assert_clean(holdfast: Holdfast) -> RowsAtRest:
    """Wait until the system is at rest and the audit finds nothing. Raises AssertionError if that does not come."""
    await eventually(lambda: unfinished_work(holdfast), lambda found: not found)
    (ticket_types,) = await rows(holdfast.stack.booking_database_url, "ticket_types")
    return RowsAtRest(ticket_types)


async def unfinished_work(
    holdfast: Holdfast, *, since: datetime | None = None, dead_letters: bool = True
) -> list[str]:
    """The work that is left. When there is none: what `holdfast audit`, which takes far longer, finds at one check
    (at bookings made `since`)."""
    sources = sources_of(holdfast.stack)
    if left := await _left(holdfast, dead_letters=dead_letters):
        return left
    result = await examine(sources, since, wait_seconds=0)
    return [*_findings(result), *await _left(holdfast, dead_letters=dead_letters)]


async def _left(holdfast: Holdfast, *, dead_letters: bool) -> list[str]:
    mailboxes = await read_mailboxes(holdfast.stack.redis_url)
    assert mailboxes.problem is None, mailboxes.problem
    left = dict(mailboxes.lengths)
    if dead_letters:
        left |= {f"dead:{name}": length for name, length in mailboxes.dead.items()}
    left["Stripe's webhooks"] = await holdfast.stripe.undelivered()
    left["announcements and mails"] = await unannounced(holdfast.stack)
    return [f"{name}: {length} left" for name, length in left.items() if length]


async def unannounced(stack: Stack) -> int:
    connection = await asyncpg.connect(stack.booking_database_url)
    try:
        return int(await connection.fetchval(UNANNOUNCED))
    finally:
        await connection.close()


def _findings(result: AuditResult) -> Iterator[str]:
    yield from (f"{each.rule} {each.id}: {each.text}" for each in result.mismatches)
    yield from (f"{kind}: {result.under_way[kind].examples}" for kind in UNFINISHED if kind in result.under_way)


def sources_of(stack: Stack) -> Sources:
    return Sources(
        booking_url=stack.booking_database_url,
        payment_url=stack.payment_database_url,
        stripe_key=stack.secrets.stripe_secret_key,
        stripe_base=stack.sandbox_url,
        redis_url=stack.redis_url,
    )


async def snapshot(stack: Stack) -> dict[str, list[str]]:
    """All rows of both databases, by table, to be compared with those at a later time."""
    found: dict[str, list[str]] = {}
    for name, url in (("booking", stack.booking_database_url), ("payment", stack.payment_database_url)):
        tables = await _tables(url)
        for table, content in zip(tables, await rows(url, *tables), strict=True):
            found[f"{name}.{table}"] = sorted(_fixed(row) for row in content)
    return found


def differences(before: Mapping[str, list[str]], after: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """By table: the rows that are in one of two snapshots only."""
    found = {table: sorted({*before[table]} ^ {*after[table]}) for table in before}
    return {table: rows for table, rows in found.items() if rows}


async def _tables(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    finally:
        await connection.close()
    return [row["tablename"] for row in names if row["tablename"] not in NOT_COMPARED]


def _fixed(row: Row) -> str:
    kept: dict[str, Any] = {name: value for name, value in row.items() if name not in VOLATILE}
    return json.dumps(kept, default=str, sort_keys=True)
