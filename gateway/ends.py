"""What a client hears of a booking that has ended: a problem that says why, or the booking itself."""

from __future__ import annotations

from common.contracts.errors import (
    BookingCancelled,
    EventCancelled,
    HoldExpired,
    HoldfastError,
    PaymentCanceled,
    PaymentMismatch,
    PaymentRejected,
    SoldOut,
)
from common.contracts.resources import Booking
from common.contracts.statuses import BookingStatus, PaymentStatus

# By the reasons of `booking.state.Reason`; of any other (somebody wanted it cancelled, or gave the money back), and
# of one that a later release adds, `reason` says what it was.
KINDS: dict[str | None, type[HoldfastError]] = {
    kind.code: kind
    for kind in (EventCancelled, HoldExpired, PaymentCanceled, PaymentMismatch, PaymentRejected, SoldOut)
}
ENDED = (BookingStatus.CANCELLED, BookingStatus.FAILED)
# These ends somebody has asked for: whoever repeats the request that made the booking is shown it as it is.
WANTED = ("by_customer", "by_operator")


def problem_of(booking: Booking) -> HoldfastError | None:
    """The problem that tells how `booking` ended; None while it has not, and once it is confirmed."""
    if booking.status not in ENDED:
        return None
    kind = KINDS.get(booking.reason, BookingCancelled)
    return kind(booking_id=str(booking.id), reason=booking.reason)


def refuse_ended(booking: Booking, *, created: bool) -> None:
    """Raises what POST /bookings answers with instead of a booking that has ended.

    The request that `created` it has got nothing. One that repeats it is shown what somebody has asked for, and a
    booking with money in it, since that says what becomes of the money.
    """
    problem = problem_of(booking)
    shown = booking.payment.status is not PaymentStatus.NONE or booking.reason in WANTED
    if problem is not None and (created or not shown):
        raise problem
