"""When an unfinished booking is handled again, which message it then sends, and what time alone changes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from booking.domain import retry
from booking.schedule import WAITS, next_change, retry_time, waits_for
from booking.state import Booking, FollowUp
from common.contracts.statuses import BookingStatus
from tests.booking.samples import (
    CONFIRMED,
    ENDED,
    NOW,
    PENDING,
    STATES,
    TERMS,
    applied,
    booking,
    report,
    retried,
    violations,
)

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOLD_END, GRACE_END = timedelta(minutes=10), timedelta(minutes=15)  # in the samples

# State: the request that it waits for, its first retry time, and when time alone changes it.
TIMES: dict[str, tuple[FollowUp, timedelta, timedelta | None]] = {
    "creating": (FollowUp.CREATE_INTENT, 10 * SECOND, HOLD_END),
    "awaiting": (FollowUp.SYNC, 5 * MINUTE, HOLD_END),
    "declined": (FollowUp.SYNC, 5 * MINUTE, HOLD_END),
    "action required": (FollowUp.SYNC, 5 * MINUTE, HOLD_END),
    "processing": (FollowUp.SYNC, 5 * MINUTE, None),
    "expiring": (FollowUp.CANCEL_INTENT, 10 * SECOND, GRACE_END),
    "expiring, no intent": (FollowUp.CANCEL_INTENT, 10 * SECOND, GRACE_END),
    "expiring, processing": (FollowUp.CANCEL_INTENT, 5 * MINUTE, None),
    "cancelling": (FollowUp.CANCEL_INTENT, 10 * SECOND, GRACE_END),
    "cancelling, no intent": (FollowUp.CANCEL_INTENT, 10 * SECOND, GRACE_END),
    "cancelling, processing": (FollowUp.CANCEL_INTENT, 5 * MINUTE, None),
    "confirmed, part owed": (FollowUp.REFUND, 10 * SECOND, None),
    "hold expired, owed": (FollowUp.REFUND, 10 * SECOND, None),
    "cancelled, owed": (FollowUp.REFUND, 10 * SECOND, None),
    "mismatch, owed": (FollowUp.REFUND, 10 * SECOND, None),
}
FINISHED = [state for state in CONFIRMED + ENDED if state not in TIMES and state != "released"]


def test_every_state_has_its_time() -> None:
    """Every pending booking, and every one that owes a refund, waits for something."""
    assert set(PENDING) < set(TIMES)
    assert all(STATES[state].refund_owed for state in TIMES if state not in PENDING)


@pytest.mark.parametrize("state", TIMES)
def test_a_booking_that_waits_is_retried(state: str) -> None:
    """It sends the request again whose answer it waits for; clients see no change."""
    follow_up, first, change = TIMES[state]
    before = STATES[state]
    assert waits_for(before) is follow_up
    assert before.retry_at == NOW + first
    assert next_change(before, TERMS) == (None if change is None else NOW + change)

    decision = retried(before, first)
    assert decision.follow_ups == (follow_up,)
    assert decision.booking._replace(retry_at=None, retry_count=0) == before._replace(retry_at=None)
    assert decision.booking.retry_count == 1
    assert decision.booking.retry_at is not None
    assert decision.booking.retry_at > NOW + first


@pytest.mark.parametrize("state", FINISHED)
def test_a_booking_that_waits_for_nothing_is_never_retried(state: str) -> None:
    """It waits for nothing. If it is handled all the same, it stays as it is."""
    before = STATES[state]
    decision = retried(before, timedelta(days=9))

    assert (waits_for(before), before.retry_at, decision.follow_ups) == (None, None, ())
    assert decision.booking.retry_at is None


PENDING_TIMES = [(state, change) for state, (_, _, change) in TIMES.items() if state in PENDING]


@pytest.mark.parametrize(("state", "change"), PENDING_TIMES)
def test_a_hold_ends_at_its_time_and_not_before(state: str, change: timedelta | None) -> None:
    """First it is marked and Stripe is asked to cancel; the seats go with Stripe's answer, or after
    the grace time."""
    before = STATES[state]
    if change is None:
        assert retried(before, timedelta(days=9)).booking.status is BookingStatus.PENDING
        return
    assert retried(before, change - SECOND).booking.version == before.version

    decision = retried(before, change)
    after = decision.booking
    assert after.version == before.version + 1
    assert decision.follow_ups == (FollowUp.CANCEL_INTENT,)
    assert violations(after) == []
    if before.closing is None:
        assert (after.status, after.closing) == (BookingStatus.PENDING, "hold_expired")
        assert after.retry_at == NOW + change + 10 * SECOND
    else:
        assert (after.status, after.reason) == (BookingStatus.CANCELLED, before.closing)
        # Its intent is still to be canceled.
        assert after.retry_at == NOW + change + 10 * SECOND


def lived(state: str) -> tuple[Booking, timedelta, list[FollowUp]]:
    """A booking that is handled at each retry time without a report, at its end; when that is; its requests."""
    booking, asked = STATES[state], list[FollowUp]()
    for _ in range(300):
        if booking.retry_at is None or booking.intent_to_cancel:
            break
        decision = retry(booking, booking.retry_at, TERMS)
        asked += decision.follow_ups
        at, booking = booking.retry_at - NOW, decision.booking
    return booking, at, asked


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("creating", "hold_expired"),
        ("awaiting", "hold_expired"),
        ("action required", "hold_expired"),
        ("expiring", "hold_expired"),
        ("cancelling", "by_customer"),
        ("cancelling, no intent", "by_operator"),
    ],
)
def test_a_booking_without_any_report_ends(state: str, reason: str) -> None:
    """For instance during an outage of Stripe of an hour: it ends with its hold and the grace time, not later."""
    booking, at, asked = lived(state)

    assert (booking.status, booking.reason, at) == (BookingStatus.CANCELLED, reason, GRACE_END)
    assert asked[-1] is FollowUp.CANCEL_INTENT
    assert violations(booking) == []


@pytest.mark.parametrize("status", ["requires_payment_method", "requires_action", "processing"])
def test_an_intent_that_comes_after_the_end_is_canceled(status: str) -> None:
    """Another customer has the seats: this one must not be able to pay."""
    booking, _, _ = lived("creating")
    decision = applied(booking, report(status, version=1), GRACE_END)

    assert (decision.booking.status, decision.follow_ups) == (BookingStatus.CANCELLED, (FollowUp.CANCEL_INTENT,))


def test_a_refund_is_requested_until_payment_accepts_it() -> None:
    """Every fifteen seconds, for as long as it takes."""
    booking, at, asked = lived("cancelled, owed")

    assert asked == [FollowUp.REFUND] * 300
    assert booking.refund_owed
    assert at > timedelta(minutes=70)


@pytest.mark.parametrize("follow_up", list(FollowUp))
def test_pauses_double_up_to_a_limit(follow_up: FollowUp) -> None:
    """Short at first, so that a lost message is soon repeated; bounded, so that a repair is soon noticed."""
    state = {
        FollowUp.CREATE_INTENT: "creating",
        FollowUp.CANCEL_INTENT: "cancelling",
        FollowUp.SYNC: "processing",
        FollowUp.REFUND: "cancelled, owed",
    }[follow_up]
    first, most = WAITS[follow_up]
    pauses = []
    for count in range(20):
        due = retry_time(STATES[state], count, NOW, TERMS)
        assert due is not None
        pauses.append(due - NOW)

    assert pauses[:2] == [first, min(2 * first, most)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == most


def test_a_change_starts_the_pauses_anew() -> None:
    """A report has arrived, so the next may come soon."""
    before = STATES["processing"]._replace(retry_count=9)
    after = applied(before, report("requires_action")).booking

    assert (after.retry_count, after.retry_at) == (0, NOW + 5 * MINUTE)


LATE = timedelta(hours=2)


def test_a_hold_whose_end_was_missed_ends_at_the_next_pass() -> None:
    """For instance after an outage."""
    assert retry_time(STATES["awaiting"], 0, NOW + LATE, TERMS) == NOW + LATE


@pytest.mark.parametrize("state", ["creating", "awaiting", "action required"])
def test_stripe_has_its_grace_time_also_where_the_end_was_noticed_late(state: str) -> None:
    """Money that was in time may still be in a mailbox whose consumer was down."""
    marked = retried(STATES[state], LATE)

    assert (marked.booking.closing, marked.follow_ups) == ("hold_expired", (FollowUp.CANCEL_INTENT,))
    assert marked.booking.retry_at == NOW + LATE + TERMS.grace


def test_a_decline_after_long_processing_leaves_stripe_its_grace_time() -> None:
    """The hold has been over for days; the intent is canceled only now."""
    declined = report("requires_payment_method", last_error=None)
    decision = applied(STATES["expiring, processing"], declined, LATE)

    assert decision.follow_ups == (FollowUp.CANCEL_INTENT,)
    assert decision.booking.retry_at == NOW + LATE + TERMS.grace


def test_the_sooner_of_the_next_change_and_the_pause_counts() -> None:
    """A hold that ends in two minutes is not handled only after the pause of five."""
    soon = booking("pending", "awaiting", expires_at=NOW + 2 * MINUTE)

    assert soon.retry_at == NOW + 2 * MINUTE
