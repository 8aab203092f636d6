"""The life of an event, pure: created, changed, cancelled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import UUID

from pydantic_core import to_jsonable_python

from booking.contents import differences
from booking.faults import Fault, refuse, text_faults
from booking.state import Content, Event, TicketType
from common.contracts import errors
from common.contracts.currencies import CURRENCIES, SOURCE, fault_of
from common.contracts.history import FieldChange
from common.contracts.messages import TicketTypeChange
from common.contracts.resources import CAPACITY_MAX
from common.contracts.statuses import ChangeKind, EventStatus
from common.contracts.values import QUANTITY_MAX, TICKET_TYPES_MAX

NEW_NEEDS = ("name", "unit_amount", "capacity")
# How many characters the columns hold.
TEXT_MAX = {"name": 200, "currency": 3, "time_zone": 64}
# What the history of an event shows when it changes: all that is not counted.
SHOWN = [name for name in Event._fields if name not in ("id", "version", "content_version", "ticket_types")]
SHOWN_OF_TYPE = ("name", "unit_amount", "capacity", "hidden")
# What an operator may make of an event's status. A published event becomes a draft only while it has no booking.
NEXT_STATUSES = {
    EventStatus.DRAFT: (EventStatus.PUBLISHED,),
    EventStatus.PUBLISHED: (EventStatus.ARCHIVED, EventStatus.DRAFT),
    EventStatus.ARCHIVED: (EventStatus.PUBLISHED,),
}


def price_faults(prices: Mapping[int, int], currency: str) -> list[Fault]:
    """What is wrong with the prices of ticket types, by their positions in the request. One seat that is not free
    must be payable alone: below Stripe's minimum every payment for one seat would fail."""
    found = ((position, fault_of(price, currency)) for position, price in prices.items() if price)
    return [
        Fault(("ticket_types", position, "unit_amount"), fault.code, fault.text, fault.limit)
        for position, fault in found
        if fault is not None
    ]


def date_faults(event: Event, now: datetime, begins_anew: bool) -> list[Fault]:
    """Dates that have no effect, or less than they say. `begins_anew`: this request sets a start, to lie ahead."""
    found = []
    start, end = event.starts_at, event.sales_end_at
    if begins_anew and start <= now:
        found.append(Fault(("starts_at",), "date_in_past", "an event starts in the future", now))
    if event.sales_end is not None and event.sales_end > start and not event.sell_after_start:
        text = "sales end at the start at the latest, unless sell_after_start is set"
        found.append(Fault(("sales_end",), "date_after_start", text, start))
    if event.sales_start is not None and end is not None and event.sales_start >= end:
        found.append(Fault(("sales_start",), "date_after_end", "the sale starts before it ends", end))
    if event.cancel_until is not None and event.cancel_until > start and not event.cancel_after_start:
        text = "customers may cancel until the start at the latest, unless cancel_after_start is set"
        found.append(Fault(("cancel_until",), "date_after_start", text, start))
    if event.slow_payments_until is not None and event.slow_payments_until > start and not event.sell_after_start:
        text = "slow payments are taken until the start at the latest, unless sell_after_start is set"
        found.append(Fault(("slow_payments_until",), "date_after_start", text, start))
    return found


def value_faults(values: Mapping[str, Any]) -> list[Fault]:
    """Values of an event or of a ticket type that the database would refuse: the client gets them all in one
    answer, also when its gateway has let them pass."""
    found = []
    for name, value in values.items():
        if value is None and Event._field_defaults.get(name, False) is not None:
            found.append(Fault((name,), "missing", f"{name} cannot be null"))
        elif (most := TEXT_MAX.get(name)) is not None:
            found += text_faults((name,), value, most)
    quantity = values.get("max_per_booking")
    if quantity is not None and not 1 <= quantity <= QUANTITY_MAX:
        text = f"a booking has 1 to {QUANTITY_MAX} seats"
        found.append(Fault(("max_per_booking",), "quantity_invalid", text, QUANTITY_MAX))
    limit = values.get("max_per_owner")
    if limit is not None and not 1 <= limit <= CAPACITY_MAX:
        text = f"one owner has 1 to {CAPACITY_MAX} seats"
        found.append(Fault(("max_per_owner",), "quantity_invalid", text, CAPACITY_MAX))
    return found


def _of_ticket_types(ticket_types: Iterable[Mapping[str, Any]]) -> list[Fault]:
    return [
        fault._replace(field=("ticket_types", position, *fault.field))
        for position, values in enumerate(ticket_types)
        for fault in value_faults(values)
    ]


def check_new(event: Event, now: datetime) -> None:
    """Raises the error that says why `event` cannot be made."""
    found = value_faults(event._asdict()) + _of_ticket_types(each._asdict() for each in event.ticket_types.values())
    found += date_faults(event, now, begins_anew=True)
    if event.sales_end is not None and event.sales_end <= now:
        found.append(Fault(("sales_end",), "date_in_past", "a sale ends in the future", now))
    if event.currency not in CURRENCIES:
        found.append(Fault(("currency",), "currency_unknown", f"not a currency that Stripe takes: {SOURCE}"))
    prices = {position: each.unit_amount for position, each in enumerate(event.ticket_types.values())}
    refuse([*found, *price_faults(prices, event.currency)])


def change(
    event: Event, values: Mapping[str, Any], ticket_types: Sequence[TicketTypeChange], now: datetime
) -> Event:
    """`event` with what is in `values` and `ticket_types`; new prices are those of later bookings only. Dates that
    were not set follow the start, the others must fit the new start. Raises the error that refuses the change."""
    if event.called_off_at is not None and (ticket_types or not values.keys() == {"status"}):
        raise errors.Conflict
    refuse(value_faults(values) + _of_ticket_types(_sent(each) for each in ticket_types))
    prices = {
        position: each.unit_amount for position, each in enumerate(ticket_types) if each.unit_amount is not None
    }
    after = event._replace(**values)
    begins_anew = after.starts_at != event.starts_at or _is_released(event, after)
    refuse([*date_faults(after, now, begins_anew=begins_anew), *price_faults(prices, event.currency)])
    after = after._replace(ticket_types=_changed_types(event.ticket_types, ticket_types))
    return event if after == event else after._replace(version=event.version + 1)


def _is_released(event: Event, after: Event) -> bool:
    """Whether this change makes a draft known to everybody. Raises Conflict if a status cannot follow another."""
    if after.status is event.status:
        return False
    if after.status not in NEXT_STATUSES[event.status]:
        raise errors.Conflict(f"An event that is {event.status} cannot become {after.status}")
    return event.status is EventStatus.DRAFT


def with_content_version(event: Event, after: Event) -> Event:
    """`after`, which is `event` changed or the same, when its content changes, too. All is one change."""
    version = event.version + 1
    return after._replace(version=version, content_version=version)


def _sent(change: TicketTypeChange) -> dict[str, Any]:
    return change.model_dump(exclude_none=True, exclude={"id", "new"})


def _changed_types(
    ticket_types: Mapping[UUID, TicketType], changes: Sequence[TicketTypeChange]
) -> Mapping[UUID, TicketType]:
    changed = dict(ticket_types)
    for each in changes:
        old, sent = changed.get(each.id), _sent(each)
        if old is None:
            if each.new is False or not all(name in sent for name in NEW_NEEDS):
                raise no_such_ticket_type(each.id)
            changed[each.id] = TicketType(id=each.id, **sent)
            continue
        new = old._replace(**sent)
        if each.new:
            # It was added before: the same content again changes nothing, and other content overwrites nothing.
            if old != new:
                raise errors.IdempotencyKeyReused
            continue
        if new.free < 0:
            raise errors.CapacityBelowSold
        if new != old:
            if new.hidden and not old.hidden:
                new = new._replace(version_when_hidden=old.version)
            changed[each.id] = new._replace(version=old.version + 1)
    # An event from before there was a limit may have more ticket types, and can still be changed.
    if len(changed) > max(TICKET_TYPES_MAX, len(ticket_types)):
        raise errors.TicketTypesOverLimit(f"An event has at most {TICKET_TYPES_MAX} ticket types")
    return changed


def no_such_ticket_type(id: UUID) -> errors.HoldfastError:
    return errors.TicketTypeNotFound(f"The event has no ticket type {id}")


def cancelled(event: Event, now: datetime) -> Event:
    """The event when it is cancelled: its sales end at once. One that is already cancelled does not change."""
    if event.called_off_at is not None:
        return event
    return event._replace(on_sale=False, called_off_at=now, version=event.version + 1)


# --- Its history ----------------------------------------------------------------------------------------------


def what_changed(
    old: Event | None, new: Event, contents: tuple[Content, Content] | None = None
) -> tuple[ChangeKind, tuple[FieldChange, ...]]:
    """What was done to an event (None: there was none), and the values that it and its ticket types have since.
    `contents`: what it showed before, and what it shows since."""
    kind = ChangeKind.CREATED if old is None else ChangeKind.CHANGED
    if old is not None and old.called_off_at is None and new.called_off_at is not None:
        kind = ChangeKind.CANCELLED
    known: Mapping[UUID, TicketType] = {} if old is None else old.ticket_types
    of_types = (_differences(SHOWN_OF_TYPE, known.get(id), each, id) for id, each in new.ticket_types.items())
    of_content = () if contents is None else differences(*contents)
    return kind, (*_differences(SHOWN, old, new), *of_content, *chain.from_iterable(of_types))


def _differences(
    names: Iterable[str], old: Event | TicketType | None, new: Event | TicketType, type_id: UUID | None = None
) -> Iterator[FieldChange]:
    for name in names:
        before, after = getattr(old, name, None), getattr(new, name)
        if before != after:
            values = dict(zip(("old", "new"), to_jsonable_python((before, after)), strict=True))
            yield FieldChange(field=name, ticket_type_id=type_id, **values)
