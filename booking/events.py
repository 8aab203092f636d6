"""The life of an event, pure: created, changed, called off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from booking.state import Event, Refusal, TicketType

NEW_NEEDS = ("name", "unit_amount", "capacity")


class TicketTypeChange(NamedTuple):
    """What is to be changed of a ticket type that is there, or all that a new one needs."""

    id: UUID
    values: Mapping[str, Any]


def change(event: Event, values: Mapping[str, Any], ticket_types: Sequence[TicketTypeChange]) -> Event | Refusal:
    """`event` with what is in `values` and `ticket_types`; prices are those of later bookings only."""
    if event.called_off_at is not None:
        return Refusal("conflict")
    changed = dict(event.ticket_types)
    for each in ticket_types:
        old = changed.get(each.id)
        if old is None:
            if not all(name in each.values for name in NEW_NEEDS):
                return Refusal("ticket_type_not_found")
            changed[each.id] = TicketType(id=each.id, **each.values)
            continue
        new = old._replace(**each.values)
        if new.free < 0:
            return Refusal("capacity_below_sold")
        if new != old:
            changed[each.id] = new._replace(version=old.version + 1)
    after = event._replace(ticket_types=changed, **values)
    return event if after == event else after._replace(version=event.version + 1)


def call_off(event: Event, now: datetime) -> Event:
    """Sales stop at once; called off again, nothing changes."""
    if event.called_off_at is not None:
        return event
    return event._replace(on_sale=False, called_off_at=now, version=event.version + 1)
