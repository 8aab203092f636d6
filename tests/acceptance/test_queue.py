"""In a rush a customer sees the queue position of a booking, which falls until its intent exists."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from tests.acceptance.customers import customer
from tests.acceptance.holdfast import Holdfast, running

RUSH = 60
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def limited(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Holdfast]:
    """10 requests a second are less than Stripe's limit in test mode, so that a small rush is enough."""
    settings = {"STRIPE_REQUESTS_PER_SECOND": "10", "QUEUE_MS": "200"}
    async with running(tmp_path_factory.mktemp("queue"), settings=settings) as stack:
        yield stack


async def test_the_queue_position_falls_until_the_intent_exists(limited: Holdfast) -> None:
    event = await limited.event((1500, RUSH + 1))
    before = await asyncio.gather(*(customer(limited, event, prefer="respond-async") for _ in range(RUSH)))
    async with before[-1].client.live() as live:  # positions are published once a booking has waited for a second
        await live.snapshot(booking_id=before[-1].id)
        while (await live.next())["type"] != "queue":
            pass
    client = limited.client()
    async with client.live() as live:
        await live.snapshot(event_id=event["id"])
        booking = (await client.book(event, 1, prefer="wait=1")).ok(202)
        answered = booking["payment"]["queue_position"]
        asked = (await client.booking(booking["id"]))["payment"]["queue_position"]
        payable = await live.until(booking["id"], lambda now: bool(now["payment"]["status"] == "awaiting"))

    positions = [message["queue_position"] for message in live.received if message["type"] == "queue"]
    print(f"answered {answered}, asked {asked}, received {positions}")  # noqa: T201
    assert payable["payment"]["client_secret"] is not None
    assert payable["payment"]["queue_position"] is None
    assert RUSH > answered > 0
    assert RUSH > asked > 0
    assert len(positions) >= 3
    assert positions[0] >= RUSH // 4
    assert positions[-1] >= 0
    assert all(after < before for before, after in pairwise(positions))
    assert live.received[-1]["type"] == "booking"
