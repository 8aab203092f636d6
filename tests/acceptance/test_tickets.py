"""Tickets from the purchase to the door: a scanner that knows only what docs/tickets.md says."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.exceptions import InvalidSignature

from tests.acceptance.client import Answer, Client, Json
from tests.acceptance.customers import CANCELLABLE
from tests.acceptance.database_rows import rows
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually

pytestmark = pytest.mark.timeout(120)

PAGE = (Path(__file__).parents[2] / "docs/tickets.md").read_text()
DOCUMENTED: dict[str, Any] = {}
exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0], DOCUMENTED)
read = DOCUMENTED["read"]


async def bought(holdfast: Holdfast, event: Json, quantity: int) -> tuple[Client, Json]:
    client = holdfast.client()
    async with client.live() as live:
        booking = (await client.book(event, quantity)).ok(201)
        await holdfast.stripe.pay(booking)
        await live.until(booking["id"], "confirmed")
    return client, booking


async def tickets(client: Client, booking: Json) -> list[Json]:
    items: list[Json] = (await client.request("GET", f"/bookings/{booking['id']}/tickets")).ok()["items"]
    return items


class Scanner:
    """Has the box office's token, and of the event what GET …/door has answered."""

    def __init__(self, holdfast: Holdfast, event: Json) -> None:
        self._client = holdfast.client(scopes=["holdfast:box-office"])
        self._event = event
        self._mark: str | None = None
        self.keys: list[Json] = []
        self.states: dict[str, str] = {}

    async def check_in(self, ticket: Json, **more: Any) -> Answer:
        body = {"id": str(uuid4()), "code": ticket["code"], "event_id": self._event["id"], **more}
        return await self._client.request("POST", "/admin/tickets/check-in", json=body)

    async def send(self, *items: Json) -> list[Json]:
        answer = await self._client.request("POST", "/admin/tickets/check-ins", json={"items": items})
        found: list[Json] = answer.ok()["items"]
        return found

    async def undo(self, check_in_id: str) -> Json:
        body = {"check_in_id": check_in_id}
        return (await self._client.request("POST", "/admin/tickets/undo", json=body)).ok()

    async def follow(self) -> Json:
        while True:
            query = "" if self._mark is None else f"?since={self._mark}"
            door = (await self._client.request("GET", f"/admin/events/{self._event['id']}/door{query}")).ok()
            self.keys, self._mark = door["keys"], door["mark"]
            self.states = {} if door["reset"] else self.states
            self.states |= {each["ticket_id"]: each["state"] for each in door["items"]}
            if not door["more"]:
                return door


async def test_a_ticket_is_bought_shown_and_used_once(holdfast: Holdfast) -> None:
    event = await holdfast.event((1500, 10), time_zone="Europe/Berlin")
    scanner = Scanner(holdfast, event)
    await scanner.follow()
    customer, booking = await bought(holdfast, event, 2)
    one, other = await tickets(customer, booking)

    found = read(one["code"], (await holdfast.anybody.request("GET", "/tickets/keys")).ok()["keys"])
    assert found == {
        "event": event["id"],
        "booking": booking["id"],
        "ticket_type": event["ticket_types"][0]["id"],
        "number": 1,
        "ticket": one["id"],
    }
    assert found == read(one["code"], scanner.keys)
    with pytest.raises(InvalidSignature):
        read(one["code"][:-1] + ("A" if one["code"][-1] != "A" else "B"), scanner.keys)

    first = (await scanner.check_in(one, gate="north")).ok()
    assert (await scanner.check_in(other)).status == 200
    again = await scanner.check_in(one, gate="south")
    assert (again.status, again.code, again.body["gate"]) == (409, "ticket_used", "north")
    assert [each["state"] for each in await tickets(customer, booking)] == ["used", "used"]
    await scanner.follow()
    assert scanner.states == {one["id"]: "used", other["id"]: "used"}

    await scanner.undo(again.body["check_in_id"])
    assert first["id"] == again.body["check_in_id"]
    await scanner.follow()
    assert scanner.states[one["id"]] == "valid"
    assert (await scanner.check_in(one)).status == 200
    stranger = await holdfast.client().request("GET", f"/bookings/{booking['id']}/tickets")
    assert stranger.status == 404


async def test_what_was_checked_offline_is_sent_later_and_more_than_once(holdfast: Holdfast) -> None:
    event = await holdfast.event((1500, 10), **CANCELLABLE)
    online, offline = Scanner(holdfast, event), Scanner(holdfast, event)
    customer, booking = await bought(holdfast, event, 3)
    one, two, three = await tickets(customer, booking)
    leaver = _, cancelled = await bought(holdfast, event, 1)
    (left,) = await tickets(*leaver)
    before = await online.check_in(two, gate="east")
    (await leaver[0].request("POST", f"/bookings/{cancelled['id']}/cancel")).ok(202)
    shown = [one, two, left, {"code": "forged"}, three]
    kept = [{"id": str(uuid4()), "code": each["code"], "at": "2026-01-01T12:00:00Z"} for each in shown]
    results = await offline.send(*kept)
    assert [each["outcome"] for each in results] == ["ok", "used", "cancelled", "invalid", "ok"]
    assert results[1]["check_in"]["id"] == before.ok()["id"]
    assert results[0]["check_in"]["at"] == "2026-01-01T12:00:00Z"
    assert await offline.send(*kept) == results

    async def known() -> dict[str, str]:
        await offline.follow()
        return offline.states

    await eventually(known, lambda states: states.get(left["id"]) == "cancelled")
    assert offline.states == {one["id"]: "used", two["id"]: "used", three["id"]: "used", left["id"]: "cancelled"}


async def test_ten_scanners_at_once_let_each_ticket_in_once(battered: Holdfast) -> None:
    """While the process that reads the door's mailbox is killed."""
    event = await battered.event((0, 100), max_per_booking=10)
    customer = battered.client()
    sold = [(await customer.book(event, 10)).ok(201) for _ in range(4)]
    everything = [ticket for booking in sold for ticket in await tickets(customer, booking)]
    scanners = [Scanner(battered, event) for _ in range(10)]

    async def until_answered(scanner: Scanner, ticket: Json) -> Answer:
        id = str(uuid4())
        while True:
            answer = await scanner.check_in(ticket, id=id)
            if answer.status != 503:
                return answer

    async def work(scanner: Scanner) -> list[Answer]:
        return [await until_answered(scanner, ticket) for ticket in everything]

    async def kill() -> None:
        await eventually(lambda: _used(battered, event), lambda used: used >= 5)
        booking = battered.stack.processes["booking-1"]
        await booking.kill()
        await booking.start()

    async with asyncio.TaskGroup() as group:
        at_work = [group.create_task(work(scanner)) for scanner in scanners]
        group.create_task(kill())
    counted = Counter(answer.code for each in at_work for answer in each.result())
    assert counted == {None: len(everything), "ticket_used": 9 * len(everything)}
    assert await _used(battered, event) == len(everything)


async def _used(holdfast: Holdfast, event: Json) -> int:
    (found,) = await rows(holdfast.stack.booking_database_url, "check_ins")
    assert len({row["ticket_id"] for row in found}) == len(found)
    return sum(str(row["event_id"]) == event["id"] for row in found)
