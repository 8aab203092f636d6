"""The SQL of buyers: what each has taken of an event, counted with each change of a booking, in the same statement.

Buyers' rows are locked after ticket types, in the order of their keys (docs/decisions/0008).
"""

# Statements are put together from the names below and never from data.

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

import asyncpg

from booking.buyers import NOT_COUNTED, OPEN_HOLD, PAID, BuyerBound, Taken
from common.postgres.sql import columns, recordset

BOUND_COLUMNS = columns(BuyerBound)
# The longest pause after holds that were left to expire, in seconds: each doubles it.
PAUSE_MAX_SECONDS = 3600
# The table's constraints that no buyer exceeds its limit.
LIMITS = ("buyers_seats", "buyers_holds")
# As what a row of `bookings` is to be counted: `buyers.counts_as` in SQL.
COUNTS_AS = f"""CASE WHEN status = 'pending' OR (status = 'confirmed' AND amount = 0) THEN {OPEN_HOLD}
    WHEN status = 'confirmed' THEN {PAID} ELSE {NOT_COUNTED} END"""
SEATS = "(SELECT sum((item->>'quantity')::int) FROM jsonb_array_elements(items) item)"


def checked(number: int) -> str:
    """Part of a statement: `buyers_checked`, the known ones among the buyers of parameter `number`, each with
    whether its bookings `fits`. They are not locked, which would write each row once more: where another statement
    counts for one at the same time, the table's constraints decide."""
    return f"""buyers_checked AS (
    SELECT b.seats + w.seats <= w.seats_max AND b.holds + w.holds <= w.holds_max
        AND (w.address OR b.paused_until <= w.at IS NOT FALSE) AS fits
    FROM buyers b JOIN {recordset("w", BOUND_COLUMNS, number, sought="key")} ON b.key = w.key
)"""


def added(number: int, written: str) -> str:
    """Part of a statement: it adds the new bookings to their buyers, where all of them are `written`. Parameter
    `number`: what they add, with the buyers' limits. The table's constraints refuse what exceeds
    a limit, if two statements count for a buyer at once."""
    return f"""buyers_counted AS (
    INSERT INTO buyers AS b (key, event_id, seats, holds, seats_max, holds_max, updated_at)
    SELECT key, event_id, seats, holds, seats_max, holds_max, at
    FROM {recordset("w", BOUND_COLUMNS, number)} {written} ORDER BY key
    ON CONFLICT (key) DO UPDATE SET seats = b.seats + excluded.seats, holds = b.holds + excluded.holds,
        seats_max = excluded.seats_max, holds_max = excluded.holds_max, updated_at = excluded.updated_at
)"""


_HOLDS = f"(counted = {OPEN_HOLD})::int - (counted_before = {OPEN_HOLD})::int"


def _key(kind: str, of: str) -> str:
    """The key of a buyer, as `buyers.owner_key` and `buyers.address_key` make it."""
    return f"event_id::text || ':{kind}:' || {of}"


def _seats(when: str) -> str:
    """How many seats of a booking its owner has, now or (`_before`) before the change."""
    cancelled = f"coalesce(jsonb_array_length(cancelled_seats{when}), 0)"
    return f"({SEATS} - {cancelled}) * (counted{when} > 0)::int"


def recounted(pause: str, after: str) -> str:
    """Parts of a statement: they count anew the bookings of `written` whose `counted` has changed, or of which
    seats were cancelled, after the rows of `after` have been locked. A seat sold to late money counts, whatever the
    limit. `pause`: for how many seconds the owner of a hold that was left to expire may not book (a payment that
    failed is no reason to let it wait); after each further one twice as long, until one is paid."""
    return f"""recounted AS (
    SELECT key, (array_agg(event_id))[1] AS event_id, sum(seats) AS seats, sum(holds) AS holds,
        sum(lapsed) AS lapsed, bool_or(paid) AS paid, max(updated_at) AS at
    FROM (
        SELECT {_key("owner", "owner")} AS key, event_id, updated_at, counted = {PAID} AS paid,
            {_seats("")} - {_seats("_before")} AS seats, {_HOLDS} AS holds,
            ((status, reason, attempts) = ('cancelled', 'hold_expired', 0) IS TRUE)::int AS lapsed
        FROM written
        WHERE counted <> counted_before
            OR (counted IS NOT NULL AND cancelled_seats <> coalesce(cancelled_seats_before, '[]'))
        UNION ALL
        SELECT {_key("address", "address")}, event_id, updated_at, false, {SEATS} * ({_HOLDS}), {_HOLDS}, 0
        FROM written WHERE counted <> counted_before AND address IS NOT NULL
    ) each WHERE (SELECT count(*) FROM {after}) >= 0 GROUP BY key
), buyers_counted AS (
    INSERT INTO buyers AS b (key, event_id, seats, holds, updated_at)
    SELECT key, event_id, greatest(seats, 0), greatest(holds, 0), at FROM recounted ORDER BY key
    ON CONFLICT (key) DO UPDATE SET (seats, holds, seats_max, lapsed, paused_until, updated_at) = (
        SELECT b.seats + r.seats, b.holds + r.holds, greatest(b.seats_max, b.seats + r.seats),
            CASE WHEN r.paid THEN 0 ELSE b.lapsed + r.lapsed END,
            CASE WHEN r.lapsed > 0 AND {pause} > 0 THEN r.at + make_interval(secs =>
                least({pause} * 2 ^ least(b.lapsed + r.lapsed - 1, 12), {PAUSE_MAX_SECONDS}))
            ELSE b.paused_until END, r.at
        FROM recounted r WHERE r.key = b.key
    )
)"""


# Bookings that a process of the release before has changed, which counts none: they are counted anew.
RECOUNT = f"""
WITH wrong AS (
    SELECT id, counted AS counted_before, {COUNTS_AS} AS now FROM bookings
    WHERE counted <> {COUNTS_AS} ORDER BY id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
), written AS (
    UPDATE bookings b SET counted = wrong.now FROM wrong WHERE b.id = wrong.id
    RETURNING b.*, wrong.counted_before, b.cancelled_seats AS cancelled_seats_before
), {recounted("$1::int", "wrong")} SELECT count(*) FROM wrong
"""
LOCK = "SELECT key FROM buyers WHERE key = ANY($1::varchar[]) ORDER BY key FOR NO KEY UPDATE"
LOAD = "SELECT key, seats, holds, paused_until FROM buyers WHERE key = ANY($1::varchar[])"
END_PAUSES = "UPDATE buyers SET paused_until = NULL WHERE key = ANY($1::varchar[])"
# Addresses are forgotten: bookings from before $1 no longer have one, nor count for one. Pending ones keep theirs.
FORGET_ADDRESSES = f"""
WITH old AS (
    SELECT id, {_key("address", "address")} AS key, (counted = {OPEN_HOLD})::int AS hold, {SEATS} AS seats
    FROM bookings
    WHERE address IS NOT NULL AND created_at < $1 AND status <> 'pending'
    ORDER BY id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
), forgotten AS (
    UPDATE bookings b SET address = NULL FROM old WHERE b.id = old.id
), less AS (
    SELECT b.key, holds_less, seats_less FROM buyers b JOIN (
        SELECT key, coalesce(sum(hold), 0) AS holds_less, coalesce(sum(hold * seats), 0) AS seats_less
        FROM old GROUP BY key
    ) o ON o.key = b.key ORDER BY b.key FOR NO KEY UPDATE OF b
), counted AS (
    UPDATE buyers b SET holds = b.holds - less.holds_less, seats = b.seats - less.seats_less
    FROM less WHERE b.key = less.key RETURNING b.key
) SELECT (SELECT count(*) FROM old) AS forgotten, (SELECT array_agg(key) FROM counted) AS keys
"""
DELETE = "DELETE FROM buyers WHERE key = ANY($1::varchar[]) AND holds = 0"


class BuyerRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def lock(self, keys: Iterable[str]) -> dict[str, Taken]:
        """What these buyers have taken, their rows locked until the transaction ends; a buyer without a row has
        taken nothing."""
        wanted = sorted(keys)
        await self._connection.execute(LOCK, wanted)
        # Read by a second statement, which sees what others committed while the first one waited for its locks.
        return {row["key"]: Taken(*tuple(row)[1:]) for row in await self._connection.fetch(LOAD, wanted)}

    async def end_pauses(self, keys: Collection[str]) -> None:
        """These buyers may book again. Their rows must be locked."""
        await self._connection.execute(END_PAUSES, list(keys))

    async def recount(self, pause: timedelta, limit: int) -> int:
        """Count anew at most `limit` bookings that were changed without being counted; returns how many."""
        return int(await self._connection.fetchval(RECOUNT, int(pause.total_seconds()), limit))

    async def forget_addresses(self, before: datetime, limit: int) -> int:
        """Forget the addresses of at most `limit` bookings made before then; returns how many these were."""
        forgotten, keys = await self._connection.fetchrow(FORGET_ADDRESSES, before, limit)
        if keys:
            await self._connection.execute(DELETE, keys)
        return int(forgotten)
