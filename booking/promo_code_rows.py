"""The SQL of promo codes: how often each is used, counted with each change of a booking, in the same statement.

The rows of codes are locked after ticket types and before buyers, and then those of their owners, each in the order
of their keys (docs/decisions/0008).
"""

# Statements are put together from the names below and never from data.

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from booking.promo_codes import CodeBound, PromoCode
from common.contracts.codes import code_key
from common.postgres.sql import as_json, assignments, columns, count_of, few, recordset

BOUND_COLUMNS = columns(CodeBound)
# The table's constraints that no code and no owner exceeds its limit.
LIMITS = ("promo_codes_uses", "promo_code_owners_uses")
# As what a booking with this `status` counts for its code; NULL: it was made without one. HELD and USED.
HELD, USED = 1, 2


def counts_as(code_id: str, status: str) -> str:
    return (
        f"CASE WHEN {code_id} IS NULL THEN NULL WHEN {status} = 'pending' THEN {HELD} "
        f"WHEN {status} = 'confirmed' THEN {USED} ELSE 0 END"
    )


def _added(column: str, counted: int) -> str:
    return f"sum((code_counted = {counted})::int - (code_counted_before = {counted})::int) AS {column}"


def _limit(uses_max: str, uses: str) -> str:
    """The limit, which is raised to `uses`; no limit stays none."""
    return f"CASE WHEN {uses_max} < {uses} THEN {uses} ELSE {uses_max} END"


def checked(number: int, after: str) -> str:
    """Parts of a statement: `codes_checked`, the codes of parameter `number`, their rows locked after those of
    `after`, each with whether its bookings `fits`."""
    return f"""codes_checked AS (
    SELECT c.id, w.held, w.used,
        c.version = w.version AND (c.held + c.used + w.held + w.used <= c.uses_max) IS NOT FALSE AS fits
    FROM promo_codes c JOIN (
        SELECT code_id, min(version) AS version, sum(held) AS held, sum(used) AS used
        FROM {recordset("w", BOUND_COLUMNS, number, sought="code_id")} GROUP BY code_id
    ) w ON w.code_id = c.id WHERE (SELECT count(*) FROM {after}) >= 0 ORDER BY c.id FOR NO KEY UPDATE OF c
)"""


def added(number: int, written: str) -> str:
    """Parts of a statement: they add the new bookings to the uses of their codes and owners, where all of them are
    `written`. The table's constraint refuses what exceeds an owner's limit, if two statements count for one at
    once."""
    return f"""codes_counted AS (
    UPDATE promo_codes c SET held = c.held + w.held, used = c.used + w.used FROM codes_checked w
    {written} AND c.id = w.id RETURNING c.id
), code_owners_counted AS (
    INSERT INTO promo_code_owners AS o (key, code_id, uses, uses_max)
    SELECT key, code_id, held + used, uses_max FROM {recordset("w", BOUND_COLUMNS, number)} {written}
        AND (SELECT count(*) FROM codes_counted) >= 0 ORDER BY key
    ON CONFLICT (key) DO UPDATE SET uses = o.uses + excluded.uses, uses_max = excluded.uses_max RETURNING o.key
)"""


def recounted(after: str, *, limited: bool = True) -> str:
    """Parts of a statement: they count anew the bookings of `written` whose `code_counted` has changed, after the
    rows of `after` have been locked. Not `limited`: what was sold by a process that counts no codes counts,
    whatever the limit."""
    uses_max = "" if limited else f", uses_max = {_limit('c.uses_max', 'c.held + l.held + c.used + l.used')}"
    return f"""codes_changed AS (
    SELECT code_id, code_id::text || ':' || owner AS key, {_added("held", HELD)}, {_added("used", USED)}
    FROM written WHERE code_counted <> code_counted_before AND (SELECT count(*) FROM {after}) >= 0
    GROUP BY code_id, owner
), codes_locked AS (
    SELECT c.id, w.held, w.used FROM promo_codes c JOIN (
        SELECT code_id, sum(held) AS held, sum(used) AS used FROM codes_changed
        WHERE {few("code_id")} GROUP BY code_id
    ) w ON w.code_id = c.id ORDER BY c.id FOR NO KEY UPDATE OF c
), codes_counted AS (
    UPDATE promo_codes c SET held = c.held + l.held, used = c.used + l.used{uses_max} FROM codes_locked l
    WHERE c.id = l.id RETURNING c.id
), code_owners_locked AS (
    SELECT o.key, w.held + w.used AS uses FROM promo_code_owners o JOIN (
        SELECT * FROM codes_changed WHERE {few("key")} AND held + used <> 0
    ) w ON w.key = o.key WHERE (SELECT count(*) FROM codes_counted) >= 0 ORDER BY o.key FOR NO KEY UPDATE OF o
), code_owners_counted AS (
    UPDATE promo_code_owners o SET uses = o.uses + l.uses, uses_max = {_limit("o.uses_max", "o.uses + l.uses")}
    FROM code_owners_locked l WHERE o.key = l.key RETURNING o.key
)"""


# Bookings that a process of the release before has changed, which counts no codes: they are counted anew.
RECOUNT = f"""
WITH wrong AS (
    SELECT id, code_counted AS code_counted_before, {counts_as("code_id", "status")} AS now FROM bookings
    WHERE code_counted <> {counts_as("code_id", "status")} ORDER BY id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
), written AS (
    UPDATE bookings b SET code_counted = wrong.now FROM wrong WHERE b.id = wrong.id
    RETURNING b.code_id, b.owner, b.code_counted, wrong.code_counted_before
), {recounted("wrong", limited=False)} SELECT count(*) FROM wrong
"""

CODE_COLUMNS = columns(PromoCode)
JSON_COLUMNS = ("ticket_types", "unlocks")
CODE = ", ".join(CODE_COLUMNS)
# LIMIT makes it use the index, even if the statement was planned while the table was nearly empty.
FIND = f"""
SELECT found.* FROM {recordset("w", {"event_id": "uuid", "code_key": "varchar"})} CROSS JOIN LATERAL (
    SELECT {CODE} FROM promo_codes c WHERE c.event_id = w.event_id AND c.code_key = w.code_key LIMIT 1
) AS found
"""
LOCK = "SELECT id FROM promo_codes WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
LOCK_OWNERS = "SELECT key FROM promo_code_owners WHERE key = ANY($1::varchar[]) ORDER BY key FOR NO KEY UPDATE"
LOAD = f"SELECT {CODE} FROM promo_codes WHERE id = ANY($1::uuid[])"
USES = "SELECT key, uses FROM promo_code_owners WHERE key = ANY($1::varchar[])"
NEW = {**CODE_COLUMNS, "code_key": "varchar", "created_at": "timestamptz"}
INSERT = f"""
INSERT INTO promo_codes ({", ".join(NEW)}) SELECT {", ".join(NEW)} FROM {recordset("new", NEW)}
ON CONFLICT (event_id, code_key) DO NOTHING
"""
CHANGED = {name: kind for name, kind in CODE_COLUMNS.items() if name not in ("event_id", "code", "held", "used")}
SAVE = f"""
UPDATE promo_codes c SET {assignments([name for name in CHANGED if name != "id"], "new")}
FROM {recordset("new", CHANGED, sought="id")} WHERE c.id = new.id
"""
PAGE = f"""
SELECT {CODE} FROM promo_codes WHERE event_id = $1 AND code_key > $2 AND ($3::varchar IS NULL OR code_key = $3)
ORDER BY code_key LIMIT $4
"""


class Found(NamedTuple):
    """Codes by id, and how many uses their owners have, by the keys of their rows."""

    codes: dict[UUID, PromoCode]
    uses: dict[str, int]


NOTHING_FOUND = Found({}, {})


def _code_of(row: Any) -> PromoCode:
    values = dict(row)
    for name in JSON_COLUMNS:
        values[name] = tuple(map(UUID, orjson.loads(values[name])))
    return PromoCode(**values)


class PromoCodeRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find(self, wanted: Iterable[tuple[UUID, str]]) -> dict[UUID, PromoCode]:
        """The codes that are written so, by event."""
        rows = [{"event_id": event_id, "code_key": code_key(written)} for event_id, written in wanted]
        return self._codes(await self._connection.fetch(FIND, as_json(rows)))

    async def uses(self, keys: Collection[str]) -> dict[str, int]:
        """How many uses the owners of these rows have."""
        return {row["key"]: row["uses"] for row in await self._connection.fetch(USES, list(keys))}

    async def lock(self, ids: Collection[UUID], keys: Collection[str]) -> Found:
        """These codes and owners, their rows locked until the transaction ends."""
        if not ids:
            return NOTHING_FOUND
        await self._connection.execute(LOCK, list(ids))
        await self._connection.execute(LOCK_OWNERS, list(keys))
        # Read by statements of their own, which see what others committed while the first two waited for locks.
        return Found(self._codes(await self._connection.fetch(LOAD, list(ids))), await self.uses(keys))

    async def page(self, event_id: UUID, after: str, code: str | None, limit: int) -> list[PromoCode]:
        """The event's codes behind the one with this key, in the order of their keys; with `code` it alone."""
        key = None if code is None else code_key(code)
        return list(self._codes(await self._connection.fetch(PAGE, event_id, after, key, limit)).values())

    async def add(self, codes: Sequence[PromoCode], now: datetime) -> int:
        """Add these codes; returns how many the event did not have yet: what it has is not overwritten."""
        rows = [{**each._asdict(), "code_key": code_key(each.code), "created_at": now} for each in codes]
        return count_of(await self._connection.execute(INSERT, as_json(rows)))

    async def save(self, code: PromoCode) -> None:
        """Write a locked code, but not how often it is used."""
        await self._connection.execute(SAVE, as_json([code]))

    async def recount(self, limit: int) -> int:
        """Count anew at most `limit` bookings that were changed without being counted; returns how many."""
        return int(await self._connection.fetchval(RECOUNT, limit))

    @staticmethod
    def _codes(rows: Iterable[Any]) -> dict[UUID, PromoCode]:
        return {row["id"]: _code_of(row) for row in rows}
