"""Stripe refuses a refund: its own list of refunds decides what follows, and every new try has a new key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from common.contracts.messages import PaymentReport
from payment.domain import REFUSED_PAUSES
from payment.refunds import REFUSED_FOR
from tests.payment.rows import bank
from tests.payment.stage import Booking, Stage, booking
from tests.payment.wire import Call, Fault

REFUNDS = "/v1/refunds"
TIMES = 10


async def at_stripe(stage: Stage, of: Booking) -> list[tuple[int, str]]:
    intent = (await stage.row(of))["intent_id"]
    listed = (await stage.call("GET", REFUNDS, payment_intent=intent))["data"]
    return sorted((refund["amount"], refund["status"]) for refund in listed)


async def rows(stage: Stage, of: Booking) -> list[Any]:
    query = "SELECT * FROM refunds WHERE booking_id = $1 AND NOT by_hand ORDER BY created_at, id"
    return list(await stage.rows(query, of.id))


def by_hand_meanwhile(stage: Stage, of: PaymentReport, *amounts: int) -> None:
    """While each of our first requests is under way, somebody refunds one of these amounts in the dashboard."""
    waiting = list(amounts)

    async def before(call: Call) -> None:
        if call.path == REFUNDS and call.method == "POST" and waiting:
            await bank(stage, f"payment_intents/{of.payment.intent_id}/refund", amount=waiting.pop(0))

    stage.wire.before = before


def newest(reports: list[PaymentReport]) -> PaymentReport:
    return max(reports, key=lambda report: report.payment.version)


# Paid 45.00, and all that is left is to go back.
RACES = [
    ([1500], [(1500, "succeeded"), (3000, "succeeded")]),
    ([4500], [(4500, "succeeded")]),
    ([1500, 500], [(500, "succeeded"), (1500, "succeeded"), (2500, "succeeded")]),
    ([1500, 3000], [(1500, "succeeded"), (3000, "succeeded")]),
    # One more than one message asks for: the reconciler continues.
    ([1500, 500, 200], [(200, "succeeded"), (500, "succeeded"), (1500, "succeeded"), (2300, "succeeded")]),
]


@pytest.mark.parametrize(("amounts", "expected"), RACES)
async def test_the_rest_of_a_whole_refund_is_refunded_without_an_operator(
    stage: Stage, amounts: list[int], expected: list[tuple[int, str]]
) -> None:
    """However often somebody is faster; none of it is a failure, and no webhook is needed."""
    of = booking(4500)
    paid = await stage.paid(of)
    by_hand_meanwhile(stage, paid, *amounts)
    message = of.refund(4500).model_copy(update={"whole": True})
    with capture_logs() as logs:
        reports = await stage.do(message)
        if newest(reports).payment.refund_pending:
            assert await stage.due_refunds() == [message.refund_id]
            reports = await stage.do(message)

    assert await at_stripe(stage, of) == expected
    report = newest(reports)
    assert (report.payment.amount_refunded, report.payment.refund_pending, report.payment.refund_failed) == (
        4500,
        False,
        False,
    )
    assert message.refund_id in report.payment.refund_ids
    keys = [call.key for call in stage.wire.made(REFUNDS)]
    assert len(set(keys)) == len(keys)
    assert not [log for log in logs if log["log_level"] == "error"]


async def test_a_refund_by_hand_at_the_same_time_is_handled_ten_times_of_ten(stage: Stage) -> None:
    """15.00 of 45.00 are refunded by hand at the same moment: 30.00 go back."""
    for _ in range(TIMES):
        of = booking(4500)
        by_hand_meanwhile(stage, await stage.paid(of), 1500)
        await stage.do(of.refund())
        stage.wire.before = None
        assert await at_stripe(stage, of) == [(1500, "succeeded"), (3000, "succeeded")]


# A part of a named amount, of 45.00 of which 15.00 are refunded by hand at the same moment.
PARTS = [
    (4000, "amount_too_large", [(1500, "succeeded")]),
    (3001, "amount_too_large", [(1500, "succeeded")]),
    (3000, None, [(1500, "succeeded"), (3000, "succeeded")]),
    (100, None, [(100, "succeeded"), (1500, "succeeded")]),
]


@pytest.mark.parametrize(("amount", "reason", "expected"), PARTS)
async def test_a_part_is_refunded_in_its_own_amount_or_refused(
    stage: Stage, amount: int, reason: str | None, expected: list[tuple[int, str]]
) -> None:
    of = booking(4500)
    by_hand_meanwhile(stage, await stage.paid(of), 1500)
    report = newest(await stage.do(of.refund(amount).model_copy(update={"whole": False})))

    assert await at_stripe(stage, of) == expected
    (row,) = await rows(stage, of)
    assert (row["amount"], row["reason"]) == (amount, reason)
    assert (report.payment.refund_failed, report.payment.refund_error) == (reason is not None, reason)
    # A second try would not fit, either.
    assert report.payment.refund_failed_amount == 0


async def test_a_part_fails_when_everything_is_refunded(stage: Stage) -> None:
    """An operator has nothing to do: the customer has all of the money."""
    of = booking(4500)
    by_hand_meanwhile(stage, await stage.paid(of), 4500)
    report = newest(await stage.do(of.refund(4000).model_copy(update={"whole": False})))

    (row,) = await rows(stage, of)
    assert (row["status"], row["reason"]) == ("failed", "nothing_left")
    assert (report.payment.amount_refunded, report.payment.refund_failed) == (4500, False)


def no_balance(times: int) -> Fault:
    body = {"type": "invalid_request_error", "message_code": "insufficient_balance_for_refund"}
    return Fault(REFUNDS, passed_on=False, status=400, body=body, sticks=True, times=times)


@pytest.mark.parametrize("amount", [None, 2000])
async def test_a_refund_refused_for_balance_is_retried_under_a_new_key(stage: Stage, amount: int | None) -> None:
    """Stripe repeats a refusal under its key. Operators see what the refund waits for, and nothing has failed."""
    of = booking()
    await stage.paid(of)
    stage.wire.faults.append(no_balance(3))
    message = of.refund(amount)
    for tries in (1, 2, 3):
        report = newest(await stage.do(message))
        waiting = (report.payment.refund_pending, report.payment.refund_failed, report.payment.refund_waiting)
        assert waiting == (True, False, "insufficient_balance_for_refund")
        (row,) = await rows(stage, of)
        assert (row["status"], row["refusals"], row["key_number"]) == ("requested", tries, tries + 1)
        pause = row["drive_after"] - stage.clock()
        most = min(REFUSED_PAUSES[0] * 2 ** (tries - 1), REFUSED_PAUSES[1])
        assert most / 2 - timedelta(seconds=10) < pause <= most
        stage.clock.ahead += most
        assert message.refund_id in await stage.due_refunds()

    report = newest(await stage.do(message))
    assert (report.payment.refund_waiting, report.payment.refund_pending) == (None, False)
    assert (amount or of.amount, "succeeded") in await at_stripe(stage, of)


async def test_another_refund_does_not_retry_the_waiting_one_earlier(stage: Stage) -> None:
    of = booking()
    await stage.paid(of)
    stage.wire.faults.append(no_balance(1))
    waiting, other = of.refund(2000), of.refund(100)
    await stage.do(waiting)
    report = newest(await stage.do(other))

    assert [call.key for call in stage.wire.made(REFUNDS)] == [str(waiting.refund_id), str(other.refund_id)]
    assert (report.payment.amount_refunded, report.payment.refund_waiting) == (
        100,
        "insufficient_balance_for_refund",
    )


async def test_a_refund_without_balance_for_a_week_fails_with_an_error(stage: Stage) -> None:
    of = booking()
    await stage.paid(of)
    stage.wire.faults.append(no_balance(100))
    message = of.refund()
    await stage.do(message)
    stage.clock.ahead += REFUSED_FOR
    with capture_logs() as logs:
        report = newest(await stage.do(message))

    assert (report.payment.refund_failed, report.payment.refund_error) == (True, "insufficient_balance_for_refund")
    assert (report.payment.refund_failed_amount, report.payment.refund_failed_whole) == (of.amount, True)
    loud = [log for log in logs if log["log_level"] == "error"]
    assert [(log["event"], log["booking"], log["reason"]) for log in loud] == [
        ("refund failed", str(of.id), "insufficient_balance_for_refund")
    ]
    assert counted(stage, "insufficient_balance_for_refund") == 1


def counted(stage: Stage, reason: str) -> float:
    (metric,) = stage.stripe.metrics.failed_refunds.collect()
    return sum(
        each.value for each in metric.samples if each.name.endswith("_total") and each.labels["reason"] == reason
    )


async def test_a_refusal_that_needs_a_person_fails_at_once(stage: Stage) -> None:
    """A disputed charge is up to the bank. Payment fetches the dispute, which it did not know."""
    of = booking()
    paid = await stage.paid(of)
    await bank(stage, f"payment_intents/{paid.payment.intent_id}/dispute")
    report = newest(await stage.do(of.refund()))

    (row,) = await rows(stage, of)
    assert (row["status"], row["reason"]) == ("failed", "charge_disputed")
    assert (report.payment.refund_failed, report.payment.refund_error, report.payment.disputed) == (
        True,
        "charge_disputed",
        True,
    )
    assert counted(stage, "charge_disputed") == 1


async def test_a_refusal_that_contradicts_stripes_list_is_retried(stage: Stage) -> None:
    """By Stripe's list nothing was refunded."""
    of = booking()
    await stage.paid(of)
    refusal = {"type": "invalid_request_error", "code": "charge_already_refunded"}
    stage.wire.faults.append(Fault(REFUNDS, passed_on=False, status=400, body=refusal, sticks=True))
    message = of.refund()
    assert newest(await stage.do(message)).payment.refund_waiting == "charge_already_refunded"
    report = newest(await stage.do(message))
    assert (report.payment.amount_refunded, report.payment.refund_failed) == (of.amount, False)


@pytest.mark.parametrize("reason", ["insufficient_funds", "processing", "charge_pending"])
async def test_the_reason_of_a_pending_refund_is_reported(stage: Stage, reason: str) -> None:
    """This is how Stripe shows most shortages of balance."""
    of = booking()
    await stage.paid(of)

    async def after(call: Call, answer: dict[str, Any]) -> None:
        if call.path == REFUNDS and call.method == "POST":
            answer.update(status="pending", pending_reason=reason)

    stage.wire.after = after
    report = newest(await stage.do(of.refund()))
    (row,) = await rows(stage, of)
    assert (row["status"], row["pending_reason"]) == ("pending", reason)
    assert (report.payment.refund_pending, report.payment.refund_waiting, report.payment.refund_failed) == (
        True,
        reason,
        False,
    )

    stage.wire.after = None
    report = newest(await stage.do(of.sync))
    assert (report.payment.amount_refunded, report.payment.refund_waiting) == (of.amount, None)


async def test_a_refund_made_under_a_key_that_was_later_refused_is_found(stage: Stage) -> None:
    """The answer to the first request was lost, and the second is refused: Stripe's list has the refund's id."""
    of = booking()
    paid = await stage.paid(of)
    message = of.refund(2000)
    made = await stage.call(
        "POST",
        REFUNDS,
        payment_intent=paid.payment.intent_id,
        amount=2000,
        **{"metadata[refund_id]": str(message.refund_id)},
    )
    stage.wire.faults.append(no_balance(1))
    report = newest(await stage.do(message))

    (row,) = await rows(stage, of)
    assert (row["status"], row["stripe_refund_id"]) == ("succeeded", made["id"])
    assert (report.payment.amount_refunded, await at_stripe(stage, of)) == (2000, [(2000, "succeeded")])


async def test_an_old_answer_changes_no_newer_request(stage: Stage) -> None:
    """Two processes asked under one key: the refusal that the slower one received must not lead to a third key,
    while the request under the second key may be under way."""
    of = booking()
    await stage.paid(of)
    stage.wire.faults.append(no_balance(1))
    message = of.refund(2000)
    others = [message]

    async def meanwhile(call: Call) -> None:
        if call.path == REFUNDS and call.method == "GET" and others:
            await stage.do(others.pop())

    stage.wire.before = meanwhile
    await stage.do(message)
    (row,) = await rows(stage, of)
    assert (row["key_number"], row["refusals"]) == (2, 1)


async def test_a_refund_whose_list_stripe_refuses_waits_with_an_error(stage: Stage) -> None:
    """The key is of another account: no row is lost, and the message is finished."""
    of = booking()
    await stage.paid(of)
    missing = {"type": "invalid_request_error", "code": "resource_missing"}
    stage.wire.faults += [
        Fault(REFUNDS, passed_on=False, status=400, body=missing),
        Fault(REFUNDS, method="GET", passed_on=False, status=400, body=missing),
    ]
    message = of.refund()
    with capture_logs() as logs:
        report = newest(await stage.do(message))
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["list refused"]
    assert (report.payment.refund_pending, report.payment.refund_waiting) == (True, "resource_missing")
    assert newest(await stage.do(message)).payment.amount_refunded == of.amount


async def test_a_whole_refund_may_be_lowered_in_the_database(stage: Stage) -> None:
    of = booking()
    await stage.paid(of)
    stage.wire.faults.append(no_balance(1))
    await stage.do(of.refund())
    await stage.rows("UPDATE refunds SET amount = 4000 WHERE booking_id = $1", of.id)
    assert [row["amount"] for row in await rows(stage, of)] == [4000]


CANCEL = {"type": "invalid_request_error", "code": "payment_intent_unexpected_state"}


async def test_a_cancel_that_is_refused_without_the_intent_fetches_it(stage: Stage) -> None:
    """The known status may be old: the intent was paid."""
    of = booking()
    (made,) = await stage.do(of.create)
    await stage.pay(made.payment.intent_id)
    path = f"/v1/payment_intents/{made.payment.intent_id}/cancel"
    stage.wire.faults.append(Fault(path, passed_on=False, status=400, body=CANCEL))
    report = newest(await stage.do(of.cancel))

    assert (report.payment.status, report.payment.amount_captured) == ("succeeded", of.amount)


async def test_a_cancel_is_retried_later_if_stripe_refuses_to_show_the_intent(stage: Stage) -> None:
    """With an error in the log, and not four times a minute."""
    of = booking()
    (made,) = await stage.do(of.create)
    path = f"/v1/payment_intents/{made.payment.intent_id}"
    missing = {"type": "invalid_request_error", "code": "resource_missing"}
    stage.wire.faults += [
        Fault(f"{path}/cancel", passed_on=False, status=404, body=missing),
        Fault(path, method="GET", passed_on=False, status=404, body=missing),
    ]
    with capture_logs() as logs:
        await stage.do(of.cancel)
    row = await stage.row(of)

    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["cancel refused"]
    assert row["cancel_requested"]
    assert row["drive_after"] - stage.clock() > REFUSED_PAUSES[0] / 2 - timedelta(seconds=10)
