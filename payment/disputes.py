"""The disputes of a payment, pure: each has its own status, and all together give the payment's dispute status.

A charge can be disputed several times (https://docs.stripe.com/disputes/how-disputes-work), and each dispute ends
separately: one may be won and another lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from common.contracts import values

# In the order of a dispute's life: of two snapshots of the same second the later status wins, whichever came first:
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
# We keep the money. With any other status the bank has taken it back, or still can.
DROPPED = frozenset({"warning_closed", "prevented", "won"})


class Dispute(NamedTuple):
    """A dispute of a payment, or a snapshot of one, where a field that an older message leaves out is None, and so
    is `booking_id`. `seen_at` is the time of the snapshot. All times are Stripe's."""

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
        """The fields that operators see."""
        return values.Dispute(
            self.id, self.status, self.amount, self.currency, self.reason, self.opened_at, self.respond_by
        )


def updated_disputes(booking_id: UUID, known: Sequence[Dispute], shown: Iterable[Dispute]) -> tuple[Dispute, ...]:
    """The disputes after the snapshots `shown` were applied, oldest first. Of each dispute the newer snapshot wins;
    of two of the same second, the one with the later status. A field that is None in a snapshot keeps its value."""
    disputes = {dispute.id: dispute for dispute in known}
    for new in shown:
        old = disputes.get(new.id)
        if old is None:
            disputes[new.id] = new._replace(booking_id=booking_id)
        elif (new.seen_at, _order(new.status)) > (old.seen_at, _order(old.status)):
            known_fields = {field: value for field, value in new._asdict().items() if value is not None}
            disputes[new.id] = old._replace(**known_fields)
    return tuple(sorted(disputes.values(), key=lambda each: (each.opened_at or each.seen_at, each.id)))


def _order(status: str) -> int:
    # A status that Stripe adds later comes before all others.
    return STATUSES.index(status) if status in STATUSES else -1


def summary(disputes: Sequence[Dispute]) -> str | None:
    """The latest status among disputes that are open or lost; if there are none, the latest among the others."""
    statuses = [dispute.status for dispute in disputes]
    return max([each for each in statuses if each not in DROPPED] or statuses, key=_order, default=None)
