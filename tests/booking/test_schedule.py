"""When an unfinished booking is handled again, which message it then sends, and what time alone changes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from booking.domain import drive
from booking.schedule import WAITS, retry_time, turn, waits_for
from booking.state import Booking, Follow
from common.contracts.statuses import BookingStatus
from tests.booking.samples import (
    CONFIRMED,
    ENDED,
    NOW,
    PENDING,
    STATES,
    TERMS,
    booking,
    driven,
    report,
    taken,
    violations,
)

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOLD_END, GRACE_END = timedelta(minutes=10), timedelta(minutes=15)  # in the samples

# State: the request that it waits for, its first retry time, and when time alone changes it.
TIMES: dict[str, tuple[Follow, timedelta, timedelta | None]] = {
    "creating": (Follow.CREATE_INTENT, 10 * SECOND, HOLD_END),
    "awaiting": (Follow.SYNC, 5 * MINUTE, HOLD_END),
    "declined": (Follow.SYNC, 5 * MINUTE, HOLD_END),
    "action required": (Follow.SYNC, 5 * MINUTE, HOLD_END),
    "processing": (Follow.SYNC, 5 * MINUTE, None),
    "expiring": (Follow.CANCEL_INTENT, 10 * SECOND, GRACE_END),
    "expiring, no intent": (Follow.CANCEL_INTENT, 10 * SECOND, GRACE_END),
    "expiring, processing": (Follow.CANCEL_INTENT, 5 * MINUTE, None),
    "cancelling": (Follow.CANCEL_INTENT, 10 * SECOND, GRACE_END),
    "cancelling, no intent": (Follow.CANCEL_INTENT, 10 * SECOND, GRACE_END),
    "cancelling, processing": (Follow.CANCEL_INTENT, 5 * MINUTE, None),
    "confirmed, part owed": (Follow.REFUND, 10 * SECOND, None),
    "hold expired, owed": (Follow.REFUND, 10 * SECOND, None),
    "cancelled, owed": (Follow.REFUND, 10 * SECOND, None),
    "mismatch, owed": (Follow.REFUND, 10 * SECOND, None),
}
SETTLED = [state for state in CONFIRMED + ENDED if state not in TIMES and state != "released"]


def test_every_state_has_its_time() -> None:
    """Every pending booking, and every one that owes a refund, waits for something."""
    assert set(PENDING) < set(TIMES)
    assert all(STATES[state].refund_owed for state in TIMES if state not in PENDING)


@pytest.mark.parametrize("state", TIMES)
def test_what_waits_is_driven_again(state: str) -> None:
    """It sends the request again whose answer it waits for; clients see no change."""
    follow, first, change = TIMES[state]
    before = STATES[state]
    assert waits_for(before) is follow
    assert before.settle_after == NOW + first
    assert turn(before, TERMS) == (None if change is None else NOW + change)

    decision = driven(before, first)
    assert decision.follow == (follow,)
    assert decision.booking._replace(settle_after=None, settle_attempts=0) == before._replace(settle_after=None)
    assert decision.booking.settle_attempts == 1
    assert decision.booking.settle_after is not None
    assert decision.booking.settle_after > NOW + first


@pytest.mark.parametrize("state", SETTLED)
def test_what_is_settled_is_never_driven(state: str) -> None:
    """It waits for nothing. If it is handled all the same, it stays as it is."""
    before = STATES[state]
    decision = driven(before, timedelta(days=9))

    assert (waits_for(before), before.settle_after, decision.follow) == (None, None, ())
    assert decision.booking.settle_after is None


PENDING_TIMES = [(state, change) for state, (_, _, change) in TIMES.items() if state in PENDING]


@pytest.mark.parametrize(("state", "change"), PENDING_TIMES)
def test_a_hold_ends_at_its_time_and_not_before(state: str, change: timedelta | None) -> None:
    """First it is marked and Stripe is asked to cancel; the seats go with Stripe's answer, or after
    the grace time."""
    before = STATES[state]
    if change is None:
        assert driven(before, timedelta(days=9)).booking.status is BookingStatus.PENDING
        return
    assert driven(before, change - SECOND).booking.version == before.version

    decision = driven(before, change)
    after = decision.booking
    assert after.version == before.version + 1
    assert decision.follow == (Follow.CANCEL_INTENT,)
    assert violations(after) == []
    if before.closing is None:
        assert (after.status, after.closing) == (BookingStatus.PENDING, "hold_expired")
        assert after.settle_after == NOW + change + 10 * SECOND
    else:
        assert (after.status, after.reason) == (BookingStatus.CANCELLED, before.closing)
        # Its intent is still to be canceled.
        assert after.settle_after == NOW + change + 10 * SECOND


def lived(state: str) -> tuple[Booking, timedelta, list[Follow]]:
    """A booking that is handled at each retry time without a report, at its end; when that is; its requests."""
    booking, asked = STATES[state], list[Follow]()
    for _ in range(300):
        if booking.settle_after is None or booking.intent_to_cancel:
            break
        decision = drive(booking, booking.settle_after, TERMS)
        asked += decision.follow
        at, booking = booking.settle_after - NOW, decision.booking
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
def test_a_booking_that_never_hears_anything_ends(state: str, reason: str) -> None:
    """For instance while Stripe is away for an hour: it ends with its hold and the grace time, not later."""
    booking, at, asked = lived(state)

    assert (booking.status, booking.reason, at) == (BookingStatus.CANCELLED, reason, GRACE_END)
    assert asked[-1] is Follow.CANCEL_INTENT
    assert violations(booking) == []


@pytest.mark.parametrize("status", ["requires_payment_method", "requires_action", "processing"])
def test_an_intent_that_comes_after_the_end_is_canceled(status: str) -> None:
    """Another customer has the seats: this one must not be able to pay."""
    booking, _, _ = lived("creating")
    decision = taken(booking, report(status, version=1), GRACE_END)

    assert (decision.booking.status, decision.follow) == (BookingStatus.CANCELLED, (Follow.CANCEL_INTENT,))


def test_a_refund_is_asked_for_until_it_is_taken_up() -> None:
    """Every fifteen seconds, for as long as it takes."""
    booking, at, asked = lived("cancelled, owed")

    assert asked == [Follow.REFUND] * 300
    assert booking.refund_owed
    assert at > timedelta(minutes=70)


@pytest.mark.parametrize("follow", list(Follow))
def test_pauses_double_up_to_a_limit(follow: Follow) -> None:
    """Short at first, so that a lost message is soon repeated; bounded, so that a repair is soon noticed."""
    state = {
        Follow.CREATE_INTENT: "creating",
        Follow.CANCEL_INTENT: "cancelling",
        Follow.SYNC: "processing",
        Follow.REFUND: "cancelled, owed",
    }[follow]
    first, most = WAITS[follow]
    pauses = []
    for attempts in range(20):
        due = retry_time(STATES[state], attempts, NOW, TERMS)
        assert due is not None
        pauses.append(due - NOW)

    assert pauses[:2] == [first, min(2 * first, most)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == most


def test_a_change_starts_the_pauses_anew() -> None:
    """A report has arrived, so the next may come soon."""
    before = STATES["processing"]._replace(settle_attempts=9)
    after = taken(before, report("requires_action")).booking

    assert (after.settle_attempts, after.settle_after) == (0, NOW + 5 * MINUTE)


LATE = timedelta(hours=2)


def test_a_hold_whose_end_was_missed_ends_at_the_next_look() -> None:
    """For instance after an outage."""
    assert retry_time(STATES["awaiting"], 0, NOW + LATE, TERMS) == NOW + LATE


@pytest.mark.parametrize("state", ["creating", "awaiting", "action required"])
def test_stripe_has_its_grace_time_also_where_the_end_was_noticed_late(state: str) -> None:
    """Money that was in time may still be in a mailbox whose reader was away."""
    marked = driven(STATES[state], LATE)

    assert (marked.booking.closing, marked.follow) == ("hold_expired", (Follow.CANCEL_INTENT,))
    assert marked.booking.settle_after == NOW + LATE + TERMS.grace


def test_a_decline_after_long_processing_leaves_stripe_its_grace_time() -> None:
    """The hold has been over for days; the intent is canceled only now."""
    told = report("requires_payment_method", last_error=None)
    decision = taken(STATES["expiring, processing"], told, LATE)

    assert decision.follow == (Follow.CANCEL_INTENT,)
    assert decision.booking.settle_after == NOW + LATE + TERMS.grace


def test_the_sooner_of_the_turn_and_the_pause_counts() -> None:
    """A hold that ends in two minutes is not handled only after the pause of five."""
    soon = booking("pending", "awaiting", expires_at=NOW + 2 * MINUTE)

    assert soon.settle_after == NOW + 2 * MINUTE
