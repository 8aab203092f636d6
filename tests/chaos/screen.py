"""A client's socket, opened again whenever it closes, and the bookings that it shows."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import orjson

from tests.acceptance.client import Answer, Json
from tests.chaos.visitor import AGAIN_S, NO_ANSWER, Visitor

# Seconds between two pings. A gateway that does not answer one within half of this is gone.
HEARTBEAT_S = 6.0
CONNECT_S = 8.0
# Seconds after which a snapshot that a gateway could not send is requested again.
UNAVAILABLE_S = 1.0


@dataclass
class _Line:
    """One socket's life. `last` and `positions`: the last version and queue position of each booking on it;
    `deferred`: those that are behind all others in the queue; `awaited`: the bookings whose snapshot is still to
    come, with the least version that it must have."""

    socket: aiohttp.ClientWebSocketResponse
    opened_at: float
    last: dict[str, int] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    deferred: set[str] = field(default_factory=set)
    awaited: dict[str, int] = field(default_factory=dict)


class Screen:
    """The bookings that one client watches. `closes` counts closed sockets by their codes; `in_message`: the token
    goes into the first message, as browsers send it."""

    def __init__(
        self, visitor: Visitor, session: aiohttp.ClientSession, closes: Counter[str], *, in_message: bool = False
    ) -> None:
        self._visitor = visitor
        self._session = session
        self._closes = closes
        self._in_message = in_message
        self._line: _Line | None = None
        self._notified: dict[str, asyncio.Event] = {}
        self._subscribing_again: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Keep a socket open, until cancelled."""
        while True:
            sent_at = self._visitor.judge.now
            try:
                async with asyncio.timeout(CONNECT_S):
                    socket = await self._open()
            except aiohttp.WSServerHandshakeError as error:
                answer = Answer(error.status, error.message, error.headers or {})
                self._visitor.judge.answered("GET /ws", answer, sent_at)
                await asyncio.sleep(AGAIN_S)
                continue
            except NO_ANSWER as error:
                self._visitor.judge.unanswered("GET /ws", error, sent_at)
                await asyncio.sleep(AGAIN_S)
                continue
            try:
                await self._listen(_Line(socket, self._visitor.judge.now))
            finally:
                self._line = None
                await socket.close()
            await asyncio.sleep(AGAIN_S)

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        client = self._visitor.client
        url = client.url.replace("http", "ws", 1) + "/ws"
        headers = {} if self._in_message else {"Authorization": f"Bearer {client.token}"}
        socket = await self._session.ws_connect(url, headers=headers, heartbeat=HEARTBEAT_S)
        if self._in_message:
            await socket.send_json({"type": "auth", "token": client.token})
        return socket

    async def _listen(self, line: _Line) -> None:
        self._line = line
        for id in tuple(self._notified):
            await self._subscribe(line, id)
        async for message in line.socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await self._receive(line, orjson.loads(message.data))
        self._closes[str(line.socket.close_code)] += 1
        self._visitor.judge.closed(line.socket.close_code, line.opened_at)

    async def open(self, id: str) -> None:
        """Watch the booking: subscribe to its changes, on each socket from now on."""
        if id not in self._notified:
            self._notified[id] = asyncio.Event()
            if self._line is not None:
                await self._subscribe(self._line, id)

    async def close(self, id: str) -> None:
        if self._notified.pop(id, None) is not None and self._line is not None:
            await self._send(self._line, {"type": "unsubscribe", "booking_id": id})

    def behind(self, versions: dict[str, int]) -> list[str]:
        """The bookings whose version in the database is newer than the current socket's last one."""
        if self._line is None:
            return []
        last = self._line.last
        return [
            f"booking {id}: version {versions[id]}, last sent {last[id]}"
            for id in self._notified
            if id in last and id in versions and last[id] < versions[id]
        ]

    async def wait_for_notification(self, id: str, seconds: float) -> bool:
        """Wait for a notification of the booking. Returns False when none comes within `seconds`."""
        event = self._notified[id]
        event.clear()
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True

    async def _subscribe(self, line: _Line, id: str) -> None:
        line.awaited.setdefault(id, self._visitor.witness.version(id))
        await self._send(line, {"type": "subscribe", "booking_id": id})

    async def _send(self, line: _Line, message: Json) -> None:
        try:
            await line.socket.send_json(message)
        except NO_ANSWER:
            return  # the socket is closing: the task that reads it notices

    async def _receive(self, line: _Line, message: Json) -> None:
        kind = message["type"]
        if kind in ("booking", "snapshot"):
            self._show(line, kind, message["booking"])
        elif kind == "queue":
            self._show_position(line, message["booking_id"], message["queue_position"])
        elif kind == "error":
            await self._refused(line, message)
        else:
            self._visitor.judge.breaks("messages as documented", f"{message}")

    def _show(self, line: _Line, kind: str, booking: Json) -> None:
        id, version = booking["id"], booking["version"]
        judge, last = self._visitor.judge, line.last.get(id, -1)
        if version < last or (version == last and kind == "booking"):
            judge.breaks("versions on a socket grow", f"{kind} of {id}: version {version} after {last}")
        line.last[id] = max(version, last)
        if booking["payment"].get("deferred"):
            line.deferred.add(id)
        least = line.awaited.pop(id, -1) if kind == "snapshot" else -1
        self._visitor.witness.shown(booking, f"socket, {kind}", least=least)
        if id in self._notified:
            self._notified[id].set()

    def _show_position(self, line: _Line, id: str, position: int) -> None:
        if position > line.positions.get(id, position) and id not in line.deferred:
            text = f"{id}: {position} after {line.positions[id]}"
            self._visitor.judge.breaks("queue positions on a socket fall", text)
        line.positions[id] = position

    async def _refused(self, line: _Line, message: Json) -> None:
        """Judge an error. A snapshot that the gateway cannot send now is requested again."""
        id = message.get("booking_id", "")
        if message["code"] == "not_found":
            if line.awaited.pop(id, -1) >= 1:
                self._visitor.witness.missing(id, "socket")
        elif message["code"] not in ("unavailable", "timeout"):
            self._visitor.judge.breaks("messages as documented", f"{message}")
        elif id in self._notified:
            asyncio.get_running_loop().call_later(UNAVAILABLE_S, self._again, line, id)

    def _again(self, line: _Line, id: str) -> None:
        if line is self._line and id in self._notified:
            task = asyncio.create_task(self._subscribe(line, id))
            self._subscribing_again.add(task)
            task.add_done_callback(self._subscribing_again.discard)
