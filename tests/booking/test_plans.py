"""The reconciler's queries read the indexes of due rows and nothing else, however many rows are finished."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

import orjson
import pytest
from redis.asyncio import Redis

from booking.announcement_rows import CLEAR, OLDEST, TAKE
from booking.attention_rows import WATCHED
from booking.booking_rows import INSERT, SAVE, SAVE_GIVEN_BACK, TAKE_DUE, page_query
from booking.cancellation_rows import LEFT
from booking.door_rows import CHANGES, CHECK_IN, COUNTS, OF_BOOKINGS, UNDO, WERE_CONFIRMED
from booking.erasure_rows import COUNT
from booking.event_rows import CHANGE_TICKET_TYPES, EVENT_PAGE
from booking.operator_requests import FIND
from booking.promo_code_rows import FIND as FIND_CODES
from booking.reconciler import BookingReconciler
from booking.recovery_rows import KEEP, REFERENCED, USE
from booking.repository import NEXT_DUE, Store
from booking.repository import TAKE_DUE as TAKE_DUE_ROWS
from booking.waiting_rows import BY_ID, END, FIRST, OPEN
from booking.waiting_rows import COUNT as COUNT_WAITING
from common.contracts.attention import AttentionKind
from common.contracts.messages import ListBookings
from common.messaging.publisher import Publisher
from common.messaging.redis import connect
from common.postgres.database import Database, open_database
from common.runtime.reconciler import POLL_SECONDS
from tests.booking.stage import TERMS, Stage
from tests.plans import parts, planned

# Confirmed and cancelled bookings; the events are not theirs.
MANY_BOOKINGS = """
INSERT INTO bookings (id, owner, event_id, items, amount, currency, status, payment, created_at, updated_at)
SELECT gen_random_uuid(), 'alice', gen_random_uuid(), '[]', 0, 'eur',
    CASE n % 3 WHEN 0 THEN 'cancelled' ELSE 'confirmed' END, 'none', now(), now()
FROM generate_series(1, 20000) AS n
"""
MANY_EVENTS = """
INSERT INTO events (id, name, starts_at, currency, on_sale, max_per_booking, content_hash, created_at)
SELECT gen_random_uuid(), 'Concert', now(), 'eur', true, 10, '', now() FROM generate_series(1, 5000)
"""
FILL = (MANY_BOOKINGS, MANY_EVENTS, "ANALYZE bookings, events")
QUERIES = {
    "next": (NEXT_DUE, "(timestamptz)", "(now())"),
    "bookings": (TAKE_DUE, "(timestamptz, int)", "(now(), 200)"),
    "events": (TAKE_DUE_ROWS["events"], "(timestamptz, timestamptz, int)", "(now(), now() + interval '15 s', 5)"),
    "oldest": (OLDEST, "(uuid[])", "('{}')"),
    "announce": (TAKE, "(uuid[], int)", "('{}', 100)"),
    "page": (
        EVENT_PAGE,
        "(timestamptz, uuid, int, varchar)",
        "(now(), '00000000-0000-0000-0000-000000000000', 51, 'published')",
    ),
}
DUE = {
    "next": {
        *("bookings_due", "events_due", "refund_retries_due", "erasures_due"),
        *("waiting_entries_unnotified", "ticket_types_waiting"),
    },
    "bookings": {"bookings_due"},
    "events": {"events_due"},
    "oldest": {"bookings_to_announce"},
    "announce": {"bookings_to_announce"},
}
# Later than all rows of a test.
LATER = datetime.now(UTC) + timedelta(days=1)


async def steps(stage: Stage, name: str) -> list[dict[str, Any]]:
    """What Postgres did for this query; the transaction is rolled back."""
    query, types, values = QUERIES[name]
    async with stage.database.connection() as connection, connection.transaction():
        await connection.execute(f"PREPARE query {types} AS {query}")
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE query {values}")
        await connection.execute("DEALLOCATE query")
    return parts(orjson.loads(plan)[0]["Plan"])


@pytest.fixture
async def many(stage: Stage) -> Stage:
    """Very many finished bookings. TRUNCATE also removes from the indexes what earlier tests have deleted."""
    for query in (
        "TRUNCATE bookings",
        "TRUNCATE events CASCADE",
        "TRUNCATE refund_retries",
        "TRUNCATE erasures",
        *FILL,
    ):
        await stage.rows(query)
    return stage


@pytest.fixture(scope="module")
async def finished_database(migrated_database: Callable[..., Awaitable[str]]) -> AsyncIterator[Database]:
    async with open_database(await migrated_database("booking", "booking_finished"), 2) as database:
        async with database.connection() as connection:
            for query in FILL:
                await connection.execute(query)
        yield database


@pytest.fixture
def finished(finished_database: Database, redis: Redis) -> Stage:
    """Very many finished bookings, which no test changes."""
    return Stage.build(finished_database, redis)


async def test_with_nothing_due_no_row_is_visited(finished: Stage) -> None:
    """The indexes of due rows are empty: one or two blocks of each are read."""
    for name, indexes in DUE.items():
        done = await steps(finished, name)
        scans = [step for step in done if "Relation Name" in step and "Scan" in step["Node Type"]]
        tables = [step for step in scans if step["Actual Loops"]]
        assert {step["Index Name"] for step in tables} == indexes
        assert all(step["Node Type"] in ("Index Scan", "Index Only Scan") for step in tables)
        assert sum(step["Actual Rows"] for step in tables) == 0
        assert done[0]["Shared Hit Blocks"] + done[0]["Shared Read Blocks"] <= 2 * len(indexes)


@pytest.mark.parametrize("due", [1, 300])
async def test_only_the_rows_that_are_due_are_visited(many: Stage, due: int) -> None:
    """At most the two hundred oldest."""
    show = await many.show(due)
    await many.book(*(show.order() for _ in range(due)))
    await many.rows("UPDATE bookings SET settle_after = now() - interval '1 s' WHERE settle_after IS NOT NULL")
    await many.rows("ANALYZE bookings")
    done = await steps(many, "bookings")

    tables = [step for step in done if "Relation Name" in step]
    assert [(step["Node Type"], step["Index Name"]) for step in tables] == [("Index Scan", "bookings_due")]
    assert [step["Actual Rows"] for step in tables] == [min(due, 200)]


async def test_a_page_of_events_is_read_from_its_index(many: Stage) -> None:
    """However many past and future events there are: only the page is read."""
    await many.rows("UPDATE events SET starts_at = starts_at + random() * interval '60 d' - interval '30 d'")
    await many.rows("ANALYZE events, ticket_types")
    done = await steps(many, "page")

    scans = [step for step in done if step.get("Index Name") == "events_by_start"]
    assert [step["Actual Rows"] for step in scans] == [51]
    assert all(step["Node Type"] != "Seq Scan" for step in done if step.get("Relation Name") == "events")


async def test_an_owners_bookings_are_read_from_their_index(many: Stage) -> None:
    """However many bookings others have: no row of theirs is visited, and nothing is sorted. Also on a page behind
    the first one."""
    await many.rows("UPDATE bookings SET owner = gen_random_uuid()::text")
    await many.rows("UPDATE bookings SET owner = 'alice' WHERE id IN (SELECT id FROM bookings LIMIT 100)")
    await many.rows("VACUUM ANALYZE bookings")
    for before in (None, (LATER, UUID(int=0))):
        query, values = page_query(ListBookings(owner="alice", operator=True, before=before, limit=20))
        async with many.database.connection() as connection:
            plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *values)
        done = parts(orjson.loads(plan)[0]["Plan"])
        (scan,) = [step for step in done if "Relation Name" in step]
        assert (scan["Index Name"], scan["Actual Rows"]) == ("bookings_by_owner", 21)
        assert not any(step["Node Type"].endswith("Sort") for step in done)


OF_CUSTOMERS = """
    UPDATE bookings SET owner = id::text, intent_id = 'pi_' || id, customer = jsonb_build_object(
        'name', 'Ada ' || id, 'email', id || '@example.com', 'locale', 'en')
"""
# What an operator looks for, and the index by which it is found.
SEARCHES: dict[str, tuple[dict[str, Any], str]] = {
    "reference": ({"reference": "HF-7K3M-9Q2T"}, "bookings_pkey"),
    "name": ({"name": "ada"}, "bookings_by_name"),
    "email": ({"email": "ada@example.com"}, "bookings_by_email"),
    "intent": ({"intent_id": "pi_1"}, "bookings_by_intent"),
    "email, of an event": ({"email": "ada@example.com", "event_id": UUID(int=1)}, "bookings_by_email"),
    "a page behind it": ({"name": "ada", "before": (LATER, UUID(int=0))}, "bookings_by_name"),
}


@pytest.fixture(scope="module")
async def customers(migrated_database: Callable[..., Awaitable[str]]) -> AsyncIterator[Database]:
    """Very many bookings, each of its own customer, which no test changes."""
    async with open_database(await migrated_database("booking", "booking_customers"), 1) as database:
        async with database.connection() as connection:
            for query in (*FILL, OF_CUSTOMERS, "VACUUM ANALYZE bookings"):
                await connection.execute(query)
        yield database


def indexes(done: list[dict[str, Any]]) -> set[str]:
    """Those by which rows are found; none is read as a whole, and no table."""
    scans = [step for step in done if "Index Name" in step]
    assert all("Index Cond" in step for step in scans), done
    assert not any(step["Node Type"] == "Seq Scan" for step in done), done
    return {step["Index Name"] for step in scans}


@pytest.mark.parametrize("search", SEARCHES)
async def test_what_operators_look_for_is_found_by_its_index(customers: Database, search: str) -> None:
    """However many bookings there are: Postgres reads no other rows, whatever the parameters are."""
    wanted, index = SEARCHES[search]
    query, _ = page_query(ListBookings(owner=None, operator=True, limit=50, **wanted))
    assert indexes(await planned(customers, query)) == {index}


@pytest.mark.parametrize("query", [LEFT["erasures"], COUNT], ids=["left", "count"])
async def test_who_is_erased_is_found_by_indexes(customers: Database, query: str) -> None:
    """By that of addresses and that of owners, and then by their ids."""
    found = indexes(await planned(customers, query))
    assert found == {"erasures_pkey", "bookings_by_owner", "bookings_by_email", "bookings_pkey"}


@pytest.mark.parametrize("statement", [*INSERT.values(), *SAVE.values(), *SAVE_GIVEN_BACK.values()])
async def test_saved_rows_are_found_by_their_keys(finished: Stage, statement: str) -> None:
    """However many bookings there are; and no step goes through the batch once for each of its rows."""
    done = await planned(finished.database, statement)
    scans = [step for step in done if step.get("Relation Name") == "bookings" and "Scan" in step["Node Type"]]
    assert {step["Index Name"] for step in scans} <= {"bookings_pkey"}
    assert all("id = " in step["Index Cond"] for step in scans)
    assert not any("id = " in step.get("Join Filter", "") for step in done)


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        (INSERT[False], {"ticket_types", "buyers"}),
        (INSERT[True], {"ticket_types", "buyers", "promo_codes"}),
        (SAVE[False, True, False], {"ticket_types"}),
        (SAVE[True, True, False], {"ticket_types"}),
        (SAVE[True, False, False], set()),
        (SAVE[True, True, True], {"ticket_types", "promo_codes", "promo_code_owners"}),
        (SAVE_GIVEN_BACK[False], {"ticket_types"}),
        (FIND_CODES, {"promo_codes"}),
        (CHANGE_TICKET_TYPES, {"ticket_types"}),
        (FIND, {"operator_requests"}),
        (KEEP, {"bookings"}),
        (USE, {"recovery_codes"}),
        (CHECK_IN, {"bookings", "check_ins"}),
        (UNDO, {"bookings", "check_ins"}),
        (CHANGES, {"door_changes"}),
        (OF_BOOKINGS, {"check_ins"}),
        (WERE_CONFIRMED, {"booking_transitions"}),
        (COUNTS, {"check_ins"}),
        (COUNT_WAITING, {"ticket_types"}),
        (END, {"waiting_entries"}),
        (BY_ID, {"waiting_entries", "bookings"}),
        (FIRST, {"ticket_types", "waiting_entries"}),
        (OPEN, {"waiting_entries", "bookings"}),
        (CLEAR, {"bookings", "booking_transitions"}),
    ],
    ids=[
        *("insert", "insert by codes", "save", "save a sale", "save a sale without seats", "save a sale by codes"),
        *("save given back", "find codes", "change ticket types"),
        *("find requests", "keep recovery codes", "use recovery codes"),
        *("check in", "undo", "door", "check-ins of bookings", "confirmed before", "count check-ins"),
        *("count who waits", "end entries", "entries", "first entries", "open entries"),
        "clear announcements",
    ],
)
async def test_statements_that_were_planned_for_new_tables_scan_none_of_them(
    stage: Stage, statement: str, tables: set[str]
) -> None:
    """Postgres keeps that plan while a sale fills the tables."""
    new = (
        "bookings",
        "events",
        "booking_transitions",
        "operator_requests",
        "buyers",
        "promo_codes",
        "promo_code_owners",
        "recovery_codes",
        "check_ins",
        "door_changes",
        "waiting_entries",
    )
    done = await planned(stage.database, statement, new=new)
    scans = [step for step in done if "Relation Name" in step and "Scan" in step["Node Type"]]
    assert {step["Relation Name"] for step in scans} >= tables
    keys = ("id = ", "(event_id = ", "(key)::text = ", "(owner)::text = ", "(owner = ", "(code_hash)::text = ")
    conditions = [(step, step.get("Index Cond") or step.get("Recheck Cond", "")) for step in scans]
    full_scans = [step for step, condition in conditions if not any(key in condition for key in keys)]
    assert full_scans == []


async def test_a_link_reads_the_bookings_of_its_reference_alone(stage: Stage) -> None:
    tables = ("bookings", "events", "revoked_tokens")
    scans = [step for step in await planned(stage.database, REFERENCED, new=tables) if "Relation Name" in step]
    conditions = {step["Relation Name"]: step.get("Index Cond", "the whole table") for step in scans}
    assert conditions.keys() == set(tables)
    assert "the whole table" not in conditions.values(), conditions


ATTENTION = {
    AttentionKind.REFUND_FAILED: {"bookings_not_refunded"},
    AttentionKind.REFUND_BY_HAND: {"bookings_refunds_by_hand"},
    AttentionKind.BALANCE_TOO_LOW: {"bookings_balance_too_low"},
    AttentionKind.PAYMENT_MISMATCH: {"bookings_mismatched"},
    AttentionKind.MAIL_NOT_SENT: {"mails_not_sent", "mails_by_booking"},
}


@pytest.mark.parametrize("kind", ATTENTION)
async def test_what_needs_a_person_is_read_from_an_index_of_its_own(
    stage: Stage, finished: Stage, kind: AttentionKind
) -> None:
    """Also where Postgres has planned the statement for new tables."""
    plans = (
        await planned(finished.database, WATCHED[kind].query),
        await planned(stage.database, WATCHED[kind].query, new=["bookings", "mails"]),
    )
    for done in plans:
        assert {step["Index Name"] for step in done if "Index Name" in step} == ATTENTION[kind], done
        assert not any(step["Node Type"] == "Seq Scan" for step in done), done


class OnlyNextDue(Store):
    """Counts the queries for the next due time, and fails on any other."""

    queries = 0

    async def next_due(self, now: datetime) -> datetime | None:
        self.queries += 1
        return await super().next_due(now)

    def transaction(self) -> NoReturn:
        raise AssertionError("nothing is due")

    async def take_due(self, *_: Any) -> NoReturn:
        raise AssertionError("nothing is due")


async def test_an_idle_reconciler_makes_one_query(finished: Stage) -> None:
    """It reads no rows and asks Redis nothing, which is not even running; then it sleeps."""
    store, nowhere = OnlyNextDue(finished.database, 0, finished.metrics), connect("redis://127.0.0.1:1/0")
    bus = Publisher(nowhere, source="/booking/test")
    reconciler = BookingReconciler(store, finished.unit, finished.availability, bus, nowhere, finished.clock, TERMS)
    pauses = [await reconciler.run_once() for _ in range(3)]
    await nowhere.aclose()

    assert (pauses, store.queries) == ([POLL_SECONDS] * 3, 3)
