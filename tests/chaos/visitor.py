"""One client's requests of the gateway: each is judged by itself, and sent again as the documents say."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import aiohttp

from tests.acceptance.client import Answer, Client, Json
from tests.chaos.judge import Judge
from tests.chaos.witness import Witness

# A client waits so long for an answer: longer than any of the gateway's own limits.
PATIENCE_S = 15.0
# What it waits before it sends again what broke, and the most of what it is told to wait.
AGAIN_S = 0.3
RETRY_AFTER_MAX_S = 3.0

_ID = re.compile("[0-9a-f]{8}-[0-9a-f-]{27}")
NO_ANSWER = (aiohttp.ClientError, OSError, TimeoutError)


class Visitor:
    """A client of the gateway, and all that it was shown there."""

    def __init__(self, client: Client, judge: Judge) -> None:
        self.client = client
        self.judge = judge
        self.witness = Witness(judge)

    async def ask(self, method: str, path: str, *, since: float | None = None, **options: Any) -> Answer | None:
        """One request; None when there is no answer. `since`: when what it asks about has begun, where that may
        still be healing when all else is calm."""
        loop = asyncio.get_running_loop()
        request = f"{method} {_ID.sub('{id}', path.partition('?')[0])}"
        asked_at = self.judge.now if since is None else since
        try:
            async with asyncio.timeout_at(loop.time() + PATIENCE_S):
                answer = await self.client.ask(method, path, **options)
        except NO_ANSWER as error:
            self.judge.unanswered(request, error, asked_at)
            return None
        self.judge.answered(request, answer, asked_at)
        if _is_booking(answer.body) and answer.status < 300:
            self.witness.shown(answer.body, request)
        return answer

    async def insist(
        self, method: str, path: str, *, wanted: Callable[[], bool] = lambda: True, **options: Any
    ) -> Answer | None:
        """The same request again until it is answered by other than 503; None once it is not `wanted` any more."""
        while wanted():
            answer = await self.ask(method, path, **options)
            if answer is not None and answer.status != 503:
                return answer
            await asyncio.sleep(_pause(answer))
        return None

    async def look(self, id: str) -> Json | None:
        """The booking as it is now; None when nobody can say, or there is none."""
        least = self.witness.version(id)
        answer = await self.ask("GET", f"/bookings/{id}")
        if answer is None or answer.status == 503:
            return None
        if answer.status == 404:
            self.witness.missing(id, "GET /bookings/{id}")
            return None
        booking = answer.ok()
        if booking["version"] < least:
            self.witness.shown(booking, "GET /bookings/{id}", least=least)
        return booking


def _pause(answer: Answer | None) -> float:
    if answer is None:
        return AGAIN_S
    told = answer.headers.get("Retry-After", "")
    return min(float(told), RETRY_AFTER_MAX_S) if told.isdecimal() else AGAIN_S


def _is_booking(body: Any) -> bool:
    return isinstance(body, dict) and {"id", "status", "version", "payment", "items"} <= body.keys()
