"""Whether a process is alive and ready: `/health/live` touches nothing, `/health/ready` asks what it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

CHECK_TIMEOUT_S = 2.0


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
    """The gates of a process (its loops), and the checks of what it depends on."""

    def __init__(self) -> None:
        self.draining = False
        self._gates: list[Gate] = []
        self._checks: dict[str, Callable[[], Awaitable[object]]] = {}

    def gate(self, name: str) -> Gate:
        gate = Gate(name)
        self._gates.append(gate)
        return gate

    def check(self, name: str, ping: Callable[[], Awaitable[object]]) -> None:
        """`ping` raises when the dependency cannot serve."""
        self._checks[name] = ping

    async def problems(self) -> dict[str, str]:
        """What keeps the process from being ready, by name; empty when it is."""
        found = {gate.name: gate.reason for gate in self._gates if gate.reason is not None}
        results = await asyncio.gather(*(self._ask(ping) for ping in self._checks.values()))
        found |= {name: reason for name, reason in zip(self._checks, results, strict=True) if reason}
        if self.draining:
            found["process"] = "draining"
        return found

    @staticmethod
    async def _ask(ping: Callable[[], Awaitable[object]]) -> str | None:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await ping()
        except Exception as error:
            return f"{type(error).__name__}: {error}"[:200]
        return None


HEALTH = web.AppKey("health", Health)


async def live(_: web.Request) -> web.Response:
    return web.json_response({"status": "live"})


async def ready(request: web.Request) -> web.Response:
    problems = await request.app[HEALTH].problems()
    if problems:
        return web.json_response({"status": "not ready", "problems": problems}, status=503)
    return web.json_response({"status": "ready"})
