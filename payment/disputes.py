"""The disputes of a payment, pure: each is a fact of its own, and all of them together say how the payment stands.

A charge can be disputed several times (https://docs.stripe.com/disputes/how-disputes-work), and each dispute has a
life of its own, so that one that is won says nothing of another that was lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from common.contracts import values

# Only what is further on replaces what is known of the same second, so that order does not matter:
# https://docs.stripe.com/api/disputes/object#dispute_object-status.
STATUSES = (
    "warning_needs_response",
    "warning_under_review",
    "warning_closed",
    "needs_response",
    "under_review",
    "prevented",
    "won",
    "lost",
)
LOST = "lost"
# The money stays: whatever else a dispute's status is, the bank has it back or may get it.
DROPPED = frozenset({"warning_closed", "prevented", "won"})


@dataclass(frozen=True, slots=True)
class DisputePicture:
    """A dispute as Stripe showed it, `at` its own time. What an event of an older form leaves out is None."""

    dispute_id: str
    status: str
    at: datetime
    charge_id: str | None = None
    amount: int | None = None
    currency: str | None = None
    reason: str | None = None
    opened_at: datetime | None = None
    respond_by: datetime | None = None


@dataclass(frozen=True, slots=True)
class Dispute:
    """One dispute. `amount` in the minor unit; `seen_at` is the time of the picture that was last taken over. All
    times are Stripe's."""

    id: str
    booking_id: UUID
    status: str
    seen_at: datetime
    charge_id: str | None = None
    amount: int | None = None
    currency: str | None = None
    reason: str | None = None
    opened_at: datetime | None = None
    respond_by: datetime | None = None

    @property
    def shown(self) -> values.Dispute:
        """What of it operators are shown."""
        return values.Dispute(
            self.id, self.status, self.amount, self.currency, self.reason, self.opened_at, self.respond_by
        )

    @property
    def stands(self) -> bool:
        """It is open or lost: a bank has the money back, or may get it."""
        return self.status not in DROPPED


def taken_in(booking_id: UUID, known: Sequence[Dispute], pictures: Iterable[DisputePicture]) -> tuple[Dispute, ...]:
    """The disputes after `pictures` were seen, oldest first. Of each the younger picture wins; of two of the same
    second the one that is further on."""
    disputes = {dispute.id: dispute for dispute in known}
    for picture in pictures:
        old = disputes.get(picture.dispute_id)
        if old is None:
            old = Dispute(picture.dispute_id, booking_id, picture.status, picture.at)
        elif (picture.at, _place(picture.status)) <= (old.seen_at, _place(old.status)):
            continue
        disputes[old.id] = _shown(old, picture)
    return tuple(sorted(disputes.values(), key=_age))


def _shown(old: Dispute, picture: DisputePicture) -> Dispute:
    return replace(
        old,
        status=picture.status,
        seen_at=picture.at,
        charge_id=picture.charge_id or old.charge_id,
        amount=old.amount if picture.amount is None else picture.amount,
        currency=picture.currency or old.currency,
        reason=picture.reason or old.reason,
        opened_at=picture.opened_at or old.opened_at,
        respond_by=picture.respond_by or old.respond_by,
    )


def _age(dispute: Dispute) -> tuple[datetime, str]:
    return dispute.opened_at or dispute.seen_at, dispute.id


def _place(status: str) -> int:
    # A status that Stripe adds later: nothing is known of its place.
    return STATUSES.index(status) if status in STATUSES else -1


def summary(disputes: Sequence[Dispute]) -> str | None:
    """The status that says most: of those that stand the one that is furthest on, else of the others."""
    standing = [dispute.status for dispute in disputes if dispute.stands]
    return max(standing or [dispute.status for dispute in disputes], key=_place, default=None)
