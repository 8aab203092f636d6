"""Tickets at the gateway: codes and their images, calendar entries, the public keys, and the answers at a door."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from common.contracts.errors import NotFound
from common.contracts.messages import CheckInTickets, GetDoor, GetSigningKeys, GetTickets, UndoCheckIn
from common.contracts.values import CHECK_INS_MAX
from gateway.examples import BOOKING_ID, CHECK_IN, EVENT_ID, EXAMPLES, SIGNING_KEY, STALLS_ID, TICKET_ID
from gateway.requests import encode_cursor
from gateway.settings import GatewaySettings
from tests.gateway.conftest import Gateway
from tests.gateway.stage import Client, ScriptedBooking, bearer
from tests.qr_reader import read_png, read_svg

OWNER, OPERATOR = bearer("alice"), bearer("box-office-7", scope="holdfast:door")
CODE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ23" * 7 + "ABCDEFGHIJKLMNOPQRST"
TICKETS = f"/bookings/{BOOKING_ID}/tickets"


def found(**ticket: Any) -> dict[str, Any]:
    """The booking actor's answer, with one ticket."""
    example = EXAMPLES["BookingTickets"]
    (item,) = example["items"]
    item = {name: value for name, value in item.items() if name not in ("svg", "png")}
    shown = {name: value for name, value in example.items() if name != "next_cursor"}
    return {**shown, "items": [{**item, "code": CODE, **ticket}], "next": None}


async def test_tickets_come_with_the_addresses_of_their_images(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(GetTickets, found() | {"next": [1]})
    response = await gateway.get(f"{TICKETS}?limit=1", headers=OWNER)
    body = await response.json()
    assert response.status == 200
    (ticket,) = body["items"]
    assert (ticket["svg"], ticket["png"]) == (f"{TICKETS}/{TICKET_ID}.svg", f"{TICKETS}/{TICKET_ID}.png")
    assert "next" not in body
    await gateway.get(f"{TICKETS}?limit=7&cursor={body['next_cursor']}", headers=OWNER)
    assert [(each.owner, each.after, each.limit) for each in actor.messages(GetTickets)] == [
        ("alice", 0, 1),
        ("alice", 1, 7),
    ]
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("kind", ["svg", "png"])
async def test_the_image_is_the_code_as_a_qr_code(gateway: Client, actor: ScriptedBooking, kind: str) -> None:
    actor.on(GetTickets, found())
    response = await gateway.get(f"{TICKETS}/{TICKET_ID}.{kind}", headers=OWNER)
    body = await response.read()
    assert response.status == 200
    media_type, read = {"png": ("image/png", read_png), "svg": ("image/svg+xml", read_svg)}[kind]
    assert (response.content_type, read(body)) == (media_type, CODE)
    (asked,) = actor.messages(GetTickets)
    assert (asked.owner, asked.ticket_id) == ("alice", UUID(TICKET_ID))


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (NotFound(), 404, "not_found"),
        (found() | {"items": []}, 404, "not_found"),
        (found(code=None), 404, "not_found"),
        (found(code=None, state="cancelled"), 409, "ticket_cancelled"),
        (found(code=None, state="refunded"), 409, "ticket_cancelled"),
    ],
)
async def test_without_a_code_there_is_no_image(
    gateway: Client, actor: ScriptedBooking, answer: Any, status: int, code: str
) -> None:
    actor.on(GetTickets, answer)
    response = await gateway.get(f"{TICKETS}/{TICKET_ID}.svg", headers=OWNER)
    assert (response.status, (await response.json())["code"]) == (status, code)


async def test_an_image_needs_a_token(gateway: Client, actor: ScriptedBooking) -> None:
    response = await gateway.get(f"{TICKETS}/{TICKET_ID}.png")
    assert response.status == 401
    assert actor.messages(GetTickets) == []


async def test_a_booking_is_a_calendar_entry(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(GetTickets, found())
    response = await gateway.get(f"/bookings/{BOOKING_ID}/calendar.ics", headers=OWNER)
    assert (response.status, response.content_type) == (200, "text/calendar")
    lines = (await response.text()).split("\r\n")
    assert {"DTSTART:20300501T193000Z", f"UID:{BOOKING_ID}", "SUMMARY:Opening night"} <= set(lines)


# --- the public keys


async def test_anybody_gets_the_public_keys_by_one_question(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(GetSigningKeys, {"keys": [SIGNING_KEY]})
    answers = [await gateway.get("/tickets/keys") for _ in range(3)]
    assert [(each.status, (await each.json())["keys"]) for each in answers] == [(200, [SIGNING_KEY])] * 3
    assert len(actor.messages(GetSigningKeys)) == 1
    again = await gateway.get("/tickets/keys", headers={"If-None-Match": answers[0].headers["ETag"]})
    assert again.status == 304


async def test_while_booking_does_not_answer_the_public_keys_are_not_known(start: Gateway) -> None:
    gateway = await start(answer_seconds=0.05)
    assert (await gateway.get("/tickets/keys")).status == 503


def test_the_gateway_has_no_key_that_signs() -> None:
    assert not [name for name in GatewaySettings.model_fields if "signing" in name]


# --- the door


def met(outcome: str, *, check_in: Any = CHECK_IN, ticket_id: str | None = TICKET_ID) -> dict[str, Any]:
    return {"items": [{"id": str(uuid4()), "outcome": outcome, "ticket_id": ticket_id, "check_in": check_in}]}


async def test_200_lets_somebody_in(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(CheckInTickets, met("ok"))
    body = {"id": str(uuid4()), "code": CODE, "event_id": EVENT_ID, "gate": "North", "device": "4"}
    response = await gateway.post("/admin/tickets/check-in", json=body, headers=OPERATOR)
    assert (response.status, await response.json()) == (200, CHECK_IN)
    (sent,) = actor.messages(CheckInTickets)
    (entry,) = sent.entries
    assert (sent.by, str(sent.event_id), str(entry.id), entry.code, entry.gate, entry.device, entry.at) == (
        *("box-office-7", EVENT_ID, body["id"], CODE, "North", "4", None),
    )


REFUSED = {
    "used": (409, "ticket_used", {"ticket_id", "check_in_id", "used_at", "gate", "device"}),
    "cancelled": (409, "ticket_cancelled", {"ticket_id"}),
    "other_event": (409, "ticket_of_another_event", {"ticket_id"}),
    "undone": (409, "check_in_undone", {"ticket_id", "check_in_id"}),
    "invalid": (422, "ticket_invalid", set()),
    "of a later release": (422, "ticket_invalid", set()),
}


@pytest.mark.parametrize("outcome", REFUSED)
async def test_every_other_answer_lets_nobody_in(gateway: Client, actor: ScriptedBooking, outcome: str) -> None:
    status, code, members = REFUSED[outcome]
    has_check_in, has_ticket = "check_in_id" in members, "ticket_id" in members
    actor.on(
        CheckInTickets,
        met(outcome, check_in=CHECK_IN if has_check_in else None, ticket_id=TICKET_ID if has_ticket else None),
    )
    response = await gateway.post("/admin/tickets/check-in", json={"code": CODE}, headers=OPERATOR)
    problem = await response.json()
    assert (response.status, problem["code"]) == (status, code)
    assert problem.keys() - {"type", "title", "status", "code", "detail"} == members
    if "used_at" in members:
        assert (problem["used_at"], problem["gate"]) == (CHECK_IN["at"], "North")


async def test_a_list_made_offline_is_one_message(gateway: Client, actor: ScriptedBooking) -> None:
    answer = {"items": [met("used")["items"][0]] * 2}
    actor.on(CheckInTickets, answer)
    items = [{"id": str(uuid4()), "code": CODE, "at": f"2030-05-01T18:5{n}:00Z"} for n in range(2)]
    response = await gateway.post(
        "/admin/tickets/check-ins", json={"items": items, "event_id": EVENT_ID}, headers=OPERATOR
    )
    assert (response.status, await response.json()) == (200, answer)
    (sent,) = actor.messages(CheckInTickets)
    assert [(str(each.id), each.at.minute) for each in sent.entries] == [(items[0]["id"], 50), (items[1]["id"], 51)]


LISTED = {"id": str(uuid4()), "code": "A"}
WRONG: dict[str, list[Any]] = {
    "/admin/tickets/check-in": [
        {},
        {"code": ""},
        {"code": "A" * 401},
        {"code": "A", "ticket_id": TICKET_ID},
        {"ticket_id": TICKET_ID},
        {"booking_id": BOOKING_ID},
        {"code": "A", "booking_id": BOOKING_ID, "ticket_id": TICKET_ID},
        {"code": "A", "gate": "\n"},
        {"code": "A", "at": 5},
        {"code": 5},
        {"code": "A", "unknown": 1},
    ],
    "/admin/tickets/check-ins": [
        {},
        {"items": []},
        {"items": [{"code": "A"}]},
        {"items": [LISTED] * (CHECK_INS_MAX + 1)},
        {"items": [{**LISTED, "event_id": EVENT_ID}]},
    ],
    "/admin/tickets/undo": [{}, {"check_in_id": "1"}, {"check_in_id": None}],
}


@pytest.mark.parametrize(("path", "body"), [(path, body) for path, bodies in WRONG.items() for body in bodies])
async def test_wrong_bodies_reach_nobody(gateway: Client, actor: ScriptedBooking, path: str, body: Any) -> None:
    response = await gateway.post(path, json=body, headers=OPERATOR)
    assert (response.status, (await response.json())["code"]) == (422, "invalid_request")
    assert actor.received == []


async def test_the_longest_list_fits_into_a_body(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(CheckInTickets, {"items": []})
    item = {
        "id": str(uuid4()),
        "code": CODE,
        "at": "2030-05-01T18:50:00.123456Z",
        "gate": "N" * 40,
        "device": "D" * 40,
    }
    response = await gateway.post(
        "/admin/tickets/check-ins", json={"items": [item] * CHECK_INS_MAX}, headers=OPERATOR
    )
    assert response.status == 200


async def test_a_check_in_is_undone_by_its_id(gateway: Client, actor: ScriptedBooking) -> None:
    undone = CHECK_IN | {"undone_at": "2030-05-01T18:59:00Z", "undone_by": "box-office-7"}
    actor.on(UndoCheckIn, undone)
    response = await gateway.post("/admin/tickets/undo", json={"check_in_id": CHECK_IN["id"]}, headers=OPERATOR)
    assert (response.status, await response.json()) == (200, undone)
    (sent,) = actor.messages(UndoCheckIn)
    assert (sent.by, str(sent.check_in_id)) == ("box-office-7", CHECK_IN["id"])


async def test_the_mark_of_the_door_is_sent_back_as_it_came(gateway: Client, actor: ScriptedBooking) -> None:
    mark = ["1899628480.1", 8812, 904]
    actor.on(GetDoor, EXAMPLES["Door"] | {"mark": mark})
    path = f"/admin/events/{EVENT_ID}/door"
    first = await (await gateway.get(path, headers=OPERATOR)).json()
    assert first["ticket_types"][0]["id"] == STALLS_ID
    await gateway.get(f"{path}?since={first['mark']}&limit=9", headers=OPERATOR)
    assert [(each.since, each.limit) for each in actor.messages(GetDoor)] == [(None, 500), (tuple(mark), 9)]


@pytest.mark.parametrize(
    "since", ["", "x", encode_cursor([1, 2, 3]), encode_cursor(["a", -1, 0]), encode_cursor(["a", 1, 2**63])]
)
async def test_no_mark_of_ours_is_refused(gateway: Client, actor: ScriptedBooking, since: str) -> None:
    response = await gateway.get(f"/admin/events/{EVENT_ID}/door?since={since}", headers=OPERATOR)
    assert (response.status, (await response.json())["code"]) == (422, "invalid_request")
    assert actor.received == []
