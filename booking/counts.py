"""What is counted over many bookings: how far the calling off of an event has come, and a retry of its refunds."""

# Statements are put together from the condition below and never from data.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from common.contracts.resources import Progress, RefundRetry, Refunds
from common.postgres.database import Database

# What has become of each booking's money is one thing: the first that fits.
CALLING_OFF = """
SELECT event_id, sum(version) AS changes,
    count(*) FILTER (WHERE status IN ('pending', 'confirmed')) AS remaining,
    count(*) FILTER (WHERE ended) AS cancelled,
    count(*) FILTER (WHERE money = 'owed') AS owed,
    count(*) FILTER (WHERE money = 'under_way') AS under_way,
    count(*) FILTER (WHERE money = 'waiting') AS waiting,
    count(*) FILTER (WHERE money = 'succeeded') AS succeeded,
    count(*) FILTER (WHERE money = 'failed') AS failed,
    count(*) FILTER (WHERE money = 'disputed') AS disputed
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
) AS counted
GROUP BY event_id
"""
# Failed refunds that may be tried again: of what has ended all that is left, of a confirmed booking what failed.
CAN_BE_RETRIED = """payment = 'refund_failed' AND amount_captured > amount_refunded
AND (status IN ('cancelled', 'failed') OR refund_failed_amount > 0)"""
# Of each event the last time that its failed refunds were tried again. A booking that is not tried again yet is one
# that it still finds; what it has tried again is one thing.
RETRIES = f"""
SELECT r.id, r.event_id, r.asked_at, count(b.id) AS refunds,
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
GROUP BY r.id, r.event_id, r.asked_at
"""
NOTHING = Progress(
    bookings=0,
    cancelled=0,
    refunds=Refunds(owed=0, under_way=0, waiting=0, succeeded=0, failed=0, disputed=0),
    finished=True,
)


@dataclass(frozen=True, slots=True)
class CallingOff:
    """How far a calling off has come, after so many changes of the event's bookings."""

    progress: Progress = NOTHING
    changes: int = 0


class Counts:
    """Counts over the database `booking`: each statement goes through all rows that it is about."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def calling_off(self, event_ids: Iterable[UUID]) -> dict[UUID, CallingOff]:
        """Of events that are called off."""
        found = {id: CallingOff() for id in event_ids}
        if found:
            async with self._database.connection() as connection:
                for row in await connection.fetch(CALLING_OFF, list(found)):
                    found[row["event_id"]] = CallingOff(_progress(row), int(row["changes"]))
        return found

    async def refund_retries(self, event_ids: Iterable[UUID]) -> dict[UUID, RefundRetry]:
        """Of each of these events how the last retry of its failed refunds stands, where there was one."""
        async with self._database.connection() as connection:
            return await read_retries(connection, event_ids)


def _progress(row: Any) -> Progress:
    refunds = Refunds(**{name: row[name] for name in Refunds.model_fields})
    return Progress(
        bookings=row["remaining"] + row["cancelled"],
        cancelled=row["cancelled"],
        refunds=refunds,
        finished=not (row["remaining"] or refunds.owed or refunds.under_way or refunds.waiting),
    )


async def read_retries(connection: asyncpg.Connection, event_ids: Iterable[UUID]) -> dict[UUID, RefundRetry]:
    """As `Counts.refund_retries`, within somebody's transaction."""
    return {row["event_id"]: _retry(row) for row in await connection.fetch(RETRIES, list(event_ids))}


def _retry(row: Any) -> RefundRetry:
    values = dict(row)
    unfinished = values["remaining"] + values["under_way"]
    return RefundRetry(
        **values,
        succeeded=values["refunds"] - unfinished - values["failed"],
        finished=not unfinished,
    )
