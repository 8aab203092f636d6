"""Very many bookings that have ended, written straight into the tables as they are when all work on them is done.

A booking's number decides what has become of it: of twenty, thirteen are confirmed, three have expired unpaid, one
was refunded in full and three came too late. No work is left for any of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from bench.stage import Json

# Longer than a row waits for its retry, or Stripe events are listed again: no booking is younger.
YOUNGEST = "1 day"
# Stripe events are deleted after 35 days: none of these is.
OLDEST = "30 days"

# $1: how many in all, $2: event ids, $3: their ticket types, $4: the price of a seat.
NUMBERED = f"""
SELECT n, md5('booking ' || n)::uuid AS id, 'finished-' || n / 4 AS owner,
    ($2::uuid[])[1 + n % cardinality($2)] AS event_id, ($3::uuid[])[1 + n % cardinality($3)] AS ticket_type_id,
    $4::bigint AS amount, 'pi_' || left(md5('intent ' || n), 24) AS intent_id,
    now() - interval '{OLDEST}' + (interval '{OLDEST}' - interval '{YOUNGEST}') * n / $1::bigint AS at,
    CASE WHEN n % 20 < 13 THEN 'confirmed' WHEN n % 20 < 16 THEN 'expired' WHEN n % 20 < 17 THEN 'refunded'
        ELSE 'sold_out' END AS result
FROM generate_series(0, $1::bigint - 1) AS n
"""
BOOKINGS = f"""
INSERT INTO bookings (id, owner, event_id, items, amount, currency, status, reason, payment, intent_id,
    payment_version, amount_captured, amount_refunded, refund_id, version, created_at, updated_at)
SELECT s.id, owner, event_id,
    jsonb_build_array(jsonb_build_object('ticket_type_id', ticket_type_id, 'quantity', 1, 'unit_amount', amount)),
    amount, 'eur', o.status, o.reason, o.payment, CASE WHEN o.payment_version > 0 THEN intent_id END,
    o.payment_version, amount * o.captured, amount * o.refunded,
    CASE WHEN o.refunded > 0 THEN md5('refund ' || n)::uuid END, o.version, at, at + interval '20 minutes'
FROM ({NUMBERED}) AS s JOIN (VALUES
    ('confirmed', 'confirmed', NULL, 'paid', 2, 1, 0, 3),
    ('expired', 'cancelled', 'hold_expired', 'none', 2, 0, 0, 4),
    ('refunded', 'cancelled', 'by_customer', 'refunded', 4, 1, 1, 5),
    ('sold_out', 'failed', 'sold_out', 'none', 0, 0, 0, 1)
) AS o (result, status, reason, payment, payment_version, captured, refunded, version) USING (result)
"""
TRANSITIONS = f"""
INSERT INTO booking_transitions (booking_id, version, from_status, to_status, reason, payment_status, cause_type,
    cause_id, at)
SELECT s.id, c.version, c.before, c.after, c.reason, c.payment, c.cause, md5('cause ' || n || c.version)::uuid,
    at + interval '5 minutes' * (c.version - 1)
FROM ({NUMBERED}) AS s JOIN (VALUES
    ('confirmed', 1, NULL, 'pending', NULL, 'creating', 'booking.create'),
    ('confirmed', 2, 'pending', 'pending', NULL, 'awaiting', 'payment.intent_created'),
    ('confirmed', 3, 'pending', 'confirmed', NULL, 'paid', 'payment.succeeded'),
    ('expired', 1, NULL, 'pending', NULL, 'creating', 'booking.create'),
    ('expired', 2, 'pending', 'pending', NULL, 'awaiting', 'payment.intent_created'),
    ('expired', 3, 'pending', 'pending', NULL, 'awaiting', 'booking.expire'),
    ('expired', 4, 'pending', 'cancelled', 'hold_expired', 'none', 'payment.canceled'),
    ('refunded', 1, NULL, 'pending', NULL, 'creating', 'booking.create'),
    ('refunded', 2, 'pending', 'pending', NULL, 'awaiting', 'payment.intent_created'),
    ('refunded', 3, 'pending', 'confirmed', NULL, 'paid', 'payment.succeeded'),
    ('refunded', 4, 'confirmed', 'cancelled', 'by_customer', 'refund_pending', 'booking.cancel'),
    ('refunded', 5, 'cancelled', 'cancelled', 'by_customer', 'refunded', 'payment.refunded'),
    ('sold_out', 1, NULL, 'failed', 'sold_out', 'none', 'booking.create')
) AS c (result, version, before, after, reason, payment, cause) USING (result)
"""
SEATS = f"""
UPDATE ticket_types t SET sold = t.sold + s.sold FROM (
    SELECT ticket_type_id, count(*) AS sold FROM ({NUMBERED}) AS s WHERE result = 'confirmed' GROUP BY 1
) AS s WHERE t.id = s.ticket_type_id
"""
PAYMENTS = f"""
INSERT INTO payments (booking_id, event_id, amount, currency, status, intent_id, client_secret, charge_id,
    amount_captured, amount_refunded, cancel_requested, last_change, seen_at, asked_at, version, reported_version,
    created_at, updated_at)
SELECT s.id, event_id, amount, 'eur', o.status, intent_id, intent_id || '_secret_' || left(md5('secret ' || n), 25),
    CASE WHEN o.captured > 0 THEN 'ch_' || left(md5('charge ' || n), 24) END, amount * o.captured,
    amount * o.refunded, o.status = 'canceled', o.change, date_trunc('second', at), at, o.version, o.version, at,
    at + interval '20 minutes'
FROM ({NUMBERED}) AS s JOIN (VALUES
    ('confirmed', 'succeeded', 1, 0, 'intent', 2),
    ('expired', 'canceled', 0, 0, 'intent', 2),
    ('refunded', 'succeeded', 1, 1, 'refund', 4)
) AS o (result, status, captured, refunded, change, version) USING (result)
"""
REFUNDS = f"""
INSERT INTO refunds (id, booking_id, amount, status, stripe_refund_id, asked_at, created_at, updated_at)
SELECT md5('refund ' || n)::uuid, id, amount, 'succeeded', 're_' || left(md5('refund ' || n), 24), at, at, at
FROM ({NUMBERED}) AS s WHERE result = 'refunded'
"""
EVENTS = f"""
INSERT INTO stripe_events (id, type, created, received_at, object_id, booking_id)
SELECT 'evt_' || left(md5(e.type || n), 24), e.type, date_trunc('second', at), at, intent_id, s.id
FROM ({NUMBERED}) AS s JOIN (VALUES
    ('confirmed', 'payment_intent.succeeded'),
    ('expired', 'payment_intent.canceled'),
    ('refunded', 'payment_intent.succeeded'),
    ('refunded', 'refund.updated')
) AS e (result, type) USING (result)
"""


# What slows down writing very many rows at once, and how to restore it: foreign keys, then keys, then indexes.
KEYS = """
SELECT conrelid::regclass::text AS table, conname AS name, pg_get_constraintdef(oid) AS definition
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('f', 'p', 'u')
ORDER BY contype = 'f' DESC
"""
INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition FROM pg_index
WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""


async def fill(booking_url: str, payment_url: str, events: Sequence[Json], count: int) -> None:
    """Add `count` bookings of `events` that have ended, and leave both databases as after a quiet night: vacuumed,
    analysed, and with a checkpoint behind them. No actor may be running: the indexes are built anew."""
    ids, ticket_types = [event["id"] for event in events], [event["ticket_types"][0]["id"] for event in events]
    values = (count, ids, ticket_types, events[0]["ticket_types"][0]["unit_amount"])
    async with asyncio.TaskGroup() as group:
        group.create_task(_fill(booking_url, (BOOKINGS, TRANSITIONS), SEATS, values))
        group.create_task(_fill(payment_url, (PAYMENTS, EVENTS), REFUNDS, values))


async def _fill(url: str, statements: Sequence[str], last: str, values: Sequence[Any]) -> None:
    """`last` needs the indexes: it counts seats, and a trigger reads each refund's payment."""
    connection = await asyncpg.connect(url)
    try:
        async with _without_indexes(connection):
            for statement in statements:
                await connection.execute(statement, *values)
        await connection.execute(last, *values)
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


@asynccontextmanager
async def _without_indexes(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Building an index over existing rows is much faster than adding each row to it."""
    keys, indexes = await connection.fetch(KEYS), await connection.fetch(INDEXES)
    for key in keys:
        await connection.execute(f'ALTER TABLE {key["table"]} DROP CONSTRAINT "{key["name"]}"')
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['name']}")
    yield
    await connection.execute("SET maintenance_work_mem = '256MB'")
    for key in reversed(keys):
        await connection.execute(f'ALTER TABLE {key["table"]} ADD CONSTRAINT "{key["name"]}" {key["definition"]}')
    for index in indexes:
        await connection.execute(index["definition"])
