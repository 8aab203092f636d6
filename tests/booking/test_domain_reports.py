"""What a report changes in a booking, in whatever order reports arrive; also the hold, refunds and disputes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import uuid4

import pytest

from booking.domain import conflicts, money_status, of_another_intent, trigger_of, wants_seats_again
from booking.rules import Decision
from booking.state import Booking, FollowUp
from booking.triggers import Cancel, Trigger
from common.contracts.statuses import BookingStatus, IntentStatus, PaymentStatus
from common.contracts.values import PaymentState
from tests.booking.samples import (
    AMOUNT,
    DECLINE,
    ENDED,
    FIRST,
    NOW,
    PART,
    PENDING,
    STATES,
    TERMS,
    applied,
    asked,
    report,
    retried,
    violations,
)

SIGNALS = [
    ("creating", {}, None),
    ("requires_payment_method", {}, Trigger.INTENT_CREATED),
    ("requires_payment_method", {"last_error": DECLINE}, Trigger.DECLINED),
    ("requires_confirmation", {}, Trigger.INTENT_CREATED),
    ("requires_confirmation", {"last_error": DECLINE}, Trigger.DECLINED),
    ("requires_action", {"last_error": DECLINE}, Trigger.ACTION_REQUIRED),
    ("processing", {}, Trigger.PROCESSING),
    ("requires_capture", {}, Trigger.PROCESSING),
    ("succeeded", {}, Trigger.SUCCEEDED),
    ("canceled", {"last_error": DECLINE}, Trigger.CANCELED),
    ("rejected", {}, Trigger.INTENT_REJECTED),
]


@pytest.mark.parametrize(("status", "values", "signal"), SIGNALS)
def test_the_trigger_of_a_report_follows_from_the_payments_state(
    status: str, values: dict[str, Any], signal: Trigger | None
) -> None:
    """The trigger does not depend on the message's name: a report of a refund also shows the captured money."""
    assert trigger_of(report(status, **values)) is signal
    assert {each for each, _, _ in SIGNALS} == {each.value for each in IntentStatus}


@pytest.mark.parametrize("state", STATES)
def test_a_payment_without_an_intent_has_no_trigger(state: str) -> None:
    """There is no intent yet."""
    assert applied(STATES[state], report("creating")) == Decision(STATES[state])


# The reports of one payment, each with a higher version than the one before.
LIVES: list[list[PaymentState]] = [
    [report("requires_payment_method"), report("requires_action"), report("processing"), report("succeeded")],
    [
        report("requires_payment_method"),
        report("requires_payment_method", last_error=DECLINE),
        report("requires_confirmation"),
        report("succeeded"),
    ],
    [report("requires_payment_method", last_error=DECLINE), report("processing"), report("canceled")],
    [report("processing"), report("requires_payment_method", last_error=DECLINE), report("requires_action")],
    [report("requires_action"), report("processing"), report("requires_payment_method", last_error=DECLINE)],
    [report("succeeded"), report("succeeded", disputed=True), report("succeeded", disputed=False)],
    [
        report("requires_action"),
        report("succeeded"),
        report("succeeded", refund_ids=(FIRST,), refund_pending=True),
        report("succeeded", refund_ids=(FIRST,), amount_refunded=AMOUNT),
    ],
    [report("succeeded"), report("succeeded", refund_ids=(FIRST,), amount_refunded=PART)],
    [report("rejected", intent_id=None, client_secret=None)],
]


def reported(booking: Booking, payments: list[PaymentState]) -> Booking:
    """The booking after these reports, without its version and its retry time."""
    for payment in payments:
        booking = applied(booking, payment).booking
        assert violations(booking) == []
    return booking._replace(version=0, retry_at=None)


@pytest.mark.parametrize("state", ["creating", "awaiting", "processing", "expiring", "cancelling"])
@pytest.mark.parametrize("life", LIVES)
def test_order_does_not_matter(life: list[PaymentState], state: str) -> None:
    """Whatever their order, and whichever are lost or doubled, the newest report alone decides how
    the booking is."""
    numbered = [replace(each, version=version) for version, each in enumerate(life, start=3)]
    ends = {
        reported(STATES[state], [*order, *order[:1]])
        for count in range(1, len(numbered) + 1)
        for order in permutations(numbered, count)
        if numbered[-1] in order
    }
    # The id of a refund is made from the booking's version at the decision. `refund_whole` means nothing once
    # payment has accepted the refund.
    alike = {
        each._replace(refund_id=None, refund_whole=each.refund_whole if each.refund_owed else False)
        for each in ends
    }
    assert len(alike) == 1
    (end,) = alike
    assert end.payment_version == numbered[-1].version


@pytest.mark.parametrize("state", PENDING)
@pytest.mark.parametrize("status", ["requires_payment_method", "requires_action", "processing"])
@pytest.mark.parametrize("error", [None, DECLINE])
def test_a_pending_booking_shows_what_the_report_says(state: str, status: str, error: Any) -> None:
    """The intent, its secret and the last error, or that there is no error any more."""
    reported = report(status, intent_id="pi_9", client_secret="s", last_error=error)
    after = applied(STATES[state], reported).booking

    assert (after.intent_id, after.client_secret, after.last_error) == ("pi_9", "s", error)
    assert after.payment_version == 3


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("status", ["requires_payment_method", "processing", "canceled", "succeeded"])
def test_an_ended_booking_shows_no_secret(state: str, status: str) -> None:
    """Nothing can be paid any more. The intent's id is kept for operators."""
    after = applied(STATES[state], report(status)).booking

    assert (after.client_secret, after.intent_id) == (None, "pi_1")


LATER = timedelta(minutes=3)
HOLDS = [
    # The hold counts from the first report of the intent, whatever that report says.
    ("creating", "requires_payment_method", None, LATER + TERMS.hold),
    ("creating", "requires_payment_method", DECLINE, LATER + TERMS.hold),
    ("creating", "requires_action", None, LATER + TERMS.hold),
    ("creating", "processing", None, LATER + TERMS.hold),
    # From then on its end stays, except that a decline leaves ten minutes.
    ("awaiting", "requires_payment_method", None, timedelta(minutes=10)),
    ("awaiting", "requires_action", None, timedelta(minutes=10)),
    ("awaiting", "requires_payment_method", DECLINE, LATER + TERMS.extension),
    ("processing", "requires_payment_method", DECLINE, LATER + TERMS.extension),
    # A closing booking gets no more time: its intent is being canceled.
    ("expiring", "requires_payment_method", DECLINE, timedelta(minutes=10)),
    ("expiring, no intent", "requires_payment_method", None, timedelta(minutes=10)),
    ("cancelling, no intent", "requires_payment_method", None, timedelta(minutes=10)),
    ("cancelling, processing", "requires_payment_method", DECLINE, timedelta(minutes=10)),
]


@pytest.mark.parametrize(("state", "status", "error", "expires"), HOLDS)
def test_how_long_a_hold_lasts_after_a_report(state: str, status: str, error: Any, expires: timedelta) -> None:
    """`expires` counts from NOW; the report arrives three minutes after NOW."""
    after = applied(STATES[state], report(status, last_error=error), LATER).booking

    assert after.expires_at == NOW + expires


def test_a_decline_never_makes_a_hold_shorter() -> None:
    """A decline leaves at least ten minutes, not at most."""
    before = STATES["awaiting"]._replace(expires_at=NOW + timedelta(minutes=14))
    reported = report("requires_payment_method", last_error=DECLINE)

    assert applied(before, reported).booking.expires_at == before.expires_at


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("status", ["requires_payment_method", "requires_action", "processing"])
def test_a_live_intent_of_an_ended_booking_is_canceled_until_its_end_is_reported(state: str, status: str) -> None:
    """Each request may be lost, and so may its answer."""
    decision = applied(STATES[state], report(status))
    assert decision.follow_ups == (FollowUp.CANCEL_INTENT,)
    assert applied(decision.booking, report(status)) == Decision(decision.booking)
    due = decision.booking.retry_at
    assert due == NOW + timedelta(seconds=10)
    again = retried(decision.booking, due - NOW)
    # A refund that is owed is asked for first.
    assert again.follow_ups == ((FollowUp.REFUND,) if decision.booking.refund_owed else (FollowUp.CANCEL_INTENT,))
    ended = applied(again.booking, report("canceled", version=4)).booking
    assert not ended.intent_to_cancel
    assert (ended.retry_at is not None) is ended.refund_owed


def test_the_pauses_between_cancels_of_an_ended_bookings_intent_grow() -> None:
    """No customer waits for these seats, and Stripe can take days to answer how a payment under way has ended."""
    booking = STATES["released"]._replace(retry_count=0)
    waits = []
    for _ in range(12):
        before = booking.retry_at
        assert before is not None
        booking = retried(booking, before - NOW).booking
        assert booking.retry_at is not None
        waits.append(booking.retry_at - before)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (timedelta(seconds=20), timedelta(hours=1))


@pytest.mark.parametrize(
    ("own", "reported", "other"),
    [("pi_1", "pi_2", True), ("pi_1", "pi_1", False), (None, "pi_2", False), ("pi_1", None, False)],
)
def test_a_booking_keeps_the_intent_that_was_reported_first(own: Any, reported: Any, other: bool) -> None:
    booking = STATES["awaiting"]._replace(intent_id=own)

    assert of_another_intent(booking, report("succeeded", intent_id=reported)) is other


@pytest.mark.parametrize(
    "change", [{"status": IntentStatus.PROCESSING}, {"amount_refunded": 1}, {"disputed": True}]
)
def test_another_report_under_a_version_that_was_applied_is_noticed(change: dict[str, Any]) -> None:
    """Payment has lost the report that was applied, and counts on from an older one. Another secret alone
    is no conflict."""
    reported = report("succeeded")
    once = applied(STATES["awaiting"], reported).booking

    assert conflicts(once, replace(reported, **change))
    assert not conflicts(once, reported)
    assert not conflicts(once, replace(reported, client_secret=None))
    assert not conflicts(once, replace(reported, version=reported.version + 1, **change))
    assert not conflicts(once._replace(payment_digest=None), replace(reported, **change))


def test_the_order_and_the_defaults_in_a_report_make_no_conflict() -> None:
    """Refunds made at one time come from the database in any order, and a process of the release before leaves
    out empty values."""
    one, two = uuid4(), uuid4()
    reported = report("succeeded", refund_ids=(one, two), refund_failed_amount=0, disputes=())
    once = applied(STATES["awaiting"], reported).booking

    assert not conflicts(once, replace(reported, refund_ids=(two, one), refund_failed_amount=None, disputes=None))


def test_a_report_without_an_intent_does_not_forget_the_one_that_was_known() -> None:
    """A payment that was canceled before its intent was made has none."""
    after = applied(STATES["awaiting"], report("canceled", intent_id=None)).booking

    assert after.intent_id == "pi_1"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("status", ["succeeded", "canceled"])
def test_free_seats_are_read_only_for_late_money(state: str, status: str) -> None:
    """Such a check locks the seats, so it is made for nothing else."""
    wanted = (state.startswith("hold expired") or state == "released") and status == "succeeded"

    assert wants_seats_again(STATES[state], report(status)) is wanted


MONEY = [
    ("confirmed", {}, "paid"),
    ("confirmed", {"refund_pending": True}, "refund_pending"),
    ("confirmed", {"amount_refunded": PART}, "partially_refunded"),
    ("confirmed", {"amount_refunded": PART, "refund_pending": True}, "refund_pending"),
    ("confirmed", {"amount_refunded": PART, "refund_failed": True}, "refund_failed"),
    ("confirmed", {"refund_failed": True, "refund_pending": True}, "refund_failed"),
    ("confirmed", {"disputed": True, "refund_failed": True}, "disputed"),
    ("cancelled, owed", {}, "refund_pending"),
    ("cancelled, owed", {"refund_failed": True}, "refund_pending"),
    ("cancelled, owed", {"disputed": True}, "disputed"),
    ("cancelled, on its way", {"amount_refunded": AMOUNT}, "refunded"),
    ("sold out", {"amount_captured": 0}, "none"),
]


@pytest.mark.parametrize(("state", "values", "expected"), MONEY)
def test_how_captured_money_is_summed_up(state: str, values: dict[str, Any], expected: str) -> None:
    """A state in which a person must act is shown before one that ends by itself."""
    assert money_status(STATES[state], report("succeeded", **values)) is PaymentStatus(expected)


@pytest.mark.parametrize(
    "state", ["confirmed", "cancelled, refunded", "hold expired", "mismatch, owed", "awaiting"]
)
def test_a_dispute_is_shown_and_moves_nothing(state: str) -> None:
    """Status and seats are as they would be without the dispute."""
    with_it = applied(STATES[state], report("succeeded", disputed=True))
    without = applied(STATES[state], report("succeeded"))

    assert with_it.booking.payment is PaymentStatus.DISPUTED
    assert with_it.booking._replace(
        payment=without.booking.payment,
        payment_digest=without.booking.payment_digest,
        version=without.booking.version,
    ) == without.booking._replace(updated_at=with_it.booking.updated_at)


@pytest.mark.parametrize("status", ["canceled", "requires_payment_method", "rejected"])
def test_only_the_version_of_an_unexpected_report_is_kept(status: str) -> None:
    """It is acknowledged, and does not change the money that has confirmed the booking."""
    before = STATES["confirmed"]
    reported = report(status, intent_id="pi_9")
    decision = applied(before, reported)

    after = before._replace(payment_version=3, payment_digest=reported.digest)
    assert decision == Decision(after, unexpected=True)


def test_money_for_an_expiring_booking_that_its_customer_cancelled_is_refunded() -> None:
    """The customer's cancellation counts, though the hold had expired anyway; the first reason stays."""
    wished = asked(STATES["expiring"], Cancel("by_customer")).booking
    wished = asked(wished, Cancel("event_cancelled")).booking
    wished = asked(wished, Trigger.EXPIRED).booking
    after = applied(wished, report("succeeded")).booking

    assert (after.status, after.reason, after.refund_amount) == (BookingStatus.CANCELLED, "by_customer", AMOUNT)


@pytest.mark.parametrize(
    "reported", [{"status": "requires_payment_method"}, {"status": "requires_action"}, {"last_error": DECLINE}]
)
def test_an_intent_for_another_amount_is_shown_to_nobody(reported: dict[str, Any]) -> None:
    """This happens when a booking was lost and its key was used for another one: such money could only go back."""
    status, wrong = reported.get("status", "requires_payment_method"), {"amount": AMOUNT + 1}
    values = {name: value for name, value in reported.items() if name != "status"}

    for name in ("creating", "awaiting", "expiring", "cancelling"):
        after = applied(STATES[name], report(status, **values, **wrong))
        booking = after.booking
        assert (booking.status, booking.reason, booking.payment) == ("failed", "payment_mismatch", "none")
        assert (booking.client_secret, booking.intent_to_cancel, booking.refund_owed) == (None, True, False)
        assert after.follow_ups == (FollowUp.CANCEL_INTENT,)
        assert violations(booking) == []
        late = applied(booking, report("succeeded", 4, amount_captured=AMOUNT + 1, **wrong))
        assert (late.booking.status, late.booking.refund_amount) == ("failed", AMOUNT + 1)
        assert not late.booking.intent_to_cancel
