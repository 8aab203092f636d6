"""Reads bookings, seats, payments and refunds page by page: of a million rows, one page is in memory.

Each page is a short transaction of its own, so that an audit of hours does not keep VACUUM from removing old rows.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from common.runtime.urls import postgres_options
from ops.audit.records import (
    Booking,
    Buyer,
    Case,
    Change,
    CheckIn,
    EventHistory,
    Payment,
    PromoCode,
    Refund,
    Seats,
    Stray,
    Unsent,
)
from ops.errors import StartError

# Rows in memory at once, and in one query.
PAGE = 1000
CONNECT_TIMEOUT_S = 10
# The longest query sums up all bookings: seconds for a million of them, so that this is for far more.
STATEMENT_TIMEOUT_S = 600
OUTAGES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

BOOKING_COLUMNS = """
id::text, status, payment, amount, items, currency, created_at, intent_id, payment_version, amount_captured,
amount_refunded, refund_id::text, refund_amount, closing, intent_to_cancel, version, settle_after AS retry_at,
box_office IS NOT NULL AS box_office
"""
HISTORIES = """
SELECT booking_id::text, version, from_status, to_status FROM booking_transitions
WHERE booking_id = ANY($1::uuid[]) ORDER BY booking_id, version
"""
PAYMENT_COLUMNS = """
booking_id::text, status, amount, currency, created_at, intent_id, amount_captured, amount_refunded, dispute_status,
cancel_requested, drive_after AS retry_at, version, reported_version, report_after AS report_retry_at, return_after
"""
ORPHANS = """
SELECT booking_id::text FROM payments WHERE orphaned_at IS NOT NULL AND return_after IS NOT NULL
    AND NOT return_decided
UNION SELECT booking_id::text FROM stray_intents WHERE drive_after IS NOT NULL AND NOT return_decided
"""
STRAYS = "SELECT booking_id::text, intent_id, drive_after FROM stray_intents WHERE booking_id = ANY($1::uuid[])"
REFUNDS = """
SELECT booking_id::text, id::text, amount, status, stripe_refund_id AS stripe_id, drive_after, pending_reason
FROM refunds
WHERE booking_id = ANY($1::uuid[]) ORDER BY created_at, id
"""
# One statement sees counters and bookings at one moment, so that a difference is never work under way.
SEATS = """
SELECT coalesce(t.id, b.id)::text AS id, t.capacity, coalesce(t.held, 0) AS held, coalesce(t.sold, 0) AS sold,
    coalesce(b.held, 0)::bigint AS booked_held, coalesce(b.sold, 0)::bigint AS booked_sold
FROM (SELECT * FROM ticket_types WHERE {part}) t
FULL JOIN (
    SELECT (item->>'ticket_type_id')::uuid AS id,
        sum((item->>'quantity')::int) FILTER (WHERE status = 'pending') AS held,
        sum((item->>'quantity')::int - (
            SELECT count(*) FROM jsonb_array_elements(cancelled_seats) AS seat
            WHERE seat->>'ticket_type_id' = item->>'ticket_type_id'
        )) FILTER (WHERE status = 'confirmed') AS sold
    FROM bookings, jsonb_array_elements(items) AS item
    WHERE status IN ('pending', 'confirmed') AND {part} GROUP BY 1
) b ON b.id = t.id
"""
# Each buyer with what its bookings are counted as. A booking without `counted` is none of theirs.
BUYERS = """
WITH booked AS (
    SELECT *, (SELECT sum((item->>'quantity')::int) FROM jsonb_array_elements(items) AS item)
        - coalesce(jsonb_array_length(cancelled_seats), 0) AS seats
    FROM bookings WHERE counted IS NOT NULL AND {part}
)
SELECT coalesce(b.key, c.key) AS key, coalesce(b.seats, 0) AS seats, coalesce(b.holds, 0) AS holds,
    coalesce(c.seats, 0)::bigint AS booked_seats, coalesce(c.holds, 0)::bigint AS booked_holds
FROM (SELECT * FROM buyers WHERE {part}) b
FULL JOIN (
    SELECT key, sum(seats) AS seats, sum(hold) AS holds FROM (
        SELECT event_id || ':owner:' || owner AS key, (counted = 1)::int AS hold,
            (counted > 0)::int * seats AS seats FROM booked
        UNION ALL SELECT event_id || ':address:' || address, (counted = 1)::int, (counted = 1)::int * seats
        FROM booked WHERE address IS NOT NULL
    ) each GROUP BY key
) c ON c.key = b.key
"""
# Each promo code, and each owner of its uses, with what bookings are counted as. Of an owner all uses are `used`.
PROMO_CODES = """
WITH booked AS (
    SELECT code_id::text AS key, code_id::text || ':' || owner AS owner_key, (code_counted = 1)::int AS held,
        (code_counted = 2)::int AS used
    FROM bookings WHERE code_id IS NOT NULL AND {part}
), codes AS (SELECT id, held, used, uses_max FROM promo_codes WHERE {part})
SELECT coalesce(c.key, b.key) AS key, coalesce(c.held, 0)::bigint AS held, coalesce(c.used, 0)::bigint AS used,
    c.uses_max, coalesce(b.held, 0)::bigint AS booked_held, coalesce(b.used, 0)::bigint AS booked_used
FROM (
    SELECT id::text AS key, held, used, uses_max FROM codes
    UNION ALL SELECT key, 0, uses, NULL FROM promo_code_owners WHERE code_id IN (SELECT id FROM codes)
) c
FULL JOIN (
    SELECT key, sum(held) AS held, sum(used) AS used FROM booked GROUP BY key
    UNION ALL SELECT owner_key, 0, sum(held + used) FROM booked GROUP BY owner_key
) b ON b.key = c.key
"""
# Each check-in with what it must belong to: a seat of a booking that was confirmed then.
CHECK_INS = """
SELECT c.id::text, c.number, t.to_status AS status, coalesce((
    SELECT sum((item->>'quantity')::int) FROM jsonb_array_elements(b.items) AS item
    WHERE (item->>'ticket_type_id')::uuid = c.ticket_type_id
), 0)::bigint AS seats
FROM (SELECT * FROM check_ins WHERE {part}) c
LEFT JOIN bookings b ON b.id = c.booking_id AND b.event_id = c.event_id
LEFT JOIN booking_transitions t ON t.booking_id = c.booking_id AND t.version = c.booking_version
"""
# Events that have a history: those that were not changed since there are histories have none.
EVENT_HISTORIES = """
SELECT e.id::text, e.version, array_agg(c.version ORDER BY c.version) AS changes
FROM event_changes c JOIN events e ON e.id = c.event_id WHERE {part} GROUP BY e.id
"""
# Of bookings made since $1. A sender or announcer takes what is due every two seconds; a claim lasts ten minutes.
UNSENT = """
SELECT 'mails' AS rule, m.booking_id::text AS id, m.kind, m.status, m.send_after AS due, m.error
FROM mails m JOIN bookings b ON b.id = m.booking_id
WHERE b.created_at >= $1 AND (m.send_after < now() - interval '2 minutes' OR m.status = 'given_up' AND NOT EXISTS (
    SELECT FROM mails l
    WHERE l.booking_id = m.booking_id AND l.kind = m.kind AND l.status = 'sent' AND l.made_at > m.made_at
))
UNION ALL SELECT 'mails', endpoint_id::text, kind, status, send_after, error FROM mails
WHERE endpoint_id IS NOT NULL AND made_at >= $1
    AND (send_after < now() - interval '2 minutes' OR status = 'given_up')
UNION ALL SELECT 'announcements', id::text, NULL, status, updated_at, NULL FROM bookings
WHERE announce_from IS NOT NULL AND created_at >= $1 AND updated_at < now() - interval '2 minutes'
UNION ALL SELECT 'announcements', event_id::text, NULL, what, at, NULL FROM event_changes
WHERE to_announce AND at >= $1 AND at < now() - interval '2 minutes'
    AND EXISTS (SELECT FROM webhook_endpoints WHERE disabled_at IS NULL AND deleted_at IS NULL)
UNION ALL SELECT 'webhooks', d.id::text, d.type, d.status, d.due_at, d.error
FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id
WHERE d.due_at < now() - interval '2 minutes' AND d.made_at >= $1 AND e.disabled_at IS NULL AND e.deleted_at IS NULL
"""
# The ticket types, buyers and histories of events with bookings made since then.
RECENT_EVENTS = "event_id IN (SELECT event_id FROM bookings WHERE created_at >= $1)"
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
ZERO_ID = UUID(int=0)
# Before all bookings.
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class SourceUnavailable(StartError):
    """A database or Stripe does not answer or is not known, so that the audit cannot compare it."""


@dataclass(frozen=True)
class Databases:
    """Connections to both databases, only for reading."""

    booking: asyncpg.Connection
    payment: asyncpg.Connection

    async def clock(self) -> Callable[[], datetime]:
        """A clock that returns the booking database's time, as its rows have; this machine's may be wrong."""
        async with _reading(self.booking, "booking"):
            sent = time.monotonic()
            database_time: datetime = await self.booking.fetchval("SELECT clock_timestamp()")
            ahead = database_time.timestamp() - (sent + time.monotonic()) / 2
        return lambda: datetime.fromtimestamp(time.monotonic() + ahead, UTC)

    def seats(self, since: datetime | None) -> AsyncIterator[Seats]:
        return read_seats(self.booking, since)

    async def buyers(self, since: datetime | None) -> AsyncIterator[Buyer]:
        """Every buyer, or those of events with bookings made since. Raises SourceUnavailable."""
        async for row in _of_events(self.booking, BUYERS, since):
            yield Buyer(**row)

    async def promo_codes(self, since: datetime | None) -> AsyncIterator[PromoCode]:
        """Every promo code and owner of its uses, or those of events with bookings made since. Raises
        SourceUnavailable."""
        async for row in _of_events(self.booking, PROMO_CODES, since):
            yield PromoCode(**row)

    async def check_ins(self, since: datetime | None) -> AsyncIterator[CheckIn]:
        """Every check-in, or those of events with bookings made since. Raises SourceUnavailable."""
        async for row in _of_events(self.booking, CHECK_INS, since):
            yield CheckIn(**row)

    async def unsent(self, since: datetime | None) -> AsyncIterator[Unsent]:
        """What nobody sends or announces, or what was given up. Raises SourceUnavailable."""
        async for row in _since(self.booking, UNSENT, since):
            yield Unsent(**row)

    async def events(self, since: datetime | None) -> AsyncIterator[EventHistory]:
        """Every event with a history, or those with bookings made since. Raises SourceUnavailable."""
        async for row in _of_events(self.booking, EVENT_HISTORIES, since):
            yield EventHistory(**row)

    async def bookings(self, since: datetime | None) -> AsyncIterator[list[Case]]:
        """Every booking (made since), in pages, each as a case with its payment and refunds."""
        condition, order = "id > $1", "id"
        last: tuple[Any, ...] = (ZERO_ID,)
        if since is not None:
            condition, order, last = "(created_at, id) > ($1, $2)", "created_at, id", (since, ZERO_ID)
        query = f"SELECT {BOOKING_COLUMNS} FROM bookings WHERE {condition} ORDER BY {order} LIMIT {PAGE}"
        while True:
            found = await self._bookings(query, *last)
            if not found:
                return
            newest = found[-1]
            last = (UUID(newest.id),) if since is None else (newest.created_at, UUID(newest.id))
            yield await self._cases([booking.id for booking in found], {each.id: each for each in found})

    async def payments_alone(self, since: datetime | None) -> AsyncIterator[list[str]]:
        """In pages, the ids that have a payment (made since) but no booking."""
        query = f"""SELECT booking_id::text AS id, created_at FROM payments
            WHERE booking_id > $1 AND created_at >= $2 ORDER BY booking_id LIMIT {PAGE}"""
        last = str(ZERO_ID)
        while True:
            async with _reading(self.payment, "payment"):
                rows = await self.payment.fetch(query, UUID(last), since or BEGINNING)
            if not rows:
                return
            last = rows[-1]["id"]
            ids = [row["id"] for row in rows]
            async with _reading(self.booking, "booking"):
                known = await self.booking.fetch("SELECT id::text FROM bookings WHERE id = ANY($1::uuid[])", ids)
            if strays := set(ids) - {row["id"] for row in known}:
                yield sorted(strays)

    async def cases(self, ids: Sequence[str]) -> list[Case]:
        """A case for each of these bookings, as it is now; an empty case if neither database has it."""
        query = f"SELECT {BOOKING_COLUMNS} FROM bookings WHERE id = ANY($1::uuid[])"
        found = await self._bookings(query, list(ids))
        return await self._cases(ids, {booking.id: booking for booking in found})

    async def _bookings(self, query: str, *values: Any) -> list[Booking]:
        async with _reading(self.booking, "booking"):
            rows = await self.booking.fetch(query, *values)
            changes: dict[str, list[Change]] = defaultdict(list)
            for id, version, before, after in await self.booking.fetch(HISTORIES, [row["id"] for row in rows]):
                changes[id].append(Change(version, before, after))
        return [_booking(row, tuple(changes[row["id"]])) for row in rows]

    async def _cases(self, ids: Sequence[str], bookings: dict[str, Booking]) -> list[Case]:
        """Add what payment knows: read after the bookings, so that it is never older than what they say of it."""
        query = f"SELECT {PAYMENT_COLUMNS} FROM payments WHERE booking_id = ANY($1::uuid[])"
        async with _reading(self.payment, "payment"):
            payments = {row["booking_id"]: Payment(**row) for row in await self.payment.fetch(query, list(ids))}
            refunds: dict[str, list[Refund]] = defaultdict(list)
            for booking_id, *columns in await self.payment.fetch(REFUNDS, list(ids)):
                refunds[booking_id].append(Refund(*columns))
            strays: dict[str, list[Stray]] = defaultdict(list)
            for booking_id, *columns in await self.payment.fetch(STRAYS, list(ids)):
                strays[booking_id].append(Stray(*columns))
        return [
            Case(id, bookings.get(id), payments.get(id), tuple(refunds[id]), strays=tuple(strays[id])) for id in ids
        ]

    async def orphans(self) -> list[str]:
        """The bookings of orphans and strays that still wait: for ORPHAN_GRACE_SECONDS, or for an operator."""
        async with _reading(self.payment, "payment"):
            rows = await self.payment.fetch(ORPHANS)
        return [row["booking_id"] for row in rows]

    async def installation(self) -> str | None:
        """The installation id in the metadata of our objects at Stripe; None if there is none yet."""
        async with _reading(self.payment, "payment"):
            found = await self.payment.fetchval("SELECT id::text FROM installation")
        return None if found is None else str(found)


async def read_seats(connection: asyncpg.Connection, since: datetime | None) -> AsyncIterator[Seats]:
    """Every ticket type, or those of events with bookings made since. Raises SourceUnavailable."""
    async for row in _of_events(connection, SEATS, since):
        yield Seats(**row)


async def _since(
    connection: asyncpg.Connection, query: str, since: datetime | None
) -> AsyncIterator[asyncpg.Record]:
    async with _reading(connection, "booking"):
        async for row in connection.cursor(query, since or BEGINNING, prefetch=PAGE):
            yield row


async def _of_events(
    connection: asyncpg.Connection, query: str, since: datetime | None
) -> AsyncIterator[asyncpg.Record]:
    part, values = ("true", []) if since is None else (RECENT_EVENTS, [since])
    async with _reading(connection, "booking"):
        async for row in connection.cursor(query.format(part=part), *values, prefetch=PAGE):
            yield row


def _booking(row: asyncpg.Record, changes: tuple[Change, ...]) -> Booking:
    columns = dict(row)
    items = json.loads(columns.pop("items"))
    amount = sum(item["quantity"] * (item["unit_amount"] - item.get("unit_discount", 0)) for item in items)
    return replace(Booking(items_amount=amount, **columns), history=changes)


@asynccontextmanager
async def _reading(connection: asyncpg.Connection, name: str) -> AsyncIterator[None]:
    """A transaction that sees one moment of one database. Raises SourceUnavailable."""
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield
    except OUTAGES as error:
        raise SourceUnavailable(f"database {name} cannot be read: {error or type(error).__name__}") from error


@asynccontextmanager
async def open_databases(booking_url: str, payment_url: str) -> AsyncIterator[Databases]:
    """Raises SourceUnavailable when one of them does not answer."""
    booking = await _connect("booking", booking_url)
    try:
        payment = await _connect("payment", payment_url)
        try:
            yield Databases(booking, payment)
        finally:
            await _close(payment)
    finally:
        await _close(booking)


async def _connect(name: str, url: str) -> asyncpg.Connection:
    settings = {"application_name": "holdfast audit", "statement_timeout": f"{STATEMENT_TIMEOUT_S}s"}
    try:
        options = postgres_options(url) | {"timeout": CONNECT_TIMEOUT_S, "server_settings": settings}
        return await asyncpg.connect(**options)
    except (*OUTAGES, ValueError) as error:
        raise SourceUnavailable(f"database {name} does not answer: {error or type(error).__name__}") from error


async def _close(connection: asyncpg.Connection) -> None:

    try:
        await connection.close(timeout=CONNECT_TIMEOUT_S)
    except OUTAGES:
        connection.terminate()
