"""What was sent, how it was answered, and what was wrong."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass


@dataclass
class Finding:
    """Something that must not be. `how` repeats it."""

    part: str
    what: str
    how: str
    times: int = 1


class Tally:
    """One run's counts. Several threads may add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Nothing more is to be sent.
        self.stop = threading.Event()
        self.outcomes: dict[str, Counter[str]] = {}
        # Answers that were searched for what their reader must not see.
        self.searched: Counter[str] = Counter()
        self._findings: dict[tuple[str, str], Finding] = {}

    def sent(self, part: str, outcome: object, count: int = 1) -> None:
        """`count` requests of `part` ended so: with a status, a close code, or in words."""
        with self._lock:
            self.outcomes.setdefault(part, Counter())[str(outcome)] += count

    def looked(self, part: str) -> None:
        with self._lock:
            self.searched[part] += 1

    def wrong(self, part: str, what: str, how: str) -> None:
        """A finding; the same of one part is kept once, and counted."""
        with self._lock:
            if found := self._findings.get((part, what)):
                found.times += 1
            else:
                self._findings[(part, what)] = Finding(part, what, how)

    @property
    def findings(self) -> list[Finding]:
        return list(self._findings.values())

    def count(self, part: str | None = None) -> int:
        parts = self.outcomes if part is None else [part]
        return sum(self.outcomes.get(name, Counter()).total() for name in parts)

    def statuses(self) -> Counter[str]:
        return sum(self.outcomes.values(), Counter())
