"""Rows of the release before: what the migration changes in them, and what processes of that release write."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from typing import Any

from common.contracts.messages import SyncPayment
from tests.payment.stage import Stage, booking
from tests.payment.test_disputes import disputed_twice, seen

MIGRATION: Any = import_module("payment.migrations.0005_disputes_and_looks")


async def test_payments_that_were_disputed_are_fetched_once(stage: Stage) -> None:
    """The one column had the last dispute only; Stripe has all of them, and they become rows."""
    of, _ = await disputed_twice(stage)
    other = booking()
    await stage.paid(other)
    await stage.rows("UPDATE payments SET dispute_status = 'won' WHERE booking_id = $1", of.id)
    await stage.rows(MIGRATION.LOOK_AT_DISPUTED)

    assert [due.booking_id for due in await stage.due("check_at", timedelta(minutes=1))] == [of.id]
    (report,) = await stage.do(SyncPayment(booking_id=of.id))
    assert (report.payment.disputed, seen(report)) == (True, [("lost", 2000), ("won", 3000)])
    assert (await stage.row(of))["look_after"] is None


async def test_client_secrets_of_ended_payments_are_deleted(stage: Stage) -> None:
    """The secrets of other payments stay."""
    ended, open_ = booking(), booking()
    await stage.paid(ended)
    (made,) = await stage.do(open_.create)
    async with stage.database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("ALTER TABLE payments DISABLE TRIGGER payments_secret_ends")
        await connection.execute("UPDATE payments SET client_secret = 'kept' WHERE booking_id = $1", ended.id)
        await connection.execute(MIGRATION.NO_OLD_SECRETS)
        secrets = await connection.fetch("SELECT booking_id, client_secret FROM payments")
        await transaction.rollback()
    assert dict(secrets) == {ended.id: None, open_.id: made.payment.client_secret}


async def test_the_cursor_goes_back_by_more_than_clocks_may_be_apart(stage: Stage) -> None:
    """The cursor was in our own time: what it has passed over is read again."""
    now = stage.clock()
    await stage.rows("INSERT INTO event_cursor VALUES ('stripe', $1, $1)", now)
    await stage.rows(MIGRATION.IN_STRIPES_TIME)
    (row,) = await stage.rows("SELECT looked_until FROM event_cursor")
    assert row["looked_until"] == now - timedelta(minutes=10)
