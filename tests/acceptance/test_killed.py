"""Processes are killed (SIGKILL) in the middle of a rush: every booking still ends as it should."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSMsgType

from ops.child import Child
from tests.acceptance.client import Answer, Client, Json
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast

CLIENTS = 250
SEATS = 30

pytestmark = pytest.mark.timeout(180)


class Milestones:
    """Counts milestones by name, and lets a task wait until one has a count."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._changed = asyncio.Condition()

    async def reached(self, name: str) -> None:
        async with self._changed:
            self._counts[name] += 1
            self._changed.notify_all()

    async def wait(self, name: str, count: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._counts[name] >= count)


async def restart(holdfast: Holdfast, name: str) -> None:
    process = holdfast.stack.processes[name]
    await process.kill()
    await process.start()


async def buy(holdfast: Holdfast, client: Client, event: Json, milestones: Milestones) -> Answer:
    """Book until the answer is final, then pay, and wait for the confirmation."""
    answer = await client.book_until_final(event, 1, key="rush")
    await milestones.reached("answered")
    if answer.status not in (200, 201):
        return answer
    booking = answer.ok(answer.status)
    async with client.live() as live:
        await live.snapshot(booking_id=booking["id"])
        await milestones.reached("payable")
        await holdfast.stripe.pay(booking)
        await milestones.reached("paid")
        await live.until(booking["id"], "confirmed")
    return answer


async def test_rush_survives_killed_processes(battered: Holdfast, chance: random.Random) -> None:
    """booking and payment are killed while seats are held, and again while payments come in."""
    event = await battered.event((1500, SEATS))
    milestones = Milestones()

    async def harm() -> None:
        await milestones.wait("answered", chance.randint(1, 20))
        await restart(battered, "booking-1")
        await milestones.wait("payable", chance.randint(1, SEATS // 2))
        await restart(battered, "payment-1")
        await milestones.wait("paid", chance.randint(1, SEATS // 2))
        await asyncio.gather(restart(battered, "payment-1"), restart(battered, "booking-1"))

    harming = asyncio.create_task(harm(), name="harm")
    answers = await asyncio.gather(*(buy(battered, battered.client(), event, milestones) for _ in range(CLIENTS)))
    await harming

    ends = Counter((answer.status in (200, 201), answer.code) for answer in answers)
    assert ends == {(True, None): SEATS, (False, "sold_out"): CLIENTS - SEATS}
    rows = await assert_clean(battered)
    (row,) = [row for row in rows.ticket_types if str(row["id"]) == event["ticket_types"][0]["id"]]
    assert (row["held"], row["sold"]) == (0, SEATS)


@asynccontextmanager
async def without(holdfast: Holdfast, name: str) -> AsyncIterator[Child]:
    """Kill process `name`. The test starts it again when it wants, or it is started at the end."""
    await assert_clean(holdfast)  # at rest: the killed process has no entry that another must claim
    process = holdfast.stack.processes[name]
    await process.kill()
    try:
        yield process
    finally:
        if not process.running:
            await process.start()


@pytest.mark.parametrize("name", ["booking-1", "payment-1"])
async def test_a_booking_waits_until_the_killed_actor_runs_again(battered: Holdfast, name: str) -> None:
    """A request that is made while an actor does not run is done once it runs again."""
    client, event = battered.client(), await battered.event((1500, 5))
    async with without(battered, name) as process, client.live() as live:
        answer = await client.book(event, 1, key="meanwhile", prefer="wait=1")
        assert answer.status == 202
        await process.start()
        booking = await live.until(answer.body["id"], lambda now: now["payment"]["status"] == "awaiting")
        assert (await client.book(event, 1, key="meanwhile")).ok(200) == booking
    await assert_clean(battered)


async def test_the_client_of_a_stopping_gateway_connects_again(battered: Holdfast) -> None:
    """The gateway closes its socket with 1001; over its next socket the client gets what happened meanwhile."""
    client, event = battered.client(), await battered.event((1500, 5))
    gateway = battered.stack.processes["gateway-1"]
    async with client.live() as live:
        booking = (await client.book(event, 1)).ok(201)
        await live.snapshot(booking_id=booking["id"])
        stopping = asyncio.create_task(gateway.stop())
        while (message := await live.socket.receive()).type is WSMsgType.TEXT:
            pass
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
        await stopping
    await battered.stripe.pay(booking)
    await gateway.start()
    async with client.live() as live:
        await live.snapshot(booking_id=booking["id"])
        await live.until(booking["id"], "confirmed")
    await assert_clean(battered)
