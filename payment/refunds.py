"""The life of a refund, pure: requested → pending → succeeded or failed.

A refund is a row with its own id before Stripe is called, and can fail days after Stripe made it
(https://docs.stripe.com/refunds#failed-refunds). Those that have not failed never exceed the amount captured.

A refund is *whole* (all that is left) or a *part*, whose amount somebody named. The amount of a whole refund is
lowered when less is left than was known; a part is made in its own amount or refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

from common.contracts import values

# The namespace of the ids of refunds made by hand at Stripe: the same Stripe refund always gets the same id.
BY_HAND = UUID("7f6d2f9e-3a55-5b0c-9f43-0b1f4a4f9d11")

# The first retry time, saved before a handler asks Stripe, in case its process dies: longer than a handler takes.
RETRY_FIRST = timedelta(seconds=15)

# Why a refund does not fit: nothing is left to refund, or less than its amount.
NOTHING_LEFT, AMOUNT_TOO_LARGE = "nothing_left", "amount_too_large"
# `superseded` has the same meaning in rows of earlier releases.
DO_NOT_FIT = frozenset({NOTHING_LEFT, AMOUNT_TOO_LARGE, "superseded"})

# Refusals of a refund that would fit (https://docs.stripe.com/error-codes). Only a person can resolve these.
FOR_PEOPLE = frozenset({"charge_disputed", "refund_disputed_payment", "charge_not_refundable"})
# These contradict Stripe's list of refunds, which is read after the refusal: the refund is retried for 15 minutes.
CONTRADICTIONS = frozenset({"charge_already_refunded", AMOUNT_TOO_LARGE})
CONTRADICTED_FOR = timedelta(minutes=15)
# Any other refusal may be temporary, as when the account's balance is too low (Stripe names no code for that), so
# the refund is retried for a week.
REFUSED_FOR = timedelta(days=7)


class RefundStatus(StrEnum):
    REQUESTED = "requested"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


# Neither succeeded nor failed yet.
OPEN = frozenset({RefundStatus.REQUESTED, RefundStatus.PENDING})

# Stripe moves a refund forward only; a snapshot with an earlier status is an old one.
_ORDER = {status: number for number, status in enumerate(RefundStatus)}
# What a pending refund waits for, first to last (`pending_reason` of Stripe's refund).
_WAITS = {None: 0, "charge_pending": 1, "insufficient_funds": 2, "processing": 3}


@dataclass(frozen=True, slots=True)
class Refund:
    """`reason` is why it failed: Stripe's failure_reason or error code, or a code of ours. `pending_reason` is why
    it has not succeeded yet: Stripe's pending_reason, or the code of Stripe's last refusal. `refusals` counts them;
    `refused_since` is when the first of this kind came; `whole`: it is for all that is left. `by`: the subject that
    asked for it, None if the system owes it or it was made by hand."""

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
    retry_at: datetime | None = None
    retry_count: int = 0
    whole: bool = False
    pending_reason: str | None = None
    refusals: int = 0
    refused_since: datetime | None = None
    by: str | None = None

    @property
    def unmade(self) -> bool:
        """Stripe has not made it yet."""
        return self.status is RefundStatus.REQUESTED

    @property
    def visible(self) -> tuple[object, ...]:
        """The fields that a report is published for."""
        return self.id, self.status, self.amount, self.pending_reason, self.reason

    @property
    def shown(self) -> values.Refund:
        """The fields that operators see."""
        return values.Refund(
            id=self.id,
            amount=self.amount,
            status=self.status,
            reason=self.reason,
            pending_reason=self.pending_reason,
            by=self.by,
            by_hand=self.by_hand,
            stripe_refund_id=self.stripe_refund_id,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


@dataclass(frozen=True, slots=True)
class RefundSnapshot:
    """A snapshot of a Stripe refund. `refund_id` and `booking_id` are ours, None if Holdfast did not make it."""

    stripe_refund_id: str
    amount: int
    status: RefundStatus
    reason: str | None = None
    refund_id: UUID | None = None
    pending_reason: str | None = None
    booking_id: UUID | None = None


def refunded(refunds: Sequence[Refund]) -> int:
    """The amount of the refunds that have succeeded."""
    return sum(refund.amount for refund in refunds if refund.status is RefundStatus.SUCCEEDED)


def left(captured: int, refunds: Sequence[Refund | RefundSnapshot]) -> int:
    """The amount that can still be refunded."""
    return captured - sum(refund.amount for refund in refunds if refund.status is not RefundStatus.FAILED)


# --- Requests -----------------------------------------------------------------------------------------------


def requested(id: UUID, booking_id: UUID, amount: int, now: datetime) -> Refund:
    """A refund that Stripe was not asked for yet."""
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
    by: str | None = None,
) -> Refund:
    """A new refund, which `by` asks for: a part of `amount`, or all that is left. It fails at once when less than
    its amount is left.

    `whole` is None from a sender of an earlier release: then the refund is whole if `amount` is all that is left.
    """
    rest = left(captured, refunds)
    if whole is None:
        whole = amount is None or amount == rest
    wanted = (rest if rest > 0 else captured) if whole or amount is None else amount
    refund = replace(requested(id, booking_id, wanted, now), retry_at=now + RETRY_FIRST, whole=whole, by=by)
    return _misfit(refund, rest, now) if refund.amount > rest else refund


def _misfit(refund: Refund, room: int, now: datetime) -> Refund:
    """A refund of more than `room`: a whole one is lowered to it and gets the next key, any other one fails."""
    if room <= 0:
        return failed(refund, NOTHING_LEFT, now)
    if not refund.whole:
        return failed(refund, AMOUNT_TOO_LARGE, now)
    return with_new_key(replace(refund, amount=room), now)


def failed(refund: Refund, reason: str, now: datetime) -> Refund:
    """The refund, failed for `reason`."""
    return replace(
        refund,
        status=RefundStatus.FAILED,
        reason=reason,
        pending_reason=None,
        retry_at=None,
        retry_count=0,
        updated_at=now,
    )


def with_new_key(refund: Refund, now: datetime) -> Refund:
    """The same refund with the next idempotency key. Only after Stripe's list was read, and when the key before can
    make no refund any more: Stripe has refused it, has forgotten it, or has less left than it asks for."""
    return replace(refund, key_number=refund.key_number + 1, asked_at=now, retry_at=now, retry_count=0)


def refused(refund: Refund, code: str, room: int | None, now: datetime, pause: timedelta) -> Refund:
    """A requested refund that Stripe refused although, by Stripe's list of refunds, its amount fits. `room`: the
    most that it could refund; None where the list could not be read.

    It is retried after `pause`: with the next key, and a whole one for all that is left; without the list, with the
    same key. It fails when the time for this kind of refusal is over (a refusal of another kind starts it again),
    and at the latest at 2 * REFUSED_FOR after it was created.
    """
    waits_as_before = refund.pending_reason is not None and _max_wait(refund.pending_reason) == _max_wait(code)
    since = refund.refused_since if waits_as_before and refund.refused_since is not None else now
    if now - since >= _max_wait(code) or now - refund.created_at >= 2 * REFUSED_FOR:
        return failed(refund, code, now)
    again = refund
    if room is not None:
        again = with_new_key(replace(refund, amount=room) if refund.whole else refund, now)
    return replace(
        again,
        pending_reason=code,
        refusals=refund.refusals + 1,
        refused_since=since,
        retry_at=now + pause,
        retry_count=0,
        updated_at=now,
    )


def unanswered(refund: Refund, now: datetime, pause: timedelta) -> Refund:
    """The result of the request to Stripe is unknown: it is retried after `pause`, and never counted as failed."""
    return replace(refund, retry_at=now + pause, retry_count=refund.retry_count + 1)


def _max_wait(code: str) -> timedelta:
    if code in FOR_PEOPLE:
        return timedelta()
    return CONTRADICTED_FOR if code in CONTRADICTIONS else REFUSED_FOR


# --- What Stripe shows --------------------------------------------------------------------------------------


class DoesNotFit(Exception):
    """More would be refunded than was captured, so something is not known yet."""


def updated_refunds(
    booking_id: UUID,
    captured: int,
    refunds: Sequence[Refund],
    snapshots: Sequence[RefundSnapshot],
    now: datetime,
    *,
    complete: bool = False,
) -> tuple[Refund, ...]:
    """The refunds after snapshots (`snapshots`) were applied; those made by hand are added.

    What Stripe shows is a fact. When `snapshots` are all that Stripe has (`complete`), a refund that is only
    requested is changed if it does not fit beside them: a whole one is lowered to what is left, a part fails.
    Raises DoesNotFit when all together are still more than was captured: then all of Stripe's refunds must be read.
    """
    known = {refund.id: refund for refund in refunds}
    of_stripe = {refund.stripe_refund_id: refund.id for refund in refunds if refund.stripe_refund_id}
    for snapshot in snapshots:
        id = of_stripe.get(snapshot.stripe_refund_id) or snapshot.refund_id
        if id is None or (id not in known and snapshot.booking_id != booking_id):
            id = uuid5(BY_HAND, snapshot.stripe_refund_id)
        if id not in known:
            # A refund of ours whose row was lost gets its own id again.
            by_hand = id != snapshot.refund_id
            known[id] = replace(requested(id, booking_id, snapshot.amount, now), by_hand=by_hand)
        known[id] = _updated(known[id], snapshot, now, complete)
    if complete:
        for refund in sorted(known.values(), key=lambda refund: refund.created_at, reverse=True):
            over = -left(captured, tuple(known.values()))
            if over > 0 and refund.unmade:
                known[refund.id] = _misfit(refund, refund.amount - over, now)
    if left(captured, tuple(known.values())) < 0:
        raise DoesNotFit
    return tuple(known.values())


def _updated(old: Refund, snapshot: RefundSnapshot, now: datetime, complete: bool) -> Refund:
    if old.stripe_refund_id is not None and _ORDER[snapshot.status] <= _ORDER[old.status]:
        return _with_wait(old, snapshot, complete)
    pending = snapshot.status is RefundStatus.PENDING
    return replace(
        old,
        # A whole refund may have been lowered while an earlier request for more was in flight.
        amount=snapshot.amount,
        status=snapshot.status,
        stripe_refund_id=snapshot.stripe_refund_id,
        reason=snapshot.reason,
        pending_reason=snapshot.pending_reason if pending else None,
        retry_at=None,
        retry_count=0,
        updated_at=now,
    )


def _with_wait(old: Refund, snapshot: RefundSnapshot, complete: bool) -> Refund:
    """The refund with what it waits for now. A snapshot from a Stripe event may be old; a complete list is not."""
    if old.status is not RefundStatus.PENDING or snapshot.status is not RefundStatus.PENDING:
        return old
    later = _WAITS.get(snapshot.pending_reason, 0) > _WAITS.get(old.pending_reason, 0)
    return replace(old, pending_reason=snapshot.pending_reason) if later or complete else old
