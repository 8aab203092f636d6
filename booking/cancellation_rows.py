"""The SQL of what is done to many bookings: an event's cancellation, retries of its failed refunds, erasures."""

# Statements are put together from names of ours and the condition below, and never from data.

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from booking.booking_rows import Position
from common.contracts.resources import Progress, RefundRetry, Refunds

# Each booking's money is counted once, under the first condition that fits.
PROGRESS = f"""
SELECT event_id, coalesce(sum(version), 0) AS changes,
    count(*) FILTER (WHERE status IN ('pending', 'confirmed')) AS remaining,
    count(*) FILTER (WHERE ended) AS cancelled,
    {", ".join(f"count(*) FILTER (WHERE money = '{name}') AS {name}" for name in Refunds.model_fields)}
FROM (
    SELECT event_id, version, status, ended, CASE
        WHEN NOT ended OR amount_captured = 0 THEN NULL
        WHEN refund_amount IS NOT NULL THEN 'owed'
        WHEN amount_refunded >= amount_captured THEN 'succeeded'
        WHEN payment = 'refund_pending' AND refund_waiting IS NOT NULL THEN 'waiting'
        WHEN payment = 'refund_pending' THEN 'under_way'
        WHEN payment = 'disputed' THEN 'disputed'
        ELSE 'failed'
    END AS money
    FROM (
        SELECT *, status = 'cancelled' AND reason = 'event_cancelled' AS ended
        FROM bookings WHERE event_id = ANY($1::uuid[])
    ) AS of_events
) AS counted RIGHT JOIN unnest($1::uuid[]) AS wanted (event_id) USING (event_id)
GROUP BY event_id
"""
# Failed refunds that can be retried: all that is left of a booking that has ended, what failed of a confirmed one.
CAN_BE_RETRIED = """payment = 'refund_failed' AND amount_captured > amount_refunded
AND (status IN ('cancelled', 'failed') OR refund_failed_amount > 0)"""
# The last retry of each event's failed refunds. A booking that it has not retried yet is one that it can still
# find; one that it has retried is under way, failed or, else, succeeded.
RETRIES = f"""
SELECT r.id, r.event_id, r.asked_at, r.by, count(b.id) AS refunds,
    count(b.id) FILTER (WHERE NOT tried) AS remaining,
    count(b.id) FILTER (WHERE tried AND b.payment = 'refund_pending') AS under_way,
    count(b.id) FILTER (WHERE tried AND b.payment IN ('refund_failed', 'disputed')) AS failed
FROM (
    SELECT DISTINCT ON (event_id) * FROM refund_retries WHERE event_id = ANY($1::uuid[])
    ORDER BY event_id, asked_at DESC, id
) AS r LEFT JOIN LATERAL (
    SELECT id, payment, refund_retry_id IS NOT DISTINCT FROM r.id AS tried FROM bookings
    WHERE event_id = r.event_id
    AND (refund_retry_id = r.id OR (r.settle_after IS NOT NULL AND {CAN_BE_RETRIED}))
) AS b ON true
GROUP BY r.id, r.event_id, r.asked_at, r.by
"""
# The bookings that are still to be handled for the row $1 of `events` (cancelled), `refund_retries` or `erasures`.
# Each of the two parts of an erasure is found by its own index.
WANTED = {
    "events": """event_id = $1
AND (status = 'confirmed' OR (status = 'pending' AND coalesce(closing, 'hold_expired') = 'hold_expired'))""",
    "refund_retries": f"""event_id = (SELECT event_id FROM refund_retries WHERE id = $1)
AND {CAN_BE_RETRIED} AND refund_retry_id IS DISTINCT FROM $1""",
    "erasures": """id = ANY(ARRAY(
    SELECT id FROM bookings
    WHERE owner = (SELECT subject FROM erasures WHERE id = $1) AND customer IS NOT NULL
    UNION ALL SELECT id FROM bookings
    WHERE lower(customer ->> 'email') = (SELECT lower(email) FROM erasures WHERE id = $1)
))""",
}
LEFT = {
    table: f"""
SELECT created_at, id FROM bookings
WHERE {wanted} AND (created_at, id) > (coalesce($3, '-infinity'::timestamptz), $4::uuid)
ORDER BY created_at, id LIMIT $2
"""
    for table, wanted in WANTED.items()
}
COUNT_TO_RETRY = f"SELECT count(*) FROM bookings WHERE event_id = $1 AND {CAN_BE_RETRIED}"
OPEN_RETRY = "SELECT id FROM refund_retries WHERE id = $1 OR (event_id = $2 AND settle_after IS NOT NULL)"
INSERT_RETRY = "INSERT INTO refund_retries (id, event_id, asked_at, settle_after, by) VALUES ($1, $2, $3, $3, $4)"

# How far a cancellation has come, and the sum of its bookings' versions, which orders such snapshots.
EventCancellation = tuple[Progress, int]


class CancellationRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def progress(self, event_ids: Iterable[UUID]) -> dict[UUID, EventCancellation]:
        """By event; all of these events must be cancelled."""
        wanted = list(event_ids)
        rows = await self._connection.fetch(PROGRESS, wanted) if wanted else ()
        return {row["event_id"]: (_progress(row), int(row["changes"])) for row in rows}

    async def left(self, table: str, id: UUID, limit: int, after: Position | None) -> list[Position]:
        """The first `limit` bookings after a position, oldest first, that are still to be cancelled (by a row of
        `events`), whose failed refund is still to be retried (by a row of `refund_retries`), or whose customer is
        still to be erased (by a row of `erasures`)."""
        rows = await self._connection.fetch(LEFT[table], id, limit, *(after or (None, UUID(int=0))))
        return [(row["created_at"], row["id"]) for row in rows]

    # --- failed refunds of an event, tried again

    async def retries(self, event_ids: Iterable[UUID]) -> dict[UUID, RefundRetry]:
        """By event: how the last retry of its failed refunds stands, if there was one."""
        wanted = list(event_ids)
        rows = await self._connection.fetch(RETRIES, wanted) if wanted else ()
        return {row["event_id"]: _retry(row) for row in rows}

    async def retry(self, event_id: UUID, retry_id: UUID) -> RefundRetry | None:
        """How the event's last retry stands, if this one exists already or another one is under way; else None."""
        known = await self._connection.fetchval(OPEN_RETRY, retry_id, event_id)
        return None if known is None else (await self.retries([event_id]))[event_id]

    async def add_retry(self, retry_id: UUID, event_id: UUID, now: datetime, by: str | None) -> int:
        """Start a retry, which `by` wants, of all failed refunds of the event that can be retried. Returns how many
        there are, and adds nothing if there are none. The event must be locked."""
        count: int = await self._connection.fetchval(COUNT_TO_RETRY, event_id)
        if count:
            await self._connection.execute(INSERT_RETRY, retry_id, event_id, now, by)
        return count


def _progress(row: Any) -> Progress:
    refunds = Refunds(**{name: row[name] for name in Refunds.model_fields})
    return Progress(
        bookings=row["remaining"] + row["cancelled"],
        cancelled=row["cancelled"],
        refunds=refunds,
        finished=not (row["remaining"] or refunds.owed or refunds.under_way or refunds.waiting),
    )


def _retry(row: Any) -> RefundRetry:
    unfinished = row["remaining"] + row["under_way"]
    succeeded = row["refunds"] - unfinished - row["failed"]
    return RefundRetry(**row, succeeded=succeeded, finished=not unfinished)
