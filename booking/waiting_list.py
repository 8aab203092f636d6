"""The rules of waiting lists, pure: who may join, who gets an offer, and when a list ends.

Seats that become free are offered in the order in which people joined, and nobody is passed over: where the first
entry wants more seats than are reserved yet, those behind it wait, too. An offer is a booking with a longer hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from booking.admission import Seats, admit, sale_closed
from booking.buyers import Buyers
from booking.state import CANCELLED, CONFIRMED, FAILED, Booking, Event, HoldPolicy, WaitingEntry
from common.contracts import errors
from common.contracts.ids import offer_id
from common.contracts.messages import CreateBooking, JoinWaitingList
from common.contracts.statuses import BookingStatus, EventStatus, Reason, WaitingStatus


class Offered(NamedTuple):
    """How the booking that was offered to an entry stands; `amount` is in the minor unit of its currency."""

    status: BookingStatus
    reason: str | None
    version: int
    expires_at: datetime | None
    amount: int
    amount_captured: int


class SeenEntry(NamedTuple):
    """An entry with what its owner wants to know of it. `position`: 1 for the first in the line; None where it no
    longer waits. `offered`: None without an offer."""

    entry: WaitingEntry
    position: int | None = None
    offered: Offered | None = None


class CounterChange(NamedTuple):
    """What entries add to the counters of a ticket type: to the seats that are wanted, and how many of the reserved
    ones are taken for offers."""

    ticket_type_id: UUID
    waiting: int
    taken: int


def joined(
    request: JoinWaitingList, event: Event | None, buyers: Buyers, now: datetime, policy: HoldPolicy
) -> WaitingEntry | errors.HoldfastError:
    """The new entry, or the error: it may join who could book these seats, if there were any."""
    asked = _booking_of(request.entry_id, request)
    types = {} if event is None else event.ticket_types
    # As if all these seats were free.
    seats = Seats(dict.fromkeys(types, request.quantity))
    admitted = admit(asked, event, seats, buyers, now, policy)
    if not isinstance(admitted, Booking):
        return admitted
    (item,) = admitted.items
    if (free := types[item.ticket_type_id].free) > 0:
        return errors.NotSoldOut(available=free)
    return WaitingEntry(
        id=request.entry_id,
        event_id=request.event_id,
        ticket_type_id=item.ticket_type_id,
        owner=request.owner,
        quantity=item.quantity,
        joined_at=now,
        updated_at=now,
        customer=request.customer,
        address=request.address,
    )


def _booking_of(id: UUID, wish: JoinWaitingList | WaitingEntry) -> CreateBooking:
    """The request by which the owner would book these seats, which nobody sends. Guests of an address are not
    counted for it: an offer came to them."""
    item = {"ticket_type_id": wish.ticket_type_id, "quantity": wish.quantity}
    values = {"owner": wish.owner, "event_id": wish.event_id, "items": (item,), "customer": wish.customer}
    return CreateBooking.model_validate({"booking_id": id, **values})


def asked_for(entry: WaitingEntry, request: JoinWaitingList) -> bool:
    """Whether `request` is the one that made `entry`, whose customer may have been erased since."""
    if request.ticket_type_id not in (None, entry.ticket_type_id) or entry.customer not in (None, request.customer):
        return False
    return (entry.owner, entry.event_id, entry.quantity) == (request.owner, request.event_id, request.quantity)


def over(event: Event, now: datetime) -> str | None:
    """The code that says why nobody gets an offer any more; None while somebody still may."""
    if event.called_off_at is not None:
        return errors.EventCancelled.code
    if event.status is EventStatus.ARCHIVED:
        return errors.NotOnSale.code
    if event.sales_end_at is not None and now >= event.sales_end_at:
        return errors.SalesEnded.code
    return None


def decide(
    event: Event, entries: Iterable[WaitingEntry], buyers: Buyers, now: datetime, policy: HoldPolicy
) -> list[tuple[WaitingEntry, Booking | None]]:
    """The entries of `event`, which come in their order, that get an offer now, each with the booking; and those
    that are closed, because the event is over, or because their owner may not have these seats any more."""
    if (reason := over(event, now)) is not None:
        return [(closed(each, reason, now), None) for each in entries]
    if sale_closed(event, now) is not None:
        return []
    reserved = {id: min(each.waiting, each.unbooked) for id, each in event.ticket_types.items()}
    made: list[tuple[WaitingEntry, Booking | None]] = []
    for entry in entries:
        if entry.quantity > reserved[entry.ticket_type_id]:
            # Nobody behind it is offered what it waits for.
            reserved[entry.ticket_type_id] = 0
            continue
        seats = Seats({entry.ticket_type_id: entry.quantity})
        booking = admit(
            _booking_of(offer_id(entry.id), entry), event, seats, buyers, now, policy._replace(hold=policy.offer)
        )
        if not isinstance(booking, Booking):
            made.append((closed(entry, booking.code, now), None))
            continue
        reserved[entry.ticket_type_id] -= entry.quantity
        made.append((_after(entry, WaitingStatus.OFFERED, now, booking_id=booking.id), booking))
    return made


def closed(entry: WaitingEntry, reason: str, now: datetime) -> WaitingEntry:
    return _after(entry, WaitingStatus.CLOSED, now, reason=reason)


def left(entry: WaitingEntry, now: datetime) -> WaitingEntry:
    """The entry when its owner leaves; one that has left or was closed stays. Raises OfferMade."""
    if entry.status is WaitingStatus.OFFERED:
        raise errors.OfferMade(booking_id=entry.booking_id)
    return _after(entry, WaitingStatus.LEFT, now) if entry.status is WaitingStatus.WAITING else entry


def _after(
    entry: WaitingEntry,
    status: WaitingStatus,
    now: datetime,
    *,
    reason: str | None = None,
    booking_id: UUID | None = None,
) -> WaitingEntry:
    return entry._replace(
        status=status, reason=reason, booking_id=booking_id, version=entry.version + 1, updated_at=now
    )


def offered_of(booking: Booking | None) -> Offered | None:
    """The booking that has just been offered."""
    if booking is None:
        return None
    return Offered(**{name: getattr(booking, name) for name in Offered._fields})


def counter_changes(entries: Iterable[WaitingEntry]) -> list[CounterChange]:
    """What these entries, as they have just become, add to the counters."""
    changes: dict[UUID, CounterChange] = {}
    for each in entries:
        known = changes.get(each.ticket_type_id, CounterChange(each.ticket_type_id, 0, 0))
        waiting = each.quantity if each.status is WaitingStatus.WAITING else -each.quantity
        taken = each.quantity if each.status is WaitingStatus.OFFERED else 0
        changes[each.ticket_type_id] = known._replace(waiting=known.waiting + waiting, taken=known.taken + taken)
    return list(changes.values())


def status_of(seen: SeenEntry) -> tuple[WaitingStatus, str | None]:
    """The entry's status with its reason, by what became of its offer: the booking alone knows that."""
    entry, booking = seen.entry, seen.offered
    if booking is None:
        return entry.status, entry.reason
    if booking.status is FAILED:
        return WaitingStatus.CLOSED, booking.reason
    was_had = booking.amount_captured > 0 or booking.amount == 0
    if booking.status is CONFIRMED or (booking.status is CANCELLED and was_had):
        return WaitingStatus.ACCEPTED, None
    if booking.status is CANCELLED:
        return _ENDS.get(booking.reason, WaitingStatus.CLOSED), booking.reason
    return WaitingStatus.OFFERED, None


# What an offer has come to, by the reason for which its booking was cancelled; others: it was closed.
_ENDS: Mapping[str | None, WaitingStatus] = {
    Reason.HOLD_EXPIRED: WaitingStatus.LAPSED,
    Reason.BY_CUSTOMER: WaitingStatus.LEFT,
}
