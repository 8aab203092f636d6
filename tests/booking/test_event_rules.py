"""What operators may change of an event, and what its cancellation does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from booking import events
from booking.events import NEW_NEEDS, cancelled
from booking.state import Event, TicketType
from common.contracts.errors import Conflict, HoldfastError, IdempotencyKeyReused, TicketTypeNotFound
from common.contracts.messages import TicketTypeChange
from common.contracts.values import TICKET_TYPES_MAX
from tests.booking.samples import NOW, result_of

A, B, NEW = (UUID(int=n) for n in (21, 22, 23))
START = NOW + timedelta(days=30)
EVENT = Event(
    UUID(int=2),
    "Concert",
    START,
    "eur",
    on_sale=True,
    max_per_booking=6,
    ticket_types={
        A: TicketType(A, "Stalls", 2500, capacity=10, held=2, sold=5, version=8),
        B: TicketType(B, "Balcony", 1000, capacity=10),
    },
    version=3,
)
OFF = cancelled(EVENT, NOW)
ALL_VALUES = {"name": "Box", "unit_amount": 9000, "capacity": 4}


def change(event: Event, values: dict[str, Any], ticket_types: tuple[TicketTypeChange, ...]) -> Any:
    return result_of(events.change, event, values, ticket_types, NOW)


def changed(id: UUID, **values: Any) -> TicketTypeChange:
    return TicketTypeChange(id=id, **values)


@pytest.mark.parametrize(
    "values",
    [
        {"name": "Opera"},
        {"starts_at": NOW + timedelta(days=1)},
        {"starts_at": START + timedelta(days=1)},
        {"on_sale": False},
        {"max_per_booking": 1},
        {"cancel_until": NOW},
        {"payment_methods": "all"},
        {"slow_payments_until": NOW},
        {"name": "Opera", "on_sale": False},
    ],
)
def test_the_fields_that_are_sent_change_and_the_others_stay(values: dict[str, Any]) -> None:
    """The version grows by one; the same change again changes nothing."""
    after = change(EVENT, values, ())

    assert after == EVENT._replace(**values, version=4)
    assert isinstance(after, Event)
    assert change(after, values, ()) is after


@pytest.mark.parametrize("values", [{}, {"name": "Concert"}, {"on_sale": True, "cancel_until": None}])
def test_equal_values_are_no_change(values: dict[str, Any]) -> None:
    """The version stays."""
    assert change(EVENT, values, (changed(A, name="Stalls"), changed(B))) is EVENT


def test_a_policy_can_be_removed() -> None:
    """None is a value of its own in this field: customers may not cancel."""
    after = change(EVENT._replace(cancel_until=NOW), {"cancel_until": None}, ())

    assert after == EVENT._replace(version=4)


CAPACITIES = [(10, None), (11, None), (8, None), (7, None), (6, "capacity_below_sold"), (0, "capacity_below_sold")]


@pytest.mark.parametrize(("capacity", "refused"), CAPACITIES)
def test_capacity_cannot_be_less_than_what_is_held_and_sold(capacity: int, refused: str | None) -> None:
    """Seven seats are held or sold. Held ones count, as they may be paid at any moment."""
    after = change(EVENT, {"name": "Opera"}, (changed(A, capacity=capacity),))

    if refused:
        assert isinstance(after, HoldfastError)
        assert after.code == refused
    else:
        assert isinstance(after, Event)
        assert after.ticket_types[A].free == capacity - 7
        assert (after.ticket_types[A].held, after.ticket_types[A].sold) == (2, 5)


def test_each_changed_ticket_type_has_a_version_more() -> None:
    """The others keep theirs: the sum of all versions orders the notifications of availability."""
    after = change(EVENT, {}, (changed(A, unit_amount=3000), changed(B, name="Balcony")))

    assert isinstance(after, Event)
    assert after.version == 4
    assert after.ticket_types[A] == EVENT.ticket_types[A]._replace(unit_amount=3000, version=9)
    assert after.ticket_types[B] == EVENT.ticket_types[B]
    assert EVENT.ticket_types[A].unit_amount == 2500


def test_a_new_ticket_type_is_added_behind_the_others() -> None:
    """None of its seats is held or sold."""
    after = change(EVENT, {}, (changed(NEW, **ALL_VALUES),))

    assert isinstance(after, Event)
    assert list(after.ticket_types) == [A, B, NEW]
    assert after.ticket_types[NEW] == TicketType(NEW, "Box", 9000, 4)
    assert change(after, {}, (changed(NEW, **ALL_VALUES),)) is after


@pytest.mark.parametrize("missing", NEW_NEEDS)
def test_a_new_ticket_type_needs_all_of_its_values(missing: str) -> None:
    """An incomplete one can only mean a ticket type that the event should have; nothing else changes, either."""
    values = {name: value for name, value in ALL_VALUES.items() if name != missing}
    refused = change(EVENT, {"name": "Opera"}, (changed(NEW, **values),))

    assert isinstance(refused, TicketTypeNotFound)
    assert refused.detail == f"The event has no ticket type {NEW}"


def test_a_ticket_type_sent_as_known_is_never_added() -> None:
    """The gateway says in `new` which of the two is meant, whatever other values it sends."""
    named = changed(NEW, **ALL_VALUES, new=False)

    refused = change(EVENT, {}, (named,))

    assert isinstance(refused, TicketTypeNotFound)
    assert refused.detail == f"The event has no ticket type {NEW}"


def test_a_ticket_type_sent_as_new_overwrites_nothing() -> None:
    """The same ticket type again is no change; another one under its id is another request."""
    after = change(EVENT, {}, (changed(NEW, **ALL_VALUES, new=True),))

    assert isinstance(after, Event)
    assert change(after, {}, (changed(NEW, **ALL_VALUES, new=True),)) is after
    other = changed(NEW, **ALL_VALUES | {"unit_amount": 9001}, new=True)
    assert isinstance(change(after, {}, (other,)), IdempotencyKeyReused)


def test_an_event_has_a_largest_number_of_ticket_types() -> None:
    """Also when they are added one by one. An event with more, from before the limit, can still be changed."""

    def with_types(count: int) -> Event:
        types = {UUID(int=100 + n): TicketType(UUID(int=100 + n), "Seats", 1, 1) for n in range(count)}
        return EVENT._replace(ticket_types=types)

    one_more = (changed(NEW, **ALL_VALUES, new=True),)
    assert isinstance(change(with_types(TICKET_TYPES_MAX - 1), {}, one_more), Event)
    for count in (TICKET_TYPES_MAX, TICKET_TYPES_MAX + 301):
        refused = change(with_types(count), {}, one_more)
        assert isinstance(refused, HoldfastError)
        assert refused.code == "ticket_types_over_limit"
    assert isinstance(change(with_types(401), {"name": "Opera"}, (changed(UUID(int=100), capacity=2),)), Event)


def test_a_cancelled_event_cannot_be_sold_again() -> None:
    """Its sale is closed for good; a second cancellation changes nothing."""
    assert EVENT._replace(on_sale=False, called_off_at=NOW, version=4) == OFF
    assert cancelled(OFF, NOW + timedelta(days=1)) is OFF
    assert isinstance(change(OFF, {"on_sale": True}, ()), Conflict)
    assert isinstance(change(OFF, {}, (changed(NEW, **ALL_VALUES),)), Conflict)
