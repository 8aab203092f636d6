"""Whether a process is alive and ready: `/health/live` checks nothing more, `/health/ready` all that it needs.

Both answer in one word where everybody may ask; the reasons are for operators (see admin.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from common.runtime.outages import error_text
from common.runtime.single_flight import SingleFlight

CHECK_TIMEOUT_SECONDS = 2.0
# The one word may be this many seconds old, so that who asks without end costs no more than one check in that time:
# much shorter than the pause between two checks of a load balancer.
FRESH_SECONDS = 0.5


class Gate:
    """One part that must be well for the process to be ready: open, or closed with the reason."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reason: str | None = "starting"
        self.opened = asyncio.Event()

    def open(self) -> None:
        self.reason = None
        self.opened.set()

    def close(self, reason: str) -> None:
        self.reason = reason or "closed"
        self.opened.clear()


class Health:
    """The gates of a process (its loops), and the checks of its dependencies."""

    def __init__(self) -> None:
        self.draining = False
        self._gates: list[Gate] = []
        self._checks: dict[str, Callable[[], Awaitable[object]]] = {}
        self._notices: dict[str, Callable[[], Awaitable[str | None]]] = {}
        # Many requests at once must not use up the connections that work needs.
        self.examine = SingleFlight(self._examine)
        # What was found the last time, and when that was (the monotonic clock).
        self._ready = False
        self._examined_at = -FRESH_SECONDS

    async def ready(self) -> bool:
        """Whether it can serve, as it was at most FRESH_SECONDS ago; not from the moment on when it drains."""
        if not self.draining and time.monotonic() - self._examined_at >= FRESH_SECONDS:
            await self.examine()
        return self._ready and not self.draining

    async def _examine(self) -> tuple[dict[str, str], dict[str, str]]:
        """What keeps the process from being ready, and the notices that an operator has to act on, each by name."""
        texts = await _answers(self._notices.values())
        # A notice that raises an error is left out: then a dependency cannot serve, which `problems` shows.
        notices = {name: text for name, text in zip(self._notices, texts, strict=True) if isinstance(text, str)}
        problems = await self.problems()
        self._ready, self._examined_at = not problems, time.monotonic()
        return problems, notices

    def gate(self, name: str) -> Gate:
        gate = Gate(name)
        self._gates.append(gate)
        return gate

    async def opened(self) -> None:
        """Returns once every gate was opened, which what it needs may close again."""
        for gate in self._gates:
            await gate.opened.wait()

    def check(self, name: str, ping: Callable[[], Awaitable[object]]) -> None:
        """`ping` raises when the dependency cannot serve."""
        self._checks[name] = ping

    def notice(self, name: str, check: Callable[[], Awaitable[str | None]]) -> None:
        """`check` returns what an operator has to act on though the process can serve; None when nothing is."""
        self._notices[name] = check

    async def problems(self) -> dict[str, str]:
        """What keeps the process from being ready, by name; empty when it is."""
        found = {gate.name: gate.reason for gate in self._gates if gate.reason is not None}
        for name, answer in zip(self._checks, await _answers(self._checks.values()), strict=True):
            if isinstance(answer, BaseException):
                found[name] = error_text(answer)[:200]
        if self.draining:
            found["process"] = "draining"
        return found


async def _answers(checks: Iterable[Callable[[], Awaitable[object]]]) -> list[object]:
    """The result of each of these, or its error."""
    waiting = (asyncio.wait_for(check(), CHECK_TIMEOUT_SECONDS) for check in checks)
    return await asyncio.gather(*waiting, return_exceptions=True)


HEALTH = web.AppKey("health", Health)


async def live(_: web.Request) -> web.Response:
    return web.json_response({"status": "live"})


async def ready(request: web.Request) -> web.Response:
    """One word, for everybody."""
    if await request.app[HEALTH].ready():
        return web.json_response({"status": "ready"})
    return web.json_response({"status": "not ready"}, status=503)


async def details(request: web.Request) -> web.Response:
    """The same with the reasons and the notices, for operators."""
    problems, notices = await request.app[HEALTH].examine()
    shown = {"notices": notices} if notices else {}
    if problems:
        return web.json_response({"status": "not ready", "problems": problems, **shown}, status=503)
    return web.json_response({"status": "ready", **shown})
