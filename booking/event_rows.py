"""The SQL of events and their ticket types, and of retries of an event's failed refunds."""

# Statements are put together from the column names below and never from data.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from booking.booking_rows import Place, expect
from booking.state import Event, TicketType
from common.contracts.statuses import PaymentMethods
from common.postgres.sql import assignments, unnest

TICKET_TYPE_COLUMNS = {
    "id": "uuid",
    "event_id": "uuid",
    "position": "int",
    "name": "varchar",
    "unit_amount": "bigint",
    "capacity": "int",
    "version": "int",
}
TICKET_TYPE_TERMS = ("name", "unit_amount", "capacity", "version")
LOCK_TICKET_TYPES = "SELECT id FROM ticket_types WHERE event_id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
LOCK_EVENTS = "SELECT id FROM events WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
EVENT_COLUMNS = (
    "id", "name", "starts_at", "currency", "on_sale", "max_per_booking", "cancel_until", "called_off_at", "version",
    "time_zone", "sales_start", "sales_end", "sell_after_start", "cancel_after_start", "payment_methods",
    "slow_payments_until",
)  # fmt: skip
EVENTS = f"""
SELECT {", ".join(f"e.{column}" for column in EVENT_COLUMNS)}, t.id AS ticket_type_id, t.name AS ticket_type,
    t.unit_amount, t.capacity, t.held, t.sold, t.version AS ticket_type_version, t.terms_token
FROM events e LEFT JOIN ticket_types t ON t.event_id = e.id
"""
EVENTS_BY_ID = f"{EVENTS} WHERE e.id = ANY($1::uuid[]) ORDER BY e.id, t.position"
EVENT_PAGE = f"""
{EVENTS} WHERE e.id IN (
    SELECT id FROM events WHERE (starts_at, id) > ($1, $2::uuid)
    ORDER BY starts_at, id LIMIT $3
) ORDER BY e.starts_at, e.id, t.position
"""
INSERT_EVENT = """
INSERT INTO events (id, name, starts_at, currency, on_sale, max_per_booking, cancel_until, time_zone, sales_start,
    sales_end, sell_after_start, cancel_after_start, payment_methods, slow_payments_until, content_hash, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (id) DO NOTHING RETURNING id
"""
SAVE_EVENT = """
UPDATE events SET name = $3, starts_at = $4, on_sale = $5, max_per_booking = $6, cancel_until = $7,
    called_off_at = $8, settle_after = $9, version = $10, time_zone = $11, sales_start = $12, sales_end = $13,
    sell_after_start = $14, cancel_after_start = $15, payment_methods = $16, slow_payments_until = $17
WHERE id = $1 AND version = $2
"""
# Never over one that is there, at whatever event.
ADD_TICKET_TYPES = f"""
INSERT INTO ticket_types ({", ".join(TICKET_TYPE_COLUMNS)}) SELECT * FROM unnest({unnest(TICKET_TYPE_COLUMNS)})
ON CONFLICT (id) DO NOTHING RETURNING id
"""
CHANGE_TICKET_TYPES = f"""
UPDATE ticket_types t SET {assignments(TICKET_TYPE_TERMS, "new")}
FROM unnest({unnest(TICKET_TYPE_COLUMNS)}) AS new ({", ".join(TICKET_TYPE_COLUMNS)})
WHERE t.id = new.id AND t.event_id = new.event_id
"""


def events_of(rows: Iterable[Any]) -> dict[UUID, Event]:
    found: dict[UUID, tuple[Any, dict[UUID, TicketType]]] = {}
    for row in rows:
        _, ticket_types = found.setdefault(row["id"], (row, {}))
        if row["ticket_type_id"] is not None:
            ticket_types[row["ticket_type_id"]] = TicketType(
                id=row["ticket_type_id"],
                name=row["ticket_type"],
                unit_amount=row["unit_amount"],
                capacity=row["capacity"],
                held=row["held"],
                sold=row["sold"],
                version=row["ticket_type_version"],
                terms_token=row["terms_token"],
            )
    return {id: _event(row, ticket_types) for id, (row, ticket_types) in found.items()}


def _event(row: Any, ticket_types: dict[UUID, TicketType]) -> Event:
    values = {column: row[column] for column in EVENT_COLUMNS}
    values["payment_methods"] = PaymentMethods(values["payment_methods"])
    return Event(ticket_types=ticket_types, **values)


def _terms_of_sale(event: Event) -> tuple[Any, ...]:
    dates = (event.time_zone, event.sales_start, event.sales_end, event.sell_after_start, event.cancel_after_start)
    return *dates, event.payment_methods, event.slow_payments_until


def _ticket_types(event: Event, ticket_types: Iterable[TicketType]) -> list[list[Any]]:
    """TICKET_TYPE_COLUMNS of these ticket types of `event`."""
    places = {id: place for place, id in enumerate(event.ticket_types)}
    rows = [
        (each.id, event.id, places[each.id], each.name, each.unit_amount, each.capacity, each.version)
        for each in ticket_types
    ]
    return [list(column) for column in zip(*rows, strict=True)]


class TicketTypeIdTaken(Exception):
    """A ticket type that was to be added has the `id` of one that is there, at another event."""

    def __init__(self, id: UUID) -> None:
        super().__init__(str(id))
        self.id = id


class EventRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def lock_sales(self, ids: Sequence[UUID]) -> dict[UUID, Event]:
        """These events, with their seats in nobody else's hands. Whoever changes an event locks these, too, so
        what is read after the lock holds until the transaction ends."""
        await self._connection.execute(LOCK_TICKET_TYPES, ids)
        return events_of(await self._connection.fetch(EVENTS_BY_ID, ids))

    async def lock(self, id: UUID) -> Event | None:
        """The event, to be changed; nobody else changes or sells it until the transaction ends."""
        await self._connection.execute(LOCK_EVENTS, [id])
        return (await self.lock_sales([id])).get(id)

    async def find(self, ids: Iterable[UUID]) -> dict[UUID, Event]:
        return events_of(await self._connection.fetch(EVENTS_BY_ID, list(ids)))

    async def page(self, after: Place, limit: int) -> list[Event]:
        """Those behind a start and id, in that order."""
        return list(events_of(await self._connection.fetch(EVENT_PAGE, *after, limit)).values())

    async def create(self, event: Event, content_hash: str, now: datetime) -> bool:
        """Add `event`; False when there is one of its id: whoever was adding it has committed then. Raises
        TicketTypeIdTaken."""
        row: tuple[Any, ...] = (event.id, event.name, event.starts_at, event.currency, event.on_sale)
        row += (event.max_per_booking,)
        row += (event.cancel_until, *_terms_of_sale(event), content_hash, now)
        new = await self._connection.fetchval(INSERT_EVENT, *row)
        if new is not None:
            await self._add_ticket_types(event, event.ticket_types.values())
        return new is not None

    async def created_with(self, event_id: UUID, content_hash: str) -> bool:
        """Whether the event that is there was created with this content."""
        known = await self._connection.fetchval("SELECT content_hash FROM events WHERE id = $1", event_id)
        return bool(known == content_hash)

    async def save(self, old: Event, new: Event, settle_after: datetime | None = None) -> None:
        """Write a locked event and those of its ticket types that are not as before. Raises TicketTypeIdTaken."""
        values = (new.name, new.starts_at, new.on_sale, new.max_per_booking, new.cancel_until, new.called_off_at)
        answer = await self._connection.execute(
            SAVE_EVENT, old.id, old.version, *values, settle_after, new.version, *_terms_of_sale(new)
        )
        expect(int(answer.removeprefix("UPDATE ")), 1)
        changed = [each for id, each in new.ticket_types.items() if old.ticket_types.get(id) not in (None, each)]
        if changed:
            answer = await self._connection.execute(CHANGE_TICKET_TYPES, *_ticket_types(new, changed))
            expect(int(answer.removeprefix("UPDATE ")), len(changed))
        await self._add_ticket_types(
            new, [each for id, each in new.ticket_types.items() if id not in old.ticket_types]
        )

    async def _add_ticket_types(self, event: Event, added: Collection[TicketType]) -> None:
        if added:
            rows = await self._connection.fetch(ADD_TICKET_TYPES, *_ticket_types(event, added))
            new = {row["id"] for row in rows}
            for each in added:
                if each.id not in new:
                    raise TicketTypeIdTaken(each.id)
