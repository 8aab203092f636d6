"""Who gets seats: a request becomes a new booking, or is told why not. Pure."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from booking.schedule import first_wait
from booking.state import CONFIRMED, FAILED, PENDING, Booking, Event, Follow, Item, Reason, Refusal, Terms
from common.contracts.currencies import fault_of
from common.contracts.statuses import BookingStatus, PaymentStatus

# Times inside of texts, which are in UTC.
TIME = "%Y-%m-%dT%H:%M:%SZ"


class Request(NamedTuple):
    """A CreateBooking: (ticket type or None for the only one, quantity) for each item."""

    booking_id: UUID
    owner: str
    event_id: UUID
    items: tuple[tuple[UUID | None, int], ...]


def admit(
    request: Request, event: Event | None, free: MutableMapping[UUID, int], now: datetime, terms: Terms
) -> Booking | Refusal:
    """The new booking for `request`, or why there is none. Takes its seats out of `free`."""
    if event is None:
        return Refusal("event_not_found")
    if not request.items:
        return Refusal("invalid_request", "A booking has at least one seat")
    closed = sale_closed(event, now)
    if closed is not None:
        return closed
    if sum(quantity for _, quantity in request.items) > event.max_per_booking:
        return Refusal("quantity_over_limit")
    items = []
    for wanted, quantity in request.items:
        if wanted is None and len(event.ticket_types) != 1:
            return Refusal("ticket_type_required")
        ticket_type = event.ticket_types.get(wanted or next(iter(event.ticket_types)))
        if ticket_type is None:
            return Refusal("ticket_type_not_found")
        items.append(Item(ticket_type.id, quantity, ticket_type.unit_amount))
    amount = sum(item.quantity * item.unit_amount for item in items)
    fault = fault_of(amount, event.currency) if amount else None
    if fault is not None:
        return Refusal(fault.code, f"This booking costs {amount}: {fault.text}", {"limit": fault.limit})
    outcome = _outcome(has_seats(items, free), amount, now, terms)
    if outcome.takes_seats:
        take_seats(items, free)
    return Booking(
        id=request.booking_id,
        owner=request.owner,
        event_id=event.id,
        items=tuple(items),
        amount=amount,
        currency=event.currency,
        status=outcome.status,
        reason=outcome.reason,
        payment=outcome.payment,
        payment_methods=event.methods_offered(now),
        expires_at=outcome.expires_at,
        settle_after=outcome.settle_after,
        created_at=now,
        updated_at=now,
    )


def sale_closed(event: Event, now: datetime) -> Refusal | None:
    """Why nothing of `event` is sold now; None while it is on sale."""
    if not event.on_sale:
        return Refusal("not_on_sale")
    if event.sales_start is not None and now < event.sales_start:
        starts = event.sales_start
        return Refusal("sales_not_started", f"The sale starts at {starts:{TIME}}", {"sales_start": starts})
    end = event.sales_end_at
    if end is not None and now >= end:
        return Refusal("sales_ended", f"The sale ended at {end:{TIME}}", {"sales_end": end})
    return None


class Outcome(NamedTuple):
    """How a new booking begins."""

    status: BookingStatus
    payment: PaymentStatus = PaymentStatus.NONE
    reason: str | None = None
    expires_at: datetime | None = None
    settle_after: datetime | None = None

    @property
    def takes_seats(self) -> bool:
        return self.status is not FAILED


def _outcome(seats: bool, amount: int, now: datetime, terms: Terms) -> Outcome:
    if not seats:
        return Outcome(FAILED, reason=Reason.SOLD_OUT)
    if amount == 0:
        return Outcome(CONFIRMED)
    expires_at = now + terms.hold
    return Outcome(
        PENDING, PaymentStatus.CREATING, None, expires_at, min(now + first_wait(Follow.CREATE_INTENT), expires_at)
    )


def has_seats(items: Sequence[Item], free: Mapping[UUID, int]) -> bool:
    wanted: dict[UUID, int] = {}
    for item in items:
        wanted[item.ticket_type_id] = wanted.get(item.ticket_type_id, 0) + item.quantity
    return all(free.get(id, 0) >= quantity for id, quantity in wanted.items())


def take_seats(items: Sequence[Item], free: MutableMapping[UUID, int]) -> None:
    """`free` without the seats of `items`."""
    for item in items:
        free[item.ticket_type_id] -= item.quantity


def asked_for(booking: Booking, request: Request) -> bool:
    """Whether `request` is the one that made `booking`."""
    if (booking.owner, booking.event_id) != (request.owner, request.event_id):
        return False
    if len(booking.items) != len(request.items):
        return False
    return all(
        ticket_type_id in (None, item.ticket_type_id) and quantity == item.quantity
        for item, (ticket_type_id, quantity) in zip(booking.items, request.items, strict=True)
    )
