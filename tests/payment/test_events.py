"""Stripe events: each counts once, in any order, however often it comes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import permutations
from typing import Any

import orjson
import pytest

from common.contracts.messages import (
    PaymentReport,
    PaymentReportApplied,
    PaymentReportsApplied,
    StripeEventReceived,
)
from common.messaging.publisher import DEFER_SECONDS
from payment.domain import REPORT_PAUSES
from tests.payment.stage import Booking, Stage, booking
from tests.payment.wire import Call


async def made(stage: Stage) -> tuple[Booking, PaymentReport]:
    wanted = booking()
    (report,) = await stage.do(wanted.create)
    return wanted, report


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("pm_card_visa", "payment.succeeded"),
        ("pm_card_chargeDeclined", "payment.declined"),
        ("pm_card_authenticationRequired", "payment.action_required"),
        ("pm_sepaDebit_success", "payment.processing"),
    ],
)
async def test_each_act_of_the_customer_is_reported(stage: Stage, card: str, expected: str) -> None:
    """By the Stripe events about it."""
    wanted, report = await made(stage)
    await stage.pay(report.payment.intent_id, card)
    reports = await stage.webhooks(*await stage.events(of=report.payment.intent_id))

    assert [each.type for each in reports] == [expected]
    assert reports[0].payment.version == 2
    assert reports[0].payment.amount_captured == (wanted.amount if expected == "payment.succeeded" else 0)


async def test_an_attempt_that_failed_is_kept(stage: Stage) -> None:
    """Each attempt once; the last error is shown until the payment succeeds."""
    wanted, report = await made(stage)
    for _ in range(2):
        await stage.pay(report.payment.intent_id, "pm_card_chargeDeclined")
    failed = await stage.events("payment_intent.payment_failed", of=report.payment.intent_id)
    await stage.webhooks(*failed)
    await stage.webhooks(*failed)

    attempts = await stage.rows("SELECT * FROM payment_attempts WHERE booking_id = $1", wanted.id)
    assert [attempt["code"] for attempt in attempts] == ["card_declined"] * 2
    await stage.pay(report.payment.intent_id)
    (last,) = await stage.webhooks(*await stage.events("payment_intent.succeeded", of=report.payment.intent_id))
    assert last.payment.last_error is None


async def test_a_repeated_event_counts_once(stage: Stage) -> None:
    """In one batch, in another, and in four batches at once."""
    wanted, report = await made(stage)
    await stage.pay(report.payment.intent_id)
    (event,) = await stage.events("payment_intent.succeeded", of=report.payment.intent_id)

    first = await asyncio.gather(*(stage.webhooks(event, event) for _ in range(4)))
    second = await stage.webhooks(event)

    assert len([each for reports in first for each in reports]) == 1
    assert second == []
    assert (await stage.row(wanted))["version"] == 2
    assert len(await stage.rows("SELECT 1 FROM stripe_events")) == 1


async def story(stage: Stage) -> tuple[Booking, list[dict[str, Any]]]:
    """The payment is declined, and then paid."""
    wanted, report = await made(stage)
    await stage.pay(report.payment.intent_id, "pm_card_chargeDeclined")
    await stage.pay(report.payment.intent_id)
    events = await stage.events(
        "payment_intent.created",
        "payment_intent.payment_failed",
        "payment_intent.succeeded",
        of=report.payment.intent_id,
    )
    assert len(events) == 3
    return wanted, events


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("batched", [True, False])
async def test_every_order_of_webhooks_ends_alike(stage: Stage, order: tuple[int, ...], batched: bool) -> None:
    """One by one or together: it is paid, and stays paid."""
    wanted, events = await story(stage)
    shuffled = [events[number] for number in order]
    if batched:
        reports = await stage.webhooks(*shuffled)
    else:
        reports = [report for event in shuffled for report in await stage.webhooks(event)]

    newest = max(reports, key=lambda report: report.payment.version)
    assert newest.type == "payment.succeeded"
    assert [report.payment.version for report in reports] == sorted(report.payment.version for report in reports)
    row = await stage.row(wanted)
    assert (row["status"], row["amount_captured"], row["last_error"]) == ("succeeded", wanted.amount, None)


async def test_a_webhook_may_overtake_the_answer_that_made_its_intent(stage: Stage) -> None:
    """The metadata names the booking; the answer, when it arrives, does not undo the later status."""
    wanted = booking()
    early: list[PaymentReport] = []

    async def overtake(stage: Stage, intent_id: str) -> None:
        await stage.pay(intent_id)
        early.extend(await stage.webhooks(*await stage.events(of=intent_id)))

    await overtaken(stage, wanted, overtake)

    assert [report.type for report in early] == ["payment.succeeded"]
    assert (await stage.row(wanted))["status"] == "succeeded"
    assert await stage.do(wanted.create) == early


async def overtaken(stage: Stage, wanted: Booking, meanwhile: Any) -> None:
    """Let `meanwhile` happen after Stripe has made the intent and before its answer arrives."""

    async def after(call: Call, answer: dict[str, Any]) -> None:
        if call.path == "/v1/payment_intents" and "id" in answer:
            await meanwhile(stage, answer["id"])

    stage.wire.after = after
    await stage.do(wanted.create)


async def test_stripes_own_object_decides_between_two_events_of_one_second(stage: Stage) -> None:
    """Neither is trusted: the payment is compared with Stripe's own object."""
    _, report = await made(stage)
    await stage.pay(report.payment.intent_id, "pm_card_chargeDeclined")
    await stage.pay(report.payment.intent_id, "pm_card_authenticationRequired")
    failed, action = await stage.events(
        "payment_intent.payment_failed", "payment_intent.requires_action", of=report.payment.intent_id
    )
    failed["created"] = action["created"]
    await stage.webhooks(action)
    *_, last = await stage.webhooks(failed)

    assert last.type == "payment.action_required"
    assert len(stage.wire.made(f"/v1/payment_intents/{report.payment.intent_id}", "GET")) == 1


async def test_a_payment_that_is_not_ours_is_ignored(stage: Stage) -> None:
    """Somebody made it by hand in the dashboard, or another system did on the same account."""
    form = {"amount": 700, "currency": "eur", "automatic_payment_methods[enabled]": "true"}
    intent = await stage.call("POST", "/v1/payment_intents", **form)
    await stage.pay(intent["id"])
    foreign = await stage.call("POST", "/v1/payment_intents", **form, **{"metadata[booking_id]": str(booking().id)})

    assert await stage.webhooks(*await stage.events(of=intent["id"])) == []
    assert await stage.webhooks(*await stage.events(of=foreign["id"])) == []
    assert await stage.rows("SELECT 1 FROM payments") == []


async def test_a_second_intent_of_a_booking_is_a_stray(stage: Stage) -> None:
    """Its metadata names one of our bookings, but it is not that booking's intent: nothing changes."""
    wanted, report = await made(stage)
    form = {"amount": 700, "currency": "eur", "automatic_payment_methods[enabled]": "true"}
    stray = await stage.call("POST", "/v1/payment_intents", **form, **{"metadata[booking_id]": str(wanted.id)})
    await stage.pay(stray["id"])

    assert await stage.webhooks(*await stage.events("payment_intent.succeeded", of=stray["id"])) == []
    row = await stage.row(wanted)
    assert (row["intent_id"], row["status"]) == (report.payment.intent_id, "requires_payment_method")


async def test_a_cancel_by_hand_is_applied(stage: Stage) -> None:
    """A person cancels in the dashboard."""
    _, report = await made(stage)
    await stage.call("POST", f"/v1/payment_intents/{report.payment.intent_id}/cancel")
    (canceled,) = await stage.webhooks(*await stage.events("payment_intent.canceled", of=report.payment.intent_id))

    assert canceled.type == "payment.canceled"


async def test_a_dispute_is_shown_and_changes_no_status(stage: Stage) -> None:
    """The payment stays disputed until the dispute is won."""
    wanted = booking()
    paid = await stage.paid(wanted)
    event = (await stage.events("payment_intent.succeeded", of=paid.payment.intent_id))[0]

    def dispute(status: str, later: int) -> dict[str, Any]:
        dispute: dict[str, Any] = {
            "id": "dp_1",
            "object": "dispute",
            "status": status,
            "payment_intent": paid.payment.intent_id,
            "metadata": {},
        }
        created = event["created"] + later
        kind = "charge.dispute.created" if later == 1 else "charge.dispute.closed"
        return {**event, "id": f"evt_{later}", "type": kind, "created": created, "data": {"object": dispute}}

    (opened,) = await stage.webhooks(dispute("needs_response", 1))
    (closed,) = await stage.webhooks(dispute("won", 2))
    assert opened.type == "payment.dispute_updated"
    assert (opened.payment.status, opened.payment.disputed, opened.payment.version) == ("succeeded", True, 3)
    assert (closed.payment.disputed, closed.payment.version) == (False, 4)


async def test_a_payload_that_is_no_event_fails_alone(stage: Stage) -> None:
    """It changes nothing, and its message becomes a dead letter."""
    with pytest.raises((ValueError, KeyError)):
        await stage.give(StripeEventReceived(payload='{"type": "payment_intent.succeeded"}'))
    assert await stage.rows("SELECT 1 FROM stripe_events") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", ["pi_1"]),
        ("client_secret", ["a list, whose JSON Postgres would take for a text"]),
        ("amount_received", [1]),
        ("amount_received", 1.5),
        ("amount_received", True),
        ("latest_charge", {"id": 7}),
        ("currency", None),
        ("last_payment_error", {"code": ["declined"]}),
    ],
)
async def test_an_event_of_other_types_changes_nothing(stage: Stage, name: str, value: Any) -> None:
    """Such an event becomes a dead letter, for a person to look at."""
    wanted, report = await made(stage)
    await stage.pay(report.payment.intent_id)
    (event,) = await stage.events("payment_intent.succeeded", of=report.payment.intent_id)
    before = await stage.rows("SELECT * FROM payments")
    spoiled = {**event, "data": {"object": {**event["data"]["object"], name: value}}}
    with pytest.raises(ValueError, match="belongs"):
        await stage.give(StripeEventReceived(payload=orjson.dumps(spoiled).decode()))
    assert await stage.rows("SELECT * FROM payments") == before
    assert (await stage.webhooks(event))[0].payment.amount_captured == wanted.amount


async def test_a_sync_finds_a_payment_whose_webhook_is_missing(stage: Stage) -> None:
    """It reports even if nothing has changed, as the booking has asked."""
    wanted, report = await made(stage)
    (unchanged,) = await stage.do(wanted.sync)
    await stage.pay(report.payment.intent_id)
    (found,) = await stage.do(wanted.sync)

    assert unchanged == report
    assert found.type == "payment.succeeded"
    assert (await stage.do(wanted.sync)) == [found]


async def test_a_sync_of_a_payment_being_made_asks_for_its_intent(stage: Stage) -> None:
    """The payment waits for its intent, so the sync makes it."""
    wanted = booking()
    await stage.record(wanted)
    (report,) = await stage.do(wanted.sync)

    assert report.type == "payment.intent_created"
    assert await stage.do(booking().sync) == []


async def test_an_event_that_came_during_a_sync_is_not_undone(stage: Stage) -> None:
    """By then the fetched object is older than the payment."""
    wanted, report = await made(stage)
    await stage.pay(report.payment.intent_id, "pm_card_chargeDeclined")
    events = await stage.events("payment_intent.payment_failed", of=report.payment.intent_id)
    before = {**(await stage.call("GET", f"/v1/payment_intents/{report.payment.intent_id}"))}
    assert before["last_payment_error"]

    async def meanwhile(call: Call, answer: dict[str, Any]) -> None:
        if call.method == "GET":
            answer["last_payment_error"] = None  # as it was when Stripe read the intent
            await stage.webhooks(*events)

    stage.wire.after = meanwhile
    (synced,) = await stage.do(wanted.sync)
    assert synced.type == "payment.declined"


def test_a_report_is_published_again_later_than_its_booking_answers() -> None:
    """Booking keeps its answers for a short time, to send those of many bookings at once."""
    assert REPORT_PAUSES.pause(0, 0.0).total_seconds() > 2 * DEFER_SECONDS


async def test_reports_that_many_bookings_have_applied_are_one_statement(stage: Stage) -> None:
    """Each as if it came alone, also two for one booking and one for an unknown booking."""
    of = [(await made(stage))[0] for _ in range(3)]
    versions = [(of[0], 1), (of[1], 0), (of[1], 1), (of[2], 0), (booking(), 1)]
    reports = tuple(PaymentReportApplied(booking_id=each.id, version=version) for each, version in versions)
    assert await stage.do(PaymentReportsApplied(reports=reports)) == []
    rows = [await stage.row(each) for each in of]
    assert [(row["reported_version"], row["report_after"] is None) for row in rows] == [
        (1, True),
        (1, True),
        (0, False),
    ]


async def test_a_report_is_due_until_the_booking_has_applied_it(stage: Stage) -> None:
    """Only the newest version ends it. An older one leaves the row unchanged, so that memory stays right."""
    wanted, _ = await made(stage)
    stage.clock.ahead = timedelta(seconds=10)
    (due,) = await stage.due("report_retry_at")
    assert due.booking_id == wanted.id

    before = await stage.load(wanted)
    await stage.do(PaymentReportApplied(booking_id=wanted.id, version=0))
    assert await stage.load(wanted) == before
    assert before.report_retry_at is not None
    await stage.do(PaymentReportApplied(booking_id=wanted.id, version=1))
    row = await stage.row(wanted)
    assert (row["report_after"], row["reported_version"]) == (None, 1)
    await stage.do(PaymentReportApplied(booking_id=wanted.id, version=9))
    assert (await stage.row(wanted))["reported_version"] == 1


async def test_concurrent_handlers_do_not_deadlock(stage: Stage) -> None:
    """Each batch locks its payments in one order, whatever the order of its messages is."""
    wanted = [booking() for _ in range(20)]
    made = await stage.do(*(each.create for each in wanted))
    for report in made:
        await stage.pay(report.payment.intent_id)
    events = await stage.events("payment_intent.succeeded")
    mine = [
        event for event in events if event["data"]["object"]["id"] in {report.payment.intent_id for report in made}
    ]
    applied = [PaymentReportApplied(booking_id=each.id, version=1) for each in wanted]

    await asyncio.gather(
        *(stage.do(*order) for order in (applied, applied[::-1]) for _ in range(3)),
        stage.webhooks(*mine[:15]),
        stage.webhooks(*mine[:4:-1]),
        stage.do(*(each.cancel for each in wanted[::-1])),
        stage.do(*(each.sync for each in wanted)),
    )
    rows = await stage.rows("SELECT status, version FROM payments")
    assert {(row["status"], row["version"]) for row in rows} == {("succeeded", 2)}
