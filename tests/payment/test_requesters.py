"""Who asked for a refund, or decided about money of no booking; and why Stripe refused to make an intent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from structlog.testing import capture_logs

from common.contracts.messages import PaymentReportApplied, RefundPayment, SyncPayment
from common.contracts.values import Rejection
from tests.payment.stage import Booking, Stage, booking
from tests.payment.test_lost import close, refunds_of, stray, stray_row, unknown
from tests.payment.test_refunding import failed_later, refund_by_hand
from tests.payment.wire import Fault
from tests.subjects import documented, forget, holding

REFUNDS, INTENTS = "/v1/refunds", "/v1/payment_intents"


def asked(of: Booking, by: str | None, amount: int | None = None) -> RefundPayment:
    return of.refund(amount).model_copy(update={"by": by})


async def requesters(stage: Stage, of: Booking) -> list[str | None]:
    rows = await stage.rows("SELECT by FROM refunds WHERE booking_id = $1 ORDER BY created_at", of.id)
    return [row["by"] for row in rows]


async def test_a_refund_keeps_who_asked_for_it_and_the_report_says_so(stage: Stage) -> None:
    """One that is owed by the system, and one by hand at Stripe, nobody asked for."""
    of = booking()
    paid = await stage.paid(of)
    await stage.do(asked(of, "root", 1000))
    (report,) = await stage.do(asked(of, None, 500))
    assert await requesters(stage, of) == ["root", None]
    reports = await stage.webhooks(*await refund_by_hand(stage, paid, amount=200))
    assert report.payment.refunds is not None
    assert [(each.amount, each.status, each.by) for each in report.payment.refunds] == [
        (1000, "succeeded", "root"),
        (500, "succeeded", None),
    ]
    newest = max(reports, key=lambda each: each.payment.version).payment.refunds
    assert newest is not None
    assert [(each.amount, each.by, each.by_hand) for each in newest] == [
        (1000, "root", False),
        (500, None, False),
        (200, None, True),
    ]
    assert all(each.stripe_refund_id and each.created_at and each.updated_at for each in newest)


async def test_the_first_one_who_asked_stays(stage: Stage) -> None:
    """The same refund, asked for again by the reconciler or a process of the release before, has one requester."""
    of = booking()
    await stage.paid(of)
    first = asked(of, "root", 1000)
    stage.wire.faults.append(Fault(REFUNDS, status=503, passed_on=False, times=100))
    await stage.do(first)
    stage.clock.ahead = timedelta(minutes=1)
    stage.wire.faults.clear()
    for by in (None, "other"):
        await stage.do(first.model_copy(update={"by": by}))
    assert await requesters(stage, of) == ["root"]


async def test_a_refund_that_fails_later_is_logged_with_who_asked_for_it(stage: Stage) -> None:
    of = booking()
    paid = await stage.paid(of)
    await stage.do(asked(of, "root"))
    with capture_logs() as logs:
        (report,) = await failed_later(stage, paid)
    assert [line["by"] for line in logs if line["event"] == "refund failed"] == ["root"]
    assert report.payment.refunds is not None
    assert [(each.status, each.reason, each.by) for each in report.payment.refunds] == [
        ("failed", "expired_or_canceled_card", "root")
    ]


async def test_money_of_no_booking_goes_back_with_the_name_of_who_decided_it(stage: Stage) -> None:
    """Without a decision, after the grace time, by nobody."""
    decided, waits = booking(), booking()
    reports = [await stage.paid(each) for each in (decided, waits)]
    await unknown(stage, *reports)
    await unknown(stage, *await stage.do(SyncPayment(booking_id=decided.id, decided=True, by="alice at the desk")))
    assert await requesters(stage, decided) == ["alice at the desk"]
    stage.clock.ahead = timedelta(minutes=11)
    await unknown(stage, reports[1])
    assert await requesters(stage, waits) == [None]


async def test_a_decision_about_a_payment_with_a_booking_is_forgotten(stage: Stage) -> None:
    """Repair compares such payments, too: were they lost later, nobody would have decided about them."""
    of = booking()
    await stage.paid(of)
    (report,) = await stage.do(SyncPayment(booking_id=of.id, decided=True, by="alice"))
    row = await stage.row(of)
    assert (row["return_decided"], row["return_decided_by"]) == (True, "alice")
    await stage.do(PaymentReportApplied(booking_id=of.id, version=report.payment.version))
    row = await stage.row(of)
    assert (row["return_decided"], row["return_decided_by"]) == (False, None)


async def test_money_of_a_stray_goes_back_with_the_name_of_who_decided_it(stage: Stage) -> None:
    of, intent = await stray(stage, "pm_card_visa")
    await stage.do(SyncPayment(booking_id=of.id, decided=True, by="alice"))
    with capture_logs() as logs:
        await close(stage, of, intent)
    assert len(await refunds_of(stage, intent)) == 1
    row: Any = await stray_row(stage, intent)
    assert (row["return_decided_by"], row["drive_after"]) == ("alice", None)
    (line,) = [each for each in logs if each["event"] == "money of a stray intent goes back"]
    assert line["by"] == "alice"


async def test_why_stripe_refused_an_intent_is_kept_and_reported(stage: Stage) -> None:
    """Its code, text, parameter, and the request by which Stripe's support finds it."""
    of = booking(amount=1)
    (report,) = await stage.do(of.create)
    rejection = report.payment.rejection
    assert rejection is not None
    assert (rejection.code, rejection.param) == ("amount_too_small", "amount")
    assert rejection.message
    assert rejection.request_id
    assert rejection.request_id.startswith("req_")
    assert (await stage.load(of)).rejection == rejection
    assert await stage.do(of.create) == [report]


async def test_a_rejection_with_less_than_stripe_mostly_says_is_kept(stage: Stage) -> None:
    of = booking()
    error = {"type": "invalid_request_error", "message": "No."}
    stage.wire.faults.append(Fault(INTENTS, status=400, passed_on=False, body=error))
    (report,) = await stage.do(of.create)
    rejection = report.payment.rejection
    assert rejection is not None
    assert Rejection(rejection.code, rejection.message) == Rejection("InvalidRequestError", "No.")
    assert rejection.param is None


async def test_a_payment_rejected_by_the_release_before_has_no_rejection(stage: Stage) -> None:
    of = booking(amount=1)
    await stage.do(of.create)
    await stage.rows("UPDATE payments SET rejection = NULL")
    stage.store.payments.clear()
    (report,) = await stage.do(of.create)
    assert report.payment.rejection is None
    assert report.payment.last_error is not None


async def test_the_operators_page_says_where_subjects_are_and_how_to_forget_them(stage: Stage) -> None:
    paid = booking()
    report = await stage.paid(paid)
    await stage.do(asked(paid, "alice", 100))
    await unknown(stage, report)
    await stage.do(SyncPayment(booking_id=paid.id, decided=True, by="alice"))
    of, intent = await stray(stage, "pm_card_visa")
    await stage.do(SyncPayment(booking_id=of.id, decided=True, by="alice"))

    assert await holding(stage.database, "alice") == documented("payment")
    await forget(stage.database, "payment", "alice", "forgotten")
    assert await holding(stage.database, "alice") == set()
    assert await requesters(stage, paid) == ["forgotten"]
    await close(stage, of, intent)
    assert len(await refunds_of(stage, intent)) == 1
