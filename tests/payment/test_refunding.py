"""RefundPayment: a refund is made once, never over what was captured, and its failure is logged as an error."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from structlog.testing import capture_logs

from common.contracts.messages import PaymentReport
from tests.payment.stage import Booking, Stage, booking
from tests.payment.wire import Call, Fault

REFUNDS = "/v1/refunds"


async def refunds_at_stripe(stage: Stage, report: PaymentReport) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await stage.call("GET", REFUNDS, payment_intent=report.payment.intent_id))[
        "data"
    ]
    return listed


async def test_all_that_is_left_is_refunded(stage: Stage) -> None:
    """The row is written first, and its id is Stripe's idempotency key."""
    wanted = booking()
    paid = await stage.paid(wanted)
    seen: list[str] = []

    async def check(call: Call) -> None:
        if call.path == REFUNDS:
            seen.extend(row["status"] for row in await stage.rows("SELECT status FROM refunds"))

    stage.wire.before = check
    message = wanted.refund()
    (report,) = await stage.do(message)

    assert seen == ["requested"]
    assert report.type == "payment.refund_updated"
    assert (report.payment.amount_refunded, report.payment.refund_ids) == (wanted.amount, (message.refund_id,))
    assert (report.payment.refund_pending, report.payment.refund_failed) == (False, False)
    assert [call.key for call in stage.wire.made(REFUNDS)] == [str(message.refund_id)]
    assert report.payment.version > paid.payment.version


async def test_a_repeated_refund_changes_nothing(stage: Stage) -> None:
    """It is answered with the same report, and made once."""
    wanted = booking()
    paid = await stage.paid(wanted)
    message = wanted.refund(2000)
    first = await stage.do(message, message)
    second = await stage.do(message)

    assert first == second
    assert [refund["amount"] for refund in await refunds_at_stripe(stage, paid)] == [2000]


async def test_parts_add_up_to_no_more_than_was_captured(stage: Stage) -> None:
    """A refund over the rest fails, and the report has its id."""
    wanted = booking()
    paid = await stage.paid(wanted)
    await stage.do(wanted.refund(3000))
    too_much = wanted.refund(2500)
    (report,) = await stage.do(too_much)
    assert (report.payment.amount_refunded, report.payment.refund_failed) == (3000, True)
    assert too_much.refund_id in report.payment.refund_ids

    (report,) = await stage.do(wanted.refund())
    assert (report.payment.amount_refunded, report.payment.refund_failed) == (5000, False)
    (report,) = await stage.do(wanted.refund())
    assert (report.payment.amount_refunded, len(report.payment.refund_ids)) == (5000, 4)
    assert sum(refund["amount"] for refund in await refunds_at_stripe(stage, paid)) == 5000


@pytest.mark.parametrize("ahead", [True, False])
async def test_the_database_refuses_refunds_over_what_was_captured(stage: Stage, ahead: bool) -> None:
    """Also for two transactions at once, neither of which sees the other's refund."""
    wanted = booking()
    await stage.paid(wanted)
    insert = """INSERT INTO refunds (id, booking_id, amount, status, asked_at, created_at, updated_at)
                VALUES ($1, $2, 3000, 'requested', now(), now(), now())"""
    async with stage.database.connection() as one, stage.database.connection() as other:
        first, second = one.transaction(), other.transaction()
        await first.start()
        await second.start()
        await one.execute(insert, uuid4(), wanted.id)
        if not ahead:
            await first.commit()
        await other.execute(insert, uuid4(), wanted.id)
        commits = [first.commit(), second.commit()] if ahead else [second.commit()]
        ends: list[Any] = await asyncio.gather(*commits, return_exceptions=True)
    errors = [end for end in ends if end is not None]

    assert [type(error) for error in errors] == [asyncpg.CheckViolationError]
    assert len(await stage.rows("SELECT 1 FROM refunds")) == 1


async def test_two_concurrent_refunds_do_not_refund_twice(stage: Stage) -> None:
    """The first one is made."""
    wanted = booking()
    paid = await stage.paid(wanted)
    await asyncio.gather(*(stage.do(wanted.refund(3000)) for _ in range(3)))

    assert [refund["amount"] for refund in await refunds_at_stripe(stage, paid)] == [3000]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(REFUNDS, status=500), id="500 after the work"),
        pytest.param(Fault(REFUNDS, status=500, sticks=True), id="500 after the work, again for the same key"),
        pytest.param(Fault(REFUNDS, status=None), id="timeout after the work"),
        pytest.param(Fault(REFUNDS, status=None, passed_on=False), id="timeout instead of the work"),
        pytest.param(Fault(REFUNDS, status=429, passed_on=False, headers={"Retry-After": "0.1"}), id="429"),
    ],
)
async def test_a_request_with_unknown_outcome_is_retried(stage: Stage, fault: Fault) -> None:
    """The refund is made once."""
    wanted = booking()
    paid = await stage.paid(wanted)
    stage.wire.faults.append(fault)
    (report,) = await stage.do(wanted.refund())

    assert report.payment.amount_refunded == wanted.amount
    assert len(await refunds_at_stripe(stage, paid)) == 1


async def test_an_unanswered_refund_is_retried(stage: Stage) -> None:
    """By its row: the message is finished."""
    wanted = booking()
    paid = await stage.paid(wanted)
    outage = Fault(REFUNDS, status=503, passed_on=False, times=100)
    stage.wire.faults.append(outage)
    message = wanted.refund(1000)
    (pending,) = await stage.do(message)
    assert (pending.payment.refund_pending, pending.payment.refund_ids) == (True, (message.refund_id,))

    outage.times = 0
    stage.clock.ahead = timedelta(minutes=1)
    assert await stage.due_refunds() == [message.refund_id]
    (report,) = await stage.do(message)
    assert (report.payment.refund_pending, report.payment.amount_refunded) == (False, 1000)
    assert len(await refunds_at_stripe(stage, paid)) == 1
    assert await stage.due_refunds() == []


async def refund_by_hand(stage: Stage, paid: PaymentReport, **form: Any) -> list[dict[str, Any]]:
    await stage.call("POST", REFUNDS, payment_intent=paid.payment.intent_id, **form)
    return await stage.events("refund.created", "charge.refunded", of=paid.payment.intent_id)


@pytest.mark.parametrize("backwards", [True, False])
async def test_a_refund_by_hand_is_applied(stage: Stage, backwards: bool) -> None:
    """Somebody refunds in the dashboard: the events come in any order, and twice."""
    wanted = booking()
    paid = await stage.paid(wanted)
    events = await refund_by_hand(stage, paid, amount=1500)
    reports = []
    for event in [*(reversed(events) if backwards else events), *events]:
        reports += await stage.webhooks(event)

    assert max(reports, key=lambda report: report.payment.version).payment.amount_refunded == 1500
    rows = await stage.rows("SELECT * FROM refunds WHERE booking_id = $1", wanted.id)
    assert [(row["by_hand"], row["amount"], row["status"]) for row in rows] == [(True, 1500, "succeeded")]


async def test_a_refund_already_made_by_hand_is_not_made_again(stage: Stage) -> None:
    """Stripe refuses ours; the refund by hand is found at once, without its webhook."""
    wanted = booking()
    paid = await stage.paid(wanted)
    await refund_by_hand(stage, paid)
    reports = await stage.do(wanted.refund())

    newest = max(reports, key=lambda report: report.payment.version)
    assert (newest.payment.amount_refunded, newest.payment.refund_failed) == (wanted.amount, False)
    assert len(await refunds_at_stripe(stage, paid)) == 1


async def test_a_refund_before_its_payments_webhook_is_fetched(stage: Stage) -> None:
    """By the known amounts, more would be refunded than was captured."""
    wanted = booking()
    (made,) = await stage.do(wanted.create)
    await stage.pay(made.payment.intent_id)
    reports = await stage.webhooks(*await refund_by_hand(stage, made, amount=1500))

    newest = max(reports, key=lambda report: report.payment.version)
    assert (newest.payment.status, newest.payment.amount_captured, newest.payment.amount_refunded) == (
        "succeeded",
        5000,
        1500,
    )


async def failed_later(stage: Stage, paid: PaymentReport) -> list[PaymentReport]:
    """Stripe reports, a day later, that the refund could not be made."""
    (refund,) = await refunds_at_stripe(stage, paid)
    (event,) = await stage.events("refund.created", of=paid.payment.intent_id)
    failed = {**refund, "status": "failed", "failure_reason": "expired_or_canceled_card"}
    kind = {"id": "evt_failed", "type": "refund.failed", "created": event["created"] + 86400}
    return await stage.webhooks({**event, **kind, "data": {"object": failed}})


async def test_a_failure_days_later_is_reported_with_an_error(stage: Stage) -> None:
    """A refund under a new id can be tried."""
    wanted = booking()
    paid = await stage.paid(wanted)
    await stage.do(wanted.refund())
    with capture_logs() as logs:
        (report,) = await failed_later(stage, paid)

    assert [(log["log_level"], log["reason"]) for log in logs if log["event"] == "refund failed"] == [
        ("error", "expired_or_canceled_card")
    ]
    assert (report.payment.amount_refunded, report.payment.refund_failed) == (0, True)
    again = wanted.refund()
    assert len((await stage.load(wanted)).refunds) == 1
    stage.wire.faults.append(Fault(REFUNDS, status=None, passed_on=False, times=100))
    (report,) = await stage.do(again)
    assert (report.payment.refund_pending, report.payment.refund_failed) == (True, False)


async def test_an_unpaid_payment_is_not_refunded(stage: Stage) -> None:
    """The payment is reported as it is; for an unknown one there is no report."""
    wanted: Booking = booking()
    (made,) = await stage.do(wanted.create)

    assert await stage.do(wanted.refund()) == [made]
    assert await stage.do(booking().refund()) == []
    assert await stage.rows("SELECT 1 FROM refunds") == []
