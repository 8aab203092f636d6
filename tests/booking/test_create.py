"""CreateBooking: which requests get seats, and how a repeated request is answered."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from booking.state import Event
from common.contracts.messages import (
    BookingChanged,
    CreateBooking,
    CreatePaymentIntent,
    EventChanges,
    ItemRequest,
    Reply,
    TicketTypeChange,
    UpdateEvent,
)
from common.contracts.resources import Booking
from common.contracts.statuses import IntentStatus
from tests.booking.stage import TERMS, Show, Stage, asked, of, report


async def test_seats_are_held_and_an_intent_is_requested(stage: Stage) -> None:
    show = await stage.show(10)
    before = datetime.now(UTC)
    envelopes = await stage.give(order := show.order(3))
    (reply,) = of(envelopes, Reply)
    booking = Booking.model_validate(reply.result["booking"])
    assert reply.result["created"] is True
    assert (booking.id, booking.status, booking.payment.status) == (order.booking_id, "pending", "creating")
    assert (booking.amount, booking.currency, booking.version) == (7500, "eur", 1)
    assert booking.expires_at is not None
    assert before + TERMS.hold <= booking.expires_at <= datetime.now(UTC) + TERMS.hold
    (intent,) = of(envelopes, CreatePaymentIntent)
    assert (intent.booking_id, intent.event_id, intent.amount, intent.currency) == (
        booking.id,
        show.id,
        7500,
        "eur",
    )
    # Its first notification is held back until the intent exists, see test_queue.py.
    assert of(envelopes, BookingChanged) == []
    assert await stage.seats(show) == [(3, 0)]


async def test_seats_go_in_stream_order_until_none_are_left(stage: Stage) -> None:
    show = await stage.show(5)
    bookings = await stage.book(*(show.order(2) for _ in range(3)), show.order(1), show.order(1))
    assert [(b.status, b.reason) for b in bookings] == [
        ("pending", None),
        ("pending", None),
        ("failed", "sold_out"),
        ("pending", None),
        ("failed", "sold_out"),
    ]
    assert await stage.seats(show) == [(5, 0)]


async def test_booking_of_several_ticket_types_is_all_or_nothing(stage: Stage) -> None:
    show = await stage.show(5, 1)
    items = tuple(
        ItemRequest(ticket_type_id=id, quantity=quantity) for id, quantity in zip(show.types, (2, 2), strict=True)
    )
    (failed,) = await stage.book(CreateBooking(booking_id=uuid4(), owner="alice", event_id=show.id, items=items))
    assert (failed.status, failed.reason) == ("failed", "sold_out")
    assert await stage.seats(show) == [(0, 0), (0, 0)]


async def test_ticket_type_named_twice_is_counted_as_one(stage: Stage) -> None:
    show = await stage.show(3)
    items = (
        ItemRequest(ticket_type_id=show.types[0], quantity=2),
        ItemRequest(ticket_type_id=show.types[0], quantity=2),
    )
    (failed,) = await stage.book(CreateBooking(booking_id=uuid4(), owner="alice", event_id=show.id, items=items))
    assert (failed.status, failed.reason) == ("failed", "sold_out")


async def test_free_booking_is_confirmed_at_once(stage: Stage) -> None:
    show = await stage.show(5, unit_amount=0)
    envelopes = await stage.give(show.order(2))
    (changed,) = of(envelopes, BookingChanged)
    assert (changed.booking.status, changed.booking.payment.status) == ("confirmed", "none")
    assert asked(envelopes) == []
    assert await stage.seats(show) == [(0, 2)]


async def test_repeated_request_finds_its_booking(stage: Stage) -> None:
    show = await stage.show(10)
    order = show.order(3)
    (first,) = await stage.call(order)
    envelopes = await stage.give(order, order)
    assert [reply.result for reply in of(envelopes, Reply)] == [{**first.result, "created": False}] * 2
    # Published again, as the process that made the booking may have been killed before it published.
    (changed,) = of(envelopes, BookingChanged)
    assert changed.booking.model_dump(mode="json") == first.result["booking"]
    assert len(envelopes) == 3
    assert await stage.seats(show) == [(3, 0)]


async def test_request_repeated_within_a_batch_counts_once(stage: Stage) -> None:
    show = await stage.show(10)
    order = show.order(3)
    envelopes = await stage.give(order, order)
    assert [reply.result["created"] for reply in of(envelopes, Reply)] == [True, False]
    assert len(of(envelopes, CreatePaymentIntent)) == 1
    assert await stage.seats(show) == [(3, 0)]


@pytest.mark.parametrize("other", ["quantity", "event", "owner", "type"])
async def test_key_with_another_content_changes_nothing(stage: Stage, other: str) -> None:
    show, elsewhere = await stage.show(10, 10), await stage.show(10)
    id = uuid4()
    await stage.book(show.order(3, id=id))
    wrong = {
        "quantity": show.order(2, id=id),
        "event": elsewhere.order(3, id=id),
        "owner": show.order(3, id=id, owner="mallory"),
        "type": show.order(3, id=id, type=show.types[1]),
    }[other]
    envelopes = await stage.give(wrong)
    assert [each.message.error for each in envelopes if isinstance(each.message, Reply)] == [
        "idempotency_key_reused"
    ]
    assert len(envelopes) == 1
    assert await stage.seats(show) == [(3, 0), (0, 0)]
    assert await stage.seats(elsewhere) == [(0, 0)]


async def test_only_ticket_type_need_not_be_named(stage: Stage) -> None:
    show, two = await stage.show(10), await stage.show(10, 10)

    def unnamed(of: Show) -> CreateBooking:
        return CreateBooking(booking_id=uuid4(), owner="alice", event_id=of.id, items=(ItemRequest(quantity=2),))

    (booking,) = await stage.book(unnamed(show))
    assert booking.items[0].ticket_type_id == show.types[0]
    (refused,) = await stage.call(unnamed(two))
    assert refused.error == "ticket_type_required"


async def test_a_refused_booking_leaves_no_row(stage: Stage) -> None:
    show, dear = await stage.show(100, max_per_booking=10), await stage.show(100, unit_amount=50_000_000)
    closed = await stage.show(10, on_sale=False)
    nowhere = Show(uuid4(), (uuid4(),))
    replies = await stage.call(
        nowhere.order(), closed.order(), show.order(11), show.order(type=uuid4()), dear.order(2)
    )
    assert [reply.error for reply in replies] == [
        "event_not_found", "not_on_sale", "quantity_over_limit", "ticket_type_not_found", "amount_over_limit",
    ]  # fmt: skip
    assert await stage.rows("SELECT id FROM bookings") == []


async def test_price_is_that_of_the_time_of_booking(stage: Stage) -> None:
    show = await stage.show(10)
    (before,) = await stage.book(order := show.order(1))
    await stage.rows("UPDATE ticket_types SET unit_amount = 9900, version = version + 1")
    (after,) = await stage.book(show.order(1))
    (again,) = await stage.book(order)
    assert (before.amount, after.amount, again.amount) == (2500, 9900, 2500)


async def test_another_price_than_was_expected_holds_nothing(stage: Stage) -> None:
    """Neither a booking is made nor a seat taken; at the right price the same key books."""
    show = await stage.show(10)
    order = show.order(2)
    for expected in (4999, 5001, 0):
        (refused,) = await stage.call(order.model_copy(update={"expected_amount": expected}))
        assert refused.error == "price_changed"
        assert refused.extra == {"amount": 5000, "expected_amount": expected, "currency": "eur"}
    assert await stage.rows("SELECT id FROM bookings") == []
    assert await stage.seats(show) == [(0, 0)]
    (made,) = await stage.book(order.model_copy(update={"expected_amount": 5000}))
    assert (made.status, made.amount) == ("pending", 5000)


async def test_what_is_expected_is_no_part_of_the_request(stage: Stage) -> None:
    """A booking that is there is the answer, also to a repetition that expects another price or none."""
    show = await stage.show(10)
    order = show.order(2)
    (made,) = await stage.book(order.model_copy(update={"expected_amount": 5000}))
    for expected in (5000, 1, None):
        (again,) = await stage.book(order.model_copy(update={"expected_amount": expected}))
        assert again == made
    assert await stage.seats(show) == [(2, 0)]


async def test_the_price_is_compared_with_that_of_the_database(stage: Stage) -> None:
    """Memory still has the price that the client expects; another process has changed it."""
    show = await stage.show(10)
    await stage.book(show.order(1))
    other = Stage.build(stage.database, stage.redis)
    dearer = TicketTypeChange(id=show.types[0], new=False, unit_amount=2600)
    await other.give(UpdateEvent(event_id=show.id, changes=EventChanges(), ticket_types=(dearer,)))
    (refused,) = await stage.call(show.order(1).model_copy(update={"expected_amount": 2500}))
    assert (refused.error, refused.extra["amount"]) == ("price_changed", 2600)
    (made,) = await stage.book(show.order(1).model_copy(update={"expected_amount": 2600}))
    assert made.amount == 2600
    assert await stage.seats(show) == [(2, 0)]


async def test_sales_stop_with_the_event(stage: Stage) -> None:
    show = await stage.show(10)
    await stage.give(UpdateEvent(event_id=show.id, changes=EventChanges(on_sale=False)))
    (refused,) = await stage.call(show.order())
    assert refused.error == "not_on_sale"


async def test_races_of_many_batches_never_oversell(stage: Stage) -> None:
    """Twenty transactions at once, for four events in different orders, with every request sent twice."""
    shows = [await stage.show(20, 15) for _ in range(4)]
    orders = [
        shows[number % 4].order(1 + number % 3, type=shows[number % 4].types[number % 2]) for number in range(240)
    ]
    batches = [orders[start::20] + orders[(start + 7) % 20 :: 20] for start in range(20)]
    replies = await asyncio.gather(*(stage.call(*batch) for batch in batches))
    bookings = {
        UUID(reply.result["booking"]["id"]): Booking.model_validate(reply.result["booking"])
        for batch in replies
        for reply in batch
    }
    assert len(bookings) == 240
    for show in shows:
        held = [seats for seats, _ in await stage.seats(show)]
        assert all(seats <= capacity for seats, capacity in zip(held, (20, 15), strict=True))
        # No request was refused whose seats were left at the end.
        for number, capacity in enumerate((20, 15)):
            left = capacity - held[number]
            refused = [
                b.items[0].quantity
                for b in bookings.values()
                if b.status == "failed" and b.items[0].ticket_type_id == show.types[number]
            ]
            assert all(quantity > left for quantity in refused)


async def test_races_of_payments_and_bookings_for_one_event_do_not_block_each_other(stage: Stage) -> None:
    show = await stage.show(200)
    bookings = await stage.book(*(show.order() for _ in range(100)))
    await stage.apply(*(report(b, IntentStatus.REQUIRES_PAYMENT_METHOD, 1) for b in bookings))

    async def pay(some: list[Booking]) -> None:
        await stage.apply(*(report(b, IntentStatus.SUCCEEDED, 2) for b in some))

    async def more() -> None:
        await stage.book(*(show.order() for _ in range(10)))

    await asyncio.gather(*(work for n in range(10) for work in (pay(bookings[n::10]), pay(bookings[n::7]), more())))
    assert await stage.seats(show) == [(100, 100)]


def test_event_is_a_value() -> None:
    """Handlers pass events on without copying them: no code can change one in between."""
    with pytest.raises(AttributeError):
        Event(uuid4(), "n", datetime.now(UTC), "eur", True, 1, {}).name = "other"  # type: ignore[misc]
