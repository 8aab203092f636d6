"""A webhook endpoint for a test: it checks every signature with the official SDK, and records what arrives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import stripe
from aiohttp import web
from aiohttp.test_utils import TestServer

SECRET = "whsec_of_the_tests"
WAIT_MAX_SECONDS = 20.0


@dataclass
class Arrival:
    """A webhook that has arrived."""

    event: dict[str, Any]
    at: float
    """On the monotonic clock."""
    status: int
    """The status that it was answered with."""


@dataclass
class Receiver:
    """Answers 200, unless `answers` says otherwise."""

    answers: list[int] = field(default_factory=list)
    """The statuses of the next answers."""
    arrivals: list[Arrival] = field(default_factory=list)
    forged: int = 0
    secret: str = SECRET
    url: str = ""
    _came: asyncio.Condition = field(default_factory=asyncio.Condition)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Receiver]:
        app = web.Application()
        app.router.add_post("/hook", self._receive)
        async with TestServer(app) as server:
            self.url = str(server.make_url("/hook"))
            yield self

    async def _receive(self, request: web.Request) -> web.Response:
        payload = await request.read()
        try:
            event = stripe.Webhook.construct_event(payload, request.headers["Stripe-Signature"], self.secret)
        except stripe.SignatureVerificationError:
            self.forged += 1
            return web.Response(status=400)
        status = self.answers.pop(0) if self.answers else 200
        async with self._came:
            self.arrivals.append(Arrival(event.to_dict(), time.monotonic(), status))
            self._came.notify_all()
        headers = {"Location": self.url} if status in (307, 308) else {}
        return web.Response(status=status, headers=headers)

    def accepted(self, *types: str, of: str | None = None) -> list[dict[str, Any]]:
        """The accepted events of these types, in their order; `of` is the id of the object or of its payment."""
        return [
            arrival.event
            for arrival in self.arrivals
            if arrival.status == 200
            and (not types or arrival.event["type"] in types)
            and of in (None, *ids_of(arrival.event))
        ]

    async def until(self, count: int, *types: str, of: str | None = None) -> list[dict[str, Any]]:
        """Wait until `count` such events were accepted."""
        await self.wait_for(lambda: len(self.accepted(*types, of=of)) >= count)
        return self.accepted(*types, of=of)

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until arrivals have made the condition true.

        Raises:
            TimeoutError: it is still false after WAIT_MAX_SECONDS.
        """
        async with asyncio.timeout(WAIT_MAX_SECONDS), self._came:
            await self._came.wait_for(condition)


def ids_of(event: dict[str, Any]) -> tuple[Any, ...]:
    """The ids by which a test can ask for the event's object."""
    obj = event["data"]["object"]
    return obj["id"], obj.get("payment_intent"), obj.get("charge")
