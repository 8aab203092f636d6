"""When to try again: growing pauses with jitter, so that many who wait for one thing don't all knock at once.

Rows keep their attempts and take their pause from a `Retry`; a loop in a process counts its own in a `Backoff`.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import NamedTuple


class Retry(NamedTuple):
    """Pauses of `first`, doubling with each attempt up to `most`. Pure: who draws the jitter hands it in."""

    first: timedelta
    most: timedelta

    def pause(self, attempts: int, drawn: float = 1.0) -> timedelta:
        """The pause after `attempts` that were in vain; `drawn` in [0, 1] takes it from its upper half, by default
        whole."""
        doubled: timedelta = self.first * (1 << min(attempts, 10))
        return min(doubled, self.most) * (0.5 + drawn / 2)


class Backoff:
    """The pauses of one loop, in seconds: about `first`, doubling up to `most`, each drawn from its upper half."""

    def __init__(self, first: float = 0.05, most: float = 2.0) -> None:
        self._retry = Retry(timedelta(seconds=first), timedelta(seconds=most))
        self._attempts = 0

    def next(self) -> float:
        self._attempts += 1
        return self._retry.pause(self._attempts - 1, random.random()).total_seconds()

    def reset(self) -> None:
        self._attempts = 0
