"""A proxy between the payment actor and Stripe, with faults that a test chooses for single calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

HOP_HEADERS = {"host", "content-length", "transfer-encoding", "connection", "content-encoding", "accept-encoding"}


@dataclass
class Call:
    method: str
    path: str
    key: str | None
    body: bytes = b""


@dataclass
class Fault:
    """A fault of a call: whether it reaches Stripe, and the status of its answer (None: it is not answered)."""

    path: str
    method: str = "POST"
    passed_on: bool = True
    status: int | None = 500
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    # As at Stripe: the same idempotency key gets the same error again.
    sticks: bool = False


class Wire:
    """Passes calls on to the sandbox and records them."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._session: ClientSession
        self._stuck: dict[str, Fault] = {}
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.before: Callable[[Call], Any] | None = None
        self.after: Callable[[Call, dict[str, Any]], Any] | None = None
        # The `Date` header of all answers, if a test sets one.
        self.date: str | None = None
        self.released = asyncio.Event()
        self.seen = asyncio.Condition()

    @asynccontextmanager
    async def listening(self) -> Any:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        async with ClientSession(auto_decompress=True) as self._session, TestServer(app) as server:
            yield str(server.make_url("/")).rstrip("/")

    def reset(self) -> None:
        self.calls.clear()
        self.faults.clear()
        self._stuck.clear()
        self.before = self.after = None
        self.date = None
        self.released = asyncio.Event()

    def made(self, path: str, method: str = "POST") -> list[Call]:
        return [call for call in self.calls if call.method == method and call.path == path]

    async def until(self, count: int, path: str, method: str = "POST") -> None:
        """Wait until `count` such calls were made."""
        async with self.seen:
            await self.seen.wait_for(lambda: len(self.made(path, method)) >= count)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        call = Call(request.method, request.path, request.headers.get("Idempotency-Key"), body)
        async with self.seen:
            self.calls.append(call)
            self.seen.notify_all()
        if self.before is not None:
            await self.before(call)
        fault = self._fault(call)
        if fault is not None and not fault.passed_on:
            return await self._fail(fault)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_HEADERS}
        url = f"{self.target}{request.raw_path}"
        async with self._session.request(request.method, url, data=body, headers=headers) as answer:
            content = await answer.read()
        if fault is not None:
            return await self._fail(fault)
        if self.after is not None:
            seen = orjson.loads(content)
            await self.after(call, seen)
            content = orjson.dumps(seen)
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_HEADERS}
        if self.date is not None:
            kept["Date"] = self.date
        return web.Response(body=content, status=answer.status, headers=kept)

    def _fault(self, call: Call) -> Fault | None:
        if call.key in self._stuck:
            stuck = self._stuck[call.key]
            headers = {"Idempotent-Replayed": "true"}
            return Fault(stuck.path, passed_on=False, status=stuck.status, body=stuck.body, headers=headers)
        for fault in self.faults:
            if fault.times and fault.method == call.method and call.path == fault.path:
                fault.times -= 1
                if fault.sticks and call.key is not None:
                    self._stuck[call.key] = fault
                return fault
        return None

    async def _fail(self, fault: Fault) -> web.StreamResponse:
        if fault.status is None:
            await self.released.wait()  # longer than the caller waits
            return web.Response(status=504)
        error = {"type": "api_error", "message": "made up by a test", **fault.body}
        return web.json_response({"error": error}, status=fault.status, headers=fault.headers)
