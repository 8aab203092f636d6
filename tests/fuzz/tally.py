"""Counts what was sent and how it was answered, and keeps what was wrong."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass


@dataclass
class Finding:
    """Something wrong. `how` says how to repeat it."""

    part: str
    what: str
    how: str
    times: int = 1


class Tally:
    """One run's counts. Several threads may add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Set when no more requests may be sent.
        self.stop = threading.Event()
        self.results: dict[str, Counter[str]] = {}
        # How many answers of each part were searched for texts that their reader must not see.
        self.searched: Counter[str] = Counter()
        self._findings: dict[tuple[str, str], Finding] = {}

    def sent(self, part: str, result: object, count: int = 1) -> None:
        """Count `count` requests of `part` with this result: a status, a close code, or words."""
        with self._lock:
            self.results.setdefault(part, Counter())[str(result)] += count

    def count_searched(self, part: str) -> None:
        with self._lock:
            self.searched[part] += 1

    def wrong(self, part: str, what: str, how: str) -> None:
        """Keep a finding. The same one of a part is kept once, and counted."""
        with self._lock:
            if found := self._findings.get((part, what)):
                found.times += 1
            else:
                self._findings[(part, what)] = Finding(part, what, how)

    @property
    def findings(self) -> list[Finding]:
        return list(self._findings.values())

    def count(self, part: str | None = None) -> int:
        parts = self.results if part is None else [part]
        return sum(self.results.get(name, Counter()).total() for name in parts)

    def statuses(self) -> Counter[str]:
        return sum(self.results.values(), Counter())
