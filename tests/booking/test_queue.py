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
from common.runtime.outages import RedisOutage
from tests.booking.stage import Show, Stage, report


async def waiting(stage: Stage, show: Show, count: int) -> list[Booking]:
    """Bookings made one after another, in the order of the queue."""
    bookings = []
    for _ in range(count):
        bookings += await stage.book(show.order())
    return bookings


async def get_intent(stage: Stage, booking: Booking) -> None:
    await stage.apply(report(booking, IntentStatus.REQUIRES_PAYMENT_METHOD, 1))


async def positions(stage: Stage, query: Message) -> list[int | None]:
    (reply,) = await stage.call(query)
    found = reply.result["items"] if isinstance(query, ListBookings) else [reply.result]
    return [booking["payment"]["queue_position"] for booking in found]


async def listed(stage: Stage) -> list[int | None]:
    """Queue positions, in the order in which the bookings were made."""
    return (await positions(stage, ListBookings(owner="alice", limit=200)))[::-1]


def queue_of(stage: Stage, holder: str = "this") -> Queue:
    return Queue(stage.store, stage.bus, stage.redis, holder, 60_000)


async def samples(stage: Stage, queue: Queue) -> list[QueueMoved]:
    """What is published of the queue now."""
    return [message for message in await published(stage, queue) if isinstance(message, QueueMoved)]


async def published(stage: Stage, queue: Queue) -> list[Message]:
    """All that the queue publishes now, with the first notifications whose time has come."""
    await stage.redis.delete("notifications")
    queue._next_sample_at = 0.0
    await queue.run_once()
    entries: Any = await stage.redis.xrange("notifications")
    return [decode("notifications", Entry(id, fields)).envelope.message for id, fields in entries]


async def test_position_is_the_number_of_waiting_bookings_made_before(stage: Stage) -> None:
    first, second, third = await waiting(stage, await stage.show(10), 3)
    assert await listed(stage) == [0, 1, 2]
    await get_intent(stage, second)
    assert await listed(stage) == [0, None, 1]
    await get_intent(stage, first)
    assert await positions(stage, GetBooking(booking_id=third.id, owner="alice")) == [0]
    await get_intent(stage, third)
    assert await listed(stage) == [None, None, None]


async def test_every_query_of_a_waiting_booking_is_answered_with_its_position(stage: Stage) -> None:
    *_, booking = await waiting(stage, await stage.show(10), 3)
    id = booking.id
    for query in (
        GetBooking(booking_id=id, owner="alice"),
        GetBooking(booking_id=id, owner=None),
        RequestPayment(booking_id=id, owner="alice"),
    ):
        assert await positions(stage, query) == [2]


async def test_bookings_of_one_batch_have_different_positions(stage: Stage) -> None:
    show = await stage.show(10)
    bookings = await stage.book(*(show.order() for _ in range(5)))
    replies = await stage.call(*(GetBooking(booking_id=booking.id, owner="alice") for booking in bookings))
    assert sorted(reply.result["payment"]["queue_position"] for reply in replies) == [0, 1, 2, 3, 4]


async def test_bookings_that_are_no_longer_wanted_are_not_counted(stage: Stage) -> None:
    first, second, third = await waiting(stage, await stage.show(10), 3)
    await stage.cancel(first)
    (expired,) = await stage.book((await stage.show(10)).order())
    await stage.rows("UPDATE bookings SET expires_at = now(), settle_after = now() WHERE id = $1", second.id)
    await stage.reconcile_now()
    assert await positions(stage, GetBooking(booking_id=first.id, owner=None)) == [None]
    assert await positions(stage, GetBooking(booking_id=second.id, owner=None)) == [None]
    assert await positions(stage, GetBooking(booking_id=third.id, owner=None)) == [0]
    assert await positions(stage, GetBooking(booking_id=expired.id, owner=None)) == [1]


async def test_booking_that_is_being_cancelled_says_so(stage: Stage) -> None:
    (booking,) = await waiting(stage, await stage.show(10), 1)
    await stage.cancel(booking, CancelReason.BY_CUSTOMER)
    (reply,) = await stage.call(GetBooking(booking_id=booking.id, owner="alice"))
    assert (reply.result["status"], reply.result["closing"]) == ("pending", "by_customer")


async def test_sample_has_the_first_positions_and_the_last(stage: Stage) -> None:
    show = await stage.show(200)
    bookings = await stage.book(*(show.order() for _ in range(120)))
    in_order = sorted(bookings, key=lambda booking: (booking.created_at, booking.id))
    (moved,) = await samples(stage, queue_of(stage))
    assert (moved.total, moved.interval_ms) == (120, 60_000)
    sampled = [position for position, _, _ in moved.places]
    assert sampled == [*(position for position in SAMPLED if position < 120), 119]
    assert sampled[:33] == list(range(33))
    assert [(created_at, id) for _, created_at, id in moved.places] == [
        (in_order[position].created_at, in_order[position].id) for position in sampled
    ]


def test_sample_is_small_for_any_queue_and_positions_are_known_to_a_tenth() -> None:
    assert len(SAMPLED) < 200
    assert all(0 < after - before <= max(1, before / 10) for before, after in pairwise(SAMPLED))


async def test_of_an_empty_queue_only_one_sample_is_published(stage: Stage) -> None:
    queue = queue_of(stage)
    assert await samples(stage, queue) == []
    (booking,) = await waiting(stage, await stage.show(10), 1)
    queue.request_sample()
    (moved,) = await samples(stage, queue)
    assert [id for _, _, id in moved.places] == [booking.id]
    await get_intent(stage, booking)
    assert await samples(stage, queue) == [QueueMoved(places=(), total=0, interval_ms=60_000)]
    assert await samples(stage, queue) == []


async def test_one_process_publishes_samples_and_another_continues_when_it_dies(stage: Stage) -> None:
    await waiting(stage, await stage.show(10), 1)
    queue, other = queue_of(stage), queue_of(stage, "other")
    for _ in range(2):
        assert len(await samples(stage, queue)) == 1
        assert await samples(stage, other) == []
    assert 60_000 < await stage.redis.pttl(LEASE_KEY) <= 120_000
    # The lease has expired, or Redis has lost it.
    await stage.redis.delete(LEASE_KEY)
    assert len(await samples(stage, other)) == 1


async def test_nothing_is_read_while_no_booking_has_waited_for_long(
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


async def test_one_sample_is_published_in_an_interval(stage: Stage) -> None:
    await waiting(stage, await stage.show(10), 1)
    queue = queue_of(stage)
    assert len(await samples(stage, queue)) == 1
    await queue.run_once()
    assert await stage.redis.xlen("notifications") == 1


async def test_a_process_that_retries_a_waiting_booking_publishes_samples(stage: Stage) -> None:
    """The process that made it may have ended."""
    await waiting(stage, await stage.show(10), 1)
    stage.queue._held.clear()
    await stage.queue.run_once()
    stage.queue._sample_wanted = False
    await stage.reconcile(timedelta(seconds=11))
    assert len(await samples(stage, stage.queue)) == 1


# --- the first notification of a booking ------------------------------------------------------------------


async def long_after(stage: Stage, monkeypatch: pytest.MonkeyPatch, queue: Queue | None = None) -> list[Message]:
    """What is published once first notifications have been held back as long as they may be."""
    monkeypatch.setattr(queue_module, "HELD_S", 0)
    return await published(stage, queue or stage.queue)


async def test_a_held_back_notification_is_published_when_the_booking_still_waits(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = await stage.show(10)
    paid, late = await stage.book(show.order(), show.order())
    assert not [each for each in await published(stage, stage.queue) if isinstance(each, BookingChanged)]
    await get_intent(stage, paid)
    changed, moved = await long_after(stage, monkeypatch)
    assert changed == BookingChanged(owner="alice", booking=late)
    assert isinstance(moved, QueueMoved)
    assert [type(each) for each in await published(stage, stage.queue)] == [QueueMoved]


async def test_held_back_notifications_are_published_in_pages(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one pass publishes; each once, and none of a booking that has got its intent in between."""
    monkeypatch.setattr(queue_module, "PUBLISHED_MAX", 2)
    show = await stage.show(10)
    bookings = await stage.book(*(show.order() for _ in range(6)))
    await get_intent(stage, bookings[3])
    found = [each.booking for each in await long_after(stage, monkeypatch) if isinstance(each, BookingChanged)]
    assert sorted(found, key=lambda each: each.id) == sorted(
        (each for each in bookings if each.id != bookings[3].id), key=lambda each: each.id
    )


async def test_a_held_back_notification_is_dropped_when_another_process_has_published_a_later_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker, other = stage, Stage.build(stage.database, stage.redis)
    (booking,) = await maker.book((await maker.show(10)).order())
    await get_intent(other, booking)
    assert await long_after(maker, monkeypatch) == []


async def test_a_held_back_notification_of_a_dead_process_is_replaced_by_the_next_version(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client has the reply, or asks again; other listeners get the next version, or the queue position."""
    dies, lives = stage, Stage.build(stage.database, stage.redis)
    show = await dies.show(10)
    order = show.order()
    (booking,) = await dies.book(order)
    (reply, changed) = (await lives.give(order))[::-1]
    assert isinstance(reply.message, Reply)
    assert changed.message == BookingChanged(owner="alice", booking=booking)
    (moved,) = await long_after(lives, monkeypatch)
    assert isinstance(moved, QueueMoved)
    (later,) = await lives.apply(report(booking, IntentStatus.REQUIRES_PAYMENT_METHOD, 1))
    assert (later.version, later.payment.status) == (2, "awaiting")


async def test_a_held_back_notification_waits_during_an_outage(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (booking,) = await stage.book((await stage.show(10)).order())
    with monkeypatch.context() as broken:

        async def refuse(*_: object) -> None:
            raise RedisOutage("made up")

        broken.setattr(Publisher, "publish", refuse)
        with pytest.raises(RedisOutage):
            await long_after(stage, broken)
    changed, _ = await long_after(stage, monkeypatch)
    assert changed == BookingChanged(owner="alice", booking=booking)


async def test_queue_is_read_from_its_index_alone(stage: Stage) -> None:
    """However many bookings there are, only those that wait are read."""
    show = await stage.show(1000)
    done = await stage.book(*(show.order() for _ in range(300)))
    await stage.apply(*(report(each, IntentStatus.REQUIRES_PAYMENT_METHOD, 1) for each in done))
    await waiting(stage, show, 2)
    await stage.rows("ANALYZE bookings")
    plan = await stage.rows(
        f"EXPLAIN SELECT count(*) FROM bookings WHERE {QUEUED} AND (deferred, created_at, id) <= ($1, $2, $3)",
        True,
        stage.clock() + timedelta(1),
        UUID(int=0),
    )
    assert "bookings_queue" in " ".join(row[0] for row in plan)
