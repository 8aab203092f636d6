"""What must hold for a booking, its payment and Stripe's ledger, and what is only work under way. Pure.

Each rule checks one case and says what does not match. A difference that a process is sure to remove (a report not
yet acknowledged, a row whose retry time is not long past) is work under way and not a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from ops.audit import money
from ops.audit.money import STUCK
from ops.audit.records import (
    Booking,
    Buyer,
    Case,
    CheckIn,
    EventHistory,
    Finding,
    Payment,
    PromoCode,
    Seats,
    Unsent,
    Verdict,
)
from payment.disputes import DROPPED

# The payment status that a pending booking shows, by the intent's status.
WAITING = {
    "creating": "creating",
    "requires_payment_method": "awaiting",
    "requires_confirmation": "awaiting",
    "requires_action": "action_required",
    "processing": "processing",
    "requires_capture": "processing",
}


# Why Stripe has not made a refund, or refuses it for now: the account's balance does not suffice.
WANTS_BALANCE = ("insufficient_funds", "insufficient_balance_for_refund", "balance_insufficient")

# The rule of events; the others are of bookings, or of what is counted over them.
EVENT_HISTORY = "event history"


def judge(case: Case, now: datetime) -> Verdict:
    """Everything in one case that breaks a promise, and the work under way in it."""
    complete, case = case, money.own(case, now)
    findings = [Finding(rule, case.id, text) for rule, check in RULES.items() for text in check(case, now)]
    return Verdict(tuple(findings), tuple(under_way(complete)))


def judge_seats(row: Seats) -> list[Finding]:
    """Promise 1: held and sold are the sums over the bookings, and never exceed the capacity."""
    found = []
    if row.capacity is None:
        text = f"{row.booked_held} held and {row.booked_sold} sold by bookings, and there is no such ticket type"
        return [Finding("seats", row.id, text)]
    if (row.held, row.sold) != (row.booked_held, row.booked_sold):
        counted = f"bookings hold {row.booked_held} and bought {row.booked_sold}"
        found.append(f"held {row.held}, sold {row.sold}; {counted}")
    given = max(row.held + row.sold, row.booked_held + row.booked_sold)
    if given > row.capacity:
        found.append(f"oversold: {given} seats given of {row.capacity}")
    return [Finding("seats", row.id, text) for text in found]


def judge_buyer(row: Buyer) -> list[Finding]:
    """Promise 10: what limits a buyer are the sums over its bookings."""
    if (row.seats, row.holds) == (row.booked_seats, row.booked_holds):
        return []
    booked = f"its bookings have {row.booked_seats} and {row.booked_holds}"
    return [Finding("buyers", row.key, f"{row.seats} seats and {row.holds} open holds; {booked}")]


def judge_promo_code(row: PromoCode) -> list[Finding]:
    """A promo code is used as often as its bookings say, and no more often than it may be."""
    found = []
    if (row.held, row.used) != (row.booked_held, row.booked_used):
        found.append(f"held {row.held}, used {row.used}; its bookings {row.booked_held} and {row.booked_used}")
    uses = max(row.held + row.used, row.booked_held + row.booked_used)
    if row.uses_max is not None and uses > row.uses_max:
        found.append(f"{uses} uses of {row.uses_max}")
    return [Finding("promo codes", row.key, text) for text in found]


def judge_check_in(row: CheckIn) -> list[Finding]:
    """Nobody was let in but by a seat that was sold then. The database itself lets each ticket in once."""
    found = []
    if row.status != "confirmed":
        found.append(f"its booking was {row.status or 'not there'}")
    if row.number > row.seats:
        found.append(f"seat {row.number} of {row.seats}")
    return [Finding("check-ins", row.id, text) for text in found]


def judge_unsent(row: Unsent) -> list[Finding]:
    """What is owed to somebody outside is sent, or a person knows of it."""
    if row.kind is None:
        return [Finding(row.rule, row.id, f"changed at {row.due}, which nobody has announced")]
    if row.status == "given_up":
        return [Finding(row.rule, row.id, f"{row.kind} given up: {row.error}")]
    return [Finding(row.rule, row.id, f"{row.kind} was to be sent at {row.due}, which nobody does")]


def judge_event(row: EventHistory) -> list[Finding]:
    """Every change of an event is in its history once, from the first one in it on: it began with a release."""
    if list(row.changes) == list(range(row.changes[0], row.version + 1)):
        return []
    return [Finding(EVENT_HISTORY, row.id, f"version {row.version}, history {list(row.changes)}")]


def under_way(case: Case) -> Iterator[str]:
    """The kinds of work that the actors still have to do in a case."""
    booking, payment = case.booking, case.payment
    if booking is not None and booking.status == "pending":
        yield "closing" if booking.closing is not None else "hold"
    ended = booking is not None and booking.status in ("cancelled", "failed")
    if booking is not None and ended and (booking.intent_to_cancel or money.may_pay(case)):
        yield "intent to be canceled"
    if booking is not None and booking.refund_amount is not None:
        yield "refund owed"
    if booking is not None and booking.box_office and booking.payment == "refund_pending":
        yield "refund owed at the box office"
    if any(refund.status == "requested" for refund in case.refunds):
        yield "refund asked for"
    if any(refund.status == "pending" for refund in case.refunds):
        yield "refund on its way"
    if any(stray.retry_at is not None for stray in case.strays):
        yield "stray intent to be closed"
    if payment is not None and payment.return_after is not None:
        yield "money of no booking to be returned"
    if any(refund.pending_reason in WANTS_BALANCE for refund in case.refunds):
        yield "refund waits for balance"
    if payment is None:
        return
    if not payment.reported:
        yield "report on its way"
    if payment.retry_at is not None:
        yield "Stripe to be asked"


def items(case: Case, _: datetime) -> Iterator[str]:
    """The amount of a booking is the sum of its items, less what its promo code takes off."""
    booking = case.booking
    if booking is not None and booking.amount != booking.items_amount:
        yield f"amount {booking.amount}, its items {booking.items_amount}"


def history(case: Case, _: datetime) -> Iterator[str]:
    """Each version has one row; each begins as the one before ended, and the last one ends as the booking is."""
    booking = case.booking
    if booking is None:
        return
    versions = [change.version for change in booking.history]
    if versions != list(range(1, booking.version + 1)):
        yield f"version {booking.version}, history {versions}"
        return
    before: str | None = None
    for change in booking.history:
        if change.before != before:
            yield f"version {change.version} begins as {change.before}, the one before ended as {before}"
        before = change.after
    if before != booking.status:
        yield f"{booking.status}, its history ends {before}"


def retried(case: Case, now: datetime) -> Iterator[str]:
    """Promise 2: a row that waits for something has a retry time, and is handled at that time."""
    booking, payment = case.booking, case.payment
    if booking is not None:
        what = f"{booking.status}, payment {booking.payment}, refund owed {booking.refund_amount or 0}"
        # A booking that waits for nothing has a retry time if its notification must be published again.
        yield from _in_time(what, booking.unfinished or booking.retry_at is not None, booking.retry_at, now)
    if payment is not None:
        what = f"payment's version {payment.version}, acknowledged {payment.reported_version}"
        yield from _in_time(what, payment.version != payment.reported_version, payment.report_retry_at, now)
        asks = payment.status == "creating" or (payment.cancel_requested and money.open_intent(payment))
        yield from _in_time(f"payment {payment.status}", asks, payment.retry_at, now)
    for refund in case.refunds:
        waits = refund.status == "requested"
        yield from _in_time(f"refund {refund.id} requested", waits, refund.retry_at, now)


def _in_time(what: str, waits: bool, due: datetime | None, now: datetime) -> Iterator[str]:
    if not waits:
        return
    if due is None:
        yield f"{what}: has no retry time"
    elif now - due > STUCK:
        yield f"{what}: stuck, was to be retried at {due}"


def _ended_orphan(case: Case, payment: Payment, now: datetime) -> bool:
    """Whether an orphan needs nothing more: its money is back or will go back by itself, or there was none."""
    if payment.return_after is not None:
        return now - payment.return_after <= STUCK
    back = sum(refund.amount for refund in case.refunds if refund.status != "failed")
    return payment.status in money.ENDED and back >= payment.amount_captured


def box_office(case: Case, _: datetime) -> Iterator[str]:
    """What operators sold has its money in the booking alone: Stripe and payment have nothing of it."""
    booking = case.booking
    if booking is None or not booking.box_office:
        return
    if case.payment is not None:
        yield "sold at the box office, and payment has it, too"
    left = booking.amount_captured - booking.amount_refunded
    owed = booking.status == "cancelled" and left > 0
    if booking.amount_captured != booking.amount or owed != (booking.payment == "refund_pending"):
        money_now = f"{left} left of {booking.amount_captured}, {booking.payment}"
        yield f"{booking.status}, costs {booking.amount}, {money_now}"


def payment_row(case: Case, now: datetime) -> Iterator[str]:
    """The booking and payment agree on the payment."""
    booking, payment = case.booking, case.payment
    if booking is not None and booking.box_office:
        return  # `box_office` checks it
    if booking is None:
        if payment is not None and not _ended_orphan(case, payment, now):
            yield "payment has it, and there is no such booking"
        return
    if payment is None:
        # If there never was an intent, a lost row held nothing, and booking will ask for an intent if it wants one.
        if booking.intent_id is not None or booking.amount_captured:
            yield f"intent {booking.intent_id}, captured {booking.amount_captured}, and payment has nothing of it"
        return
    if not payment.reported:
        return  # under way, and `retried` reports it when it takes too long
    pairs = (
        ("intent", booking.intent_id, payment.intent_id),
        ("captured", booking.amount_captured, payment.amount_captured),
        ("refunded", booking.amount_refunded, payment.amount_refunded),
        ("payment's version", booking.payment_version, payment.version),
    )
    yield from (f"{name} {ours}; payment: {theirs}" for name, ours, theirs in pairs if ours != theirs)
    allowed = _summaries(booking, payment, case)
    if booking.payment not in allowed:
        yield f"{booking.status}, payment {booking.payment}; payment: {payment.status}, so {' or '.join(allowed)}"


def _summaries(booking: Booking, payment: Payment, case: Case) -> tuple[str, ...]:
    """The payment statuses that the booking may show."""
    if payment.status != "succeeded":
        # A pending booking ends when its intent does.
        waiting = WAITING.get(payment.status, "ended")
        return (waiting,) if booking.status == "pending" else ("none",)
    if booking.status == "pending":
        return ("ended",)
    if payment.dispute_status is not None and payment.dispute_status not in DROPPED:
        return ("disputed",)
    if booking.refund_amount is not None:
        return ("refund_pending",)
    allowed = []
    if any(refund.status == "failed" for refund in case.refunds):
        allowed.append("refund_failed")
    if any(refund.status in ("requested", "pending") for refund in case.refunds):
        return (*allowed, "refund_pending")
    back = payment.amount_refunded
    all_back = "refunded" if payment.amount_captured else "none"
    allowed.append(all_back if back >= payment.amount_captured else "partially_refunded" if back else "paid")
    return tuple(allowed)


# The rules by the names that findings have, in the order in which they are checked.
RULES: dict[str, Callable[[Case, datetime], Iterator[str]]] = {
    "items": items,
    "history": history,
    "stuck": retried,
    "summary": payment_row,
    "box office": box_office,
    "intent": money.intent,
    "captured": money.captured,
    "one intent": money.one_intent,
    "refund": money.refunds,
    "refund twice": money.refunds_once,
}
