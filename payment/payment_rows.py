"""The SQL of payments, refunds, disputes, failed attempts and Stripe events: one statement for a whole batch."""

# Statements are built from the column names below, never from data.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from itertools import product
from operator import attrgetter
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from pydantic import TypeAdapter

from common.contracts.statuses import IntentStatus, PaymentMethods
from common.contracts.values import PaymentError, Rejection
from common.postgres.attention import AttentionRows
from common.postgres.sql import as_json, assignments, few, recordset, revision, values
from payment.attention_rows import WATCHED
from payment.columns import columns, fields
from payment.disputes import Dispute
from payment.refunds import Refund, RefundStatus
from payment.state import Attempt, Payment
from payment.stray_rows import StrayRows
from payment.stripe_objects import StripeEvent

# A payment's columns, then the revision that was read, in the order of Payment's fields.
COLUMNS = columns(Payment, "refunds", "disputes")
PAYMENT_COLUMNS = tuple(COLUMNS)[:-1]
# A new payment has the defaults in the other columns.
NEW = (
    "booking_id", "event_id", "amount", "currency", "status", "asked_at", "created_at", "updated_at",
    "payment_methods", "description", "receipt_email", "cancel_requested", "deferred", "drive_after", "version",
    "report_after",
)  # fmt: skip
NEW_COLUMNS = {name: COLUMNS[name] for name in NEW}
# Columns that never change. Event and amount change only if a row without an intent was wrong.
FIXED = ("booking_id", "created_at", "payment_methods", "description")
CHANGED = tuple(column for column in PAYMENT_COLUMNS if column not in FIXED)
# The columns that a sale writes, from the intent to the payment. All others change seldom, and cost as much.
SALE = (
    "status", "updated_at", "intent_id", "client_secret", "charge_id", "amount_captured", "seen_at", "drive_after",
    "drive_attempts", "version", "report_after", "report_attempts",
)  # fmt: skip
# By whether all changes are of a sale's columns.
CHANGED_COLUMNS = {
    sale: {name: COLUMNS[name] for name in ("booking_id", "revision", *written)}
    for sale, written in ((True, SALE), (False, CHANGED))
}
REFUND_COLUMNS, DISPUTE_COLUMNS = columns(Refund), columns(Dispute)
EVENT_COLUMNS = {
    "id": "varchar", "type": "varchar", "created": "timestamptz", "received_at": "timestamptz",
    "object_id": "varchar", "booking_id": "uuid",
}  # fmt: skip
# The same with the booking of the payment that the Stripe event is about.
SENT_COLUMNS = EVENT_COLUMNS | {"payment": "uuid"}
ATTEMPT_COLUMNS = {
    "id": "varchar", "booking_id": "uuid", "code": "varchar", "decline_code": "varchar", "message": "text",
    "at": "timestamptz",
}  # fmt: skip
EVENT = ", ".join(EVENT_COLUMNS)
READ = f"{', '.join(PAYMENT_COLUMNS)}, {revision('payments')} AS revision"


def _insert(one: bool) -> str:
    """Insert payments that do not exist yet. All processes insert in the same order, so that none deadlock."""
    new = values("new", NEW_COLUMNS) if one else recordset("new", NEW_COLUMNS)
    return f"""
INSERT INTO payments ({", ".join(NEW)}) SELECT * FROM {new} ORDER BY 1
ON CONFLICT (booking_id) DO NOTHING RETURNING booking_id, {revision("payments")} AS revision
"""


def _save(one: bool, events: bool, sale: bool) -> str:
    """Update the payments that no process has written since they were read. They are locked first, in the order in
    which every process locks them.

    With `events`, a payment is written only if none of its Stripe events was stored before, and its events are
    stored only if it is written. So each is applied once: if another process stores the same one at this moment,
    either it changes the row, so that this statement cannot, or it applies nothing. A row that no event changes is
    written as it is."""
    columns = CHANGED_COLUMNS[sale]
    new = values("new", columns) if one else recordset("new", columns, sought="booking_id")
    sent = values("sent", SENT_COLUMNS, len(columns) + 1) if one else recordset("sent", SENT_COLUMNS, 2)
    # MATERIALIZED, so that this is read once and not for each payment.
    sent = f"""sent AS (SELECT * FROM {sent}), known AS MATERIALIZED (
    SELECT sent.payment FROM sent JOIN stripe_events s ON s.id = sent.id WHERE {few("sent.id")}
), """
    stored = f""", stored AS (
    INSERT INTO stripe_events ({EVENT}) SELECT {", ".join(f"sent.{column}" for column in EVENT_COLUMNS)}
    FROM sent JOIN unchanged ON unchanged.booking_id = sent.payment ORDER BY sent.id ON CONFLICT (id) DO NOTHING
)"""
    return f"""
WITH {sent if events else ""}unchanged AS (
    SELECT new.* FROM {new}
    JOIN payments p ON p.booking_id = new.booking_id AND new.revision = {revision("p")}
    {"WHERE NOT EXISTS (SELECT FROM known WHERE known.payment = new.booking_id)" if events else ""}
    ORDER BY p.booking_id FOR NO KEY UPDATE OF p
){stored if events else ""}
UPDATE payments p SET {assignments(SALE if sale else CHANGED, "new")}
FROM unchanged new WHERE p.booking_id = new.booking_id RETURNING p.booking_id, {revision("p")} AS revision
"""


def _upsert(table: str, columns: Mapping[str, str]) -> str:
    """Insert or update rows. A row with the same id that belongs to another booking is not overwritten."""
    changing = (column for column in columns if column not in ("id", "booking_id"))
    return f"""
INSERT INTO {table} ({", ".join(columns)}) SELECT * FROM {recordset("new", columns)}
ON CONFLICT (id) DO UPDATE SET {assignments(changing, "excluded")}
WHERE {table}.booking_id = excluded.booking_id
"""


REJECTION = TypeAdapter(Rejection)
# By whether there is only one row.
INSERT = {one: _insert(one) for one in (False, True)}
# By that, whether there are Stripe events, and whether all changes are of a sale's columns.
SAVE = {kind: _save(*kind) for kind in product((False, True), repeat=3)}
LOAD = f"SELECT {READ} FROM payments WHERE booking_id = ANY($1::uuid[])"
LOCK = f"{LOAD} OR intent_id = ANY($2::varchar[]) ORDER BY booking_id FOR NO KEY UPDATE"
REFUNDS = (
    f"SELECT {', '.join(REFUND_COLUMNS)} FROM refunds WHERE booking_id = ANY($1::uuid[]) ORDER BY created_at, id"
)
DISPUTES = f"""
SELECT {", ".join(DISPUTE_COLUMNS)} FROM disputes
WHERE booking_id = ANY($1::uuid[]) ORDER BY coalesce(opened_at, seen_at), id
"""
SAVE_REFUNDS, SAVE_DISPUTES = _upsert("refunds", REFUND_COLUMNS), _upsert("disputes", DISPUTE_COLUMNS)
STORE_EVENTS = f"""
INSERT INTO stripe_events ({EVENT}) SELECT * FROM {recordset("new", EVENT_COLUMNS)}
ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING id
"""
KNOWN_ATTEMPTS = "SELECT id FROM payment_attempts WHERE id = ANY($1::varchar[])"
ADD_ATTEMPTS = f"""
INSERT INTO payment_attempts ({", ".join(ATTEMPT_COLUMNS)}) SELECT * FROM {recordset("new", ATTEMPT_COLUMNS)}
"""
VERSION_COLUMNS = {"booking_id": "uuid", "version": "int", "conflict": "bool"}
APPLIED_COLUMNS = (
    "version", "reported_version", "report_after", "report_attempts", "orphaned_at", "return_after",
    "return_decided", "return_decided_by", "revision",
)  # fmt: skip
APPLIED_FIELDS = fields(APPLIED_COLUMNS)
# If booking has a version above ours, or other contents for ours, this database has lost it: the next version is
# above it. A payment whose booking answers is no orphan (any more). Rows are locked in the order in which every
# process locks them, so that none deadlock.
APPLIED = f"""
WITH applied AS (
    SELECT booking_id, max(version) AS version, max(version) FILTER (WHERE conflict) AS conflict
    FROM {recordset("applied", VERSION_COLUMNS, sought="booking_id")} GROUP BY booking_id
), locked AS (
    SELECT p.booking_id, applied.version, {revision("p")} AS revision,
        applied.version > p.version OR coalesce(applied.conflict >= p.version, false) AS behind
    FROM payments p JOIN applied USING (booking_id)
    WHERE applied.version > p.version OR applied.conflict >= p.version OR p.orphaned_at IS NOT NULL
        OR p.return_decided OR applied.version = p.version AND p.report_after IS NOT NULL
    ORDER BY p.booking_id FOR NO KEY UPDATE OF p
)
UPDATE payments p SET
    version = CASE WHEN locked.behind THEN locked.version + 1 ELSE p.version END,
    reported_version = CASE WHEN locked.behind THEN p.reported_version
        ELSE greatest(p.reported_version, locked.version) END,
    report_after = CASE WHEN locked.behind THEN $2 WHEN locked.version = p.version THEN NULL
        ELSE p.report_after END,
    report_attempts = CASE WHEN locked.behind OR locked.version = p.version THEN 0 ELSE p.report_attempts END,
    orphaned_at = NULL, return_after = NULL, return_decided = false, return_decided_by = NULL
FROM locked WHERE p.booking_id = locked.booking_id
RETURNING p.booking_id, locked.revision, locked.behind,
    {", ".join(f"p.{column}" for column in APPLIED_COLUMNS[:-1])}, {revision("p")}
"""
# What a payment can wait for: the tables, and the column with the retry time, which has its own index.
WAITS = (
    ("payments p", "p.report_after"),
    ("payments p", "p.drive_after"),
    ("payments p", "p.look_after"),
    ("refunds r JOIN payments p ON p.booking_id = r.booking_id", "r.drive_after"),
)
DUE = " UNION ".join(
    f"""
SELECT * FROM (
    SELECT p.booking_id FROM {tables} WHERE {after} <= $1 ORDER BY {after} LIMIT $2
    FOR NO KEY UPDATE OF p SKIP LOCKED
) AS due"""
    for tables, after in WAITS
)


def _payment(row: Any) -> Payment:
    """The payment from a row with the columns of READ."""
    payment = Payment(*row[: len(COLUMNS)])
    error: Any = payment.last_error
    rejection: Any = payment.rejection
    return payment._replace(
        status=IntentStatus(payment.status),
        payment_methods=PaymentMethods(payment.payment_methods),
        last_error=None if error is None else PaymentError(**orjson.loads(error)),
        rejection=None if rejection is None else REJECTION.validate_json(rejection),
    )


def _refund(row: Any) -> Refund:
    return replace(Refund(*row), status=RefundStatus(row["status"]))


_new = attrgetter(*fields(NEW))
_changed = {sale: attrgetter(*fields(columns)) for sale, columns in CHANGED_COLUMNS.items()}
_beside_sale = attrgetter(*fields(column for column in CHANGED if column not in SALE))
_refund_values, _dispute_values = attrgetter(*fields(REFUND_COLUMNS)), attrgetter(*DISPUTE_COLUMNS)


def _event_row(event: StripeEvent, now: datetime, payment: UUID | None = None) -> tuple[Any, ...]:
    """The values of SENT_COLUMNS."""
    return event.id, event.type, event.created, now, event.object_id, event.booking_id, payment


def _parameters(one: bool, *tables: tuple[Sequence[tuple[Any, ...]], Iterable[str]]) -> list[Any]:
    """The query's parameters for these tables of (rows, columns): with `one` row in each, its values."""
    if one:
        row = [value for rows, _ in tables for value in rows[0]]
        return [
            orjson.dumps(value).decode() if isinstance(value, PaymentError | Rejection) else value for value in row
        ]
    return [as_json(rows, columns) for rows, columns in tables]


class PaymentRows:
    """Reads and writes rows, in one transaction or in autocommit. Payments are read with refunds and disputes."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.strays = StrayRows(connection)
        self.attention = AttentionRows(connection, WATCHED)

    async def insert(self, payments: Sequence[Payment]) -> dict[UUID, str]:
        """Insert the payments that do not exist yet; returns their revisions."""
        one = len(payments) == 1
        rows = await self._connection.fetch(INSERT[one], *_parameters(one, (list(map(_new, payments)), NEW)))
        return {row["booking_id"]: row["revision"] for row in rows}

    async def load(self, ids: Sequence[UUID]) -> dict[UUID, Payment]:
        return await self._with_parts(await self._connection.fetch(LOAD, ids))

    async def lock(self, ids: Sequence[UUID], intents: Sequence[str] = ()) -> dict[UUID, Payment]:
        """The payments of these bookings and these intents, locked until the transaction ends."""
        return await self._with_parts(await self._connection.fetch(LOCK, ids, intents))

    async def take_due(self, now: datetime, limit: int) -> list[Payment]:
        """Payments with a retry time that has come and that no other process has locked, now locked: at most
        `limit` for each kind of retry time."""
        due = await self._connection.fetch(DUE, now, limit)
        return list((await self.lock([row["booking_id"] for row in due])).values())

    async def _with_parts(self, rows: Sequence[Any]) -> dict[UUID, Payment]:
        """The payments with their refunds and disputes. Only a captured payment has refunds."""
        payments = {row["booking_id"]: _payment(row) for row in rows}
        captured = [id for id, payment in payments.items() if payment.amount_captured]
        disputed = [id for id, payment in payments.items() if payment.dispute_status is not None]
        for row in await self._connection.fetch(REFUNDS, captured) if captured else ():
            old = payments[row["booking_id"]]
            payments[old.booking_id] = old._replace(refunds=(*old.refunds, _refund(row)))
        for row in await self._connection.fetch(DISPUTES, disputed) if disputed else ():
            old = payments[row["booking_id"]]
            payments[old.booking_id] = old._replace(disputes=(*old.disputes, Dispute(*row)))
        return payments

    async def save(
        self,
        changes: Sequence[tuple[Payment, Payment]],
        events: Sequence[tuple[UUID, StripeEvent]] = (),
        now: datetime | None = None,
    ) -> dict[UUID, str]:
        """Write the (old, new) pairs whose rows have not changed since they were read (`revision`), and store
        `events`, each with the booking of its payment. Returns the new revisions of the payments that were written.
        A change of refunds or disputes needs the payment locked. At the end of the transaction the database refuses
        refunds of more than was captured."""
        if not changes:
            return {}
        sale = all(_beside_sale(old) == _beside_sale(new) for old, new in changes)
        tables = [([_changed[sale](new) for _, new in changes], CHANGED_COLUMNS[sale])]
        if events:
            assert now is not None
            tables.append(([_event_row(event, now, id) for id, event in events], SENT_COLUMNS))
        one = all(len(rows) == 1 for rows, _ in tables)
        written = await self._connection.fetch(SAVE[one, bool(events), sale], *_parameters(one, *tables))
        refunds = [each for old, new in changes for each in new.refunds if each not in old.refunds]
        disputes = [each for old, new in changes for each in new.disputes if each not in old.disputes]
        await self._save_all(SAVE_REFUNDS, REFUND_COLUMNS, map(_refund_values, refunds))
        await self._save_all(SAVE_DISPUTES, DISPUTE_COLUMNS, map(_dispute_values, disputes))
        return {row["booking_id"]: row["revision"] for row in written}

    async def _save_all(self, query: str, columns: Iterable[str], values: Iterable[tuple[Any, ...]]) -> None:
        """Insert or update rows with these values of `columns`, in the order of their ids (the first column)."""
        if rows := sorted(values, key=lambda row: str(row[0])):
            answer = await self._connection.execute(query, as_json(rows, columns))
            if answer != f"INSERT 0 {len(rows)}":
                raise RuntimeError(f"{answer} of {len(rows)} refunds or disputes")

    async def applied(
        self, versions: Sequence[tuple[UUID, int, bool]], now: datetime
    ) -> list[tuple[UUID, str, bool, dict[str, Any]]]:
        """Booking has applied these versions (the third field: with other contents). Returns for each row written:
        its booking, its revision before, whether it was behind (and will be reported), and its new values."""
        rows = await self._connection.fetch(APPLIED, as_json(versions, VERSION_COLUMNS), now)
        return [(*row[:3], dict(zip(APPLIED_FIELDS, row[3:], strict=True))) for row in rows]

    async def store_events(self, events: Sequence[StripeEvent], now: datetime) -> set[str]:
        """Store Stripe events; returns the ids of those that were new, so that a repeated webhook has no effect."""
        new = as_json([_event_row(event, now) for event in events], SENT_COLUMNS)
        return {row["id"] for row in await self._connection.fetch(STORE_EVENTS, new)}

    async def known_attempts(self, ids: Sequence[str]) -> frozenset[str]:
        """Those of `ids` that are saved. No other process can add one while its payment is locked."""
        rows = await self._connection.fetch(KNOWN_ATTEMPTS, ids) if ids else ()
        return frozenset(row["id"] for row in rows)

    async def add_attempts(self, attempts: Iterable[tuple[UUID, Attempt]]) -> None:
        """Save attempts of locked payments. Raises UniqueViolationError for one that is saved already."""
        rows = [{"id": each.id, "booking_id": id, "at": each.at, **asdict(each.error)} for id, each in attempts]
        if rows:
            await self._connection.execute(ADD_ATTEMPTS, as_json(rows))
