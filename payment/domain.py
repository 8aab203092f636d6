"""The life of a payment, pure: what is known of it, what Stripe shows, and what follows from both.

A payment mirrors Stripe's PaymentIntent (https://docs.stripe.com/payments/paymentintents/lifecycle). Stripe's
messages come late, twice, or in any order, so a payment takes a picture of its intent over by rule only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

from common.contracts.statuses import IntentStatus, PaymentMethods
from common.contracts.values import PaymentError
from common.runtime.backoff import Retry
from payment.disputes import DROPPED, Dispute, DisputePicture, summary, taken_in
from payment.refunds import Refund, RefundPicture, left, refunded, take_in

CREATING, CANCELED = IntentStatus.CREATING, IntentStatus.CANCELED
SUCCEEDED, REJECTED = IntentStatus.SUCCEEDED, IntentStatus.REJECTED
TERMINAL = frozenset({SUCCEEDED, CANCELED, REJECTED})

# ISO 4217's code for "no currency": of a booking that was cancelled before its price was heard of.
NO_CURRENCY = "xxx"

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
# Before a handler asks Stripe it leaves this behind, for the case that it dies: longer than it may take.
DRIVE_FIRST = timedelta(seconds=15)
# Stripe forgets an idempotency key after 24 hours: https://docs.stripe.com/api/idempotent_requests.
KEY_LIFE = timedelta(hours=23)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to pay that failed. `id` is its charge's; of one that made no charge, as where the customer did
    not pass 3-D Secure, that of the Stripe event that told of it. `at`: Stripe's time, where it is known."""

    id: str
    error: PaymentError
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment, with its refunds and disputes, each oldest first. Amounts in the minor unit. `seen_at` is
    Stripe's time of the picture last taken over; `asked_at` when Stripe was first asked for an intent under key
    `key_number`. `last_attempt_at` is Stripe's time of the newest of the `failed_attempts` that was news when it
    was heard of. `revision` is its row's, as it was read or written last."""

    booking_id: UUID
    event_id: UUID | None
    amount: int
    currency: str
    status: IntentStatus
    asked_at: datetime
    created_at: datetime
    updated_at: datetime
    payment_methods: PaymentMethods = PaymentMethods.ALL
    intent_id: str | None = None
    client_secret: str | None = None
    charge_id: str | None = None
    amount_captured: int = 0
    amount_refunded: int = 0
    last_error: PaymentError | None = None
    failed_attempts: int = 0
    last_attempt_at: datetime | None = None
    # What its disputes come to: `payment.disputes.summary`.
    dispute_status: str | None = None
    cancel_requested: bool = False
    seen_at: datetime | None = None
    key_number: int = 1
    drive_after: datetime | None = None
    drive_attempts: int = 0
    # Events so far that did not say enough; `look_after` while Stripe's own object has not been looked at since.
    doubts: int = 0
    look_after: datetime | None = None
    look_attempts: int = 0
    version: int = 0
    reported_version: int = 0
    report_after: datetime | None = None
    report_attempts: int = 0
    orphaned_at: datetime | None = None
    return_after: datetime | None = None
    return_decided: bool = False
    refunds: tuple[Refund, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    revision: str = ""

    @property
    def left(self) -> int:
        """What may still be given back."""
        return left(self.amount_captured, self.refunds)

    def refund(self, id: UUID) -> Refund | None:
        """The refund of this id, if it has one."""
        return next((refund for refund in self.refunds if refund.id == id), None)

    @property
    def unpaid(self) -> bool:
        """Nothing was captured: it has neither refunds nor disputes."""
        return self.amount_captured == 0 and self.dispute_status is None

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def live(self) -> bool:
        """There is an intent, and money can still come by it."""
        return self.intent_id is not None and not self.terminal

    @property
    def must_be_canceled(self) -> bool:
        return self.cancel_requested and self.live

    @property
    def idempotency_key(self) -> str:
        return numbered_key(self.booking_id, self.key_number)

    @property
    def disputed(self) -> bool:
        """A bank has, or may get, the money back."""
        return self.dispute_status is not None and self.dispute_status not in DROPPED


def numbered_key(id: UUID, number: int) -> str:
    """Stripe's idempotency key for what has `id`; another number where the first key is spent."""
    return str(id) if number == 1 else f"{id}-{number}"


# --- What Stripe shows --------------------------------------------------------------------------------------


class Source(Enum):
    """Where a picture is from. CREATED shows an intent as it was made, however late it arrives: Stripe answers
    a repeated idempotency key with the first answer."""

    CREATED = "created"
    EVENT = "event"
    FETCHED = "fetched"


@dataclass(frozen=True, slots=True)
class Picture:
    """A PaymentIntent as Stripe showed it. `at` is Stripe's time, to the second; `attempt` what `last_error` is
    about, where it can be told from others; `of_version` the payment's version when a fetched one was asked for.
    The last four are what it says of itself: what it is to bring, and the ids in its metadata."""

    intent_id: str
    status: IntentStatus
    source: Source
    at: datetime | None
    client_secret: str | None = None
    charge_id: str | None = None
    amount_captured: int = 0
    last_error: PaymentError | None = None
    attempt: Attempt | None = None
    of_version: int | None = None
    currency: str | None = None
    amount: int = 0
    booking_id: UUID | None = None
    event_id: UUID | None = None
    installation: str | None = None
    # When Stripe made it, by its clock.
    created: datetime | None = None


class Doubt(Enum):
    """Why a picture was not simply taken over."""

    AMBIGUOUS = "ambiguous"  # as old as the one we have, and different: Stripe's own object decides
    STRAY = "stray"  # of another intent than the payment's


@dataclass(frozen=True, slots=True)
class Outcome:
    payment: Payment
    doubt: Doubt | None = None


# --- The rules ----------------------------------------------------------------------------------------------


def take_over(old: Payment, picture: Picture, now: datetime) -> Outcome:
    """The payment after `picture` of its intent was seen. An attempt in it is one that was not known before.

    Terminal statuses never leave, and always win. Among the others Stripe's own object, fetched, wins over an
    event; a younger event wins over an older one; of two from the same second neither is trusted. An attempt is
    a happening and no state: it counts whatever becomes of the picture that tells of it.
    """
    if old.status is REJECTED or (old.intent_id or picture.intent_id) != picture.intent_id:
        return Outcome(old, Doubt.STRAY)
    if old.terminal and old.intent_id is None:
        return Outcome(old, Doubt.STRAY)  # an intent turned up where none was thought to be
    if picture.of_version not in (None, old.version) and picture.status not in TERMINAL:
        return Outcome(old)  # an event has come in since Stripe was asked
    new, doubt = _with_state(old, picture)
    if picture.attempt is not None:
        new = _with_attempt(old, new, picture.attempt, picture)
    return Outcome(old if new is old else moved(old, new, now), doubt)


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
    counted = replace(new, failed_attempts=old.failed_attempts + 1)
    return counted if late else replace(counted, last_attempt_at=at)


def _with_picture(old: Payment, picture: Picture) -> Payment:
    # As it was made, an intent has no age: whatever else Stripe tells of it is younger.
    at = None if picture.source is Source.CREATED else picture.at
    paid = picture.status is SUCCEEDED
    return replace(
        old,
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


def wanted(
    booking_id: UUID, event_id: UUID, amount: int, currency: str, methods: PaymentMethods, now: datetime
) -> Payment:
    """A payment whose intent is wanted, before Stripe is asked for it."""
    return Payment(
        booking_id=booking_id,
        event_id=event_id,
        amount=amount,
        currency=currency,
        status=CREATING,
        asked_at=now,
        created_at=now,
        updated_at=now,
        payment_methods=methods,
        drive_after=now + DRIVE_FIRST,
    )


def refused(old: Payment, error: PaymentError, now: datetime) -> Payment:
    """Stripe will not make an intent of this: asking again would not help."""
    if old.status is not CREATING:
        return old
    return moved(old, replace(old, status=REJECTED, last_error=error), now)


def unanswered(old: Payment, now: datetime, spread: float, pauses: Retry = DRIVE_PAUSES) -> Payment:
    """Stripe did not say what became of the request: it is asked again, never counted as failed."""
    if not needs_stripe(old):
        return old
    attempts = old.drive_attempts + 1
    return replace(old, drive_after=now + pauses.pause(old.drive_attempts, spread), drive_attempts=attempts)


def with_new_key(old: Payment, now: datetime) -> Payment:
    """The idempotency key is spent and Stripe has no intent for the booking: the next request has a new key."""
    if old.status is not CREATING:
        return old
    return replace(old, key_number=old.key_number + 1, asked_at=now, drive_after=now)


def cancel(old: Payment, now: datetime) -> Payment:
    """No money shall come by it any more. Where Stripe has still to be asked, that is noted first."""
    if old.terminal or old.cancel_requested:
        return old
    return replace(old, cancel_requested=True, drive_after=now + DRIVE_FIRST, drive_attempts=0)


def not_canceled(old: Payment, now: datetime) -> Payment:
    """Stripe has answered, and the intent lives on: its payment is under way and cannot be canceled now."""
    if not old.must_be_canceled:
        return old
    return moved(old, replace(old, cancel_requested=False), now)


def never_wanted(booking_id: UUID, now: datetime) -> Payment:
    """A booking is cancelled of which nothing was heard before: so Stripe was never asked, nor will it be."""
    nothing = Payment(booking_id, None, 0, NO_CURRENCY, CREATING, asked_at=now, created_at=now, updated_at=now)
    return moved(nothing, replace(nothing, status=CANCELED, cancel_requested=True), now)


def doubted(old: Payment, now: datetime) -> Payment:
    """An event did not say enough: Stripe's own object has to be looked at, even if the first request is lost."""
    return replace(old, doubts=old.doubts + 1, look_after=now + DRIVE_FIRST, look_attempts=0)


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
    return replace(old, look_after=None, look_attempts=0)


def take_disputes(old: Payment, pictures: Sequence[DisputePicture], now: datetime) -> Payment:
    """The payment after pictures of its disputes were seen, each by itself."""
    disputes = taken_in(old.booking_id, old.disputes, pictures)
    if disputes == old.disputes:
        return old
    return _told(replace(old, disputes=disputes, dispute_status=summary(disputes)), now)


def take_refunds(
    old: Payment, pictures: Sequence[RefundPicture], now: datetime, *, complete: bool = False
) -> Payment:
    """The payment after pictures of its refunds were seen. `complete`: they are all that Stripe has. Raises
    DoesNotFit when they fit only together with others that are not seen yet."""
    refunds = take_in(old.booking_id, old.amount_captured, old.refunds, pictures, now, complete=complete)
    return with_refunds(old, refunds, now)


def with_refunds(old: Payment, refunds: tuple[Refund, ...], now: datetime) -> Payment:
    """The payment with these refunds: a new version where the booking is told of what is new in them."""
    if refunds == old.refunds:
        return old
    new = replace(old, refunds=refunds, amount_refunded=refunded(refunds))
    return new if [each.told for each in refunds] == [each.told for each in old.refunds] else _told(new, now)


def with_refund(old: Payment, refund: Refund, now: datetime) -> Payment:
    """The payment with this refund, which it may have in another state."""
    if old.refund(refund.id) is None:
        return with_refunds(old, (*old.refunds, refund), now)
    return with_refunds(old, tuple(refund if each.id == refund.id else each for each in old.refunds), now)


def moved(old: Payment, new: Payment, now: datetime) -> Payment:
    """`new` with its version and its times: what the booking can see is a new version and is reported."""
    if not needs_stripe(new):
        new = replace(new, drive_after=None, drive_attempts=0)
    if _visible(old) == _visible(new):
        return new
    return _told(new, now)


def _told(new: Payment, now: datetime) -> Payment:
    return replace(
        new,
        version=new.version + 1,
        report_after=now + REPORT_PAUSES.first,
        report_attempts=0,
        updated_at=now,
    )


def _visible(payment: Payment) -> tuple[object, ...]:
    return (
        payment.status,
        payment.intent_id,
        payment.client_secret,
        payment.currency,
        payment.amount_captured,
        payment.amount_refunded,
        payment.last_error,
        payment.failed_attempts,
        payment.last_attempt_at,
    )


def needs_stripe(payment: Payment) -> bool:
    """Stripe has to be asked for the payment to go on, and nobody else will do it."""
    return payment.status is CREATING or payment.must_be_canceled


def key_is_spent(payment: Payment, now: datetime) -> bool:
    """Stripe may have forgotten the key: a second request under it could make a second intent. Both times are ours;
    the hour that is left of Stripe's day is more than two of our clocks are apart."""
    return now - payment.asked_at >= KEY_LIFE
