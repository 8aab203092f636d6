"""What Stripe has of us and a database has lost, pure: whose it is, and what becomes of it.

A database may come back older than it was (a failover with lag, a restored dump). Then Stripe shows an intent of
ours that has no row (it is adopted), reports go to a booking that is not there (an orphan: its money goes back
after a grace time), or there is a second intent of one booking (a stray: the same).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID, uuid5

from common.contracts.messages import PaymentCommand
from common.contracts.statuses import IntentStatus
from payment import domain
from payment.domain import DRIVE_PAUSES
from payment.pictures import StripeEvent
from payment.refunds import Refund, RefundStatus, requested
from payment.state import NO_CURRENCY, Payment, Picture

# The namespace of refunds of what belongs to no booking: one for each intent, whoever asks for it and how often.
RETURNS = UUID("0c5b2f2e-6f0b-5c1c-9d0a-3f1b7a4e8d21")
# Two processes differ in what time it is: what is due soon for one is asked for again when it is due for all.
CLOCKS_APART = timedelta(seconds=1)
# While there are too many orphans they are looked at again so often: an operator may have raised the limit.
HELD_BACK = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class OrphanTerms:
    """`grace`: how long money of an orphan waits for its booking to come back. `most`: so many orphans within that
    time may be found; with more nothing is done by itself."""

    grace: timedelta = timedelta(minutes=10)
    most: int = 20


class Owner(Enum):
    """Whose an object at Stripe is, as its metadata says."""

    OURS = "ours"
    FOREIGN = "foreign"  # another installation's: never touched
    UNMARKED = "unmarked"  # of a booking, and made before installations had ids: ours only where a row knows it
    NOBODYS = "nobody's"  # other business of the account


def owner_of(thing: StripeEvent | Picture, installation: UUID) -> Owner:
    """By the metadata alone. What a row of ours knows by its intent is ours, whatever this says."""
    if thing.installation is not None:
        return Owner.OURS if thing.installation == str(installation) else Owner.FOREIGN
    return Owner.UNMARKED if thing.booking_id is not None else Owner.NOBODYS


def harmless(shown: object) -> bool:
    """It is an intent by which no money came, and none can."""
    return isinstance(shown, Picture) and shown.status is IntentStatus.CANCELED and not shown.amount_captured


# --- An intent without a row --------------------------------------------------------------------------------


class Place(Enum):
    """Where what Stripe shows belongs."""

    ROW = "row"  # to the payment's row
    LOST = "lost"  # to a row that is not there
    STRAY = "stray"  # beside the intent that the row has
    NOWHERE = "nowhere"  # it changes nothing


def place_of(intent_id: str, payment: Payment | None) -> Place:
    """Where an intent of ours belongs. `payment`: its booking's row. One that waits for an intent may get this one;
    one that says that there never was any has lost it."""
    if payment is None or (payment.intent_id is None and payment.terminal):
        return Place.LOST
    return Place.ROW if payment.intent_id in (None, intent_id) else Place.STRAY


def place_of_event(event: StripeEvent, payment: Payment | None, owner: Owner) -> Place:
    """Where an event belongs. `payment`: the row of its intent, else of its booking."""
    intent_id = event.intent_id
    if payment is not None and intent_id is not None and payment.intent_id == intent_id:
        return Place.ROW  # whatever its metadata says
    if owner is Owner.FOREIGN:
        return Place.NOWHERE
    if intent_id is None:
        return Place.NOWHERE if payment is None else Place.ROW
    place = place_of(intent_id, payment)
    ours = owner is Owner.OURS and event.booking_id is not None and not harmless(event.shows)
    return place if place is Place.ROW or ours else Place.NOWHERE


def lost_payment(message: PaymentCommand, picture: Picture, now: datetime) -> Payment:
    """The row that was lost, as it is before `picture` of its intent is taken over. What it costs is what the
    booking says, where it does."""
    return domain.unknown(message.booking_id, now)._replace(
        event_id=picture.event_id,
        amount=picture.amount if message.booking_amount is None else message.booking_amount,
        currency=message.booking_currency or picture.currency or NO_CURRENCY,
    )


def asked_for(booking_id: UUID, intent_id: str, now: datetime) -> Payment:
    """As much of a payment as is needed to ask Stripe for its intent."""
    return domain.unknown(booking_id, now)._replace(intent_id=intent_id)


def reopened(old: Payment, picture: Picture) -> Payment:
    """The row of another intent, or of none, before `picture` is taken over in its stead. That its intent was to be
    canceled was said of the other one: whoever hears of this one says so anew, and it is driven then."""
    return old._replace(
        cancel_requested=False,
        drive_after=None,
        drive_attempts=0,
        event_id=old.event_id or picture.event_id,
        amount=old.amount or picture.amount,
        status=IntentStatus.CREATING,
        intent_id=None,
        client_secret=None,
        charge_id=None,
        amount_captured=0,
        last_error=None,
        seen_at=None,
    )


# --- A payment without a booking ----------------------------------------------------------------------------


def settled_orphan(old: Payment, now: datetime, grace: timedelta, *, held_back: bool) -> Payment:
    """The next step of an orphan: its intent is canceled at once, what it brought goes back after the grace time,
    by one refund. It is reported again when its time has come, so that a booking that is back says so."""
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
    return domain.with_request(_done(old), own, None, now)


def _reported_again(payment: Payment, at: datetime) -> Payment:
    return payment._replace(report_after=at, report_attempts=0)


def _done(payment: Payment) -> Payment:
    """Nobody waits for its reports: the next change of it is reported again."""
    return payment._replace(
        return_after=None, report_after=None, report_attempts=0, reported_version=payment.version
    )


# --- Strays -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stray:
    """An intent of ours by which its booking is not paid. The columns' meaning is in `models.py`."""

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
    drive_after: datetime | None = None
    drive_attempts: int = 0
    return_decided: bool = False


def seen_stray(stray: Stray, picture: Picture) -> Stray:
    """The stray as Stripe shows it now."""
    return replace(stray, status=picture.status, amount_received=picture.amount_captured)


def driven(stray: Stray, now: datetime, spread: float) -> Stray:
    """It is asked for again: the stray with its next time."""
    pause = DRIVE_PAUSES.pause(stray.drive_attempts, spread)
    return replace(stray, drive_after=now + pause, drive_attempts=stray.drive_attempts + 1)


def refund_of(stray: Stray, amount: int, key_number: int, now: datetime) -> Refund:
    """The refund by which so much goes back: under one id for each intent, so that it is never made twice."""
    refund = requested(uuid5(RETURNS, stray.intent_id), stray.booking_id, amount, now)
    return replace(refund, key_number=key_number)


def with_refund(stray: Stray, refund: Refund) -> Stray:
    """The stray whose row has this refund."""
    return replace(
        stray,
        refund_id=refund.id,
        refund_amount=refund.amount,
        refund_status=refund.status,
        key_number=refund.key_number,
    )
