"""The SQL of stray intents and of the number of orphans. Rows do not leave it."""

# Statements are built from the column names below, never from data.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import asyncpg

from common.contracts.statuses import IntentStatus
from common.postgres.sql import as_json, assignments, recordset
from payment.columns import columns, fields
from payment.orphans import Stray
from payment.refunds import RefundStatus

COLUMNS = columns(Stray)
STRAY = ", ".join(COLUMNS)
FIXED = ("intent_id", "booking_id", "found_at")
# A stray that is known already becomes due: it may have changed at Stripe.
ADD = f"""
INSERT INTO stray_intents ({STRAY}) SELECT * FROM {recordset("new", COLUMNS)} ORDER BY 1
ON CONFLICT (intent_id) DO UPDATE SET drive_after = excluded.drive_after,
    return_decided = stray_intents.return_decided OR excluded.return_decided,
    return_decided_by = coalesce(stray_intents.return_decided_by, excluded.return_decided_by)
RETURNING xmax = 0 AS new, intent_id
"""
LOCK = f"""
SELECT {STRAY} FROM stray_intents WHERE intent_id = ANY($1::varchar[]) ORDER BY intent_id FOR NO KEY UPDATE
"""
TAKE_DUE = f"""
SELECT {STRAY} FROM stray_intents WHERE drive_after <= $1 ORDER BY drive_after LIMIT $2
FOR NO KEY UPDATE SKIP LOCKED
"""
SAVE = f"""
UPDATE stray_intents s SET {assignments((c for c in COLUMNS if c not in FIXED), "new")}
FROM {recordset("new", COLUMNS, sought="intent_id")} WHERE s.intent_id = new.intent_id
"""
DROP = "DELETE FROM stray_intents WHERE intent_id = ANY($1::varchar[])"
DECIDE = f"""
UPDATE stray_intents s SET return_decided = true, return_decided_by = d.by, drive_after = $2
FROM {recordset("d", {"booking_id": "uuid", "by": "varchar"}, sought="booking_id")}
WHERE s.booking_id = d.booking_id AND s.drive_after IS NOT NULL
"""
# Found since the time $1, or still waiting; without those that an operator has decided about.
COUNT = """
SELECT
    (SELECT count(*) FROM payments WHERE orphaned_at IS NOT NULL AND NOT return_decided
        AND (orphaned_at > $1 OR return_after IS NOT NULL))
    + (SELECT count(*) FROM stray_intents WHERE NOT return_decided AND (found_at > $1 OR drive_after IS NOT NULL))
"""


_values = attrgetter(*fields(COLUMNS))


def _stray(row: Any) -> Stray:
    refund_status = row["refund_status"] and RefundStatus(row["refund_status"])
    return replace(Stray(*row), status=IntentStatus(row["status"]), refund_status=refund_status)


def _parameter(strays: Sequence[Stray]) -> str:
    return as_json(map(_values, strays), COLUMNS)


class StrayRows:
    """The rows of stray intents within one transaction."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def add(self, strays: Sequence[Stray]) -> set[str]:
        """Save strays; returns the intents of those that were new."""
        rows = await self._connection.fetch(ADD, _parameter(strays)) if strays else ()
        return {row["intent_id"] for row in rows if row["new"]}

    async def lock(self, intents: Sequence[str]) -> dict[str, Stray]:
        return {row["intent_id"]: _stray(row) for row in await self._connection.fetch(LOCK, intents)}

    async def take_due(self, now: datetime, limit: int) -> list[Stray]:
        """Strays that are due and that no other process has locked, now locked."""
        return [_stray(row) for row in await self._connection.fetch(TAKE_DUE, now, limit)]

    async def save(self, strays: Sequence[Stray]) -> None:
        """Update locked strays."""
        if strays:
            await self._connection.execute(SAVE, _parameter(strays))

    async def drop(self, intents: Sequence[str]) -> None:
        """Delete these: a payment's row has the intent (again), so it is no stray."""
        if intents:
            await self._connection.execute(DROP, intents)

    async def decide(self, bookings: Mapping[UUID, str | None], now: datetime) -> None:
        """Operators have decided about the strays of these bookings, each with who did: they are due now."""
        if bookings:
            await self._connection.execute(DECIDE, as_json(sorted(bookings.items()), ("booking_id", "by")), now)

    async def count(self, since: datetime) -> int:
        """The number of orphans and strays that were found after `since`, or that still wait for something."""
        number: int = await self._connection.fetchval(COUNT, since)
        return number
