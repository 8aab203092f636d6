"""The two clients as one, so that a test is played with both: the Python client in this process, and holdfast.js in
a process of Node.js."""

from __future__ import annotations

import asyncio
import json
import re
import time
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from holdfast_client import Holdfast, HoldfastError, Platform

Json = dict[str, Any]

DRIVER = Path(__file__).parent / "js" / "driver.mjs"
# Node.js 20 has its WebSocket behind this option; later versions accept it.
NODE = ("node", "--experimental-websocket", "--no-warnings")


def is_payable(booking: Json) -> bool:
    return bool(booking["payment"]["client_secret"])


def seats(event: Json, quantity: int) -> Json:
    """What is sent to book so many seats of the event's first ticket type."""
    items = [{"ticket_type_id": event["ticket_types"][0]["id"], "quantity": quantity}]
    return {"event_id": event["id"], "items": items}


class Refused(Exception):
    """The client raised its error."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(f"{status} {code}")
        self.code = code
        self.status = status


class Watching:
    """The states of a booking that the client has shown, as they come."""

    def __init__(self) -> None:
        self.states: list[Json] = []
        self.queue: asyncio.Queue[Json | Refused] = asyncio.Queue()

    async def until(self, wanted: Callable[[Json], bool]) -> Json:
        """The first state from now on that is wanted. Raises Refused where the client cannot watch it."""
        while True:
            found = await self.queue.get()
            if isinstance(found, Refused):
                raise found
            self.states.append(found)
            if wanted(found):
                return found

    async def status(self, status: str) -> Json:
        return await self.until(lambda now: now["status"] == status)


class Buyer(ABC):
    """A client. Methods have holdfast.js' names."""

    @abstractmethod
    async def call(self, method: str, *arguments: Any) -> Any:
        """Raises Refused."""

    @abstractmethod
    async def watch(self, booking_id: str) -> Watching:
        """Watches the booking until the client ends."""

    @abstractmethod
    async def later(self, seconds: float) -> None:
        """Move the client's clock on."""


class PythonBuyer(Buyer):
    def __init__(self, holdfast: Holdfast, ahead: list[float]) -> None:
        self._holdfast = holdfast
        self._ahead = ahead
        self.tasks: list[asyncio.Task[None]] = []

    async def call(self, method: str, *arguments: Any) -> Any:
        owner = self._holdfast.admin if method.startswith("admin.") else self._holdfast
        name = re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", method.removeprefix("admin."))
        try:
            answer = await getattr(owner, name)(*arguments)
        except HoldfastError as error:
            raise Refused(error.code, error.status) from error
        return answer.decode("utf-8-sig", "replace") if isinstance(answer, bytes) else answer

    async def watch(self, booking_id: str) -> Watching:
        watching = Watching()

        async def follow() -> None:
            try:
                async with self._holdfast.watch(booking_id) as changes:
                    async for state in changes:
                        watching.queue.put_nowait({**state})
            except HoldfastError as error:
                watching.queue.put_nowait(Refused(error.code, error.status))

        self.tasks.append(asyncio.create_task(follow()))
        return watching

    async def later(self, seconds: float) -> None:
        self._ahead[0] += seconds


def _sendable(argument: Any) -> Any:
    return {"base64": b64encode(argument).decode()} if isinstance(argument, bytes) else argument


class JavaScriptBuyer(Buyer):
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._watchings: dict[int, Watching] = {}

    async def _send(self, **request: Any) -> int:
        number = next(self._numbers)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"number": number, **request}).encode() + b"\n")
        await self._process.stdin.drain()
        return number

    async def _ask(self, **request: Any) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[await self._send(**request)] = answer
        return await answer

    async def call(self, method: str, *arguments: Any) -> Any:
        return await self._ask(method=method, arguments=[_sendable(each) for each in arguments])

    async def watch(self, booking_id: str) -> Watching:
        watching = Watching()
        self._watchings[await self._send(watch=booking_id)] = watching
        return watching

    async def later(self, seconds: float) -> None:
        await self._ask(later=seconds * 1000)

    async def read(self) -> None:
        """Hand out what the process says, until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            error = Refused(**said["error"]) if "error" in said else None
            if (watching := self._watchings.get(said["number"])) is not None:
                watching.queue.put_nowait(error or said["result"])
            elif error is not None:
                self._answers[said["number"]].set_exception(error)
            else:
                self._answers[said["number"]].set_result(said["result"])


@asynccontextmanager
async def python(url: str, tokens: list[str] | None = None) -> AsyncIterator[Buyer]:
    ahead = [0.0]

    async def given() -> str:
        assert tokens is not None
        return tokens.pop(0)

    platform = Platform(now=lambda: time.time() + ahead[0])
    async with Holdfast(url, token=None if tokens is None else given, platform=platform) as holdfast:
        buyer = PythonBuyer(holdfast, ahead)
        try:
            yield buyer
        finally:
            for task in buyer.tasks:
                task.cancel()
            await asyncio.gather(*buyer.tasks, return_exceptions=True)


@asynccontextmanager
async def javascript(url: str, tokens: list[str] | None = None) -> AsyncIterator[Buyer]:
    pipe = asyncio.subprocess.PIPE
    options = json.dumps({"url": url, "tokens": tokens})
    process = await asyncio.create_subprocess_exec(*NODE, str(DRIVER), options, stdin=pipe, stdout=pipe)
    buyer = JavaScriptBuyer(process)
    reading = asyncio.create_task(buyer.read())
    try:
        yield buyer
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await reading


# Starts a client at an address, with tokens or as a guest.
Start = Callable[..., AbstractAsyncContextManager[Buyer]]
BUYERS: dict[str, Start] = {"javascript": javascript, "python": python}
