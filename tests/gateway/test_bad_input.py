"""Bad input changes nothing, and gets a 4xx that says what is wrong."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest

from gateway.requests import encode_cursor
from tests.gateway.stage import (
    EVENT_ID,
    TICKET_TYPE_ID,
    Client,
    RedisServer,
    ScriptedBooking,
    acting,
    bearer,
    flush,
    keyed,
    serving,
)

E, T = str(EVENT_ID), str(TICKET_TYPE_ID)
ITEM = {"ticket_type_id": T, "quantity": 1}
NEW_EVENT: dict[str, Any] = {
    "name": "Concert",
    "starts_at": "2031-01-01T20:00:00Z",
    "currency": "eur",
    "ticket_types": [{"name": "Stalls", "unit_amount": 2500, "capacity": 10}],
}
OPERATOR = bearer("root", operator=True)


@pytest.fixture(scope="module")
async def gateway(redis_server: RedisServer) -> AsyncIterator[Client]:
    async with serving(redis_server.url) as client:
        yield client


@pytest.fixture(scope="module")
async def listener(redis_server: RedisServer) -> AsyncIterator[ScriptedBooking]:
    await flush(redis_server.url)
    async with acting(redis_server.url) as actor:
        yield actor


@pytest.fixture
def nothing_happens(listener: ScriptedBooking) -> Iterator[None]:
    """No message may reach the booking actor."""
    yield
    assert listener.received == []


BOOKINGS: list[tuple[Any, list[Any]]] = [
    ({}, ["event_id"]),
    ([], []),
    (None, []),
    ("text", []),
    ({"event_id": E}, []),
    ({"event_id": "x", "quantity": 1}, ["event_id"]),
    ({"event_id": 5, "quantity": 1}, ["event_id"]),
    ({"event_id": None, "quantity": 1}, ["event_id"]),
    ({"event_id": E, "quantity": "1"}, ["quantity"]),
    ({"event_id": E, "quantity": 1.0}, ["quantity"]),
    ({"event_id": E, "quantity": True}, ["quantity"]),
    ({"event_id": E, "quantity": 0}, ["quantity"]),
    ({"event_id": E, "quantity": -1}, ["quantity"]),
    ({"event_id": E, "quantity": 1001}, ["quantity"]),
    ({"event_id": E, "quantity": 10**30}, ["quantity"]),
    ({"event_id": E, "quantity": 1, "items": [ITEM]}, []),
    ({"event_id": E, "quantity": 1, "price": 1}, ["price"]),
    ({"event_id": E, "items": []}, ["items"]),
    ({"event_id": E, "items": {}}, ["items"]),
    ({"event_id": E, "items": [ITEM] * 2}, []),
    ({"event_id": E, "items": [{"ticket_type_id": T}]}, ["items", 0, "quantity"]),
    ({"event_id": E, "items": [{**ITEM, "unit_amount": 1}]}, ["items", 0, "unit_amount"]),
    ({"event_id": E, "items": [{**ITEM, "quantity": "2"}]}, ["items", 0, "quantity"]),
    ({"event_id": E, "items": [ITEM, {"ticket_type_id": str(uuid4()), "quantity": 1000}]}, []),
    ({"event_id": E, "items": [{"ticket_type_id": str(uuid4()), "quantity": 1} for _ in range(101)]}, ["items"]),
]


@pytest.mark.parametrize(("body", "loc"), BOOKINGS)
async def test_an_invalid_booking_is_refused_with_the_location(
    gateway: Client, nothing_happens: None, body: Any, loc: list[Any]
) -> None:
    headers = keyed() | {"Content-Type": "application/json"}
    response = await gateway.post("/bookings", data=json.dumps(body), headers=headers)
    problem = await response.json()
    assert (response.status, problem["code"]) == (422, "invalid_request")
    (error,) = problem["errors"]
    assert error["loc"] == ["body", *loc]
    assert error["msg"]
    assert error["type"]


RAW: list[tuple[bytes, dict[str, str], int, str]] = [
    (b"", {}, 400, "malformed_request"),
    (b"{", {}, 400, "malformed_request"),
    (b"{} x", {}, 400, "malformed_request"),
    (b'{"event_id": "\xff"}', {}, 400, "malformed_request"),
    (b'{"event_id": "\\ud800"}', {}, 400, "malformed_request"),
    (b"[" * 5000 + b"]" * 5000, {}, 400, "malformed_request"),
    (b'{"a":' * 5000 + b"1" + b"}" * 5000, {}, 400, "malformed_request"),
    (b" " * 140_000, {}, 413, "payload_too_large"),
    (gzip.compress(b" " * 10_000_000), {"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
    (b"not gzip", {"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
    (b"{", {"Content-Encoding": "Identity"}, 400, "malformed_request"),
    (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    (b"{}", {"Content-Type": "application/json; charset=utf-16"}, 415, "unsupported_media_type"),
]


@pytest.mark.parametrize(("body", "headers", "status", "code"), RAW)
async def test_an_unreadable_body_is_refused(
    gateway: Client,
    nothing_happens: None,
    body: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    all_headers = keyed() | {"Content-Type": "application/json"} | headers
    response = await gateway.post("/bookings", data=body, headers=all_headers)
    assert (response.status, (await response.json())["code"]) == (status, code)


async def test_a_body_in_pieces_over_the_limit_is_refused(gateway: Client, nothing_happens: None) -> None:
    async def pieces() -> Any:
        for _ in range(200):
            yield b" " * 1000

    response = await gateway.post(
        "/bookings", data=pieces(), headers=keyed() | {"Content-Type": "application/json"}
    )
    assert response.status == 413


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "tab\there", "ünïcode"])
async def test_a_malformed_idempotency_key_is_refused(gateway: Client, nothing_happens: None, key: str) -> None:
    headers = bearer() | {"Idempotency-Key": key}
    response = await gateway.post("/bookings", json={"event_id": E, "quantity": 1}, headers=headers)
    problem = await response.json()
    assert (response.status, problem["errors"][0]["loc"]) == (422, ["header", "Idempotency-Key"])


async def test_a_malformed_idempotency_key_is_refused_on_a_change(gateway: Client, nothing_happens: None) -> None:
    headers = OPERATOR | {"Idempotency-Key": "with space"}
    response = await gateway.patch(f"/admin/events/{E}", json={"name": "Other"}, headers=headers)
    assert (response.status, (await response.json())["errors"][0]["loc"]) == (422, ["header", "Idempotency-Key"])


async def test_a_body_that_does_not_arrive_in_time_is_refused(
    redis_server: RedisServer, nothing_happens: None
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.get_running_loop().create_future()

    headers = keyed() | {"Content-Type": "application/json"}
    async with serving(redis_server.url, body_seconds=0.1) as hasty:
        response = await hasty.post("/bookings", data=chunks(), headers=headers)
        assert (response.status, (await response.json())["code"]) == (408, "request_timeout")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/events/x"),
        ("GET", "/events/123"),
        ("GET", f"/events/urn:uuid:{E}"),
        ("GET", f"/events/{E}x"),
        ("GET", "/events/%00"),
        ("GET", "/bookings/x"),
        ("GET", "/bookings/x/history"),
        ("POST", "/bookings/x/cancel"),
        ("PATCH", "/admin/events/x"),
        ("POST", "/admin/events/x/cancel"),
        ("POST", "/admin/bookings/x/refund"),
        ("GET", "/nowhere"),
        ("GET", "/assets/../app.py"),
        ("GET", "/assets/nothing.css"),
    ],
)
async def test_a_path_with_an_invalid_id_is_not_found(
    gateway: Client, nothing_happens: None, method: str, path: str
) -> None:
    response = await gateway.request(method, path, headers=OPERATOR)
    assert (response.status, (await response.json())["code"]) == (404, "not_found")


UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}
VERSION = {"Sec-WebSocket-Version": "13"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Upgrade": "websocket"},
        UPGRADE,
        UPGRADE | VERSION,
        UPGRADE | VERSION | {"Sec-WebSocket-Key": "x"},
        UPGRADE | VERSION | {"Sec-WebSocket-Key": "é" * 24},
        UPGRADE | {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "99"},
    ],
)
async def test_a_request_without_a_websocket_upgrade_is_refused(
    gateway: Client, nothing_happens: None, headers: dict[str, str]
) -> None:
    response = await gateway.get("/ws", headers=headers)
    assert (response.status, (await response.json())["code"]) == (400, "malformed_request")


async def test_a_405_names_the_allowed_methods(gateway: Client, nothing_happens: None) -> None:
    response = await gateway.delete("/bookings", headers=bearer())
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, POST")


CURSOR = encode_cursor(["2030-01-01T00:00:00Z", E])


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=",
        "limit=1.5",
        "limit=5&limit=6",
        "cursor=",
        "cursor=x",
        "cursor=%00",
        f"cursor={CURSOR[:-4]}",
        f"cursor={CURSOR}AAAA",
        f"cursor=A{CURSOR[1:]}",
        f"cursor={CURSOR}!",
        f"cursor={'A' * 5000}",
        f"cursor={encode_cursor(['2030-01-01T00:00:00Z'])}",
        f"cursor={encode_cursor(['2030-01-01T00:00:00', E])}",
        f"cursor={encode_cursor([5, E])}",
        f"cursor={encode_cursor([E, '2030-01-01T00:00:00Z'])}",
        f"cursor={encode_cursor(['0001-01-01T00:00:00+10:00', E])}",
        "status=paid",
        "status=",
        "event_id=x",
        "event_id=",
        "owner=bob",
        "unknown=1",
    ],
)
async def test_an_invalid_query_is_refused(gateway: Client, nothing_happens: None, query: str) -> None:
    response = await gateway.get(f"/bookings?{query}", headers=bearer())
    problem = await response.json()
    assert (response.status, problem["code"]) == (422, "invalid_request")
    assert [error["loc"] for error in problem["errors"]] == [["query", query.partition("=")[0]]]


def changed(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in {**NEW_EVENT, **values}.items() if value is not ...}


TICKET = NEW_EVENT["ticket_types"][0]


EVENTS: list[tuple[dict[str, Any], list[Any]]] = [
    (changed(name=""), ["name"]),
    (changed(name="   "), ["name"]),
    (changed(name="x" * 201), ["name"]),
    (changed(name="a\0b"), ["name"]),
    (changed(name="a\nb"), ["name"]),
    (changed(name="\u200b"), ["name"]),
    (changed(name="a\u2028b"), ["name"]),
    (changed(ticket_types=[{**TICKET, "name": "\u3164"}]), ["ticket_types", 0, "name"]),
    (changed(name=...), ["name"]),
    (changed(starts_at="tomorrow"), ["starts_at"]),
    (changed(starts_at="2031-01-01T20:00:00"), ["starts_at"]),
    (changed(starts_at="1900000000"), ["starts_at"]),
    (changed(starts_at=1900000000), ["starts_at"]),
    (changed(starts_at="0001-01-01T00:00:00+10:00"), ["starts_at"]),
    (changed(starts_at="9999-12-31T23:59:59-10:00"), ["starts_at"]),
    (changed(currency="EUR"), ["currency"]),
    (changed(currency="euro"), ["currency"]),
    (changed(currency="eur\n"), ["currency"]),
    (changed(currency="eru"), ["currency"]),
    (changed(currency="xxx"), ["currency"]),
    (changed(time_zone="Mars/Olympus"), ["time_zone"]),
    (changed(time_zone="europe/berlin"), ["time_zone"]),
    (changed(time_zone="localtime"), ["time_zone"]),
    (changed(time_zone="../UTC"), ["time_zone"]),
    (changed(time_zone="Europe"), ["time_zone"]),
    (changed(time_zone="+01:00"), ["time_zone"]),
    (changed(time_zone=""), ["time_zone"]),
    (changed(time_zone=None), ["time_zone"]),
    (changed(sales_start="soon"), ["sales_start"]),
    (changed(sales_end="2031-01-01"), ["sales_end"]),
    (changed(sell_after_start="yes"), ["sell_after_start"]),
    (changed(cancel_after_start=None), ["cancel_after_start"]),
    (changed(on_sale="yes"), ["on_sale"]),
    (changed(max_per_booking=0), ["max_per_booking"]),
    (changed(max_per_booking="10"), ["max_per_booking"]),
    (changed(cancel_until="never"), ["cancel_until"]),
    (changed(ticket_types=[]), ["ticket_types"]),
    (changed(ticket_types=[TICKET] * 101), ["ticket_types"]),
    (changed(ticket_types=[{**TICKET, "unit_amount": -1}]), ["ticket_types", 0, "unit_amount"]),
    (changed(ticket_types=[{**TICKET, "unit_amount": 10**12}]), ["ticket_types", 0, "unit_amount"]),
    (changed(ticket_types=[{**TICKET, "unit_amount": 9.99}]), ["ticket_types", 0, "unit_amount"]),
    (changed(ticket_types=[{**TICKET, "capacity": 10_000_001}]), ["ticket_types", 0, "capacity"]),
    (changed(id=E), ["id"]),
]


@pytest.mark.parametrize(("body", "loc"), EVENTS)
async def test_an_invalid_event_is_refused_with_the_location(
    gateway: Client, nothing_happens: None, body: dict[str, Any], loc: list[Any]
) -> None:
    response = await gateway.post("/admin/events", json=body, headers=OPERATOR)
    problem = await response.json()
    assert response.status == 422
    assert [error["loc"] for error in problem["errors"]] == [["body", *loc]]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", f"/admin/events/{E}", {"name": None}),
        ("PATCH", f"/admin/events/{E}", {"on_sale": None}),
        ("PATCH", f"/admin/events/{E}", {"currency": "usd"}),
        ("PATCH", f"/admin/events/{E}", {"ticket_types": [{"name": "New"}]}),
        ("PATCH", f"/admin/events/{E}", {"ticket_types": [{"id": T}, {"id": T}]}),
        ("PATCH", f"/admin/events/{E}", {"ticket_types": [{"id": T, "capacity": -1}]}),
        ("POST", f"/admin/bookings/{E}/refund", {"amount": 0}),
        ("POST", f"/admin/bookings/{E}/refund", {"amount": "5"}),
        ("POST", f"/admin/bookings/{E}/refund", {"amount": 5, "currency": "eur"}),
        ("POST", "/payment/create-intent", {}),
        ("POST", "/payment/create-intent", {"booking_id": "x"}),
        ("POST", "/payment/create-intent", {"booking_id": E, "amount": "5000"}),
        ("POST", "/payment/create-intent", {"booking_id": E, "amount": -1}),
        ("POST", "/payment/create-intent", {"booking_id": E, "amount": 50.0}),
        ("POST", "/payment/create-intent", {"booking_id": E, "currency": "EUR"}),
        ("POST", "/payment/create-intent", {"booking_id": E, "currency": 978}),
    ],
)
async def test_other_invalid_bodies_are_refused(
    gateway: Client, nothing_happens: None, method: str, path: str, body: Any
) -> None:
    response = await gateway.request(method, path, json=body, headers=keyed("root", operator=True))
    assert (response.status, (await response.json())["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/bookings"),
        ("GET", "/bookings"),
        ("GET", f"/bookings/{E}"),
        ("GET", f"/bookings/{E}/history"),
        ("POST", f"/bookings/{E}/cancel"),
        ("POST", "/payment/create-intent"),
        ("POST", "/admin/events"),
        ("PATCH", f"/admin/events/{E}"),
        ("POST", f"/admin/events/{E}/cancel"),
        ("GET", "/admin/bookings"),
        ("POST", f"/admin/bookings/{E}/refund"),
    ],
)
async def test_without_a_token_protected_routes_are_refused(
    gateway: Client, nothing_happens: None, method: str, path: str
) -> None:
    assert (await gateway.request(method, path, json={})).status == 401
    expected = 403 if path.startswith("/admin") else None
    if expected:
        assert (await gateway.request(method, path, json={}, headers=bearer())).status == expected
