"""What each row of the table makes of a booking, and the guards that say when a row fits. Pure.

A rule sees the booking with what the report tells of its payment already in it (`domain.take_report`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid5

from booking.schedule import CLOCKS_APART, awaits_money
from booking.state import CANCELLED, CONFIRMED, FAILED, Booking, Follow, Reason, Terms
from common.contracts.currencies import part_fault_of
from common.contracts.statuses import PaymentStatus
from common.contracts.values import PaymentState

# The namespace of refund ids that follow from the booking alone: decided again, it is the same refund.
REFUNDS = UUID("b4e1c1a3-2c3e-5d27-8d7f-7b0f6f0f5a02")


class Decision(NamedTuple):
    """What became of a booking. `unexpected`: no row of the table fits; `refusal`: an error code."""

    booking: Booking
    follow: tuple[Follow, ...] = ()
    unexpected: bool = False
    refusal: str | None = None


class Moment(NamedTuple):
    """What a rule may look at beside the booking: the time, the terms, the payment, the seats, the request.
    `failed_at`: when an attempt to pay failed, at Stripe, that is newer than all that was applied before."""

    now: datetime
    terms: Terms
    payment: PaymentState | None = None
    failed_at: datetime | None = None
    seats_free: bool = False
    cancel: str | None = None
    refund_id: UUID | None = None
    refund_amount: int | None = None
    retry_id: UUID | None = None

    @property
    def report(self) -> PaymentState:
        assert self.payment is not None
        return self.payment


Rule = Callable[[Booking, Moment], Decision]
Guard = Callable[[Booking, Moment], bool]


# --- While there is something to pay ------------------------------------------------------------------------


def payable(booking: Booking, moment: Moment) -> Decision:
    """The intent is there, and nothing has been tried, or something is being tried."""
    return _waiting(booking, moment, PaymentStatus.AWAITING)


def declined(booking: Booking, moment: Moment) -> Decision:
    """Shown to the client, with time to try again; a booking that is closing stays so."""
    return _waiting(booking, moment, PaymentStatus.AWAITING)


def action_required(booking: Booking, moment: Moment) -> Decision:
    return _waiting(booking, moment, PaymentStatus.ACTION_REQUIRED)


def processing(booking: Booking, moment: Moment) -> Decision:
    """The money is on its way: nothing is released, and Stripe does not cancel it, until it knows more. A booking
    that is closing stays so: then success confirms or refunds it, and everything else ends it."""
    return Decision(_waiting(booking, moment, PaymentStatus.PROCESSING).booking)


def _waiting(booking: Booking, moment: Moment, payment: PaymentStatus) -> Decision:
    """The hold counts from the first news of the intent: the time in the queue in front of Stripe is not the
    customer's. Its last moment is fixed then. An intent of a booking that is closing is not wanted any more."""
    hold_until = booking.hold_until or moment.now + moment.terms.hold_max
    after = booking._replace(payment=payment, hold_until=hold_until)
    if booking.closing is not None:
        return Decision(after, (Follow.CANCEL_INTENT,))
    ends_at = booking.expires_at
    if booking.payment is PaymentStatus.CREATING or ends_at is None:
        ends_at = moment.now + moment.terms.hold
    again_until = _again_until(moment) or ends_at
    return Decision(after._replace(expires_at=min(max(ends_at, again_until), hold_until)))


def _again_until(moment: Moment) -> datetime | None:
    """Until when a new attempt that failed leaves time for another one. It counts from Stripe's time of it, so that
    late news gives no more time than news in time; from now where that may be for the clocks alone."""
    report, decline = moment.report, moment.terms.decline
    if report.attempts == 0 and report.last_error is not None:
        return moment.now + decline  # told by a process of the release before, which counts none
    if moment.failed_at is None:
        return None
    return min(moment.failed_at + CLOCKS_APART, moment.now) + decline


# --- Ends ---------------------------------------------------------------------------------------------------


def confirm(booking: Booking, _: Moment) -> Decision:
    return Decision(_ended(booking._replace(status=CONFIRMED, reason=None, last_error=None)))


def mismatch(booking: Booking, moment: Moment) -> Decision:
    return give_back(_ended(booking._replace(status=FAILED, reason=Reason.PAYMENT_MISMATCH)), moment)


def not_for_this(booking: Booking, moment: Moment) -> Decision:
    """Nobody is shown an intent for another amount: what is paid by it could only be given back. So it
    is where a booking was lost, and its id (its owner's key) has been used for another one since."""
    after = booking._replace(status=FAILED, reason=Reason.PAYMENT_MISMATCH, payment=PaymentStatus.NONE)
    return ask_to_cancel(_ended(after._replace(last_error=None)), moment)


def cancel_and_refund(booking: Booking, moment: Moment) -> Decision:
    return give_back(_ended(booking._replace(status=CANCELLED, reason=booking.closing)), moment)


def rejected(booking: Booking, _: Moment) -> Decision:
    """What Stripe says of it is for operators, not for customers: it stays with the payment."""
    after = booking._replace(status=FAILED, reason=Reason.PAYMENT_REJECTED, payment=PaymentStatus.NONE)
    return Decision(_ended(after._replace(last_error=None)))


def canceled(booking: Booking, _: Moment) -> Decision:
    reason = booking.closing or Reason.PAYMENT_CANCELED
    return Decision(_ended(booking._replace(status=CANCELLED, reason=reason, payment=PaymentStatus.NONE)))


def release(booking: Booking, moment: Moment) -> Decision:
    """Stripe does not answer: the seats are given back, and late money finds the booking ended."""
    after = booking._replace(status=CANCELLED, reason=booking.closing, payment=PaymentStatus.NONE)
    return ask_to_cancel(_ended(after), moment)


def refunded_in_full(booking: Booking, _: Moment) -> Decision:
    return Decision(booking._replace(status=CANCELLED, reason=Reason.REFUNDED))


def _ended(booking: Booking) -> Booking:
    """No longer pending: nothing to pay, nothing to wait for."""
    return booking._replace(closing=None, client_secret=None, expires_at=None, hold_until=None)


# --- Requests and time --------------------------------------------------------------------------------------


def mark_cancelling(booking: Booking, moment: Moment) -> Decision:
    """Somebody's wish takes the place of an expired hold's end, and the first wish stays."""
    closing = booking.closing if booking.cancelling else moment.cancel
    return Decision(booking._replace(closing=closing), (Follow.CANCEL_INTENT,))


def mark_expiring(booking: Booking, _: Moment) -> Decision:
    """The seats stay held until Stripe has answered: money that was in time wins."""
    return Decision(booking._replace(closing=booking.closing or Reason.HOLD_EXPIRED), (Follow.CANCEL_INTENT,))


def cancel_confirmed(booking: Booking, moment: Moment) -> Decision:
    return give_back(booking._replace(status=CANCELLED, reason=moment.cancel), moment)


def no_longer_wanted(booking: Booking, moment: Moment) -> Decision:
    """Late money would bring an expired booking back; not one that somebody does not want."""
    return Decision(booking._replace(reason=moment.cancel))


def closed(booking: Booking, _: Moment) -> Decision:
    return Decision(booking, refusal="cancellation_closed")


def unchanged(booking: Booking, _: Moment) -> Decision:
    return Decision(booking)


def ask_to_cancel(booking: Booking, _: Moment) -> Decision:
    """The booking has ended, and its intent lives, as far as is known. Asked until its end is heard of, or it could
    be paid for as long as Stripe keeps it because one message was lost."""
    return Decision(booking._replace(intent_to_cancel=True), (Follow.CANCEL_INTENT,))


# --- Money that goes back -----------------------------------------------------------------------------------


def refund(booking: Booking, moment: Moment) -> Decision:
    """An operator gives money back; a whole refund ends the booking when Stripe has made it. One at a time: how
    much of what is left another one takes is known only when it has ended."""
    left = left_of(booking)
    if booking.refund_id == moment.refund_id:
        return Decision(booking, (Follow.REFUND,) if booking.refund_owed else ())
    if left <= 0 or booking.refund_owed or booking.payment is PaymentStatus.REFUND_PENDING:
        return Decision(booking, refusal="conflict")
    amount = moment.refund_amount or left
    if moment.refund_id is None or amount > left:
        return Decision(booking, refusal="amount_over_left")
    if amount < left and part_fault_of(amount, booking.currency) is not None:
        return Decision(booking, refusal="amount_off_step")
    return _owe(booking, moment.refund_id, amount, whole=moment.refund_amount is None)


def give_back(booking: Booking, moment: Moment) -> Decision:
    """Owe all that is left of what was captured, unless a refund is under way: then what it leaves is owed when
    it has ended. One of ours that failed is not tried again by itself: that is for an operator to decide."""
    left = left_of(booking)
    if left <= 0 or booking.refund_owed or _under_way(booking, moment.payment):
        return Decision(booking)
    return _owe(booking, _next_refund(booking), left, whole=True)


def retry_refund(booking: Booking, moment: Moment) -> Decision:
    """What failed is tried again, for an operator who wants that of a whole event: all that is left of a booking
    that has ended, of a confirmed one as much as failed. Once for each request, also where it fails again."""
    if booking.refund_retry_id == moment.retry_id:
        return Decision(booking)
    whole = booking.refund_failed_whole or booking.status in (CANCELLED, FAILED)
    left = left_of(booking)
    amount = left if whole else min(booking.refund_failed_amount or 0, left)
    marked = booking._replace(refund_retry_id=moment.retry_id)
    if booking.payment is not PaymentStatus.REFUND_FAILED or amount <= 0:
        return Decision(marked)
    return _owe(marked, _next_refund(booking), amount, whole=whole)


def _next_refund(booking: Booking) -> UUID:
    return uuid5(REFUNDS, f"{booking.id}/{booking.version}")


def _under_way(booking: Booking, payment: PaymentState | None) -> bool:
    """A refund is under way; or one of ours failed, and is an operator's. A part that Stripe's own list left no
    room for (nothing of it can be tried again) does not keep the rest from going back."""
    if payment is None:
        return booking.payment is PaymentStatus.REFUND_PENDING
    failed = payment.refund_failed and payment.refund_failed_amount != 0
    return payment.refund_pending or (failed and booking.refund_id in payment.refund_ids)


def _owe(booking: Booking, id: UUID, amount: int, *, whole: bool) -> Decision:
    disputed = booking.payment is PaymentStatus.DISPUTED
    payment = PaymentStatus.DISPUTED if disputed else PaymentStatus.REFUND_PENDING
    owed = booking._replace(refund_id=id, refund_amount=amount, refund_whole=whole, payment=payment)
    return Decision(owed, (Follow.REFUND,))


def left_of(booking: Booking) -> int:
    """What may still be given back, as far as the booking knows."""
    return booking.amount_captured - booking.amount_refunded


# --- Guards -------------------------------------------------------------------------------------------------


def always(_: Booking, __: Moment) -> bool:
    return True


def money_wrong(booking: Booking, moment: Moment) -> bool:
    report = moment.report
    return (report.amount_captured, report.currency) != (booking.amount, booking.currency)


def intent_wrong(booking: Booking, moment: Moment) -> bool:
    """The amount that a payment was made for never changes, so that every report of it says the same; its currency
    can be changed at Stripe, and back."""
    return moment.report.amount != booking.amount


def money_right(booking: Booking, moment: Moment) -> bool:
    return not money_wrong(booking, moment)


def cancelling(booking: Booking, _: Moment) -> bool:
    return booking.cancelling


def seats_again(booking: Booking, moment: Moment) -> bool:
    """The first news of money that came late, while nobody else has the seats. Money that was on its way back
    stays so, also where that failed: its owner has been told."""
    report = moment.report
    untouched = report.amount_refunded == 0 and not (report.refund_pending or report.refund_failed)
    never_owed = booking.refund_id is None and not report.refund_ids
    expired = booking.reason == Reason.HOLD_EXPIRED and untouched and never_owed
    return expired and moment.seats_free and money_right(booking, moment)


def no_money_awaited(booking: Booking, _: Moment) -> bool:
    return not awaits_money(booking)


def may_release(booking: Booking, _: Moment) -> bool:
    return booking.closing is not None and not awaits_money(booking)


def may_cancel(_: Booking, moment: Moment) -> bool:
    return moment.cancel is not None


def expired_unpaid(booking: Booking, moment: Moment) -> bool:
    return booking.reason == Reason.HOLD_EXPIRED and booking.amount_captured == 0 and moment.cancel is not None
