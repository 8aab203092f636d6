"""What each row of the table makes of a booking, and the guards that say when a row fits. Pure.

A rule gets the booking with the report's payment already in it (`domain.apply_report`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from booking.schedule import CLOCKS_APART, awaits_money
from booking.state import CANCELLED, CONFIRMED, FAILED, Booking, FollowUp, Seat
from booking.triggers import Cancel, Refund, Report, RetryRefunds, SetCustomer
from common.contracts import errors
from common.contracts.currencies import part_fault_of
from common.contracts.statuses import BookingStatus, PaymentStatus, Reason
from common.contracts.values import PaymentState
from common.contracts.values import Refund as Made

# The namespace of refund ids that follow from the booking alone: a repeated decision gives the same refund.
REFUNDS = UUID("b4e1c1a3-2c3e-5d27-8d7f-7b0f6f0f5a02")


class Decision(NamedTuple):
    """What became of a booking, and what it asks of payment. `unexpected`: no row of the table fits."""

    booking: Booking
    follow_ups: tuple[FollowUp, ...] = ()
    unexpected: bool = False


# Each gets the booking and what its trigger carries: a Report for those of reports, and so on.
Rule = Callable[[Booking, Any], Decision]
Guard = Callable[[Booking, Any], bool]


# --- While there is something to pay ------------------------------------------------------------------------


def payable(booking: Booking, report: Report) -> Decision:
    """The intent exists; no attempt has been made yet, one is in progress, or one was declined, which the client is
    shown, with time to try again. A booking that is closing stays closing."""
    return _waiting(booking, report, PaymentStatus.AWAITING)


def action_required(booking: Booking, report: Report) -> Decision:
    return _waiting(booking, report, PaymentStatus.ACTION_REQUIRED)


def processing(booking: Booking, report: Report) -> Decision:
    """The money is on its way: no seats are released, and Stripe does not cancel the intent, until Stripe has its
    result. A booking that is closing stays closing: success confirms or refunds it, all else ends it."""
    return Decision(_waiting(booking, report, PaymentStatus.PROCESSING).booking)


def _waiting(booking: Booking, report: Report, payment: PaymentStatus) -> Decision:
    """The hold counts from the first report of the intent: the time in the queue in front of Stripe is not the
    customer's. Its last moment is fixed then. The intent of a booking that is closing is no longer wanted."""
    hold_until = booking.hold_until or report.now + report.policy.hold_max
    if booking.closing is not None:
        return Decision(booking._replace(payment=payment, hold_until=hold_until), (FollowUp.CANCEL_INTENT,))
    ends_at = booking.expires_at
    if booking.payment is PaymentStatus.CREATING or ends_at is None:
        ends_at = report.now + report.policy.hold
    again_until = _again_until(report) or ends_at
    ends_at = min(max(ends_at, again_until), hold_until)
    return Decision(booking._replace(payment=payment, hold_until=hold_until, expires_at=ends_at))


def _again_until(report: Report) -> datetime | None:
    """Until when a new failed attempt leaves time for another one. The time counts from now, but at the latest from
    CLOCKS_APART after the failure by Stripe's time: a late report gives no more time than one in time."""
    payment, extension = report.payment, report.policy.extension
    if payment.attempts == 0 and payment.last_error is not None:
        return report.now + extension  # from a process of the release before, which counts no attempts
    if report.failed_at is None:
        return None
    return min(report.failed_at + CLOCKS_APART, report.now) + extension


# --- Ends ---------------------------------------------------------------------------------------------------


def confirm(booking: Booking, _: object) -> Decision:
    return Decision(_ended(booking, CONFIRMED, None, last_error=None))


def mismatch(booking: Booking, report: Report) -> Decision:
    return give_back(_ended(booking, FAILED, Reason.PAYMENT_MISMATCH), report)


def not_for_this(booking: Booking, report: Report) -> Decision:
    """An intent for another amount is never shown: what is paid by it could only be refunded. It appears when a
    booking was lost, and its id (from its owner's key) has been used for another one since."""
    after = _ended(booking, FAILED, Reason.PAYMENT_MISMATCH, payment=PaymentStatus.NONE, last_error=None)
    return ask_to_cancel(after, report)


def cancel_and_refund(booking: Booking, report: Report) -> Decision:
    return give_back(_ended(booking, CANCELLED, booking.closing), report)


def rejected(booking: Booking, _: object) -> Decision:
    """Stripe's reason, `rejection`, is for operators, not for customers."""
    after = _ended(booking, FAILED, Reason.PAYMENT_REJECTED, payment=PaymentStatus.NONE, last_error=None)
    return Decision(after)


def canceled(booking: Booking, _: object) -> Decision:
    reason = booking.closing or Reason.PAYMENT_CANCELED
    return Decision(_ended(booking, CANCELLED, reason, payment=PaymentStatus.NONE))


def release(booking: Booking, time: object) -> Decision:
    """Stripe does not answer: the seats are released, and late money finds the booking ended."""
    return ask_to_cancel(_ended(booking, CANCELLED, booking.closing, payment=PaymentStatus.NONE), time)


def refunded_in_full(booking: Booking, _: object) -> Decision:
    return Decision(booking._replace(status=CANCELLED, reason=Reason.REFUNDED))


def _ended(booking: Booking, status: BookingStatus, reason: str | None, **values: Any) -> Booking:
    """No longer pending: nothing to pay, nothing to wait for."""
    return booking._replace(
        status=status, reason=reason, closing=None, client_secret=None, expires_at=None, hold_until=None, **values
    )


# --- Requests and time --------------------------------------------------------------------------------------


def mark_cancelling(booking: Booking, cancel: Cancel) -> Decision:
    """A request to cancel replaces an expired hold as the reason; of several requests the first one's stays."""
    closing = booking.closing if booking.cancelling else cancel.reason
    return Decision(booking._replace(closing=closing), (FollowUp.CANCEL_INTENT,))


def mark_expiring(booking: Booking, _: object) -> Decision:
    """The seats stay held until Stripe has answered: money that was in time wins."""
    return Decision(booking._replace(closing=booking.closing or Reason.HOLD_EXPIRED), (FollowUp.CANCEL_INTENT,))


def cancel_confirmed(booking: Booking, cancel: Cancel) -> Decision:
    return give_back(booking._replace(status=CANCELLED, reason=cancel.reason), cancel)


def no_longer_wanted(booking: Booking, cancel: Cancel) -> Decision:
    """Late money would confirm an expired booking, but not one that somebody has asked to cancel."""
    return Decision(booking._replace(reason=cancel.reason))


def closed(_: Booking, __: object) -> Decision:
    raise errors.CancellationClosed


def unchanged(booking: Booking, _: object) -> Decision:
    return Decision(booking)


def set_customer(booking: Booking, asked: SetCustomer) -> Decision:
    """Whatever became of the booking, we may have to write to its customer. What is erased leaves no digest, by
    which it could be guessed."""
    digest = booking.customer_digest if asked.customer is not None else None
    return Decision(booking._replace(customer=asked.customer, customer_digest=digest))


def ask_to_cancel(booking: Booking, _: object) -> Decision:
    """The booking has ended, and its intent may be live. Payment is asked until it reports the intent's end: else
    the intent could be paid for as long as Stripe keeps it, because one message was lost."""
    return Decision(booking._replace(intent_to_cancel=True), (FollowUp.CANCEL_INTENT,))


# --- Money that goes back -----------------------------------------------------------------------------------


def refund(booking: Booking, asked: Refund) -> Decision:
    """An operator refunds money; a whole refund ends the booking when Stripe has made it. One at a time: how much
    is left for another one is known only when this one has ended. Raises the error that refuses it."""
    left = left_of(booking)
    if booking.refund_id == asked.id:
        return Decision(booking, (FollowUp.REFUND,) if booking.refund_owed else ())
    if left <= 0 or booking.refund_owed or booking.payment is PaymentStatus.REFUND_PENDING:
        raise errors.Conflict
    booking, amount = _asked(booking, asked)
    if amount < left and (fault := part_fault_of(amount, booking.currency)) is not None:
        raise errors.AmountOffStep(fault.text, limit=fault.limit)
    return _owe(booking, asked.id, amount, asked.by, whole=asked.amount is None and not asked.seats)


def _asked(booking: Booking, asked: Refund) -> tuple[Booking, int]:
    """The booking without the seats that a refund cancels, and how much it gives back. Raises the error that
    refuses it."""
    left = left_of(booking)
    if asked.seats:
        booking = _without(booking, asked.seats)
    amount = asked.amount or (_price(booking, asked.seats) if asked.seats else left)
    if amount > left:
        raise errors.AmountOverLeft
    return booking, amount


def _without(booking: Booking, seats: Sequence[Seat]) -> Booking:
    """The confirmed booking without these seats, which others can buy from now on. Raises the error that refuses
    it: a booking keeps at least one seat, until it is cancelled itself."""
    if booking.status is not CONFIRMED:
        raise errors.Conflict
    cancelled = (*booking.cancelled_seats, *seats)
    if len(set(cancelled)) < len(cancelled):
        raise errors.TicketCancelled
    if len(cancelled) == sum(item.quantity for item in booking.items):
        raise errors.LastTickets
    return booking._replace(cancelled_seats=cancelled)


def _price(booking: Booking, seats: Iterable[Seat]) -> int:
    """What was paid for these seats. Raises Conflict if they cost nothing."""
    prices = {item.ticket_type_id: item.unit_amount - item.unit_discount for item in booking.items}
    if not (price := sum(prices[seat.ticket_type_id] for seat in seats)):
        raise errors.Conflict("These tickets cost nothing: there is nothing to refund")
    return price


def note_refund(booking: Booking, asked: Refund) -> Decision:
    """An operator has given back money of a booking that was sold at the box office. When all of it went back, the
    booking has ended. Raises the error that refuses it."""
    left = left_of(booking)
    if booking.refund_id == asked.id:
        return Decision(booking)
    if left <= 0:
        raise errors.Conflict
    booking, amount = _asked(booking, asked)
    made = Made(asked.id, amount, "succeeded", by=asked.by, created_at=asked.at, updated_at=asked.at)
    after = booking._replace(
        refund_id=asked.id, amount_refunded=booking.amount_refunded + amount, refunds=(*booking.refunds, made)
    )
    if amount == left:
        after = after._replace(payment=PaymentStatus.REFUNDED)
        return refunded_in_full(after, asked) if booking.status is CONFIRMED else Decision(after)
    still_owed = booking.status is CANCELLED
    return Decision(
        after._replace(payment=PaymentStatus.REFUND_PENDING if still_owed else PaymentStatus.PARTIALLY_REFUNDED)
    )


def give_back(booking: Booking, trigger: object) -> Decision:
    """Owe all that is left of what was captured, unless a refund is under way: then what it leaves is owed when it
    has ended. A refund of ours that failed is not retried by itself: an operator decides. What was paid at the box
    office is owed there, until an operator notes that it was given back."""
    left = left_of(booking)
    if booking.box_office is not None:
        return Decision(booking._replace(payment=PaymentStatus.REFUND_PENDING) if left else booking)
    payment = trigger.payment if isinstance(trigger, Report) else None
    if left <= 0 or booking.refund_owed or _under_way(booking, payment):
        return Decision(booking)
    by = trigger.by if isinstance(trigger, Cancel) else None
    return _owe(booking, _next_refund(booking), left, by, whole=True)


def retry_refund(booking: Booking, asked: RetryRefunds) -> Decision:
    """Retry what failed, when an operator wants that for a whole event: all that is left of a booking that has
    ended, what failed of a confirmed one. Once for each request, also if it fails again."""
    if booking.refund_retry_id == asked.id:
        return Decision(booking)
    whole = booking.refund_failed_whole or booking.status in (CANCELLED, FAILED)
    left = left_of(booking)
    amount = left if whole else min(booking.refund_failed_amount or 0, left)
    marked = booking._replace(refund_retry_id=asked.id)
    if booking.payment is not PaymentStatus.REFUND_FAILED or amount <= 0:
        return Decision(marked)
    return _owe(marked, _next_refund(booking), amount, asked.by, whole=whole)


def _next_refund(booking: Booking) -> UUID:
    return uuid5(REFUNDS, f"{booking.id}/{booking.version}")


def _under_way(booking: Booking, payment: PaymentState | None) -> bool:
    """A refund is under way, or one of ours failed, which is for an operator to retry. A part that did not fit
    beside other refunds (nothing of it can be retried) does not keep the rest from being refunded."""
    if payment is None:
        return booking.payment is PaymentStatus.REFUND_PENDING
    failed = payment.refund_failed and payment.refund_failed_amount != 0
    return payment.refund_pending or (failed and booking.refund_id in payment.refund_ids)


def _owe(booking: Booking, id: UUID, amount: int, by: str | None, *, whole: bool) -> Decision:
    disputed = booking.payment is PaymentStatus.DISPUTED
    payment = PaymentStatus.DISPUTED if disputed else PaymentStatus.REFUND_PENDING
    owed = booking._replace(refund_id=id, refund_amount=amount, refund_whole=whole, refund_by=by, payment=payment)
    return Decision(owed, (FollowUp.REFUND,))


def left_of(booking: Booking) -> int:
    """What can still be refunded, as far as the booking knows."""
    return booking.amount_captured - booking.amount_refunded


# --- Guards -------------------------------------------------------------------------------------------------


def always(_: Booking, __: object) -> bool:
    return True


def money_wrong(booking: Booking, report: Report) -> bool:
    payment = report.payment
    return (payment.amount_captured, payment.currency) != (booking.amount, booking.currency)


def intent_wrong(booking: Booking, report: Report) -> bool:
    """The amount of a payment never changes, so every report of it has the same; its currency can be changed at
    Stripe, and changed back."""
    return report.payment.amount != booking.amount


def money_right(booking: Booking, report: Report) -> bool:
    return not money_wrong(booking, report)


def cancelling(booking: Booking, _: object) -> bool:
    return booking.cancelling


def seats_again(booking: Booking, report: Report) -> bool:
    """The first report of late money, while its seats are free. Money whose refund was begun does not buy them,
    even if the refund failed: its owner has been notified."""
    payment = report.payment
    untouched = payment.amount_refunded == 0 and not (payment.refund_pending or payment.refund_failed)
    never_owed = booking.refund_id is None and not payment.refund_ids
    expired = booking.reason == Reason.HOLD_EXPIRED and untouched and never_owed
    return expired and report.seats_free and money_right(booking, report)


def no_money_awaited(booking: Booking, _: object) -> bool:
    return not awaits_money(booking)


def may_release(booking: Booking, _: object) -> bool:
    return booking.closing is not None and not awaits_money(booking)


def at_box_office(booking: Booking, _: object) -> bool:
    return booking.box_office is not None


def may_cancel(_: Booking, cancel: Cancel) -> bool:
    return cancel.allowed


def expired_unpaid(booking: Booking, cancel: Cancel) -> bool:
    return booking.reason == Reason.HOLD_EXPIRED and booking.amount_captured == 0 and cancel.allowed
