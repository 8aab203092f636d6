"""The SQL by which guests come back. A guest has one row with the hash of the recovery code that was made last;
links have no rows.

Rows are locked in the order of their owners (docs/decisions/0008).
"""

# Statements are put together from the column names below and never from data.

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from common.postgres.sql import as_json, columns, count_of, old_deleted, recordset


class NewCode(NamedTuple):
    """A code that was made for a guest, by its hash."""

    owner: str
    code_hash: str
    made_at: datetime
    expires_at: datetime


class Use(NamedTuple):
    """A request that wants to use the code with this hash."""

    code_hash: str
    request_hash: str


class Referenced(NamedTuple):
    """A booking that a link may lead to. `first`: the first id with its reference; `email`: its customer's."""

    first: UUID
    id: UUID
    owner: str
    email: str
    starts_at: datetime


# A guest without a booking has nothing to come back to: nobody fills the table with guests that cost nothing. The
# same code again changes nothing; one that was made earlier than the one in the row is not kept.
KEEP = f"""
WITH new AS MATERIALIZED (
    SELECT sent.*, booking.id IS NOT NULL AS books FROM {recordset("sent", columns(NewCode))}
    LEFT JOIN LATERAL (SELECT id FROM bookings b WHERE b.owner = sent.owner LIMIT 1) AS booking ON true
), kept AS (
    INSERT INTO recovery_codes AS r (owner, code_hash, made_at, expires_at)
    SELECT owner, code_hash, made_at, expires_at FROM new WHERE books ORDER BY owner
    ON CONFLICT (owner) DO UPDATE SET code_hash = excluded.code_hash, made_at = excluded.made_at,
        expires_at = excluded.expires_at,
        used_at = CASE WHEN r.code_hash = excluded.code_hash THEN r.used_at END,
        used_by = CASE WHEN r.code_hash = excluded.code_hash THEN r.used_by END
    WHERE r.made_at < excluded.made_at OR r.code_hash = excluded.code_hash
    RETURNING owner
)
SELECT owner, books, kept.owner IS NOT NULL AS kept FROM new LEFT JOIN kept USING (owner)
"""
# $2: now; $3: since when a code must have been used for its request to be repeated. The rows are locked in order
# first; the conditions are those of the update, which compares them with the rows as they are then.
USE = f"""
WITH asked AS MATERIALIZED (SELECT * FROM {recordset("asked", columns(Use), sought="code_hash")}),
locked AS MATERIALIZED (
    SELECT r.owner FROM recovery_codes r WHERE r.code_hash IN (SELECT code_hash FROM asked)
    ORDER BY r.owner FOR NO KEY UPDATE
)
UPDATE recovery_codes r SET used_at = coalesce(r.used_at, $2), used_by = asked.request_hash
FROM locked, asked WHERE r.owner = locked.owner AND r.code_hash = asked.code_hash AND r.expires_at > $2
    AND (r.used_by IS NULL OR (r.used_by = asked.request_hash AND r.used_at > $3))
RETURNING r.code_hash, r.used_by, r.owner
"""
# Of each reference its bookings: one, or a few (see `codes.py`). Not those of owners whose tokens were revoked.
REFERENCED = """
SELECT asked.first, b.id, b.owner, b.email, e.starts_at FROM unnest($1::uuid[], $2::uuid[]) AS asked (first, last)
CROSS JOIN LATERAL (
    SELECT id, owner, event_id, customer ->> 'email' AS email FROM bookings
    WHERE id >= asked.first AND id <= asked.last ORDER BY id LIMIT 100
) AS b
JOIN events e ON e.id = b.event_id
WHERE b.email IS NOT NULL AND NOT EXISTS (SELECT FROM revoked_tokens r WHERE r.claim = 'sub' AND r.value = b.owner)
"""
# A used one stays until it expires, too: its message may come again, and must not make it new.
FORGET = old_deleted("recovery_codes", "owner", "expires_at")


class RecoveryRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def keep(self, new: Sequence[NewCode]) -> tuple[set[str], set[str]]:
        """Keep these codes, one of each owner, unless the owner has a newer one. Returns the owners whose codes are
        kept, and the owners that have bookings."""
        rows = await self._connection.fetch(KEEP, as_json(new))
        return {row["owner"] for row in rows if row["kept"]}, {row["owner"] for row in rows if row["books"]}

    async def use(self, asked: Collection[Use], now: datetime, repeated_since: datetime) -> dict[Use, str]:
        """Use up the codes of these requests. Returns the owner by each request whose code was good, or which has
        used its code itself since `repeated_since`."""
        rows = await self._connection.fetch(USE, as_json(list(asked)), now, repeated_since)
        return {Use(row["code_hash"], row["used_by"]): row["owner"] for row in rows}

    async def referenced(self, ranges: Collection[tuple[UUID, UUID]]) -> list[Referenced]:
        """The bookings with a customer whose ids are in these ranges, each from the first id to the last."""
        firsts, lasts = [first for first, _ in ranges], [last for _, last in ranges]
        return [Referenced(*row) for row in await self._connection.fetch(REFERENCED, firsts, lasts)]

    async def delete(self, owner: str) -> None:
        """Delete the code of this owner, if there is one."""
        await self._connection.execute("DELETE FROM recovery_codes WHERE owner = $1", owner)

    async def forget(self, before: datetime, limit: int) -> int:
        """Delete the codes that expired before this, at most `limit`; returns how many."""
        return count_of(await self._connection.execute(FORGET, before, limit))
