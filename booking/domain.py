"""The life of a booking, pure: state, message and time in; new state and what follows out.

The table is the one that `docs/states.md` shows to people; what its rows do is in `rules.py`. Seats need no rule
of their own: a pending booking holds them, a confirmed one has sold them, so each change of status moves them
(`seats_moved`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from operator import itemgetter

from booking import rules
from booking.rules import Decision, Guard, Rule, always
from booking.schedule import retry_time, turn, waits_for
from booking.state import CANCELLED, CONFIRMED, FAILED, PENDING, Booking, Event, HoldPolicy, Reason, SeatMove
from booking.triggers import Cancel, Happening, Refund, Report, RetryRefunds, Trigger
from common.contracts.statuses import BookingStatus, CancelReason, IntentStatus, PaymentStatus
from common.contracts.values import PaymentState

Row = tuple[tuple[Guard, Rule], ...]


def row(*when: tuple[Guard, Rule], otherwise: Rule | None = None) -> Row:
    """The first whose guard fits is what happens."""
    return when if otherwise is None else (*when, (always, otherwise))


# There is an intent, and money can still come by it.
LIVE = (Trigger.INTENT_CREATED, Trigger.DECLINED, Trigger.ACTION_REQUIRED, Trigger.PROCESSING)
CANCEL, REFUND, RETRY_REFUNDS = Trigger.CANCEL, Trigger.REFUND, Trigger.RETRY_REFUNDS
SUCCEEDED, CANCELED, REJECTED = Trigger.SUCCEEDED, Trigger.CANCELED, Trigger.INTENT_REJECTED
ENDED = (CANCELLED, FAILED)

# From, trigger: what becomes of it. What is not here is unexpected: unchanged and logged.
TABLE: dict[tuple[BookingStatus, Trigger], Row] = {
    (PENDING, Trigger.INTENT_CREATED): row((rules.intent_wrong, rules.not_for_this), otherwise=rules.payable),
    (PENDING, REJECTED): row(otherwise=rules.rejected),
    (PENDING, Trigger.DECLINED): row((rules.intent_wrong, rules.not_for_this), otherwise=rules.payable),
    (PENDING, Trigger.ACTION_REQUIRED): row(
        (rules.intent_wrong, rules.not_for_this), otherwise=rules.action_required
    ),
    (PENDING, Trigger.PROCESSING): row(otherwise=rules.processing),
    (PENDING, SUCCEEDED): row(
        (rules.money_wrong, rules.mismatch), (rules.cancelling, rules.cancel_and_refund), otherwise=rules.confirm
    ),
    (PENDING, CANCELED): row(otherwise=rules.canceled),
    (PENDING, CANCEL): row((rules.may_cancel, rules.mark_cancelling), otherwise=rules.closed),
    (PENDING, Trigger.EXPIRED): row((rules.no_money_awaited, rules.mark_expiring), otherwise=rules.unchanged),
    (PENDING, Trigger.GRACE_OVER): row((rules.may_release, rules.release), otherwise=rules.unchanged),
    (CONFIRMED, SUCCEEDED): row((rules.money_right, rules.unchanged)),
    (CONFIRMED, Trigger.REFUNDED_IN_FULL): row(otherwise=rules.refunded_in_full),
    (CONFIRMED, CANCEL): row((rules.may_cancel, rules.cancel_confirmed), otherwise=rules.closed),
    (CANCELLED, SUCCEEDED): row((rules.seats_again, rules.confirm), otherwise=rules.give_back),
    (CANCELLED, CANCEL): row((rules.expired_unpaid, rules.no_longer_wanted), otherwise=rules.unchanged),
    (FAILED, SUCCEEDED): row(otherwise=rules.give_back),
    (FAILED, CANCEL): row(otherwise=rules.unchanged),
    **{(status, REFUND): row(otherwise=rules.refund) for status in BookingStatus},
    **{(settled, RETRY_REFUNDS): row(otherwise=rules.retry_refund) for settled in (CONFIRMED, *ENDED)},
    **{(ended, gone): row(otherwise=rules.unchanged) for ended in ENDED for gone in (CANCELED, REJECTED)},
    # Of a booking that has ended the intent may still be heard of: it is to be canceled.
    **{(ended, live): row(otherwise=rules.ask_to_cancel) for ended in ENDED for live in LIVE},
}
# All of a booking but which report of its payment was applied last.
_but_its_report = itemgetter(
    *(place for place, name in enumerate(Booking._fields) if name not in ("payment_version", "payment_digest"))
)
_TRIGGERS: dict[type[Happening], Trigger] = {Cancel: CANCEL, Refund: REFUND, RetryRefunds: RETRY_REFUNDS}


def _apply(booking: Booking, trigger: Trigger, carried: Happening | Report) -> Decision:
    for guard, rule in TABLE.get((booking.status, trigger), ()):
        if guard(booking, carried):
            return rule(booking, carried)
    return Decision(booking, unexpected=True)


def _versioned(before: Booking, decision: Decision, now: datetime, policy: HoldPolicy) -> Decision:
    """Count the change, if there is one, and set when the booking is driven again."""
    after = decision.booking
    if _but_its_report(after) == _but_its_report(before):
        return decision
    again = retry_time(after, 0, now, policy)
    after = after._replace(version=before.version + 1, updated_at=now, settle_attempts=0, settle_after=again)
    return Decision(after, decision.follow, decision.unexpected)


def decide(booking: Booking, what: Happening, now: datetime, policy: HoldPolicy) -> Decision:
    """What a request or the passing of time makes of `booking`. Raises the error that refuses a request."""
    trigger = what if isinstance(what, Trigger) else _TRIGGERS[type(what)]
    return _versioned(booking, _apply(booking, trigger, what), now, policy)


# --- Reports of the payment ---------------------------------------------------------------------------------

_REPORTED: dict[IntentStatus, Trigger] = {
    IntentStatus.REQUIRES_PAYMENT_METHOD: Trigger.INTENT_CREATED,
    IntentStatus.REQUIRES_CONFIRMATION: Trigger.INTENT_CREATED,
    IntentStatus.REQUIRES_ACTION: Trigger.ACTION_REQUIRED,
    IntentStatus.PROCESSING: Trigger.PROCESSING,
    IntentStatus.REQUIRES_CAPTURE: Trigger.PROCESSING,
    IntentStatus.SUCCEEDED: Trigger.SUCCEEDED,
    IntentStatus.CANCELED: Trigger.CANCELED,
    IntentStatus.REJECTED: Trigger.INTENT_REJECTED,
}


def trigger_of(payment: PaymentState) -> Trigger | None:
    """What a report tells, by its state and not by its name: the newest report alone suffices."""
    trigger = _REPORTED.get(payment.status)
    return Trigger.DECLINED if trigger is Trigger.INTENT_CREATED and payment.last_error else trigger


def take_report(booking: Booking, report: Report) -> Decision:
    """Apply the whole payment as it stands; one that is not newer than the last applied changes nothing."""
    payment, trigger = report.payment, trigger_of(report.payment)
    if trigger is None or payment.version < booking.payment_version:
        return Decision(booking)
    if payment.version == booking.payment_version and not _answers(booking, payment):
        return Decision(booking)
    report = report._replace(failed_at=_newer(booking, payment))
    decision = _apply(_seen(booking, payment, trigger), trigger, report)
    if decision.unexpected:
        seen = booking._replace(payment_version=payment.version, payment_digest=payment.digest)
        return decision._replace(booking=seen)
    if trigger is SUCCEEDED:
        if 0 < payment.amount_captured <= payment.amount_refunded and decision.booking.status is CONFIRMED:
            decision = _apply(decision.booking, Trigger.REFUNDED_IN_FULL, report)
        paid = decision.booking._replace(payment=money_status(decision.booking, payment))
        decision = decision._replace(booking=paid)
    return _versioned(booking, decision, report.now, report.policy)


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


def _seen(booking: Booking, payment: PaymentState, trigger: Trigger) -> Booking:
    """`booking` with what the report tells of its payment: only captured money says how much there is of it."""
    seen = booking._replace(
        payment_version=payment.version,
        payment_digest=payment.digest,
        intent_id=payment.intent_id or booking.intent_id,
        client_secret=payment.client_secret if booking.status is PENDING else None,
        intent_to_cancel=booking.intent_to_cancel and trigger in LIVE,
        last_error=payment.last_error if booking.status is PENDING else booking.last_error,
        # An older database of payments, restored, knows of fewer.
        attempts=max(booking.attempts, payment.attempts),
        last_attempt_at=_newer(booking, payment) or booking.last_attempt_at,
    )
    if trigger is not SUCCEEDED:
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
    return booking.reason == Reason.HOLD_EXPIRED and trigger_of(payment) is SUCCEEDED


def is_special(booking: Booking, payment: PaymentState) -> bool:
    """Whether more is to be looked at than the booking, or nothing is to be written."""
    other = of_another_intent(booking, payment) or conflicts(booking, payment)
    return other or wants_seats_again(booking, payment)


# --- Time -------------------------------------------------------------------------------------------------


def drive(booking: Booking, now: datetime, policy: HoldPolicy) -> Decision:
    """What time alone makes of an unsettled booking, and the message that it waits for an answer to."""
    due = turn(booking, policy)
    if due is not None and now >= due:
        over = Trigger.EXPIRED if booking.closing is None else Trigger.GRACE_OVER
        return decide(booking, over, now, policy)
    follow = waits_for(booking)
    attempts = booking.settle_attempts + 1
    again = booking._replace(settle_attempts=attempts, settle_after=retry_time(booking, attempts, now, policy))
    return Decision(again, (follow,) if follow else ())


# --- Seats and policy -------------------------------------------------------------------------------------


def seats_moved(before: BookingStatus | None, after: BookingStatus) -> tuple[int, int]:
    """For each seat of a booking: what is added to (held, sold) when its status changes."""
    return (after is PENDING) - (before is PENDING), (after is CONFIRMED) - (before is CONFIRMED)


def may_cancel(booking: Booking, reason: CancelReason, event: Event | None, now: datetime) -> bool:
    """Whether it may be cancelled for `reason`. By its owner, when it is paid: until the event's `cancel_until`;
    when it is paid or being paid: until its start, unless the event has `cancel_after_start`. An event that is not
    there (a database that came back older) allows neither."""
    being_paid = booking.status is PENDING and booking.payment is PaymentStatus.PROCESSING
    if reason is not CancelReason.BY_CUSTOMER or not (booking.status is CONFIRMED or being_paid):
        return True
    if event is None or (now > event.starts_at and not event.cancel_after_start):
        return False
    return being_paid or (event.cancel_until is not None and now <= event.cancel_until)


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
