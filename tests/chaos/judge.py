"""What counts as a broken promise, and when: in a fault, while that heals, or in calm."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import WSCloseCode

from tests.acceptance.client import Answer

# The first so many are told whole; the rest is counted.
TOLD_MAX = 40
WHAT_MAX = 4000


@dataclass(frozen=True)
class Broken:
    """One promise that was not kept. `at`: seconds from the beginning of the run."""

    at: float
    promise: str
    what: str


class Judge:
    """Keeps the time of the run, knows whether it is calm, and takes down what was not kept."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._calm_since: float | None = None
        # From here on gateways replace one another, and send the clients on their sockets elsewhere.
        self.gateways_leave = False
        self.broken: list[Broken] = []
        self.counted: Counter[str] = Counter()
        # Answers by request and status; 0 stands for no answer.
        self.answers: Counter[tuple[str, str]] = Counter()

    @property
    def now(self) -> float:
        """Seconds from the beginning."""
        return time.monotonic() - self._started

    def calm(self) -> None:
        """No fault is on, and all that there were have healed."""
        self._calm_since = self.now

    def trouble(self) -> None:
        """The next fault begins, or the last one is still healing."""
        self._calm_since = None

    def calm_since(self, moment: float) -> bool:
        """Whether it has been calm from `moment` up to now."""
        return self._calm_since is not None and self._calm_since <= moment

    def breaks(self, promise: str, what: str) -> None:
        self.counted[promise] += 1
        if len(self.broken) < TOLD_MAX:
            self.broken.append(Broken(round(self.now, 2), promise, what[:WHAT_MAX]))

    def answered(self, request: str, answer: Answer, asked_at: float) -> None:
        """Judge a status of the gateway's by itself: 5xx, or bad news in calm."""
        self.answers[request, str(answer.status)] += 1
        if answer.status < 500:
            return
        told = f"{request}: {answer.status} {answer.body}"
        if answer.status != 503:
            self.breaks("no 5xx but 503", told)
        elif not _says_when(answer.headers):
            self.breaks("503 says when to come back", told)
        elif self.calm_since(asked_at):
            self.breaks("no 503 in calm", told)

    def unanswered(self, request: str, error: BaseException, asked_at: float) -> None:
        """A connection that broke, or an answer that did not come while the client waited."""
        self.answers[request, type(error).__name__] += 1
        if self.calm_since(asked_at):
            self.breaks("an answer in calm", f"{request}: {type(error).__name__}: {error}")

    def closed(self, code: int | None, opened_at: float) -> None:
        """A client's socket, by the gateway: in calm only one that leaves closes any."""
        leaves = self.gateways_leave and code == WSCloseCode.GOING_AWAY
        if self.calm_since(opened_at) and not leaves:
            self.breaks("no socket closed in calm", f"closed with {code}")


def _says_when(headers: Mapping[str, str]) -> bool:
    seconds = headers.get("Retry-After", "")
    return seconds.isdecimal() and int(seconds) >= 1
