"""Growing pauses with jitter, so that many who wait for one thing don't all knock at once."""

from __future__ import annotations

import random


class Backoff:
    """Pauses in seconds: about `first`, doubling up to `most`, each drawn from its upper half."""

    def __init__(self, first: float = 0.05, most: float = 2.0) -> None:
        self._first = first
        self._most = most
        self._pause = first

    def next(self) -> float:
        pause = self._pause
        self._pause = min(self._pause * 2, self._most)
        return random.uniform(pause / 2, pause)

    def reset(self) -> None:
        self._pause = self._first
