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
from common.contracts.values import PaymentError, Rejection
from common.runtime.backoff import Retry
from payment.disputes import Dispute, summary, updated_disputes
from payment.refunds import RETRY_FIRST, Refund, RefundSnapshot, refunded, request, updated_refunds
from payment.refunds import unanswered as refund_unanswered
from payment.state import (
    CANCELED,
    CREATING,
    NO_CURRENCY,
    REJECTED,
    SUCCEEDED,
    TERMINAL,
    Attempt,
    IntentSnapshot,
    Payment,
    SnapshotConflict,
    Source,
)

# Pauses before a report that booking has not acknowledged is published again: from the first, doubling up to the
# second. Short enough that every booking is up to date half a minute after a fault has ended.
REPORT_PAUSES = Retry(timedelta(seconds=5), timedelta(seconds=20))
# Pauses before a request that Stripe did not answer is retried. Shorter, because when Stripe comes back only one
# request of a batch is let through to find that out, and the others wait for one more retry.
RETRY_PAUSES = Retry(timedelta(seconds=2), timedelta(seconds=15))
# Pauses before Stripe's own object is fetched again: the message may wait in a long mailbox; a fetch is costly.
CHECK_PAUSES = Retry(timedelta(seconds=15), timedelta(minutes=5))
# Pauses before a request that Stripe refused, and may accept later, is retried: long, as a person may have to act.
REFUSED_PAUSES = Retry(timedelta(minutes=1), timedelta(hours=1))
# A row is written before its intent is asked for, so an intent that is older than its row by more than this belongs
# to an earlier row. 10 s, because both ages are known only to about one second.
ROW_FIRST = timedelta(seconds=10)
# The parameter of Stripe's that may be left out.
RECEIPT_EMAIL = "receipt_email"
# Stripe forgets an idempotency key after 24 hours: https://docs.stripe.com/api/idempotent_requests.
KEY_LIFE = timedelta(hours=23)


def apply_snapshot(
    old: Payment, snapshot: IntentSnapshot, now: datetime
) -> tuple[Payment, SnapshotConflict | None]:
    """The payment after this snapshot of its intent. An attempt in the snapshot must be a new one.

    A terminal status is final, and wins over any other. Otherwise Stripe's own object, fetched, wins over a Stripe
    event, and a newer Stripe event over an older one; two different ones of the same second are a conflict. An
    attempt is not a state: it is counted even if the snapshot that shows it is not applied.
    """
    if old.status is REJECTED or (old.intent_id or snapshot.intent_id) != snapshot.intent_id:
        return old, SnapshotConflict.STRAY
    if old.terminal and old.intent_id is None:
        return old, SnapshotConflict.STRAY  # the payment was closed without an intent, and now there is one
    if snapshot.of_version not in (None, old.version) and snapshot.status not in TERMINAL:
        return old, None  # a Stripe event has changed the payment since the intent was fetched
    new, conflict = _with_state(old, snapshot)
    if snapshot.attempt is not None:
        new = _with_attempt(old, new, snapshot.attempt, snapshot)
    return (old if new is old else moved(old, new, now)), conflict


def _with_state(old: Payment, snapshot: IntentSnapshot) -> tuple[Payment, SnapshotConflict | None]:
    if old.terminal and old.status is not snapshot.status:
        return old, None  # the snapshot is older than the terminal status
    if snapshot.source is Source.CREATED and old.status is not CREATING:
        return old, None
    new = _with_snapshot(old, snapshot)
    if old.status is CREATING or snapshot.status in TERMINAL or snapshot.source is Source.FETCHED:
        return new, None
    if old.seen_at is None or (snapshot.at is not None and snapshot.at > old.seen_at):
        return new, None
    if _visible(new) != _visible(old) and snapshot.at == old.seen_at:
        return old, SnapshotConflict.AMBIGUOUS
    return old, None


def _with_attempt(old: Payment, new: Payment, attempt: Attempt, snapshot: IntentSnapshot) -> Payment:
    """`new` with one more failed attempt, and with its time unless something later is known already."""
    at = attempt.at
    as_left = snapshot.source is Source.FETCHED and snapshot.status is IntentStatus.REQUIRES_PAYMENT_METHOD
    if at is not None and as_left:
        # The fetched intent is as this attempt left it, so the attempt is later than the state that was known.
        at = max(filter(None, (at, old.seen_at)))
    late = at is None or any(at < known for known in (old.seen_at, old.last_attempt_at) if known is not None)
    counted = new._replace(failed_attempts=old.failed_attempts + 1)
    return counted if late else counted._replace(last_attempt_at=at)


def _with_snapshot(old: Payment, snapshot: IntentSnapshot) -> Payment:
    # A CREATED snapshot gets no time, because every other snapshot of the intent is newer.
    at = None if snapshot.source is Source.CREATED else snapshot.at
    paid = snapshot.status is SUCCEEDED
    return old._replace(
        status=snapshot.status,
        intent_id=snapshot.intent_id,
        # Somebody may have changed the intent at Stripe: then the captured money is not in the booking's currency.
        currency=snapshot.currency or old.currency,
        # Stripe has it now, and is not asked again.
        receipt_email=None,
        # A terminal intent cannot be paid any more.
        client_secret=None if snapshot.status in TERMINAL else snapshot.client_secret or old.client_secret,
        charge_id=snapshot.charge_id or old.charge_id,
        amount_captured=max(old.amount_captured, snapshot.amount_captured),
        last_error=None if paid else snapshot.last_error,
        seen_at=max(filter(None, (old.seen_at, at)), default=None),
    )


def refused(old: Payment, rejection: Rejection, now: datetime) -> Payment:
    """Stripe refuses to create the intent for good: a retry would not help. But a booking does not fail because of
    the address for its receipt: it does without one, under another key."""
    if old.status is not CREATING:
        return old
    if rejection.param == RECEIPT_EMAIL and old.receipt_email is not None:
        return with_new_key(old._replace(receipt_email=None), now)
    error = PaymentError(rejection.code, message=rejection.message)
    after = old._replace(status=REJECTED, last_error=error, rejection=rejection, receipt_email=None)
    return moved(old, after, now)


def unanswered(old: Payment, now: datetime, pause: timedelta) -> Payment:
    """The result of the request to Stripe is unknown: it is retried after `pause`, and never counted as failed."""
    if not needs_stripe(old):
        return old
    return old._replace(retry_at=now + pause, retry_count=old.retry_count + 1)


def with_new_key(old: Payment, now: datetime) -> Payment:
    """The idempotency key is spent and Stripe has no intent for the booking: the next request uses a new key."""
    if old.status is not CREATING:
        return old
    return old._replace(key_number=old.key_number + 1, asked_at=now, retry_at=now)


def cancel(old: Payment, now: datetime, *, deferred: bool = False) -> Payment:
    """The payment must not be paid any more. This is saved before Stripe is asked to cancel the intent."""
    if old.terminal or old.cancel_requested:
        return old
    return old._replace(cancel_requested=True, deferred=deferred, retry_at=now + RETRY_FIRST, retry_count=0)


def not_canceled(old: Payment, now: datetime) -> Payment:
    """Stripe has not canceled the intent, because a payment with it is in progress."""
    if not old.must_be_canceled:
        return old
    return moved(old, old._replace(cancel_requested=False), now)


def never_wanted(booking_id: UUID, now: datetime) -> Payment:
    """The canceled payment of a cancelled booking that had none: Stripe is never asked for an intent."""
    new = unknown(booking_id, now)
    return moved(new, new._replace(status=CANCELED, cancel_requested=True), now)


def unknown(booking_id: UUID, now: datetime) -> Payment:
    """A payment of which only the booking's id is known."""
    return Payment(booking_id, None, 0, NO_CURRENCY, CREATING, asked_at=now, created_at=now, updated_at=now)


def conflicting(old: Payment, now: datetime) -> Payment:
    """Stripe's own object must be fetched, as after a conflict: `check_at` makes sure that it is."""
    return old._replace(conflicts=old.conflicts + 1, check_at=now + RETRY_FIRST, check_count=0)


def found_again(row: Payment, intent: IntentSnapshot, stripe_now: datetime, now: datetime) -> bool:
    """Whether the intent that Stripe returns for a row without one is older than the row. If so, a database has
    lost an earlier row, and Stripe events of that intent may have been missed. Ages are compared, so that the
    difference between Stripe's clock and ours does not matter."""
    age = stripe_now - intent.created if intent.created is not None else timedelta()
    return row.intent_id is None and age > now - row.created_at + ROW_FIRST


def checked(old: Payment, conflicts: int) -> Payment:
    """Stripe's own object was fetched when the payment had this number of `conflicts`: they need no other fetch,
    even if the snapshot changed nothing."""
    if old.check_at is None or old.conflicts != conflicts:
        return old
    return old._replace(check_at=None, check_count=0)


def apply_disputes(old: Payment, shown: Sequence[Dispute], now: datetime) -> Payment:
    """The payment after snapshots of its disputes, `shown`, were applied."""
    disputes = updated_disputes(old.booking_id, old.disputes, shown)
    return moved(old, old._replace(disputes=disputes, dispute_status=summary(disputes)), now)


def apply_refunds(
    old: Payment, snapshots: Sequence[RefundSnapshot], now: datetime, *, complete: bool = False
) -> Payment:
    """The payment after snapshots of its refunds were applied. `complete`: they are all refunds that Stripe has.
    Raises DoesNotFit when more would be refunded than was captured, because a snapshot is still missing."""
    refunds = updated_refunds(old.booking_id, old.amount_captured, old.refunds, snapshots, now, complete=complete)
    return _with_refunds(old, refunds, now)


def with_request(
    old: Payment, id: UUID, amount: int | None, now: datetime, whole: bool | None = None, by: str | None = None
) -> Payment:
    """The payment with a new refund, made by `refunds.request`."""
    refund = request(id, old.booking_id, amount, old.amount_captured, old.refunds, now, whole, by)
    return with_refund(old, refund, now)


def with_refund(old: Payment, refund: Refund, now: datetime) -> Payment:
    """The payment with this refund, which replaces the one with the same id."""
    known = {each.id: each for each in old.refunds} | {refund.id: refund}
    return _with_refunds(old, tuple(known.values()), now)


def _with_refunds(old: Payment, refunds: tuple[Refund, ...], now: datetime) -> Payment:
    return moved(old, old._replace(refunds=refunds, amount_refunded=refunded(refunds)), now)


def retried(old: Payment, now: datetime, spread: float) -> Payment:
    """The payment and its refunds with the next retry times of all that is due. `spread` is the jitter, 0 to 1."""
    retries: dict[str, Any] = {}
    for at, count, retry in (
        ("report_retry_at", "report_retry_count", REPORT_PAUSES),
        ("retry_at", "retry_count", RETRY_PAUSES),
        ("check_at", "check_count", CHECK_PAUSES),
    ):
        if is_due(getattr(old, at), now):
            retries |= {at: now + retry.pause(getattr(old, count), spread), count: getattr(old, count) + 1}
    refunds = tuple(
        refund_unanswered(each, now, RETRY_PAUSES.pause(each.retry_count, spread))
        if is_due(each.retry_at, now)
        else each
        for each in old.refunds
    )
    return old._replace(refunds=refunds, **retries)


def is_due(retry_at: datetime | None, now: datetime) -> bool:
    """Whether this retry time has come."""
    return retry_at is not None and retry_at <= now


def moved(old: Payment, new: Payment, now: datetime) -> Payment:
    """`new`, with the next version and a time to report it if a field that booking sees has changed."""
    if not needs_stripe(new):
        new = new._replace(retry_at=None, retry_count=0)
    if _visible(old) == _visible(new):
        return new
    retry_at = now + REPORT_PAUSES.first
    return new._replace(version=new.version + 1, report_retry_at=retry_at, report_retry_count=0, updated_at=now)


def _visible(payment: Payment) -> tuple[object, ...]:
    disputes = [dispute.shown for dispute in payment.disputes]  # without the time of the snapshot
    return (*_FACTS(payment), disputes, *[refund.visible for refund in payment.refunds])


_FACTS = attrgetter(
    "status", "intent_id", "client_secret", "currency", "amount_captured", "amount_refunded", "last_error",
    "failed_attempts", "last_attempt_at",
)  # fmt: skip


def needs_stripe(payment: Payment) -> bool:
    """A request to Stripe is still to be made: to create the intent, or to cancel it."""
    return payment.status is CREATING or payment.must_be_canceled


def key_is_spent(payment: Payment, now: datetime) -> bool:
    """Stripe may have forgotten the key, so a second request with it could create a second intent. Both times are
    by our clocks; the hour by which KEY_LIFE is shorter than Stripe's day is more than our clocks can differ."""
    return now - payment.asked_at >= KEY_LIFE
