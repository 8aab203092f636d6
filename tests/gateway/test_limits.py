"""Each limit applies to each kind of client: docs/operations.md has the table."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from aiohttp import ClientWebSocketResponse

from common.contracts.messages import BOOKING_QUERIES, GetEvent
from common.messaging.redis import connect
from gateway.app import SNAPSHOTS_EACH
from tests.common.stage import until
from tests.gateway.conftest import Gateway
from tests.gateway.stage import EVENT_ID, Client, acting, as_json, bearer, event

SUBSCRIBE = {"type": "subscribe", "event_id": str(EVENT_ID)}
Socket = ClientWebSocketResponse[Any]


async def subscribed(gateway: Client, *subjects: str) -> list[Socket]:
    """A socket for each subject, each of which has subscribed to the event."""
    sockets = [await gateway.ws_connect("/ws", headers=bearer(subject)) for subject in subjects]
    for socket in sockets:
        await socket.send_json(SUBSCRIBE)
    return sockets


async def queued(redis_url: str) -> int:
    async with connect(redis_url) as redis:
        return int(await redis.xlen(BOOKING_QUERIES))


async def until_queued(redis_url: str, count: int) -> None:
    async def reached() -> bool:
        return await queued(redis_url) >= count

    await until(reached)


async def test_sockets_fill_only_their_share_of_a_mailbox(start: Gateway, redis_url: str) -> None:
    """Even before the mailbox' length is sampled again; those over the limit get a time to retry."""
    gateway = await start(mailbox_limit=8, mailbox_sample_ms=10_000, answer_seconds=30)
    sockets = await subscribed(gateway, *(f"client {number}" for number in range(20)))
    answers = [asyncio.create_task(socket.receive_json(timeout=20)) for socket in sockets]
    refused = set[asyncio.Task[Any]]()
    while len(refused) < 15:
        done, _ = await asyncio.wait(set(answers) - refused, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert done
        refused |= done
    assert all(task.result()["code"] == "unavailable" for task in refused)
    assert all(1 <= task.result()["retry_after"] <= 5 for task in refused)
    assert all(task.result()["event_id"] == str(EVENT_ID) for task in refused)
    assert await queued(redis_url) == 5
    request = asyncio.create_task(gateway.get(f"/events/{EVENT_ID}"))
    await until_queued(redis_url, 6)
    async with acting(redis_url) as actor:
        actor.on(GetEvent, as_json(event()))
        assert (await request).status == 200
        assert [(await task)["type"] for task in set(answers) - refused] == ["snapshot"] * 5


async def test_one_clients_sockets_read_a_few_snapshots_at_a_time(start: Gateway, redis_url: str) -> None:
    gateway = await start(answer_seconds=30)
    sockets = await subscribed(gateway, *["alice"] * (SNAPSHOTS_EACH + 5))
    await until_queued(redis_url, SNAPSHOTS_EACH)
    sockets += await subscribed(gateway, "bob")
    await until_queued(redis_url, SNAPSHOTS_EACH + 1)
    async with acting(redis_url) as actor:
        actor.on(GetEvent, as_json(event()))
        await actor.wait_for(GetEvent, SNAPSHOTS_EACH + 1)
        for socket in sockets:
            assert (await socket.receive_json(timeout=10))["type"] == "snapshot"
        assert len(actor.messages(GetEvent)) == SNAPSHOTS_EACH + 6


async def test_all_sockets_of_a_gateway_read_a_few_snapshots_at_a_time(start: Gateway, redis_url: str) -> None:
    gateway = await start(ws_snapshots_max=2, answer_seconds=30)
    sockets = await subscribed(gateway, "alice", "bob", "carol")
    await until_queued(redis_url, 2)
    assert await queued(redis_url) == 2
    async with acting(redis_url) as actor:
        actor.on(GetEvent, as_json(event()))
        for socket in sockets:
            assert (await socket.receive_json(timeout=10))["type"] == "snapshot"


async def test_a_snapshot_that_gets_no_slot_in_time_is_refused(start: Gateway, redis_url: str) -> None:
    """The second may get its slot at the last moment, those after it do not."""
    gateway = await start(ws_snapshots_max=1, answer_seconds=0.2)
    sockets = await subscribed(gateway, *(f"client {number}" for number in range(6)))
    answers = [(await socket.receive_json(timeout=10))["code"] for socket in sockets]
    assert set(answers) == {"timeout", "unavailable"}
    async with acting(redis_url) as actor:
        actor.on(GetEvent, as_json(event()))
        await sockets[0].send_json(SUBSCRIBE)
        assert (await sockets[0].receive_json(timeout=10))["type"] == "snapshot"


async def test_requests_are_limited_between_two_samples_of_the_mailbox(start: Gateway, redis_url: str) -> None:
    gateway = await start(mailbox_limit=3, mailbox_sample_ms=10_000, answer_seconds=0.3)
    # Of different events: requests for the same one share one answer.
    requests = [gateway.request(method, f"/events/{uuid4()}") for method in ("GET", "HEAD") * 5]
    statuses = [response.status for response in await asyncio.gather(*requests)]
    assert sorted(statuses) == [503] * 10  # four get no reply in time, six are refused at once
    assert await queued(redis_url) == 4
