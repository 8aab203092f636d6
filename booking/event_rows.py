"""The SQL of events and their ticket types."""

# Statements are put together from the column names below and never from data.

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from booking.booking_rows import Position, expect
from booking.events import what_changed
from booking.state import Content, Event, TicketType
from common.contracts.history import EventChange, FieldChange
from common.contracts.statuses import ChangeKind, EventStatus, PaymentMethods
from common.postgres.sql import as_json, assignments, columns, count_of, recordset

TICKET_TYPE_COLUMNS = columns(TicketType, "held", "sold", "terms_token") | {"event_id": "uuid", "position": "int"}
TICKET_TYPE_TERMS = ("name", "unit_amount", "capacity", "hidden", "version_when_hidden", "version")
LOCK_TICKET_TYPES = "SELECT id FROM ticket_types WHERE event_id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
LOCK_EVENTS = "SELECT id FROM events WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
EVENT_COLUMNS = tuple(columns(Event, "ticket_types"))
EVENTS = f"""
SELECT {", ".join(f"e.{column}" for column in EVENT_COLUMNS)},
    {", ".join(f"t.{name}" for name in TicketType._fields)}
FROM events e LEFT JOIN ticket_types t ON t.event_id = e.id
"""
EVENTS_BY_ID = f"{EVENTS} WHERE e.id = ANY($1::uuid[]) ORDER BY e.id, t.position"
EVENT_PAGE = f"""
{EVENTS} WHERE e.id IN (
    SELECT id FROM events WHERE (starts_at, id) > ($1, $2::uuid) AND ($4::varchar IS NULL OR status = $4)
    ORDER BY starts_at, id LIMIT $3
) ORDER BY e.starts_at, e.id, t.position
"""
# The columns of an event that can change, and all that a new one has.
CHANGED = tuple(column for column in EVENT_COLUMNS if column not in ("id", "currency"))
NEW = (*EVENT_COLUMNS, "content_hash", "created_at")
# What each change of an event leaves behind, in the same statement.
CHANGE_COLUMNS = {"at": "timestamptz", "by": "varchar", "what": "varchar", "changes": "jsonb"}


def _recorded(changed: str, first: int) -> str:
    """Part of a statement: it records the change of the event in `changed`, by the parameters from `first` on."""
    values = ", ".join(f"${number}::{kind}" for number, kind in enumerate(CHANGE_COLUMNS.values(), first))
    return f"""recorded AS (
    INSERT INTO event_changes (event_id, version, {", ".join(CHANGE_COLUMNS)}) SELECT id, version, {values}
    FROM {changed}
)"""


INSERT_EVENT = f"""
WITH made AS (
    INSERT INTO events ({", ".join(NEW)}) VALUES ({", ".join(f"${number}" for number, _ in enumerate(NEW, 1))})
    ON CONFLICT (id) DO NOTHING RETURNING id, version
), {_recorded("made", len(NEW) + 1)} SELECT id FROM made
"""
SET_CHANGED = ", ".join(f"{column} = ${number}" for number, column in enumerate(CHANGED, 4))
SAVE_EVENT = f"""
WITH saved AS (
    UPDATE events SET settle_after = coalesce($3, settle_after), {SET_CHANGED} WHERE id = $1 AND version = $2
    RETURNING id, version
), {_recorded("saved", len(CHANGED) + 4)} SELECT count(*) FROM saved
"""
# A change of its content alone, or of its promo codes. No column of the terms is named, so that the trigger which
# renews the terms tokens does not fire.
SAVE_VERSION = f"""
WITH saved AS (
    UPDATE events SET version = $3, content_version = $4 WHERE id = $1 AND version = $2 RETURNING id, version
), {_recorded("saved", 5)} SELECT count(*) FROM saved
"""
HAS_BOOKINGS = "SELECT EXISTS (SELECT FROM bookings WHERE event_id = $1)"
HISTORY = """
SELECT version, what, changes, by, at FROM event_changes
WHERE event_id = $1 AND version > $2 ORDER BY version LIMIT $3
"""
# Who has cancelled the event in a row `t` of `events`: that was its last change.
CANCELLED_BY = "(SELECT by FROM event_changes c WHERE c.event_id = t.id AND c.version = t.version)"
# Overwrites no ticket type that exists, of this event or of another.
ADD_TICKET_TYPES = f"""
INSERT INTO ticket_types ({", ".join(TICKET_TYPE_COLUMNS)}) SELECT * FROM {recordset("new", TICKET_TYPE_COLUMNS)}
ON CONFLICT (id) DO NOTHING RETURNING id
"""
CHANGE_TICKET_TYPES = f"""
UPDATE ticket_types t SET {assignments(TICKET_TYPE_TERMS, "new")}
FROM {recordset("new", TICKET_TYPE_COLUMNS, sought="id")} WHERE t.id = new.id AND t.event_id = new.event_id
"""


def events_of(rows: Iterable[Any]) -> dict[UUID, Event]:
    """Events from the rows of EVENTS: one row for each ticket type, and one for an event without any."""
    found: dict[UUID, Event] = {}
    for id, of_event in groupby(map(tuple, rows), itemgetter(0)):
        row, *more = of_event
        values = dict(zip(EVENT_COLUMNS, row, strict=False))
        values["payment_methods"] = PaymentMethods(values["payment_methods"])
        values["status"] = EventStatus(values["status"])
        ticket_types = (TicketType(*each[len(EVENT_COLUMNS) :]) for each in (row, *more))
        found[id] = Event(ticket_types={each.id: each for each in ticket_types if each.id is not None}, **values)
    return found


def _ticket_types(event: Event, ticket_types: Iterable[TicketType]) -> str:
    """These ticket types of `event` as JSON, by TICKET_TYPE_COLUMNS."""
    positions = {id: position for position, id in enumerate(event.ticket_types)}
    return as_json(
        [{**each._asdict(), "event_id": event.id, "position": positions[each.id]} for each in ticket_types]
    )


def _change(
    old: Event | None, new: Event, now: datetime, by: str | None, contents: tuple[Content, Content] | None = None
) -> tuple[Any, ...]:
    """The values of CHANGE_COLUMNS."""
    what, changes = what_changed(old, new, contents)
    return now, by, what, as_json(changes)


class TicketTypeIdTaken(Exception):
    """A ticket type cannot be added, because another event has one with its `id`."""

    def __init__(self, id: UUID) -> None:
        super().__init__(str(id))
        self.id = id


class EventRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def lock_sales(self, ids: Sequence[UUID]) -> dict[UUID, Event]:
        """These events, with the rows of their ticket types locked. A transaction that changes an event locks these
        rows, too, so what is read after the lock holds until the transaction ends."""
        await self._connection.execute(LOCK_TICKET_TYPES, ids)
        return events_of(await self._connection.fetch(EVENTS_BY_ID, ids))

    async def lock(self, id: UUID, *, sales: bool = True) -> Event | None:
        """The event, locked: no other transaction changes or sells it until this one ends. Without `sales` others
        go on selling it."""
        await self._connection.execute(LOCK_EVENTS, [id])
        return (await (self.lock_sales if sales else self.find)([id])).get(id)

    async def has_bookings(self, id: UUID) -> bool:
        return bool(await self._connection.fetchval(HAS_BOOKINGS, id))

    async def find(self, ids: Iterable[UUID]) -> dict[UUID, Event]:
        return events_of(await self._connection.fetch(EVENTS_BY_ID, list(ids)))

    async def page(self, after: Position, limit: int, status: EventStatus | None = None) -> list[Event]:
        """The events after this position (start and id), in that order; those of one status, or all."""
        return list(events_of(await self._connection.fetch(EVENT_PAGE, *after, limit, status)).values())

    async def history(self, id: UUID, after: int, limit: int) -> list[EventChange]:
        """The event's changes behind version `after`, oldest first."""
        rows = [dict(row) for row in await self._connection.fetch(HISTORY, id, after, limit)]
        return [EventChange(**row | {"changes": row["changes"] and orjson.loads(row["changes"])}) for row in rows]

    async def create(
        self, event: Event, content: Content, content_hash: str, now: datetime, by: str | None
    ) -> bool:
        """Add `event`, which `by` wants and which will show `content`; False if there is one with its id, which the
        transaction that added it has committed. Raises TicketTypeIdTaken."""
        values = (getattr(event, column) for column in EVENT_COLUMNS)
        change = _change(None, event, now, by, (Content(), content))
        new = await self._connection.fetchval(INSERT_EVENT, *values, content_hash, now, *change)
        if new is not None:
            await self._add_ticket_types(event, event.ticket_types.values())
        return new is not None

    async def created_with(self, event_id: UUID, content_hash: str) -> bool:
        """Whether the event in the database was created with this content."""
        known = await self._connection.fetchval("SELECT content_hash FROM events WHERE id = $1", event_id)
        return bool(known == content_hash)

    async def save(
        self,
        old: Event,
        new: Event,
        now: datetime,
        by: str | None,
        retry_at: datetime | None = None,
        contents: tuple[Content, Content] | None = None,
    ) -> None:
        """Write a locked event, which `by` wants so, and those of its ticket types that have changed. `contents`:
        what it showed and will show, where that changes; ContentRows writes it. Raises TicketTypeIdTaken."""
        change = _change(old, new, now, by, contents)
        if contents is not None and new == old._replace(version=new.version, content_version=new.content_version):
            await self._save_version(old, new, change)
            return
        changed_values = (getattr(new, column) for column in CHANGED)
        saved = await self._connection.fetchval(SAVE_EVENT, old.id, old.version, retry_at, *changed_values, *change)
        expect(saved, 1)
        changed = [each for id, each in new.ticket_types.items() if old.ticket_types.get(id) not in (None, each)]
        if changed:
            answer = await self._connection.execute(CHANGE_TICKET_TYPES, _ticket_types(new, changed))
            expect(count_of(answer), len(changed))
        await self._add_ticket_types(
            new, [each for id, each in new.ticket_types.items() if id not in old.ticket_types]
        )

    async def save_version(
        self, old: Event, new: Event, changes: Sequence[FieldChange], now: datetime, by: str | None
    ) -> None:
        """Write the new version of a locked event of which nothing else has changed, and what `by` wants so. Others
        go on selling it from memory."""
        await self._save_version(old, new, (now, by, ChangeKind.CHANGED, as_json(changes)))

    async def _save_version(self, old: Event, new: Event, change: tuple[Any, ...]) -> None:
        values = (new.version, new.content_version, *change)
        expect(await self._connection.fetchval(SAVE_VERSION, old.id, old.version, *values), 1)

    async def _add_ticket_types(self, event: Event, added: Collection[TicketType]) -> None:
        if added:
            rows = await self._connection.fetch(ADD_TICKET_TYPES, _ticket_types(event, added))
            new = {row["id"] for row in rows}
            for each in added:
                if each.id not in new:
                    raise TicketTypeIdTaken(each.id)
