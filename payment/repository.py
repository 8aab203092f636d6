"""All SQL of the payment actor: set-based, one statement for a whole batch. Rows don't leave it."""

# Statements are put together from the column names below and never from data.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from common.contracts.statuses import IntentStatus, PaymentMethods
from common.contracts.values import PaymentError
from common.postgres.database import Database
from common.postgres.memory import Memory, dropped_in_doubt
from common.postgres.sql import assignments, revision, unnest
from common.runtime.outages import DatabaseAway
from common.runtime.telemetry import Metrics
from payment.disputes import Dispute
from payment.domain import DRIVE_PAUSES, LOOK_PAUSES, REPORT_PAUSES, Attempt, Payment
from payment.orphans import Stray
from payment.pictures import StripeEvent
from payment.refunds import Refund, RefundStatus
from payment.stray_rows import STRAY, StrayRows, stray_of

# Column and type, in the order in which arrays are passed.
PAYMENT_COLUMNS = {
    "booking_id": "uuid",
    "event_id": "uuid",
    "amount": "bigint",
    "currency": "varchar",
    "status": "varchar",
    "asked_at": "timestamptz",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "payment_methods": "varchar",
    "intent_id": "varchar",
    "client_secret": "varchar",
    "charge_id": "varchar",
    "amount_captured": "bigint",
    "amount_refunded": "bigint",
    "last_error": "jsonb",
    "failed_attempts": "int",
    "last_attempt_at": "timestamptz",
    "dispute_status": "varchar",
    "cancel_requested": "bool",
    "seen_at": "timestamptz",
    "key_number": "int",
    "drive_after": "timestamptz",
    "drive_attempts": "int",
    "doubts": "int",
    "look_after": "timestamptz",
    "look_attempts": "int",
    "version": "int",
    "reported_version": "int",
    "report_after": "timestamptz",
    "report_attempts": "int",
    "orphaned_at": "timestamptz",
    "return_after": "timestamptz",
    "return_decided": "bool",
}
# What is never changed once a payment is there; event and amount only where a row without an intent was wrong.
FIXED = ("booking_id", "created_at", "payment_methods")
REFUND_COLUMNS = {
    "id": "uuid",
    "booking_id": "uuid",
    "amount": "bigint",
    "status": "varchar",
    "asked_at": "timestamptz",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "stripe_refund_id": "varchar",
    "reason": "varchar",
    "by_hand": "bool",
    "key_number": "int",
    "drive_after": "timestamptz",
    "drive_attempts": "int",
    "whole": "bool",
    "pending_reason": "varchar",
    "refusals": "int",
    "refused_since": "timestamptz",
}

DISPUTE_COLUMNS = {
    "id": "varchar",
    "booking_id": "uuid",
    "status": "varchar",
    "seen_at": "timestamptz",
    "charge_id": "varchar",
    "amount": "bigint",
    "currency": "varchar",
    "reason": "varchar",
    "opened_at": "timestamptz",
    "respond_by": "timestamptz",
}

PAYMENT = ", ".join(PAYMENT_COLUMNS)
READ = f"{PAYMENT}, {revision('payments')} AS revision"
REFUND = ", ".join(REFUND_COLUMNS)
DISPUTE = ", ".join(DISPUTE_COLUMNS)

# Two who insert the same bookings take them in the same order, so that neither waits for the other in a ring.
INSERT = f"""
INSERT INTO payments ({PAYMENT}) SELECT * FROM unnest({unnest(PAYMENT_COLUMNS)}) AS new ORDER BY 1
ON CONFLICT (booking_id) DO NOTHING RETURNING booking_id, {revision("payments")} AS revision
"""
LOAD = f"SELECT {READ} FROM payments WHERE booking_id = ANY($1::uuid[])"
LOCK = f"{LOAD} OR intent_id = ANY($2::varchar[]) ORDER BY booking_id FOR NO KEY UPDATE"
_SET = f"""
UPDATE payments p SET {assignments((c for c in PAYMENT_COLUMNS if c not in FIXED), "new")}
"""
# The version that was read is the one that is written over: the row is locked, and this says so.
SAVE = f"""{_SET}
FROM unnest({unnest(PAYMENT_COLUMNS)}, ${len(PAYMENT_COLUMNS) + 1}::int[]) AS new ({PAYMENT}, old_version)
WHERE p.booking_id = new.booking_id AND p.version = new.old_version
RETURNING p.booking_id, {revision("p")} AS revision
"""
# Only over rows that nobody has written since, which are locked in the order in which everybody locks them.
_WANTED = f"""
WITH wanted AS (
    SELECT * FROM unnest({unnest(PAYMENT_COLUMNS)}, ${len(PAYMENT_COLUMNS) + 1}::text[]) AS w ({PAYMENT}, revision)
), """
_LOCKED = f"""locked AS (
    SELECT p.booking_id, w.revision
    FROM payments p JOIN wanted w ON w.booking_id = p.booking_id AND w.revision = {revision("p")}"""
_ORDER = "ORDER BY p.booking_id FOR NO KEY UPDATE OF p)"
_MOVE = f"""{_SET}
FROM wanted new JOIN locked ON locked.booking_id = new.booking_id
WHERE p.booking_id = new.booking_id RETURNING p.booking_id, {revision("p")} AS revision
"""
SAVE_AS_READ = f"{_WANTED}{_LOCKED} {_ORDER} {_MOVE}"
# Each event with the payment that it is of: stored where that is as it was read and has none of them yet. So an
# event counts once: a process that is just storing the same one has moved nothing by it, or it moves the row.
# Payments that do not move are written as they are.
_FIRST = len(PAYMENT_COLUMNS) + 2
SAVE_WITH_EVENTS = f"""{_WANTED}sent AS (
    SELECT * FROM unnest(
        ${_FIRST}::varchar[], ${_FIRST + 1}::varchar[], ${_FIRST + 2}::timestamptz[], ${_FIRST + 3}::varchar[],
        ${_FIRST + 4}::uuid[], ${_FIRST + 5}::uuid[]
    ) AS e (id, type, created, object_id, booking_id, payment)
), known AS (
    SELECT sent.payment FROM sent JOIN stripe_events s ON s.id = sent.id
), {_LOCKED}
    WHERE NOT EXISTS (SELECT FROM known WHERE known.payment = p.booking_id) {_ORDER},
stored AS (
    INSERT INTO stripe_events (id, type, created, received_at, object_id, booking_id)
    SELECT sent.id, type, created, ${_FIRST + 6}, object_id, sent.booking_id
    FROM sent JOIN locked ON locked.booking_id = sent.payment
    ORDER BY sent.id ON CONFLICT (id) DO NOTHING
) {_MOVE}
"""
# Of what is not paid, refunds and disputes need not be read.
LOAD_UNPAID = f"{LOAD} AND amount_captured = 0 AND dispute_status IS NULL"
REFUNDS = f"SELECT {REFUND} FROM refunds WHERE booking_id = ANY($1::uuid[]) ORDER BY created_at, id"
REFUND_FIXED = ("id", "booking_id", "created_at", "by_hand", "whole")
SAVE_REFUNDS = f"""
INSERT INTO refunds ({REFUND}) SELECT * FROM unnest({unnest(REFUND_COLUMNS)}) AS new
ON CONFLICT (id) DO UPDATE SET
{assignments((c for c in REFUND_COLUMNS if c not in REFUND_FIXED), "excluded")}
WHERE refunds.booking_id = excluded.booking_id
"""
DISPUTES = f"""
SELECT {DISPUTE} FROM disputes WHERE booking_id = ANY($1::uuid[]) ORDER BY coalesce(opened_at, seen_at), id
"""
SAVE_DISPUTES = f"""
INSERT INTO disputes ({DISPUTE}) SELECT * FROM unnest({unnest(DISPUTE_COLUMNS)}) AS new
ON CONFLICT (id) DO UPDATE SET
{assignments((c for c in DISPUTE_COLUMNS if c not in ("id", "booking_id")), "excluded")}
WHERE disputes.booking_id = excluded.booking_id
"""
STORE_EVENTS = """
INSERT INTO stripe_events (id, type, created, received_at, object_id, booking_id)
SELECT id, type, created, $6, object_id, booking_id
FROM unnest($1::varchar[], $2::varchar[], $3::timestamptz[], $4::varchar[], $5::uuid[])
    AS new (id, type, created, object_id, booking_id)
ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING id
"""
EVENT_COLUMNS = ("id", "type", "created", "object_id", "booking_id")
KNOWN_EVENTS = "SELECT id FROM stripe_events WHERE id = ANY($1::varchar[])"
KNOWN_ATTEMPTS = "SELECT id FROM payment_attempts WHERE id = ANY($1::varchar[])"
ADD_ATTEMPTS = """
INSERT INTO payment_attempts (id, booking_id, code, decline_code, message, at)
SELECT * FROM unnest($1::varchar[], $2::uuid[], $3::varchar[], $4::varchar[], $5::text[], $6::timestamptz[]) AS new
"""
# A version above ours, or another report under ours, was lost here: we count on above it. A booking that answers is
# there: its payment is no orphan (any more).
# Rows are locked in the order in which everybody locks them, so that no two wait for each other in a ring.
APPLIED = f"""
WITH told AS (
    SELECT id, max(version) AS version, max(version) FILTER (WHERE conflict) AS conflict
    FROM unnest($1::uuid[], $2::int[], $3::bool[]) AS t (id, version, conflict) GROUP BY id
), locked AS (
    SELECT p.booking_id, told.version,
        told.version > p.version OR coalesce(told.conflict >= p.version, false) AS behind
    FROM payments p JOIN told ON told.id = p.booking_id
    WHERE told.version > p.version OR told.conflict >= p.version OR p.report_after IS NOT NULL
        OR p.orphaned_at IS NOT NULL OR p.return_decided
    ORDER BY p.booking_id FOR NO KEY UPDATE OF p
)
UPDATE payments p SET
    version = CASE WHEN locked.behind THEN locked.version + 1 ELSE p.version END,
    reported_version = CASE WHEN locked.behind THEN p.reported_version
        ELSE greatest(p.reported_version, locked.version) END,
    report_after = CASE WHEN locked.behind THEN $4 WHEN locked.version = p.version THEN NULL
        ELSE p.report_after END,
    report_attempts = CASE WHEN locked.behind OR locked.version = p.version THEN 0 ELSE p.report_attempts END,
    orphaned_at = NULL, return_after = NULL, return_decided = false
FROM locked WHERE p.booking_id = locked.booking_id
RETURNING {", ".join(f"p.{column}" for column in PAYMENT_COLUMNS)}, {revision("p")} AS revision, locked.behind
"""
KEEP_ACCOUNT = """
UPDATE installation SET stripe_account = coalesce(stripe_account, $1) RETURNING stripe_account
"""


def _again(column: str, attempts: str) -> str:
    """The next time, in SQL: as `Retry.pause`, for all rows of a pass at once."""
    return (
        f"{column} = $1::timestamptz + least($3::interval * 2 ^ least({attempts}, 10), $4::interval)"
        f" * (0.5 + random() / 2), {attempts} = {attempts} + 1"
    )


def _take_due(table: str, key: str, column: str, attempts: str, returning: str) -> str:
    """Take due rows that nobody else has in hand, and put their next time forward."""
    return f"""
    WITH due AS (
        SELECT {key} AS due_key FROM {table} WHERE {column} <= $1
        ORDER BY {column} LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    UPDATE {table} t SET {_again(column, attempts)} FROM due WHERE t.{key} = due.due_key RETURNING {returning}
    """


DUE_REPORTS = _take_due("payments", "booking_id", "report_after", "report_attempts", PAYMENT)
DUE_PAYMENTS = _take_due("payments", "booking_id", "drive_after", "drive_attempts", PAYMENT)
DUE_LOOKS = _take_due("payments", "booking_id", "look_after", "look_attempts", "t.booking_id")
DUE_REFUNDS = _take_due("refunds", "id", "drive_after", "drive_attempts", REFUND)
DUE_STRAYS = _take_due("stray_intents", "intent_id", "drive_after", "drive_attempts", STRAY)
# Each is the first entry of a partial index: nothing is scanned when nothing is due.
NEXT_DUE = """
SELECT least(
    (SELECT min(report_after) FROM payments WHERE report_after IS NOT NULL),
    (SELECT min(drive_after) FROM payments WHERE drive_after IS NOT NULL),
    (SELECT min(look_after) FROM payments WHERE look_after IS NOT NULL),
    (SELECT min(drive_after) FROM refunds WHERE drive_after IS NOT NULL),
    (SELECT min(drive_after) FROM stray_intents WHERE drive_after IS NOT NULL)
)
"""
# From the newest event that is stored, all in Stripe's time; the epoch stands for never.
CURSOR_START = """
INSERT INTO event_cursor (name, looked_until, next_look_at)
SELECT $2::varchar, coalesce((SELECT max(created) FROM stripe_events), 'epoch'), $1::timestamptz
WHERE NOT EXISTS (SELECT FROM event_cursor WHERE name = $2::varchar) ON CONFLICT (name) DO NOTHING
"""
# What is further away than one period was written by a process whose clock was wrong.
CURSOR_TAKE = """
UPDATE event_cursor SET next_look_at = $1::timestamptz + $3::interval
WHERE name = $2 AND (next_look_at <= $1 OR next_look_at > $1::timestamptz + 2 * $3::interval)
RETURNING nullif(looked_until, 'epoch') AS looked_until, walked_to, walk_until
"""
FORGET_EVENTS = """
DELETE FROM stripe_events WHERE id IN (SELECT id FROM stripe_events WHERE created < $1 ORDER BY created LIMIT $2)
"""
# Whoever was slower than another one changes nothing.
CURSOR_MOVE = """
UPDATE event_cursor
SET looked_until = coalesce($4::timestamptz, looked_until), walked_to = $5::varchar, walk_until = $6::timestamptz,
    next_look_at = coalesce($7::timestamptz, next_look_at)
WHERE name = $1 AND nullif(looked_until, 'epoch') IS NOT DISTINCT FROM $2::timestamptz
    AND walked_to IS NOT DISTINCT FROM $3::varchar
"""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Up to where Stripe's event list is known, in Stripe's time; None: it was never looked at. Of a walk that has
    not come to its end, the last event it has seen and up to where it looks."""

    looked_until: datetime | None
    walked_to: str | None = None
    walk_until: datetime | None = None


def _payment(row: Any) -> Payment:
    values = dict(row)
    values["status"] = IntentStatus(values["status"])
    values["payment_methods"] = PaymentMethods(values["payment_methods"])
    if (error := values["last_error"]) is not None:
        values["last_error"] = PaymentError(**orjson.loads(error))
    return Payment(**values)


def _payments(rows: Iterable[Any]) -> dict[UUID, Payment]:
    return {row["booking_id"]: _payment(row) for row in rows}


def _revisions(rows: Iterable[Any]) -> dict[UUID, str]:
    return {row["booking_id"]: row["revision"] for row in rows}


def _payment_arrays(payments: Sequence[Payment]) -> list[list[Any]]:
    arrays = [[getattr(payment, column) for payment in payments] for column in PAYMENT_COLUMNS]
    errors = list(PAYMENT_COLUMNS).index("last_error")
    arrays[errors] = [None if error is None else orjson.dumps(error).decode() for error in arrays[errors]]
    return arrays


def _refund(row: Any) -> Refund:
    return Refund(**{**row, "status": RefundStatus(row["status"])})


class Transaction:
    """One transaction's view of the database: payments are read with their refunds and disputes."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.strays = StrayRows(connection)

    async def insert(self, payments: Sequence[Payment]) -> None:
        """Add payments; those that have come to be there in the meantime are left as they are."""
        await self._connection.execute(INSERT, *_payment_arrays(payments))

    async def load(self, ids: Sequence[UUID]) -> dict[UUID, Payment]:
        return await self.whole(_payments(await self._connection.fetch(LOAD, ids)))

    async def lock(self, ids: Sequence[UUID], intents: Sequence[str] = ()) -> dict[UUID, Payment]:
        """The payments of these bookings and these intents, in nobody else's hands until the transaction ends."""
        return await self.whole(_payments(await self._connection.fetch(LOCK, ids, intents)))

    async def whole(self, payments: dict[UUID, Payment]) -> dict[UUID, Payment]:
        """These payments with their refunds and disputes: only of captured money there are refunds."""
        captured = [id for id, payment in payments.items() if payment.amount_captured]
        disputed = [id for id, payment in payments.items() if payment.dispute_status is not None]
        refunds, disputes = await self._rows_of(REFUNDS, captured), await self._rows_of(DISPUTES, disputed)
        for id in refunds.keys() | disputes.keys():
            payments[id] = replace(
                payments[id],
                refunds=tuple(_refund(row) for row in refunds.get(id, ())),
                disputes=tuple(Dispute(**row) for row in disputes.get(id, ())),
            )
        return payments

    async def _rows_of(self, query: str, ids: Sequence[UUID]) -> dict[UUID, list[Any]]:
        found: dict[UUID, list[Any]] = {}
        for row in await self._connection.fetch(query, ids) if ids else ():
            found.setdefault(row["booking_id"], []).append(row)
        return found

    async def save(self, changes: Sequence[tuple[Payment, Payment]]) -> dict[UUID, str]:
        """Write (old, new) pairs of locked payments with their refunds and disputes; says their new revisions. The
        database refuses more refunds than was captured, when the transaction ends."""
        moved = [(old, new) for old, new in changes if _row(new) != _row(old)]
        written: dict[UUID, str] = {}
        if moved:
            arrays = _payment_arrays([new for _, new in moved])
            written = _revisions(await self._connection.fetch(SAVE, *arrays, [old.version for old, _ in moved]))
            if len(written) != len(moved):
                raise RuntimeError(f"{len(written)} of {len(moved)} locked payments")
        await self._save_all(
            SAVE_REFUNDS, REFUND_COLUMNS, (set(new.refunds) - set(old.refunds) for old, new in changes)
        )
        await self._save_all(
            SAVE_DISPUTES, DISPUTE_COLUMNS, (set(new.disputes) - set(old.disputes) for old, new in changes)
        )
        return written

    async def save_as_read(
        self,
        payments: Sequence[Payment],
        events: Sequence[tuple[UUID, StripeEvent]] = (),
        now: datetime | None = None,
    ) -> dict[UUID, str]:
        """In one statement: write these payments, and store events, each with the payment that it is of, where a
        payment's row has the revision that it was read in. Says which were written, and their revisions now."""
        arrays = [*_payment_arrays(payments), [each.revision for each in payments]]
        if not events:
            return _revisions(await self._connection.fetch(SAVE_AS_READ, *arrays))
        arrays += [*_event_arrays([event for _, event in events]), [id for id, _ in events]]
        return _revisions(await self._connection.fetch(SAVE_WITH_EVENTS, *arrays, now))

    async def _save_all(self, query: str, columns: Iterable[str], changed: Iterable[Iterable[Any]]) -> None:
        """Add or change these. Nothing is written over what is another booking's, whose id it has."""
        rows = sorted((each for some in changed for each in some), key=lambda each: str(each.id))
        if rows:
            answer = await self._connection.execute(query, *([getattr(row, c) for row in rows] for c in columns))
            if answer != f"INSERT 0 {len(rows)}":
                raise RuntimeError(f"{answer} of {len(rows)} refunds or disputes")

    async def store_events(self, events: Sequence[StripeEvent], now: datetime) -> set[str]:
        """Remember events; says the ids of those that were new. Here doubled webhooks end."""
        return {row["id"] for row in await self._connection.fetch(STORE_EVENTS, *_event_arrays(events), now)}

    async def known_attempts(self, ids: Sequence[str]) -> frozenset[str]:
        """Those of `ids` that are kept. Nobody else adds one while its payment is locked."""
        if not ids:
            return frozenset()
        return frozenset(row["id"] for row in await self._connection.fetch(KNOWN_ATTEMPTS, ids))

    async def add_attempts(self, attempts: Sequence[tuple[UUID, Attempt]]) -> None:
        """Keep attempts of locked payments. Raises UniqueViolationError for one that is known already."""
        if attempts:
            await self._connection.execute(
                ADD_ATTEMPTS,
                [attempt.id for _, attempt in attempts],
                [booking_id for booking_id, _ in attempts],
                [attempt.error.code for _, attempt in attempts],
                [attempt.error.decline_code for _, attempt in attempts],
                [attempt.error.message for _, attempt in attempts],
                [attempt.at for _, attempt in attempts],
            )


def _row(payment: Payment) -> Payment:
    """Without what other tables have."""
    return replace(payment, refunds=(), disputes=())


def _event_arrays(events: Sequence[StripeEvent]) -> list[list[Any]]:
    return [[getattr(event, column) for event in events] for column in EVENT_COLUMNS]


def _not_migrated() -> DatabaseAway:
    """Until it has the database counts as away: nothing is lost by waiting."""
    return DatabaseAway(
        "the database payment has no installation id: run holdfast migrate", stated=True, by_hand=True
    )


class Store:
    """The database `payment`, and what is remembered of it. Raises DatabaseAway while it cannot serve."""

    def __init__(self, database: Database, memory_max: int, metrics: Metrics) -> None:
        self._database = database
        self._installation: UUID | None = None
        # Payments that money may still come by, as they were written or read last: they have neither refunds nor
        # disputes, so that their row is all that is known of them.
        self.payments: Memory[UUID, Payment] = Memory("payments", memory_max, metrics)

    async def installation(self) -> UUID:
        """Which Holdfast this is; read once."""
        if self._installation is None:
            async with self._database.connection() as connection:
                self._installation = await connection.fetchval("SELECT id FROM installation")
            if self._installation is None:
                raise _not_migrated()
        return self._installation

    async def stripe_account(self) -> str | None:
        """The account at Stripe; None until payment has asked for it."""
        async with self._database.connection() as connection:
            account: str | None = await connection.fetchval("SELECT stripe_account FROM installation")
            return account

    async def keep_account(self, own: str) -> str:
        """The account that is kept: `own` where there was none yet."""
        async with self._database.connection() as connection:
            kept: str | None = await connection.fetchval(KEEP_ACCOUNT, own)
        if kept is None:
            raise _not_migrated()
        return kept

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One transaction, committed at the end of the block. No network call belongs inside."""
        with dropped_in_doubt(self.payments):
            async with self._database.transaction() as connection:
                yield Transaction(connection)

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[Transaction]:
        """For one statement that writes, in autocommit."""
        with dropped_in_doubt(self.payments):
            async with self._database.statement() as connection:
                yield Transaction(connection)

    def remember(self, payments: Iterable[Payment]) -> None:
        """After a commit: these are as the database holds them."""
        known = {each.booking_id: each for each in payments}
        self.payments.drop(known)
        self.payments.keep({id: each for id, each in known.items() if each.unpaid and not each.terminal})

    async def load(self, ids: Sequence[UUID]) -> dict[UUID, Payment]:
        """Payments as they are now, whole."""
        async with self._database.connection() as connection:
            return await Transaction(connection).load(ids)

    async def load_unpaid(self, ids: Sequence[UUID]) -> dict[UUID, Payment]:
        """Those of these payments that have no refunds and no disputes, as nothing was captured."""
        async with self._database.connection() as connection:
            return _payments(await connection.fetch(LOAD_UNPAID, ids))

    async def insert(self, payments: Sequence[Payment]) -> dict[UUID, str]:
        """Add payments; those that are there are left as they are. Says the revisions of the new ones."""
        with dropped_in_doubt(self.payments):
            async with self._database.statement() as connection:
                return _revisions(await connection.fetch(INSERT, *_payment_arrays(payments)))

    async def applied(self, versions: Sequence[tuple[UUID, int, bool]], now: datetime) -> set[UUID]:
        """The bookings hold these versions, the third says whether as another report: the newest need not be
        reported again. Says which payments were behind; these are due to be reported under a higher version."""
        with dropped_in_doubt(self.payments):
            async with self._database.statement() as connection:
                rows = [
                    dict(row)
                    for row in await connection.fetch(APPLIED, *map(list, zip(*versions, strict=True)), now)
                ]
        behind = {row["booking_id"] for row in rows if row.pop("behind")}
        remembered = self.payments.find(row["booking_id"] for row in rows)
        self.remember(_payments(row for row in rows if row["booking_id"] in remembered).values())
        return behind

    async def due_reports(self, now: datetime, limit: int) -> list[Payment]:
        """Payments whose booking has not acknowledged their newest version in time."""
        async with self._database.transaction() as connection:
            payments = _payments(await connection.fetch(DUE_REPORTS, now, limit, *REPORT_PAUSES))
            return list((await Transaction(connection).whole(payments)).values())

    async def due_payments(self, now: datetime, limit: int) -> list[Payment]:
        """Payments for which Stripe has to be asked again."""
        async with self._database.connection() as connection:
            return [_payment(row) for row in await connection.fetch(DUE_PAYMENTS, now, limit, *DRIVE_PAUSES)]

    async def due_looks(self, now: datetime, limit: int) -> list[UUID]:
        """Bookings whose payment has to be compared with Stripe's own object: an event did not say enough."""
        async with self._database.connection() as connection:
            return [row["booking_id"] for row in await connection.fetch(DUE_LOOKS, now, limit, *LOOK_PAUSES)]

    async def due_refunds(self, now: datetime, limit: int) -> list[Refund]:
        """Refunds that Stripe has not answered for."""
        async with self._database.connection() as connection:
            return [_refund(row) for row in await connection.fetch(DUE_REFUNDS, now, limit, *DRIVE_PAUSES)]

    async def due_strays(self, now: datetime, limit: int) -> list[Stray]:
        """Strays for which something has to be done."""
        async with self._database.connection() as connection:
            return [stray_of(row) for row in await connection.fetch(DUE_STRAYS, now, limit, *DRIVE_PAUSES)]

    async def count_orphans(self, since: datetime) -> int:
        """Orphans and strays that were found since, or that wait for something."""
        async with self._database.connection() as connection:
            return await StrayRows(connection).count(since)

    async def next_due(self) -> datetime | None:
        """When something is due next; None when everything is settled."""
        async with self._database.connection() as connection:
            due: datetime | None = await connection.fetchval(NEXT_DUE)
            return due

    async def take_cursor(self, name: str, now: datetime, every: timedelta) -> Cursor | None:
        """Where the look `name` goes on, for the first process of the fleet that asks in a period; else None."""
        async with self._database.connection() as connection:
            await connection.execute(CURSOR_START, now, name)
            row = await connection.fetchrow(CURSOR_TAKE, now, name, every)
            return None if row is None else Cursor(**row)

    async def move_cursor(self, name: str, old: Cursor, new: Cursor, again: datetime | None = None) -> None:
        """Note how far the look has come that began at `old`; the next one may be sooner than its period."""
        values = (old.looked_until, old.walked_to, new.looked_until, new.walked_to, new.walk_until)
        async with self._database.connection() as connection:
            await connection.execute(CURSOR_MOVE, name, *values, again)

    async def forget_events(self, before: datetime, limit: int) -> None:
        """Drop the oldest of the events from `before`, at most so many."""
        async with self._database.connection() as connection:
            await connection.execute(FORGET_EVENTS, before, limit)

    async def unknown_events(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that have not been taken in."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(KNOWN_EVENTS, ids)
        return set(ids) - {row["id"] for row in rows}
