"""The queue in front of Stripe: each booking's position, and the snapshot of it that gateways get."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from booking import queue as queue_module
from booking.queue import LEASE_KEY, QUEUED, SAMPLED, Queue
from booking.repository import Store
from common.contracts.messages import (
    BookingChanged,
    GetBooking,
    ListBookings,
    Message,
    QueueMoved,
    Reply,
    RequestPayment,
)
from common.contracts.resources import Booking
from common.contracts.statuses import CancelReason, IntentStatus
from common.messaging.envelope import decode
from common.messaging.publisher import Publisher
from common.messaging.streams import Entry
from common.runtime.outages import RedisAway
from tests.booking.stage import Show, Stage, report


async def waiting(stage: Stage, show: Show, count: int) -> list[Booking]:
    """Bookings made one after another, in the order of the queue."""
    bookings = []
    for _ in range(count):
        bookings += await stage.book(show.order())
    return bookings


async def get_intent(stage: Stage, booking: Booking) -> None:
    await stage.tell(report(booking, IntentStatus.REQUIRES_PAYMENT_METHOD, 1))


async def places(stage: Stage, question: Message) -> list[int | None]:
    (reply,) = await stage.ask(question)
    found = reply.result["items"] if isinstance(question, ListBookings) else [reply.result]
    return [booking["payment"]["queue_position"] for booking in found]


async def listed(stage: Stage) -> list[int | None]:
    """Queue positions, in the order in which the bookings were made."""
    return (await places(stage, ListBookings(owner="alice", limit=200)))[::-1]


def queue_of(stage: Stage, holder: str = "this") -> Queue:
    return Queue(stage.store, stage.bus, stage.redis, holder, 60_000)


async def pictures(stage: Stage, queue: Queue) -> list[QueueMoved]:
    """What is published of the queue now."""
    return [message for message in await heard(stage, queue) if isinstance(message, QueueMoved)]


async def heard(stage: Stage, queue: Queue) -> list[Message]:
    """All that the queue publishes now, with the first notifications whose time has come."""
    await stage.redis.delete("notifications")
    queue._places_at = 0.0
    await queue.run_once()
    entries: Any = await stage.redis.xrange("notifications")
    return [decode("notifications", Entry(id, fields)).envelope.message for id, fields in entries]


async def test_place_is_the_number_of_bookings_asked_for_before(stage: Stage) -> None:
    first, second, third = await waiting(stage, await stage.show(10), 3)
    assert await listed(stage) == [0, 1, 2]
    await get_intent(stage, second)
    assert await listed(stage) == [0, None, 1]
    await get_intent(stage, first)
    assert await places(stage, GetBooking(booking_id=third.id, owner="alice")) == [0]
    await get_intent(stage, third)
    assert await listed(stage) == [None, None, None]


async def test_every_question_about_a_waiting_booking_is_answered_with_its_place(stage: Stage) -> None:
    *_, booking = await waiting(stage, await stage.show(10), 3)
    id = booking.id
    for question in (
        GetBooking(booking_id=id, owner="alice"),
        GetBooking(booking_id=id, owner=None),
        RequestPayment(booking_id=id, owner="alice"),
    ):
        assert await places(stage, question) == [2]


async def test_bookings_of_one_batch_have_places_of_their_own(stage: Stage) -> None:
    show = await stage.show(10)
    bookings = await stage.book(*(show.order() for _ in range(5)))
    replies = await stage.ask(*(GetBooking(booking_id=booking.id, owner="alice") for booking in bookings))
    assert sorted(reply.result["payment"]["queue_position"] for reply in replies) == [0, 1, 2, 3, 4]


async def test_who_does_not_want_a_booking_any_more_holds_nobody_up(stage: Stage) -> None:
    first, second, third = await waiting(stage, await stage.show(10), 3)
    await stage.cancel(first)
    (expired,) = await stage.book((await stage.show(10)).order())
    await stage.rows("UPDATE bookings SET expires_at = now(), settle_after = now() WHERE id = $1", second.id)
    await stage.settle_now()
    assert await places(stage, GetBooking(booking_id=first.id, owner=None)) == [None]
    assert await places(stage, GetBooking(booking_id=second.id, owner=None)) == [None]
    assert await places(stage, GetBooking(booking_id=third.id, owner=None)) == [0]
    assert await places(stage, GetBooking(booking_id=expired.id, owner=None)) == [1]


async def test_booking_that_is_being_cancelled_says_so(stage: Stage) -> None:
    (booking,) = await waiting(stage, await stage.show(10), 1)
    await stage.cancel(booking, CancelReason.BY_CUSTOMER)
    (reply,) = await stage.ask(GetBooking(booking_id=booking.id, owner="alice"))
    assert (reply.result["status"], reply.result["closing"]) == ("pending", "by_customer")


async def test_picture_holds_the_front_and_the_last(stage: Stage) -> None:
    show = await stage.show(200)
    bookings = await stage.book(*(show.order() for _ in range(120)))
    in_order = sorted(bookings, key=lambda booking: (booking.created_at, booking.id))
    (moved,) = await pictures(stage, queue_of(stage))
    assert (moved.total, moved.interval_ms) == (120, 60_000)
    told = [place for place, _, _ in moved.places]
    assert told == [*(place for place in SAMPLED if place < 120), 119]
    assert told[:33] == list(range(33))
    assert [(created_at, id) for _, created_at, id in moved.places] == [
        (in_order[place].created_at, in_order[place].id) for place in told
    ]


def test_sample_is_small_for_any_queue_and_knows_places_to_a_tenth() -> None:
    assert len(SAMPLED) < 200
    assert all(0 < after - before <= max(1, before / 10) for before, after in pairwise(SAMPLED))


async def test_nothing_is_told_while_nobody_waits_but_the_end(stage: Stage) -> None:
    queue = queue_of(stage)
    assert await pictures(stage, queue) == []
    (booking,) = await waiting(stage, await stage.show(10), 1)
    queue.look()
    (moved,) = await pictures(stage, queue)
    assert [id for _, _, id in moved.places] == [booking.id]
    await get_intent(stage, booking)
    assert await pictures(stage, queue) == [QueueMoved(places=(), total=0, interval_ms=60_000)]
    assert await pictures(stage, queue) == []


async def test_the_fleet_tells_once_and_another_goes_on_when_one_dies(stage: Stage) -> None:
    await waiting(stage, await stage.show(10), 1)
    queue, other = queue_of(stage), queue_of(stage, "other")
    for _ in range(2):
        assert len(await pictures(stage, queue)) == 1
        assert await pictures(stage, other) == []
    assert 60_000 < await stage.redis.pttl(LEASE_KEY) <= 120_000
    # The lease has expired, or Redis has lost it.
    await stage.redis.delete(LEASE_KEY)
    assert len(await pictures(stage, other)) == 1


async def test_nothing_is_asked_while_nobody_has_waited_for_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.queue.run_once()
    (booking,) = await stage.book((await stage.show(10)).order())
    monkeypatch.setattr(Store, "reading", None)
    await stage.redis.delete(LEASE_KEY)
    await stage.queue.run_once()
    assert not await stage.redis.exists(LEASE_KEY, "notifications")
    monkeypatch.undo()
    await get_intent(stage, booking)
    assert await long_after(stage, monkeypatch) == []


async def test_places_are_told_at_most_once_in_the_interval(stage: Stage) -> None:
    await waiting(stage, await stage.show(10), 1)
    queue = queue_of(stage)
    assert len(await pictures(stage, queue)) == 1
    await queue.run_once()
    assert await stage.redis.xlen("notifications") == 1


async def test_a_process_that_drives_a_booking_looks_who_waits(stage: Stage) -> None:
    """The process that made it may have ended."""
    await waiting(stage, await stage.show(10), 1)
    stage.queue._held.clear()
    await stage.queue.run_once()
    stage.queue._looks = False
    await stage.settle(timedelta(seconds=11))
    assert len(await pictures(stage, stage.queue)) == 1


# --- the first notification of a booking ------------------------------------------------------------------


async def long_after(stage: Stage, monkeypatch: pytest.MonkeyPatch, queue: Queue | None = None) -> list[Message]:
    """What is published once first notifications have been held back as long as they may be."""
    monkeypatch.setattr(queue_module, "HELD_S", 0)
    return await heard(stage, queue or stage.queue)


async def test_a_booking_that_waits_for_long_is_told_of_then(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    show = await stage.show(10)
    paid, late = await stage.book(show.order(), show.order())
    assert not [each for each in await heard(stage, stage.queue) if isinstance(each, BookingChanged)]
    await get_intent(stage, paid)
    changed, moved = await long_after(stage, monkeypatch)
    assert changed == BookingChanged(owner="alice", booking=late)
    assert isinstance(moved, QueueMoved)
    assert [type(each) for each in await heard(stage, stage.queue)] == [QueueMoved]


async def test_many_that_wait_for_long_are_all_told_of(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one pass publishes; each once, and none of a booking that has got its intent in between."""
    monkeypatch.setattr(queue_module, "TOLD_MAX", 2)
    show = await stage.show(10)
    bookings = await stage.book(*(show.order() for _ in range(6)))
    await get_intent(stage, bookings[3])
    told = [each.booking for each in await long_after(stage, monkeypatch) if isinstance(each, BookingChanged)]
    assert sorted(told, key=lambda each: each.id) == sorted(
        (each for each in bookings if each.id != bookings[3].id), key=lambda each: each.id
    )


async def test_news_that_another_process_has_followed_by_later_news_is_not_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker, other = stage, Stage.build(stage.database, stage.redis)
    (booking,) = await maker.book((await maker.show(10)).order())
    await get_intent(other, booking)
    assert await long_after(maker, monkeypatch) == []


async def test_news_that_is_held_back_when_its_process_dies_comes_with_the_next_version(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client has the reply, or asks again; other listeners get the next version, or the queue position."""
    dies, lives = stage, Stage.build(stage.database, stage.redis)
    show = await dies.show(10)
    order = show.order()
    (booking,) = await dies.book(order)
    (reply, told) = (await lives.give(order))[::-1]
    assert isinstance(reply.message, Reply)
    assert told.message == BookingChanged(owner="alice", booking=booking)
    (moved,) = await long_after(lives, monkeypatch)
    assert isinstance(moved, QueueMoved)
    (changed,) = await lives.tell(report(booking, IntentStatus.REQUIRES_PAYMENT_METHOD, 1))
    assert (changed.version, changed.payment.status) == (2, "awaiting")


async def test_news_waits_while_it_cannot_be_published(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    (booking,) = await stage.book((await stage.show(10)).order())
    with monkeypatch.context() as broken:

        async def refuse(*_: object) -> None:
            raise RedisAway("made up")

        broken.setattr(Publisher, "publish", refuse)
        with pytest.raises(RedisAway):
            await long_after(stage, broken)
    changed, _ = await long_after(stage, monkeypatch)
    assert changed == BookingChanged(owner="alice", booking=booking)


async def test_queue_is_read_from_its_index_alone(stage: Stage) -> None:
    """However many bookings there are, only those that wait are read."""
    show = await stage.show(1000)
    done = await stage.book(*(show.order() for _ in range(300)))
    await stage.tell(*(report(each, IntentStatus.REQUIRES_PAYMENT_METHOD, 1) for each in done))
    await waiting(stage, show, 2)
    await stage.rows("ANALYZE bookings")
    plan = await stage.rows(
        f"EXPLAIN SELECT count(*) FROM bookings WHERE {QUEUED} AND (created_at, id) <= ($1, $2)",
        stage.clock() + timedelta(1),
        UUID(int=0),
    )
    assert "bookings_queued" in " ".join(row[0] for row in plan)
