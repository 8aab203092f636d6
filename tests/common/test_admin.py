"""What operators see on a port of their own, and what everybody sees: one word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from common.runtime import health
from common.runtime.admin import admin_app
from common.runtime.health import HEALTH
from common.runtime.telemetry import METRICS
from common.runtime.web import Handler, new_app

Client = TestClient[Any, Any]


@pytest.fixture
async def app() -> web.Application:
    return new_app()


@pytest.fixture
async def client(app: web.Application) -> AsyncIterator[Client]:
    """As everybody sees it."""
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.fixture
async def admin(app: web.Application) -> AsyncIterator[Client]:
    """As operators see it."""
    async with TestClient(TestServer(admin_app(app))) as client:
        yield client


async def answer(client: Client, path: str) -> tuple[int, Any]:
    async with client.get(path) as response:
        return response.status, await response.json()


async def test_metrics_are_for_operators(app: web.Application, client: Client, admin: Client) -> None:
    async with client.get("/metrics") as response:
        assert response.status == 404
    async with admin.get("/metrics") as response:
        text = await response.text()
        assert (response.status, response.content_type) == (200, "text/plain")
    assert 'holdfast_http_requests_total{method="GET",route="unknown",status="404"} 1.0' in text


async def test_gauges_are_sampled_when_they_are_asked_for(app: web.Application, admin: Client) -> None:
    lengths = iter([3, 5])

    async def sample() -> None:
        app[METRICS].mailbox_length.labels("payment.intents").set(next(lengths))

    app[METRICS].samplers.append(sample)
    for length in (3, 5):
        async with admin.get("/metrics") as response:
            line = f'holdfast_mailbox_length{{mailbox="payment.intents"}} {length}.0'
            assert line in await response.text()


async def test_everybody_gets_one_word_and_operators_the_reasons(
    app: web.Application, client: Client, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FRESH_SECONDS", 0.0)
    gate = app[HEALTH].gate("loop")
    outages: list[Exception] = [ConnectionError("no route to 10.0.0.7")]

    async def ping() -> None:
        for error in outages:
            raise error

    async def complaint() -> str:
        return "the clock is wrong"

    app[HEALTH].check("database", ping)
    app[HEALTH].notice("clock", complaint)
    notices = {"notices": {"clock": "the clock is wrong"}}

    async def states(status: int, problems: dict[str, str]) -> None:
        word = "not ready" if problems else "ready"
        assert await answer(client, "/health/ready") == (status, {"status": word})
        shown = {"problems": problems} if problems else {}
        assert await answer(admin, "/health/ready") == (status, {"status": word, **shown, **notices})

    database = {"database": "ConnectionError: no route to 10.0.0.7"}
    await states(503, {"loop": "starting", **database})
    gate.open()
    await states(503, database)
    outages.clear()
    await states(200, {})
    gate.close("")
    await states(503, {"loop": "closed"})
    gate.open()
    app[HEALTH].draining = True
    await states(503, {"process": "draining"})


async def test_a_living_process_is_live_whatever_it_needs(
    app: web.Application, client: Client, admin: Client
) -> None:
    app[HEALTH].gate("loop").close("redis is unavailable")
    for each in (client, admin):
        assert await answer(each, "/health/live") == (200, {"status": "live"})


async def test_who_asks_without_end_costs_one_look(
    app: web.Application, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each gets the word of the last look while it is fresh; that the process drains is said at once."""
    monkeypatch.setattr(health, "FRESH_SECONDS", 3600.0)
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1

    app[HEALTH].check("database", look)
    app[HEALTH]._examined_at = -3600.0
    for _ in range(20):
        assert await answer(client, "/health/ready") == (200, {"status": "ready"})
    assert looks == 1
    app[HEALTH].draining = True
    assert await answer(client, "/health/ready") == (503, {"status": "not ready"})


@pytest.mark.parametrize("path", ["/metrics", "/health/ready"])
async def test_a_crowd_that_asks_how_a_process_does_is_one_question(path: str) -> None:
    """If each request had checks of its own, they would use up the connections of Redis and Postgres that work
    needs: the gateway refused bookings while 400 clients requested its metrics."""
    crowd, asked, looks = 50, 0, 0
    everybody = asyncio.Event()

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        if asked == crowd:
            everybody.set()
        return await handler(request)

    async def look() -> None:
        nonlocal looks
        looks += 1
        await everybody.wait()

    app = new_app()
    app[METRICS].samplers.append(look)
    app[HEALTH].check("database", look)
    admin = admin_app(app)
    admin.middlewares.append(count)
    async with TestClient(TestServer(admin)) as client:
        for wanted in (1, 2):  # a later request gets the state at that time
            answers = await asyncio.gather(*(client.get(path) for _ in range(crowd)))
            assert {answer.status for answer in answers} == {200}
            assert looks == wanted
            asked = 0
            everybody.clear()
