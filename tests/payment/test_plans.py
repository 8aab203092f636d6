"""The reconciler's queries read the indexes of due rows and nothing else, however many rows are finished."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any, NoReturn

import orjson
import pytest

from common.contracts.attention import AttentionKind
from common.messaging.publisher import Publisher
from common.messaging.redis import connect
from common.postgres.database import Database, open_database
from common.runtime.reconciler import POLL_SECONDS
from common.runtime.telemetry import Metrics
from payment import attention_rows, payment_rows, stray_rows
from payment.payment_rows import DUE
from payment.reconciler import PaymentReconciler
from payment.repository import NEXT_DUE, Store
from payment.stray_rows import TAKE_DUE
from tests.payment.stage import TABLES, Clock, Stage
from tests.plans import parts, planned, read_tables, read_whole

MANY_PAYMENTS = """
INSERT INTO payments
    (booking_id, amount, currency, status, intent_id, amount_captured, asked_at, created_at, updated_at, version)
SELECT gen_random_uuid(), 100, 'eur', 'succeeded', 'pi_' || n, 100, now(), now(), now(), 1
FROM generate_series(1, 20000) AS n
"""
MANY_REFUNDS = """
INSERT INTO refunds (id, booking_id, amount, status, asked_at, created_at, updated_at)
SELECT gen_random_uuid(), booking_id, 100, 'failed', now(), now(), now() FROM payments
"""
MANY_STRAYS = """
INSERT INTO stray_intents (intent_id, booking_id, found_at, return_after, status)
SELECT 'pi_stray_' || n, gen_random_uuid(), now(), now(), 'canceled' FROM generate_series(1, 20000) AS n
"""
MANY_EVENTS = """
INSERT INTO stripe_events (id, type, created, received_at)
SELECT 'evt_' || n, 'payment_intent.succeeded', now(), now() FROM generate_series(1, 20000) AS n
"""
TYPES, VALUES = "(timestamptz, int)", "(now(), 200)"
REPORTS, PAYMENTS, REFUNDS = "payments_report_due", "payments_drive_due", "refunds_drive_due"
CHECKS, STRAYS = "payments_look_due", "stray_intents_due"
# The query, and the indexes that it may read.
QUERIES = {
    "next": (NEXT_DUE, "", "", {REPORTS, PAYMENTS, CHECKS, REFUNDS, STRAYS}),
    "payments": (DUE, TYPES, VALUES, {REPORTS, PAYMENTS, CHECKS, REFUNDS}),
    "strays": (TAKE_DUE, TYPES, VALUES, {STRAYS}),
}


async def scans(database: Database, query_name: str) -> list[dict[str, Any]]:
    """The scans of tables that Postgres did for this query; the transaction is rolled back."""
    query, types, values, _ = QUERIES[query_name]
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(f"PREPARE due {types} AS {query}")
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE due {values}")
        await connection.execute("DEALLOCATE due")
        await transaction.rollback()
    steps = parts(orjson.loads(plan)[0]["Plan"])
    return [step for step in steps if "Relation Name" in step and "Scan" in step["Node Type"]]


@pytest.fixture(scope="module")
async def finished(migrated_database: Callable[..., Awaitable[str]]) -> AsyncIterator[Database]:
    """A database with very many finished payments and nothing else, which no test changes."""
    async with open_database(await migrated_database("payment", "payment_finished"), 2) as database:
        await fill(database)
        yield database


async def fill(database: Database) -> None:
    """Make very many finished payments, with their refunds and Stripe events, and stray intents. TRUNCATE also
    removes from the indexes what earlier tests have deleted."""
    async with database.connection() as connection:
        for query in (
            "TRUNCATE payments, stripe_events CASCADE",
            "TRUNCATE stray_intents",
            MANY_PAYMENTS,
            MANY_REFUNDS,
            MANY_STRAYS,
            MANY_EVENTS,
            "ANALYZE payments, refunds, stray_intents, stripe_events",
        ):
            await connection.execute(query)


async def test_with_nothing_due_no_row_is_read(finished: Database) -> None:
    """The indexes of due rows are empty: one or two blocks of each are read."""
    for query_name, (_, _, _, indexes) in QUERIES.items():
        read = await scans(finished, query_name)
        done = [step for step in read if step["Actual Loops"]]
        assert {step["Index Name"] for step in done} == indexes
        assert all(step["Node Type"] in ("Index Scan", "Index Only Scan") for step in read)
        assert sum(step["Actual Rows"] for step in done) == 0
        assert all(step["Shared Hit Blocks"] + step["Shared Read Blocks"] <= 2 for step in done)


async def test_only_due_rows_are_read(stage: Stage) -> None:
    """For due refunds, their payments are read by their keys."""
    await fill(stage.database)
    expected = 0
    for table, column, rows in (
        ("payments", "report_after", 10),
        ("payments", "drive_after", 10),
        ("payments", "look_after", 10),
        ("refunds", "drive_after", 20),
    ):
        some = f"SELECT ctid FROM {table} LIMIT 10"
        await stage.rows(f"UPDATE {table} SET {column} = now() - interval '1 s' WHERE ctid = ANY(ARRAY({some}))")
        await stage.rows(f"ANALYZE {table}")
        read = await scans(stage.database, "payments")
        assert all(step["Node Type"] == "Index Scan" for step in read)
        expected += rows
        assert sum(step["Actual Rows"] * step["Actual Loops"] for step in read) == expected


# What is saved, and the tables whose rows that statement finds by their keys.
SAVED = {
    "batch": (payment_rows.SAVE[False, False, False], {"payments"}, "booking_id"),
    "lone": (payment_rows.SAVE[True, False, False], {"payments"}, "booking_id"),
    "lone sale": (payment_rows.SAVE[True, False, True], {"payments"}, "booking_id"),
    "batch with events": (payment_rows.SAVE[False, True, False], {"payments", "stripe_events"}, "id"),
    "sales with events": (payment_rows.SAVE[False, True, True], {"payments", "stripe_events"}, "id"),
    "lone with events": (payment_rows.SAVE[True, True, False], {"payments", "stripe_events"}, "id"),
    "reports applied": (payment_rows.APPLIED, {"payments"}, "booking_id"),
    "strays": (stray_rows.SAVE, {"stray_intents"}, "(intent_id)::text"),
}


@pytest.mark.parametrize("saved", SAVED)
async def test_a_plan_made_for_empty_tables_scans_none_of_them(stage: Stage, saved: str) -> None:
    """Postgres keeps that plan while a sale fills the tables."""
    query, tables, key = SAVED[saved]
    done = await planned(stage.database, query, new=[TABLES])
    assert read_tables(done) == tables
    assert read_whole(done, key) == []


@pytest.mark.parametrize("saved", SAVED)
async def test_saved_rows_are_found_by_their_keys(finished: Database, saved: str) -> None:
    """However many payments there are; and no step goes through the batch once for each of its rows."""
    query, tables, key = SAVED[saved]
    done = await planned(finished, query)
    assert read_tables(done) == tables
    assert read_whole(done, key) == []
    assert not any(f"{key} = " in step.get("Join Filter", "") for step in done)


@pytest.mark.parametrize(
    ("kind", "indexes"),
    [
        (AttentionKind.DISPUTE, {"disputes_to_answer"}),
        (AttentionKind.MONEY_WITHOUT_BOOKING, {"payments_without_booking", "stray_intents_open"}),
    ],
)
async def test_what_needs_a_person_is_read_from_an_index_of_its_own(
    stage: Stage, finished: Database, kind: AttentionKind, indexes: set[str]
) -> None:
    """Also where Postgres has planned the statement for new tables."""
    query = attention_rows.WATCHED[kind].query
    for done in (await planned(finished, query), await planned(stage.database, query, new=[TABLES])):
        assert {step["Index Name"] for step in done if "Index Name" in step} == indexes, done
        assert not any(step["Node Type"] == "Seq Scan" for step in done), done


class PollsOnly(Store):
    """Counts the queries for the next due time, and fails on a transaction."""

    polls = 0

    async def next_due(self) -> datetime | None:
        self.polls += 1
        return await super().next_due()

    def transaction(self) -> NoReturn:
        raise AssertionError("nothing is due")


async def test_an_idle_reconciler_makes_one_query(finished: Database) -> None:
    """It reads no rows and asks Redis nothing, which is not even running; then it sleeps."""
    repository, nowhere = PollsOnly(finished, 0, Metrics()), connect("redis://127.0.0.1:1/0")
    reconciler = PaymentReconciler(repository, Publisher(nowhere, source="/payment/test"), Clock())
    pauses = [await reconciler.run_once() for _ in range(3)]
    await nowhere.aclose()

    assert (pauses, repository.polls) == ([POLL_SECONDS] * 3, 3)
