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


class Followed:
    """What a scanner knows of an event, by what GET …/door has answered. `states`: of the tickets that came."""

    def __init__(self, event: Json) -> None:
        self.event_id: str = event["id"]
        self._mark: str | None = None
        self.keys: list[Json] = []
        self.states: dict[str, str] = {}

    @property
    def path(self) -> str:
        """What to ask for next."""
        query = "" if self._mark is None else f"?since={self._mark}"
        return f"/admin/events/{self.event_id}/door{query}"

    def learn(self, door: Json) -> bool:
        """Take the answer in. Returns whether there is more."""
        self.keys, self._mark = door["keys"], door["mark"]
        self.states = {} if door["reset"] else self.states
        self.states |= {each["ticket_id"]: each["state"] for each in door["items"]}
        return bool(door["more"])


class Scanner:
    """Has a token for the door, and of the event what GET …/door has answered."""

    def __init__(self, holdfast: Holdfast, event: Json) -> None:
        self._client = holdfast.client(scopes=["holdfast:door"])
        self.known = Followed(event)

    async def check_in(self, ticket: Json, **more: Any) -> Answer:
        body = {"id": str(uuid4()), "code": ticket["code"], "event_id": self.known.event_id, **more}
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
            door = (await self._client.request("GET", self.known.path)).ok()
            if not self.known.learn(door):
                return door
