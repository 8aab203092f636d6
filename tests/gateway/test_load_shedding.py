"""Load shedding, and outages of Redis that end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp.test_utils import unused_port
from redis.asyncio import Redis

from common.contracts.errors import Unavailable
from common.contracts.messages import BOOKING_COMMANDS, BOOKING_QUERIES, PAYMENT_INTENTS, CreateBooking, GetEvent
from common.messaging.listener import ARRIVED_SECONDS
from common.messaging.redis import connect
from gateway.limits import LOAD_SHEDDER, RequestSlots
from tests.common.stage import until
from tests.gateway.conftest import Gateway
from tests.gateway.stage import (
    EVENT_ID,
    RedisServer,
    ScriptedBooking,
    acting,
    as_json,
    bearer,
    booking,
    create_reply,
    event,
    keyed,
    serving,
)

BOOK = {"event_id": str(EVENT_ID), "quantity": 1}


@pytest.mark.parametrize("mailbox", [BOOKING_COMMANDS, PAYMENT_INTENTS])
async def test_bookings_are_refused_while_a_mailbox_is_over_its_limit(
    start: Gateway, redis_url: str, mailbox: str
) -> None:
    """The answer says when to retry; what only reads still works; and bookings do again when there is room."""
    gateway = await start(mailbox_limit=2, wait_seconds=0.01, mailbox_sample_ms=10_000)
    shedder = gateway.app[LOAD_SHEDDER]
    redis = connect(redis_url)
    for _ in range(3):
        await redis.xadd(mailbox, {"some": "work"})
    await shedder.sample()
    response = await gateway.post("/bookings", json=BOOK, headers=keyed())
    assert (response.status, (await response.json())["code"]) == (503, "unavailable")
    assert 1 <= int(response.headers["Retry-After"]) <= 5
    assert (await gateway.get("/health/ready")).status == 200
    async with acting(redis_url) as actor:
        actor.on(GetEvent, as_json(event()))
        assert (await gateway.get(f"/events/{EVENT_ID}")).status == 200
        actor.on(CreateBooking, lambda message: create_reply(booking(message.booking_id)))
        await redis.delete(mailbox)
        await shedder.sample()
        assert (await gateway.post("/bookings", json=BOOK, headers=keyed())).status == 201
    await redis.aclose()


async def test_queries_are_refused_while_their_mailbox_is_over_its_limit(start: Gateway, redis_url: str) -> None:
    gateway = await start(mailbox_limit=1, mailbox_sample_ms=10_000)
    redis = connect(redis_url)
    for _ in range(2):
        await redis.xadd(BOOKING_QUERIES, {"some": "work"})
    await gateway.app[LOAD_SHEDDER].sample()
    assert (await gateway.get("/events")).status == 503
    await redis.aclose()


async def waits(redis: Redis) -> bool:
    """Whether a gateway's read has waited at the server for a second, which is longer than ARRIVED_SECONDS."""
    clients = await redis.client_list()
    return any(client["cmd"] == "xread" and int(client["idle"]) >= 1 > ARRIVED_SECONDS for client in clients)


async def test_an_outage_of_redis_is_503_until_it_ends(tmp_path: Path) -> None:
    """Sockets stay open: a read waited when the server ended, so the gateway had missed nothing."""
    server = RedisServer(tmp_path, unused_port(), persist=True)
    await server.start()
    async with serving(server.url, block_ms=5000) as gateway:

        async def ready() -> bool:
            return (await gateway.get("/health/ready")).status == 200

        socket = await gateway.ws_connect("/ws", headers=bearer())
        async with connect(server.url) as redis:
            await until(lambda: waits(redis))
        await server.stop()
        response = await gateway.post("/bookings", json=BOOK, headers=keyed())
        assert (response.status, (await response.json())["code"]) == (503, "unavailable")
        assert response.headers["Retry-After"] == "1"
        assert (await gateway.get("/events")).status == 503
        assert (await gateway.get("/health/ready")).status == 503
        assert (await gateway.get("/health/live")).status == 200
        await server.start()
        await until(ready)
        async with acting(server.url) as actor:
            actor.on(CreateBooking, lambda message: create_reply(booking(message.booking_id)))
            assert (await gateway.post("/bookings", json=BOOK, headers=keyed())).status == 201
            await actor.change("alice", booking())
            assert (await socket.receive_json(timeout=10))["type"] == "booking"
    await server.stop()


async def test_an_outage_of_redis_while_a_client_waits(tmp_path: Path) -> None:
    """A request that may be under way is answered as queued, not as failed."""
    server = RedisServer(tmp_path, unused_port())
    await server.start()
    async with serving(server.url, wait_seconds=0.2) as gateway, acting(server.url) as actor:
        request = asyncio.create_task(gateway.post("/bookings", json=BOOK, headers=keyed()))
        await actor.wait_for(CreateBooking)
        await server.stop()
        response = await request
        assert (response.status, (await response.json())["version"]) == (202, 0)
        await server.start()
    await server.stop()


async def test_only_so_many_requests_have_a_slot_at_once() -> None:
    """The others wait, and get a slot in the order of their requests."""
    slots, order, go_on = RequestSlots(1, 10), [], asyncio.Event()

    async def work(number: int) -> None:
        async with slots:
            order.append(number)
        await go_on.wait()

    async with slots:
        waiting = [asyncio.create_task(work(number)) for number in range(3)]
        await asyncio.sleep(0)
        assert order == []
    for _ in range(10):
        await asyncio.sleep(0)
    assert order == [0, 1, 2]
    go_on.set()
    await asyncio.gather(*waiting)
    async with slots:
        pass


async def test_a_request_that_gets_no_slot_in_time_is_refused_with_retry_after() -> None:
    slots = RequestSlots(1, 0.01)
    async with slots:
        with pytest.raises(Unavailable) as refused:
            async with slots:
                pass
    assert refused.value.extra["retry_after"] >= 1
    async with slots:
        pass


async def test_a_booking_that_waits_for_stripe_uses_no_slot(start: Gateway, actor: ScriptedBooking) -> None:
    """The slot is free when there is a booking, even if its client still waits for the intent."""
    gateway = await start(booking_slots=1, booking_slot_wait_seconds=10, wait_seconds=30)
    actor.on(
        CreateBooking, lambda message: create_reply(booking(message.booking_id, payment="creating", version=1))
    )
    first = asyncio.create_task(gateway.post("/bookings", json=BOOK, headers=keyed("alice")))
    await actor.wait_for(CreateBooking)
    second = await gateway.post("/bookings", json=BOOK, headers=keyed("bob") | {"Prefer": "wait=0"})
    assert (second.status, first.done()) == (202, False)
    first.cancel()
