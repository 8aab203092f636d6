"""The SQL of the door: check-ins, and what scanners must hear of.

Whatever changes whether a ticket lets somebody in holds the lock of its booking's row: a check-in, its undoing and
a cancellation come one after the other, and each sees what the one before has done. Each writes into `door_changes`
what scanners must hear of, in its own statement (cancellations: `booking_rows.SAVE_GIVEN_BACK`).
"""

# Statements are put together from the column names below and never from data.

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from common.contracts.tickets import CheckIn
from common.postgres.sql import as_json, columns, recordset

SHOWN = tuple(CheckIn.model_fields)
# After which change a page begins: the server, the transaction and the number of the change.
Mark = tuple[str, int, int]


class Asked(NamedTuple):
    """A check-in that is wanted."""

    id: UUID
    ticket_id: UUID
    booking_id: UUID
    event_id: UUID
    ticket_type_id: UUID
    number: int
    at: datetime
    recorded_at: datetime
    gate: str | None
    device: str | None
    by: str


class Met(NamedTuple):
    """What a check-in has met: its booking's status, None without such a booking, `cancelled` also if the seat or
    the event is; whether the booking has such a seat; and the check-in that counts, or this one, which may be
    undone."""

    status: str | None
    seat: bool
    check_in: CheckIn | None


class Undo(NamedTuple):
    id: UUID
    by: str


class Change(NamedTuple):
    """A ticket was used or is valid again; or, without `ticket_id`, tickets of the booking were cancelled."""

    transaction: int
    id: int
    booking_id: UUID
    ticket_id: UUID | None


COLUMNS = columns(Asked)
KEPT = ", ".join(COLUMNS)
# $1: what is asked for, each ticket once. A row that is there already with the same id is the same check-in, and is
# left as it is; of another one with the same ticket the update changes nothing, but returns it, also where this
# statement's snapshot does not have it yet.
CHECK_IN = f"""
WITH asked AS MATERIALIZED (SELECT * FROM {recordset("asked", COLUMNS, sought="booking_id")}),
locked AS MATERIALIZED (
    SELECT b.id, b.event_id, b.status, b.version, b.items, b.cancelled_seats, e.called_off_at FROM bookings b
    JOIN events e ON e.id = b.event_id
    WHERE b.id IN (SELECT booking_id FROM asked) ORDER BY b.id FOR NO KEY UPDATE OF b
), met AS MATERIALIZED (
    SELECT asked.*, b.version, CASE WHEN b.status = 'confirmed' AND (
        b.called_off_at IS NOT NULL OR b.cancelled_seats @> jsonb_build_array(
            jsonb_build_object('ticket_type_id', asked.ticket_type_id, 'number', asked.number))
    ) THEN 'cancelled' ELSE b.status END AS status, EXISTS (
        SELECT FROM jsonb_array_elements(b.items) AS item
        WHERE (item->>'ticket_type_id')::uuid = asked.ticket_type_id AND (item->>'quantity')::int >= asked.number
    ) AS seat FROM asked JOIN locked b ON b.id = asked.booking_id AND b.event_id = asked.event_id
), known AS MATERIALIZED (SELECT c.* FROM check_ins c JOIN asked ON asked.id = c.id), written AS (
    INSERT INTO check_ins AS c ({KEPT}, booking_version) SELECT {KEPT}, version FROM met
    WHERE status = 'confirmed' AND seat AND id NOT IN (SELECT id FROM known) ORDER BY booking_id, ticket_id
    ON CONFLICT (ticket_id) WHERE undone_at IS NULL DO UPDATE SET ticket_id = c.ticket_id RETURNING c.*
), told AS (
    INSERT INTO door_changes (event_id, booking_id, ticket_id)
    SELECT event_id, booking_id, ticket_id FROM written WHERE id IN (SELECT id FROM asked)
)
SELECT asked.ticket_id AS asked_ticket_id, met.status, coalesce(met.seat, false) AS seat,
    {", ".join(f"c.{name}" for name in SHOWN)}
FROM asked LEFT JOIN met ON met.id = asked.id
LEFT JOIN (SELECT * FROM written UNION ALL SELECT * FROM known) c ON c.ticket_id = asked.ticket_id
"""
# $1: which, $2: now. One that is undone already stays as it is, with an earlier time.
UNDO = f"""
WITH asked AS MATERIALIZED (SELECT * FROM {recordset("asked", columns(Undo), sought="id")}),
locked AS MATERIALIZED (
    SELECT b.id FROM bookings b WHERE b.id IN (SELECT c.booking_id FROM check_ins c JOIN asked ON asked.id = c.id)
    ORDER BY b.id FOR NO KEY UPDATE
), undone AS (
    UPDATE check_ins c SET undone_at = coalesce(c.undone_at, $2), undone_by = coalesce(c.undone_by, asked.by)
    FROM asked, locked WHERE c.id = asked.id AND c.booking_id = locked.id RETURNING c.*
), told AS (
    INSERT INTO door_changes (event_id, booking_id, ticket_id)
    SELECT event_id, booking_id, ticket_id FROM undone WHERE undone_at = $2
)
SELECT {", ".join(SHOWN)} FROM undone
"""
OF_BOOKINGS = f"SELECT {', '.join(SHOWN)} FROM check_ins WHERE booking_id = ANY($1::uuid[]) AND undone_at IS NULL"
WERE_CONFIRMED = """
SELECT DISTINCT booking_id FROM booking_transitions WHERE booking_id = ANY($1::uuid[]) AND to_status = 'confirmed'
"""
COUNTS = """
SELECT ticket_type_id, count(*) FROM check_ins WHERE event_id = $1 AND undone_at IS NULL GROUP BY ticket_type_id
"""
# What a transaction's number is a number of: a server that was started anew, or another one that has taken over,
# may give the same number again.
SERVER = "SELECT extract(epoch FROM pg_postmaster_start_time())::text"
# $1: the event, $2 and $3: transaction and number of the last change that is known, $4: how many.
# Changes are in the order of their transactions, and end before the oldest one that is under way: what it writes
# comes later, and with it all that began later. A number that no transaction can have had yet is of the server that
# a dump was made of: such rows count as the oldest.
CHANGES = """
WITH present AS MATERIALIZED (
    SELECT pg_snapshot_xmin(now)::text::bigint AS oldest, pg_snapshot_xmax(now)::text::bigint AS next
    FROM pg_current_snapshot() AS now
)
(SELECT d.transaction, d.id, d.booking_id, d.ticket_id FROM door_changes d
WHERE d.event_id = $1 AND (d.transaction, d.id) > ($2, $3) AND d.transaction < (SELECT oldest FROM present)
ORDER BY d.transaction, d.id LIMIT $4)
UNION ALL
(SELECT 0, d.id, d.booking_id, d.ticket_id FROM door_changes d
WHERE d.event_id = $1 AND (0, d.id) > ($2, $3) AND d.transaction >= (SELECT next FROM present)
ORDER BY d.id LIMIT $4)
ORDER BY 1, 2 LIMIT $4
"""


class DoorRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def check_in(self, asked: Collection[Asked]) -> dict[UUID, Met]:
        """Check these tickets in, each once, where their bookings are confirmed; what each has met, by ticket."""
        rows = await self._connection.fetch(CHECK_IN, as_json(asked))
        return {
            row["asked_ticket_id"]: Met(row["status"], row["seat"], None if row["id"] is None else _check_in(row))
            for row in rows
        }

    async def undo(self, asked: Collection[Undo], now: datetime) -> dict[UUID, CheckIn]:
        """Undo these check-ins; those that there are, as they are then, by their ids."""
        rows = await self._connection.fetch(UNDO, as_json(asked), now)
        return {row["id"]: _check_in(row) for row in rows}

    async def of_bookings(self, ids: Sequence[UUID]) -> dict[UUID, CheckIn]:
        """The check-ins that count, by ticket."""
        return {row["ticket_id"]: _check_in(row) for row in await self._connection.fetch(OF_BOOKINGS, ids)}

    async def were_confirmed(self, ids: Sequence[UUID]) -> set[UUID]:
        """Those of these bookings that are, or once were, confirmed."""
        return {row["booking_id"] for row in await self._connection.fetch(WERE_CONFIRMED, ids)}

    async def counts(self, event_id: UUID) -> dict[UUID, int]:
        """How many tickets are used, by ticket type."""
        return {row[0]: row[1] for row in await self._connection.fetch(COUNTS, event_id)}

    async def changes(self, event_id: UUID, since: Mark | None, limit: int) -> tuple[Mark, list[Change]]:
        """At most `limit` changes, and where they begin: not at `since` where that is of another server."""
        server: str = await self._connection.fetchval(SERVER)
        begin = since if since is not None and since[0] == server else (server, 0, 0)
        rows = await self._connection.fetch(CHANGES, event_id, *begin[1:], limit)
        return begin, [Change(*row) for row in rows]


def _check_in(row: asyncpg.Record) -> CheckIn:
    return CheckIn.model_construct(**{name: row[name] for name in SHOWN})
