"""When to retry: growing pauses with jitter, so that clients of one server do not all retry at the same moment.

A row stores its attempts and gets its pause from a `Retry`; a loop in a process counts its own in a `Backoff`.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import NamedTuple


class Retry(NamedTuple):
    """Pauses of `first`, doubling with each attempt up to `most`. Pure: the caller passes the random number."""

    first: timedelta
    most: timedelta

    def pause(self, attempts: int, drawn: float = 1.0) -> timedelta:
        """The pause after `attempts` failed attempts: from half of it (`drawn` 0) to all of it (`drawn` 1)."""
        doubled: timedelta = self.first * (1 << min(attempts, 10))
        return min(doubled, self.most) * (0.5 + drawn / 2)


class Backoff:
    """The pauses of one loop, in seconds: about `first`, doubling up to `most`, each with a random part of up to
    half."""

    def __init__(self, first: float = 0.05, most: float = 2.0) -> None:
        self._retry = Retry(timedelta(seconds=first), timedelta(seconds=most))
        self._attempts = 0

    def next(self) -> float:
        self._attempts += 1
        return self._retry.pause(self._attempts - 1, random.random()).total_seconds()

    def reset(self) -> None:
        self._attempts = 0
