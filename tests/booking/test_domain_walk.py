"""Random lives of bookings: no step raises, and the database's checks hold. Seats are neither lost nor made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from booking.admission import Seats, admit
from booking.domain import moves, retry, seats_moved
from booking.rules import Decision
from booking.state import Booking, Event, Item, TicketType
from booking.triggers import Cancel, Happening, Refund, Trigger
from common.contracts.errors import HoldfastError
from common.contracts.messages import CreateBooking, ItemRequest
from common.contracts.statuses import BookingStatus, IntentStatus
from common.contracts.values import PaymentState
from tests.booking.samples import (
    AMOUNT,
    DECLINE,
    NOW,
    SEATS,
    STATES,
    TERMS,
    applied,
    asked,
    report,
    retried,
    violations,
)

S = BookingStatus
MOVED = [
    (None, S.PENDING, (1, 0)),
    (None, S.CONFIRMED, (0, 1)),
    (None, S.FAILED, (0, 0)),
    (S.PENDING, S.PENDING, (0, 0)),
    (S.PENDING, S.CONFIRMED, (-1, 1)),
    (S.PENDING, S.CANCELLED, (-1, 0)),
    (S.PENDING, S.FAILED, (-1, 0)),
    (S.CONFIRMED, S.CONFIRMED, (0, 0)),
    (S.CONFIRMED, S.CANCELLED, (0, -1)),
    (S.CANCELLED, S.CONFIRMED, (0, 1)),
    (S.CANCELLED, S.CANCELLED, (0, 0)),
    (S.FAILED, S.FAILED, (0, 0)),
]


@pytest.mark.parametrize(("before", "after", "moved"), MOVED)
def test_a_change_of_status_moves_the_seats(
    before: BookingStatus | None, after: BookingStatus, moved: tuple[int, int]
) -> None:
    """(held, sold) for each seat of the booking."""
    assert seats_moved(before, after) == moved


@given(st.lists(st.sampled_from([None, *S]), min_size=2))
def test_seats_moved_add_up_to_the_last_status(life: list[BookingStatus]) -> None:
    """Whatever its statuses were, a booking holds or has sold exactly what its last status says, once."""
    steps = [seats_moved(old, new) for old, new in zip([None, *life], life, strict=False) if new is not None or old]
    held, sold = (sum(step[number] for step in steps) for number in (0, 1))

    assert (held, sold) == (int(life[-1] is S.PENDING), int(life[-1] is S.CONFIRMED))


types = st.sampled_from([UUID(int=30), UUID(int=31), UUID(int=32)])
items = st.lists(st.builds(Item, types, st.integers(1, 5), st.just(0)), min_size=1, max_size=4).map(tuple)
statuses = st.sampled_from(list(S))


@given(st.lists(st.tuples(st.none() | statuses, statuses, items), max_size=8))
def test_moves_are_the_difference_of_what_is_taken(
    changes: list[tuple[BookingStatus | None, BookingStatus, tuple[Item, ...]]],
) -> None:
    """Summed up over bookings and items, also where a booking names a ticket type twice."""
    pairs = []
    expected: Counter[tuple[UUID, int]] = Counter()
    for before, after, its in changes:
        new = STATES["awaiting"]._replace(items=its, status=after)
        pairs.append((None if before is None else new._replace(status=before), new))
        for item in its:
            for number, status in enumerate((S.PENDING, S.CONFIRMED)):
                change = int(after is status) - int(before is status)
                expected[item.ticket_type_id, number] += change * item.quantity
    found = moves(pairs)

    summed: Counter[tuple[UUID, int]] = Counter()
    for _, id, held, sold in found:
        summed[id, 0] += held
        summed[id, 1] += sold
    assert {key: n for key, n in summed.items() if n} == {key: n for key, n in expected.items() if n}
    assert [status for status in S if sum(seats_moved(None, status)) > 0] == [S.PENDING, S.CONFIRMED]


# --- Lives -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """What happens `minutes` after the step before: a report, a request, or the passing of time."""

    minutes: int
    what: PaymentState | Trigger | None
    seats_free: bool = False
    refund_id: int = 0
    amount: int | None = None

    def applied(self, booking: Booking, at: timedelta) -> Decision:
        if isinstance(self.what, PaymentState):
            return applied(booking, self.what, at, seats_free=self.seats_free)
        if self.what is None:
            return retried(booking, at)
        what: dict[Trigger, Happening] = {
            Trigger.CANCEL: Cancel("by_customer", self.seats_free),
            Trigger.REFUND: Refund(UUID(int=40 + self.refund_id), self.amount),
        }
        try:
            return asked(booking, what.get(self.what, self.what), at)
        except HoldfastError:
            return Decision(booking)


@st.composite
def reports(draw: st.DrawFn) -> PaymentState:
    """Any report, also one that a correct payment actor would not send."""
    status = draw(st.sampled_from(list(IntentStatus)))
    captured = draw(st.sampled_from([0, 1, AMOUNT, AMOUNT + 1])) if status is IntentStatus.SUCCEEDED else 0
    back = draw(st.sampled_from([0, captured // 2, captured]))
    return report(
        status.value,
        draw(st.integers(0, 20)),
        amount_captured=captured,
        amount_refunded=back,
        currency=draw(st.sampled_from(["eur", "eur", "eur", "usd"])),
        intent_id=draw(st.sampled_from(["pi_1", "pi_2", None])),
        refund_ids=tuple(draw(st.lists(st.integers(40, 43).map(lambda n: UUID(int=n)), max_size=3))),
        refund_pending=draw(st.booleans()),
        refund_failed=draw(st.booleans()),
        disputed=draw(st.booleans()),
        last_error=draw(st.none() | st.just(DECLINE)),
    )


REQUESTS = [Trigger.CANCEL, Trigger.REFUND, Trigger.EXPIRED, Trigger.GRACE_OVER]
steps = st.builds(
    Step,
    st.integers(0, 30),
    reports() | st.sampled_from(REQUESTS) | st.none(),
    st.booleans(),
    st.integers(0, 3),
    st.none() | st.integers(1, AMOUNT + 1),
)


def walk(booking: Booking, life: Sequence[Step]) -> Booking:
    """Play the steps, and check that each changes no more than it may."""
    at, held = timedelta(), seats_moved(None, booking.status)
    for step in life:
        at += timedelta(minutes=step.minutes)
        decision = step.applied(booking, at)
        after = decision.booking
        assert violations(after) == []
        assert after.version in (booking.version, booking.version + 1)
        if after.version == booking.version:
            same = after._replace(payment_version=0, payment_digest=None, retry_at=None, retry_count=0)
            assert same == booking._replace(payment_version=0, payment_digest=None, retry_at=None, retry_count=0)
        else:
            assert after.updated_at == NOW + at
            assert after.retry_at is None or after.retry_at >= NOW + at
        assert after.payment_version >= booking.payment_version
        assert not decision.unexpected or after.version == booking.version
        moved = seats_moved(booking.status, after.status)
        held = (held[0] + moved[0], held[1] + moved[1])
        assert held == seats_moved(None, after.status)
        booking = after
    return booking


@settings(max_examples=200)
@given(st.sampled_from(sorted(STATES)), st.lists(steps, max_size=12))
def test_no_life_breaks_a_check_of_the_database(state: str, life: list[Step]) -> None:
    """Versions grow by one with each change, unfinished bookings have a retry time, refunds fit what is left."""
    walk(STATES[state], life)


START = NOW + timedelta(days=30)


def admitted(unit_amount: int) -> Booking:
    event = Event(
        UUID(int=2), "Concert", START, "eur", True, 10, {SEATS: TicketType(SEATS, "Seat", unit_amount, capacity=5)}
    )
    items = (ItemRequest(ticket_type_id=SEATS, quantity=2),)
    request = CreateBooking(booking_id=UUID(int=1), owner="alice", event_id=event.id, items=items)
    booking = admit(request, event, Seats({SEATS: 5}), NOW, TERMS)
    assert isinstance(booking, Booking)
    return booking


@settings(max_examples=200)
@given(st.sampled_from([0, AMOUNT // 2]), st.lists(steps, max_size=12))
def test_no_life_from_the_beginning_breaks_a_check_of_the_database(unit_amount: int, life: list[Step]) -> None:
    """From the request on, for a paid and for a free booking."""
    walk(admitted(unit_amount), life)


@settings(max_examples=200)
@given(st.sampled_from(sorted(STATES)), st.lists(steps, max_size=8))
def test_every_booking_ends_by_time_alone_unless_money_is_on_its_way(state: str, life: list[Step]) -> None:
    """Whatever came before: if Stripe reports nothing more, the seats are given back in bounded time."""
    booking = walk(STATES[state], life)
    processing = booking.payment.value == "processing"
    for _ in range(200):
        if booking.retry_at is None or booking.refund_owed or booking.intent_to_cancel:
            break  # its seats are free; an owed refund or an intent to cancel is asked for without an end
        booking = retry(booking, booking.retry_at, TERMS).booking

    assert booking.status is not S.PENDING or processing
