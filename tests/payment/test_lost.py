"""Rows that a database has lost are found by what Stripe has: adopted, or their money goes back, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from common.contracts.messages import (
    BookingUnknown,
    CloseStrayIntent,
    PaymentReport,
    PaymentReportApplied,
    SyncPayment,
)
from common.contracts.statuses import IntentStatus
from payment.orphans import CLOCKS_APART, handled_orphan
from payment.stripe_errors import OutcomeUnknown
from tests.payment.rows import bank, confirmed, made
from tests.payment.stage import Booking, Stage, booking
from tests.payment.test_domain import NOW, payment
from tests.payment.wire import Call, Fault

GRACE = timedelta(minutes=10, seconds=1)


async def lose(stage: Stage, *of: Booking) -> None:
    """Delete every row of these bookings' payments."""
    ids = [each.id for each in of]
    for table in ("refunds", "disputes", "payment_attempts", "payments"):
        await stage.rows(f"DELETE FROM {table} WHERE booking_id = ANY($1)", ids)


def counted(stage: Stage, kind: str) -> float:
    value: float = stage.metrics.orphans.labels(kind)._value.get()
    return value


def naming(of: Booking, intent_id: str | None) -> dict[str, Any]:
    """The fields by which a booking names its intent."""
    return {"intent_id": intent_id, "booking_amount": of.amount, "booking_currency": of.currency}


async def paid_without_a_row(stage: Stage) -> tuple[Booking, str]:
    of = booking()
    (intent,) = await made(stage, [of])
    await lose(stage, of)
    await stage.pay(intent)
    return of, intent


async def unknown(stage: Stage, *reports: PaymentReport) -> list[PaymentReport]:
    """Booking answers each report that it has no such booking."""
    return await stage.do(*(
        BookingUnknown(
            booking_id=each.booking_id,
            version=each.payment.version,
            intent_id=each.payment.intent_id,
            amount=each.payment.amount,
            currency=each.payment.currency,
            amount_captured=each.payment.amount_captured,
        )
        for each in reports
    ))  # fmt: skip


async def refunds_of(stage: Stage, intent: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await stage.call("GET", "/v1/refunds", payment_intent=intent))["data"]
    return found


# --- adoption


async def test_a_payment_whose_row_was_lost_is_adopted_when_its_money_comes(stage: Stage) -> None:
    """Without its adoption the booking would expire, and its money would stay."""
    of, intent = await paid_without_a_row(stage)
    events = await stage.events("payment_intent.succeeded", of=intent)
    with capture_logs() as logs:
        (report,) = await stage.webhooks(*events)
    assert report.type == "payment.succeeded"
    assert (report.booking_id, report.payment.intent_id, report.payment.amount_captured) == (
        of.id,
        intent,
        of.amount,
    )
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["lost payment adopted"]
    assert counted(stage, "adopted") == 1
    # The event counts once, and nothing is left to search for.
    assert await stage.webhooks(*events, *events) == []
    assert await stage.rows("SELECT 1 FROM stray_intents") == []
    assert (await stage.row(of))["version"] == report.payment.version


async def test_a_lost_row_is_retried_until_it_is_restored(stage: Stage) -> None:
    """The event is stored, but Stripe does not answer yet, or the message that follows from it is lost."""
    of, intent = await paid_without_a_row(stage)
    stage.wire.faults.append(Fault(f"/v1/payment_intents/{intent}", method="GET", passed_on=False, times=50))
    assert await stage.webhooks(*await stage.events("payment_intent.succeeded", of=intent)) == []
    stage.wire.faults.clear()
    stage.clock.ahead = timedelta(seconds=30)
    (due,) = await stage.due_strays()
    (report,) = await stage.do(CloseStrayIntent(booking_id=of.id, intent_id=due.intent_id))
    assert (report.booking_id, report.payment.amount_captured) == (of.id, of.amount)
    assert await stage.due_strays(GRACE) == []


async def test_refunds_are_restored_with_their_payment_under_their_own_ids(stage: Stage) -> None:
    of = booking()
    report = await stage.paid(of)
    refund = of.refund(2000)
    await stage.do(refund)
    await lose(stage, of)
    (found,) = await stage.do(of.sync.model_copy(update=naming(of, report.payment.intent_id)))
    assert (found.payment.amount_captured, found.payment.refund_ids) == (of.amount, (refund.refund_id,))
    await stage.do(refund)
    assert len(await refunds_of(stage, report.payment.intent_id or "")) == 1


@pytest.mark.parametrize("card", ["pm_card_visa", "pm_card_chargeDeclined"])
async def test_a_cancel_of_an_intent_without_a_row_restores_its_state(stage: Stage, card: str) -> None:
    """It must not become "never asked for": that would hide the money."""
    of = booking()
    (intent,) = await made(stage, [of])
    await lose(stage, of)
    await stage.pay(intent, card)
    reports = await stage.do(of.cancel.model_copy(update=naming(of, intent)))
    at_stripe = (await stage.call("GET", f"/v1/payment_intents/{intent}"))["status"]
    assert {each.payment.intent_id for each in reports} == {intent}
    assert reports[-1].payment.status == at_stripe
    assert at_stripe == ("succeeded" if card == "pm_card_visa" else "canceled")


@pytest.mark.parametrize("asked_for", ["intent", "cancel", "sync", "refund"])
async def test_a_row_lost_during_a_stripe_call_is_restored_by_the_next_message(
    stage: Stage, asked_for: str
) -> None:
    of = booking()
    named: dict[str, Any] = {}
    if asked_for != "intent":
        intent = (await stage.paid(of)).payment.intent_id if asked_for == "refund" else (await made(stage, [of]))[0]
        named = naming(of, intent)
    message = {"intent": of.create, "cancel": of.cancel, "sync": of.sync, "refund": of.refund()}[asked_for]
    message = message.model_copy(update=named)
    asked: list[str] = []

    async def gone(call: Call) -> None:
        asked.append(call.path)
        await lose(stage, of)

    stage.wire.before = gone
    assert await stage.do(message) == []
    assert asked
    assert await stage.rows("SELECT 1 FROM payments WHERE booking_id = $1", of.id) == []
    stage.wire.before = None
    reports = await stage.do(message)
    row = await stage.row(of)
    assert (reports[-1].payment.version, reports[-1].payment.intent_id) == (row["version"], row["intent_id"])
    assert row["intent_id"] == (named or {"intent_id": row["intent_id"]})["intent_id"] is not None
    made_once = await refunds_of(stage, row["intent_id"])
    assert len(made_once) == (asked_for == "refund")


async def test_a_cancel_that_names_no_intent_ends_a_payment_without_a_row(stage: Stage) -> None:
    of = booking()
    (report,) = await stage.do(of.cancel)
    assert (report.payment.status, report.payment.intent_id) == (IntentStatus.CANCELED, None)
    assert await stage.do(of.create) == [report]
    assert await stage.live_intents(of) == []


async def test_an_intent_found_later_reopens_a_payment_canceled_without_one(stage: Stage) -> None:
    """Both databases have lost it, and the booking was cancelled since."""
    of, intent = await paid_without_a_row(stage)
    await stage.do(of.cancel)
    (report,) = await stage.webhooks(*await stage.events("payment_intent.succeeded", of=intent))
    assert (report.payment.status, report.payment.intent_id, report.payment.amount_captured) == (
        "succeeded",
        intent,
        of.amount,
    )


async def test_an_intent_found_later_is_canceled_if_it_has_no_booking(stage: Stage) -> None:
    """Its row said that no intent was wanted; that was about another intent, or about none."""
    of = booking()
    (intent,) = await made(stage, [of])
    await lose(stage, of)
    await stage.do(of.cancel)
    (report,) = await stage.do(SyncPayment(booking_id=of.id, intent_id=intent))
    assert (report.payment.intent_id, report.payment.status) == (intent, IntentStatus.REQUIRES_PAYMENT_METHOD)
    await unknown(stage, report)
    assert await stage.live_intents(of) == []


async def test_a_refund_that_names_an_intent_without_a_row_is_made(stage: Stage) -> None:
    of, intent = await paid_without_a_row(stage)
    refund = of.refund().model_copy(update=naming(of, intent))
    reports = await stage.do(refund, refund)
    assert reports[-1].payment.refund_ids == (refund.refund_id,)
    assert len(await refunds_of(stage, intent)) == 1


async def test_while_stripe_does_not_answer_a_lost_row_is_not_reported(stage: Stage) -> None:
    of = booking()
    (intent,) = await made(stage, [of])
    await lose(stage, of)
    stage.wire.faults.append(Fault(f"/v1/payment_intents/{intent}", method="GET", passed_on=False, times=10))
    assert await stage.do(of.cancel.model_copy(update=naming(of, intent))) == []
    assert await stage.rows("SELECT 1 FROM payments") == []


# --- which installation owns it


@pytest.mark.parametrize(
    ("marks", "kind"),
    [
        ({"holdfast_installation": str(uuid4())}, "foreign"),
        ({"holdfast_installation": "x"}, "foreign"),
        ({}, "unmarked"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
async def test_a_foreign_intent_is_logged_and_never_changed(
    stage: Stage, marks: dict[str, str], kind: str, known: bool
) -> None:
    """Also if it names a booking of which we have a payment."""
    of = booking()
    if known:
        await made(stage, [of])
    metadata = {f"metadata[{name}]": value for name, value in {"booking_id": str(of.id), **marks}.items()}
    intent = await stage.call("POST", "/v1/payment_intents", amount=5000, currency="eur", **metadata)
    await stage.pay(intent["id"])
    before = await stage.rows("SELECT * FROM payments")
    with capture_logs() as logs:
        assert await stage.webhooks(*await stage.events(of=intent["id"])) == []
    assert [each["intent"] for each in logs if each["log_level"] == "error"] == [intent["id"]]
    assert counted(stage, kind) == 1
    assert await stage.rows("SELECT * FROM payments") == before
    assert await stage.rows("SELECT 1 FROM stray_intents") == []


async def test_an_intent_without_installation_id_is_ours_if_the_booking_names_it(stage: Stage) -> None:
    of = booking()
    intent = await stage.call(
        "POST", "/v1/payment_intents", amount=5000, currency="eur", **{"metadata[booking_id]": str(of.id)}
    )
    assert await stage.do(SyncPayment(booking_id=of.id, intent_id=intent["id"])) == []
    (report,) = await stage.do(of.sync.model_copy(update=naming(of, intent["id"])))
    assert report.payment.intent_id == intent["id"]


@pytest.mark.parametrize(("account", "believed"), [("acct_sandbox", True), ("acct_other", False), (None, True)])
async def test_an_event_of_another_account_is_ignored(stage: Stage, account: str | None, believed: bool) -> None:
    await stage.store.keep_account("acct_sandbox")
    of = booking()
    (intent,) = await made(stage, [of])
    await stage.pay(intent)
    (event,) = await stage.events("payment_intent.succeeded", of=intent)
    named = event if account is None else {**event, "account": account}
    assert len(await stage.webhooks(named)) == believed
    assert (await stage.row(of))["status"] == ("succeeded" if believed else "requires_payment_method")
    assert counted(stage, "foreign_account") == (not believed)
    # The first one is not stored as applied: Stripe's own list may have the same event.
    assert len(await stage.webhooks(event)) == (not believed)


async def test_a_key_of_another_account_makes_no_stripe_call(stage: Stage) -> None:
    async def keep_account(own: str) -> str:
        return "acct_before"

    stage.stripe._keep_account, stage.stripe._barred = keep_account, None
    with pytest.raises(OutcomeUnknown, match=r"acct_sandbox.*acct_before"):
        await stage.stripe.retrieve_intent("pi_1", deadline=float("inf"))
    assert "acct_before" in (stage.gate.reason or "")
    calls = len(stage.wire.calls)
    with pytest.raises(OutcomeUnknown):
        await stage.stripe.retrieve_intent("pi_1", deadline=float("inf"))
    assert len(stage.wire.calls) == calls


async def test_the_account_of_the_first_key_is_kept(stage: Stage) -> None:
    assert [await stage.store.keep_account(each) for each in ("acct_1", "acct_2")] == ["acct_1", "acct_1"]


# --- versions


@pytest.mark.parametrize(
    ("held", "conflict", "version"), [(7, False, 8), (2, True, 3), (2, False, 2), (1, True, 2), (1, False, 2)]
)
async def test_the_version_becomes_higher_than_the_bookings(
    stage: Stage, held: int, conflict: bool, version: int
) -> None:
    """A report behind the booking's version, or in conflict with it, is published again with a higher version; any
    other is acknowledged or stays."""
    of = booking()
    await stage.paid(of)
    await stage.give(PaymentReportApplied(booking_id=of.id, version=held, conflict=conflict))
    row = await stage.row(of)
    assert row["version"] == version
    acknowledged = held == 2 and not conflict
    assert (row["report_after"] is None) == acknowledged
    if version > 2:
        await stage.reconciler.run_once()
        assert (await stage.do(of.sync))[0].payment.version == version


# --- payments without a booking


async def test_money_without_a_booking_is_refunded_once_after_the_grace_time(stage: Stage) -> None:
    of = booking()
    report = await stage.paid(of)
    for _ in range(2):
        assert await unknown(stage, report) == []
    row = await stage.row(of)
    assert row["report_after"] == row["return_after"]
    assert await refunds_of(stage, report.payment.intent_id or "") == []
    stage.clock.ahead = GRACE
    (due,) = await stage.due("report_retry_at")
    assert due.booking_id == of.id, "it is reported once more: the booking may be back"
    with capture_logs() as logs:
        (back,) = await unknown(stage, report)
    assert "money of an unknown booking goes back" in {each["event"] for each in logs}
    assert back.payment.amount_refunded == of.amount
    assert len(await refunds_of(stage, report.payment.intent_id or "")) == 1
    assert await unknown(stage, back) == []
    assert len(await refunds_of(stage, report.payment.intent_id or "")) == 1
    row = await stage.row(of)
    assert (row["report_after"], row["return_after"], row["reported_version"]) == (None, None, row["version"])


def test_an_orphan_due_soon_is_reported_when_it_is_due_by_every_clock() -> None:
    """Otherwise a process whose clock is ahead would report it again and again until the other's clock is there."""
    due = NOW + timedelta(milliseconds=1)
    old = payment(IntentStatus.SUCCEEDED, amount_captured=5000)._replace(orphaned_at=NOW, return_after=due)
    waiting = handled_orphan(old, NOW, GRACE, held_back=False)
    assert waiting.report_retry_at == NOW + CLOCKS_APART
    later = handled_orphan(old._replace(return_after=NOW + timedelta(minutes=5)), NOW, GRACE, held_back=False)
    assert later.report_retry_at == NOW + timedelta(minutes=5)


async def test_a_booking_restored_within_the_grace_time_keeps_its_money(stage: Stage) -> None:
    of = booking()
    report = await stage.paid(of)
    await unknown(stage, report)
    await stage.give(PaymentReportApplied(booking_id=of.id, version=report.payment.version))
    row = await stage.row(of)
    assert (row["orphaned_at"], row["return_after"], row["report_after"]) == (None, None, None)
    stage.clock.ahead = GRACE
    assert await stage.due("report_retry_at") == []


async def test_an_open_intent_without_a_booking_is_canceled_at_once(stage: Stage) -> None:
    of = booking()
    (report,) = await stage.do(of.create)
    (ended,) = await unknown(stage, report)
    assert ended.payment.status is IntentStatus.CANCELED
    assert await unknown(stage, ended) == []
    row = await stage.row(of)
    assert (row["report_after"], row["return_after"], row["drive_after"]) == (None, None, None)


async def test_with_too_many_orphans_nothing_is_done_until_an_operator_decides(stage: Stage) -> None:
    """Three are the limit here. An error is logged, and readiness shows it."""
    of = [booking() for _ in range(3)]
    paid = [await stage.paid(each) for each in of]
    open_ = booking()
    (payable,) = await stage.do(open_.create)
    with capture_logs() as logs:
        assert await unknown(stage, *paid, payable) == []
    assert "too many orphans: nothing is done by itself" in {
        each["event"] for each in logs if each["log_level"] == "error"
    }
    assert "4 orphans, more than 3" in (await stage.lost.held_back() or "")
    stage.clock.ahead = GRACE
    assert await unknown(stage, *paid, payable) == []
    assert [len(await refunds_of(stage, each.payment.intent_id or "")) for each in paid] == [0, 0, 0]
    assert len(await stage.live_intents(open_)) == 1
    first = await stage.do(SyncPayment(booking_id=of[0].id, decided=True))
    await unknown(stage, *first)
    assert [len(await refunds_of(stage, each.payment.intent_id or "")) for each in paid] == [1, 0, 0]


# --- strays


async def another_intent(stage: Stage, of: Booking) -> str:
    """A second intent of ours for the booking."""
    marks = {"booking_id": str(of.id), "holdfast_installation": str(await stage.store.installation())}
    metadata = {f"metadata[{name}]": value for name, value in marks.items()}
    made = await stage.call("POST", "/v1/payment_intents", amount=of.amount, currency=of.currency, **metadata)
    id: str = made["id"]
    return id


async def stray(stage: Stage, card: str | None) -> tuple[Booking, str]:
    """An intent of ours beside the one that the row has."""
    of = booking()
    (first,) = await made(stage, [of])
    await lose(stage, of)
    stray_id = await another_intent(stage, of)
    await stage.do(SyncPayment(booking_id=of.id, intent_id=first))
    if card is None:
        await stage.do(SyncPayment(booking_id=of.id, intent_id=stray_id))
    else:
        await stage.pay(stray_id, card)
        await stage.webhooks(*await stage.events(of=stray_id))
    return of, stray_id


async def close(stage: Stage, of: Booking, intent: str, times: int = 3) -> None:
    for _ in range(times):
        await stage.do(CloseStrayIntent(booking_id=of.id, intent_id=intent))


async def stray_row(stage: Stage, intent: str) -> Any:
    (row,) = await stage.rows("SELECT * FROM stray_intents WHERE intent_id = $1", intent)
    return row


async def test_an_unpaid_stray_is_canceled(stage: Stage) -> None:
    of, intent = await stray(stage, None)
    assert len(await stage.live_intents(of)) == 2
    await close(stage, of, intent)
    assert intent not in {each["id"] for each in await stage.live_intents(of)}
    assert (await stray_row(stage, intent))["drive_after"] is None


async def test_money_of_a_stray_is_refunded_once_after_the_grace_time(stage: Stage) -> None:
    of, intent = await stray(stage, "pm_card_visa")
    await close(stage, of, intent)
    assert await refunds_of(stage, intent) == []
    assert (await stray_row(stage, intent))["drive_after"] == (await stray_row(stage, intent))["return_after"]
    stage.clock.ahead = GRACE
    await close(stage, of, intent)
    (refund,) = await refunds_of(stage, intent)
    assert refund["amount"] == of.amount
    row = await stray_row(stage, intent)
    assert (row["refund_amount"], row["drive_after"]) == (of.amount, None)
    assert UUID(refund["metadata"]["refund_id"]) == row["refund_id"]
    await stage.webhooks(*await stage.events(of=intent))
    await close(stage, of, intent)
    assert len(await refunds_of(stage, intent)) == 1


async def test_a_stray_refunded_by_hand_is_not_refunded_again(stage: Stage) -> None:
    of, intent = await stray(stage, "pm_card_visa")
    await stage.call("POST", "/v1/refunds", payment_intent=intent, amount=2000)
    stage.clock.ahead = GRACE
    await close(stage, of, intent)
    assert sorted(each["amount"] for each in await refunds_of(stage, intent)) == [2000, of.amount - 2000]


async def test_a_refund_of_a_stray_whose_answer_is_lost_is_made_once(stage: Stage) -> None:
    of, intent = await stray(stage, "pm_card_visa")
    stage.clock.ahead = GRACE
    stage.wire.faults.append(Fault("/v1/refunds", times=10))
    await close(stage, of, intent, 1)
    stage.wire.faults.clear()
    await close(stage, of, intent)
    assert len(await refunds_of(stage, intent)) == 1
    assert (await stray_row(stage, intent))["drive_after"] is None


async def test_a_stray_with_a_payment_in_progress_is_retried_after_pauses(stage: Stage) -> None:
    """Stripe cancels no intent that is processing, and that takes days."""
    of, intent = await stray(stage, "pm_sepaDebit_success")
    refusal = {"type": "invalid_request_error", "code": "payment_intent_unexpected_state"}
    path = f"/v1/payment_intents/{intent}/cancel"
    stage.wire.faults.append(Fault(path, passed_on=False, status=400, body=refusal, times=10))
    began = stage.clock()
    await close(stage, of, intent, 4)
    row = await stray_row(stage, intent)
    assert row["drive_after"] - began > timedelta(seconds=20)
    assert row["drive_attempts"] >= 3


async def test_a_failed_refund_by_hand_of_a_stray_is_replaced(stage: Stage) -> None:
    of, intent = await stray(stage, "pm_card_pendingRefund")
    by_hand = await stage.call("POST", "/v1/refunds", payment_intent=intent, amount=2000)
    await bank(stage, f"refunds/{by_hand['id']}/fail")
    stage.clock.ahead = GRACE
    await close(stage, of, intent)
    assert of.amount in [each["amount"] for each in await refunds_of(stage, intent)]


async def test_a_refund_of_a_stray_that_needs_a_person_is_logged_and_ends(stage: Stage) -> None:
    of, intent = await stray(stage, "pm_card_visa")
    await bank(stage, f"payment_intents/{intent}/dispute")
    stage.clock.ahead = GRACE
    with capture_logs() as logs:
        await close(stage, of, intent)
    row = await stray_row(stage, intent)
    assert (row["refund_status"], row["drive_after"]) == ("failed", None)
    assert [each["code"] for each in logs if each["event"] == "refund failed"] == ["charge_disputed"]
    assert stage.stripe.metrics.failed_refunds.labels("charge_disputed")._value.get() == 1


async def test_a_change_of_a_stray_during_its_check_is_checked_next(stage: Stage) -> None:
    """The check must not end the retries because of what it read before the change."""
    of, intent = await stray(stage, None)
    stage.wire.before = lambda _: stage.rows("UPDATE stray_intents SET drive_after = now() - interval '1 second'")
    await close(stage, of, intent, 2)
    assert (await stray_row(stage, intent))["drive_after"] is not None


async def test_the_booking_decides_which_intent_pays_it(stage: Stage) -> None:
    """The row was restored from the other intent, which is then the stray."""
    of = booking()
    await confirmed("pm_card_visa")(stage, [of])
    right = (await stage.row(of))["intent_id"]
    await lose(stage, of)
    wrong = await another_intent(stage, of)
    await stage.do(SyncPayment(booking_id=of.id, intent_id=wrong))
    assert (await stage.row(of))["intent_id"] == wrong
    reports = await stage.do(of.sync.model_copy(update=naming(of, right)))
    assert (reports[-1].payment.intent_id, reports[-1].payment.amount_captured) == (right, of.amount)
    await close(stage, of, wrong)
    assert [each["id"] for each in await stage.live_intents(of)] == [right]
