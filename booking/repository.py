"""The database of the booking actor, and what this process remembers of it. SQL that reads and writes rows is in
`booking_rows.py`, `event_rows.py` and `request_rows.py`, what counts over many bookings in `counts.py`.

Whoever locks takes events before bookings before ticket types, and each of them in the order of their ids, so
that no two wait for each other in a ring.
"""

# Statements are put together from names of ours and never from data.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from booking.booking_rows import BOOKING, HISTORY, BookingRows, Place, booking_of
from booking.counts import Counts
from booking.event_rows import EVENT_PAGE, EventRows, events_of
from booking.request_rows import RequestRows
from booking.state import Booking, Event, SeatMove
from common.contracts import resources
from common.contracts.statuses import BookingStatus, PaymentStatus
from common.postgres.database import Database
from common.postgres.memory import Memory, dropped_in_doubt
from common.runtime.telemetry import Metrics

# Each is the first entry of a partial index: nothing is scanned when nothing is due.
NEXT_DUE = """
SELECT least(
    (SELECT min(settle_after) FROM bookings WHERE settle_after IS NOT NULL),
    (SELECT min(settle_after) FROM events WHERE settle_after IS NOT NULL),
    (SELECT min(settle_after) FROM refund_retries WHERE settle_after IS NOT NULL)
)
"""
TAKE_DUE_EVENTS = """
WITH due AS (SELECT id FROM events WHERE settle_after <= $1 ORDER BY settle_after LIMIT $3 FOR UPDATE SKIP LOCKED)
UPDATE events e SET settle_after = $2 FROM due WHERE e.id = due.id RETURNING e.id
"""
TAKE_DUE_RETRIES = """
WITH due AS (
    SELECT id FROM refund_retries WHERE settle_after <= $1 ORDER BY settle_after LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE refund_retries r SET settle_after = $2 FROM due WHERE r.id = due.id RETURNING r.id, r.event_id
"""


@dataclass(frozen=True, slots=True)
class BookingFilter:
    """None means any. `before`: the place of the last one of the page before."""

    owner: str | None = None
    status: BookingStatus | None = None
    event_id: UUID | None = None
    before: Place | None = None
    payment: PaymentStatus | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None

    def conditions(self) -> tuple[str, list[Any]]:
        """As SQL, with its parameters."""
        values: list[Any] = []
        conditions = []
        for condition, value in (
            ("owner = {}", self.owner),
            ("status = {}", self.status),
            ("event_id = {}", self.event_id),
            ("payment = {}", self.payment),
            ("created_at >= {}", self.created_from),
            ("created_at < {}", self.created_before),
        ):
            if value is not None:
                values.append(value)
                conditions.append(condition.format(f"${len(values)}"))
        if self.before is not None:
            values += self.before
            conditions.append(f"(created_at, id) < (${len(values) - 1}, ${len(values)})")
        return f"WHERE {' AND '.join(conditions)}" if conditions else "", values


class Transaction:
    """The rows as one transaction, or one statement after another in autocommit, sees and writes them."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.bookings = BookingRows(connection)
        self.events = EventRows(connection)
        self.requests = RequestRows(connection)


class Store:
    """The database `booking`, and the rows that this process remembers of it. Raises DatabaseAway while it cannot
    serve."""

    def __init__(self, database: Database, memory_max: int, metrics: Metrics) -> None:
        self._database = database
        self.counts = Counts(database)
        # Those that still wait for something.
        self.bookings = Memory[UUID, Booking]("booking", memory_max, metrics)
        # With the seats that were free when this process wrote or read them last.
        self.events = Memory[UUID, Event]("event", memory_max, metrics)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One transaction, committed at the end of the block. No network call belongs inside."""
        with dropped_in_doubt(self.bookings, self.events):
            async with self._database.transaction() as connection:
                yield Transaction(connection)

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[Transaction]:
        """For one statement that writes, in autocommit: it is committed when it returns."""
        with dropped_in_doubt(self.bookings, self.events):
            async with self._database.statement() as connection:
                yield Transaction(connection)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        """For questions: each statement sees what is committed when it runs."""
        with dropped_in_doubt(self.bookings, self.events):
            async with self._database.connection() as connection:
                yield Transaction(connection)

    async def list_bookings(self, wanted: BookingFilter, limit: int) -> list[Booking]:
        """Newest first."""
        where, values = wanted.conditions()
        query = f"SELECT {BOOKING} FROM bookings {where} ORDER BY created_at DESC, id DESC LIMIT {limit:d}"
        async with self._database.connection() as connection:
            return [booking_of(row) for row in await connection.fetch(query, *values)]

    async def list_events(self, after: Place, limit: int) -> list[Event]:
        """Those behind a start and id, in that order."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(EVENT_PAGE, *after, limit)
        return list(events_of(rows).values())

    async def history(self, booking_id: UUID) -> list[resources.Transition]:
        """The booking's changes, oldest first."""
        async with self._database.connection() as connection:
            return [resources.Transition(**row) for row in await connection.fetch(HISTORY, booking_id)]

    async def forget_requests(self, before: datetime, limit: int) -> int:
        """Delete operators' requests that were answered before this, at most `limit`; says how many."""
        async with self._database.connection() as connection:
            return await RequestRows(connection).forget(before, limit)

    async def next_due(self) -> datetime | None:
        """When something is due next; None when everything is settled."""
        async with self._database.connection() as connection:
            due: datetime | None = await connection.fetchval(NEXT_DUE)
            return due

    async def take_due_retries(self, now: datetime, again: timedelta, limit: int) -> list[tuple[UUID, UUID]]:
        """Retries of failed refunds that go on now, (id, event's id); to others they are due after `again`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(TAKE_DUE_RETRIES, now, now + again, limit)
        return [(row["id"], row["event_id"]) for row in rows]

    async def take_due_events(self, now: datetime, again: timedelta, limit: int) -> list[UUID]:
        """Events whose calling off goes on now; to whoever comes later they are due after `again`."""
        async with self._database.connection() as connection:
            return [row["id"] for row in await connection.fetch(TAKE_DUE_EVENTS, now, now + again, limit)]

    def count(self, moves: Iterable[SeatMove], events: Mapping[UUID, UUID]) -> None:
        """Remembered events have counted these moves of their seats; `events` are those of the bookings."""
        sums: dict[UUID, dict[UUID, tuple[int, int]]] = {}
        for booking_id, type_id, held, sold in moves:
            of_event = sums.setdefault(events[booking_id], {})
            before = of_event.get(type_id, (0, 0))
            of_event[type_id] = (before[0] + held, before[1] + sold)
        for id, event in self.events.find(sums).items():
            types = dict(event.ticket_types)
            for type_id, (held, sold) in sums[id].items():
                if old := types.get(type_id):
                    types[type_id] = old._replace(held=old.held + held, sold=old.sold + sold)
            self.events.keep({id: event._replace(ticket_types=types)})
