"""Who gets seats: a request becomes a new booking, or is told why not. Pure."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from booking.schedule import scheduled
from booking.state import CONFIRMED, FAILED, PENDING, Booking, Event, Item, Reason, Refusal, Terms
from common.statuses import PaymentStatus


@dataclass(frozen=True, slots=True)
class Request:
    """A CreateBooking: (ticket type or None for the only one, quantity) for each item."""

    booking_id: UUID
    owner: str
    event_id: UUID
    items: tuple[tuple[UUID | None, int], ...]


# The most that one charge may be: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts.
AMOUNT_MAX = 99_999_999


def admit(
    request: Request, event: Event | None, free: MutableMapping[UUID, int], now: datetime, terms: Terms
) -> Booking | Refusal:
    """The new booking for `request`, or why there is none. Takes its seats out of `free`."""
    if event is None:
        return Refusal("event_not_found")
    if not event.on_sale:
        return Refusal("not_on_sale")
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
    if amount > AMOUNT_MAX:
        return Refusal("amount_over_limit")
    booking = Booking(
        id=request.booking_id,
        owner=request.owner,
        event_id=event.id,
        items=tuple(items),
        amount=amount,
        currency=event.currency,
        status=PENDING,
        payment=PaymentStatus.CREATING,
        created_at=now,
        updated_at=now,
    )
    if not has_seats(booking, free):
        return replace(booking, status=FAILED, reason=Reason.SOLD_OUT, payment=PaymentStatus.NONE)
    take_seats(booking, free)
    if booking.amount == 0:
        return replace(booking, status=CONFIRMED, payment=PaymentStatus.NONE)
    return scheduled(replace(booking, expires_at=now + terms.hold), now, terms)


def has_seats(booking: Booking, free: Mapping[UUID, int]) -> bool:
    wanted: dict[UUID, int] = {}
    for item in booking.items:
        wanted[item.ticket_type_id] = wanted.get(item.ticket_type_id, 0) + item.quantity
    return all(free.get(id, 0) >= quantity for id, quantity in wanted.items())


def take_seats(booking: Booking, free: MutableMapping[UUID, int]) -> None:
    """`free` without the seats of `booking`."""
    for item in booking.items:
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
