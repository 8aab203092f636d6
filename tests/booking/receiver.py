"""A receiver of webhooks: a real server on the loopback interface that answers as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def message(self) -> Any:
        return orjson.loads(self.body)

    def signed_by(self, secret: str) -> bool:
        """Whether the official library makes one of the signatures for the time that was sent: tests' clocks may be
        days ahead, which `verify` refuses."""
        at = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
        signature = Webhook(secret).sign(self.id, at, self.body.decode())
        return signature in self.headers["webhook-signature"].split(" ")


class Receiver:
    """Keeps what it receives. It answers with the next of `statuses`, the last of them from then on."""

    def __init__(self, server: TestServer) -> None:
        self._server = server
        self.received: list[Received] = []
        self.statuses: list[int] = [204]
        self.headers: dict[str, str] = {}
        self._arrived = asyncio.Condition()
        # Until it is set, requests to `/slow` are not answered.
        self.go_on = asyncio.Event()
        self.waiting = asyncio.Event()

    def url(self, path: str = "/hooks") -> str:
        return str(self._server.make_url(path))

    async def wait_for(self, type: str, resource_id: str) -> list[Received]:
        """All of this type and about this booking or event, once there is one."""

        def found() -> list[Received]:
            return [
                each
                for each in self.received
                if (each.message["type"], each.message["data"]["id"]) == (type, resource_id)
            ]

        async with asyncio.timeout(20), self._arrived:
            await self._arrived.wait_for(found)
        return found()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.path_qs, headers, await request.read()))
        async with self._arrived:
            self._arrived.notify_all()
        if request.path == "/slow":
            self.waiting.set()
            await self.go_on.wait()
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status, text=None if status == 204 else "as it wants", headers=self.headers)


@asynccontextmanager
async def open_receiver(answer: Answer | None = None) -> AsyncIterator[Receiver]:
    """A receiver; with `answer` that answers, and nothing is kept."""
    app = web.Application()
    server = TestServer(app)
    receiver = Receiver(server)
    app.router.add_route("*", "/{path:.*}", answer or receiver.answer)
    async with server:
        yield receiver
