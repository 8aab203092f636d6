"""What every process answers: health, metrics, and errors as problem documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from common.contracts.errors import ERRORS, Conflict, HoldfastError, TooManyRequests, Unauthorized
from common.runtime import health
from common.runtime.health import Health
from common.runtime.outages import RedisOutage
from common.runtime.telemetry import METRICS
from common.runtime.web import PROBLEM_JSON, TRACEPARENT, new_app

Client = TestClient[Any, Any]

RAISED: dict[str, Exception] = {
    "/conflict": Conflict("not now", since="today", status="made up"),
    "/busy": TooManyRequests(retry_after=7),
    "/unauthorized": Unauthorized(),
    "/bug": RuntimeError("with a secret in it"),
    "/slow": TimeoutError(),
    "/outage": RedisOutage("redis is unavailable"),
    "/reset": ConnectionResetError(),
    "/moved": web.HTTPFound("/elsewhere"),
    "/teapot": web.HTTPBadRequest(),
}


def build_app() -> web.Application:
    async def fail(request: web.Request) -> web.Response:
        raise RAISED[request.path]

    async def echo(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"traceparent": request[TRACEPARENT]})

    app = new_app(client_max_size=100)
    app.router.add_routes([web.get(path, fail) for path in RAISED])
    app.router.add_post("/things/{id}", echo)
    return app


@pytest.fixture
async def app() -> web.Application:
    return build_app()


@pytest.fixture
async def client(app: web.Application) -> AsyncIterator[Client]:
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/conflict", 409, "conflict"),
        ("/busy", 429, "too_many_requests"),
        ("/unauthorized", 401, "unauthorized"),
        ("/bug", 500, "internal_error"),
        ("/slow", 503, "unavailable"),
        ("/outage", 503, "unavailable"),
        ("/reset", 503, "unavailable"),
        ("/teapot", 400, "malformed_request"),
        ("/nowhere", 404, "not_found"),
        ("/things/1", 405, "method_not_allowed"),
    ],
)
async def test_an_error_is_a_problem_document(client: Client, path: str, status: int, code: str) -> None:
    async with client.get(path) as response:
        body = await response.json(content_type=PROBLEM_JSON)
    assert response.status == body["status"] == status
    assert body["code"] == code
    assert body["type"] == f"urn:holdfast:problem:{code}"
    assert body["title"] == ERRORS[code].title
    assert body["detail"]
    assert ("Retry-After" in response.headers) is ERRORS[code].retryable


async def test_a_problem_has_what_the_error_adds_and_its_own_members_stay(client: Client) -> None:
    async with client.get("/conflict") as response:
        body = await response.json(content_type=PROBLEM_JSON)
    assert (body["since"], body["status"], body["detail"]) == ("today", 409, "not now")


async def test_a_problem_says_what_to_do_about_it(client: Client) -> None:
    async with client.get("/busy") as busy, client.get("/unauthorized") as unauthorized:
        assert busy.headers["Retry-After"] == "7"
        assert unauthorized.headers["WWW-Authenticate"].startswith("Bearer")
    async with client.get("/things/1") as wrong:
        assert wrong.headers["Allow"] == "POST"


async def test_a_body_that_is_too_large_is_refused(client: Client) -> None:
    async with client.post("/things/1", data=b"x" * 101) as response:
        body = await response.json(content_type=PROBLEM_JSON)
    assert (response.status, body["code"]) == (413, "payload_too_large")


async def test_an_unexpected_error_is_logged_and_not_shown_to_the_client(client: Client) -> None:
    with capture_logs() as logs:
        async with client.get("/bug") as response:
            assert "secret" not in await response.text()
    assert [line["event"] for line in logs] == ["request failed", "request"]
    assert logs[0]["exc_info"] is True


async def test_a_redirect_is_no_error(client: Client) -> None:
    async with client.get("/moved", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "/elsewhere")


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (TRACE, True),
        (TRACE.replace("00-", "cc-", 1), True),
        (None, False),
        ("", False),
        ("nonsense", False),
        (TRACE.replace("00-", "ff-", 1), False),
        (TRACE.upper(), False),
        (f"{TRACE}-more", False),
        ("00-" + "0" * 32 + "-b7ad6b7169203331-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01", False),
        ("00-" + "é" * 32 + "-b7ad6b7169203331-01", False),
    ],
)
async def test_the_trace_of_a_client_is_continued(client: Client, sent: str | None, kept: bool) -> None:
    headers = {} if sent is None else {"traceparent": sent}
    async with client.post("/things/1", headers=headers) as response:
        used = (await response.json())["traceparent"]
    assert (used == sent) is kept
    assert len(used) == 55


async def test_each_request_has_one_line_in_the_log(client: Client) -> None:
    with capture_logs() as logs:
        async with client.post("/things/secret-id?token=secret", headers={"traceparent": TRACE}):
            pass
        async with client.get("/conflict"):
            pass
        for quiet in ("/health/live", "/health/ready"):
            async with client.get(quiet):
                pass
    assert [(line["route"], line["status"], line.get("code")) for line in logs] == [
        ("/things/{id}", 200, None),
        ("/conflict", 409, "conflict"),
    ]
    assert logs[0]["trace"] == TRACE[3:35]
    assert logs[0]["ms"] >= 0
    assert "secret" not in str(logs)


async def test_requests_are_counted_by_route(app: web.Application, client: Client) -> None:
    for path in ("/things/1", "/things/2", "/nowhere/1", "/nowhere/2"):
        async with client.post(path):
            pass
    text = (await app[METRICS].exposition()).decode()
    assert 'holdfast_http_requests_total{method="POST",route="/things/{id}",status="200"} 2.0' in text
    assert 'holdfast_http_requests_total{method="POST",route="unknown",status="404"} 2.0' in text
    assert 'holdfast_http_request_seconds_count{route="/things/{id}"} 2.0' in text


async def test_a_dependency_that_does_not_answer_delays_readiness_up_to_the_time_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "CHECK_TIMEOUT_SECONDS", 0.05)
    checked = Health()

    async def hang() -> None:
        await asyncio.Event().wait()

    async def well() -> None:
        return

    checked.check("redis", hang)
    checked.check("database", well)
    assert await checked.problems() == {"redis": "TimeoutError: "}


def test_every_error_has_a_code_of_its_own() -> None:
    def all_of(kind: type[HoldfastError]) -> list[type[HoldfastError]]:
        return [kind, *(each for child in kind.__subclasses__() for each in all_of(child))]

    # Errors that replies carry; a process' own error may have the same code with another status.
    kinds = [kind for kind in all_of(HoldfastError) if kind.__module__ == "common.contracts.errors"]
    assert len({kind.code for kind in kinds}) == len(kinds) == len(ERRORS)
