"""The SQL of mails: what is owed, what is sent now, and what became of it."""

# Statements are put together from names of ours and never from data.

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from booking.mails import LIMIT_OVER, Mail, NewAddress
from common.contracts.statuses import MailKind, MailStatus
from common.postgres.sql import as_json, assignments, columns, count_of, old_deleted, recordset

COLUMNS = columns(Mail)
NAMES = ", ".join(COLUMNS)
INSERT = f"INSERT INTO mails ({NAMES}) SELECT {NAMES} FROM {recordset('new', COLUMNS)} ON CONFLICT (id) DO NOTHING"
# A confirmation that is still owed goes to the booking's address of now.
INSERT_AGAIN = f"""
INSERT INTO mails ({NAMES}) SELECT {NAMES} FROM {recordset("new", COLUMNS | {"email": "varchar"})}
WHERE NOT EXISTS (
    SELECT FROM mails m WHERE m.booking_id = new.booking_id AND m.kind = new.kind
    AND (m.status = 'owed' OR lower(m.recipient) = lower(new.email))
) ON CONFLICT (id) DO NOTHING
"""
NEXT_DUE = "SELECT min(send_after) FROM mails WHERE send_after IS NOT NULL"
TAKE_DUE = f"""
SELECT {NAMES} FROM mails WHERE send_after <= $1 ORDER BY send_after LIMIT $2 FOR UPDATE SKIP LOCKED
"""
EMAILS = "SELECT id, customer ->> 'email' AS email FROM bookings WHERE id = ANY($1::uuid[])"
# How many mails each of these recipients has got, or may have got, since $2, without those that operators sent.
COUNT = """
SELECT lower(recipient) AS recipient, count(*) AS mails FROM mails
WHERE lower(recipient) = ANY($1::varchar[]) AND tried_at > $2 AND by IS NULL GROUP BY 1
"""
CHANGED = {
    name: COLUMNS[name] for name in ("id", *COLUMNS) if name not in ("booking_id", "endpoint_id", "kind", "version")
}
SAVED = ("status", "recipient", "attempts", "send_after", "error", "tried_at", "ended_at")
SAVE = f"""
UPDATE mails m SET {assignments(SAVED, "new")} FROM {recordset("new", CHANGED, sought="id")} WHERE m.id = new.id
"""
# A mail whose recipient was erased while it was sent does not get it back.
FINISH = """
UPDATE mails SET status = $3, send_after = $4, error = $5, ended_at = $6 WHERE id = $1 AND attempts = $2
"""
OF_BOOKING = f"SELECT {NAMES} FROM mails WHERE booking_id = $1 ORDER BY made_at, id LIMIT $2"
ADD = f"{INSERT} RETURNING id"
# The recipients of mails about bookings of the erasure $1, and to its address, whatever became of the booking's.
ERASE = """
UPDATE mails SET recipient = NULL WHERE recipient IS NOT NULL AND id = ANY(ARRAY(
    SELECT m.id FROM mails m JOIN bookings b ON b.id = m.booking_id
    WHERE b.owner = (SELECT subject FROM erasures WHERE id = $1)
    UNION ALL SELECT id FROM mails
    WHERE lower(recipient) = (SELECT lower(email) FROM erasures WHERE id = $1)
))
"""
# What needs a person in an event: the newest bookings, and how many there are.
NEEDS_PERSON = """
SELECT id, CASE reason WHEN 'payment_mismatch' THEN reason ELSE payment END AS why, count(*) OVER () AS found
FROM bookings
WHERE event_id = $1 AND (payment IN ('refund_failed', 'disputed') OR reason = 'payment_mismatch')
ORDER BY updated_at DESC LIMIT $2
"""
FORGET = old_deleted("mails", "id", "made_at")
# The oldest mail that is owed and was tried already, and how many were given up since $1.
TROUBLE = """
SELECT min(made_at) FILTER (WHERE status = 'owed' AND attempts > 0) AS owed_since,
    count(*) FILTER (WHERE status = 'given_up' AND ended_at > $1) AS given_up
FROM mails WHERE made_at > $2
"""


class Attention(NamedTuple):
    """Of an event: the newest bookings that need a person, each with why, and how many there are in all."""

    bookings: tuple[tuple[UUID, str], ...]
    found: int


class MailRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def add(self, mails: Sequence[Mail], again: Sequence[NewAddress] = ()) -> None:
        """Add mails that are owed, without those that are there already."""
        if mails:
            await self._connection.execute(INSERT, as_json(mails))
        if again:
            new = [{**each.mail._asdict(), "email": each.email} for each in again]
            await self._connection.execute(INSERT_AGAIN, as_json(new))

    async def next_due(self) -> datetime | None:
        due: datetime | None = await self._connection.fetchval(NEXT_DUE)
        return due

    async def take_due(self, now: datetime, limit: int) -> list[Mail]:
        """Mails whose time has come, locked, without those that another process has locked."""
        return [_mail(row) for row in await self._connection.fetch(TAKE_DUE, now, limit)]

    async def emails(self, booking_ids: Collection[UUID]) -> dict[UUID, str | None]:
        """By booking: its customer's address."""
        rows = await self._connection.fetch(EMAILS, list(booking_ids))
        return {row["id"]: row["email"] for row in rows}

    async def counts(self, recipients: Collection[str], now: datetime) -> dict[str, int]:
        """By address in lower case: how many mails it has had lately."""
        wanted = list({each.lower() for each in recipients})
        rows = await self._connection.fetch(COUNT, wanted, now - LIMIT_OVER)
        return {row["recipient"]: row["mails"] for row in rows}

    async def save(self, mails: Sequence[Mail]) -> None:
        """Write mails that `take_due` has locked."""
        if mails:
            await self._connection.execute(SAVE, as_json(mails))

    async def finish(self, mail: Mail) -> None:
        """Write what became of an attempt, unless another one has begun since."""
        values = (mail.status, mail.send_after, mail.error, mail.ended_at)
        await self._connection.execute(FINISH, mail.id, mail.attempts, *values)

    async def of_booking(self, booking_id: UUID, limit: int) -> list[Mail]:
        """The booking's mails, oldest first."""
        return [_mail(row) for row in await self._connection.fetch(OF_BOOKING, booking_id, limit)]

    async def erase(self, erasure_id: UUID) -> None:
        await self._connection.execute(ERASE, erasure_id)

    async def forget(self, before: datetime, limit: int) -> int:
        """Delete the mails that were made before this, oldest first, at most `limit`; returns how many."""
        return count_of(await self._connection.execute(FORGET, before, limit))

    async def attention(self, event_id: UUID, limit: int) -> Attention:
        rows = await self._connection.fetch(NEEDS_PERSON, event_id, limit)
        return Attention(tuple((row["id"], row["why"]) for row in rows), rows[0]["found"] if rows else 0)

    async def trouble(self, given_up_since: datetime, made_since: datetime) -> tuple[datetime | None, int]:
        """When the oldest mail was made that was tried and is still owed; how many were given up lately."""
        row = await self._connection.fetchrow(TROUBLE, given_up_since, made_since)
        return row["owed_since"], row["given_up"]


def _mail(row: Any) -> Mail:
    values = dict(row)
    return Mail(**values | {"kind": MailKind(values["kind"]), "status": MailStatus(values["status"])})
