"""The SQL of announcements: bookings with changes that are still to be announced, and these changes."""

# Statements are put together from names of ours and never from data.

from __future__ import annotations

from collections.abc import Collection, Mapping
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
# Clears the marks of the bookings $2, and reads their transitions from these on, with the one before the first.
CLEAR = f"""
WITH cleared AS (UPDATE bookings SET announce_from = NULL WHERE id = ANY($2::uuid[]))
SELECT t.booking_id, t.version, t.to_status, t.payment_status,
    coalesce(t.amount_refunded, 0) AS amount_refunded, t.reason, t.cause_type, t.by, t.at
FROM {recordset("w", {"id": "uuid", "announce_from": "int"}, sought="id")}
JOIN booking_transitions t ON t.booking_id = w.id AND t.version >= w.announce_from - 1
ORDER BY t.booking_id, t.version
"""


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

    async def clear(self, bookings: Mapping[UUID, Announced]) -> list[Change]:
        """All changes of these bookings, whose rows are locked, that are still to be announced, by booking and
        version. Once the transaction has committed, none is left."""
        wanted = as_json([{"id": id, "announce_from": each.announce_from} for id, each in bookings.items()])
        changes: list[Change] = []
        standings: dict[tuple[UUID, int], Standing] = {}
        for id, version, status, payment, refunded, *rest in await self.connection.fetch(
            CLEAR, wanted, list(bookings)
        ):
            after = Standing(BookingStatus(status), PaymentStatus(payment), refunded)
            standings[id, version] = after
            if version >= bookings[id].announce_from:
                changes.append(Change(id, version, standings.get((id, version - 1)), after, *rest))
        return changes


def _announced(row: Any) -> Announced:
    id, event_id, status, captured, email, announce_from = row
    return Announced(id, event_id, BookingStatus(status), captured, email, announce_from)
