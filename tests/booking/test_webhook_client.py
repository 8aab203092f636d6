"""How one webhook is sent: to addresses that are allowed alone, without redirects, within time and size."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from booking.webhook_client import (
    RESPONSE_MAX_BYTES,
    RESPONSE_SHOWN,
    open_client,
    url_problem,
)
from booking.webhooks import Attempt, Outcome, Policy
from tests.booking.receiver import Receiver, open_receiver

LOCAL, STRICT = Policy(http=True, private=True), Policy()
HTTP_ALONE = Policy(http=True)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with open_receiver() as receiver:
        yield receiver


async def post(url: str, policy: Policy = LOCAL, timeout_s: float = 5.0) -> Attempt:
    async with open_client(policy, endpoints=2, timeout_s=timeout_s) as client:
        return await client.post(url, b"{}", {"webhook-id": "1"})


async def test_a_webhook_is_a_post_of_json(receiver: Receiver) -> None:
    assert await post(receiver.url("/a?b=%2Fc")) == Attempt(Outcome.DELIVERED, 204)
    (received,) = receiver.received
    assert received.path == "/a?b=/c"
    assert received.body == b"{}"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"].startswith("Holdfast")


async def test_a_redirect_is_a_failure_and_not_followed(receiver: Receiver) -> None:
    receiver.statuses = [307]
    receiver.headers = {"Location": receiver.url("/elsewhere")}
    attempt = await post(receiver.url())
    assert (attempt.outcome, attempt.response_status) == (Outcome.REFUSED, 307)
    assert [each.path for each in receiver.received] == ["/hooks"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"])
async def test_nothing_is_sent_to_a_private_address_however_it_is_written(receiver: Receiver, host: str) -> None:
    port = receiver._server.port
    attempt = await post(f"http://{host}:{port}/hooks", HTTP_ALONE)
    # Numbers that are no canonical address are no name either for the client, which refuses them by itself.
    assert attempt.outcome in (Outcome.FORBIDDEN, Outcome.UNREACHABLE), attempt
    assert attempt.response_status is None
    assert receiver.received == []


async def test_a_name_that_leads_to_a_private_address_is_checked_when_it_is_resolved(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is resolved once: a second answer could be another one."""
    asked: list[str] = []

    def resolve(host: str, port: int, *_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("booking.webhook_client.socket.getaddrinfo", resolve)
    url = f"http://rebound.example.com:{receiver._server.port}/hooks"
    attempt = await post(url, HTTP_ALONE)
    assert attempt.outcome is Outcome.FORBIDDEN
    assert attempt.error is not None
    assert "private" in attempt.error
    assert receiver.received == []
    assert (await post(url)).outcome is Outcome.DELIVERED
    assert asked == ["rebound.example.com"] * 2


@pytest.mark.parametrize(
    ("url", "policy", "problem"),
    [
        ("https://example.com/x", STRICT, None),
        ("http://example.com/x", STRICT, "must begin with https://"),
        ("http://example.com/x", HTTP_ALONE, None),
        ("https://10.0.0.1/", STRICT, "must not lead to a private address"),
        ("https://10.0.0.1/", LOCAL, None),
    ],
)
def test_what_a_url_may_be(url: str, policy: Policy, problem: str | None) -> None:
    assert url_problem(url, policy) == problem


async def test_a_url_that_was_allowed_before_is_checked_again_when_it_is_sent_to(receiver: Receiver) -> None:
    assert await post(receiver.url(), STRICT) == Attempt(Outcome.FORBIDDEN, error="must begin with https://")
    assert receiver.received == []


async def test_an_answer_that_does_not_come_in_time_is_a_timeout(receiver: Receiver) -> None:
    assert (await post(receiver.url("/slow"), timeout_s=0.1)).outcome is Outcome.TIMEOUT
    receiver.go_on.set()


async def test_nobody_there_is_no_mistake_of_ours(receiver: Receiver) -> None:
    url = receiver.url()
    await receiver._server.close()
    attempt = await post(url)
    assert attempt.outcome is Outcome.UNREACHABLE
    assert attempt.error
    assert (await post("http://nobody.invalid/x")).outcome is Outcome.UNREACHABLE
    assert (await post("https://" + url.partition("//")[2])).outcome is Outcome.UNREACHABLE


async def test_of_a_refusal_the_first_of_its_text_and_when_to_come_again_are_kept(receiver: Receiver) -> None:
    receiver.statuses, receiver.headers = [429], {"Retry-After": "120"}
    expected = Attempt(Outcome.REFUSED, 429, "as it wants", "answered 429", timedelta(seconds=120))
    assert await post(receiver.url()) == expected
    receiver.headers = {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}
    assert (await post(receiver.url())).retry_after is None
    receiver.statuses, receiver.headers = [400], {"Retry-After": "120"}
    assert (await post(receiver.url())).retry_after is None


async def test_an_endless_answer_is_read_up_to_a_bound() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        try:
            while True:
                await response.write(b"\0 all work and no play " * 1000)
                sent += 1
                await asyncio.sleep(0)
        except ConnectionError:
            return response

    async with open_receiver(endless) as other:
        attempt = await post(other.url())
    assert attempt.response is not None
    assert len(attempt.response) <= RESPONSE_SHOWN
    assert "\0" not in attempt.response
    assert sent * 23_000 < 100 * RESPONSE_MAX_BYTES


async def test_connections_are_used_again() -> None:
    peers: set[Any] = set()

    async def note(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(status=500, text="no")

    async with open_receiver(note) as other, open_client(LOCAL, endpoints=1, timeout_s=5) as client:
        for _ in range(3):
            await client.post(other.url(), b"{}", {})
    assert len(peers) == 1
