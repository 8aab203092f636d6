"""What clients do with a running stack: get tokens, book, pay at Stripe as a browser does, listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import aiohttp
import orjson

# Longer than the longest that may be waited for: two takings over from killed processes, one after the other.
PATIENCE_SECONDS = 60.0

# RFC 6455's registry: connect again.
TRY_AGAIN_LATER = 1013

Json = dict[str, Any]
Socket = aiohttp.ClientWebSocketResponse[Any]
_numbers = count(1)


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. `body` is None where it is no JSON."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def code(self) -> str | None:
        """The problem's code, the payment's where Stripe answered; None where all is well."""
        if not isinstance(self.body, dict):
            return None
        error = self.body.get("error", self.body)
        return error.get("code") if self.status >= 400 else None

    def ok(self, status: int = 200) -> Json:
        """The body of an answer that must have `status`."""
        assert self.status == status, f"{self.status}: {self.body}"
        assert isinstance(self.body, dict)
        return self.body


async def send(session: aiohttp.ClientSession, method: str, url: str, **options: Any) -> Answer:
    """One request and its whole answer. Raises aiohttp's and OS errors when there is none."""
    async with session.request(method, url, **options) as response:
        raw = await response.read()
        try:
            body = orjson.loads(raw) if raw else None
        except orjson.JSONDecodeError:
            body = None
        return Answer(response.status, body, response.headers)


class Client:
    """One subject at the gateway; without a token, anybody."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str | None) -> None:
        self._session = session
        self.url = url
        self.token = token

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        headers = dict(options.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        return await send(self._session, method, self.url + path, headers=headers, **options)

    async def book(
        self, event: Json, *quantities: int, key: str | None = None, prefer: str | None = None
    ) -> Answer:
        """POST /bookings: so many seats of the event's first, second … ticket type (0: none of it)."""
        items = [
            {"ticket_type_id": ticket_type["id"], "quantity": quantity}
            for ticket_type, quantity in zip(event["ticket_types"], quantities, strict=False)
            if quantity
        ]
        headers = {"Idempotency-Key": key or f"key-{next(_numbers)}"}
        if prefer is not None:
            headers["Prefer"] = prefer
        body = {"event_id": event["id"], "items": items}
        return await self.ask("POST", "/bookings", json=body, headers=headers)

    async def insist(self, event: Json, *quantities: int, key: str, prefer: str | None = None) -> Answer:
        """`book`, sent again with the same key until the answer is final: no 202, no 503, no broken connection."""
        async with asyncio.timeout(2 * PATIENCE_SECONDS):
            while True:
                try:
                    answer = await self.book(event, *quantities, key=key, prefer=prefer)
                except (aiohttp.ClientError, OSError):
                    # Nobody listens while a gateway restarts: give the loop to the others, then knock again.
                    await asyncio.sleep(0.05)
                    continue
                if answer.status not in (202, 503):
                    return answer
                await asyncio.sleep(0.05 if answer.status == 202 else 0.2)

    async def booking(self, booking_id: str) -> Json:
        return (await self.ask("GET", f"/bookings/{booking_id}")).ok()

    async def history(self, booking_id: str) -> list[Json]:
        items: list[Json] = (await self.ask("GET", f"/bookings/{booking_id}/history")).ok()["items"]
        return items

    async def intent(self, booking_id: str, **more: Any) -> Answer:
        return await self.ask("POST", "/payment/create-intent", json={"booking_id": booking_id, **more})

    @asynccontextmanager
    async def live(self, *, in_message: bool = True) -> AsyncIterator[Live]:
        """An open socket; its token goes in the first message, or in the header."""
        live = Live(lambda: self._connect(in_message))
        await live.open()
        try:
            yield live
        finally:
            await live.socket.close()

    async def _connect(self, in_message: bool) -> Socket:
        headers = {} if in_message else {"Authorization": f"Bearer {self.token}"}
        socket = await self._session.ws_connect(self.url.replace("http", "ws", 1) + "/ws", headers=headers)
        if in_message:
            await socket.send_json({"type": "auth", "token": self.token})
        return socket


class Live:
    """A client's socket, and all that it has heard. Sent away with 1013 it comes back and subscribes again, as
    docs/websocket.md asks for; every other end is an error."""

    socket: Socket

    def __init__(self, connect: Callable[[], Awaitable[Socket]]) -> None:
        self._connect = connect
        self._targets: list[dict[str, str]] = []
        self.heard: list[Json] = []

    async def open(self) -> None:
        self.socket = await self._connect()
        for target in self._targets:
            await self.socket.send_json({"type": "subscribe", **target})

    async def next(self) -> Json:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (received := await self.socket.receive()).type is not aiohttp.WSMsgType.TEXT:
                assert self.socket.close_code == TRY_AGAIN_LATER, f"{received}, after {self.heard}"
                await self.open()
        message: Json = orjson.loads(received.data)
        self.heard.append(message)
        return message

    async def until(
        self, booking_id: str, wanted: str | Callable[[Json], bool], seconds: float = PATIENCE_SECONDS
    ) -> Json:
        """The booking, once a message tells of it what is `wanted`: a status, or anything else."""

        def fits(message: Json) -> bool:
            booking = message.get("booking")
            if booking is None or booking["id"] != booking_id:
                return False
            return wanted(booking) if callable(wanted) else bool(booking["status"] == wanted)

        async with asyncio.timeout(seconds):
            message = next((message for message in self.heard if fits(message)), None)
            while message is None or not fits(message):
                message = await self.next()
        booking: Json = message["booking"]
        return booking

    async def snapshot(self, **target: str) -> Json:
        """Subscribe, and the answer to it (a snapshot or an error), which may come between changes."""
        if target not in self._targets:
            self._targets.append(target)
        await self.socket.send_json({"type": "subscribe", **target})
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (message := await self.next())["type"] not in ("snapshot", "error"):
                pass
        return message

    def versions(self, booking_id: str) -> list[int]:
        return [
            message["booking"]["version"]
            for message in self.heard
            if "booking" in message and message["booking"]["id"] == booking_id
        ]
