"""Which requests get seats, and with which error the others are refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from booking.admission import Seats, admit, asked_for
from booking.buyers import NO_LIMITS, Buyers
from booking.schedule import retry_time
from booking.state import Booking, Bound, Event, Item, TicketType
from common.contracts.errors import HoldfastError
from common.contracts.messages import CreateBooking, ItemRequest
from tests.booking.samples import NOW, TERMS, violations

A, B, FREE, UNKNOWN = (UUID(int=n) for n in (21, 22, 23, 29))
TYPES = {
    A: TicketType(A, "Stalls", 2500, capacity=10),
    B: TicketType(B, "Balcony", 1000, capacity=10),
    FREE: TicketType(FREE, "Child", 0, capacity=10),
}
AMOUNT_MAX = 99_999_999  # in euros
START = NOW + timedelta(days=30)
EVENT = Event(UUID(int=2), "Concert", START, "eur", on_sale=True, max_per_booking=6, ticket_types=TYPES)
ONE_TYPE = EVENT._replace(ticket_types={A: TYPES[A]})
CHEAP = ONE_TYPE._replace(ticket_types={A: TYPES[A]._replace(unit_amount=10)})
RUPIAHS = ONE_TYPE._replace(currency="idr", ticket_types={A: TYPES[A]._replace(unit_amount=999_999_999_999)})
DEAR = ONE_TYPE._replace(ticket_types={A: TYPES[A]._replace(unit_amount=AMOUNT_MAX)})


def request(*items: tuple[UUID | None, int], **values: Any) -> CreateBooking:
    wanted = tuple(ItemRequest(ticket_type_id=id, quantity=quantity) for id, quantity in items)
    made = CreateBooking(booking_id=UUID(int=1), owner="alice", event_id=EVENT.id, items=wanted)
    return made.model_copy(update=values)


def free_in(seats: Seats, types: Mapping[UUID, object] = TYPES) -> dict[UUID, int]:
    """How many seats of each ticket type are left."""
    return {id: max(n for n in range(21) if not n or seats.have((Item(id, n, 0),))) for id in types}


def admitted(asked: CreateBooking, event: Event | None = EVENT) -> Any:
    return admit(asked, event, Seats(dict.fromkeys(TYPES, 10)), Buyers(NO_LIMITS), NOW, TERMS)


REFUSED = [
    (request((A, 1)), None, "event_not_found"),
    (request((A, 1)), EVENT._replace(on_sale=False), "not_on_sale"),
    (request((A, 1)), EVENT._replace(on_sale=False, called_off_at=NOW), "not_on_sale"),
    (request((A, 7)), EVENT, "quantity_over_limit"),
    (request((A, 4), (B, 3)), EVENT, "quantity_over_limit"),
    (request((None, 1)), EVENT, "ticket_type_required"),
    (request((A, 1), (None, 1)), EVENT, "ticket_type_required"),
    (request((None, 1)), EVENT._replace(ticket_types={}), "ticket_type_required"),
    (request((UNKNOWN, 1)), EVENT, "ticket_type_not_found"),
    (request((A, 1), (UNKNOWN, 1)), EVENT, "ticket_type_not_found"),
    (request((A, 1)), EVENT._replace(ticket_types={}), "ticket_type_not_found"),
    (request((A, 2)), DEAR, "amount_over_limit"),
    (request((A, 1)), RUPIAHS._replace(currency="inr"), "amount_over_limit"),
    (request((A, 1)), CHEAP, "amount_under_limit"),
    (request((A, 4)), CHEAP, "amount_under_limit"),
    (request((A, 1)), CHEAP._replace(currency="isk"), "amount_off_step"),
    (request((A, 1)), EVENT._replace(sales_start=NOW + timedelta(seconds=1)), "sales_not_started"),
    (request((A, 1)), EVENT._replace(sales_end=NOW), "sales_ended"),
    (request((A, 1)), EVENT._replace(starts_at=NOW), "sales_ended"),
    (request((FREE, 1)), EVENT._replace(starts_at=NOW), "sales_ended"),
    (request((A, 2), (B, 1), expected_amount=5999), EVENT, "price_changed"),
    (request((A, 1), expected_amount=0), EVENT, "price_changed"),
    (request((FREE, 1), expected_amount=1), EVENT, "price_changed"),
]


@pytest.mark.parametrize(("asked", "event", "code"), REFUSED)
@pytest.mark.parametrize("left", [0, 10])
def test_a_refused_request_takes_no_seats(asked: CreateBooking, event: Event | None, code: str, left: int) -> None:
    """No booking is made, whether seats are left or not."""
    seats = Seats(dict.fromkeys(TYPES, left))

    refused = admit(asked, event, seats, Buyers(NO_LIMITS), NOW, TERMS)

    assert isinstance(refused, HoldfastError)
    assert refused.code == code
    assert free_in(seats) == dict.fromkeys(TYPES, left)


def test_a_refusal_of_the_price_says_what_the_seats_cost_now() -> None:
    refused = admitted(request((A, 2), (B, 1), expected_amount=5999))
    assert refused.extra == {"amount": 6000, "expected_amount": 5999, "currency": "eur"}
    assert isinstance(admitted(request((A, 2), (B, 1), expected_amount=6000)), Booking)


TAKEN = [
    # items, event, amount, seats left of A, B, FREE
    (((A, 2),), EVENT, 5000, (8, 10, 10)),
    (((A, 2), (B, 3)), EVENT, 8000, (8, 7, 10)),
    (((A, 2), (A, 3)), EVENT, 12500, (5, 10, 10)),
    (((A, 1), (FREE, 2)), EVENT, 2500, (9, 10, 8)),
    (((None, 6),), ONE_TYPE, 15000, (4, 10, 10)),
    (((None, 1),), DEAR, AMOUNT_MAX, (9, 10, 10)),
    (((None, 1),), RUPIAHS, 999_999_999_999, (9, 10, 10)),
    (((None, 5),), CHEAP, 50, (5, 10, 10)),
    (((None, 1),), CHEAP._replace(currency="bgn"), 10, (9, 10, 10)),
    (((A, 1),), EVENT._replace(starts_at=NOW, sell_after_start=True), 2500, (9, 10, 10)),
]


@pytest.mark.parametrize(("items", "event", "amount", "left"), TAKEN)
def test_seats_are_held_until_the_hold_ends(
    items: tuple[tuple[UUID | None, int], ...], event: Event, amount: int, left: tuple[int, ...]
) -> None:
    """At the present price; the booking waits for its intent."""
    seats = Seats(dict.fromkeys(TYPES, 10))
    booking = admit(request(*items), event, seats, Buyers(NO_LIMITS), NOW, TERMS)

    assert isinstance(booking, Booking)
    assert (booking.status, booking.payment, booking.reason) == ("pending", "creating", None)
    assert (booking.amount, booking.currency, booking.version) == (amount, event.currency, 1)
    assert booking.expires_at == NOW + TERMS.hold
    assert tuple(free_in(seats).values()) == left
    assert violations(booking) == []


@pytest.mark.parametrize("items", [((FREE, 2),), ((FREE, 1), (FREE, 1))])
def test_a_free_booking_is_confirmed_at_once(items: tuple[tuple[UUID | None, int], ...]) -> None:
    """Nothing has to be paid, and the booking waits for nothing."""
    seats = Seats(dict.fromkeys(TYPES, 2))
    booking = admit(request(*items), EVENT, seats, Buyers(NO_LIMITS), NOW, TERMS)

    assert isinstance(booking, Booking)
    assert (booking.status, booking.payment, booking.amount) == ("confirmed", "none", 0)
    assert (booking.expires_at, booking.retry_at) == (None, None)
    assert free_in(seats)[FREE] == 0
    assert violations(booking) == []


SOLD_OUT = [
    (((A, 3),), {A: 2, B: 10}),
    (((A, 1),), {}),
    (((A, 2), (A, 2)), {A: 3}),
    (((B, 1), (A, 1)), {A: 0, B: 10}),
    (((FREE, 1),), {FREE: 0}),
    (((A, 1),), {A: -1}),
]


@pytest.mark.parametrize(("items", "free"), SOLD_OUT)
def test_not_enough_seats_fail_the_booking_and_take_none(
    items: tuple[tuple[UUID | None, int], ...], free: dict[UUID, int]
) -> None:
    """All or nothing: no seats are taken of the ticket types that have enough, either."""
    seats = Seats(free)
    booking = admit(request(*items), EVENT, seats, Buyers(NO_LIMITS), NOW, TERMS)

    assert isinstance(booking, Booking)
    assert (booking.status, booking.reason, booking.payment) == ("failed", "sold_out", "none")
    assert (booking.expires_at, booking.retry_at) == (None, None)
    assert free_in(seats, free) == {id: max(0, left) for id, left in free.items()}
    assert violations(booking) == []


wants = st.lists(st.tuples(st.sampled_from([A, B, FREE]), st.integers(1, 3)), min_size=1, max_size=2)


@given(st.lists(wants, max_size=12), st.integers(0, 12))
def test_no_more_seats_are_given_than_there_are(orders: list[list[tuple[UUID, int]]], seats: int) -> None:
    """In whatever order requests come; a request that is refused leaves its seats to the next."""
    given = Seats(dict.fromkeys(TYPES, seats))
    taken = dict.fromkeys(TYPES, 0)
    for items in orders:
        booking = admit(request(*items), EVENT, given, Buyers(NO_LIMITS), NOW, TERMS)
        assert isinstance(booking, Booking)
        wanted = {id: sum(quantity for each, quantity in items if each == id) for id, _ in items}
        fits = all(taken[id] + quantity <= seats for id, quantity in wanted.items())
        assert (booking.status != "failed") is fits
        if fits:
            taken |= {id: taken[id] + quantity for id, quantity in wanted.items()}
        assert free_in(given) == {id: seats - taken[id] for id in TYPES}


def test_seats_of_one_type_are_added_up() -> None:
    """A ticket type that is named twice counts with the sum of both quantities."""
    items = (Item(A, 2, 2500), Item(A, 1, 2500))
    seats = Seats({A: 3})
    assert seats.have(items)
    seats.take(items)

    assert free_in(seats, {A: 0}) == {A: 0}
    assert not seats.have(items)


def decided(orders: list[list[tuple[UUID, int]]], seats: Seats) -> list[str]:
    made = [admit(request(*items), EVENT, seats, Buyers(NO_LIMITS), NOW, TERMS) for items in orders]
    return [each.status for each in made if isinstance(each, Booking)]


@given(st.lists(wants, max_size=8), st.integers(0, 12), st.integers(0, 12))
def test_decisions_by_other_counters_hold_within_their_bounds(
    orders: list[list[tuple[UUID, int]]], remembered: int, there: int
) -> None:
    """Where the bounds hold for the seats that are really there, the decision would have been the same. They hold
    at least wherever memory was right."""
    seats = Seats(dict.fromkeys(TYPES, remembered))
    proposed = decided(orders, seats)
    bounds = seats.bounds(dict.fromkeys(TYPES, UUID(int=5)))

    fits = all(each.needed <= there and (each.below is None or there < each.below) for each in bounds)
    assert fits or remembered != there
    if fits:
        assert decided(orders, Seats(dict.fromkeys(TYPES, there))) == proposed


def test_only_counters_that_decided_have_bounds() -> None:
    token = UUID(int=5)
    seats = Seats({A: 3, B: 3, FREE: 3})
    decided([[(A, 2)], [(A, 2)], [(A, 1)], [(B, 1)]], seats)
    assert seats.bounds({A: token, B: token, FREE: token}) == [Bound(A, token, 3, 4), Bound(B, token, 1, None)]


MADE = admitted(request((A, 2), (B, 1)))
SAME = [
    (request((A, 2), (B, 1)), True),
    (request((None, 2), (B, 1)), True),
    (request((A, 2)), False),
    (request((A, 2), (B, 1), (B, 1)), False),
    (request((A, 2), (B, 2)), False),
    (request((B, 2), (B, 1)), False),
    (request((A, 2), (B, 1), owner="mallory"), False),
    (request((A, 2), (B, 1), event_id=UUID(int=9)), False),
]


@pytest.mark.parametrize(("asked", "same"), SAME)
def test_a_repeated_request_is_known_by_its_content(asked: CreateBooking, same: bool) -> None:
    """Also after ticket types were added to an event that had only one, and after prices have changed."""
    assert asked_for(MADE, asked) is same


@pytest.mark.parametrize("hold", [timedelta(seconds=3), timedelta(minutes=15)])
@pytest.mark.parametrize("item", [(A, 1), (FREE, 1), (A, 5)])
def test_new_booking_has_the_retry_time_of_the_schedule(hold: timedelta, item: tuple[UUID, int]) -> None:
    """Admission sets the retry time itself, so that it makes each booking in one step."""
    terms = TERMS._replace(hold=hold)
    made = admit(request(item), EVENT, Seats(dict.fromkeys(TYPES, 4)), Buyers(NO_LIMITS), NOW, terms)
    assert isinstance(made, Booking)
    assert made.retry_at == retry_time(made, 0, NOW, terms)


def test_a_total_that_no_payment_can_have_is_refused_with_the_limit() -> None:
    """As a field in the minor unit, and in the error's text."""
    dear = admit(request((A, 2)), DEAR, Seats(dict.fromkeys(TYPES, 10)), Buyers(NO_LIMITS), NOW, TERMS)
    cheap = admit(request((A, 1)), CHEAP, Seats(dict.fromkeys(TYPES, 10)), Buyers(NO_LIMITS), NOW, TERMS)

    assert isinstance(dear, HoldfastError)
    assert dear.extra == {"limit": AMOUNT_MAX}
    assert "199999998" in dear.detail
    assert str(AMOUNT_MAX) in dear.detail
    assert isinstance(cheap, HoldfastError)
    assert cheap.extra == {"limit": 50}
