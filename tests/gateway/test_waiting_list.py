"""Waiting lists over REST and the WebSocket: each request is one call to the booking actor."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from common.contracts.errors import HoldfastError, NotFound, NotSoldOut, OfferMade
from common.contracts.ids import waiting_entry_id
from common.contracts.messages import (
    GetWaitingEntry,
    JoinWaitingList,
    LeaveWaitingList,
    ListWaitingEntries,
    WaitingEntryChanged,
)
from common.contracts.resources import WaitingEntry
from common.contracts.statuses import WaitingStatus
from gateway.requests import encode_cursor
from tests.gateway.conftest import Gateway
from tests.gateway.stage import EVENT_ID, TICKET_TYPE_ID, Client, ScriptedBooking, bearer, keyed
from tests.gateway.test_socket import connect, received

OFFER = "01900000-0000-7000-8000-00000000b0b0"
AT = datetime(2030, 1, 1, tzinfo=UTC)
WISH = {"event_id": str(EVENT_ID), "ticket_type_id": str(TICKET_TYPE_ID), "quantity": 2}


def entry(id: UUID | None = None, **values: Any) -> WaitingEntry:
    fields: dict[str, Any] = {
        "id": id or uuid4(),
        "event_id": EVENT_ID,
        "ticket_type_id": TICKET_TYPE_ID,
        "quantity": 2,
        "status": WaitingStatus.WAITING,
        "reason": None,
        "position": 3,
        "booking_id": None,
        "offered_until": None,
        "joined_at": AT,
        "updated_at": AT,
        "version": 1,
    }
    return WaitingEntry(**(fields | values))


def as_json(seen: WaitingEntry) -> dict[str, Any]:
    return seen.model_dump(mode="json")


async def test_a_guest_joins_by_a_key_that_makes_the_entrys_id(gateway: Client, actor: ScriptedBooking) -> None:
    guest = bearer("guest_1") | {"Idempotency-Key": "k"}
    id = waiting_entry_id("guest_1", "k")
    actor.on(JoinWaitingList, as_json(entry(id)))
    response = await gateway.post("/waiting-list", json=WISH, headers=guest)
    assert (response.status, await response.json()) == (201, as_json(entry(id)))
    assert response.headers["Location"] == f"/waiting-list/{id}"
    (asked,) = actor.messages(JoinWaitingList)
    assert (asked.entry_id, asked.owner, asked.event_id, asked.quantity) == (id, "guest_1", EVENT_ID, 2)
    assert asked.address is not None
    other = await gateway.post("/waiting-list", json=WISH, headers=keyed("alice"))
    assert (other.status, actor.messages(JoinWaitingList)[-1].address) == (201, None)


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (WISH, bearer(), 400, "idempotency_key_required"),
        (WISH | {"quantity": 0}, keyed(), 422, "invalid_request"),
        (WISH | {"priority": 1}, keyed(), 422, "invalid_request"),
        (WISH, {"Idempotency-Key": "k"}, 401, "unauthorized"),
    ],
)
async def test_a_wrong_request_reaches_no_actor(
    gateway: Client, actor: ScriptedBooking, body: dict[str, Any], headers: dict[str, str], status: int, code: str
) -> None:
    response = await gateway.post("/waiting-list", json=body, headers=headers)
    assert (response.status, (await response.json())["code"]) == (status, code)
    assert actor.messages(JoinWaitingList) == []


@pytest.mark.parametrize(
    ("path", "kind", "error", "members"),
    [
        ("/waiting-list", JoinWaitingList, NotSoldOut(available=4), {"available": 4}),
        (
            "/waiting-list/{id}/leave",
            LeaveWaitingList,
            OfferMade(booking_id=str(EVENT_ID)),
            {"booking_id": str(EVENT_ID)},
        ),
    ],
)
async def test_a_refusal_says_why(
    gateway: Client, actor: ScriptedBooking, path: str, kind: Any, error: HoldfastError, members: dict[str, Any]
) -> None:
    actor.on(kind, error)
    response = await gateway.post(path.replace("{id}", str(uuid4())), json=WISH, headers=keyed())
    problem = await response.json()
    assert (response.status, problem["code"]) == (409, error.code)
    assert {name: problem[name] for name in members} == members


async def test_owners_read_their_entries_and_operators_all_of_an_event(
    gateway: Client, actor: ScriptedBooking
) -> None:
    seen, operator = entry(), bearer("root", operator=True)
    actor.on(GetWaitingEntry, as_json(seen))
    actor.on(ListWaitingEntries, {"items": [as_json(seen)], "next": [7]})
    for headers, owner in ((bearer(), "alice"), (operator, None)):
        response = await gateway.get(f"/waiting-list/{seen.id}", headers=headers)
        assert await response.json() == as_json(seen)
        assert actor.messages(GetWaitingEntry)[-1].owner == owner
    page = await (await gateway.get("/waiting-list?limit=1", headers=bearer())).json()
    assert page == {"items": [as_json(seen)], "next_cursor": encode_cursor([7])}
    await gateway.get(f"/waiting-list?cursor={page['next_cursor']}", headers=bearer())
    await gateway.get(f"/admin/events/{EVENT_ID}/waiting-list", headers=operator)
    own, more, of_event = actor.messages(ListWaitingEntries)
    assert (own.owner, own.event_id, own.behind, own.limit) == ("alice", None, None, 1)
    assert more.behind == 7
    assert (of_event.owner, of_event.event_id) == (None, EVENT_ID)
    refused = await gateway.get(f"/admin/events/{EVENT_ID}/waiting-list", headers=bearer())
    assert refused.status == 403


async def test_who_leaves_is_the_owner(gateway: Client, actor: ScriptedBooking) -> None:
    gone = entry(status=WaitingStatus.LEFT, position=None)
    actor.on(LeaveWaitingList, as_json(gone))
    response = await gateway.post(f"/waiting-list/{gone.id}/leave", headers=bearer())
    assert (response.status, await response.json()) == (200, as_json(gone))
    (asked,) = actor.messages(LeaveWaitingList)
    assert (asked.entry_id, asked.owner) == (gone.id, "alice")


async def test_a_socket_gets_its_owners_entries(gateway: Client, actor: ScriptedBooking) -> None:
    mine, theirs = await connect(gateway), await connect(gateway, "bob")
    first = entry()
    later = entry(first.id, status=WaitingStatus.OFFERED, position=None, booking_id=uuid4(), version=3)
    actor.on(GetWaitingEntry, as_json(first))
    await mine.send_json({"type": "subscribe", "waiting_entry_id": str(first.id)})
    assert await received(mine) == {"type": "snapshot", "waiting_entry": as_json(first)}
    await actor.notify(
        WaitingEntryChanged(owner="alice", entry=later),
        WaitingEntryChanged(owner="alice", entry=first),
        WaitingEntryChanged(owner="bob", entry=entry(version=9)),
    )
    assert await received(mine) == {"type": "waiting_entry", "waiting_entry": as_json(later)}
    assert (await received(theirs))["waiting_entry"]["version"] == 9
    actor.on(GetWaitingEntry, NotFound())
    await mine.send_json({"type": "subscribe", "waiting_entry_id": str(EVENT_ID)})
    refused = await received(mine)
    assert (refused["code"], refused["waiting_entry_id"]) == ("not_found", str(EVENT_ID))


async def test_asking_for_many_entries_in_vain_is_limited(start: Gateway, actor: ScriptedBooking) -> None:
    gateway = await start(wasted_bookings_per_subject=0.1)
    actor.on(LeaveWaitingList, as_json(entry(status=WaitingStatus.LEFT)))
    actor.on(JoinWaitingList, as_json(entry()))
    statuses: list[int] = []
    while len(statuses) < 9 and 429 not in statuses:  # from then on each answer takes seconds
        await gateway.post(f"/waiting-list/{uuid4()}/leave", headers=bearer())
        statuses.append((await gateway.post("/waiting-list", json=WISH, headers=keyed())).status)
    assert (statuses[0], statuses[-1]) == (201, 429)
