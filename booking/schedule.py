"""When an unsettled booking is driven on, and by which message. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from booking.state import PENDING, Booking, Follow, Terms
from common.statuses import PaymentStatus

# How long a booking waits for an answer before it is driven again, by what it waits for; doubled each time
# up to a limit: short enough for all to be well half a minute after a fault has ended. A lost webhook is found
# by payment's own look at Stripe's event list long before SYNC, which costs a Stripe call for each booking.
WAITS: dict[Follow, tuple[timedelta, timedelta]] = {
    Follow.CREATE_INTENT: (timedelta(seconds=10), timedelta(seconds=15)),
    Follow.CANCEL_INTENT: (timedelta(seconds=10), timedelta(seconds=15)),
    Follow.SYNC: (timedelta(minutes=5), timedelta(hours=1)),
    Follow.REFUND: (timedelta(seconds=10), timedelta(seconds=15)),
}


def first_wait(follow: Follow) -> timedelta:
    return WAITS[follow][0]


def waits_for(booking: Booking) -> Follow | None:
    """The message that drives `booking` on; None when it is settled."""
    if booking.status is PENDING:
        if booking.closing is not None:
            return Follow.CANCEL_INTENT
        return Follow.CREATE_INTENT if booking.payment is PaymentStatus.CREATING else Follow.SYNC
    return Follow.REFUND if booking.refund_owed else None


def turn(booking: Booking, terms: Terms) -> datetime | None:
    """When time alone changes `booking`: its hold ends, or Stripe has been silent for too long since. None when
    nothing is held, and while money is on its way."""
    if booking.expires_at is None or booking.payment is PaymentStatus.PROCESSING:
        return None
    return booking.expires_at if booking.closing is None else booking.expires_at + terms.grace


def scheduled(booking: Booking, now: datetime, terms: Terms) -> Booking:
    """`booking` with the time at which it is driven again; without one when it is settled."""
    follow = waits_for(booking)
    if follow is None:
        return booking._replace(settle_after=None)
    # Money on its way can take days, and Stripe hardly ever cancels it: asking often would only cost calls.
    moves_slowly = booking.status is PENDING and booking.payment is PaymentStatus.PROCESSING
    first, most = WAITS[Follow.SYNC if moves_slowly else follow]
    due = now + min(first * 2 ** min(booking.settle_attempts, 10), most)
    change = turn(booking, terms)
    if change is not None and change > now:
        due = min(due, change)
    elif change is not None:
        # Noticed late, as after an outage: a hold ends at once, but Stripe has its time to answer all the same.
        due = now if booking.closing is None else now + terms.grace
    return booking._replace(settle_after=due)
