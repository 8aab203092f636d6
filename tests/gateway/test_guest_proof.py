"""GUEST_PROOF_URL: a guest gets a token for a proof that the operator's own server accepts. Here that server is one
on loopback whose answers the tests choose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from common.contracts.errors import ConfigurationError
from common.runtime.settings import load
from gateway.settings import GatewaySettings
from tests.gateway.conftest import Gateway
from tests.gateway.stage import SECRET, Client

HERE = {"X-Forwarded-For": "2001:db8::7"}


class Checker:
    """The operator's server. `answer`: a status, or what makes the answer."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answer: int | Callable[[], Awaitable[web.Response]] = 204

    async def handle(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        self.asked.append(await request.json())
        if isinstance(self.answer, int):
            return web.Response(status=self.answer, headers={"Location": "/elsewhere"})
        return await self.answer()


@pytest.fixture
async def checker() -> AsyncIterator[tuple[Checker, str]]:
    checker, app = Checker(), web.Application()
    app.router.add_post("/check", checker.handle)
    async with TestServer(app) as server:
        yield checker, str(server.make_url("/check"))


@pytest.fixture
async def gateway(start: Gateway, checker: tuple[Checker, str]) -> Client:
    return await start(guest_proof_url=checker[1], trusted_proxies=1)


async def test_a_proof_that_is_accepted_gives_a_token(gateway: Client, checker: tuple[Checker, str]) -> None:
    response = await gateway.post("/auth/guest", json={"proof": "p-1"}, headers=HERE)
    assert (response.status, set(await response.json())) == (201, {"token", "subject", "expires_at"})
    assert checker[0].asked == [{"proof": "p-1", "address": "2001:db8::7"}]


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (400, 403, "guest_proof_refused"),
        (404, 403, "guest_proof_refused"),
        (429, 403, "guest_proof_refused"),
        (500, 503, "unavailable"),
        (307, 503, "unavailable"),
    ],
)
async def test_the_servers_answer_decides(
    gateway: Client, checker: tuple[Checker, str], answer: int, status: int, code: str
) -> None:
    checker[0].answer = answer
    response = await gateway.post("/auth/guest", json={"proof": "p-1"})
    assert (response.status, (await response.json())["code"]) == (status, code)
    assert ("Retry-After" in response.headers) is (status == 503)
    assert len(checker[0].asked) == 1  # redirects are not followed


async def test_without_a_proof_the_server_is_not_bothered(gateway: Client, checker: tuple[Checker, str]) -> None:
    answers = [await gateway.post("/auth/guest"), await gateway.post("/auth/guest", json={"proof": None})]
    assert [(each.status, (await each.json())["code"]) for each in answers] == [(403, "guest_proof_refused")] * 2
    for wrong in ({"proof": ""}, {"proof": 1}, {"proof": "p" * 8193}, {"more": 1}):
        assert (await gateway.post("/auth/guest", json=wrong)).status == 422
    assert checker[0].asked == []


async def test_a_server_that_does_not_answer_in_time_is_waited_for_no_longer(
    start: Gateway, checker: tuple[Checker, str]
) -> None:
    gateway = await start(guest_proof_url=checker[1], guest_proof_timeout_seconds=0.05)
    released = asyncio.Event()

    async def never() -> web.Response:
        await released.wait()
        return web.Response()

    checker[0].answer = never
    response = await gateway.post("/auth/guest", json={"proof": "p-1"})
    released.set()
    assert (response.status, response.headers["Retry-After"]) == (503, "5")


async def test_a_server_that_cannot_be_reached_lets_nobody_in(start: Gateway) -> None:
    gateway = await start(guest_proof_url=f"http://127.0.0.1:{unused_port()}/check")
    response = await gateway.post("/auth/guest", json={"proof": "p-1"})
    assert (response.status, response.headers["Retry-After"]) == (503, "5")


async def test_the_limit_of_new_guests_holds_before_the_server_is_asked(
    start: Gateway, checker: tuple[Checker, str]
) -> None:
    gateway = await start(guest_proof_url=checker[1], guests_per_address_per_minute=1)
    checker[0].answer = 400
    statuses = [(await gateway.post("/auth/guest", json={"proof": "guess"})).status for _ in range(2)]
    assert statuses == [403, 429]
    assert len(checker[0].asked) == 1


async def test_where_no_proof_is_needed_one_is_ignored(start: Gateway) -> None:
    gateway = await start()
    assert (await gateway.post("/auth/guest", json={"proof": "p-1"})).status == 201
    assert (await gateway.post("/auth/guest", data=b"", headers={"Content-Type": "text/plain"})).status == 201


def test_a_proof_for_tokens_that_nobody_gets_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="GUEST_PROOF_URL"):
        load(GatewaySettings, auth_jwt_secrets=SECRET, auth_guests=False, guest_proof_url="https://check.example")
