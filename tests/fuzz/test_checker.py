"""The checks fail where they must, so a run that finds nothing proves something."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from hypothesis import strategies as st

from common.contracts.errors import HoldfastError
from common.contracts.messages import GetBooking, GetEvent, ListEvents
from gateway import views
from gateway.catalogue_reader import CatalogueReader
from gateway.event_contents import EventContents
from ops.redis import RedisServer
from tests.acceptance.client import Client
from tests.fuzz.answers import PROBLEM_JSON, check
from tests.fuzz.examples import tried
from tests.fuzz.frames import Frame
from tests.fuzz.harness import Caller, leaked
from tests.fuzz.tally import Tally
from tests.gateway.stage import as_json, booking, serving, token


class Teapot(HoldfastError):
    code, status, title = "teapot", 418, "Described nowhere"


async def test_faults_of_the_gateway_are_found(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that fails at some input, another client's booking, and a status that is not documented."""
    from tests.fuzz import rest  # Schemathesis takes a second to import

    foreign = booking()

    async def faulty(request: web.Request | None, message: Any, subject: object) -> Any:
        if isinstance(message, ListEvents) and message.limit != ListEvents.model_fields["limit"].default:
            raise RuntimeError("planted")
        if isinstance(message, GetEvent):
            raise Teapot
        return as_json(foreign) if isinstance(message, GetBooking) else {"items": [], "next": None}

    async def faulty_events(_: EventContents, message: Any, subject: object, __: str) -> Any:
        return await faulty(None, message, subject)

    async def no_events(*_: object) -> Any:
        return {"items": [], "next": None}

    monkeypatch.setattr(views, "call", faulty)
    monkeypatch.setattr(EventContents, "asked", faulty_events)
    monkeypatch.setattr(CatalogueReader, "_call", no_events)  # for searches
    async with serving(redis_server.url) as gateway:
        url = str(gateway.make_url("")).rstrip("/")
        openapi = await (await gateway.get("/openapi.json")).json()
        paths = {path: openapi["paths"][path] for path in ("/events", "/events/{id}", "/bookings/{id}")}
        caller = Caller("user", Client(gateway.session, url, token("alice")), {foreign.payment.client_secret or ""})
        ids = {"bookings": [str(uuid4())], "events": [str(uuid4())], "types": [str(uuid4())]}
        target, tally = rest.Target(url, ids, lambda *_: None), Tally()
        document = {**openapi, "paths": paths}
        await asyncio.to_thread(rest.fuzz, target, document, caller, 200, 1, tally, lambda _: None)
    found = {finding.what for finding in tally.findings}
    assert found >= {
        "GET /events: Server error (not_a_server_error)",
        "GET /events/{id}: Undocumented status code (status_code_conformance)",
        "GET /bookings/{id} shows what is another's",
    }
    assert all("curl" in finding.how for finding in tally.findings)


PROBLEM = {"type": "urn:x", "title": "x", "status": 400, "code": "x", "detail": "x"}


@pytest.mark.parametrize(
    ("status", "content_type", "body", "complaint"),
    [
        (500, PROBLEM_JSON, {**PROBLEM, "status": 500}, "status 500"),
        (503, PROBLEM_JSON, {**PROBLEM, "status": 503}, "without Retry-After"),
        (400, "text/plain", PROBLEM, "text/plain"),
        (400, PROBLEM_JSON, {"status": 400}, "without"),
        (404, PROBLEM_JSON, PROBLEM, "calls itself"),
    ],
)
def test_error_of_another_form_is_found(status: int, content_type: str, body: Any, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check(status, content_type, json.dumps(body).encode(), {})


def test_error_of_the_documented_form_is_accepted() -> None:
    check(400, PROBLEM_JSON, json.dumps(PROBLEM).encode(), {})
    check(503, PROBLEM_JSON, json.dumps({**PROBLEM, "status": 503}).encode(), {"Retry-After": "1"})


def test_text_that_its_reader_sent_is_no_leak() -> None:
    assert leaked({"a-secret"}, '{"x": "a-secret"}') == ["a-secret"]
    assert leaked({"a-secret"}, "no such booking: a-secret", "GET /bookings/a-secret") == []


async def test_a_failed_example_is_kept_in_the_finding() -> None:
    tally = Tally()

    async def attempt(number: int) -> None:
        tally.sent("numbers", "seen")
        assert number < 100, "too large"

    await tried("numbers", st.integers(), attempt, 1000, 7, tally, lambda _: None)
    (finding,) = tally.findings
    assert "too large" in finding.what
    assert "example: 100" in finding.how


def test_frames_are_those_of_the_rfc() -> None:
    """RFC 6455, section 5.7: a text frame, unmasked; and lengths of 16 and 64 bits."""
    assert Frame(1, b"Hello", masked=False).raw == bytes([0x81, 0x05]) + b"Hello"
    assert Frame(2, b"", masked=False, length=256).raw == bytes([0x82, 0x7E, 0x01, 0x00])
    assert Frame(2, b"", masked=False, length=65_536).raw == bytes([0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0])
