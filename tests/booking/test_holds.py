"""Time to try again after a decline, and the last moment of a hold, which no report moves."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from booking.schedule import CLOCKS_APART, next_change
from booking.settings import BookingSettings
from booking.state import Booking, FollowUp, HoldPolicy
from common.contracts.statuses import BookingStatus
from common.contracts.values import PaymentState
from tests.booking.samples import DECLINE, NOW, TERMS, UNREPORTED, applied, booking, report, retried

MINUTE = timedelta(minutes=1)
LAST = NOW + TERMS.hold_max
CREATING = booking("pending", "creating", created_at=NOW, expires_at=NOW + TERMS.hold, **UNREPORTED)


def failed(version: int, attempts: int, at: timedelta, status: str = "requires_payment_method") -> PaymentState:
    """A payment with `attempts` failed attempts, the newest at NOW + `at`."""
    last_error = DECLINE if status == "requires_payment_method" else None
    return report(status, version, last_error=last_error, attempts=attempts, last_attempt_at=NOW + at)


def after(start: Booking, *reports: tuple[timedelta, PaymentState]) -> Booking:
    for at, payment in reports:
        start = applied(start, payment, at).booking
    return start


HELD = after(CREATING, (timedelta(), report("requires_payment_method", 1)))


@pytest.mark.parametrize(
    "status", ["requires_payment_method", "requires_action", "processing", "requires_confirmation"]
)
def test_the_first_report_of_the_intent_fixes_the_last_moment_of_the_hold(status: str) -> None:
    """Whatever the report says, and however long the booking waited for its intent."""
    earlier = NOW - timedelta(hours=1)
    late = CREATING._replace(created_at=earlier, expires_at=earlier + TERMS.hold)
    held = after(late, (timedelta(), report(status, 1)))
    assert (held.expires_at, held.hold_until) == (NOW + TERMS.hold, LAST)


def test_the_next_report_fixes_the_last_moment_of_a_booking_of_an_earlier_release() -> None:
    """Until then it keeps its end."""
    old = booking("pending", "awaiting", hold_until=None)
    assert next_change(old, TERMS) == old.expires_at
    reported = after(old, (MINUTE, report("requires_action")))
    assert (reported.expires_at, reported.hold_until) == (old.expires_at, NOW + MINUTE + TERMS.hold_max)


def test_equal_declines_each_give_their_time_and_a_new_version() -> None:
    """The error is the same, the attempt is another one."""
    first = after(HELD, (10 * MINUTE, failed(2, 1, 10 * MINUTE)))
    second = after(first, (12 * MINUTE, failed(3, 2, 12 * MINUTE)))

    assert (first.attempts, first.expires_at) == (1, NOW + 20 * MINUTE)
    assert (second.attempts, second.expires_at) == (2, NOW + 22 * MINUTE)
    assert second.version == first.version + 1
    assert second.last_error == first.last_error


@pytest.mark.parametrize("status", ["requires_payment_method", "requires_action", "processing"])
def test_an_older_attempt_is_counted_and_gives_no_time(status: str) -> None:
    """The booking's version grows, and its end stays."""
    reported = after(HELD, (10 * MINUTE, failed(2, 1, 10 * MINUTE)))
    late = after(reported, (13 * MINUTE, failed(3, 2, 10 * MINUTE, status)))
    assert (late.attempts, late.version) == (2, reported.version + 1)
    assert late.expires_at == reported.expires_at


def test_the_newest_report_alone_suffices() -> None:
    """In any order, doubled, and with any of the others lost: the same count, and the same time."""
    now = 13 * MINUTE
    reports = [
        report("requires_payment_method", 1),
        failed(2, 1, 10 * MINUTE),
        failed(3, 1, 10 * MINUTE, "requires_action"),
        failed(4, 2, 12 * MINUTE),
    ]
    ends = {
        (end.attempts, end.last_attempt_at, end.last_error, end.payment)
        for count in range(1, 5)
        for order in permutations(reports, count)
        if reports[-1] in order
        for end in [after(HELD._replace(payment_version=0), *((now, each) for each in (*order, *order)))]
        if end.expires_at == NOW + now + TERMS.extension
    }
    assert len(ends) == 1


@pytest.mark.parametrize(
    ("received_after", "left"),
    [
        (timedelta(), TERMS.extension),
        (-4 * MINUTE, TERMS.extension),  # our clock is behind Stripe's
        (4 * MINUTE, TERMS.extension),  # our clock is ahead, or the report is late: which of the two is not known
        (8 * MINUTE, TERMS.extension + CLOCKS_APART - 8 * MINUTE),
        (14 * MINUTE, timedelta(minutes=1)),
    ],
)
def test_time_counts_from_the_attempt(received_after: timedelta, left: timedelta) -> None:
    """A late report gives no more time than one in time, except for the time by which the clocks may differ."""
    held = HELD._replace(expires_at=NOW, hold_until=NOW + timedelta(days=1))
    at = 20 * MINUTE
    reported = after(held, (at + received_after, failed(2, 1, at)))
    assert reported.expires_at == NOW + at + received_after + left


@pytest.mark.parametrize("payment", ["requires_payment_method", "requires_action"])
def test_a_customer_who_is_declined_for_ever_loses_the_seats_at_the_last_moment(payment: str) -> None:
    """Then Stripe is asked to cancel, whatever the intent waits for, and no report gives more time."""
    held, minute = HELD, 1
    while held.closing is None:
        at = minute * MINUTE
        held = after(held, (at, failed(minute + 1, minute, at)), (at, failed(minute + 1, minute, at, payment)))
        assert held.hold_until == LAST
        assert held.expires_at is not None
        assert held.expires_at <= LAST
        if NOW + at >= LAST:
            decision = retried(held, at)
            assert decision.follow_ups == (FollowUp.CANCEL_INTENT,)
            held = decision.booking
        minute += 1
    assert held.closing == "hold_expired"
    more = after(held, (32 * MINUTE, failed(minute + 1, minute, 32 * MINUTE)))
    assert (more.closing, more.expires_at, more.hold_until) == ("hold_expired", LAST, LAST)


def test_a_processing_payment_is_waited_for() -> None:
    """The payment began while the seats were held: it may still buy them days later."""
    paying = after(HELD, (14 * MINUTE, report("processing", 2)))
    assert next_change(paying, TERMS) is None
    failed_at = timedelta(days=3)
    declined = after(paying, (failed_at, failed(3, 1, failed_at)))
    assert retried(declined, failed_at).booking.closing == "hold_expired"
    paid = after(paying, (failed_at, report("succeeded", 3)))
    assert paid.status is BookingStatus.CONFIRMED


@pytest.mark.parametrize("versions", [(3, 4), (4,)])
def test_a_payment_begun_after_the_last_moment_is_not_waited_for(versions: tuple[int, ...]) -> None:
    """Debits that fail one after the other would keep seats for good. A payment that follows a late failure gets
    the grace time in which Stripe has to answer; money that comes later finds an expired hold."""
    day = timedelta(days=3)
    reports = {3: failed(3, 1, day), 4: failed(4, 1, day, "processing")}
    paying = after(HELD, (14 * MINUTE, report("processing", 2)), *((day, reports[version]) for version in versions))

    closing = retried(paying, day).booking
    assert closing.closing == "hold_expired"
    released = retried(closing, day + TERMS.grace).booking
    assert (released.status, released.reason) == (BookingStatus.CANCELLED, "hold_expired")


def test_a_payment_after_a_failure_at_the_last_moment_by_another_clock_is_waited_for() -> None:
    """The booking waits for what begins after it."""
    at = TERMS.hold_max + CLOCKS_APART
    assert next_change(after(HELD, (at, failed(3, 1, at, "processing"))), TERMS) is None


def test_a_process_of_the_release_before_counts_no_attempts() -> None:
    """Its reports give time as before, up to the last moment."""
    old = report("requires_payment_method", 2, last_error=DECLINE)
    assert after(HELD, (14 * MINUTE, old)).expires_at == NOW + 24 * MINUTE
    assert after(HELD, (29 * MINUTE, old)).expires_at == LAST
    # Such a process may have written an end after the last moment.
    assert next_change(HELD._replace(expires_at=LAST + MINUTE), TERMS) == LAST


@pytest.mark.parametrize("seconds", [900, 1800, 86_400])
def test_the_settings_say_how_long_a_hold_lasts(seconds: int) -> None:
    """Twice the hold, unless another value is set; never less than the hold."""
    values: dict[str, Any] = {"redis_url": "redis://x", "booking_database_url": "postgresql://x/x"}
    assert BookingSettings(**values).hold_policy == HoldPolicy()
    terms = BookingSettings(**values, hold_max_seconds=seconds).hold_policy
    assert terms.hold_max == timedelta(seconds=seconds)
    with pytest.raises(ValueError, match="HOLD_MAX_SECONDS"):
        BookingSettings(**values, hold_max_seconds=899)


def test_nothing_is_held_once_it_has_ended() -> None:
    ended = after(HELD, (MINUTE, report("canceled", 2)))
    assert (ended.expires_at, ended.hold_until) == (None, None)
