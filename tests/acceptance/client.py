"""What clients do with a running stack: get tokens, book, ask for their bookings, listen on a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import aiohttp
import orjson

# Longer than the longest wait: twice, one after the other, the entries of a killed process are claimed (25 s each).
MAX_WAIT_SECONDS = 60.0

# The close code of RFC 6455's registry that asks the client to connect again.
TRY_AGAIN_LATER = 1013

Json = dict[str, Any]
Socket = aiohttp.ClientWebSocketResponse[Any]
_numbers = count(1)


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. `body` is None when it is not JSON."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def code(self) -> str | None:
        """The problem's code, or Stripe's error code when Stripe answered; None for an answer below 400."""
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
    """Send one request, and read its whole answer. Raises aiohttp's errors and OSError when there is none."""
    async with session.request(method, url, **options) as response:
        raw = await response.read()
        try:
            body = orjson.loads(raw) if raw else None
        except orjson.JSONDecodeError:
            body = None
        return Answer(response.status, body, response.headers)


class Client:
    """A client of the gateway: one subject, or without a token nobody in particular."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str | None) -> None:
        self._session = session
        self.url = url
        self.token = token

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        headers = dict(options.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        return await send(self._session, method, self.url + path, headers=headers, **options)

    async def book(
        self, event: Json, *quantities: int, key: str | None = None, prefer: str | None = None, **more: Any
    ) -> Answer:
        """POST /bookings. `quantities`: seats of the event's first, second … ticket type; 0 leaves a type out."""
        items = [
            {"ticket_type_id": ticket_type["id"], "quantity": quantity}
            for ticket_type, quantity in zip(event["ticket_types"], quantities, strict=False)
            if quantity
        ]
        headers = {"Idempotency-Key": key or f"key-{next(_numbers)}"}
        if prefer is not None:
            headers["Prefer"] = prefer
        body = {"event_id": event["id"], "items": items, **more}
        return await self.request("POST", "/bookings", json=body, headers=headers)

    async def book_until_final(self, event: Json, *quantities: int, key: str, prefer: str | None = None) -> Answer:
        """`book`, sent again with the same key until the answer is final: no 202, no 503, no broken connection."""
        async with asyncio.timeout(2 * MAX_WAIT_SECONDS):
            while True:
                try:
                    answer = await self.book(event, *quantities, key=key, prefer=prefer)
                except (aiohttp.ClientError, OSError):
                    # No process listens while a gateway restarts: let other tasks run, then try again.
                    await asyncio.sleep(0.05)
                    continue
                if answer.status not in (202, 503):
                    return answer
                await asyncio.sleep(0.05 if answer.status == 202 else 0.2)

    async def booking(self, booking_id: str) -> Json:
        return (await self.request("GET", f"/bookings/{booking_id}")).ok()

    async def history(self, booking_id: str) -> list[Json]:
        items: list[Json] = (await self.request("GET", f"/bookings/{booking_id}/history")).ok()["items"]
        return items

    async def intent(self, booking_id: str, **more: Any) -> Answer:
        return await self.request("POST", "/payment/create-intent", json={"booking_id": booking_id, **more})

    @asynccontextmanager
    async def live(self, *, in_message: bool = True) -> AsyncIterator[Live]:
        """An open socket. The token goes into the first message, or into a header."""
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
    """A client's socket, and all messages that it has received. When the gateway closes it with 1013, it connects
    and subscribes again, as docs/websocket.md asks for. Every other end is an error."""

    socket: Socket

    def __init__(self, connect: Callable[[], Awaitable[Socket]]) -> None:
        self._connect = connect
        self._targets: list[dict[str, str]] = []
        self.received: list[Json] = []

    async def open(self) -> None:
        self.socket = await self._connect()
        for target in self._targets:
            await self.socket.send_json({"type": "subscribe", **target})

    async def next(self) -> Json:
        async with asyncio.timeout(MAX_WAIT_SECONDS):
            while (frame := await self.socket.receive()).type is not aiohttp.WSMsgType.TEXT:
                assert self.socket.close_code == TRY_AGAIN_LATER, f"{frame}, after {self.received}"
                await self.open()
        message: Json = orjson.loads(frame.data)
        self.received.append(message)
        return message

    async def until(
        self, booking_id: str, wanted: str | Callable[[Json], bool], seconds: float = MAX_WAIT_SECONDS
    ) -> Json:
        """The booking, once a message has it as `wanted`: a status, or a condition on the booking."""

        def fits(message: Json) -> bool:
            booking = message.get("booking")
            if booking is None or booking["id"] != booking_id:
                return False
            return wanted(booking) if callable(wanted) else bool(booking["status"] == wanted)

        async with asyncio.timeout(seconds):
            message = next((message for message in self.received if fits(message)), None)
            while message is None or not fits(message):
                message = await self.next()
        booking: Json = message["booking"]
        return booking

    async def snapshot(self, **target: str) -> Json:
        """Subscribe. Returns the answer (a snapshot or an error), which may come between changes."""
        if target not in self._targets:
            self._targets.append(target)
        await self.socket.send_json({"type": "subscribe", **target})
        async with asyncio.timeout(MAX_WAIT_SECONDS):
            while (message := await self.next())["type"] not in ("snapshot", "error"):
                pass
        return message

    def versions(self, booking_id: str) -> list[int]:
        return [
            message["booking"]["version"]
            for message in self.received
            if "booking" in message and message["booking"]["id"] == booking_id
        ]
