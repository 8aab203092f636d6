"""The life of a booking, pure: state, message and time in; new state and what follows out.

The table is the one that `docs/states.md` shows to people; what its rows do is in `rules.py`. Seats need no rule
of their own: a pending booking holds them, a confirmed one has sold them, so each change of status moves them
(`seats_moved`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import Enum

from booking import rules
from booking.rules import Decision, Guard, Moment, Rule, always
from booking.schedule import scheduled, turn, waits_for
from booking.state import CANCELLED, CONFIRMED, FAILED, PENDING, Booking, Event, Reason, SeatMove
from common.contracts.statuses import BookingStatus, CancelReason, IntentStatus, PaymentStatus
from common.contracts.values import PaymentState


class Signal(Enum):
    """What can happen to a booking that exists."""

    INTENT_CREATED = "PaymentIntentCreated"
    INTENT_REJECTED = "PaymentIntentRejected"
    DECLINED = "PaymentDeclined"
    ACTION_REQUIRED = "PaymentActionRequired"
    PROCESSING = "PaymentProcessing"
    SUCCEEDED = "PaymentSucceeded"
    CANCELED = "PaymentCanceled"
    REFUNDED_IN_FULL = "refunded in full"
    CANCEL = "CancelBooking"
    REFUND = "RefundBooking"
    RETRY_REFUNDS = "RetryRefunds"
    EXPIRED = "past expires_at"
    GRACE_OVER = "past the grace time"


# There is an intent, and money can still come by it.
LIVE = (Signal.INTENT_CREATED, Signal.DECLINED, Signal.ACTION_REQUIRED, Signal.PROCESSING)

# From, signal: (when, what) — the first that fits. What is not here is unexpected: unchanged and logged.
TABLE: dict[tuple[BookingStatus, Signal], tuple[tuple[Guard, Rule], ...]] = {
    (PENDING, Signal.INTENT_CREATED): ((rules.intent_wrong, rules.not_for_this), (always, rules.payable)),
    (PENDING, Signal.INTENT_REJECTED): ((always, rules.rejected),),
    (PENDING, Signal.DECLINED): ((rules.intent_wrong, rules.not_for_this), (always, rules.declined)),
    (PENDING, Signal.ACTION_REQUIRED): ((rules.intent_wrong, rules.not_for_this), (always, rules.action_required)),
    (PENDING, Signal.PROCESSING): ((always, rules.processing),),
    (PENDING, Signal.SUCCEEDED): (
        (rules.money_wrong, rules.mismatch),
        (rules.cancelling, rules.cancel_and_refund),
        (always, rules.confirm),
    ),
    (PENDING, Signal.CANCELED): ((always, rules.canceled),),
    (PENDING, Signal.CANCEL): ((rules.may_cancel, rules.mark_cancelling), (always, rules.closed)),
    (PENDING, Signal.REFUND): ((always, rules.refund),),
    (PENDING, Signal.EXPIRED): ((rules.no_money_awaited, rules.mark_expiring), (always, rules.unchanged)),
    (PENDING, Signal.GRACE_OVER): ((rules.may_release, rules.release), (always, rules.unchanged)),
    (CONFIRMED, Signal.SUCCEEDED): ((rules.money_right, rules.unchanged),),
    (CONFIRMED, Signal.REFUNDED_IN_FULL): ((always, rules.refunded_in_full),),
    (CONFIRMED, Signal.CANCEL): ((rules.may_cancel, rules.cancel_confirmed), (always, rules.closed)),
    (CONFIRMED, Signal.REFUND): ((always, rules.refund),),
    (CONFIRMED, Signal.RETRY_REFUNDS): ((always, rules.retry_refund),),
    (CANCELLED, Signal.SUCCEEDED): ((rules.seats_again, rules.confirm), (always, rules.give_back)),
    (CANCELLED, Signal.INTENT_REJECTED): ((always, rules.unchanged),),
    (CANCELLED, Signal.CANCELED): ((always, rules.unchanged),),
    (CANCELLED, Signal.CANCEL): ((rules.expired_unpaid, rules.no_longer_wanted), (always, rules.unchanged)),
    (CANCELLED, Signal.REFUND): ((always, rules.refund),),
    (CANCELLED, Signal.RETRY_REFUNDS): ((always, rules.retry_refund),),
    (FAILED, Signal.SUCCEEDED): ((always, rules.give_back),),
    (FAILED, Signal.INTENT_REJECTED): ((always, rules.unchanged),),
    (FAILED, Signal.CANCELED): ((always, rules.unchanged),),
    (FAILED, Signal.CANCEL): ((always, rules.unchanged),),
    (FAILED, Signal.REFUND): ((always, rules.refund),),
    (FAILED, Signal.RETRY_REFUNDS): ((always, rules.retry_refund),),
    # Of a booking that has ended the intent may still be heard of: it is to be canceled.
    **{(status, signal): ((always, rules.ask_to_cancel),) for status in (CANCELLED, FAILED) for signal in LIVE},
}


def _apply(booking: Booking, signal: Signal, moment: Moment) -> Decision:
    for guard, rule in TABLE.get((booking.status, signal), ()):
        if guard(booking, moment):
            return rule(booking, moment)
    return Decision(booking, unexpected=True)


def _versioned(before: Booking, decision: Decision, moment: Moment) -> Decision:
    """Count the change, if there is one, and set when the booking is driven again."""
    after = decision.booking
    if after._replace(payment_version=before.payment_version, payment_digest=before.payment_digest) == before:
        return decision
    after = after._replace(version=before.version + 1, updated_at=moment.now, settle_attempts=0)
    return decision._replace(booking=scheduled(after, moment.now, moment.terms))


def decide(booking: Booking, signal: Signal, moment: Moment) -> Decision:
    """What `signal`, a request or the passing of time, makes of `booking`."""
    return _versioned(booking, _apply(booking, signal, moment), moment)


# --- Reports of the payment ---------------------------------------------------------------------------------

_SIGNALS: dict[IntentStatus, Signal] = {
    IntentStatus.REQUIRES_PAYMENT_METHOD: Signal.INTENT_CREATED,
    IntentStatus.REQUIRES_CONFIRMATION: Signal.INTENT_CREATED,
    IntentStatus.REQUIRES_ACTION: Signal.ACTION_REQUIRED,
    IntentStatus.PROCESSING: Signal.PROCESSING,
    IntentStatus.REQUIRES_CAPTURE: Signal.PROCESSING,
    IntentStatus.SUCCEEDED: Signal.SUCCEEDED,
    IntentStatus.CANCELED: Signal.CANCELED,
    IntentStatus.REJECTED: Signal.INTENT_REJECTED,
}


def signal_of(payment: PaymentState) -> Signal | None:
    """What a report tells, by its state and not by its name: the newest report alone suffices."""
    signal = _SIGNALS.get(payment.status)
    return Signal.DECLINED if signal is Signal.INTENT_CREATED and payment.last_error else signal


def take_report(booking: Booking, payment: PaymentState, moment: Moment) -> Decision:
    """Apply the whole payment as it stands; one that is not newer than the last applied changes nothing."""
    signal = signal_of(payment)
    if signal is None or payment.version < booking.payment_version:
        return Decision(booking)
    if payment.version == booking.payment_version and not _answers(booking, payment):
        return Decision(booking)
    moment = moment._replace(payment=payment, failed_at=_newer(booking, payment))
    decision = _apply(_seen(booking, payment, signal), signal, moment)
    if decision.unexpected:
        seen = booking._replace(payment_version=payment.version, payment_digest=payment.digest)
        return decision._replace(booking=seen)
    if signal is Signal.SUCCEEDED:
        if 0 < payment.amount_captured <= payment.amount_refunded and decision.booking.status is CONFIRMED:
            decision = _apply(decision.booking, Signal.REFUNDED_IN_FULL, moment)
        paid = decision.booking._replace(payment=money_status(decision.booking, payment))
        decision = decision._replace(booking=paid)
    return _versioned(booking, decision, moment)


def _answers(booking: Booking, payment: PaymentState) -> bool:
    """An answer to a refund that was asked for twice brings nothing new but that it is known."""
    return booking.refund_owed and booking.refund_id in payment.refund_ids


def of_another_intent(booking: Booking, payment: PaymentState) -> bool:
    """One of the databases has lost what the other goes by: a booking is paid by the intent that it was told of
    first, and its client has the secret of that one."""
    return None not in (booking.intent_id, payment.intent_id) and booking.intent_id != payment.intent_id


def conflicts(booking: Booking, payment: PaymentState) -> bool:
    """Another report was applied under this version: payment has lost it, and has counted on from before it."""
    same = payment.version == booking.payment_version and not _answers(booking, payment)
    return same and booking.payment_digest not in (None, payment.digest)


def _newer(booking: Booking, payment: PaymentState) -> datetime | None:
    """When the payment's newest attempt failed, where the booking has not heard of it."""
    known, told = booking.last_attempt_at, payment.last_attempt_at
    return told if told is not None and (known is None or told > known) else None


def _seen(booking: Booking, payment: PaymentState, signal: Signal) -> Booking:
    """`booking` with what the report tells of its payment: only captured money says how much there is of it."""
    seen = booking._replace(
        payment_version=payment.version,
        payment_digest=payment.digest,
        intent_id=payment.intent_id or booking.intent_id,
        client_secret=payment.client_secret if booking.status is PENDING else None,
        intent_to_cancel=booking.intent_to_cancel and signal in LIVE,
        last_error=payment.last_error if booking.status is PENDING else booking.last_error,
        # An older database of payments, restored, knows of fewer.
        attempts=max(booking.attempts, payment.attempts),
        last_attempt_at=_newer(booking, payment) or booking.last_attempt_at,
    )
    if signal is not Signal.SUCCEEDED:
        return seen
    seen = seen._replace(
        amount_captured=payment.amount_captured,
        amount_refunded=payment.amount_refunded,
        refund_waiting=payment.refund_waiting,
        refund_error=payment.refund_error,
        refund_failed_amount=payment.refund_failed_amount,
        refund_failed_whole=payment.refund_failed_whole,
        disputes=booking.disputes if payment.disputes is None else payment.disputes,
    )
    if booking.refund_amount is None:
        return seen
    # What the payment has taken up, or was given back by hand in the meantime, is not owed any more.
    owed = min(booking.refund_amount, rules.left_of(seen))
    taken_up = booking.refund_id in payment.refund_ids or owed <= 0
    return seen._replace(refund_amount=None if taken_up else owed)


def money_status(booking: Booking, payment: PaymentState) -> PaymentStatus:
    """How captured money stands. A refund that is owed follows one that failed: it is the newer one."""
    if payment.disputed:
        return PaymentStatus.DISPUTED
    if booking.refund_owed:
        return PaymentStatus.REFUND_PENDING
    if payment.refund_failed:
        return PaymentStatus.REFUND_FAILED
    if payment.amount_refunded >= payment.amount_captured:
        return PaymentStatus.REFUNDED if payment.amount_captured else PaymentStatus.NONE
    if payment.refund_pending:
        return PaymentStatus.REFUND_PENDING
    return PaymentStatus.PARTIALLY_REFUNDED if payment.amount_refunded else PaymentStatus.PAID


def wants_seats_again(booking: Booking, payment: PaymentState) -> bool:
    """Whether it has to be known, before `payment` is taken in, that the booking's seats are free."""
    return booking.reason == Reason.HOLD_EXPIRED and signal_of(payment) is Signal.SUCCEEDED


def is_special(booking: Booking, payment: PaymentState) -> bool:
    """Whether more is to be looked at than the booking, or nothing is to be written."""
    other = of_another_intent(booking, payment) or conflicts(booking, payment)
    return other or wants_seats_again(booking, payment)


# --- Time -------------------------------------------------------------------------------------------------


def drive(booking: Booking, moment: Moment) -> Decision:
    """What time alone makes of an unsettled booking, and the message that it waits for an answer to."""
    due = turn(booking, moment.terms)
    if due is not None and moment.now >= due:
        return decide(booking, Signal.EXPIRED if booking.closing is None else Signal.GRACE_OVER, moment)
    follow = waits_for(booking)
    again = booking._replace(settle_attempts=booking.settle_attempts + 1)
    return Decision(scheduled(again, moment.now, moment.terms), (follow,) if follow else ())


# --- Seats and policy -------------------------------------------------------------------------------------


def seats_moved(before: BookingStatus | None, after: BookingStatus) -> tuple[int, int]:
    """For each seat of a booking: what is added to (held, sold) when its status changes."""

    def counts(status: BookingStatus | None) -> tuple[int, int]:
        return int(status is PENDING), int(status is CONFIRMED)

    (held_before, sold_before), (held, sold) = counts(before), counts(after)
    return held - held_before, sold - sold_before


def cancel_reason(booking: Booking, asked: CancelReason, event: Event | None, now: datetime) -> str | None:
    """The reason to cancel `booking` for; None when its owner no longer may. What is paid: past the event's
    `cancel_until`. What is paid or being paid: after its start, unless the event has `cancel_after_start`. An event
    that is not there (a database that came back older) allows neither."""
    being_paid = booking.status is PENDING and booking.payment is PaymentStatus.PROCESSING
    if asked is not CancelReason.BY_CUSTOMER or not (booking.status is CONFIRMED or being_paid):
        return asked.value
    if event is None or (now > event.starts_at and not event.cancel_after_start):
        return None
    in_time = being_paid or (event.cancel_until is not None and now <= event.cancel_until)
    return asked.value if in_time else None


def takes(status: BookingStatus | None) -> bool:
    """Whether a booking of this status takes seats away from others."""
    return status in (PENDING, CONFIRMED)


def moves(changes: Iterable[tuple[Booking | None, Booking]]) -> list[SeatMove]:
    """What (before, after) pairs of bookings add to the counters of ticket types."""
    found = []
    for before, after in changes:
        held, sold = seats_moved(before.status if before else None, after.status)
        if held or sold:
            found += [
                SeatMove(after.id, type_id, held * quantity, sold * quantity)
                for type_id, quantity, _ in after.items
            ]
    return found
