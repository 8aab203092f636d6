"""Which changes of a booking are announced to those outside, by mail or webhook. Pure.

The statement that makes such a change marks the booking with it (`announce_from`); the announcer makes from the
booking's transitions, from that version on, what is owed for them.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid5

from booking.state import PENDING, Booking, Cause
from common.contracts.messages import SetCustomer
from common.contracts.statuses import AnnouncementKind, BookingStatus, PaymentStatus

_BY_STATUS = {
    BookingStatus.CONFIRMED: AnnouncementKind.CONFIRMED,
    BookingStatus.CANCELLED: AnnouncementKind.CANCELLED,
    BookingStatus.FAILED: AnnouncementKind.FAILED,
}
_BY_PAYMENT = {
    PaymentStatus.REFUND_FAILED: AnnouncementKind.REFUND_FAILED,
    PaymentStatus.DISPUTED: AnnouncementKind.DISPUTED,
}


class Standing(NamedTuple):
    """What of a booking is compared: how it stands after one of its changes."""

    status: BookingStatus
    payment: PaymentStatus
    amount_refunded: int


class Announced(NamedTuple):
    """What others may be told of a booking, as it is now, which may be after later changes: of the many columns of
    its row, only these are read for it. `email`: of its customer, None without one. `announce_from`: the first
    version whose change is still to be announced."""

    id: UUID
    event_id: UUID
    status: BookingStatus
    amount_captured: int
    email: str | None
    announce_from: int


class Change(NamedTuple):
    """A transition, with how the booking stood before it; None: it made the booking."""

    booking_id: UUID
    version: int
    before: Standing | None
    after: Standing
    reason: str | None
    cause_type: str
    by: str | None
    at: datetime


class Announcement(NamedTuple):
    """What others are told of one change. `amount`: what this change has refunded."""

    kind: AnnouncementKind
    booking: Announced
    change: Change
    amount: int

    @property
    def id(self) -> UUID:
        """The same whenever it is made again."""
        return uuid5(self.booking.id, f"{self.change.version}/{self.kind}")


def is_announced(before: Booking | None, after: Booking, *, offered: bool = False) -> bool:
    """Whether others are told of this change; `before` is None for a new booking. `offered`: nobody has asked for
    it just now, but waits for it."""
    if after.status is PENDING:  # as most changes leave it
        return offered and before is None
    if before is None:
        return offered or bool(_kinds(None, standing(after)))
    return _email_changed(before, after) or bool(_kinds(standing(before), standing(after)))


def announcements(booking: Announced, change: Change) -> list[Announcement]:
    """What others are told of a change of `booking`."""
    kinds = _kinds(change.before, change.after)
    if change.before is None and change.after.status is PENDING and change.cause_type == Cause().type:
        kinds.append(AnnouncementKind.OFFERED)  # time alone makes no other booking
    if change.cause_type in SetCustomer.types and booking.email is not None:
        kinds.append(AnnouncementKind.CUSTOMER_CHANGED)
    amount = change.after.amount_refunded - (change.before.amount_refunded if change.before else 0)
    return [Announcement(kind, booking, change, amount) for kind in kinds]


def standing(booking: Booking) -> Standing:
    return Standing(booking.status, booking.payment, booking.amount_refunded)


def _kinds(before: Standing | None, after: Standing) -> list[AnnouncementKind]:
    """A booking that is still pending is its client's business alone, which the socket tells of it; so is one that
    could not be made. A hold is short, and to announce it would cost each booking another write. What is offered to
    somebody who waits is another matter: see `announcements`."""
    if after.status is PENDING or (before is None and after.status is BookingStatus.FAILED):
        return []
    found = []
    if before is None or before.status is not after.status:
        found.append(_BY_STATUS[after.status])
    if after.amount_refunded > (before.amount_refunded if before else 0):
        found.append(AnnouncementKind.REFUNDED)
    if (before is None or before.payment is not after.payment) and after.payment in _BY_PAYMENT:
        found.append(_BY_PAYMENT[after.payment])
    return found


def _email_changed(before: Booking, after: Booking) -> bool:
    """Whether a booking that is confirmed has another address to write to."""
    if after.status is not BookingStatus.CONFIRMED or after.customer is None:
        return False
    return before.customer is None or before.customer.email != after.customer.email
