"""When a booking that waits for something is handled again, and what it asks of payment then. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from booking.state import PENDING, Booking, FollowUp, HoldPolicy
from common.contracts.statuses import PaymentStatus
from common.runtime.backoff import Retry

# How long a booking waits for an answer before it asks again, by what it waits for: first, and at most after
# doubling each time. Short enough that all is well half a minute after a fault has ended. A lost webhook is found
# by payment's catch-up long before SYNC, which costs one Stripe call for each booking.
WAITS: dict[FollowUp, Retry] = {
    FollowUp.CREATE_INTENT: Retry(timedelta(seconds=10), timedelta(seconds=15)),
    FollowUp.CANCEL_INTENT: Retry(timedelta(seconds=10), timedelta(seconds=15)),
    FollowUp.SYNC: Retry(timedelta(minutes=5), timedelta(hours=1)),
    FollowUp.REFUND: Retry(timedelta(seconds=10), timedelta(seconds=15)),
}
# The same for the intent of a booking that has ended. No seats wait for it, and while its money is on its way,
# which can take days, Stripe does not cancel it.
ENDED_WAITS = Retry(timedelta(seconds=10), timedelta(hours=1))
# How far our clock and Stripe's may be apart.
CLOCKS_APART = timedelta(minutes=5)


def waits_for(booking: Booking) -> FollowUp | None:
    """What `booking` asks of payment while it waits; None when it waits for nothing."""
    if booking.status is PENDING:
        if booking.closing is not None:
            return FollowUp.CANCEL_INTENT
        return FollowUp.CREATE_INTENT if booking.payment is PaymentStatus.CREATING else FollowUp.SYNC
    if booking.refund_owed:
        return FollowUp.REFUND
    return FollowUp.CANCEL_INTENT if booking.intent_to_cancel else None


def awaits_money(booking: Booking) -> bool:
    """Money is on its way, and the seats are kept for it, however long that takes; but not for a payment begun
    after an attempt had failed after the hold's last moment: attempts could follow each other for ever."""
    if booking.payment is not PaymentStatus.PROCESSING:
        return False
    failed_at, until = booking.last_attempt_at, booking.hold_until
    return failed_at is None or until is None or failed_at <= until + CLOCKS_APART


def next_change(booking: Booking, policy: HoldPolicy) -> datetime | None:
    """When time alone changes `booking`: its hold ends, or the grace time is over. None when nothing is held, and
    while money is awaited."""
    if booking.expires_at is None or awaits_money(booking):
        return None
    # A process of the release before may have set the end after the last moment.
    ends_at = min(booking.expires_at, booking.hold_until or booking.expires_at)
    return ends_at if booking.closing is None else ends_at + policy.grace


def retry_time(booking: Booking, count: int, now: datetime, policy: HoldPolicy) -> datetime | None:
    """The retry time of `booking`, after `count` retries since its change; None when it waits for nothing."""
    follow_up = waits_for(booking)
    if follow_up is None:
        return None
    # Money on its way can take days, and Stripe hardly ever cancels it: asking often would only cost calls.
    moves_slowly = booking.status is PENDING and booking.payment is PaymentStatus.PROCESSING
    retry = WAITS[FollowUp.SYNC if moves_slowly else follow_up]
    if booking.intent_to_cancel and follow_up is FollowUp.CANCEL_INTENT:
        retry = ENDED_WAITS
    due = now + retry.pause(count)
    change_at = next_change(booking, policy)
    if change_at is not None and change_at > now:
        due = min(due, change_at)
    elif change_at is not None:
        # Noticed late, as after an outage: a hold ends at once, but Stripe still has the grace time to answer.
        due = now if booking.closing is None else now + policy.grace
    return due
