"""POST /bookings: what the client is answered, and when."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis

from common.contracts.codes import reference_of
from common.contracts.errors import EventNotFound, IdempotencyKeyReused, PriceChanged, SoldOut
from common.contracts.ids import booking_id
from common.contracts.messages import CreateBooking, GetBooking
from common.messaging.envelope import answer
from common.messaging.redis import connect
from common.messaging.streams import LISTENING
from tests.gateway.conftest import Gateway
from tests.gateway.stage import (
    EVENT_ID,
    SILENCE,
    TICKET_TYPE_ID,
    Client,
    ScriptedBooking,
    as_json,
    as_seen,
    bearer,
    booking,
    create_reply,
    flush,
)

ITEMS = {"event_id": str(EVENT_ID), "items": [{"ticket_type_id": str(TICKET_TYPE_ID), "quantity": 2}]}
KEY = "order-1"
ID = booking_id("alice", KEY)


def keyed(**headers: str) -> dict[str, str]:
    return bearer() | {"Idempotency-Key": KEY} | headers


def creating(message: CreateBooking) -> dict[str, Any]:
    return create_reply(booking(message.booking_id, payment="creating", version=1))


async def test_answers_201_once_the_booking_is_payable(gateway: Client, actor: ScriptedBooking) -> None:
    """The seats are held first, the intent is made later: the client is answered when it can pay."""
    actor.on(CreateBooking, creating)
    request = asyncio.create_task(gateway.post("/bookings", json=ITEMS, headers=keyed()))
    (command,) = await actor.wait_for(CreateBooking)
    assert (command.booking_id, command.owner, command.event_id) == (ID, "alice", EVENT_ID)
    assert [(item.ticket_type_id, item.quantity) for item in command.items] == [(TICKET_TYPE_ID, 2)]
    await actor.change("alice", booking(ID, version=2))
    response = await request
    assert response.status == 201
    assert response.headers["Location"] == f"/bookings/{ID}"
    assert response.headers["Cache-Control"] == "no-store"
    assert "Preference-Applied" not in response.headers
    assert await response.json() == as_seen(booking(ID, version=2))


async def test_a_free_booking_is_confirmed_at_once(gateway: Client, actor: ScriptedBooking) -> None:
    free = booking(ID, status="confirmed", payment="none", amount=0, version=1)
    actor.on(CreateBooking, create_reply(free))
    response = await gateway.post("/bookings", json={"event_id": str(EVENT_ID), "quantity": 2}, headers=keyed())
    assert (response.status, (await response.json())["status"]) == (201, "confirmed")
    (command,) = actor.messages(CreateBooking)
    assert [(item.ticket_type_id, item.quantity) for item in command.items] == [(None, 2)]


async def test_a_repeated_key_is_answered_200_with_the_same_booking(
    gateway: Client, actor: ScriptedBooking
) -> None:
    actor.on(CreateBooking, create_reply(booking(ID), created=False))
    response = await gateway.post("/bookings", json=ITEMS, headers=keyed())
    assert (response.status, (await response.json())["id"]) == (200, str(ID))


async def test_only_the_reply_says_whether_a_booking_is_new(gateway: Client, actor: ScriptedBooking) -> None:
    """A notification of it can come first: for a change made just now, or a repetition of one that may be lost."""
    request = asyncio.create_task(gateway.post("/bookings", json=ITEMS, headers=keyed()))
    await actor.wait_for(CreateBooking)
    async with gateway.ws_connect("/ws", headers=bearer()) as socket:
        await actor.change("alice", booking(ID))
        while (await socket.receive_json(timeout=10)).get("type") != "booking":
            pass
        assert not request.done()
        (command,) = actor.received
        await actor.bus.publish(answer(command, create_reply(booking(ID), created=False)))
        assert (await request).status == 200


@pytest.mark.parametrize("prefer", ["wait=20", "respond-async"])
async def test_a_reused_key_is_refused_even_if_a_notification_of_the_other_booking_comes_first(
    gateway: Client, actor: ScriptedBooking, prefer: str
) -> None:
    """Two requests at once under one key with different content: only one may be answered with a booking."""
    request = asyncio.create_task(gateway.post("/bookings", json=ITEMS, headers=keyed(Prefer=prefer)))
    await actor.wait_for(CreateBooking)
    async with gateway.ws_connect("/ws", headers=bearer()) as socket:
        await actor.change("alice", booking(ID))
        while (await socket.receive_json(timeout=10)).get("type") != "booking":
            pass
        (command,) = actor.received
        await actor.bus.publish(answer(command, IdempotencyKeyReused()))
        response = await request
    assert (response.status, (await response.json())["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("path", ["/bookings", f"/admin/bookings/{EVENT_ID}/refund"])
async def test_what_costs_seats_or_money_needs_a_key(gateway: Client, actor: ScriptedBooking, path: str) -> None:
    """Whatever the body is: without a key the client could not repeat it safely."""
    for body in (ITEMS, {}):
        response = await gateway.post(path, json=body, headers=bearer("root", operator=True))
        assert (response.status, (await response.json())["code"]) == (400, "idempotency_key_required")
    assert actor.received == []


async def test_the_amount_that_a_client_expects_is_passed_on(gateway: Client, actor: ScriptedBooking) -> None:
    members = {"amount": 6000, "expected_amount": 5000, "currency": "eur"}
    actor.on(CreateBooking, PriceChanged("The seats cost 6000", **members))
    response = await gateway.post("/bookings", json=ITEMS | {"expected_amount": 5000}, headers=keyed())
    problem = await response.json()
    assert (response.status, problem["code"]) == (409, "price_changed")
    assert problem.items() >= members.items()
    assert [message.expected_amount for message in actor.messages(CreateBooking)] == [5000]


async def test_the_same_key_of_another_subject_is_another_booking(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(CreateBooking, lambda message: create_reply(booking(message.booking_id)))
    mine = await gateway.post("/bookings", json=ITEMS, headers=keyed())
    theirs = await gateway.post("/bookings", json=ITEMS, headers=keyed(**bearer("bob")))
    assert (await mine.json())["id"] != (await theirs.json())["id"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (EventNotFound(), 404),
        (SoldOut(booking_id=str(ID)), 409),
        (IdempotencyKeyReused(), 422),
    ],
)
async def test_a_refusal_is_a_problem(gateway: Client, actor: ScriptedBooking, error: Any, status: int) -> None:
    actor.on(CreateBooking, error)
    response = await gateway.post("/bookings", json=ITEMS, headers=keyed())
    problem = await response.json()
    assert response.content_type == "application/problem+json"
    assert (response.status, problem["status"], problem["code"]) == (status, status, error.code)
    assert problem["type"] == f"urn:holdfast:problem:{error.code}"
    if error.code == "sold_out":
        assert problem["booking_id"] == str(ID)


async def test_a_payment_that_stripe_refuses_is_a_problem(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(CreateBooking, creating)
    request = asyncio.create_task(gateway.post("/bookings", json=ITEMS, headers=keyed()))
    await actor.wait_for(CreateBooking)
    await actor.change("alice", booking(ID, status="failed", reason="payment_rejected", payment="none", version=2))
    response = await request
    problem = await response.json()
    assert (response.status, problem["code"], problem["booking_id"]) == (409, "payment_rejected", str(ID))


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [("respond-async", "respond-async"), ("wait=0", "wait=0"), ('wait="0"; x=y, respond-async', "wait=0")],
)
async def test_a_client_that_does_not_wait_gets_the_booking_as_it_is(
    gateway: Client, actor: ScriptedBooking, prefer: str, applied: str
) -> None:
    """It gets the real booking all the same: the seats' transaction is quick."""
    actor.on(CreateBooking, creating)
    response = await gateway.post("/bookings", json=ITEMS, headers=keyed(Prefer=prefer))
    assert (response.status, response.headers["Preference-Applied"]) == (202, applied)
    assert await response.json() == as_seen(booking(ID, payment="creating", version=1))


async def test_202_with_the_booking_when_it_is_not_payable_in_time(start: Gateway, actor: ScriptedBooking) -> None:
    gateway = await start(wait_seconds=0.05)
    actor.on(CreateBooking, creating)
    response = await gateway.post("/bookings", json=ITEMS, headers=keyed())
    assert (response.status, (await response.json())["payment"]["status"]) == (202, "creating")


async def test_202_has_only_the_request_when_no_booking_is_known(start: Gateway) -> None:
    """No booking actor runs: only the request itself is known, and the command waits for an actor."""
    gateway = await start(wait_seconds=0.01)
    response = await gateway.post("/bookings", json=ITEMS, headers=keyed())
    assert (response.status, response.headers["Location"]) == (202, f"/bookings/{ID}")
    assert await response.json() == {
        "kind": "queued",
        "id": str(ID),
        "reference": reference_of(ID),
        "event_id": str(EVENT_ID),
        "items": ITEMS["items"],
        "status": "pending",
        "payment": {"status": "creating"},
        "version": 0,
    }


async def test_the_wait_is_bounded_by_the_settings(start: Gateway, actor: ScriptedBooking) -> None:
    gateway = await start(wait_max_seconds=0)
    actor.on(CreateBooking, creating)
    response = await gateway.post("/bookings", json=ITEMS, headers=keyed(Prefer="wait=999999999"))
    assert (response.status, response.headers["Preference-Applied"]) == (202, "wait=0")


async def test_a_command_without_a_reply_is_published_once_more(start: Gateway, actor: ScriptedBooking) -> None:
    """Redis may have lost the first one: the second is the same command, and its reply counts."""
    gateway = await start(republish_ms=20)
    actor.on(
        CreateBooking, lambda message: SILENCE if not actor.messages(CreateBooking) else _repeated_reply(message)
    )
    response = await gateway.post("/bookings", json=ITEMS, headers=keyed())
    first, second = await actor.wait_for(CreateBooking, 2)
    assert first == second
    assert (response.status, (await response.json())["id"]) == (201, str(ID))


def _repeated_reply(message: CreateBooking) -> dict[str, Any]:
    return create_reply(booking(message.booking_id), created=False)


async def test_a_notification_replaces_a_lost_reply(gateway: Client, actor: ScriptedBooking) -> None:
    request = asyncio.create_task(gateway.post("/bookings", json=ITEMS, headers=keyed()))
    await actor.wait_for(CreateBooking)
    await actor.change("alice", booking(ID))
    assert (await request).status == 201


@pytest.mark.parametrize("lost", [b"*", LISTENING.encode() + b"*"], ids=["everything", "the registration"])
async def test_a_waiting_request_fetches_the_state_after_missed_notifications(
    gateway: Client, actor: ScriptedBooking, redis_url: str, lost: bytes
) -> None:
    """Its booking is payable, and the notification of that reached no gateway."""
    actor.on(CreateBooking, creating)
    actor.on(GetBooking, as_json(booking(ID, version=3)))
    request = asyncio.create_task(gateway.post("/bookings", json=ITEMS, headers=keyed(Prefer="wait=30")))
    await actor.wait_for(CreateBooking)
    redis: Redis = connect(redis_url)
    await redis.delete(*await redis.keys(lost))
    await actor.change("alice", booking(ID, version=3))
    await redis.aclose()
    response = await request
    assert (response.status, (await response.json())["version"]) == (201, 3)
    assert actor.messages(GetBooking)[0] == GetBooking(booking_id=ID, owner="alice")


async def test_a_late_older_notification_is_ignored(gateway: Client, actor: ScriptedBooking) -> None:
    """The client does not get a notification that came after a newer one."""
    actor.on(CreateBooking, creating)
    request = asyncio.create_task(gateway.post("/bookings", json=ITEMS, headers=keyed()))
    await actor.wait_for(CreateBooking)
    await actor.change(
        "alice", booking(ID, payment="awaiting", version=3), booking(ID, payment="creating", version=2)
    )
    assert (await (await request).json())["version"] == 3


async def test_a_notification_of_another_owner_is_ignored(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(CreateBooking, creating)
    request = asyncio.create_task(gateway.post("/bookings", json=ITEMS, headers=keyed()))
    await actor.wait_for(CreateBooking)
    await actor.change("mallory", booking(ID, version=9))
    await actor.change("alice", booking(ID, version=2))
    assert (await (await request).json())["version"] == 2


async def test_data_loss_of_redis_delays_a_request_but_does_not_lose_it(
    start: Gateway, actor: ScriptedBooking, redis_url: str
) -> None:
    gateway = await start(republish_ms=200)
    actor.on(
        CreateBooking, lambda message: SILENCE if not actor.messages(CreateBooking) else _repeated_reply(message)
    )
    request = asyncio.create_task(gateway.post("/bookings", json=ITEMS, headers=keyed()))
    await actor.wait_for(CreateBooking)
    await flush(redis_url)
    assert (await request).status == 201


async def test_many_requests_at_once_each_get_their_own_booking(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(CreateBooking, lambda message: create_reply(booking(message.booking_id)))

    async def one(number: int) -> tuple[UUID, str]:
        headers = bearer(f"user-{number}") | {"Idempotency-Key": KEY}
        response = await gateway.post("/bookings", json=ITEMS, headers=headers)
        return booking_id(f"user-{number}", KEY), (await response.json())["id"]

    for expected, got in await asyncio.gather(*(one(number) for number in range(100))):
        assert got == str(expected)
