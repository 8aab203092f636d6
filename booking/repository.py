"""The database of the booking actor, and what this process remembers of it. SQL that reads and writes rows is in
`*_rows.py` and `operator_requests.py`, that of the queue in `queue.py`.

A transaction locks events before bookings before ticket types before promo codes before buyers, and each of them in
the order of their keys, so that no two transactions wait for each other.
"""

# Statements are put together from names of ours and never from data.

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import asyncpg

from booking.attention_rows import WATCHED
from booking.booking_rows import BookingRows
from booking.buyer_rows import BuyerRows
from booking.buyers import NO_LIMITS, BuyerPolicy
from booking.cancellation_rows import CancellationRows
from booking.content_rows import ContentRows
from booking.door_rows import DoorRows
from booking.erasure_rows import ErasureRows
from booking.event_rows import CANCELLED_BY, EventRows
from booking.mail_rows import MailRows
from booking.operator_requests import OperatorRequests
from booking.promo_code_rows import PromoCodeRows
from booking.recovery_rows import RecoveryRows
from booking.revocation_rows import RevocationRows
from booking.state import Booking, Event, SeatMove
from booking.waiting_rows import WAITED_FOR, WaitingRows
from booking.webhook_rows import WebhookRows
from common.postgres.attention import AttentionRows
from common.postgres.database import Database
from common.postgres.memory import BaseStore, Memory
from common.runtime.telemetry import Metrics

V = TypeVar("V")

# Each is the first entry of a partial index: nothing is scanned when nothing is due.
NEXT_DUE = f"""
SELECT least(
    (SELECT min(settle_after) FROM bookings WHERE settle_after IS NOT NULL),
    (SELECT min(settle_after) FROM events WHERE settle_after IS NOT NULL),
    (SELECT min(settle_after) FROM refund_retries WHERE settle_after IS NOT NULL),
    (SELECT min(settle_after) FROM erasures WHERE settle_after IS NOT NULL),
    (SELECT min(notify_after) FROM waiting_entries WHERE notify_after IS NOT NULL),
    CASE WHEN (SELECT event_id FROM ticket_types WHERE waiting > 0 ORDER BY event_id LIMIT 1) IS NOT NULL
        THEN (SELECT min(joined_at) FROM ({WAITED_FOR}) waited_for WHERE due) END
)
"""
# What is done to many bookings, some at a time, has a row with a retry time until it is finished: by table, who
# asked for it.
DONE_TO_MANY = {"events": CANCELLED_BY, "refund_retries": "t.by", "erasures": "t.by"}
TAKE_DUE = {
    table: f"""
WITH due AS (SELECT id FROM {table} WHERE settle_after <= $1 ORDER BY settle_after LIMIT $3 FOR UPDATE SKIP LOCKED)
UPDATE {table} t SET settle_after = $2 FROM due WHERE t.id = due.id RETURNING t.id, {by} AS by
"""
    for table, by in DONE_TO_MANY.items()
}
# A row that another process has finished meanwhile stays finished: its event may have another retry by now.
SET_RETRY_TIME = {
    table: f"UPDATE {table} SET settle_after = $2 WHERE id = $1 AND settle_after IS NOT NULL" for table in TAKE_DUE
}
# A finished erasure leaves nothing: its row says whom it was about.
DELETE_ERASURE = "DELETE FROM erasures WHERE id = $1"


class Transaction:
    """The rows modules over one connection: in one transaction, or in autocommit, each statement by itself."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.bookings = BookingRows(connection)
        self.events = EventRows(connection)
        self.contents = ContentRows(connection)
        self.buyers = BuyerRows(connection)
        self.codes = PromoCodeRows(connection)
        self.requests = OperatorRequests(connection)
        self.revocations = RevocationRows(connection)
        self.cancellations = CancellationRows(connection)
        self.recovery = RecoveryRows(connection)
        self.door = DoorRows(connection)
        self.erasures = ErasureRows(connection)
        self.waiting = WaitingRows(connection)
        self.webhooks = WebhookRows(connection)
        self.mails = MailRows(connection)
        self.attention = AttentionRows(connection, WATCHED)


class Store(BaseStore[Transaction]):
    """The database `booking`."""

    def __init__(
        self, database: Database, memory_max: int, metrics: Metrics, buyers: BuyerPolicy = NO_LIMITS
    ) -> None:
        self.metrics = metrics
        # By which new bookings are counted and bounded.
        self.buyers = buyers
        # Bookings that still wait for something.
        self.bookings = Memory[UUID, Booking]("booking", memory_max, metrics)
        # Events, with their seats as this process wrote or read them last.
        self.events = Memory[UUID, Event]("event", memory_max, metrics)
        super().__init__(database, Transaction, self.bookings, self.events)

    async def find(
        self,
        memory: Memory[UUID, V],
        ids: Collection[UUID],
        read: Callable[[Transaction, list[UUID]], Awaitable[dict[UUID, V]]],
    ) -> dict[UUID, V]:
        """These rows from `memory` and, by one `read`, those that it does not have. None if memory is off."""
        if not memory.entries_max:
            return {}
        found = memory.find(ids)
        if missing := [id for id in ids if id not in found]:
            async with self.reading() as rows:
                found |= await read(rows, missing)
        return found

    async def next_due(self, now: datetime) -> datetime | None:
        """The earliest retry time of all rows, or since when somebody has waited whose offer can be made; None
        when everything is finished."""
        async with self._database.connection() as connection:
            due: datetime | None = await connection.fetchval(NEXT_DUE, now)
            return due

    async def take_due(
        self, table: str, now: datetime, again: timedelta, limit: int
    ) -> list[tuple[UUID, str | None]]:
        """The cancelled `events`, the `refund_retries` or the `erasures` whose retry time has come: their ids, and
        who asked for it. For other processes they are due only after `again`."""
        async with self._database.connection() as connection:
            return [tuple(row) for row in await connection.fetch(TAKE_DUE[table], now, now + again, limit)]

    async def set_retry_time(self, table: str, id: UUID, retry_at: datetime | None) -> None:
        """Set the retry time of such a row; None: it is finished."""
        async with self._database.connection() as connection:
            if table == "erasures" and retry_at is None:
                await connection.execute(DELETE_ERASURE, id)
            else:
                await connection.execute(SET_RETRY_TIME[table], id, retry_at)

    def count(self, moves: Iterable[tuple[UUID, SeatMove]]) -> set[UUID]:
        """Apply these moves of seats, each with its event, to the remembered events; returns the events whose
        number of free seats has changed."""
        sums: dict[UUID, dict[UUID, tuple[int, int]]] = {}
        moved = set()
        for event_id, (_, type_id, held, sold) in moves:
            of_event = sums.setdefault(event_id, {})
            before = of_event.get(type_id, (0, 0))
            of_event[type_id] = (before[0] + held, before[1] + sold)
            if held + sold:
                moved.add(event_id)
        for id, event in self.events.find(sums).items():
            types = dict(event.ticket_types)
            for type_id, (held, sold) in sums[id].items():
                if old := types.get(type_id):
                    types[type_id] = old._replace(held=old.held + held, sold=old.sold + sold)
            if any(
                held + sold < 0 and types[each].waiting for each, (held, sold) in sums[id].items() if each in types
            ):
                self.events.drop([id])  # what these have given back is reserved, as far as somebody wants it
            else:
                self.events.keep({id: event._replace(ticket_types=types)})
        return moved
