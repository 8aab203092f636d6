"""The life of a refund, pure: requested → pending → succeeded or failed.

A refund is a row with its own id before Stripe is called, and can fail days after it was made
(https://docs.stripe.com/refunds#failed-refunds). The sum of those that have not failed never exceeds what
was captured.

A refund is *whole* (all that is left) or a *part* of an amount that somebody named. A whole one is asked for in
another amount when less is left than was known; a part is made in its own amount or refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

# The namespace of ids of refunds that were made by hand at Stripe: seen again, it is the same refund.
BY_HAND = UUID("7f6d2f9e-3a55-5b0c-9f43-0b1f4a4f9d11")

# Before a handler asks Stripe it leaves this behind, for the case that it dies: longer than it may take.
DRIVE_FIRST = timedelta(seconds=15)

# Why a refund does not fit: there is nothing to give back any more, or less than it asks for.
NOTHING_LEFT, AMOUNT_TOO_LARGE = "nothing_left", "amount_too_large"
# `superseded` is what rows of earlier releases say for the same.
DO_NOT_FIT = frozenset({NOTHING_LEFT, AMOUNT_TOO_LARGE, "superseded"})

# Refusals of a refund that would fit (https://docs.stripe.com/error-codes): these only a person can cure.
FOR_PEOPLE = frozenset({"charge_disputed", "refund_disputed_payment", "charge_not_refundable"})
# These contradict Stripe's own list of refunds, which was read after the refusal: not believed at once.
CONTRADICTIONS = frozenset({"charge_already_refunded", AMOUNT_TOO_LARGE})
CONTRADICTED_FOR = timedelta(minutes=15)
# Every other refusal may pass, as one for want of balance does (Stripe names no code for it): so long it is tried
# again.
REFUSED_FOR = timedelta(days=7)


class RefundStatus(StrEnum):
    REQUESTED = "requested"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


# Neither made nor failed yet.
OPEN = frozenset({RefundStatus.REQUESTED, RefundStatus.PENDING})

# Stripe moves a refund forward only; a picture from behind is an old one.
_ORDER = {status: place for place, status in enumerate(RefundStatus)}
# What a pending refund waits for, in the order in which it does (`pending_reason` of Stripe's refund).
_WAITS = {None: 0, "charge_pending": 1, "insufficient_funds": 2, "processing": 3}


@dataclass(frozen=True, slots=True)
class Refund:
    """`reason` says why it failed: Stripe's failure_reason or error code, or one of ours. `pending_reason` says why
    it is not made yet: Stripe's pending_reason, or the code with which Stripe refused it last. `refusals` counts
    these since `refused_since`; `whole`: it is for all that is left."""

    id: UUID
    booking_id: UUID
    amount: int
    status: RefundStatus
    asked_at: datetime
    created_at: datetime
    updated_at: datetime
    stripe_refund_id: str | None = None
    reason: str | None = None
    by_hand: bool = False
    key_number: int = 1
    drive_after: datetime | None = None
    drive_attempts: int = 0
    whole: bool = False
    pending_reason: str | None = None
    refusals: int = 0
    refused_since: datetime | None = None

    @property
    def unmade(self) -> bool:
        """Stripe has still to make it."""
        return self.status is RefundStatus.REQUESTED

    @property
    def told(self) -> tuple[object, ...]:
        """What of it the booking is told."""
        return self.id, self.status, self.amount, self.pending_reason, self.reason


@dataclass(frozen=True, slots=True)
class RefundPicture:
    """A refund as Stripe showed it; `refund_id` is ours, where it was made by us, for `booking_id`."""

    stripe_refund_id: str
    amount: int
    status: RefundStatus
    reason: str | None = None
    refund_id: UUID | None = None
    pending_reason: str | None = None
    booking_id: UUID | None = None


def refunded(refunds: Sequence[Refund]) -> int:
    """What was given back and has arrived, as far as is known."""
    return sum(refund.amount for refund in refunds if refund.status is RefundStatus.SUCCEEDED)


def left(captured: int, refunds: Sequence[Refund | RefundPicture]) -> int:
    """What may still be given back."""
    return captured - sum(refund.amount for refund in refunds if refund.status is not RefundStatus.FAILED)


# --- Requests -----------------------------------------------------------------------------------------------


def requested(id: UUID, booking_id: UUID, amount: int, now: datetime) -> Refund:
    """A refund that Stripe has still to make, and was not asked for yet."""
    status = RefundStatus.REQUESTED
    return Refund(id, booking_id, amount, status, asked_at=now, created_at=now, updated_at=now)


def request(
    id: UUID,
    booking_id: UUID,
    amount: int | None,
    captured: int,
    refunds: Sequence[Refund],
    now: datetime,
    whole: bool | None = None,
) -> Refund:
    """A new refund: a part of `amount`, or all that is left. It has failed at once when so much is not left.

    `whole` is None from a sender that does not know of it: then an amount that is all that is left means all of it.
    """
    rest = left(captured, refunds)
    if whole is None:
        whole = amount is None or amount == rest
    wanted = (rest if rest > 0 else captured) if whole or amount is None else amount
    refund = replace(requested(id, booking_id, wanted, now), drive_after=now + DRIVE_FIRST, whole=whole)
    return _misfit(refund, rest, now) if refund.amount > rest else refund


def _misfit(refund: Refund, room: int, now: datetime) -> Refund:
    """A refund that asks for more than there is room for: a whole one for what there is, under the next key."""
    if room <= 0:
        return failed(refund, NOTHING_LEFT, now)
    if not refund.whole:
        return failed(refund, AMOUNT_TOO_LARGE, now)
    return with_new_key(replace(refund, amount=room), now)


def failed(refund: Refund, reason: str, now: datetime) -> Refund:
    """The refund will not be made."""
    return replace(
        refund,
        status=RefundStatus.FAILED,
        reason=reason,
        pending_reason=None,
        drive_after=None,
        drive_attempts=0,
        updated_at=now,
    )


def with_new_key(refund: Refund, now: datetime) -> Refund:
    """The same refund, asked for under the next key. Only where Stripe's list was read and the key before can make
    nothing any more: Stripe has refused it, has forgotten it, or cannot give as much as it asks for."""
    return replace(refund, key_number=refund.key_number + 1, asked_at=now, drive_after=now, drive_attempts=0)


def refused(refund: Refund, code: str, room: int | None, now: datetime, pause: timedelta) -> Refund:
    """A requested refund that Stripe refused though, by Stripe's list of refunds, its amount fits. `room`: the most
    that it could give back; None where the list could not be read.

    It is asked for again after `pause`, until its time is over, which counts anew where the refusal is of another
    kind, and is over in any case twice REFUSED_FOR after the refund was made: under the next key, a whole one for
    all that is left. Without the list under the same key.
    """
    waits_as_before = refund.pending_reason is not None and _patience(refund.pending_reason) == _patience(code)
    since = refund.refused_since if waits_as_before and refund.refused_since is not None else now
    if now - since >= _patience(code) or now - refund.created_at >= 2 * REFUSED_FOR:
        return failed(refund, code, now)
    again = refund
    if room is not None:
        again = with_new_key(replace(refund, amount=room) if refund.whole else refund, now)
    return replace(
        again,
        pending_reason=code,
        refusals=refund.refusals + 1,
        refused_since=since,
        drive_after=now + pause,
        drive_attempts=0,
        updated_at=now,
    )


def unanswered(refund: Refund, now: datetime, pause: timedelta) -> Refund:
    """Stripe did not say what became of it: it is asked for again, never counted as failed."""
    return replace(refund, drive_after=now + pause, drive_attempts=refund.drive_attempts + 1)


def _patience(code: str) -> timedelta:
    if code in FOR_PEOPLE:
        return timedelta()
    return CONTRADICTED_FOR if code in CONTRADICTIONS else REFUSED_FOR


# --- What Stripe shows --------------------------------------------------------------------------------------


class DoesNotFit(Exception):
    """More would be given back than was captured: something else has happened that is not known yet."""


def take_in(
    booking_id: UUID,
    captured: int,
    refunds: Sequence[Refund],
    pictures: Sequence[RefundPicture],
    now: datetime,
    *,
    complete: bool = False,
) -> tuple[Refund, ...]:
    """The refunds after `pictures` were seen; those made by hand are added.

    What Stripe shows is a fact. When `pictures` are all that Stripe has (`complete`), a refund that was only
    requested gives way where both do not fit: a whole one is lowered to what is left, a part is refused. Raises
    DoesNotFit when the facts do not fit one another, or a requested refund: then they must be seen all at once.
    """
    known = {refund.id: refund for refund in refunds}
    of_stripe = {refund.stripe_refund_id: refund.id for refund in refunds if refund.stripe_refund_id}
    for picture in pictures:
        id = of_stripe.get(picture.stripe_refund_id) or picture.refund_id
        if id is None or (id not in known and picture.booking_id != booking_id):
            id = uuid5(BY_HAND, picture.stripe_refund_id)
        if id not in known:
            # One of ours whose row was lost has its own id again.
            by_hand = id != picture.refund_id
            known[id] = replace(requested(id, booking_id, picture.amount, now), by_hand=by_hand)
        known[id] = _taken(known[id], picture, now, complete)
    if complete:
        for refund in sorted(known.values(), key=lambda refund: refund.created_at, reverse=True):
            over = -left(captured, tuple(known.values()))
            if over > 0 and refund.unmade:
                known[refund.id] = _misfit(refund, refund.amount - over, now)
    if left(captured, tuple(known.values())) < 0:
        raise DoesNotFit
    return tuple(known.values())


def _taken(old: Refund, picture: RefundPicture, now: datetime, complete: bool) -> Refund:
    if old.stripe_refund_id is not None and _ORDER[picture.status] <= _ORDER[old.status]:
        return _waiting(old, picture, complete)
    pending = picture.status is RefundStatus.PENDING
    return replace(
        old,
        # A whole one may have been lowered while an earlier request for more was on its way.
        amount=picture.amount,
        status=picture.status,
        stripe_refund_id=picture.stripe_refund_id,
        reason=picture.reason,
        pending_reason=picture.pending_reason if pending else None,
        drive_after=None,
        drive_attempts=0,
        updated_at=now,
    )


def _waiting(old: Refund, picture: RefundPicture, complete: bool) -> Refund:
    """A pending refund may wait for something else; what an event says of it may be old."""
    if old.status is not RefundStatus.PENDING or picture.status is not RefundStatus.PENDING:
        return old
    later = _WAITS.get(picture.pending_reason, 0) > _WAITS.get(old.pending_reason, 0)
    return replace(old, pending_reason=picture.pending_reason) if later or complete else old
