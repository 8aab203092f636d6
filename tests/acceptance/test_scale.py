"""Two processes of each kind: the main job, and a rolling restart under load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from ops.layout import Scale
from tests.acceptance.client import Client, Json
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast, running
from tests.common.clients import Clients

CLIENTS = 4

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Holdfast]:
    scale = Scale(gateway=2, booking=2, payment=2)
    settings = {"DRAIN_SECONDS": "0.3"}
    async with running(tmp_path_factory.mktemp("pair"), scale=scale, settings=settings) as stack:
        yield stack


async def buy(holdfast: Holdfast, event: Json) -> None:
    client = holdfast.client()
    async with client.live() as live:
        booking = (await client.book(event, 1)).ok(201)
        await holdfast.stripe.pay(booking)
        await live.until(booking["id"], "confirmed")
        assert (await client.booking(booking["id"]))["status"] == "confirmed"


async def restart(holdfast: Holdfast, name: str) -> None:
    process = holdfast.stack.processes[name]
    await process.stop()
    assert process.exit_code == 0, name
    await process.start()


async def test_two_of_each_do_the_main_job(pair: Holdfast) -> None:
    """A client's requests and its socket may reach different gateways."""
    event = await pair.event((1500, 100))
    await asyncio.gather(*(buy(pair, event) for _ in range(40)))
    assert (await pair.event_now(event))["ticket_types"][0]["available"] == 60
    await assert_clean(pair)


async def test_rolling_restart_loses_no_request(pair: Holdfast) -> None:
    """One process of each kind gets SIGTERM, then the other, while clients book and read. Each booking is made
    once, no request fails, and none is left without an answer."""
    event = await pair.event((1500, 100_000))
    over = asyncio.Event()
    made: list[str] = []

    async def keep_booking(number: int, anew: aiohttp.ClientSession) -> None:
        client = pair.client()
        again = Client(anew, client.url, client.token)
        while not over.is_set():
            key = f"{number}-{len(made)}"
            answer = await client.book(event, 1, key=key)
            if answer.status == 408:  # the gateway was closing the connection: send it again over a new one
                answer = await again.book(event, 1, key=key)
            assert answer.status in (200, 201), answer.body
            made.append(answer.body["id"])

    readers = Clients(pair.stack.gateway_url, "/events")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as anew:
        load = [asyncio.create_task(keep_booking(number, anew)) for number in range(CLIENTS)]
        load += [asyncio.create_task(work) for _ in range(CLIENTS) for work in (readers.new(), readers.kept(0.2))]
        for number in (1, 2):
            await asyncio.gather(*(restart(pair, f"{kind}-{number}") for kind in ("gateway", "booking", "payment")))
            await pair.ready()
        over.set()
        readers.over.set()
        await asyncio.gather(*load)

    assert readers.unanswered == []
    assert set(readers.answers) <= {200, 408}
    assert len(set(made)) == len(made) > 0
    available = (await pair.event_now(event))["ticket_types"][0]["available"]
    assert available == 100_000 - len(made)
    await assert_clean(pair)
