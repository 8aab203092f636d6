"""The rules of a payment, pure: how a snapshot from Stripe, a request or the passing of time changes it.

Stripe's messages come late, twice, or in any order, so these rules decide whether a snapshot is applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

from common.contracts.statuses import IntentStatus
from common.contracts.values import PaymentError
from common.runtime.backoff import Retry
from payment.disputes import Dispute, summary, taken_in
from payment.refunds import DRIVE_FIRST, Refund, RefundPicture, refunded, request, take_in
from payment.refunds import unanswered as refund_unanswered
from payment.state import (
    CANCELED,
    CREATING,
    NO_CURRENCY,
    REJECTED,
    SUCCEEDED,
    TERMINAL,
    Attempt,
    Doubt,
    Payment,
    Picture,
    Source,
)

# Pauses before a report that booking has not acknowledged is published again: from the first, doubling up to the
# second. Short enough that every booking is up to date half a minute after a fault has ended.
REPORT_PAUSES = Retry(timedelta(seconds=5), timedelta(seconds=20))
# Pauses before a request that Stripe did not answer is retried. Shorter, because when Stripe comes back only one
# request of a batch is let through to find that out, and the others wait for one more retry.
DRIVE_PAUSES = Retry(timedelta(seconds=2), timedelta(seconds=15))
# Pauses before Stripe's own object is fetched again: the message may wait in a long mailbox; a fetch is costly.
LOOK_PAUSES = Retry(timedelta(seconds=15), timedelta(minutes=5))
# Pauses before a request that Stripe refused, and may accept later, is retried: long, as a person may have to act.
REFUSED_PAUSES = Retry(timedelta(minutes=1), timedelta(hours=1))
# A row is written before its intent is asked for, so an intent that is older than its row by more than this belongs
# to an earlier row. 10 s, because both ages are known only to about one second.
ROW_FIRST = timedelta(seconds=10)
# Stripe forgets an idempotency key after 24 hours: https://docs.stripe.com/api/idempotent_requests.
KEY_LIFE = timedelta(hours=23)


def take_over(old: Payment, picture: Picture, now: datetime) -> tuple[Payment, Doubt | None]:
    """The payment after `picture`, a snapshot of its intent. An attempt in the snapshot must be a new one.

    A terminal status is final, and wins over any other. Otherwise Stripe's own object, fetched, wins over a Stripe
    event, and a newer Stripe event over an older one; two different ones of the same second are a conflict. An
    attempt is not a state: it is counted even if the snapshot that shows it is not applied.
    """
    if old.status is REJECTED or (old.intent_id or picture.intent_id) != picture.intent_id:
        return old, Doubt.STRAY
    if old.terminal and old.intent_id is None:
        return old, Doubt.STRAY  # the payment was closed without an intent, and now there is one
    if picture.of_version not in (None, old.version) and picture.status not in TERMINAL:
        return old, None  # a Stripe event has changed the payment since the intent was fetched
    new, doubt = _with_state(old, picture)
    if picture.attempt is not None:
        new = _with_attempt(old, new, picture.attempt, picture)
    return (old if new is old else moved(old, new, now)), doubt


def _with_state(old: Payment, picture: Picture) -> tuple[Payment, Doubt | None]:
    if old.terminal and old.status is not picture.status:
        return old, None  # the snapshot is older than the terminal status
    if picture.source is Source.CREATED and old.status is not CREATING:
        return old, None
    new = _with_picture(old, picture)
    if old.status is CREATING or picture.status in TERMINAL or picture.source is Source.FETCHED:
        return new, None
    if old.seen_at is None or (picture.at is not None and picture.at > old.seen_at):
        return new, None
    if _visible(new) != _visible(old) and picture.at == old.seen_at:
        return old, Doubt.AMBIGUOUS
    return old, None


def _with_attempt(old: Payment, new: Payment, attempt: Attempt, picture: Picture) -> Payment:
    """`new` with one more failed attempt, and with its time unless something later is known already."""
    at = attempt.at
    left_so = picture.source is Source.FETCHED and picture.status is IntentStatus.REQUIRES_PAYMENT_METHOD
    if at is not None and left_so:
        # The fetched intent is as this attempt left it, so the attempt is later than the state that was known.
        at = max(filter(None, (at, old.seen_at)))
    late = at is None or any(at < known for known in (old.seen_at, old.last_attempt_at) if known is not None)
    counted = new._replace(failed_attempts=old.failed_attempts + 1)
    return counted if late else counted._replace(last_attempt_at=at)


def _with_picture(old: Payment, picture: Picture) -> Payment:
    # A CREATED snapshot gets no time, because every other snapshot of the intent is newer.
    at = None if picture.source is Source.CREATED else picture.at
    paid = picture.status is SUCCEEDED
    return old._replace(
        status=picture.status,
        intent_id=picture.intent_id,
        # Somebody may have changed the intent at Stripe: then the captured money is not in the booking's currency.
        currency=picture.currency or old.currency,
        # A terminal intent cannot be paid any more.
        client_secret=None if picture.status in TERMINAL else picture.client_secret or old.client_secret,
        charge_id=picture.charge_id or old.charge_id,
        amount_captured=max(old.amount_captured, picture.amount_captured),
        last_error=None if paid else picture.last_error,
        seen_at=max(filter(None, (old.seen_at, at)), default=None),
    )


def refused(old: Payment, error: PaymentError, now: datetime) -> Payment:
    """Stripe refuses to create the intent for good: a retry would not help."""
    if old.status is not CREATING:
        return old
    return moved(old, old._replace(status=REJECTED, last_error=error), now)


def unanswered(old: Payment, now: datetime, pause: timedelta) -> Payment:
    """The result of the request to Stripe is unknown: it is retried after `pause`, and never counted as failed."""
    if not needs_stripe(old):
        return old
    return old._replace(drive_after=now + pause, drive_attempts=old.drive_attempts + 1)


def with_new_key(old: Payment, now: datetime) -> Payment:
    """The idempotency key is spent and Stripe has no intent for the booking: the next request uses a new key."""
    if old.status is not CREATING:
        return old
    return old._replace(key_number=old.key_number + 1, asked_at=now, drive_after=now)


def cancel(old: Payment, now: datetime) -> Payment:
    """The payment must not be paid any more. This is saved before Stripe is asked to cancel the intent."""
    if old.terminal or old.cancel_requested:
        return old
    return old._replace(cancel_requested=True, drive_after=now + DRIVE_FIRST, drive_attempts=0)


def not_canceled(old: Payment, now: datetime) -> Payment:
    """Stripe has not canceled the intent, because a payment with it is in progress."""
    if not old.must_be_canceled:
        return old
    return moved(old, old._replace(cancel_requested=False), now)


def never_wanted(booking_id: UUID, now: datetime) -> Payment:
    """The canceled payment of a cancelled booking that had none: Stripe is never asked for an intent."""
    nothing = unknown(booking_id, now)
    return moved(nothing, nothing._replace(status=CANCELED, cancel_requested=True), now)


def unknown(booking_id: UUID, now: datetime) -> Payment:
    """A payment of which only the booking's id is known."""
    return Payment(booking_id, None, 0, NO_CURRENCY, CREATING, asked_at=now, created_at=now, updated_at=now)


def doubted(old: Payment, now: datetime) -> Payment:
    """Stripe's own object must be fetched, as after a conflict: `look_after` makes sure that it is."""
    return old._replace(doubts=old.doubts + 1, look_after=now + DRIVE_FIRST, look_attempts=0)


def found_again(row: Payment, intent: Picture, stripe_now: datetime, now: datetime) -> bool:
    """Whether the intent that Stripe returns for a row without one is older than the row. If so, a database has
    lost an earlier row, and Stripe events of that intent may have been missed. Ages are compared, so that the
    difference between Stripe's clock and ours does not matter."""
    age = stripe_now - intent.created if intent.created is not None else timedelta()
    return row.intent_id is None and age > now - row.created_at + ROW_FIRST


def looked(old: Payment, doubts: int) -> Payment:
    """Stripe's own object was fetched when the payment had this number of `doubts`: these need no other fetch, even
    if the snapshot changed nothing."""
    if old.look_after is None or old.doubts != doubts:
        return old
    return old._replace(look_after=None, look_attempts=0)


def take_disputes(old: Payment, shown: Sequence[Dispute], now: datetime) -> Payment:
    """The payment after snapshots of its disputes, `shown`, were applied."""
    disputes = taken_in(old.booking_id, old.disputes, shown)
    return moved(old, old._replace(disputes=disputes, dispute_status=summary(disputes)), now)


def take_refunds(
    old: Payment, pictures: Sequence[RefundPicture], now: datetime, *, complete: bool = False
) -> Payment:
    """The payment after snapshots of its refunds were applied. `complete`: they are all refunds that Stripe has.
    Raises DoesNotFit when more would be refunded than was captured, because a snapshot is still missing."""
    refunds = take_in(old.booking_id, old.amount_captured, old.refunds, pictures, now, complete=complete)
    return _with_refunds(old, refunds, now)


def with_request(old: Payment, id: UUID, amount: int | None, now: datetime, whole: bool | None = None) -> Payment:
    """The payment with a new refund, made by `refunds.request`."""
    refund = request(id, old.booking_id, amount, old.amount_captured, old.refunds, now, whole)
    return with_refund(old, refund, now)


def with_refund(old: Payment, refund: Refund, now: datetime) -> Payment:
    """The payment with this refund, which replaces the one with the same id."""
    known = {each.id: each for each in old.refunds} | {refund.id: refund}
    return _with_refunds(old, tuple(known.values()), now)


def _with_refunds(old: Payment, refunds: tuple[Refund, ...], now: datetime) -> Payment:
    return moved(old, old._replace(refunds=refunds, amount_refunded=refunded(refunds)), now)


def driven(old: Payment, now: datetime, spread: float) -> Payment:
    """The payment and its refunds with the next retry times of all that is due. `spread` is the jitter, 0 to 1."""
    pauses: dict[str, Any] = {}
    for name, retry in (("report", REPORT_PAUSES), ("drive", DRIVE_PAUSES), ("look", LOOK_PAUSES)):
        after, attempts = f"{name}_after", f"{name}_attempts"
        if is_due(getattr(old, after), now):
            tried = getattr(old, attempts)
            pauses |= {after: now + retry.pause(tried, spread), attempts: tried + 1}
    refunds = tuple(
        refund_unanswered(each, now, DRIVE_PAUSES.pause(each.drive_attempts, spread))
        if is_due(each.drive_after, now)
        else each
        for each in old.refunds
    )
    return old._replace(refunds=refunds, **pauses)


def is_due(after: datetime | None, now: datetime) -> bool:
    """Whether this retry time has come."""
    return after is not None and after <= now


def moved(old: Payment, new: Payment, now: datetime) -> Payment:
    """`new`, with the next version and a time to report it if a field that booking sees has changed."""
    if not needs_stripe(new):
        new = new._replace(drive_after=None, drive_attempts=0)
    if _visible(old) == _visible(new):
        return new
    report_after = now + REPORT_PAUSES.first
    return new._replace(version=new.version + 1, report_after=report_after, report_attempts=0, updated_at=now)


def _visible(payment: Payment) -> tuple[object, ...]:
    return (*_FACTS(payment), *[refund.told for refund in payment.refunds])


_FACTS = attrgetter(
    "status", "intent_id", "client_secret", "currency", "amount_captured", "amount_refunded", "last_error",
    "failed_attempts", "last_attempt_at", "disputes",
)  # fmt: skip


def needs_stripe(payment: Payment) -> bool:
    """A request to Stripe is still to be made: to create the intent, or to cancel it."""
    return payment.status is CREATING or payment.must_be_canceled


def key_is_spent(payment: Payment, now: datetime) -> bool:
    """Stripe may have forgotten the key, so a second request with it could create a second intent. Both times are
    by our clocks; the hour by which KEY_LIFE is shorter than Stripe's day is more than our clocks can differ."""
    return now - payment.asked_at >= KEY_LIFE
