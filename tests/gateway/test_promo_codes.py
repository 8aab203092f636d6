"""Quotes, bookings by promo codes, what these unlock, and how operators make them."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from common.contracts import errors
from common.contracts.messages import (
    CreateBooking,
    CreateBookingWithCode,
    CreateEvent,
    CreatePromoCodes,
    EventChanged,
    GetEvent,
    GetQuote,
    ListEvents,
    ListPromoCodes,
    UpdatePromoCode,
)
from common.contracts.resources import Event, OperatorsEvent
from gateway.catalogue import Catalogue
from gateway.examples import EXAMPLES
from tests.gateway.conftest import Gateway
from tests.gateway.stage import (
    EVENT_ID,
    TICKET_TYPE_ID,
    Client,
    ScriptedBooking,
    as_json,
    bearer,
    booking,
    create_reply,
    event,
    keyed,
)

HIDDEN_ID = UUID("01900000-0000-7000-8000-00000000a0a1")
SEATS: dict[str, Any] = {"event_id": str(EVENT_ID), "quantity": 2}
CODES, QUOTE = f"/admin/events/{EVENT_ID}/codes", EXAMPLES["Quote"]
ADMIN = keyed("ann", scope="holdfast:admin")


def with_hidden(of: Event) -> Event:
    hidden = of.ticket_types[0].model_copy(update={"id": HIDDEN_ID, "name": "Friends", "hidden": True})
    return of.model_copy(update={"ticket_types": (*of.ticket_types, hidden)})


async def test_a_quote_is_answered_and_not_cached(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(GetQuote, QUOTE)
    response = await gateway.post("/quotes", json={**SEATS, "code": "summer 20"}, headers=bearer())
    assert (response.status, await response.json()) == (200, QUOTE)
    assert response.headers["Cache-Control"] == "no-store"
    (message,) = actor.messages(GetQuote)
    assert (message.owner, message.code, message.items[0].quantity) == ("alice", "summer 20", 2)
    assert (await gateway.post("/quotes", json=SEATS)).status == 401


@pytest.mark.parametrize(
    "wrong", [{"code": ""}, {"code": "x" * 65}, {"code": "a\tb"}, {"code": 7}, {"items": []}, {"event_id": "x"}]
)
async def test_a_wrong_quote_is_refused(gateway: Client, actor: ScriptedBooking, wrong: dict[str, Any]) -> None:
    response = await gateway.post("/quotes", json=SEATS | wrong, headers=bearer())
    assert (response.status, (await response.json())["code"]) == (422, "invalid_request")
    assert actor.messages(GetQuote) == []


async def test_a_booking_by_a_code_is_a_message_of_its_own(gateway: Client, actor: ScriptedBooking) -> None:
    for kind in (CreateBooking, CreateBookingWithCode):
        actor.on(kind, lambda message: create_reply(booking(message.booking_id)))
    for code in ({"code": "SUMMER"}, {}):
        assert (await gateway.post("/bookings", json=SEATS | code, headers=keyed())).status == 201
    by_code, without = actor.messages(CreateBooking)
    assert (type(by_code), by_code.code, type(without)) == (CreateBookingWithCode, "SUMMER", CreateBooking)


@pytest.mark.parametrize("way", ["booking", "quote", "event"])
async def test_who_guesses_codes_has_to_wait(start: Gateway, actor: ScriptedBooking, way: str) -> None:
    """Whatever the way; other requests, and others' codes, go on. Operators do not guess."""
    for kind in (CreateBookingWithCode, GetQuote, GetEvent):
        actor.on(kind, errors.CodeNotFound())
    gateway = await start(wrong_codes_per_subject_per_minute=1, wrong_codes_per_address_per_minute=1)

    async def guess(**who: Any) -> tuple[int, str | None]:
        if way == "event":
            response = await gateway.get(f"/events/{EVENT_ID}", params={"code": "guess"})
        else:
            path = "/quotes" if way == "quote" else "/bookings"
            response = await gateway.post(path, json={**SEATS, "code": "guess"}, headers=keyed(**who))
        return response.status, (await response.json()).get("limited_by")

    limit = "address" if way == "event" else "subject"
    assert [await guess(), await guess()] == [(404, None), (429, f"wrong_codes_per_{limit}")]
    if way != "event":
        assert (await guess(subject="bob"))[0] == 404
        assert [(await guess(subject="clerk", operator=True))[0] for _ in range(2)] == [404, 404]
        guests = [await guess(subject=f"guest_{uuid4().hex}") for _ in range(2)]
        assert guests == [(404, None), (429, "wrong_codes_per_address")]
        actor.on(GetQuote, QUOTE)
        assert (await gateway.post("/quotes", json=SEATS, headers=bearer())).status == 200


async def test_codes_that_exist_cost_no_tries(start: Gateway, actor: ScriptedBooking) -> None:
    actor.on(GetQuote, errors.CodeUsedUp())
    gateway = await start(wrong_codes_per_subject_per_minute=1)
    for _ in range(3):
        response = await gateway.post("/quotes", json={**SEATS, "code": "known"}, headers=bearer())
        assert (response.status, (await response.json())["code"]) == (409, "code_used_up")


async def test_with_its_code_an_event_is_read_anew_and_not_cached(start: Gateway, actor: ScriptedBooking) -> None:
    """Neither by others nor in the catalogue, from which everybody is answered."""
    actor.on(ListEvents, {"items": [as_json(event())], "next": None, "published": True})
    actor.on(GetEvent, lambda message: as_json(event() if message.code is None else with_hidden(event())))
    gateway = await start(event_catalogue_max=10)
    for _ in range(2):
        response = await gateway.get(f"/events/{EVENT_ID}", params={"code": "friends"})
        assert response.headers["Cache-Control"] == "no-store"
        assert "ETag" not in response.headers
        assert [each["id"] for each in (await response.json())["ticket_types"]] == [
            str(TICKET_TYPE_ID),
            str(HIDDEN_ID),
        ]
        public = await gateway.get(f"/events/{EVENT_ID}")
        assert str(HIDDEN_ID) not in await public.text()
        assert str(HIDDEN_ID) not in await (await gateway.get("/events")).text()
    assert (await gateway.get(f"/events/{EVENT_ID}", params={"cod": "x"})).status == 422


async def test_what_an_operator_is_answered_shows_nobody_else_what_is_hidden(
    start: Gateway, actor: ScriptedBooking
) -> None:
    actor.on(ListEvents, {"items": [], "next": None, "published": True})
    actor.on(CreateEvent, as_json(with_hidden(event())))
    actor.on(GetEvent, as_json(event()))
    gateway = await start(event_catalogue_max=10)
    made = {
        "name": "Concert",
        "starts_at": "2031-01-01T20:00:00Z",
        "currency": "eur",
        "ticket_types": [
            {"name": "Stalls", "unit_amount": 2500, "capacity": 10},
            {"name": "Friends", "unit_amount": 2500, "capacity": 10, "hidden": True},
        ],
    }
    response = await gateway.post("/admin/events", json=made, headers=ADMIN)
    assert [each["hidden"] for each in (await response.json())["ticket_types"]] == [False, True]
    (message,) = actor.messages(CreateEvent)
    assert [each.hidden for each in message.ticket_types] == [False, True]
    for path in ("/events", f"/events/{EVENT_ID}"):
        assert str(HIDDEN_ID) not in await (await gateway.get(path)).text()


def test_the_catalogue_takes_in_nothing_that_is_hidden() -> None:
    catalogue = Catalogue(1)
    catalogue.put(with_hidden(event()))
    found = catalogue.find(str(EVENT_ID))
    assert found is not None
    assert str(HIDDEN_ID).encode() not in found.body + found.answer.body


async def test_a_socket_is_sent_no_hidden_ticket_type(gateway: Client, actor: ScriptedBooking) -> None:
    """What operators' sockets see is in a member of its own."""
    actor.on(GetEvent, as_json(event()))
    socket = await gateway.ws_connect("/ws", headers=bearer())
    await socket.send_json({"type": "subscribe", "event_id": str(EVENT_ID)})
    assert (await socket.receive_json(timeout=10))["type"] == "snapshot"
    seen = as_json(with_hidden(event(version=2)))
    for each in seen["ticket_types"]:
        each |= {"held": 0, "sold": 0}
    await actor.notify(EventChanged(event=event(version=2), operators=OperatorsEvent.model_validate(seen)))
    assert str(HIDDEN_ID) not in await socket.receive_str(timeout=10)
    await socket.close()


async def test_operators_make_one_code_or_many(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(CreatePromoCodes, EXAMPLES["PromoCodes"])
    one = await gateway.post(CODES, json=EXAMPLES["NewPromoCodes"], headers=ADMIN)
    assert (one.status, await one.json()) == (201, EXAMPLES["PromoCodes"])
    many = {"prefix": "PRESS", "count": 40, "unlocks": [str(HIDDEN_ID)], "uses_max": 1}
    assert (await gateway.post(CODES, json=many, headers=keyed("ann", scope="holdfast:admin"))).status == 201
    first, second = actor.messages(CreatePromoCodes)
    assert ([each.code for each in first.codes], first.terms.percent_off) == (["SUMMER-20"], 20)
    codes = {each.code for each in second.codes}
    assert len(codes) == len({each.id for each in second.codes}) == 40
    assert all(code.startswith("PRESS-") and len(code) == 16 for code in codes)
    assert (second.terms.unlocks, second.requester) == ((HIDDEN_ID,), "ann")


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"code": "AB"},
        {"code": "---"},
        {"code": "SUMMER", "prefix": "X", "count": 2},
        {"prefix": "X"},
        {"count": 2},
        {"prefix": "X", "count": 501},
        {"code": "SUMMER", "percent_off": 101},
        {"code": "SUMMER", "amount_off": 0},
        {"code": "SUMMER", "uses_max": 0},
        {"code": "SUMMER", "unlocks": ["x"]},
    ],
)
async def test_wrong_codes_are_refused(gateway: Client, actor: ScriptedBooking, wrong: dict[str, Any]) -> None:
    response = await gateway.post(CODES, json=wrong, headers=ADMIN)
    assert (response.status, (await response.json())["code"]) == (422, "invalid_request")
    assert actor.messages(CreatePromoCodes) == []


async def test_codes_are_listed_and_changed(gateway: Client, actor: ScriptedBooking) -> None:
    listed = EXAMPLES["PromoCodePage"]["items"]
    actor.on(ListPromoCodes, {"items": listed, "next": ["SUMMER-20"]})
    actor.on(UpdatePromoCode, EXAMPLES["PromoCode"])
    reader = bearer("auditor", scope="holdfast:read")
    page = await (await gateway.get(CODES, headers=reader)).json()
    assert page["items"] == listed
    more = await gateway.get(CODES, headers=reader, params={"cursor": page["next_cursor"], "code": "summer 20"})
    assert more.status == 200
    assert [(each.after, each.code) for each in actor.messages(ListPromoCodes)] == [
        (None, None), ("SUMMER-20", "summer 20"),
    ]  # fmt: skip
    id = EXAMPLES["PromoCode"]["id"]
    changed = await gateway.patch(f"{CODES}/{id}", json={"active": False, "uses_max": None}, headers=ADMIN)
    assert (changed.status, await changed.json()) == (200, EXAMPLES["PromoCode"])
    (message,) = actor.messages(UpdatePromoCode)
    assert message.changes.model_fields_set == {"active", "uses_max"}
    assert str(id) in message.request.operation
    assert (await gateway.patch(f"{CODES}/{id}", json={}, headers=reader)).status == 403
    assert (await gateway.patch(f"{CODES}/none", json={}, headers=ADMIN)).status == 404
