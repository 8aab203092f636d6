"""A gateway that a test plays, and a clock that it moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

Json = dict[str, Any]

START = datetime(2030, 5, 1, 12, tzinfo=UTC).timestamp()
EVENT = "018f2b6e-0000-7000-8000-00000000000e"
# What is drawn for each pause.
HALF = 0.5


class Clock:
    """Sleepers wake when the test moves the time on; while it is `quick`, at once, and `slept` has how long."""

    def __init__(self) -> None:
        self.time = START
        self.quick = False
        self.slept: list[float] = []
        self._sleepers: list[tuple[float, asyncio.Event]] = []
        self._changed = asyncio.Event()

    def now(self) -> float:
        return self.time

    def random(self) -> float:
        return HALF

    async def sleep(self, seconds: float) -> None:
        if self.quick:
            self.slept.append(seconds)
            self.time += seconds
            return
        woken = asyncio.Event()
        sleeper = (self.time + seconds, woken)
        self._sleepers.append(sleeper)
        self._changed.set()
        try:
            await woken.wait()
        finally:
            self._sleepers.remove(sleeper)

    @property
    def due(self) -> list[float]:
        """In how many seconds each sleeper wakes, the next first."""
        return sorted(at - self.time for at, _ in self._sleepers)

    async def sleeping(self, seconds: float) -> None:
        """Wait until somebody sleeps so long."""
        while seconds not in self.due:
            self._changed.clear()
            await self._changed.wait()

    async def wake(self, seconds: float) -> None:
        """Wait until somebody sleeps so long, and let that time pass."""
        await self.sleeping(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self.time += seconds
        for at, woken in self._sleepers:
            if at <= self.time:
                woken.set()


@dataclass
class Answer:
    """What the gateway answers. `lost`: the connection breaks instead."""

    body: Any = None
    status: int = 200
    headers: Json = field(default_factory=dict)
    content_type: str = "application/json"
    lost: bool = False


LOST = Answer(lost=True)


def problem(status: int, code: str, retry_after: int | str | None = None, **members: Any) -> Answer:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = {"title": code, "detail": f"It is {code}", "status": status, "code": code, **members}
    return Answer(body, status, headers, "application/problem+json")


def booking(id: str, version: int, **more: Any) -> Json:
    payment = {"status": "awaiting", "client_secret": "pi_1_secret_2"}
    return {
        "kind": "booking", "id": id, "event_id": EVENT, "status": "pending", "version": version, "payment": payment
    } | more  # fmt: skip


def guest(clock: Clock, token: str = "token-1", subject: str = "guest_1") -> Json:
    return {
        "token": token,
        "subject": subject,
        "expires_at": datetime.fromtimestamp(clock.time + 86_400, UTC).isoformat(),
    }


@dataclass
class Seen:
    """A request, as the gateway received it."""

    operation: str
    headers: Json
    body: bytes
    query: str
    transport: asyncio.Transport | None

    @property
    def token(self) -> str | None:
        sent: str | None = self.headers.get("Authorization")
        return sent.removeprefix("Bearer ") if sent else None


class Peer:
    """The gateway's end of a socket."""

    def __init__(self, socket: web.WebSocketResponse, seen: Seen) -> None:
        self.socket = socket
        self.seen = seen
        self.done = asyncio.Event()

    async def receive(self) -> Json:
        message = await self.socket.receive()
        assert message.type is WSMsgType.TEXT, message
        found: Json = message.json()
        return found

    async def subscribed(self) -> str:
        """The id that the next message subscribes to; a token may come before it."""
        while (message := await self.receive())["type"] == "auth":
            pass
        assert message["type"] == "subscribe", message
        found: str = message.get("booking_id") or message.get("event_id") or message["waiting_entry_id"]
        return found

    async def say(self, *messages: Json) -> None:
        for message in messages:
            await self.socket.send_json(message)

    async def snapshot(self, *state: Any, **more: Any) -> None:
        await self.say({"type": "snapshot", "booking": booking(*state, **more)})

    async def change(self, *state: Any, **more: Any) -> None:
        await self.say({"type": "booking", "booking": booking(*state, **more)})

    async def end(self, code: int) -> None:
        await self.socket.close(code=code)
        self.done.set()


class Gateway:
    """Answers requests by a list, in their order, and hands sockets to the test."""

    def __init__(self) -> None:
        self.answers: list[Answer | Callable[[Seen], Awaitable[Answer]]] = []
        self.requests: list[Seen] = []
        # Upgrades that are refused, first come.
        self.refused: list[Answer] = []
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._all: list[Peer] = []
        self._received = asyncio.Condition()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        seen = Seen(
            f"{request.method} {request.path}",
            dict(request.headers),
            await request.read(),
            request.rel_url.raw_query_string,
            request.transport,
        )
        if request.path == "/ws" and not self.refused:
            return await self._open(request, seen)
        async with self._received:
            self.requests.append(seen)
            self._received.notify_all()
        if request.path == "/ws":
            answer = self.refused.pop(0)
        else:
            assert self.answers, f"not expected: {seen}"
            scripted = self.answers.pop(0)
            answer = scripted if isinstance(scripted, Answer) else await scripted(seen)
        if answer.lost:
            assert request.transport is not None
            request.transport.abort()
        if isinstance(answer.body, bytes):
            return web.Response(body=answer.body, status=answer.status, content_type=answer.content_type)
        if answer.status == 204:
            return web.Response(status=204)
        return web.json_response(
            answer.body, status=answer.status, headers=answer.headers, content_type=answer.content_type
        )

    async def _open(self, request: web.Request, seen: Seen) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        peer = Peer(socket, seen)
        self._all.append(peer)
        self._peers.put_nowait(peer)
        await peer.done.wait()
        return socket

    async def received(self, count: int) -> None:
        """Wait until there were so many requests."""
        async with self._received:
            await self._received.wait_for(lambda: len(self.requests) >= count)

    async def peer(self) -> Peer:
        """The next socket that is opened."""
        return await self._peers.get()

    def end(self) -> None:
        """Let go of all sockets."""
        for peer in self._all:
            peer.done.set()

    @property
    def keys(self) -> list[str | None]:
        return [seen.headers.get("Idempotency-Key") for seen in self.requests]


@asynccontextmanager
async def gateway_running() -> AsyncIterator[Gateway]:
    gateway, app = Gateway(), web.Application()
    app.router.add_route("*", "/{path:.*}", gateway.handle)
    async with TestServer(app) as server:
        gateway.url = str(server.make_url("/"))
        try:
            yield gateway
        finally:
            gateway.end()
