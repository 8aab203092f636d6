"""A payment is three statements; if another process has written its row, the locked path decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from common.contracts.messages import PaymentReportApplied, SyncPayment
from common.contracts.statuses import IntentStatus
from common.runtime.telemetry import Metrics
from payment.domain import never_wanted
from payment.handlers import PaymentHandlers
from payment.lost import LostRows
from payment.orphans import lost_payment
from payment.payment_rows import FIXED, PAYMENT_COLUMNS
from payment.repository import Store
from payment.state import IntentSnapshot, Payment, Source
from payment.strays import Strays
from payment.stripe_objects import StripeEvent
from tests.payment.conftest import ASKING_S, ORPHANS
from tests.payment.stage import Booking, Stage, booking, seconds_for_calls, wanted

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def statements(stage: Stage) -> AsyncIterator[list[str]]:
    """The statements that are sent to Postgres while the test runs."""
    sent: list[str] = []
    async with stage.database.connection() as connection:
        pool = stage.database._pool
        others = [await pool.acquire() for _ in range(pool.get_size() - 1)]
        held = [each._con for each in (connection, *others)]
        for each in others:
            await pool.release(each)
    for each in held:
        each.add_query_logger(lambda record: sent.append(record.query))
    yield sent
    for each in held:
        each._query_loggers.clear()


@pytest.fixture
def other(stage: Stage) -> Stage:
    """A second process on the same database, with a memory of its own."""
    return replace(stage, **_handlers(stage, Store(stage.database, 100, Metrics())))


def _handlers(stage: Stage, store: Store) -> dict[str, Any]:
    lost = LostRows(Strays(store, stage.stripe, stage.clock, Metrics().orphans, ORPHANS, ASKING_S))
    stripe_calls = seconds_for_calls(ASKING_S)
    return {"store": store, "handlers": PaymentHandlers(store, stage.stripe, stage.clock, lost, **stripe_calls)}


async def succeeded(stage: Stage, *intents: str | None) -> list[dict[str, Any]]:
    return [each for intent in intents for each in await stage.events("payment_intent.succeeded", of=intent)]


async def asked(statements: list[str]) -> list[str]:
    """The statements since the last call, without those by which the driver learns the types of a new statement,
    once for each connection. The driver logs a statement in the loop's next iteration."""
    await asyncio.sleep(0)
    ours = [each for each in statements if "jit" not in each and "pg_catalog" not in each]
    statements.clear()
    return ours


async def test_a_booking_is_three_statements(stage: Stage, statements: list[str]) -> None:
    """Its intent is wanted, Stripe has made it, its money has come: three statements also for several at once."""
    await stage.store.installation()
    await asked(statements)
    of = [booking() for _ in range(3)]
    reports = await stage.do(*(each.create for each in of))
    assert {report.booking_id for report in reports} == {each.id for each in of}
    assert len(sent := await asked(statements)) == 2, sent
    for report in reports:
        await stage.pay(report.payment.intent_id)
    events = await succeeded(stage, *(report.payment.intent_id for report in reports))
    await asked(statements)
    paid = await stage.webhooks(*events)
    assert [each.type for each in paid] == ["payment.succeeded"] * 3
    assert len(sent := await asked(statements)) == 1, sent


async def test_a_payment_outside_memory_costs_one_statement_more(stage: Stage, statements: list[str]) -> None:
    (report,) = await stage.do(booking().create)
    await stage.pay(report.payment.intent_id)
    events = await succeeded(stage, report.payment.intent_id)
    stage.store.payments.clear()
    await asked(statements)
    (paid,) = await stage.webhooks(*events)
    assert paid.type == "payment.succeeded"
    assert len(sent := await asked(statements)) == 2, sent


async def test_a_report_that_was_applied_is_remembered(stage: Stage, statements: list[str]) -> None:
    """It writes the row; memory is updated with it, so the next event finds there what the row is."""
    of = booking()
    (report,) = await stage.do(of.create)
    await stage.do(PaymentReportApplied(booking_id=of.id, version=1))
    assert stage.store.payments.find([of.id]) == {of.id: await stage.load(of)}
    await stage.pay(report.payment.intent_id)
    events = await succeeded(stage, report.payment.intent_id)
    await asked(statements)
    await stage.webhooks(*events)
    assert len(sent := await asked(statements)) == 1, sent
    row = await stage.row(of)
    assert (row["reported_version"], row["version"], row["report_after"] is None) == (1, 2, False)


async def test_a_payment_written_by_another_process_is_dropped_from_memory(stage: Stage) -> None:
    """Saving that a report was applied returns nothing about the other columns, so memory drops the row."""
    of, _ = await pending(stage)
    await stage.rows("UPDATE payments SET doubts = 7 WHERE booking_id = $1", of.id)
    await stage.do(PaymentReportApplied(booking_id=of.id, version=1))
    assert stage.store.payments.find([of.id]) == {}
    after = await stage.load(of)
    assert (after.conflicts, after.reported_version) == (7, 1)


async def test_a_new_payment_equals_its_row(stage: Stage) -> None:
    """All columns, also those with their defaults: the next statement writes all of them from memory."""
    of, now = booking(), stage.clock()
    snapshot = IntentSnapshot("pi_1", IntentStatus.SUCCEEDED, Source.FETCHED, None, event_id=of.event_id)
    sync = SyncPayment(booking_id=uuid4(), booking_amount=5000, booking_currency="eur")
    for new in (wanted(of, now), never_wanted(uuid4(), now), lost_payment(sync, snapshot, now)):
        async with stage.store.statement() as rows:
            added = await rows.insert([new])
            assert added.keys() == {new.booking_id}
            assert await rows.load([new.booking_id]) == {
                new.booking_id: new._replace(revision=added[new.booking_id])
            }
            assert await rows.insert([new]) == {}


COLUMNS = [each for each in PAYMENT_COLUMNS if each not in FIXED]


async def pending(stage: Stage) -> tuple[Booking, Payment]:
    """A payment as memory has it before another process writes its row."""
    of = booking()
    await stage.do(of.create)
    return of, stage.store.payments.find([of.id])[of.id]


def an_event(number: int) -> StripeEvent:
    return StripeEvent(f"evt_{number}", "payment_intent.succeeded", NOW, None, None, None, None)


@pytest.mark.parametrize("with_event", [False, True])
async def test_a_write_of_another_process_is_not_overwritten(stage: Stage, with_event: bool) -> None:
    """Whichever column was written, by whichever release, also if the version stays; and no event is stored
    without its effect."""
    for number, column in enumerate(COLUMNS):
        of, old = await pending(stage)
        await stage.rows(f"UPDATE payments SET {column} = {column} WHERE booking_id = $1", of.id)
        before = dict(await stage.row(of))
        events = [(of.id, an_event(number))] if with_event else []
        async with stage.store.statement() as statement:
            written = await statement.save([(old, old._replace(key_number=7, version=9))], events, NOW)
        assert (column, written, dict(await stage.row(of))) == (column, {}, before)
    assert await stage.rows("SELECT FROM stripe_events") == []


async def refunded(stage: Stage, of: Booking) -> None:
    """Another process applies that the booking is paid, and refunds a part."""
    await stage.pay((await stage.row(of))["intent_id"])
    await stage.webhooks(*await succeeded(stage, (await stage.row(of))["intent_id"]))
    await stage.do(of.refund(100))


async def disputed(stage: Stage, of: Booking) -> None:
    intent = (await stage.row(of))["intent_id"]
    await stage.pay(intent, "pm_card_createDispute")
    await stage.webhooks(*await stage.events("charge.dispute.created", of=intent))


@pytest.mark.parametrize("do", [refunded, disputed])
async def test_refunds_and_disputes_of_another_process_are_not_overlooked(
    stage: Stage, do: Callable[[Stage, Booking], Awaitable[None]]
) -> None:
    """Memory has none of them: this event and the next one take the locked path."""
    of, old = await pending(stage)
    await do(stage, of)
    stage.store.payments.keep({of.id: old})
    before = await stage.load(of)
    assert before.refunds or before.disputes
    (event,) = await succeeded(stage, old.intent_id)
    event = {**event, "id": "evt_again"}
    reports = await stage.webhooks(event)
    after = await stage.load(of)
    assert (after.refunds, after.disputes) == (before.refunds, before.disputes)
    assert after.amount_captured == of.amount
    assert all(report.payment.version == after.version for report in reports)
    assert stage.store.payments.find([of.id]) == {}


async def test_two_processes_that_remember_one_payment_count_an_event_once(
    stage: Stage, other: Stage, statements: list[str]
) -> None:
    """The second process finds the row changed, reads it, and decides again."""
    of, _ = await pending(stage)
    intent = (await stage.row(of))["intent_id"]
    await stage.pay(intent)
    (event,) = await stage.events("payment_intent.succeeded", of=intent)
    other.store.payments.keep(stage.store.payments.find([of.id]))
    first, second = await stage.webhooks(event), await other.webhooks(event)
    assert ([each.type for each in first], second) == (["payment.succeeded"], [])
    assert (await stage.row(of))["version"] == 2
    assert [row["id"] for row in await stage.rows("SELECT id FROM stripe_events")] == [event["id"]]


@pytest.mark.parametrize("order", [(0, 1, 0), (1, 0, 1)])
async def test_two_events_of_one_payment_in_one_batch_are_applied_in_order(
    stage: Stage, order: tuple[int, ...], memory: bool
) -> None:
    """Doubled, in either order, and while the report of the intent is not applied yet."""
    of, _ = await pending(stage)
    intent = (await stage.row(of))["intent_id"]
    await stage.pay(intent, "pm_card_authenticationRequired")
    await stage.pay(intent)
    kinds = ("payment_intent.requires_action", "payment_intent.succeeded")
    events = await stage.events(*kinds, of=intent)
    assert len(events) == 2
    if not memory:
        stage.store.payments.entries_max = 0
    batch = [events[number] for number in order]
    reports = await stage.webhooks(*batch)
    await stage.do(PaymentReportApplied(booking_id=of.id, version=1))
    assert [(each.type, each.payment.version) for each in reports][-1][0] == "payment.succeeded"
    row = await stage.row(of)
    assert (row["status"], row["amount_captured"], row["report_after"] is None) == ("succeeded", of.amount, False)
    assert await stage.webhooks(*batch) == []
    assert dict(await stage.row(of)) == dict(row)


@pytest.fixture(params=[True, False])
def memory(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.parametrize("read", [None, "payment_intent.processing"])
async def test_payments_end_alike_without_memory(stage: Stage, read: str | None) -> None:
    """The same events leave the same rows, with memory and with the locked path alone."""
    ends = []
    for entries_max in (0, 100):
        stage.store.payments.entries_max = entries_max
        stage.store.payments.clear()
        of = booking()
        (made,) = await stage.do(of.create)
        await stage.pay(made.payment.intent_id, "pm_sepaDebit_success" if read else "pm_card_chargeDeclined")
        if not read:
            await stage.pay(made.payment.intent_id)
        reports = await stage.webhooks(*await stage.events(of=made.payment.intent_id))
        row = dict(await stage.row(of))
        kept = ("status", "version", "amount_captured", "failed_attempts", "doubts", "drive_attempts", "key_number")
        ends.append(([each.type for each in reports], {name: row[name] for name in kept}))
    assert ends[0] == ends[1]


async def meanwhile(stage: Stage, do: Callable[[UUID], Awaitable[object]], of: Booking) -> None:
    """Let `do` happen when Stripe has made the intent and its answer has not arrived yet."""

    async def before(call: Any, _: Any = None) -> None:
        stage.wire.after = None
        await do(of.id)

    stage.wire.after = before


async def test_an_intent_that_is_no_longer_wanted_is_canceled(stage: Stage) -> None:
    """The cancel arrived while Stripe was asked."""
    of = booking()

    async def cancel(_: UUID) -> None:
        await stage.give(of.cancel)

    await meanwhile(stage, cancel, of)
    envelopes = await stage.give(of.create)
    published = [each.message.type for each in envelopes]
    assert published == ["payment.intent_created", "payment.cancel_intent"]
    await stage.follow(envelopes)
    assert (await stage.row(of))["status"] == "canceled"
    assert await stage.live_intents(of) == []


async def test_two_processes_that_ask_for_one_intent_make_one(stage: Stage) -> None:
    """The second finds the row, asks Stripe under the same key, and reports the same."""
    of = booking()
    second: list[Any] = []

    async def ask(_: UUID) -> None:
        second.extend(await stage.do(of.create))

    await meanwhile(stage, ask, of)
    first = await stage.do(of.create)
    assert len(await stage.live_intents(of)) == 1
    assert len({each.payment.intent_id for each in [*first, *second]}) == 1
    assert (await stage.row(of))["version"] == 1
