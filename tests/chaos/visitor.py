"""One client's requests to the gateway: each answer is judged, and a request is sent again as the documents say."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import aiohttp

from tests.acceptance.client import Answer, Client, Json
from tests.chaos.judge import Judge
from tests.chaos.witness import Witness

# How many seconds a client waits for an answer: longer than any of the gateway's own limits.
ANSWER_MAX_S = 15.0
# Seconds before it repeats a request without an answer, and the most that it waits because of Retry-After.
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

    async def send(self, method: str, path: str, *, since: float | None = None, **options: Any) -> Answer | None:
        """Send one request. Returns None when there is no answer. `since`: when the order began that it is about,
        which may still be recovering from a fault when all else is calm."""
        loop = asyncio.get_running_loop()
        request = f"{method} {_ID.sub('{id}', path.partition('?')[0])}"
        sent_at = self.judge.now if since is None else since
        try:
            async with asyncio.timeout_at(loop.time() + ANSWER_MAX_S):
                answer = await self.client.request(method, path, **options)
        except NO_ANSWER as error:
            self.judge.unanswered(request, error, sent_at)
            return None
        if answer.status == 408:
            return None  # a gateway that drains was closing the connection: the request may be sent again
        self.judge.answered(request, answer, sent_at)
        if _is_booking(answer.body) and answer.status < 300:
            self.witness.shown(answer.body, request)
        return answer

    async def insist(
        self, method: str, path: str, *, wanted: Callable[[], bool] = lambda: True, **options: Any
    ) -> Answer | None:
        """Send the same request until the answer is not 503. Returns None once it is no longer `wanted`."""
        while wanted():
            answer = await self.send(method, path, **options)
            if answer is not None and answer.status != 503:
                return answer
            await asyncio.sleep(_pause(answer))
        return None

    async def read(self, id: str) -> Json | None:
        """Read the booking. Returns None when there is no answer, a 503, or no such booking."""
        least = self.witness.version(id)
        answer = await self.send("GET", f"/bookings/{id}")
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
    seconds = answer.headers.get("Retry-After", "")
    return min(float(seconds), RETRY_AFTER_MAX_S) if seconds.isdecimal() else AGAIN_S


def _is_booking(body: Any) -> bool:
    return isinstance(body, dict) and {"id", "status", "version", "payment", "items"} <= body.keys()
