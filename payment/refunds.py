"""The life of a refund, pure: requested → pending → succeeded or failed.

A refund is a row with its own id before Stripe is called, and can fail days after it was made
(https://docs.stripe.com/refunds#failed-refunds). The sum of those that have not failed never exceeds what
was captured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

# The namespace of ids of refunds that were made by hand at Stripe: seen again, it is the same refund.
BY_HAND = UUID("7f6d2f9e-3a55-5b0c-9f43-0b1f4a4f9d11")


class RefundStatus(StrEnum):
    REQUESTED = "requested"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


# Stripe moves a refund forward only; a picture from behind is an old one.
_ORDER = {status: place for place, status in enumerate(RefundStatus)}


@dataclass(frozen=True, slots=True)
class Refund:
    """`reason` says why it failed: Stripe's failure_reason or error code, or one of ours."""

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


@dataclass(frozen=True, slots=True)
class RefundPicture:
    """A refund as Stripe showed it; `refund_id` is ours, where it was made by us."""

    stripe_refund_id: str
    amount: int
    status: RefundStatus
    reason: str | None = None
    refund_id: UUID | None = None


def refunded(refunds: Sequence[Refund]) -> int:
    """What was given back and has arrived, as far as is known."""
    return sum(refund.amount for refund in refunds if refund.status is RefundStatus.SUCCEEDED)


def left(captured: int, refunds: Sequence[Refund]) -> int:
    """What may still be given back."""
    return captured - sum(refund.amount for refund in refunds if refund.status is not RefundStatus.FAILED)


def a_refund_failed(captured: int, refunds: Sequence[Refund]) -> bool:
    """A refund failed, and none of at least its amount that was asked for since then makes it good."""
    if left(captured, refunds) <= 0:
        return False
    return any(
        failed.status is RefundStatus.FAILED
        and not any(
            later.status is not RefundStatus.FAILED
            and later.amount >= failed.amount
            and later.created_at > failed.updated_at
            for later in refunds
        )
        for failed in refunds
    )


def request(
    id: UUID,
    booking_id: UUID,
    amount: int | None,
    captured: int,
    refunds: Sequence[Refund],
    now: datetime,
    drive_after: timedelta,
) -> Refund:
    """A new refund of `amount`, or of all that is left. It has failed at once when so much is not left."""
    rest = left(captured, refunds)
    refund = Refund(
        id,
        booking_id,
        amount or (rest if rest > 0 else captured),
        RefundStatus.REQUESTED,
        asked_at=now,
        created_at=now,
        updated_at=now,
        drive_after=now + drive_after,
    )
    if refund.amount > rest:
        return failed(refund, "nothing_left" if rest <= 0 else "amount_too_large", now)
    return refund


def failed(refund: Refund, reason: str, now: datetime) -> Refund:
    """The refund will not be made."""
    return replace(
        refund,
        status=RefundStatus.FAILED,
        reason=reason,
        drive_after=None,
        drive_attempts=0,
        updated_at=now,
    )


class DoesNotFit(Exception):
    """More would be given back than was captured: something else has happened that is not known yet."""


def take_in(
    booking_id: UUID,
    captured: int,
    refunds: Sequence[Refund],
    pictures: Sequence[RefundPicture],
    now: datetime,
) -> tuple[Refund, ...]:
    """The refunds after `pictures` were seen; those made by hand are added.

    What Stripe shows is a fact: a refund that was only requested gives way where both do not fit. Raises
    DoesNotFit when the facts do not fit one another: then they must be seen all at once.
    """
    known = {refund.id: refund for refund in refunds}
    of_stripe = {refund.stripe_refund_id: refund.id for refund in refunds if refund.stripe_refund_id}
    for picture in pictures:
        id = of_stripe.get(picture.stripe_refund_id) or picture.refund_id
        if id is None or id not in known:
            id = uuid5(BY_HAND, picture.stripe_refund_id)
        known[id] = _taken(known[id], picture, now) if id in known else _by_hand(id, booking_id, picture, now)
    for refund in sorted(known.values(), key=lambda refund: refund.created_at, reverse=True):
        if refund.status is RefundStatus.REQUESTED and left(captured, tuple(known.values())) < 0:
            known[refund.id] = failed(refund, "superseded", now)
    if left(captured, tuple(known.values())) < 0:
        raise DoesNotFit
    return tuple(known.values())


def _taken(old: Refund, picture: RefundPicture, now: datetime) -> Refund:
    if old.stripe_refund_id is not None and _ORDER[picture.status] <= _ORDER[old.status]:
        return old
    return replace(
        old,
        status=picture.status,
        stripe_refund_id=picture.stripe_refund_id,
        reason=picture.reason,
        drive_after=None,
        drive_attempts=0,
        updated_at=now,
    )


def _by_hand(id: UUID, booking_id: UUID, picture: RefundPicture, now: datetime) -> Refund:
    return Refund(
        id,
        booking_id,
        picture.amount,
        picture.status,
        asked_at=now,
        created_at=now,
        updated_at=now,
        stripe_refund_id=picture.stripe_refund_id,
        reason=picture.reason,
        by_hand=True,
    )
