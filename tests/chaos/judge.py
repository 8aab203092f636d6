"""What counts as a broken promise, and when: during a fault, while the system recovers from it, or in calm."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import WSCloseCode

from tests.acceptance.client import Answer

# How many broken promises are reported in full: enough to find the cause. The others are only counted.
REPORTED_MAX = 40
WHAT_MAX = 4000


@dataclass(frozen=True)
class Broken:
    """One promise that was broken. `at`: seconds from the beginning of the run."""

    at: float
    promise: str
    what: str


class Judge:
    """Keeps the time of the run, knows whether it is calm, and records broken promises."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._calm_since: float | None = None
        # Whether gateways replace one another now, and close sockets so that their clients connect elsewhere.
        self.gateways_leave = False
        # Until when gateways may still close sockets because these may have missed notifications.
        self._reopen_until = 0.0
        self.broken: list[Broken] = []
        self.counted: Counter[str] = Counter()
        # Answers by request and status; without an answer, by the name of the client's error.
        self.answers: Counter[tuple[str, str]] = Counter()

    @property
    def now(self) -> float:
        """Seconds from the beginning of the run."""
        return time.monotonic() - self._started

    def calm(self) -> None:
        """From now on no fault is on, and the system has recovered from all faults before."""
        self._calm_since = self.now

    def trouble(self) -> None:
        """The next fault begins: until `calm`, 503 and lost answers are allowed."""
        self._calm_since = None

    def sockets_reopen(self, seconds: float) -> None:
        """For so many seconds more, gateways may close sockets because these may have missed notifications."""
        self._reopen_until = max(self._reopen_until, self.now + seconds)

    def calm_since(self, at: float) -> bool:
        """Whether it has been calm from `at` up to now."""
        return self._calm_since is not None and self._calm_since <= at

    def breaks(self, promise: str, what: str) -> None:
        self.counted[promise] += 1
        if len(self.broken) < REPORTED_MAX:
            self.broken.append(Broken(round(self.now, 2), promise, what[:WHAT_MAX]))

    def answered(self, request: str, answer: Answer, sent_at: float) -> None:
        """Judge one answer of the gateway: no 5xx but 503 with Retry-After, and no 503 in calm."""
        self.answers[request, str(answer.status)] += 1
        if answer.status < 500:
            return
        what = f"{request}: {answer.status} {answer.body}"
        if answer.status != 503:
            self.breaks("no 5xx but 503", what)
        elif not _has_retry_after(answer.headers):
            self.breaks("503 says when to come back", what)
        elif self.calm_since(sent_at):
            self.breaks("no 503 in calm", what)

    def unanswered(self, request: str, error: BaseException, sent_at: float) -> None:
        """A connection broke, or no answer came while the client waited."""
        self.answers[request, type(error).__name__] += 1
        if self.calm_since(sent_at):
            self.breaks("an answer in calm", f"{request}: {type(error).__name__}: {error}")

    def closed(self, code: int | None, opened_at: float) -> None:
        """The gateway closed a client's socket: in calm only a gateway that stops may do that, or one that may have
        missed notifications shortly before."""
        leaves = self.gateways_leave and code == WSCloseCode.GOING_AWAY
        missed = code == WSCloseCode.TRY_AGAIN_LATER and self.now < self._reopen_until
        if self.calm_since(opened_at) and not leaves and not missed:
            self.breaks("no socket closed in calm", f"closed with {code}")


def _has_retry_after(headers: Mapping[str, str]) -> bool:
    seconds = headers.get("Retry-After", "")
    return seconds.isdecimal() and int(seconds) >= 1
