"""Tickets from the purchase to the door: a scanner that knows only what docs/tickets.md says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography.exceptions import InvalidSignature

from tests.acceptance.customers import CANCELLABLE
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually
from tests.acceptance.scanner import Scanner, bought, tickets

pytestmark = pytest.mark.timeout(120)

PAGE = (Path(__file__).parents[2] / "docs/tickets.md").read_text()
DOCUMENTED: dict[str, Any] = {}
exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0], DOCUMENTED)
read = DOCUMENTED["read"]


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
    assert found == read(one["code"], scanner.known.keys)
    with pytest.raises(InvalidSignature):
        read(one["code"][:-1] + ("A" if one["code"][-1] != "A" else "B"), scanner.known.keys)

    first = (await scanner.check_in(one, gate="north")).ok()
    assert (await scanner.check_in(other)).status == 200
    again = await scanner.check_in(one, gate="south")
    assert (again.status, again.code, again.body["gate"]) == (409, "ticket_used", "north")
    assert [each["state"] for each in await tickets(customer, booking)] == ["used", "used"]
    await scanner.follow()
    assert scanner.known.states == {one["id"]: "used", other["id"]: "used"}

    await scanner.undo(again.body["check_in_id"])
    assert first["id"] == again.body["check_in_id"]
    await scanner.follow()
    assert scanner.known.states[one["id"]] == "valid"
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
        return offline.known.states

    # Changes are held back while any transaction is under way.
    everything = {one["id"]: "used", two["id"]: "used", three["id"]: "used", left["id"]: "cancelled"}
    await eventually(known, lambda states: states == everything)
