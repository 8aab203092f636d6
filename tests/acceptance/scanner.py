"""Tickets as customers have them, and a scanner at the door of an event."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.acceptance.client import Answer, Client, Json
from tests.acceptance.holdfast import Holdfast


async def bought(holdfast: Holdfast, event: Json, *quantities: int, **more: Any) -> tuple[Client, Json]:
    client = holdfast.client()
    async with client.live() as live:
        booking = (await client.book(event, *quantities, **more)).ok(201)
        await holdfast.stripe.pay(booking)
        await live.until(booking["id"], "confirmed")
    return client, booking


async def tickets(client: Client, booking: Json) -> list[Json]:
    items: list[Json] = (await client.request("GET", f"/bookings/{booking['id']}/tickets")).ok()["items"]
    return items


class Scanner:
    """Has a token for the door, and of the event what GET …/door has answered."""

    def __init__(self, holdfast: Holdfast, event: Json) -> None:
        self._client = holdfast.client(scopes=["holdfast:door"])
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
