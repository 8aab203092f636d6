"""The disputes of a payment, pure: each is a fact of its own, and all of them together say how the payment stands.

A charge can be disputed several times (https://docs.stripe.com/disputes/how-disputes-work), and each dispute has a
life of its own, so that one that is won says nothing of another that was lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
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
# The money stays: whatever else a dispute's status is, the bank has it back or may get it.
DROPPED = frozenset({"warning_closed", "prevented", "won"})


class Dispute(NamedTuple):
    """A dispute as Stripe showed it, or as it is known of a payment: what an event of an older form leaves out, as
    each leaves out the booking, is None. `seen_at` is the time of the showing. All times are Stripe's."""

    id: str
    status: str
    seen_at: datetime
    booking_id: UUID | None = None
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


def taken_in(booking_id: UUID, known: Sequence[Dispute], shown: Iterable[Dispute]) -> tuple[Dispute, ...]:
    """The disputes after Stripe has `shown` some, oldest first. Of each the younger showing wins; of two of the
    same second the one that is further on. What it leaves out stays as it was."""
    disputes = {dispute.id: dispute for dispute in known}
    for new in shown:
        old = disputes.get(new.id)
        if old is None:
            disputes[new.id] = new._replace(booking_id=booking_id)
        elif (new.seen_at, _place(new.status)) > (old.seen_at, _place(old.status)):
            told = {field: value for field, value in new._asdict().items() if value is not None}
            disputes[new.id] = old._replace(**told)
    return tuple(sorted(disputes.values(), key=lambda each: (each.opened_at or each.seen_at, each.id)))


def _place(status: str) -> int:
    # A status that Stripe adds later: nothing is known of its place.
    return STATUSES.index(status) if status in STATUSES else -1


def summary(disputes: Sequence[Dispute]) -> str | None:
    """The status that says most: of those that stand, open or lost, the one that is furthest on, else of the
    others."""
    statuses = [dispute.status for dispute in disputes]
    return max([each for each in statuses if each not in DROPPED] or statuses, key=_place, default=None)
