"""A booking that waits for its intent has a queue position, which its owner gets over sockets and in answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientWebSocketResponse

from booking.queue import SAMPLED
from common.contracts.messages import CreateBooking, GetBooking, QueueMoved, RequestPayment
from common.contracts.resources import Booking
from gateway import queue_positions
from gateway.bookings import BookingView
from gateway.hub import HUB, owner_topic
from gateway.queue_positions import QUEUE_POSITIONS, Places, QueueSample
from tests.gateway.conftest import Gateway
from tests.gateway.stage import EVENT_ID, Client, ScriptedBooking, as_json, bearer, booking, create_reply, keyed

Key = tuple[datetime, UUID]
START = datetime(2030, 1, 1, tzinfo=UTC)


def creating(number: int, *, version: int = 1, id: UUID | None = None, **payment: Any) -> Booking:
    """A booking created `number` milliseconds after START."""
    state = as_json(booking(id, payment="creating", version=version))
    state["created_at"] = (START + timedelta(milliseconds=number)).isoformat()
    state["payment"] |= payment
    return Booking.model_validate(state)


def payable(state: Booking) -> Booking:
    return booking(state.id, version=state.version + 1)


def view(state: Booking) -> BookingView:
    return BookingView(as_json(state))


def sampled(keys: list[Key], before: int = 0) -> Places:
    """The sample of one part of the queue, of which these are, behind `before` others."""
    keys = sorted(keys)
    positions = sorted(
        {position for position in SAMPLED if position < len(keys)} | ({len(keys) - 1} if keys else set())
    )
    return tuple((before + position, *keys[position]) for position in positions)


def queue_message(keys: list[Key], interval_ms: int = 60_000, deferred: Sequence[Key] = ()) -> QueueMoved:
    """The sample of a queue of these, as the booking actor publishes it."""
    return QueueMoved(
        places=sampled(keys),
        deferred=sampled(list(deferred), len(keys)),
        total=len(keys) + len(deferred),
        interval_ms=interval_ms,
    )


def key(state: Booking) -> Key:
    return state.created_at, state.id


def others(count: int, first: int = 0) -> list[Key]:
    return [key(creating(first + number)) for number in range(count)]


async def connect(gateway: Client, subject: str = "alice") -> ClientWebSocketResponse[Any]:
    return await gateway.ws_connect("/ws", headers=bearer(subject))


async def received(socket: ClientWebSocketResponse[Any]) -> dict[str, Any]:
    message: dict[str, Any] = await socket.receive_json(timeout=10)
    return message


async def deliver(gateway: Client, keys: list[Key], deferred: Sequence[Key] = ()) -> None:
    """The gateway gets the sample, and has sent the positions to its sockets."""
    gateway.app[QUEUE_POSITIONS].receive(queue_message(keys, deferred=deferred))
    await gateway.app[QUEUE_POSITIONS].send()


def position_message(state: Booking, position: int) -> dict[str, Any]:
    return {"type": "queue", "booking_id": str(state.id), "queue_position": position}


# --- over the socket --------------------------------------------------------------------------------------


async def test_positions_fall_and_end_with_the_intent(gateway: Client, actor: ScriptedBooking) -> None:
    socket = await connect(gateway)
    mine = creating(1000)
    await actor.change("alice", mine)
    assert (await received(socket))["type"] == "booking"
    before = others(20)
    for left in (20, 20, 12, 0):
        await actor.notify(queue_message([*before[20 - left :], key(mine), *others(5, 2000)]))
    await actor.change("alice", payable(mine))
    await actor.notify(queue_message(others(5, 2000)))
    later = creating(3000)
    await actor.change("alice", later)
    messages = [await received(socket) for _ in range(5)]
    # Samples that came while the gateway sent an earlier one are sent as one.
    positions = [one["queue_position"] for one in messages if one["type"] == "queue"]
    assert positions == sorted(set(positions), reverse=True)
    assert messages[len(positions)]["booking"]["payment"]["status"] == "awaiting"


async def test_a_position_never_rises_on_a_socket(gateway: Client, actor: ScriptedBooking) -> None:
    """A sample older than one before, or one in which bookings of another clock come first, is not sent."""
    socket = await connect(gateway)
    mine = creating(1000)
    await actor.change("alice", mine)
    await received(socket)
    for count in (7, 9, 3):
        await deliver(gateway, [*others(count), key(mine)])
    assert [await received(socket), await received(socket)] == [
        position_message(mine, 7),
        position_message(mine, 3),
    ]


async def test_a_deferred_booking_is_behind_all_others_and_its_position_may_rise(
    gateway: Client, actor: ScriptedBooking
) -> None:
    """Though it was made before them. What was sent stays true when more bookings come in front of it."""
    socket = await connect(gateway)
    mine = creating(1, deferred=True)
    await actor.change("alice", mine)
    await received(socket)
    for count in (2, 9, 9, 3):
        await deliver(gateway, others(count, 1000), [key(creating(0)), key(mine)])
    assert [(await received(socket))["queue_position"] for _ in range(3)] == [3, 10, 4]
    assert gateway.app[QUEUE_POSITIONS].position(view(mine)) == 4


async def test_a_snapshot_has_the_position_and_later_positions_are_lower(
    gateway: Client, actor: ScriptedBooking
) -> None:
    """A client that comes back gets its queue position although its booking has not changed."""
    mine = creating(1000, queue_position=5)
    actor.on(GetBooking, as_json(mine))
    socket = await connect(gateway)
    await socket.send_json({"type": "subscribe", "booking_id": str(mine.id)})
    assert (await received(socket))["booking"]["payment"]["queue_position"] == 5
    for count in (6, 5, 4):
        await deliver(gateway, [*others(count), key(mine)])
    assert await received(socket) == position_message(mine, 4)


async def test_an_owner_gets_no_position_of_anothers_booking(gateway: Client, actor: ScriptedBooking) -> None:
    alice, bob = await connect(gateway), await connect(gateway, "bob")
    hers, his = creating(1), creating(2)
    await actor.change("alice", hers)
    await actor.change("bob", his)
    await received(alice)
    await received(bob)
    await actor.notify(queue_message([key(hers), key(his)]))
    assert [await received(alice), await received(bob)] == [position_message(hers, 0), position_message(his, 1)]


async def test_a_booking_that_is_closing_has_no_position(gateway: Client, actor: ScriptedBooking) -> None:
    socket = await connect(gateway)
    mine, other = creating(1), creating(2)
    closing = mine.model_copy(update={"closing": "by_customer", "version": 2})
    await actor.change("alice", mine, closing, other)
    for _ in range(3):
        await received(socket)
    await actor.notify(queue_message([key(mine), key(other)]))
    assert await received(socket) == position_message(other, 1)


async def test_bookings_of_a_disconnected_owner_are_not_tracked(gateway: Client, actor: ScriptedBooking) -> None:
    socket = await connect(gateway)
    mine = creating(1)
    await actor.change("alice", mine)
    await received(socket)
    assert str(mine.id) in gateway.app[QUEUE_POSITIONS]._tracked
    await socket.close()
    await gateway.get("/health/live")
    assert not gateway.app[HUB].has(owner_topic("alice"))
    await deliver(gateway, [key(mine)])
    assert gateway.app[QUEUE_POSITIONS]._tracked == {}


async def test_only_so_many_positions_are_sent_for_one_sample_and_the_rest_with_the_next(
    gateway: Client, actor: ScriptedBooking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_positions, "SENT_MAX", 4)
    socket = await connect(gateway)
    mine = [creating(1000 + number) for number in range(10)]
    await actor.change("alice", *mine)
    for _ in mine:
        await received(socket)
    for _ in range(3):
        await deliver(gateway, [key(state) for state in mine])
    messages = [await received(socket) for _ in mine]
    assert {one["booking_id"]: one["queue_position"] for one in messages} == {
        str(state.id): position for position, state in enumerate(mine)
    }


# --- in answers -------------------------------------------------------------------------------------------


async def test_202_has_the_position_when_it_is_known(start: Gateway, actor: ScriptedBooking) -> None:
    gateway = await start(wait_seconds=0.3)
    states: list[Booking] = []

    def reply(message: CreateBooking) -> Any:
        states.append(creating(1000, id=message.booking_id))
        return create_reply(states[0])

    actor.on(CreateBooking, reply)
    request = asyncio.create_task(
        gateway.post("/bookings", json={"event_id": str(EVENT_ID), "quantity": 2}, headers=keyed())
    )
    await actor.wait_for(CreateBooking)
    await actor.notify(queue_message([*others(9), key(states[0])]))
    response = await request
    payment = (await response.json())["payment"]
    assert (response.status, payment["status"], payment["queue_position"]) == (202, "creating", 9)


async def test_the_503_of_a_slow_intent_has_the_position(start: Gateway, actor: ScriptedBooking) -> None:
    gateway = await start(wait_seconds=0.05)
    actor.on(RequestPayment, as_json(creating(1, id=EVENT_ID, queue_position=8)))
    response = await gateway.post("/payment/create-intent", json={"booking_id": str(EVENT_ID)}, headers=bearer())
    problem = await response.json()
    assert (response.status, problem["code"], problem["queue_position"]) == (503, "timeout", 8)


async def test_an_outdated_sample_is_not_used(gateway: Client, actor: ScriptedBooking) -> None:
    known = gateway.app[QUEUE_POSITIONS]
    mine = creating(1)
    known.receive(queue_message([key(mine)], interval_ms=0))
    assert known.position(view(mine)) is None
    await deliver(gateway, [key(mine)])
    assert known.position(view(mine)) == 0
    assert known.position(view(payable(mine))) is None


# --- the sample -------------------------------------------------------------------------------------------


def test_a_sampled_position_is_exact_in_front_and_within_a_tenth_behind() -> None:
    random = Random(7)
    # Batches with the same time, as the booking actor makes them, and single bookings.
    keys = [
        (START + timedelta(milliseconds=second), uuid4())
        for second in range(4000)
        for _ in range(random.choice((1, 1, 1, 30)))
    ]
    keys.sort()
    sample = QueueSample(sampled(keys))
    for position, (created_at, id) in enumerate(keys):
        seen = sample.position(created_at, id)
        assert seen is not None
        assert seen == position if position <= 32 else abs(seen - position) <= position / 10, (position, seen)


def test_a_position_never_rises_while_the_queue_empties() -> None:
    keys = sorted(others(5000))
    at = 4000
    seen = [QueueSample(sampled(keys[gone:])).position(*keys[at]) for gone in range(0, at + 1, 50)]
    known = [position for position in seen if position is not None]
    assert len(known) == len(seen)
    assert known[-1] == 0
    assert all(after <= before for before, after in pairwise(known))


def test_a_booking_outside_of_the_sample_has_no_position() -> None:
    keys = others(40, 100)
    sample = QueueSample(sampled(keys))
    assert sample.position(*key(creating(1))) is None
    assert sample.position(*key(creating(9999))) is None
    assert QueueSample(sampled([])).position(*keys[0]) is None
