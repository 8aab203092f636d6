"""Bad input of every kind is answered with a problem document that says what is wrong, and changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import jwt
import pytest

from tests.acceptance.client import Answer, Client, Json
from tests.acceptance.database_rows import assert_clean, differences, snapshot
from tests.acceptance.holdfast import Holdfast

pytestmark = pytest.mark.timeout(120)

JSON_TYPE = {"Content-Type": "application/json"}
KEY = {"Idempotency-Key": "never-booked"}


@dataclass(frozen=True)
class Setup:
    """What the bad requests are about: an event with two ticket types, one pending booking and its owner."""

    holdfast: Holdfast
    event: Json
    closed: Json
    dear: Json
    owner: Client
    booking: Json

    def items(self, **changes: Any) -> Json:
        item = {"ticket_type_id": self.event["ticket_types"][0]["id"], "quantity": 1, **changes}
        return {"event_id": self.event["id"], "items": [item]}


@pytest.fixture(scope="module")
async def setup(holdfast: Holdfast) -> AsyncIterator[Setup]:
    event = await holdfast.event((1000, 20), (2000, 20), max_per_booking=4)
    closed = await holdfast.event((1000, 20), on_sale=False)
    dear = await holdfast.event((99_999_999, 20))
    owner = holdfast.client()
    booking = (await owner.book(event, 1, key="taken")).ok(201)
    await assert_clean(holdfast)
    before = await snapshot(holdfast.stack)
    yield Setup(holdfast, event, closed, dear, owner, booking)
    # Whatever requests were sent, at the end all rows are as before.
    await assert_clean(holdfast)
    assert differences(before, await snapshot(holdfast.stack)) == {}


def assert_problem(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.code) == (status, code), answer.body
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.body["type"] == f"urn:holdfast:problem:{code}"
    assert answer.body["status"] == status
    assert answer.body["title"]
    assert answer.body["detail"]


Make = Callable[[Setup], Any]

BODIES: dict[str, tuple[Make, int, str]] = {
    "no event": (lambda _: {"quantity": 1}, 422, "invalid_request"),
    "an event that is a number": (lambda _: {"event_id": 7, "quantity": 1}, 422, "invalid_request"),
    "an event that is no id": (lambda _: {"event_id": "seven", "quantity": 1}, 422, "invalid_request"),
    "an unknown event": (lambda _: {"event_id": str(uuid4()), "quantity": 1}, 404, "event_not_found"),
    "an unknown ticket type": (lambda p: p.items(ticket_type_id=str(uuid4())), 404, "ticket_type_not_found"),
    "another event's ticket type": (
        lambda p: p.items(ticket_type_id=p.closed["ticket_types"][0]["id"]),
        404,
        "ticket_type_not_found",
    ),
    "an event that is not on sale": (
        lambda p: {"event_id": p.closed["id"], "quantity": 1},
        409,
        "not_on_sale",
    ),
    "no ticket type where there are two": (
        lambda p: {"event_id": p.event["id"], "quantity": 1},
        422,
        "ticket_type_required",
    ),
    "quantity and items": (lambda p: {**p.items(), "quantity": 1}, 422, "invalid_request"),
    "no seats": (lambda p: p.items(quantity=0), 422, "invalid_request"),
    "a negative quantity": (lambda p: p.items(quantity=-1), 422, "invalid_request"),
    "half a seat": (lambda p: p.items(quantity=0.5), 422, "invalid_request"),
    "a quantity that is text": (lambda p: p.items(quantity="1"), 422, "invalid_request"),
    "a quantity that is true": (lambda p: p.items(quantity=True), 422, "invalid_request"),
    "a quantity beyond 64 bits": (lambda p: p.items(quantity=2**70), 422, "invalid_request"),
    "more seats than a booking may have": (lambda p: p.items(quantity=5), 422, "quantity_over_limit"),
    "more money than a payment may be": (
        lambda p: {"event_id": p.dear["id"], "quantity": 2},
        422,
        "amount_over_limit",
    ),
    "a ticket type twice": (lambda p: {**p.items(), "items": p.items()["items"] * 2}, 422, "invalid_request"),
    "an empty list": (lambda p: {**p.items(), "items": []}, 422, "invalid_request"),
    "items that are no list": (lambda p: {**p.items(), "items": "all"}, 422, "invalid_request"),
    "a price of one's own": (lambda p: p.items(unit_amount=1), 422, "invalid_request"),
    "an owner of one's own": (lambda p: {**p.items(), "owner": "me"}, 422, "invalid_request"),
    "a NUL": (lambda p: p.items(ticket_type_id="\0"), 422, "invalid_request"),
    "a list": (lambda p: [p.items()], 422, "invalid_request"),
    "a number": (lambda _: 7, 422, "invalid_request"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_an_invalid_booking_is_refused(setup: Setup, name: str) -> None:
    make, status, code = BODIES[name]
    assert_problem(await setup.owner.request("POST", "/bookings", json=make(setup), headers=KEY), status, code)


RAW: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "null": (b"null", JSON_TYPE, 422, "invalid_request"),
    "nothing": (b"", JSON_TYPE, 400, "malformed_request"),
    "half an object": (b'{"event_id": ', JSON_TYPE, 400, "malformed_request"),
    "not UTF-8": (b'{"event_id": "\xff"}', JSON_TYPE, 400, "malformed_request"),
    "deeply nested": (b"[" * 60_000, JSON_TYPE, 400, "malformed_request"),
    "more than a body may have": (b" " * 140_000, JSON_TYPE, 413, "payload_too_large"),
    "a form": (
        b"quantity=1",
        {"Content-Type": "application/x-www-form-urlencoded"},
        415,
        "unsupported_media_type",
    ),
    "another charset": (b"{}", {"Content-Type": "application/json; charset=utf-16"}, 415, "unsupported_media_type"),
    "declared as compressed": (b"{}", {**JSON_TYPE, "Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
}


@pytest.mark.parametrize("path", ["/bookings", "/payment/create-intent"])
@pytest.mark.parametrize("name", RAW)
async def test_body_that_cannot_be_read_is_refused(setup: Setup, name: str, path: str) -> None:
    body, headers, status, code = RAW[name]
    assert_problem(await setup.owner.request("POST", path, data=body, headers=KEY | headers), status, code)


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "grün"])
async def test_an_invalid_idempotency_key_is_refused(setup: Setup, key: str) -> None:
    answer = await setup.owner.request("POST", "/bookings", json=setup.items(), headers={"Idempotency-Key": key})
    assert_problem(answer, 422, "invalid_request")


@pytest.mark.parametrize("path", ["/bookings", "/admin/bookings/{}/refund"])
async def test_request_that_costs_seats_or_money_without_a_key_is_refused(setup: Setup, path: str) -> None:
    operator = setup.holdfast.client(operator=True)
    answer = await operator.request("POST", path.format(setup.booking["id"]), json=setup.items())
    assert_problem(answer, 400, "idempotency_key_required")


async def test_key_with_other_content_is_refused(setup: Setup) -> None:
    answer = await setup.owner.book(setup.event, 2, key="taken")
    assert_problem(answer, 422, "idempotency_key_reused")


INTENTS: dict[str, tuple[Make, int, str]] = {
    "too little": (lambda p: {"booking_id": p.booking["id"], "amount": 1}, 422, "amount_mismatch"),
    "a negative amount": (lambda p: {"booking_id": p.booking["id"], "amount": -1000}, 422, "invalid_request"),
    "an amount that is text": (lambda p: {"booking_id": p.booking["id"], "amount": "1000"}, 422, "invalid_request"),
    "another currency": (lambda p: {"booking_id": p.booking["id"], "currency": "usd"}, 422, "amount_mismatch"),
    "no currency at all": (lambda p: {"booking_id": p.booking["id"], "currency": "€"}, 422, "invalid_request"),
    "an unknown booking": (lambda _: {"booking_id": str(uuid4())}, 404, "not_found"),
    "no booking": (lambda _: {}, 422, "invalid_request"),
}


@pytest.mark.parametrize("name", INTENTS)
async def test_an_intent_for_another_amount_or_booking_is_refused(setup: Setup, name: str) -> None:
    make, status, code = INTENTS[name]
    assert_problem(await setup.owner.request("POST", "/payment/create-intent", json=make(setup)), status, code)


def tokens(holdfast: Holdfast) -> dict[str, str]:
    secret = holdfast.stack.jwt_secret
    assert secret is not None
    good = {"sub": "mallory", "iss": "holdfast", "aud": "holdfast", "exp": 4_000_000_000}

    def signed(key: Any = secret, algorithm: str = "HS256", **changes: Any) -> str:
        claims = {name: value for name, value in {**good, **changes}.items() if value is not None}
        return f"Bearer {jwt.encode(claims, key, algorithm=algorithm)}"

    return {
        "nothing": "",
        "another scheme": "Basic bWFsbG9yeTpzZWNyZXQ=",
        "no token at all": "Bearer nonsense",
        "signed by another": signed("x" * 40),
        "unsigned": signed(None, "none"),
        "expired": signed(exp=1_000_000_000),
        "without an end": signed(exp=None),
        "for another service": signed(aud="elsewhere"),
        "of another issuer": signed(iss="elsewhere"),
        "without a subject": signed(sub=""),
        "of a NUL": signed(sub="a\0b"),
    }


async def test_bad_tokens_are_refused(setup: Setup) -> None:
    anybody = setup.holdfast.anybody
    for name, token in tokens(setup.holdfast).items():
        headers = {"Authorization": token} if token else {}
        answer = await anybody.request("POST", "/bookings", json=setup.items(), headers=KEY | headers)
        assert (answer.status, answer.code) == (401, "unauthorized"), name
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        answer = await anybody.request("GET", f"/bookings/{setup.booking['id']}", headers=headers)
        assert (answer.status, answer.code) == (401, "unauthorized"), name


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/bookings/not-an-id", 404, "not_found"),
        ("GET", "/bookings/%00", 404, "not_found"),
        ("DELETE", "/bookings", 405, "method_not_allowed"),
        ("GET", "/bookings?limit=0", 422, "invalid_request"),
        ("GET", "/bookings?cursor=made-up", 422, "invalid_request"),
        ("GET", "/bookings?status=lost", 422, "invalid_request"),
        ("GET", "/bookings?owner=somebody", 422, "invalid_request"),
        ("GET", "/events?limit=many", 422, "invalid_request"),
    ],
)
async def test_wrong_paths_and_parameters_are_refused(
    setup: Setup, method: str, path: str, status: int, code: str
) -> None:
    assert_problem(await setup.owner.request(method, path), status, code)


EVENT = {
    "name": "Evening",
    "starts_at": "2090-01-01T20:00:00Z",
    "currency": "eur",
    "ticket_types": [{"name": "Row", "unit_amount": 100, "capacity": 5}],
}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "a\0b"},
        {"name": "x" * 201},
        {"starts_at": "tomorrow"},
        {"starts_at": 1_700_000_000},
        {"currency": "EURO"},
        {"max_per_booking": 0},
        {"ticket_types": []},
        {"ticket_types": [{"name": "Row", "unit_amount": -1, "capacity": 5}]},
        {"ticket_types": [{"name": "Row", "unit_amount": 100, "capacity": -5}]},
        {"ticket_types": [{"name": "Row", "unit_amount": 100, "capacity": 2**40}]},
        {"sold": 3},
    ],
)
async def test_an_invalid_event_is_refused(setup: Setup, changes: Json) -> None:
    operator = setup.holdfast.client(operator=True)
    answer = await operator.request("POST", "/admin/events", json={**EVENT, **changes})
    assert_problem(answer, 422, "invalid_request")


async def test_a_capacity_below_held_and_sold_seats_is_refused(setup: Setup) -> None:
    ticket_type = setup.event["ticket_types"][0]["id"]
    operator = setup.holdfast.client(operator=True)
    body = {"ticket_types": [{"id": ticket_type, "capacity": 0}]}
    answer = await operator.request("PATCH", f"/admin/events/{setup.event['id']}", json=body)
    assert_problem(answer, 409, "capacity_below_sold")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"type": "subscribe"}', '{"type": "become", "who": "operator"}'])
async def test_a_socket_reports_the_error_and_stays_open(setup: Setup, text: str) -> None:
    async with setup.owner.live() as live:
        await live.socket.send_str(text)
        refused = await live.next()
        assert (refused["type"], refused["code"]) == ("error", "invalid_request")
        shown = await live.snapshot(booking_id=setup.booking["id"])
        assert shown["booking"] == setup.booking
