"""Whether the figures are true: the database is compared with what sockets received, and seats with bookings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from ops.audit.databases import read_seats
from ops.audit.rules import judge_seats

CONFIRMED = "SELECT id FROM bookings WHERE status = 'confirmed' AND created_at >= $1"
COUNTS = "SELECT event_id, status, count(*) AS number FROM bookings WHERE event_id = ANY($1::uuid[]) GROUP BY 1, 2"
# With payment stopped nobody answers the bookings of a drain; their retries would be measured, too.
PUT_OFF = "UPDATE bookings SET settle_after = now() + interval '1 day' WHERE settle_after IS NOT NULL"

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

Expected = Mapping[UUID, Mapping[str, int]]


async def problems(
    database_url: str, sold: Iterable[str], expected: Expected, since: datetime = BEGINNING
) -> list[str]:
    """Everything that is wrong; empty if the figures can be believed.

    `sold` are the bookings of which a socket was notified that they are confirmed. `expected` is, by event, how
    many bookings of each status there must be. Bookings from before `since` are left out: no socket was notified of
    them.
    """
    connection = await asyncpg.connect(database_url)
    try:
        seats = [judge_seats(row) async for row in read_seats(connection, since=None)]
        confirmed = {str(row["id"]) for row in await connection.fetch(CONFIRMED, since)}
        counts = await connection.fetch(COUNTS, list(expected))
    finally:
        await connection.close()
    seat_problems = [f"ticket type {finding.id}: {finding.text}" for findings in seats for finding in findings]
    return [*seat_problems, *_sales(list(sold), confirmed), *_counts(counts, expected)]


async def put_off(database_url: str) -> None:
    """Delay the retries of all that is in the database now until the benchmark is over."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(PUT_OFF)
    finally:
        await connection.close()


def _sales(sold: list[str], confirmed: set[str]) -> list[str]:
    found = [f"booking {id} was reported {times} times" for id, times in Counter(sold).items() if times > 1]
    if lost := set(sold) - confirmed:
        found.append(f"{len(lost)} bookings were reported confirmed and are not")
    if silent := confirmed - set(sold):
        found.append(f"{len(silent)} bookings are confirmed and were reported on no socket")
    return found


def _counts(rows: Iterable[asyncpg.Record], expected: Expected) -> list[str]:
    counted: dict[UUID, dict[str, int]] = {}
    for row in rows:
        counted.setdefault(UUID(str(row["event_id"])), {})[row["status"]] = row["number"]
    return [
        f"event {id}: {counted.get(id, {})} bookings, expected {dict(wanted)}"
        for id, wanted in expected.items()
        if counted.get(id, {}) != dict(wanted)
    ]
