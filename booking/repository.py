"""The SQL of the booking actor: set-based, one statement for a whole batch. Rows don't leave it. What counts over
many bookings is in `counts.py`.

Whoever locks takes events before bookings before ticket types, and each of them in the order of their ids, so
that no two wait for each other in a ring.
"""

# Statements are put together from the column names below and never from data.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from booking.counts import CAN_BE_RETRIED, Counts, read_retries
from booking.request_rows import RequestRows
from booking.state import Booking, Event, Item, TicketType, Transition
from common.contracts import resources
from common.contracts.statuses import BookingStatus, PaymentMethods, PaymentStatus
from common.contracts.values import Dispute, PaymentError
from common.postgres.database import Database
from common.postgres.sql import assignments, unnest

# Column and type, in the order in which arrays are passed.
BOOKING_COLUMNS = {
    "id": "uuid",
    "owner": "varchar",
    "event_id": "uuid",
    "items": "jsonb",
    "amount": "bigint",
    "currency": "varchar",
    "status": "varchar",
    "reason": "varchar",
    "payment": "varchar",
    "expires_at": "timestamptz",
    "settle_after": "timestamptz",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "payment_methods": "varchar",
    "intent_id": "varchar",
    "client_secret": "varchar",
    "last_error": "jsonb",
    "attempts": "int",
    "last_attempt_at": "timestamptz",
    "hold_until": "timestamptz",
    "payment_version": "int",
    "payment_digest": "varchar",
    "amount_captured": "bigint",
    "amount_refunded": "bigint",
    "closing": "varchar",
    "intent_to_cancel": "bool",
    "refund_id": "uuid",
    "refund_amount": "bigint",
    "refund_whole": "bool",
    "refund_waiting": "varchar",
    "refund_error": "varchar",
    "refund_failed_amount": "bigint",
    "refund_failed_whole": "bool",
    "refund_retry_id": "uuid",
    "version": "int",
    "settle_attempts": "int",
    "disputes": "jsonb",
}
# A new booking has the defaults in the rest.
NEW_COLUMNS = dict(list(BOOKING_COLUMNS.items())[:14])
CREATED_COLUMNS = NEW_COLUMNS | {"cause_type": "varchar", "cause_id": "varchar"}
FIXED = ("id", "owner", "event_id", "items", "amount", "currency", "created_at", "payment_methods")
SAVE_COLUMNS = {column: kind for column, kind in BOOKING_COLUMNS.items() if column not in FIXED}
JSON_COLUMNS = ("items", "last_error", "disputes")
TRANSITION_COLUMNS = {
    "booking_id": "uuid",
    "version": "int",
    "from_status": "varchar",
    "to_status": "varchar",
    "reason": "varchar",
    "payment_status": "varchar",
    "cause_type": "varchar",
    "cause_id": "varchar",
    "at": "timestamptz",
}
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
BOOKING = ", ".join(BOOKING_COLUMNS)

# A booking and the change that made it, in one statement.
INSERT = f"""
WITH new AS (
    SELECT * FROM unnest({unnest(CREATED_COLUMNS)}) AS new ({", ".join(CREATED_COLUMNS)})
), inserted AS (
    INSERT INTO bookings ({", ".join(NEW_COLUMNS)}) SELECT {", ".join(NEW_COLUMNS)} FROM new ORDER BY id
)
INSERT INTO booking_transitions (booking_id, version, to_status, reason, payment_status, cause_type, cause_id, at)
SELECT id, 1, status, reason, payment, cause_type, cause_id, created_at FROM new
"""
LOAD = f"SELECT {BOOKING} FROM bookings WHERE id = ANY($1::uuid[])"
LOCK = f"{LOAD} ORDER BY id FOR NO KEY UPDATE"
# What was read is what is written over: the row is locked, and this says so.
SAVE = f"""
UPDATE bookings b SET {assignments(SAVE_COLUMNS, "new")}
FROM unnest({unnest(SAVE_COLUMNS, 4)}, $1::uuid[], $2::int[], $3::varchar[])
    AS new ({", ".join(SAVE_COLUMNS)}, id, old_version, old_status)
WHERE b.id = new.id AND b.version = new.old_version AND b.status = new.old_status
"""
RECORD = f"""
INSERT INTO booking_transitions ({", ".join(TRANSITION_COLUMNS)}) SELECT * FROM unnest({unnest(TRANSITION_COLUMNS)})
"""
HISTORY = f"SELECT {', '.join(TRANSITION_COLUMNS)} FROM booking_transitions WHERE booking_id = $1 ORDER BY version"
MOVE_SEATS = """
WITH moved AS (
    SELECT t.id, m.held, m.sold FROM ticket_types t
    JOIN unnest($1::uuid[], $2::int[], $3::int[]) AS m (id, held, sold) ON m.id = t.id
    ORDER BY t.id FOR NO KEY UPDATE OF t
)
UPDATE ticket_types t SET held = t.held + moved.held, sold = t.sold + moved.sold, version = t.version + 1
FROM moved WHERE t.id = moved.id
"""
LOCK_SEATS = "SELECT id FROM ticket_types WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
FREE_SEATS = """
SELECT t.id, CASE WHEN e.called_off_at IS NULL AND (e.sell_after_start OR e.starts_at > $2)
    THEN t.capacity - t.held - t.sold ELSE 0 END AS free
FROM ticket_types t JOIN events e ON e.id = t.event_id WHERE t.id = ANY($1::uuid[])
"""
LOCK_TICKET_TYPES = "SELECT id FROM ticket_types WHERE event_id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
LOCK_EVENTS = "SELECT id FROM events WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
EVENT_COLUMNS = (
    "id", "name", "starts_at", "currency", "on_sale", "max_per_booking", "cancel_until", "called_off_at", "version",
    "time_zone", "sales_start", "sales_end", "sell_after_start", "cancel_after_start", "payment_methods",
    "slow_payments_until",
)  # fmt: skip
EVENTS = f"""
SELECT {", ".join(f"e.{column}" for column in EVENT_COLUMNS)}, t.id AS ticket_type_id, t.name AS ticket_type,
    t.unit_amount, t.capacity, t.held, t.sold, t.version AS ticket_type_version
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
TAKE_DUE = f"""
SELECT {BOOKING} FROM bookings WHERE settle_after <= $1 ORDER BY settle_after LIMIT $2
FOR NO KEY UPDATE SKIP LOCKED
"""
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
TO_CALL_OFF = """
SELECT id, created_at FROM bookings
WHERE event_id = $1 AND (created_at, id) > (coalesce($3, '-infinity'::timestamptz), $4::uuid)
AND (status = 'confirmed' OR (status = 'pending' AND coalesce(closing, 'hold_expired') = 'hold_expired'))
ORDER BY created_at, id LIMIT $2
"""
COUNT_TO_RETRY = f"SELECT count(*) FROM bookings WHERE event_id = $1 AND {CAN_BE_RETRIED}"
TO_RETRY = f"""
SELECT id FROM bookings WHERE event_id = $1 AND {CAN_BE_RETRIED} AND refund_retry_id IS DISTINCT FROM $2
ORDER BY id LIMIT $3
"""
OPEN_RETRY = "SELECT id FROM refund_retries WHERE id = $1 OR (event_id = $2 AND settle_after IS NOT NULL)"
INSERT_RETRY = "INSERT INTO refund_retries (id, event_id, asked_at, settle_after) VALUES ($1, $2, $3, $3)"
TAKE_DUE_RETRIES = """
WITH due AS (
    SELECT id FROM refund_retries WHERE settle_after <= $1 ORDER BY settle_after LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE refund_retries r SET settle_after = $2 FROM due WHERE r.id = due.id RETURNING r.id, r.event_id
"""
# One that another has settled meanwhile stays so: the event may have its next one by now.
RETRY_SETTLED = "UPDATE refund_retries SET settle_after = $2 WHERE id = $1 AND settle_after IS NOT NULL"
EVENT_SETTLED = "UPDATE events SET settle_after = $2 WHERE id = $1"


# Where a booking stands among all: created_at and id; an event: starts_at and id.
Place = tuple[datetime, UUID]


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


def _booking(row: Any) -> Booking:
    values = dict(row)
    values["items"] = tuple(
        Item(UUID(item["ticket_type_id"]), item["quantity"], item["unit_amount"])
        for item in orjson.loads(values["items"])
    )
    values["status"] = BookingStatus(values["status"])
    values["payment_methods"] = PaymentMethods(values["payment_methods"])
    values["payment"] = PaymentStatus(values["payment"])
    if (error := values["last_error"]) is not None:
        values["last_error"] = PaymentError(**orjson.loads(error))
    disputes = values["disputes"]
    values["disputes"] = () if disputes is None else tuple(_dispute(each) for each in orjson.loads(disputes))
    return Booking(**values)


def _dispute(fields: dict[str, Any]) -> Dispute:
    for time in ("opened_at", "respond_by"):
        if fields[time] is not None:
            fields[time] = datetime.fromisoformat(fields[time])
    return Dispute(**fields)


def _arrays(bookings: Sequence[Booking], columns: Iterable[str]) -> list[list[Any]]:
    """One array for each column."""
    return [
        [_json(getattr(booking, column)) for booking in bookings]
        if column in JSON_COLUMNS
        else [getattr(booking, column) for booking in bookings]
        for column in columns
    ]


def _json(value: Any) -> str | None:
    if not value:
        return None
    if isinstance(value, tuple) and isinstance(value[0], Item):
        value = [item._asdict() for item in value]  # JSON would make a list of each
    # asyncpg's UUIDs are of a class of their own.
    return orjson.dumps(value, default=str).decode()


def _events(rows: Iterable[Any]) -> dict[UUID, Event]:
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
            )
    return {id: _event(row, ticket_types) for id, (row, ticket_types) in found.items()}


def _event(row: Any, ticket_types: dict[UUID, TicketType]) -> Event:
    values = {column: row[column] for column in EVENT_COLUMNS}
    values["payment_methods"] = PaymentMethods(values["payment_methods"])
    return Event(ticket_types=ticket_types, **values)


def _terms_of_sale(event: Event) -> tuple[Any, ...]:
    dates = (event.time_zone, event.sales_start, event.sales_end, event.sell_after_start, event.cancel_after_start)
    return *dates, event.payment_methods, event.slow_payments_until


class Work:
    """One transaction's view of the database."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.requests = RequestRows(connection)

    # --- bookings

    async def load(self, ids: Sequence[UUID]) -> dict[UUID, Booking]:
        return {row["id"]: _booking(row) for row in await self._connection.fetch(LOAD, ids)}

    async def lock(self, ids: Sequence[UUID]) -> dict[UUID, Booking]:
        """These bookings, in nobody else's hands until the transaction ends."""
        return {row["id"]: _booking(row) for row in await self._connection.fetch(LOCK, ids)}

    async def take_due(self, now: datetime, limit: int) -> dict[UUID, Booking]:
        """Due bookings that nobody else has in hand, locked."""
        return {row["id"]: _booking(row) for row in await self._connection.fetch(TAKE_DUE, now, limit)}

    async def insert(self, created: Sequence[Transition]) -> None:
        """Add new bookings. Raises UniqueViolationError when one has come to be there: then all is tried again."""
        if created:
            bookings = [each.after for each in created]
            causes = ([each.cause.type for each in created], [each.cause.id for each in created])
            await self._connection.execute(INSERT, *_arrays(bookings, NEW_COLUMNS), *causes)

    async def save(self, changes: Sequence[tuple[Booking, Booking]]) -> None:
        """Write (old, new) pairs of locked bookings."""
        if not changes:
            return
        answer = await self._connection.execute(
            SAVE,
            [old.id for old, _ in changes],
            [old.version for old, _ in changes],
            [old.status for old, _ in changes],
            *_arrays([new for _, new in changes], SAVE_COLUMNS),
        )
        _expect(answer, len(changes))

    async def record(self, transitions: Sequence[Transition]) -> None:
        if not transitions:
            return
        await self._connection.execute(
            RECORD,
            [each.after.id for each in transitions],
            [each.after.version for each in transitions],
            [each.before for each in transitions],
            [each.after.status for each in transitions],
            [each.after.reason for each in transitions],
            [each.after.payment for each in transitions],
            [each.cause.type for each in transitions],
            [each.cause.id for each in transitions],
            [each.after.updated_at for each in transitions],
        )

    # --- seats

    async def lock_seats(self, ids: Iterable[UUID], now: datetime) -> dict[UUID, int]:
        """How many seats of these ticket types can be had, and stay so until the transaction ends: none of an event
        that was called off, or that has begun and does not sell after its start."""
        wanted = list(ids)
        if not wanted:
            return {}
        await self._connection.execute(LOCK_SEATS, wanted)
        # Read by a statement of its own: it sees what others have committed while the lock was waited for.
        return {row["id"]: row["free"] for row in await self._connection.fetch(FREE_SEATS, wanted, now)}

    async def move_seats(self, moves: Mapping[UUID, tuple[int, int]]) -> None:
        """Add to held and sold. The database refuses what is not there: check constraints of ticket_types."""
        if moves:
            held, sold = ([move[which] for move in moves.values()] for which in (0, 1))
            _expect(await self._connection.execute(MOVE_SEATS, list(moves), held, sold), len(moves))

    # --- events

    async def lock_sales(self, ids: Sequence[UUID]) -> dict[UUID, Event]:
        """These events, with their seats in nobody else's hands. Whoever changes an event locks these, too, so
        what is read after the lock holds until the transaction ends."""
        await self._connection.execute(LOCK_TICKET_TYPES, ids)
        return _events(await self._connection.fetch(EVENTS_BY_ID, ids))

    async def lock_event(self, id: UUID) -> Event | None:
        """The event, to be changed; nobody else changes or sells it until the transaction ends."""
        await self._connection.execute(LOCK_EVENTS, [id])
        return (await self.lock_sales([id])).get(id)

    async def events(self, ids: Iterable[UUID]) -> dict[UUID, Event]:
        return _events(await self._connection.fetch(EVENTS_BY_ID, list(ids)))

    async def create_event(self, event: Event, content_hash: str, now: datetime) -> bool:
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

    async def save_event(self, old: Event, new: Event, settle_after: datetime | None = None) -> None:
        """Write a locked event and those of its ticket types that are not as before. Raises TicketTypeIdTaken."""
        values = (new.name, new.starts_at, new.on_sale, new.max_per_booking, new.cancel_until, new.called_off_at)
        answer = await self._connection.execute(
            SAVE_EVENT, old.id, old.version, *values, settle_after, new.version, *_terms_of_sale(new)
        )
        _expect(answer, 1)
        changed = [each for id, each in new.ticket_types.items() if old.ticket_types.get(id) not in (None, each)]
        if changed:
            answer = await self._connection.execute(CHANGE_TICKET_TYPES, *_ticket_types(new, changed))
            _expect(answer, len(changed))
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

    async def to_call_off(self, event_id: UUID, limit: int, after: Place | None) -> list[Place]:
        """Bookings of an event that was called off which are still to be cancelled, oldest first, after a place."""
        rows = await self._connection.fetch(TO_CALL_OFF, event_id, limit, *(after or (None, UUID(int=0))))
        return [(row["created_at"], row["id"]) for row in rows]

    async def settle_event(self, event_id: UUID, again: datetime | None) -> None:
        await self._connection.execute(EVENT_SETTLED, event_id, again)

    # --- failed refunds of an event, tried again

    async def refund_retry(self, event_id: UUID, retry_id: UUID) -> resources.RefundRetry | None:
        """How the last retry of the event's failed refunds stands, if it is this one or is under way."""
        if await self._connection.fetchval(OPEN_RETRY, retry_id, event_id) is None:
            return None
        return (await read_retries(self._connection, [event_id]))[event_id]

    async def count_to_retry(self, event_id: UUID) -> int:
        """How many bookings of the event have a failed refund that can be tried again."""
        count: int = await self._connection.fetchval(COUNT_TO_RETRY, event_id)
        return count

    async def add_retry(self, retry_id: UUID, event_id: UUID, now: datetime) -> None:
        """All failed refunds of the event are to be tried again, beginning now. The event has to be locked."""
        await self._connection.execute(INSERT_RETRY, retry_id, event_id, now)

    async def to_retry(self, retry_id: UUID, event_id: UUID, limit: int) -> list[UUID]:
        """Bookings of the event whose refund failed and that this retry has not tried again."""
        return [row["id"] for row in await self._connection.fetch(TO_RETRY, event_id, retry_id, limit)]

    async def settle_retry(self, retry_id: UUID, again: datetime | None) -> None:
        await self._connection.execute(RETRY_SETTLED, retry_id, again)


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


class Interfered(RuntimeError):
    """What was read is not what is there: the transaction is rolled back, and its messages come again."""


def _expect(answer: str, count: int) -> None:
    if answer != f"UPDATE {count}":
        raise Interfered(f"{answer} of {count} rows")


class Repository:
    """The database `booking`. Raises DatabaseAway while it cannot serve."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.counts = Counts(database)

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Work]:
        """One transaction, committed at the end of the block. No network call belongs inside."""
        async with self._database.transaction() as connection:
            yield Work(connection)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Work]:
        """For questions: each statement sees what is committed when it runs."""
        async with self._database.connection() as connection:
            yield Work(connection)

    async def list_bookings(self, wanted: BookingFilter, limit: int) -> list[Booking]:
        """Newest first."""
        where, values = wanted.conditions()
        query = f"SELECT {BOOKING} FROM bookings {where} ORDER BY created_at DESC, id DESC LIMIT {limit:d}"
        async with self._database.connection() as connection:
            return [_booking(row) for row in await connection.fetch(query, *values)]

    async def list_events(self, after: Place, limit: int) -> list[Event]:
        """Those behind a start and id, in that order."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(EVENT_PAGE, *after, limit)
        return list(_events(rows).values())

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
