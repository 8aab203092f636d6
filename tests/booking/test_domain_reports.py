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
from booking.state import Booking, Follow
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
    asked,
    driven,
    report,
    taken,
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
def test_the_state_of_a_payment_says_what_a_report_tells(
    status: str, values: dict[str, Any], signal: Trigger | None
) -> None:
    """The trigger does not depend on the message's name: a report of a refund also shows the captured money."""
    assert trigger_of(report(status, **values)) is signal
    assert {each for each, _, _ in SIGNALS} == {each.value for each in IntentStatus}


@pytest.mark.parametrize("state", STATES)
def test_a_payment_that_is_still_being_made_tells_nothing(state: str) -> None:
    """There is no intent yet."""
    assert taken(STATES[state], report("creating")) == Decision(STATES[state])


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


def told(booking: Booking, payments: list[PaymentState]) -> Booking:
    """The booking after these reports, without its version and its retry time."""
    for payment in payments:
        booking = taken(booking, payment).booking
        assert violations(booking) == []
    return booking._replace(version=0, settle_after=None)


@pytest.mark.parametrize("state", ["creating", "awaiting", "processing", "expiring", "cancelling"])
@pytest.mark.parametrize("life", LIVES)
def test_order_does_not_matter(life: list[PaymentState], state: str) -> None:
    """Whatever their order, and whichever are lost or doubled, the newest report alone decides how
    the booking is."""
    numbered = [replace(each, version=place) for place, each in enumerate(life, start=3)]
    ends = {
        told(STATES[state], [*order, *order[:1]])
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
    told = report(status, intent_id="pi_9", client_secret="s", last_error=error)
    after = taken(STATES[state], told).booking

    assert (after.intent_id, after.client_secret, after.last_error) == ("pi_9", "s", error)
    assert after.payment_version == 3


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("status", ["requires_payment_method", "processing", "canceled", "succeeded"])
def test_an_ended_booking_shows_no_secret(state: str, status: str) -> None:
    """Nothing can be paid any more. The intent's id is kept for operators."""
    after = taken(STATES[state], report(status)).booking

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
    ("awaiting", "requires_payment_method", DECLINE, LATER + TERMS.decline),
    ("processing", "requires_payment_method", DECLINE, LATER + TERMS.decline),
    # A closing booking gets no more time: its intent is being canceled.
    ("expiring", "requires_payment_method", DECLINE, timedelta(minutes=10)),
    ("expiring, no intent", "requires_payment_method", None, timedelta(minutes=10)),
    ("cancelling, no intent", "requires_payment_method", None, timedelta(minutes=10)),
    ("cancelling, processing", "requires_payment_method", DECLINE, timedelta(minutes=10)),
]


@pytest.mark.parametrize(("state", "status", "error", "expires"), HOLDS)
def test_how_long_a_hold_lasts_after_a_report(state: str, status: str, error: Any, expires: timedelta) -> None:
    """`expires` counts from NOW; the report arrives three minutes after NOW."""
    after = taken(STATES[state], report(status, last_error=error), LATER).booking

    assert after.expires_at == NOW + expires


def test_a_decline_never_makes_a_hold_shorter() -> None:
    """A decline leaves at least ten minutes, not at most."""
    before = STATES["awaiting"]._replace(expires_at=NOW + timedelta(minutes=14))
    told = report("requires_payment_method", last_error=DECLINE)

    assert taken(before, told).booking.expires_at == before.expires_at


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("status", ["requires_payment_method", "requires_action", "processing"])
def test_a_living_intent_of_an_ended_booking_is_canceled_until_its_end_is_heard_of(state: str, status: str) -> None:
    """Each request may be lost, and so may its answer."""
    heard = taken(STATES[state], report(status))
    assert heard.follow == (Follow.CANCEL_INTENT,)
    assert taken(heard.booking, report(status)) == Decision(heard.booking)
    due = heard.booking.settle_after
    assert due == NOW + timedelta(seconds=10)
    again = driven(heard.booking, due - NOW)
    # A refund that is owed is asked for first.
    assert again.follow == ((Follow.REFUND,) if heard.booking.refund_owed else (Follow.CANCEL_INTENT,))
    ended = taken(again.booking, report("canceled", version=4)).booking
    assert not ended.intent_to_cancel
    assert (ended.settle_after is not None) is ended.refund_owed


def test_an_intent_of_an_ended_booking_is_asked_for_less_and_less_often() -> None:
    """No customer waits for these seats, and Stripe can take days to answer how a payment under way has ended."""
    booking = STATES["released"]._replace(settle_attempts=0)
    waits = []
    for _ in range(12):
        before = booking.settle_after
        assert before is not None
        booking = driven(booking, before - NOW).booking
        assert booking.settle_after is not None
        waits.append(booking.settle_after - before)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (timedelta(seconds=20), timedelta(hours=1))


@pytest.mark.parametrize(
    ("own", "told", "other"),
    [("pi_1", "pi_2", True), ("pi_1", "pi_1", False), (None, "pi_2", False), ("pi_1", None, False)],
)
def test_a_booking_goes_by_the_intent_that_it_was_told_of_first(own: Any, told: Any, other: bool) -> None:
    booking = STATES["awaiting"]._replace(intent_id=own)

    assert of_another_intent(booking, report("succeeded", intent_id=told)) is other


@pytest.mark.parametrize(
    "change", [{"status": IntentStatus.PROCESSING}, {"amount_refunded": 1}, {"disputed": True}]
)
def test_another_report_under_a_version_that_was_applied_is_noticed(change: dict[str, Any]) -> None:
    """Payment has lost the report that was applied, and counts on from an older one. Another secret alone
    is no conflict."""
    told = report("succeeded")
    once = taken(STATES["awaiting"], told).booking

    assert conflicts(once, replace(told, **change))
    assert not conflicts(once, told)
    assert not conflicts(once, replace(told, client_secret=None))
    assert not conflicts(once, replace(told, version=told.version + 1, **change))
    assert not conflicts(once._replace(payment_digest=None), replace(told, **change))


def test_the_same_report_is_the_same_in_whichever_way_it_is_told() -> None:
    """Refunds of one moment come from the database in any order, and a process of the release before leaves
    out empty values."""
    one, two = uuid4(), uuid4()
    told = report("succeeded", refund_ids=(one, two), refund_failed_amount=0, disputes=())
    once = taken(STATES["awaiting"], told).booking

    assert not conflicts(once, replace(told, refund_ids=(two, one), refund_failed_amount=None, disputes=None))


def test_a_report_without_an_intent_does_not_forget_the_one_that_was_known() -> None:
    """A payment that was canceled before its intent was made has none."""
    after = taken(STATES["awaiting"], report("canceled", intent_id=None)).booking

    assert after.intent_id == "pi_1"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("status", ["succeeded", "canceled"])
def test_seats_are_looked_up_only_for_late_money(state: str, status: str) -> None:
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
    with_it = taken(STATES[state], report("succeeded", disputed=True))
    without = taken(STATES[state], report("succeeded"))

    assert with_it.booking.payment is PaymentStatus.DISPUTED
    assert with_it.booking._replace(
        payment=without.booking.payment,
        payment_digest=without.booking.payment_digest,
        version=without.booking.version,
    ) == without.booking._replace(updated_at=with_it.booking.updated_at)


@pytest.mark.parametrize("news", ["canceled", "requires_payment_method", "rejected"])
def test_an_unexpected_report_is_remembered_and_changes_nothing_else(news: str) -> None:
    """It is acknowledged, and does not change the money that has confirmed the booking."""
    before = STATES["confirmed"]
    told = report(news, intent_id="pi_9")
    decision = taken(before, told)

    heard = before._replace(payment_version=3, payment_digest=told.digest)
    assert decision == Decision(heard, unexpected=True)


def test_a_customer_who_cancels_what_expires_is_not_sold_it() -> None:
    """The customer's cancellation counts, though the hold had expired anyway; the first reason stays."""
    wished = asked(STATES["expiring"], Cancel("by_customer")).booking
    wished = asked(wished, Cancel("event_cancelled")).booking
    wished = asked(wished, Trigger.EXPIRED).booking
    after = taken(wished, report("succeeded")).booking

    assert (after.status, after.reason, after.refund_amount) == (BookingStatus.CANCELLED, "by_customer", AMOUNT)


@pytest.mark.parametrize(
    "told", [{"status": "requires_payment_method"}, {"status": "requires_action"}, {"last_error": DECLINE}]
)
def test_an_intent_for_another_amount_is_shown_to_nobody(told: dict[str, Any]) -> None:
    """This happens when a booking was lost and its key was used for another one: such money could only go back."""
    status, wrong = told.get("status", "requires_payment_method"), {"amount": AMOUNT + 1}
    values = {name: value for name, value in told.items() if name != "status"}

    for name in ("creating", "awaiting", "expiring", "cancelling"):
        after = taken(STATES[name], report(status, **values, **wrong))
        booking = after.booking
        assert (booking.status, booking.reason, booking.payment) == ("failed", "payment_mismatch", "none")
        assert (booking.client_secret, booking.intent_to_cancel, booking.refund_owed) == (None, True, False)
        assert after.follow == (Follow.CANCEL_INTENT,)
        assert violations(booking) == []
        late = taken(booking, report("succeeded", 4, amount_captured=AMOUNT + 1, **wrong))
        assert (late.booking.status, late.booking.refund_amount) == ("failed", AMOUNT + 1)
        assert not late.booking.intent_to_cancel
