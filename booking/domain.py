"""The life of a booking, pure: state, message and time in; new state and what follows out.

The tables are the ones that `docs/states.md` shows to people. Seats need no rule of their own: a pending
booking holds them, a confirmed one has sold them, so each change of status moves them (`seats_moved`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from uuid import UUID, uuid5

from booking.schedule import scheduled, waits_for
from booking.state import (
    CANCELLED,
    CONFIRMED,
    FAILED,
    PENDING,
    Booking,
    Event,
    Follow,
    Payment,
    Reason,
    Terms,
)
from common.statuses import BookingStatus, CancelReason, IntentStatus, PaymentStatus

# The namespace of refund ids that follow from the booking alone: asked for again, it is the same refund.
REFUNDS = UUID("b4e1c1a3-2c3e-5d27-8d7f-7b0f6f0f5a02")


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a booking. `unexpected`: no row of the table fits; `refusal`: an error code."""

    booking: Booking
    follow: tuple[Follow, ...] = ()
    unexpected: bool = False
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """What a rule may look at beside the booking: the time, the terms, the payment, the seats, the request."""

    now: datetime
    terms: Terms
    payment: Payment | None = None
    seats_free: bool = False
    cancel: str | None = None
    refund_id: UUID | None = None
    refund_amount: int | None = None

    @property
    def report(self) -> Payment:
        assert self.payment is not None
        return self.payment


# --- The rules ----------------------------------------------------------------------------------------------


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
    EXPIRED = "past expires_at"
    GRACE_OVER = "past the grace time"


def _intent_created(booking: Booking, moment: Moment) -> Decision:
    """The hold counts from now on: the time in the queue in front of Stripe is not the customer's."""
    after = replace(booking, payment=PaymentStatus.AWAITING)
    if booking.closing is not None:
        return Decision(after, (Follow.CANCEL_INTENT,))
    if booking.payment is PaymentStatus.CREATING:
        after = replace(after, expires_at=moment.now + moment.terms.hold)
    return Decision(after)


def _declined(booking: Booking, moment: Moment) -> Decision:
    """Shown to the client, with time to try again; a booking that is closing stays so."""
    after = replace(booking, payment=PaymentStatus.AWAITING, last_error=moment.report.last_error)
    if booking.closing is not None:
        return Decision(after, (Follow.CANCEL_INTENT,))
    until = moment.now + moment.terms.decline
    return Decision(replace(after, expires_at=max(booking.expires_at or until, until)))


def _action_required(booking: Booking, _: Moment) -> Decision:
    return Decision(replace(booking, payment=PaymentStatus.ACTION_REQUIRED))


def _processing(booking: Booking, _: Moment) -> Decision:
    """The money is on its way: the hold does not expire until Stripe knows more."""
    closing = None if booking.expiring else booking.closing
    return Decision(replace(booking, payment=PaymentStatus.PROCESSING, closing=closing))


def _confirm(booking: Booking, moment: Moment) -> Decision:
    after = replace(booking, status=CONFIRMED, reason=None, payment=PaymentStatus.PAID, last_error=None)
    return Decision(_ended(after))


def _mismatch(booking: Booking, moment: Moment) -> Decision:
    return _refund_all(_ended(replace(booking, status=FAILED, reason=Reason.PAYMENT_MISMATCH)), moment)


def _cancel_and_refund(booking: Booking, moment: Moment) -> Decision:
    return _refund_all(_ended(replace(booking, status=CANCELLED, reason=booking.closing)), moment)


def _give_back(booking: Booking, moment: Moment) -> Decision:
    """Money for a booking that has ended: all of it goes back."""
    return _refund_all(booking, moment)


def _rejected(booking: Booking, _: Moment) -> Decision:
    after = replace(booking, status=FAILED, reason=Reason.PAYMENT_REJECTED, payment=PaymentStatus.NONE)
    return Decision(_ended(after))


def _canceled(booking: Booking, _: Moment) -> Decision:
    reason = booking.closing or Reason.PAYMENT_CANCELED
    return Decision(_ended(replace(booking, status=CANCELLED, reason=reason, payment=PaymentStatus.NONE)))


def _mark_cancelling(booking: Booking, moment: Moment) -> Decision:
    return Decision(replace(booking, closing=moment.cancel), (Follow.CANCEL_INTENT,))


def _mark_expiring(booking: Booking, _: Moment) -> Decision:
    """The seats stay held until Stripe has answered: money that was in time wins."""
    return Decision(replace(booking, closing=Reason.HOLD_EXPIRED), (Follow.CANCEL_INTENT,))


def _release(booking: Booking, _: Moment) -> Decision:
    """Stripe does not answer: the seats are given back, and late money finds `hold_expired`."""
    return Decision(_ended(replace(booking, status=CANCELLED, reason=booking.closing, payment=PaymentStatus.NONE)))


def _cancel_confirmed(booking: Booking, moment: Moment) -> Decision:
    after = replace(booking, status=CANCELLED, reason=moment.cancel)
    return Decision(after) if booking.amount_captured == 0 else _refund_all(after, moment)


def _refunded(booking: Booking, _: Moment) -> Decision:
    return Decision(replace(booking, status=CANCELLED, reason=Reason.REFUNDED, payment=PaymentStatus.REFUNDED))


def _refund_part(booking: Booking, moment: Moment) -> Decision:
    """An operator gives money back; a whole refund ends the booking when Stripe has made it."""
    left = booking.amount_captured - booking.amount_refunded
    if booking.refund_id == moment.refund_id:
        return Decision(booking, (Follow.REFUND,) if booking.refund_owed else ())
    if booking.refund_owed:
        return Decision(booking, refusal="conflict")
    if left <= 0 or (moment.refund_amount or left) > left:
        return Decision(booking, refusal="amount_mismatch")
    after = replace(
        booking,
        refund_id=moment.refund_id,
        refund_amount=moment.refund_amount or left,
        payment=PaymentStatus.REFUND_PENDING,
    )
    return Decision(after, (Follow.REFUND,))


def _closed(booking: Booking, _: Moment) -> Decision:
    return Decision(booking, refusal="cancellation_closed")


def _unchanged(booking: Booking, _: Moment) -> Decision:
    return Decision(booking)


def _ended(booking: Booking) -> Booking:
    """No longer pending: nothing to pay, nothing to wait for."""
    return replace(booking, closing=None, client_secret=None, expires_at=None)


def _refund_all(booking: Booking, moment: Moment) -> Decision:
    """Owe all that is left of what was captured; what is owed or given back already is not owed again."""
    payment = moment.payment
    captured = payment.amount_captured if payment else booking.amount_captured
    refunded = payment.amount_refunded if payment else booking.amount_refunded
    taken_up = payment is not None and (payment.refund_pending or payment.refund_failed)
    if captured <= refunded or booking.refund_owed or taken_up:
        return Decision(booking)
    after = replace(
        booking,
        refund_id=uuid5(REFUNDS, f"{booking.id}/{booking.version}"),
        refund_amount=captured - refunded,
        payment=PaymentStatus.REFUND_PENDING,
    )
    return Decision(after, (Follow.REFUND,))


def _always(_: Booking, __: Moment) -> bool:
    return True


def _money_wrong(booking: Booking, moment: Moment) -> bool:
    report = moment.report
    return (report.amount_captured, report.currency) != (booking.amount, booking.currency)


def _is_cancelling(booking: Booking, _: Moment) -> bool:
    return booking.cancelling


def _can_have_seats_again(booking: Booking, moment: Moment) -> bool:
    untouched = moment.report.amount_refunded == 0 and not moment.report.refund_pending
    expired = booking.reason == Reason.HOLD_EXPIRED and not booking.refund_owed
    return expired and untouched and moment.seats_free and not _money_wrong(booking, moment)


def _not_processing(booking: Booking, _: Moment) -> bool:
    return booking.payment is not PaymentStatus.PROCESSING


def _may_cancel(_: Booking, moment: Moment) -> bool:
    return moment.cancel is not None


Rule = Callable[[Booking, Moment], Decision]
Guard = Callable[[Booking, Moment], bool]

# from, signal: (when, what) — the first that fits. What is not here is unexpected: unchanged and logged.
TABLE: dict[tuple[BookingStatus, Signal], tuple[tuple[Guard, Rule], ...]] = {
    (PENDING, Signal.INTENT_CREATED): ((_always, _intent_created),),
    (PENDING, Signal.INTENT_REJECTED): ((_always, _rejected),),
    (PENDING, Signal.DECLINED): ((_always, _declined),),
    (PENDING, Signal.ACTION_REQUIRED): ((_always, _action_required),),
    (PENDING, Signal.PROCESSING): ((_always, _processing),),
    (PENDING, Signal.SUCCEEDED): (
        (_money_wrong, _mismatch),
        (_is_cancelling, _cancel_and_refund),
        (_always, _confirm),
    ),
    (PENDING, Signal.CANCELED): ((_always, _canceled),),
    (PENDING, Signal.CANCEL): ((_always, _mark_cancelling),),
    (PENDING, Signal.EXPIRED): ((_not_processing, _mark_expiring),),
    (PENDING, Signal.GRACE_OVER): ((_not_processing, _release),),
    (CONFIRMED, Signal.SUCCEEDED): ((_always, _unchanged),),
    (CONFIRMED, Signal.REFUNDED_IN_FULL): ((_always, _refunded),),
    (CONFIRMED, Signal.CANCEL): ((_may_cancel, _cancel_confirmed), (_always, _closed)),
    (CONFIRMED, Signal.REFUND): ((_always, _refund_part),),
    (CANCELLED, Signal.SUCCEEDED): ((_can_have_seats_again, _confirm), (_always, _give_back)),
    (CANCELLED, Signal.REFUNDED_IN_FULL): ((_always, _unchanged),),
    (CANCELLED, Signal.CANCELED): ((_always, _unchanged),),
    (CANCELLED, Signal.CANCEL): ((_always, _unchanged),),
    (CANCELLED, Signal.REFUND): ((_always, _refund_part),),
    (FAILED, Signal.SUCCEEDED): ((_always, _give_back),),
    (FAILED, Signal.REFUNDED_IN_FULL): ((_always, _unchanged),),
    (FAILED, Signal.INTENT_REJECTED): ((_always, _unchanged),),
    (FAILED, Signal.CANCELED): ((_always, _unchanged),),
    (FAILED, Signal.CANCEL): ((_always, _unchanged),),
    (FAILED, Signal.REFUND): ((_always, _refund_part),),
}
# An ended booking hears of its intent once more while Stripe is being asked to cancel it.
for _status in (CANCELLED, FAILED):
    for _signal in (Signal.INTENT_CREATED, Signal.DECLINED, Signal.ACTION_REQUIRED, Signal.PROCESSING):
        TABLE[_status, _signal] = ((_always, lambda booking, _: Decision(booking, (Follow.CANCEL_INTENT,))),)


def _apply(booking: Booking, signal: Signal, moment: Moment) -> Decision:
    for guard, rule in TABLE.get((booking.status, signal), ()):
        if guard(booking, moment):
            return rule(booking, moment)
    return Decision(booking, unexpected=True)


def _versioned(before: Booking, decision: Decision, moment: Moment) -> Decision:
    """Count the change, if there is one, and set when the booking is driven again."""
    after = decision.booking
    if replace(after, payment_version=before.payment_version) == before:
        return decision
    after = replace(after, version=before.version + 1, updated_at=moment.now, settle_attempts=0)
    return replace(decision, booking=scheduled(after, moment.now, moment.terms))


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


def signal_of(payment: Payment) -> Signal | None:
    """What a report tells, by its state and not by its name: the newest report alone suffices."""
    signal = _SIGNALS.get(payment.status)
    return Signal.DECLINED if signal is Signal.INTENT_CREATED and payment.last_error else signal


def take_report(booking: Booking, payment: Payment, moment: Moment) -> Decision:
    """Apply the whole payment as it stands; one that is not newer than the last applied changes nothing."""
    signal = signal_of(payment)
    # An answer to a refund that was asked for twice brings nothing new but that it is known.
    answers = booking.refund_owed and booking.refund_id in payment.refund_ids
    known = booking.payment_version + (0 if answers else 1)
    if payment.version < known or signal is None:
        return Decision(booking)
    moment = replace(moment, payment=payment)
    secret = payment.client_secret if booking.status is PENDING else None
    seen = replace(
        booking,
        payment_version=payment.version,
        intent_id=payment.intent_id or booking.intent_id,
        client_secret=secret,
        amount_captured=payment.amount_captured,
        amount_refunded=payment.amount_refunded,
    )
    decision = _apply(seen, signal, moment)
    if signal is Signal.SUCCEEDED:
        if 0 < payment.amount_captured <= payment.amount_refunded and decision.booking.status is CONFIRMED:
            decision = _apply(decision.booking, Signal.REFUNDED_IN_FULL, moment)
        decision = replace(decision, booking=_money(decision.booking, payment))
    return _versioned(booking, decision, moment)


def _money(booking: Booking, payment: Payment) -> Booking:
    """How captured money stands: what the payment has taken up is no longer owed by the booking."""
    if booking.refund_amount is not None:
        # What was given back by hand in the meantime is not owed any more.
        left = min(booking.refund_amount, booking.amount_captured - booking.amount_refunded)
        taken_up = booking.refund_id in payment.refund_ids or left <= 0
        booking = replace(booking, refund_amount=None if taken_up else left)
    return replace(booking, payment=money_status(booking, payment))


def money_status(booking: Booking, payment: Payment) -> PaymentStatus:
    if payment.disputed:
        return PaymentStatus.DISPUTED
    if payment.refund_failed:
        return PaymentStatus.REFUND_FAILED
    if payment.amount_refunded >= payment.amount_captured > 0:
        return PaymentStatus.REFUNDED
    if payment.refund_pending or booking.refund_owed:
        return PaymentStatus.REFUND_PENDING
    if payment.amount_refunded:
        return PaymentStatus.PARTIALLY_REFUNDED
    return PaymentStatus.PAID


def wants_seats_again(booking: Booking, payment: Payment) -> bool:
    """Whether it has to be known, before `payment` is taken in, that the booking's seats are free."""
    return booking.reason == Reason.HOLD_EXPIRED and signal_of(payment) is Signal.SUCCEEDED


# --- Time -------------------------------------------------------------------------------------------------


def drive(booking: Booking, moment: Moment) -> Decision:
    """What time alone makes of an unsettled booking, and the message that it waits for an answer to."""
    expires = booking.expires_at
    if booking.status is PENDING and expires is not None and booking.payment is not PaymentStatus.PROCESSING:
        if booking.closing is not None and moment.now >= expires + moment.terms.grace:
            return decide(booking, Signal.GRACE_OVER, moment)
        if booking.closing is None and moment.now >= expires:
            return decide(booking, Signal.EXPIRED, moment)
    follow = waits_for(booking)
    again = replace(booking, settle_attempts=booking.settle_attempts + 1)
    return Decision(scheduled(again, moment.now, moment.terms), (follow,) if follow else ())


# --- Seats and policy -------------------------------------------------------------------------------------


def seats_moved(before: BookingStatus | None, after: BookingStatus) -> tuple[int, int]:
    """For each seat of a booking: what is added to (held, sold) when its status changes."""

    def counts(status: BookingStatus | None) -> tuple[int, int]:
        return int(status is PENDING), int(status is CONFIRMED)

    (held_before, sold_before), (held, sold) = counts(before), counts(after)
    return held - held_before, sold - sold_before


def cancel_reason(booking: Booking, asked: CancelReason, event: Event, now: datetime) -> str | None:
    """The reason to cancel `booking` for; None when its owner no longer may (the event's policy)."""
    if asked is not CancelReason.BY_CUSTOMER or booking.status is not CONFIRMED:
        return asked.value
    return asked.value if event.cancel_until is not None and now <= event.cancel_until else None


def takes(status: BookingStatus | None) -> bool:
    """Whether a booking of this status takes seats away from others."""
    return status in (PENDING, CONFIRMED)


def moves(changes: Iterable[tuple[Booking | None, Booking]]) -> dict[UUID, tuple[int, int]]:
    """For each ticket type: what (before, after) pairs of bookings add to its held and sold seats."""
    found: dict[UUID, tuple[int, int]] = {}
    for before, after in changes:
        held, sold = seats_moved(before.status if before else None, after.status)
        if held or sold:
            for item in after.items:
                old = found.get(item.ticket_type_id, (0, 0))
                found[item.ticket_type_id] = (old[0] + held * item.quantity, old[1] + sold * item.quantity)
    return found
