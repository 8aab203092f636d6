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
from booking.schedule import next_change, retry_time, waits_for
from booking.state import CANCELLED, CONFIRMED, FAILED, PENDING, Booking, Event, HoldPolicy, SeatMove
from booking.triggers import Cancel, Happening, Refund, Report, RetryRefunds, SetCustomer, Trigger
from common.contracts.statuses import BookingStatus, CancelReason, IntentStatus, PaymentStatus, Reason
from common.contracts.values import PaymentState

Row = tuple[tuple[Guard, Rule], ...]


def row(*when: tuple[Guard, Rule], otherwise: Rule | None = None) -> Row:
    """The rule of the first guard that fits applies."""
    return when if otherwise is None else (*when, (always, otherwise))


# The intent is live: money can still come by it.
LIVE = (Trigger.INTENT_CREATED, Trigger.DECLINED, Trigger.ACTION_REQUIRED, Trigger.PROCESSING)
CANCEL, REFUND, RETRY_REFUNDS = Trigger.CANCEL, Trigger.REFUND, Trigger.RETRY_REFUNDS
SUCCEEDED, CANCELED, REJECTED = Trigger.SUCCEEDED, Trigger.CANCELED, Trigger.INTENT_REJECTED
ENDED = (CANCELLED, FAILED)

# By status and trigger: what happens to the booking. What is not here is unexpected: nothing changes, it is logged.
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
    **{
        (status, REFUND): row((rules.at_box_office, rules.note_refund), otherwise=rules.refund)
        for status in BookingStatus
    },
    **{(status, RETRY_REFUNDS): row(otherwise=rules.retry_refund) for status in (CONFIRMED, *ENDED)},
    **{(status, Trigger.SET_CUSTOMER): row(otherwise=rules.set_customer) for status in BookingStatus},
    **{(ended, gone): row(otherwise=rules.unchanged) for ended in ENDED for gone in (CANCELED, REJECTED)},
    # The intent of a booking that has ended may still be reported as live: it is to be canceled.
    **{(ended, live): row(otherwise=rules.ask_to_cancel) for ended in ENDED for live in LIVE},
}
# All fields of a booking but those that say which report was applied last.
_but_its_report = itemgetter(
    *(number for number, name in enumerate(Booking._fields) if name not in ("payment_version", "payment_digest"))
)
_TRIGGERS: dict[type[Happening], Trigger] = {
    Cancel: CANCEL,
    Refund: REFUND,
    RetryRefunds: RETRY_REFUNDS,
    SetCustomer: Trigger.SET_CUSTOMER,
}


def _apply(booking: Booking, trigger: Trigger, carried: Happening | Report) -> Decision:
    for guard, rule in TABLE.get((booking.status, trigger), ()):
        if guard(booking, carried):
            return rule(booking, carried)
    return Decision(booking, unexpected=True)


def _versioned(before: Booking, decision: Decision, now: datetime, policy: HoldPolicy) -> Decision:
    """Count the change, if there is one, and set the booking's retry time."""
    after = decision.booking
    if _but_its_report(after) == _but_its_report(before):
        return decision
    again = retry_time(after, 0, now, policy)
    after = after._replace(version=before.version + 1, updated_at=now, retry_at=again, retry_count=0)
    return Decision(after, decision.follow_ups, decision.unexpected)


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
    """The trigger of a report, by the payment's state and not by the type: the newest report alone suffices."""
    trigger = _REPORTED.get(payment.status)
    return Trigger.DECLINED if trigger is Trigger.INTENT_CREATED and payment.last_error else trigger


def apply_report(booking: Booking, report: Report) -> Decision:
    """Apply the whole payment. A report that is no newer than the last changes nothing, unless it `_answers`."""
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
    """Whether the report shows that payment has accepted the refund owed, which may be all that is new in it."""
    return booking.refund_owed and booking.refund_id in payment.refund_ids


def of_another_intent(booking: Booking, payment: PaymentState) -> bool:
    """Whether the report is of another intent: one of the databases has lost rows. The booking keeps the intent
    that was reported to it first, because its client has that one's secret."""
    return None not in (booking.intent_id, payment.intent_id) and booking.intent_id != payment.intent_id


def conflicts(booking: Booking, payment: PaymentState) -> bool:
    """Whether another report was applied with this version: payment's database has lost that one."""
    same = payment.version == booking.payment_version and not _answers(booking, payment)
    return same and booking.payment_digest not in (None, payment.digest)


def _newer(booking: Booking, payment: PaymentState) -> datetime | None:
    """When the payment's newest attempt failed, if the booking does not know of it yet."""
    known, reported = booking.last_attempt_at, payment.last_attempt_at
    return reported if reported is not None and (known is None or reported > known) else None


def _seen(booking: Booking, payment: PaymentState, trigger: Trigger) -> Booking:
    """`booking` with the report's payment; the amounts, refunds and disputes only if the money was captured."""
    seen = booking._replace(
        payment_version=payment.version,
        payment_digest=payment.digest,
        intent_id=payment.intent_id or booking.intent_id,
        client_secret=payment.client_secret if booking.status is PENDING else None,
        intent_to_cancel=booking.intent_to_cancel and trigger in LIVE,
        last_error=payment.last_error if booking.status is PENDING else booking.last_error,
        # A payment database that was restored from a backup knows of fewer.
        attempts=max(booking.attempts, payment.attempts),
        last_attempt_at=_newer(booking, payment) or booking.last_attempt_at,
        rejection=payment.rejection or booking.rejection,
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
        refunds=booking.refunds if payment.refunds is None else payment.refunds,
    )
    if booking.refund_amount is None:
        return seen
    # What payment has accepted, or what was refunded by hand in the meantime, is no longer owed.
    owed = min(booking.refund_amount, rules.left_of(seen))
    accepted = booking.refund_id in payment.refund_ids or owed <= 0
    return seen._replace(refund_amount=None if accepted else owed)


def money_status(booking: Booking, payment: PaymentState) -> PaymentStatus:
    """How captured money stands. A refund that is owed comes before one that failed, because it is newer."""
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
    """Whether it must be known, before `payment` is applied, if the booking's seats are free."""
    return booking.reason == Reason.HOLD_EXPIRED and trigger_of(payment) is SUCCEEDED


def is_special(booking: Booking, payment: PaymentState) -> bool:
    """Whether more than the booking must be read to apply `payment`, or nothing of it is to be written."""
    other = of_another_intent(booking, payment) or conflicts(booking, payment)
    return other or wants_seats_again(booking, payment)


# --- Time -------------------------------------------------------------------------------------------------


def retry(booking: Booking, now: datetime, policy: HoldPolicy) -> Decision:
    """What time alone makes of a booking that waits for something, and the message that asks for it once more."""
    change_at = next_change(booking, policy)
    if change_at is not None and now >= change_at:
        over = Trigger.EXPIRED if booking.closing is None else Trigger.GRACE_OVER
        return decide(booking, over, now, policy)
    follow_up = waits_for(booking)
    count = booking.retry_count + 1
    retried = booking._replace(retry_at=retry_time(booking, count, now, policy), retry_count=count)
    return Decision(retried, (follow_up,) if follow_up else ())


# --- Seats and policy -------------------------------------------------------------------------------------


def seats_moved(before: BookingStatus | None, after: BookingStatus) -> tuple[int, int]:
    """For each seat of a booking: what is added to (held, sold) when its status changes."""
    return (after is PENDING) - (before is PENDING), (after is CONFIRMED) - (before is CONFIRMED)


def may_cancel(booking: Booking, reason: CancelReason, event: Event | None, now: datetime) -> bool:
    """Whether the booking may be cancelled for `reason`. The event binds only owners: a paid booking until
    `cancel_until`, a paid one or one that is being paid until the start, unless it has `cancel_after_start`.
    Neither is allowed if the event does not exist (its database was restored from a backup)."""
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
                for type_id, quantity, _, _ in after.items_left
            ]
        elif before is not None and after.cancelled_seats != before.cancelled_seats:
            found += [
                SeatMove(after.id, was.ticket_type_id, 0, left.quantity - was.quantity)
                for was, left in zip(before.items_left, after.items_left, strict=True)
                if left != was
            ]
    return found
