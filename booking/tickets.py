"""Tickets: each seat of a booking that was confirmed is one. They follow from the booking, so that none is written.

Pure: no clock, no input or output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from booking.state import CANCELLED, CONFIRMED, Booking, Event, Seat
from common.contracts.errors import TicketInvalid
from common.contracts.ids import ticket_id
from common.contracts.statuses import CheckInOutcome, Reason, TicketState


class Ticket(NamedTuple):
    """The booking's seat of this ticket type with this number, counted from 1."""

    event_id: UUID
    booking_id: UUID
    ticket_type_id: UUID
    number: int

    @property
    def id(self) -> UUID:
        return ticket_id(self.booking_id, self.ticket_type_id, self.number)

    @property
    def seat(self) -> Seat:
        return Seat(self.ticket_type_id, self.number)


def tickets_of(booking: Booking) -> Iterator[Ticket]:
    """One for each seat, in the order of the booking's items."""
    for item in booking.items:
        for number in range(1, item.quantity + 1):
            yield Ticket(booking.event_id, booking.id, item.ticket_type_id, number)


def seats_of(booking: Booking, ids: Sequence[UUID]) -> tuple[Seat, ...]:
    """The seats of these tickets. Raises TicketInvalid if one of them is none of the booking's."""
    seats = {ticket.id: ticket.seat for ticket in tickets_of(booking)}
    if not seats.keys() >= set(ids):
        raise TicketInvalid
    return tuple(seats[id] for id in dict.fromkeys(ids))


def state_of(ticket: Ticket, booking: Booking, event: Event, *, used: bool) -> TicketState:
    """The state of a ticket of this booking. A cancelled event cancels all at once, before its bookings follow."""
    if booking.status is not CONFIRMED:
        return TicketState.REFUNDED if booking.reason == Reason.REFUNDED else TicketState.CANCELLED
    if ticket.seat in booking.cancelled_seats:
        return TicketState.REFUNDED
    if event.called_off_at is not None:
        return TicketState.CANCELLED
    return TicketState.USED if used else TicketState.VALID


def has_tickets(booking: Booking, *, was_confirmed: bool) -> bool:
    """Whether there are, or were, tickets: a cancelled booking had some if it was confirmed before."""
    return booking.status is CONFIRMED or (booking.status is CANCELLED and was_confirmed)


def refused(status: str | None, *, seat: bool) -> CheckInOutcome | None:
    """Why a ticket lets nobody in, used or not. `status`: its booking's, None without one, `cancelled` also where
    the seat or the event is; `seat`: the booking has such a seat."""
    if status is None or not seat or status not in (CONFIRMED, CANCELLED):
        return CheckInOutcome.INVALID
    return CheckInOutcome.CANCELLED if status == CANCELLED else None
