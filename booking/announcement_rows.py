"""The SQL of announcements: bookings with changes that are still to be announced, and these changes."""

# Statements are put together from names of ours and never from data.

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from booking.announcements import Announced, Change, Standing
from common.contracts.statuses import BookingStatus, PaymentStatus
from common.postgres.sql import as_json, recordset

# Oldest bookings first; $1 are bookings that could not be announced a short time ago.
TO_ANNOUNCE = "FROM bookings WHERE announce_from IS NOT NULL AND id <> ALL($1::uuid[])"
OLDEST = f"SELECT min(created_at) {TO_ANNOUNCE}"
TAKE = f"""
SELECT id, event_id, status, amount_captured, customer ->> 'email' AS email, announce_from
{TO_ANNOUNCE} ORDER BY created_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
"""
# And the transition before the first of them.
TRANSITIONS = f"""
SELECT t.booking_id, t.version, t.to_status, t.payment_status,
    coalesce(t.amount_refunded, 0) AS amount_refunded, t.reason, t.cause_type, t.by, t.at
FROM {recordset("w", {"id": "uuid", "announce_from": "int"}, sought="id")}
JOIN booking_transitions t ON t.booking_id = w.id AND t.version >= w.announce_from - 1
ORDER BY t.booking_id, t.version
"""
ANNOUNCED = "UPDATE bookings SET announce_from = NULL WHERE id = ANY($1::uuid[])"


class AnnouncementRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def oldest(self, but: Collection[UUID]) -> datetime | None:
        """When the oldest booking with something to announce was made; None if there is none."""
        made: datetime | None = await self.connection.fetchval(OLDEST, list(but))
        return made

    async def take(self, limit: int, but: Collection[UUID]) -> dict[UUID, Announced]:
        """Bookings with changes to announce, their rows locked, without those that another process has locked."""
        return {row["id"]: _announced(row) for row in await self.connection.fetch(TAKE, list(but), limit)}

    async def changes(self, bookings: Iterable[Announced]) -> list[Change]:
        """All changes of these bookings that are still to be announced, by booking and version."""
        announce_from = {each.id: each.announce_from for each in bookings}
        wanted = as_json([{"id": id, "announce_from": version} for id, version in announce_from.items()])
        rows = await self.connection.fetch(TRANSITIONS, wanted)
        before = {(row["booking_id"], row["version"] + 1): row for row in rows}
        return [
            _change(row, before.get((row["booking_id"], row["version"])))
            for row in rows
            if row["version"] >= announce_from[row["booking_id"]]
        ]

    async def announced(self, ids: Collection[UUID]) -> None:
        """Nothing is left to announce of these bookings, whose rows are locked."""
        await self.connection.execute(ANNOUNCED, list(ids))


def _announced(row: Any) -> Announced:
    id, event_id, status, captured, email, announce_from = row
    return Announced(id, event_id, BookingStatus(status), captured, email, announce_from)


def _change(row: Any, before: Any) -> Change:
    """`before`: the transition before it, None for the first one."""
    return Change(
        booking_id=row["booking_id"],
        version=row["version"],
        before=None if before is None else _standing(before),
        after=_standing(row),
        reason=row["reason"],
        cause_type=row["cause_type"],
        by=row["by"],
        at=row["at"],
    )


def _standing(row: Any) -> Standing:
    return Standing(BookingStatus(row["to_status"]), PaymentStatus(row["payment_status"]), row["amount_refunded"])
