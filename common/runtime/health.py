"""Whether a process is alive and ready: `/health/live` checks nothing more, `/health/ready` all that it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from common.runtime.outages import error_text
from common.runtime.single_flight import SingleFlight

CHECK_TIMEOUT_SECONDS = 2.0


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
        # Anybody may request readiness: many requests at once must not use up the connections that work needs.
        self.examine = SingleFlight(self._examine)

    async def _examine(self) -> tuple[dict[str, str], dict[str, str]]:
        """What keeps the process from being ready, and the notices that an operator has to act on, each by name."""
        texts = await _answers(self._notices.values())
        # A notice that raises an error is left out: then a dependency cannot serve, which `problems` shows.
        notices = {name: text for name, text in zip(self._notices, texts, strict=True) if isinstance(text, str)}
        return await self.problems(), notices

    def gate(self, name: str) -> Gate:
        gate = Gate(name)
        self._gates.append(gate)
        return gate

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
    problems, notices = await request.app[HEALTH].examine()
    shown = {"notices": notices} if notices else {}
    if problems:
        return web.json_response({"status": "not ready", "problems": problems, **shown}, status=503)
    return web.json_response({"status": "ready", **shown})
