"""Promise 3, money is matched: the rules that compare our rows with Stripe's own ledger. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from ops.audit.records import Booking, Case, Intent, Payment, Refund
from payment.stripe_objects import REFUND_STATUSES

# States of a refund that gave nothing back: https://docs.stripe.com/api/refunds/object#refund_object-status.
VOID = ("failed", "canceled")
# A reconciler reads due rows at least every two seconds, and moves the retry time forward when it handles a row. A
# row that is overdue by this much was forgotten, or no reconciler runs.
STUCK = timedelta(minutes=2)
# States of a payment, or of an intent, through which no (more) money can come.
ENDED = ("succeeded", "canceled", "rejected")


def open_intent(payment: Payment) -> bool:
    """Whether payment knows an intent through which money can still come."""
    return payment.intent_id is not None and payment.status not in ENDED


def may_pay(case: Case) -> bool:
    """Whether there is an intent at Stripe through which money can still come."""
    return any(intent.status not in ENDED for intent in case.intents)


def own(case: Case, now: datetime) -> Case:
    """The case without these intents and their refunds: other intents than the payment's whose money was given
    back, and stray intents that payment is about to end."""
    known = case.payment.intent_id if case.payment is not None else None
    ending = {
        stray.intent_id for stray in case.strays if stray.retry_at is not None and now - stray.retry_at <= STUCK
    }
    others = {each.id for each in case.intents if each.id != known and (each.id in ending or _is_back(case, each))}
    if not others:
        return case
    return replace(
        case,
        intents=tuple(each for each in case.intents if each.id not in others),
        stripe_refunds=tuple(each for each in case.stripe_refunds if each.intent_id not in others),
    )


def _is_back(case: Case, each: Intent) -> bool:
    back = sum(
        refund.amount for refund in case.stripe_refunds if refund.intent_id == each.id and refund.status not in VOID
    )
    return each.received > 0 and back >= each.received


def intent(case: Case, _: datetime) -> Iterator[str]:
    """Payment's row and Stripe's intent agree, and neither exists without the other."""
    payment = case.payment
    if case.booking is None and payment is None:
        yield from (
            f"intent {each.id}, {each.status}, {each.received} captured: for no booking" for each in case.intents
        )
        return
    known = payment.intent_id if payment is not None else None
    for each in case.intents:
        if each.id == known and payment is not None:
            yield from _same(payment, each, case.id)
        elif not _to_be_found(payment, each):
            yield f"intent {each.id}, {each.status}, {each.received} captured: unknown to payment"
    if known is not None and known not in {each.id for each in case.intents}:
        yield f"intent {known}: not at Stripe"


def _to_be_found(payment: Payment | None, each: Intent) -> bool:
    """Whether an intent unknown to payment is no mismatch: payment has not recorded Stripe's answer yet and will
    repeat the call under the same idempotency key, or the intent is harmless."""
    will_repeat = payment is not None and payment.status == "creating" and payment.retry_at is not None
    return (will_repeat and not each.received) or _harmless(each)


def _harmless(each: Intent) -> bool:
    """Whether the intent was never paid, and can no longer be."""
    return each.status == "canceled" and not each.received


def _same(payment: Payment, each: Intent, booking_id: str) -> Iterator[str]:
    if each.booking_id != booking_id:
        yield f"intent {each.id} is at Stripe for booking {each.booking_id}"
    pairs = [("status", payment.status, each.status), ("captured", payment.amount_captured, each.received)]
    if not _harmless(each):
        # If a database lost a booking and its key was used again, this may be the first booking's intent.
        pairs += [("amount", payment.amount, each.amount), ("currency", payment.currency, each.currency)]
    yield from (f"payment: {name} {ours}; Stripe: {theirs}" for name, ours, theirs in pairs if ours != theirs)


def captured(case: Case, _: datetime) -> Iterator[str]:
    """Captured money belongs to one confirmed booking of that amount, or is given back."""
    booking = case.booking
    if booking is None or booking.box_office:
        return  # `intent` reports money for no booking, `box office` what is wrong with its sales
    paid = [each for each in case.intents if each.received]
    if len(paid) > 1:
        yield f"paid {len(paid)} times: {', '.join(each.id for each in paid)}"
    total = sum(each.received for each in paid)
    back = given_back(case)
    if back > total:
        yield f"captured {total}, given back or owed {back}: more than there was"
    if booking.status == "confirmed":
        yield from _confirmed(booking, case, paid)
    elif booking.status != "pending" and back < total and not _will_be_given_back(case):
        # A pending booking still gets the report of its money; if it does not, `intent` or `summary` says so.
        yield f"{booking.status}, captured {total}, given back or owed {back}: {total - back} kept"


def _confirmed(booking: Booking, case: Case, paid: list[Intent]) -> Iterator[str]:
    total = sum(each.received for each in paid)
    wrong_currency = [each.currency for each in paid if each.currency != booking.currency]
    if total != booking.amount or wrong_currency:
        received = f"{total} {' '.join(wrong_currency) or booking.currency}"
        yield f"confirmed for {booking.amount} {booking.currency}, captured {received}"
    arrived = sum(refund.amount for refund in case.stripe_refunds if refund.status == "succeeded")
    reported = case.payment is not None and case.payment.reported
    if total and arrived >= total and reported:
        yield f"confirmed, and all of {total} was given back"


def _will_be_given_back(case: Case) -> bool:
    """Whether the money will go back or is back: the booking has not had the report of it yet; or a part is owed or
    on its way, and the rest is owed once that has ended; or the bank has taken it back."""
    booking, payment = case.booking, case.payment
    if booking is not None and booking.refund_amount is not None:
        return True
    if any(refund.status in ("requested", "pending") for refund in case.refunds):
        return True
    return payment is not None and (not payment.reported or payment.dispute_status == "lost")


def given_back(case: Case) -> int:
    """What Stripe gave or gives back, plus what payment has yet to ask Stripe for, and booking of payment."""
    at_stripe = {refund.refund_id for refund in case.stripe_refunds}
    stripe_ids = {refund.id for refund in case.stripe_refunds}
    total = sum(refund.amount for refund in case.stripe_refunds if refund.status not in VOID)
    total += sum(
        refund.amount
        for refund in case.refunds
        if refund.status == "requested" and refund.id not in at_stripe and refund.stripe_id not in stripe_ids
    )
    booking = case.booking
    if booking is not None and booking.refund_amount is not None:
        known = {refund.id for refund in case.refunds} | at_stripe
        total += booking.refund_amount if booking.refund_id not in known else 0
    return total


def one_intent(case: Case, _: datetime) -> Iterator[str]:
    """A booking has at most one intent through which money can come or has come."""
    live = [f"{each.id} {each.status}" for each in case.intents if each.status != "canceled"]
    if len(live) > 1:
        yield f"{len(live)} live intents: {', '.join(live)}"


def refunds_once(case: Case, _: datetime) -> Iterator[str]:
    """Each of our refunds was made at most once."""
    made = Counter(refund.refund_id for refund in case.stripe_refunds if refund.refund_id is not None)
    yield from (f"refund {id}: made {count} times" for id, count in made.items() if count > 1)


def refunds(case: Case, _: datetime) -> Iterator[str]:
    """Payment and Stripe have the same refunds, and payment's sum is right."""
    at_stripe = {refund.id: refund for refund in case.stripe_refunds}
    known = {refund.stripe_id for refund in case.refunds}
    requested = {refund.id for refund in case.refunds if refund.status == "requested"}
    for theirs in case.stripe_refunds:
        # Payment will_repeat the call for a requested refund under the same key, and then records the answer.
        if theirs.id not in known and theirs.refund_id not in requested:
            yield f"{theirs.id}, {theirs.status}, of {theirs.amount} at Stripe: unknown to payment"
    for refund in case.refunds:
        if refund.stripe_id is None:
            if refund.status in ("pending", "succeeded"):
                yield f"refund {refund.id}, {refund.status}: without one at Stripe"
        elif refund.stripe_id not in at_stripe:
            yield f"refund {refund.id}: {refund.stripe_id} is not at Stripe"
        else:
            found = at_stripe[refund.stripe_id]
            status = str(REFUND_STATUSES.get(found.status, "pending"))
            if (refund.status, refund.amount) != (status, found.amount):
                yield (
                    f"refund {refund.id}: {refund.status} {refund.amount}; Stripe: {found.status} {found.amount}"
                )
    if case.payment is not None:
        yield from _sums(case.payment, case.refunds)


def _sums(payment: Payment, rows: tuple[Refund, ...]) -> Iterator[str]:
    arrived = sum(refund.amount for refund in rows if refund.status == "succeeded")
    if arrived != payment.amount_refunded:
        yield f"payment: refunded {payment.amount_refunded}, its refunds {arrived}"
    requested = sum(refund.amount for refund in rows if refund.status != "failed")
    if requested > payment.amount_captured:
        yield f"refunds of {requested}, captured {payment.amount_captured}"
