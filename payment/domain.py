"""The rules of a payment's life, pure: what becomes of it by what Stripe shows, and what follows from both.

Stripe's messages come late, twice, or in any order, so a payment takes a picture of its intent over by rule only.
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

# A report that the booking does not acknowledge is told again after the first, doubling up to the second:
# short enough for all to be well half a minute after a fault has ended.
REPORT_PAUSES = Retry(timedelta(seconds=5), timedelta(seconds=20))
# What Stripe did not answer is asked again in the same way. Shorter: of a batch that is asked for when Stripe is
# just back, a single request finds that out, and the others wait once more.
DRIVE_PAUSES = Retry(timedelta(seconds=2), timedelta(seconds=15))
# A doubt is looked into again after so long: the request may wait in a long queue, and each look costs calls.
LOOK_PAUSES = Retry(timedelta(seconds=15), timedelta(minutes=5))
# What Stripe refuses, and may allow later, is asked again after the first, doubling up to the second.
REFUSED_PAUSES = Retry(timedelta(minutes=1), timedelta(hours=1))
# A row is there before its intent is asked for. Both ages are known to a second or so.
ROW_FIRST = timedelta(seconds=10)
# Stripe forgets an idempotency key after 24 hours: https://docs.stripe.com/api/idempotent_requests.
KEY_LIFE = timedelta(hours=23)


def take_over(old: Payment, picture: Picture, now: datetime) -> tuple[Payment, Doubt | None]:
    """The payment after `picture` of its intent was seen. An attempt in it is one that was not known before.

    Terminal statuses never leave, and always win. Among the others Stripe's own object, fetched, wins over an
    event; a younger event wins over an older one; of two from the same second neither is trusted. An attempt is
    a happening and no state: it counts whatever becomes of the picture that tells of it.
    """
    if old.status is REJECTED or (old.intent_id or picture.intent_id) != picture.intent_id:
        return old, Doubt.STRAY
    if old.terminal and old.intent_id is None:
        return old, Doubt.STRAY  # an intent turned up where none was thought to be
    if picture.of_version not in (None, old.version) and picture.status not in TERMINAL:
        return old, None  # an event has come in since Stripe was asked
    new, doubt = _with_state(old, picture)
    if picture.attempt is not None:
        new = _with_attempt(old, new, picture.attempt, picture)
    return (old if new is old else moved(old, new, now)), doubt


def _with_state(old: Payment, picture: Picture) -> tuple[Payment, Doubt | None]:
    if old.terminal and old.status is not picture.status:
        return old, None  # news is older than the end
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
    """`new` with one attempt more. It gives its time unless something that happened after it is known already."""
    at = attempt.at
    left_so = picture.source is Source.FETCHED and picture.status is IntentStatus.REQUIRES_PAYMENT_METHOD
    if at is not None and left_so:
        # The intent is as this attempt has left it: it failed after the state that was known.
        at = max(filter(None, (at, old.seen_at)))
    late = at is None or any(at < known for known in (old.seen_at, old.last_attempt_at) if known is not None)
    counted = new._replace(failed_attempts=old.failed_attempts + 1)
    return counted if late else counted._replace(last_attempt_at=at)


def _with_picture(old: Payment, picture: Picture) -> Payment:
    # As it was made, an intent has no age: whatever else Stripe tells of it is younger.
    at = None if picture.source is Source.CREATED else picture.at
    paid = picture.status is SUCCEEDED
    return old._replace(
        status=picture.status,
        intent_id=picture.intent_id,
        # Somebody may have changed it at Stripe: then what is captured is not what the booking costs.
        currency=picture.currency or old.currency,
        # Nothing can be paid with it any more.
        client_secret=None if picture.status in TERMINAL else picture.client_secret or old.client_secret,
        charge_id=picture.charge_id or old.charge_id,
        amount_captured=max(old.amount_captured, picture.amount_captured),
        last_error=None if paid else picture.last_error,
        seen_at=max(filter(None, (old.seen_at, at)), default=None),
    )


def refused(old: Payment, error: PaymentError, now: datetime) -> Payment:
    """Stripe will not make an intent of this: asking again would not help."""
    if old.status is not CREATING:
        return old
    return moved(old, old._replace(status=REJECTED, last_error=error), now)


def unanswered(old: Payment, now: datetime, pause: timedelta) -> Payment:
    """Stripe did not say what became of the request: it is asked again, never counted as failed."""
    if not needs_stripe(old):
        return old
    return old._replace(drive_after=now + pause, drive_attempts=old.drive_attempts + 1)


def with_new_key(old: Payment, now: datetime) -> Payment:
    """The idempotency key is spent and Stripe has no intent for the booking: the next request has a new key."""
    if old.status is not CREATING:
        return old
    return old._replace(key_number=old.key_number + 1, asked_at=now, drive_after=now)


def cancel(old: Payment, now: datetime) -> Payment:
    """No money shall come by it any more. Where Stripe has still to be asked, that is noted first."""
    if old.terminal or old.cancel_requested:
        return old
    return old._replace(cancel_requested=True, drive_after=now + DRIVE_FIRST, drive_attempts=0)


def not_canceled(old: Payment, now: datetime) -> Payment:
    """Stripe has answered, and the intent lives on: its payment is under way and cannot be canceled now."""
    if not old.must_be_canceled:
        return old
    return moved(old, old._replace(cancel_requested=False), now)


def never_wanted(booking_id: UUID, now: datetime) -> Payment:
    """A booking is cancelled of which nothing was heard before: so Stripe was never asked, nor will it be."""
    nothing = unknown(booking_id, now)
    return moved(nothing, nothing._replace(status=CANCELED, cancel_requested=True), now)


def unknown(booking_id: UUID, now: datetime) -> Payment:
    """A payment of which nothing is known but its booking's id."""
    return Payment(booking_id, None, 0, NO_CURRENCY, CREATING, asked_at=now, created_at=now, updated_at=now)


def doubted(old: Payment, now: datetime) -> Payment:
    """An event did not say enough: Stripe's own object has to be looked at, even if the first request is lost."""
    return old._replace(doubts=old.doubts + 1, look_after=now + DRIVE_FIRST, look_attempts=0)


def found_again(row: Payment, intent: Picture, stripe_now: datetime, now: datetime) -> bool:
    """Whether the intent that Stripe shows for a row without one is older than the row: then a database has lost
    the row's predecessor, and events of that intent may have come while no row knew of it. Their ages are compared,
    each by its own clock."""
    age = stripe_now - intent.created if intent.created is not None else timedelta()
    return row.intent_id is None and age > now - row.created_at + ROW_FIRST


def looked(old: Payment, doubts: int) -> Payment:
    """Stripe's own object was asked for when the payment had so many `doubts`: what it says settles those, whether
    or not anything was to be taken over."""
    if old.look_after is None or old.doubts != doubts:
        return old
    return old._replace(look_after=None, look_attempts=0)


def take_disputes(old: Payment, shown: Sequence[Dispute], now: datetime) -> Payment:
    """The payment after Stripe has shown disputes of it, each by itself."""
    disputes = taken_in(old.booking_id, old.disputes, shown)
    return moved(old, old._replace(disputes=disputes, dispute_status=summary(disputes)), now)


def take_refunds(
    old: Payment, pictures: Sequence[RefundPicture], now: datetime, *, complete: bool = False
) -> Payment:
    """The payment after pictures of its refunds were seen. `complete`: they are all that Stripe has. Raises
    DoesNotFit when they fit only together with others that are not seen yet."""
    refunds = take_in(old.booking_id, old.amount_captured, old.refunds, pictures, now, complete=complete)
    return _with_refunds(old, refunds, now)


def with_request(old: Payment, id: UUID, amount: int | None, now: datetime, whole: bool | None = None) -> Payment:
    """The payment with a new refund, as `refunds.request` makes it."""
    refund = request(id, old.booking_id, amount, old.amount_captured, old.refunds, now, whole)
    return with_refund(old, refund, now)


def with_refund(old: Payment, refund: Refund, now: datetime) -> Payment:
    """The payment with this refund, which it may have in another state."""
    known = {each.id: each for each in old.refunds} | {refund.id: refund}
    return _with_refunds(old, tuple(known.values()), now)


def _with_refunds(old: Payment, refunds: tuple[Refund, ...], now: datetime) -> Payment:
    return moved(old, old._replace(refunds=refunds, amount_refunded=refunded(refunds)), now)


def driven(old: Payment, now: datetime, spread: float) -> Payment:
    """What is due is asked for again: the payment with its next times, and those of its refunds."""
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
    """Whether what has this retry time is to be tried again."""
    return after is not None and after <= now


def moved(old: Payment, new: Payment, now: datetime) -> Payment:
    """`new` with its version and its times: what the booking can see is a new version and is reported."""
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
    """Stripe has to be asked for the payment to go on, and nobody else will do it."""
    return payment.status is CREATING or payment.must_be_canceled


def key_is_spent(payment: Payment, now: datetime) -> bool:
    """Stripe may have forgotten the key: a second request under it could make a second intent. Both times are ours;
    the hour that is left of Stripe's day is more than two of our clocks are apart."""
    return now - payment.asked_at >= KEY_LIFE
