"""The audit finds what nobody announces or sends, and not what waits for a disabled endpoint."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from ops.audit.databases import Databases
from ops.audit.rules import judge_unsent

LONG_AGO = timedelta(minutes=3)
ENDPOINT = """
INSERT INTO webhook_endpoints (id, url, secrets, created_at, updated_at, disabled_at, disabled_reason)
VALUES ($1, 'https://example.com/', '[]', $2, $2, $3, $4)
"""
DELIVERY = """
INSERT INTO webhook_deliveries
    (endpoint_id, message_id, type, resource_id, version, happened_at, made_at, due_at, give_up_at)
VALUES ($1, $2, 'event.changed', $2, 1, $3, $3, $4, $3)
"""
NOTICE = """
INSERT INTO mails (id, endpoint_id, kind, status, version, made_at, send_after)
VALUES (gen_random_uuid(), $1, 'attention', 'owed', 2, $2, $2)
"""
CHANGE = "INSERT INTO event_changes (event_id, version, what, at) VALUES ($1, 1, 'created', $2)"


@pytest.fixture
async def connection(migrated_database: Callable[..., Awaitable[str]]) -> Any:
    connection = await asyncpg.connect(await migrated_database("booking"))
    await connection.execute("TRUNCATE webhook_endpoints, webhook_deliveries, event_changes, mails")
    yield connection
    await connection.close()


async def found(connection: asyncpg.Connection) -> list[tuple[str, str]]:
    rows = Databases(connection, connection).unsent(None)
    return sorted([(each.rule, each.text.split(" ")[0]) async for row in rows for each in judge_unsent(row)])


async def test_what_nobody_announces_or_sends_is_found(connection: asyncpg.Connection) -> None:
    now: datetime = await connection.fetchval("SELECT now()")
    before = now - LONG_AGO
    await connection.execute(CHANGE, uuid4(), before)
    assert await found(connection) == []  # nobody wants to know of it
    enabled, disabled = UUID(int=1), UUID(int=2)
    await connection.execute(ENDPOINT, enabled, before, None, None)
    await connection.execute(ENDPOINT, disabled, before, now, "failing")
    for endpoint, due in ((enabled, before), (enabled, now), (disabled, before)):
        await connection.execute(DELIVERY, endpoint, uuid4(), before, due)
    await connection.execute(NOTICE, disabled, before)
    assert await found(connection) == [
        ("announcements", "changed"),
        ("mails", "attention"),
        ("webhooks", "event.changed"),
    ]
    await connection.execute("UPDATE mails SET status = 'sent', send_after = NULL, ended_at = now()")
    await connection.execute("UPDATE event_changes SET to_announce = NULL")
    await connection.execute("UPDATE webhook_deliveries SET due_at = now() WHERE endpoint_id = $1", enabled)
    assert await found(connection) == []
