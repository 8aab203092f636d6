"""Redis and Postgres are stopped and started: clients get 503 with Retry-After, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ops.redis import RedisServer
from tests.acceptance.client import Answer
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.mailboxes import empty
from tests.acceptance.polling import eventually

pytestmark = pytest.mark.timeout(180)


@asynccontextmanager
async def stopped(holdfast: Holdfast, server: str, *, forget: bool = False) -> AsyncIterator[None]:
    """Stop `server` for the block; after it everything is ready again. With `forget` it comes back empty."""
    process = holdfast.stack.processes[server]
    await process.stop()
    if forget:
        assert isinstance(process, RedisServer)
        await asyncio.to_thread(empty, process.data_dir)
    try:
        yield
    finally:
        await process.start()
    await holdfast.ready()


def assert_unavailable(answer: Answer) -> None:
    assert answer.status == 503, answer.body
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Content-Type"].startswith("application/problem+json")


@pytest.mark.parametrize("forget", [False, True], ids=["keeps its data", "loses its data"])
async def test_requests_while_redis_is_stopped_work_afterwards(battered: Holdfast, forget: bool) -> None:
    """Requests and readiness are answered 503. Afterwards the same request works, and a payment made meanwhile
    confirms its booking."""
    client, event = battered.client(), await battered.event((1500, 5))
    before = (await client.book(event, 1)).ok(201)
    async with stopped(battered, "redis", forget=forget):
        assert_unavailable(await client.request("GET", "/bookings"))
        assert_unavailable(await client.book(event, 1, key="meanwhile"))
        assert_unavailable(await client.request("GET", f"/bookings/{before['id']}"))
        await eventually(battered.readiness, lambda found: set(found.values()) == {503})
        await battered.stripe.pay(before)

    async with client.live() as live:
        await live.snapshot(booking_id=before["id"])
        await live.until(before["id"], "confirmed")
        after = (await client.book(event, 1, key="meanwhile")).ok(201)
        await battered.stripe.pay(after)
        await live.until(after["id"], "confirmed")
    await assert_clean(battered)


async def test_requests_while_postgres_is_stopped_work_afterwards(battered: Holdfast) -> None:
    """Reads of bookings are answered 503, a new booking waits in its mailbox and is made when Postgres is back."""
    client, event = battered.client(), await battered.event((1500, 5))
    before = (await client.book(event, 1)).ok(201)
    async with stopped(battered, "postgres"):
        assert_unavailable(await client.request("GET", f"/bookings/{before['id']}"))
        queued = await client.book(event, 1, key="meanwhile", prefer="wait=1")
        assert (queued.status, queued.body["version"]) == (202, 0)
        actors = {"booking-1": 503, "payment-1": 503}
        await eventually(battered.readiness, lambda found: actors.items() <= found.items())
        await battered.stripe.pay(before)

    async with client.live() as live:
        await live.snapshot(booking_id=before["id"])
        await live.until(before["id"], "confirmed")
        answer = await client.book_until_final(event, 1, key="meanwhile")
        after = answer.ok(answer.status)  # 201 if it is sent again before the first request was handled
        assert after["id"] == queued.body["id"]
        await battered.stripe.pay(after)
        await live.until(after["id"], "confirmed")
    await assert_clean(battered)
