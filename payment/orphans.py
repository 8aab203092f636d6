"""Rules for Stripe's objects whose rows a database has lost, pure: whose they are, and what happens to them.

A database may be restored to an earlier state (a failover with lag, a restored dump). Then an intent of ours has no
row (it is adopted), a payment has no booking (an orphan: its money is refunded after a grace time), or a booking
has a second intent (a stray intent: the same).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID, uuid5

from common.contracts.messages import PaymentCommand
from common.contracts.statuses import IntentStatus
from payment import domain
from payment.domain import RETRY_PAUSES
from payment.refunds import Refund, RefundStatus, requested
from payment.state import NO_CURRENCY, IntentSnapshot, Payment
from payment.stripe_objects import StripeEvent

# The namespace of the ids of refunds that belong to no booking: however often requested, one for each intent.
RETURNS = UUID("0c5b2f2e-6f0b-5c1c-9d0a-3f1b7a4e8d21")
# The most that the clocks of two processes differ: an orphan is handled again only when it is due by all of them.
CLOCKS_APART = timedelta(seconds=1)
# The pause between checks while there are too many orphans: short enough for an operator who has raised the limit.
HELD_BACK = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class OrphanTerms:
    """`grace`: how long the money of an orphan is kept, in case its booking comes back. `most`: if more orphans
    than this are found within that time, nothing is done without an operator."""

    grace: timedelta = timedelta(minutes=10)
    most: int = 20


class Origin(Enum):
    """Whose an object at Stripe is, according to its metadata."""

    OURS = "ours"
    FOREIGN = "foreign"  # another installation's: never touched
    UNMARKED = "unmarked"  # of a booking, from before installations had ids: ours only if a row has it
    NOBODYS = "nobody's"  # other business of the account


def origin_of(snapshot: StripeEvent | IntentSnapshot, installation: UUID) -> Origin:
    """By the metadata alone. An object whose intent is in one of our rows is ours, whatever this returns."""
    if snapshot.installation is not None:
        return Origin.OURS if snapshot.installation == str(installation) else Origin.FOREIGN
    return Origin.UNMARKED if snapshot.booking_id is not None else Origin.NOBODYS


def harmless(shown: object) -> bool:
    """It is an intent that was not paid and cannot be paid."""
    return isinstance(shown, IntentSnapshot) and shown.status is IntentStatus.CANCELED and not shown.amount_captured


# --- An intent without a row --------------------------------------------------------------------------------


class Match(Enum):
    """Where a snapshot belongs."""

    ROW = "row"  # to the payment's row
    LOST = "lost"  # to a row that is lost
    STRAY = "stray"  # the row has another intent
    NOWHERE = "nowhere"  # it changes nothing


def match_of(intent_id: str, payment: Payment | None) -> Match:
    """Where an intent of ours belongs. `payment`: its booking's row. A row that waits for an intent can get this
    one; a terminal row without an intent has lost it."""
    if payment is None or (payment.intent_id is None and payment.terminal):
        return Match.LOST
    return Match.ROW if payment.intent_id in (None, intent_id) else Match.STRAY


def match_of_event(event: StripeEvent, payment: Payment | None, origin: Origin) -> Match:
    """Where a Stripe event belongs. `payment`: the row of its intent, else of its booking."""
    intent_id = event.intent_id
    if payment is not None and intent_id is not None and payment.intent_id == intent_id:
        return Match.ROW  # whatever its metadata says
    if origin is Origin.FOREIGN:
        return Match.NOWHERE
    if intent_id is None:
        return Match.NOWHERE if payment is None else Match.ROW
    match = match_of(intent_id, payment)
    ours = origin is Origin.OURS and event.booking_id is not None and not harmless(event.snapshot)
    return match if match is Match.ROW or ours else Match.NOWHERE


def lost_payment(message: PaymentCommand, snapshot: IntentSnapshot, now: datetime) -> Payment:
    """The row that was lost, as it is before `snapshot` is applied. Its amount and currency are the
    booking's, if the message has them."""
    return domain.unknown(message.booking_id, now)._replace(
        event_id=snapshot.event_id,
        amount=snapshot.amount if message.booking_amount is None else message.booking_amount,
        currency=message.booking_currency or snapshot.currency or NO_CURRENCY,
    )


def asked_for(booking_id: UUID, intent_id: str, now: datetime) -> Payment:
    """A payment with just enough fields to ask Stripe about its intent."""
    return domain.unknown(booking_id, now)._replace(intent_id=intent_id)


def reopened(old: Payment, snapshot: IntentSnapshot) -> Payment:
    """The row, of another intent or of none, made ready for `snapshot`, of this one. The request to
    cancel was for the other intent: booking repeats it when it gets the report of this one."""
    return old._replace(
        cancel_requested=False,
        retry_at=None,
        retry_count=0,
        event_id=old.event_id or snapshot.event_id,
        amount=old.amount or snapshot.amount,
        status=IntentStatus.CREATING,
        intent_id=None,
        client_secret=None,
        charge_id=None,
        amount_captured=0,
        last_error=None,
        seen_at=None,
    )


# --- A payment without a booking ----------------------------------------------------------------------------


def handled_orphan(old: Payment, now: datetime, grace: timedelta, *, held_back: bool) -> Payment:
    """The orphan after its next step: its intent is canceled at once; its money is refunded after the grace time,
    by one refund. It is reported again at that time, so that booking can answer that it has the booking again."""
    if old.orphaned_at is None:
        old = old._replace(orphaned_at=now, return_after=now + grace)
    waits = held_back and not old.return_decided
    own = uuid5(RETURNS, old.intent_id or str(old.booking_id))
    if not old.terminal:
        return _reported_again(old if waits else domain.cancel(old, now), now + HELD_BACK)
    if old.left <= 0 or old.refund(own) is not None:
        return _done(old)
    due = now if old.return_decided else old.return_after or now
    if waits:
        return _reported_again(old, max(due, now + HELD_BACK))
    if now < due:
        return _reported_again(old, max(due, now + CLOCKS_APART))
    return domain.with_request(_done(old), own, None, now, by=old.return_decided_by)


def _reported_again(payment: Payment, at: datetime) -> Payment:
    return payment._replace(report_retry_at=at, report_retry_count=0)


def _done(payment: Payment) -> Payment:
    """The orphan, not reported again until it changes: no booking waits for its reports."""
    return payment._replace(
        return_after=None, report_retry_at=None, report_retry_count=0, reported_version=payment.version
    )


# --- Strays -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stray:
    """An intent of ours that its booking does not know. What the columns mean is in `models.py`."""

    intent_id: str
    booking_id: UUID
    found_at: datetime
    return_after: datetime
    status: IntentStatus
    amount_received: int = 0
    refund_id: UUID | None = None
    refund_amount: int | None = None
    refund_status: RefundStatus | None = None
    key_number: int = 1
    retry_at: datetime | None = None
    retry_count: int = 0
    return_decided: bool = False
    return_decided_by: str | None = None


def seen_stray(stray: Stray, snapshot: IntentSnapshot) -> Stray:
    """The stray after this snapshot."""
    return replace(stray, status=snapshot.status, amount_received=snapshot.amount_captured)


def retried(stray: Stray, now: datetime, spread: float) -> Stray:
    """The stray with its next retry time; `spread` is the jitter, 0 to 1."""
    pause = RETRY_PAUSES.pause(stray.retry_count, spread)
    return replace(stray, retry_at=now + pause, retry_count=stray.retry_count + 1)


def refund_of(stray: Stray, amount: int, key_number: int, now: datetime) -> Refund:
    """The refund of `amount`, with one id for each intent, so that it is never made twice."""
    refund = requested(uuid5(RETURNS, stray.intent_id), stray.booking_id, amount, now)
    return replace(refund, key_number=key_number)


def with_refund(stray: Stray, refund: Refund) -> Stray:
    """The stray with this refund in its row."""
    return replace(
        stray,
        refund_id=refund.id,
        refund_amount=refund.amount,
        refund_status=refund.status,
        key_number=refund.key_number,
    )
