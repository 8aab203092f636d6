"""The store of the payment actor: its database and this process' memory of it. The SQL of rows is in
`payment_rows.py` and `stray_rows.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from common.postgres.database import Database
from common.postgres.memory import BaseStore, Memory
from common.runtime.outages import DatabaseOutage
from common.runtime.telemetry import Metrics
from payment.payment_rows import PaymentRows
from payment.state import Payment

KEEP_ACCOUNT = """
UPDATE installation SET stripe_account = coalesce(stripe_account, $1) RETURNING stripe_account
"""
KNOWN_EVENTS = "SELECT id FROM stripe_events WHERE id = ANY($1::varchar[])"
# Each minimum is the first entry of a partial index, so nothing is scanned when nothing is due.
NEXT_DUE = """
SELECT least(
    (SELECT min(report_after) FROM payments WHERE report_after IS NOT NULL),
    (SELECT min(drive_after) FROM payments WHERE drive_after IS NOT NULL),
    (SELECT min(look_after) FROM payments WHERE look_after IS NOT NULL),
    (SELECT min(drive_after) FROM refunds WHERE drive_after IS NOT NULL),
    (SELECT min(drive_after) FROM stray_intents WHERE drive_after IS NOT NULL)
)
"""
# A new cursor starts at the newest Stripe event that is stored, by Stripe's time; the epoch means never.
CURSOR_START = """
INSERT INTO event_cursor (name, looked_until, next_look_at)
SELECT $2::varchar, coalesce((SELECT max(created) FROM stripe_events), 'epoch'), $1::timestamptz
WHERE NOT EXISTS (SELECT FROM event_cursor WHERE name = $2::varchar) ON CONFLICT (name) DO NOTHING
"""
# While webhooks arrive, the next catch-up is up to three periods away. A time more than four periods away was
# written by a process whose clock was wrong.
CURSOR_TAKE = """
UPDATE event_cursor SET next_look_at = $1::timestamptz + $3::interval
WHERE name = $2 AND (next_look_at <= $1 OR next_look_at > $1::timestamptz + 4 * $3::interval)
RETURNING nullif(looked_until, 'epoch') AS scanned_until, walked_to, walk_until
"""
FORGET_EVENTS = """
DELETE FROM stripe_events WHERE id IN (SELECT id FROM stripe_events WHERE created < $1 ORDER BY created LIMIT $2)
"""
# A process that is slower than another one changes nothing.
CURSOR_MOVE = """
UPDATE event_cursor
SET looked_until = coalesce($4::timestamptz, looked_until), walked_to = $5::varchar, walk_until = $6::timestamptz,
    next_look_at = $7::timestamptz
WHERE name = $1 AND nullif(looked_until, 'epoch') IS NOT DISTINCT FROM $2::timestamptz
    AND walked_to IS NOT DISTINCT FROM $3::varchar
"""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Up to what time Stripe's event list was read, by Stripe's time; None: it was never read. For a walk that is
    not complete: the last event that it has read, and the time up to which it reads."""

    scanned_until: datetime | None
    walked_to: str | None = None
    walk_until: datetime | None = None


def _not_migrated() -> DatabaseOutage:
    """The database counts as unavailable until it has an installation id: nothing is lost by waiting."""
    return DatabaseOutage(
        "the database payment has no installation id: run holdfast migrate", reported=True, needs_operator=True
    )


class Store(BaseStore[PaymentRows]):
    """The database `payment`."""

    def __init__(self, database: Database, memory_max: int, metrics: Metrics) -> None:
        self._installation: UUID | None = None
        # Payments that can still be paid, as they were last written or read. They have neither refunds nor
        # disputes, so their row is the whole payment.
        self.payments = Memory[UUID, Payment]("payments", memory_max, metrics)
        super().__init__(database, PaymentRows, self.payments)

    async def installation(self) -> UUID:
        """This Holdfast's id; read once."""
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
        """The account in the database; `own` is saved if there was none yet."""
        async with self._database.connection() as connection:
            kept: str | None = await connection.fetchval(KEEP_ACCOUNT, own)
        if kept is None:
            raise _not_migrated()
        return kept

    def remember(self, payments: Iterable[Payment]) -> None:
        """Put these into memory after a commit, when they are as in the database."""
        known = {each.booking_id: each for each in payments}
        self.payments.drop(known)
        self.payments.keep({id: each for id, each in known.items() if each.unpaid and not each.terminal})

    async def applied(self, versions: Sequence[tuple[UUID, int, bool]], now: datetime) -> set[UUID]:
        """Save that booking has applied these versions (the third field: with other contents), so that the newest
        is not reported again. Returns the payments that were behind, which are due with a higher version."""
        async with self.statement() as rows:
            applied = await rows.applied(versions, now)
        known = self.payments.find(id for id, *_ in applied)
        self.payments.drop(known)
        self.payments.keep(
            {
                id: known[id]._replace(**new)
                for id, before, _, new in applied
                if id in known and known[id].revision == before
            }
        )
        return {id for id, _, behind, _ in applied if behind}

    async def next_due(self) -> datetime | None:
        """The next retry time of all rows; None when nothing waits."""
        async with self._database.connection() as connection:
            due: datetime | None = await connection.fetchval(NEXT_DUE)
            return due

    async def take_cursor(self, name: str, now: datetime, every: timedelta) -> Cursor | None:
        """The cursor `name`, for the first process of the fleet that asks in a period of `every`; else None."""
        async with self._database.connection() as connection:
            await connection.execute(CURSOR_START, now, name)
            row = await connection.fetchrow(CURSOR_TAKE, now, name, every)
            return None if row is None else Cursor(**row)

    async def move_cursor(self, name: str, old: Cursor, new: Cursor, again: datetime) -> None:
        """Save how far the catch-up that began at `old` has read, and when the next one is due (`again`)."""
        values = (old.scanned_until, old.walked_to, new.scanned_until, new.walked_to, new.walk_until)
        async with self._database.connection() as connection:
            await connection.execute(CURSOR_MOVE, name, *values, again)

    async def forget_events(self, before: datetime, limit: int) -> None:
        """Delete the oldest `limit` Stripe events from before `before`."""
        async with self._database.connection() as connection:
            await connection.execute(FORGET_EVENTS, before, limit)

    async def unknown_events(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that are not stored."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(KNOWN_EVENTS, ids)
        return set(ids) - {row["id"] for row in rows}
