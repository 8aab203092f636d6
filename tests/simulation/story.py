"""The story of one schedule, for people to read, and a count of what all schedules together have reached."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from common.runtime.outages import Outage
from tests.simulation.clockwork import VirtualLoop
from tests.simulation.faults import Fault, Point
from tests.simulation.process import current


@dataclass
class Coverage:
    """How often each fault, point, end and so on was reached. What is never reached is not tested."""

    faults: Counter[str] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    money: Counter[str] = field(default_factory=Counter)
    logs: Counter[str] = field(default_factory=Counter)

    def add(self, other: dict[str, dict[str, int]]) -> None:
        for name, counts in other.items():
            getattr(self, name).update(counts)

    def as_json(self) -> dict[str, dict[str, int]]:
        return {name: dict(getattr(self, name)) for name in self.__dataclass_fields__}

    def strike(self, fault: Fault) -> None:
        self.faults[fault.value] += 1

    def crash(self, point: Point) -> None:
        self.crashes[point.value] += 1


class Story:
    """Lines of (time, step, who, what)."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._lines: list[tuple[float, int, str, str]] = []
        self._names: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self.step = 0
        self.violations: list[str] = []

    def note(self, what: str, who: str | None = None) -> None:
        process = current()
        who = who or (process.name if process is not None else "world")
        self._lines.append((self._loop.at, self.step, who, what))

    def violate(self, promise: str, text: str) -> None:
        """Note that a promise is broken: the schedule ends here."""
        self.violations.append(f"{promise}: {text}")
        self.note(f"!!! {promise}: {text}", "PROMISE")

    def name(self, id: UUID | str, kind: str) -> None:
        """Give `id` a short name in the story, such as B1."""
        if str(id) not in self._names:
            self._counts[kind] += 1
            self._names[str(id)] = f"{kind}{self._counts[kind]}"

    def names(self, ids: Iterable[UUID | str]) -> str:
        return " ".join(str(id) for id in ids)

    def text(self) -> str:
        lines = [f"{at:10.3f}  {step:4}  {who:<10} {what}" for at, step, who, what in self._lines]
        text = "\n".join(lines)
        for id, name in self._names.items():
            text = text.replace(id, name)
        return text

    def digest(self) -> str:
        return hashlib.sha256(self.text().encode()).hexdigest()


# Errors that a handler may end with: its time was over, or a server that it needs was unavailable.
EXCUSES: tuple[type[BaseException], ...] = (TimeoutError, Outage)
OMITTED = ("event", "level", "exc_info", "trace", "ms")


def drop_into(story: Story, coverage: Coverage, event: dict[str, Any]) -> None:
    """Add a log line of the product to the story. No handler may fail, whatever message it gets."""
    coverage.logs[str(event.get("event"))] += 1
    error = event.get("exc_info")
    if isinstance(error, BaseException) and not isinstance(error, EXCUSES):
        story.violate("6 nothing lost", f"{event.get('event')} {event.get('type', '')} failed: {error!r}")
    fields = " ".join(f"{key}={value}" for key, value in event.items() if key not in OMITTED)
    story.note(f"log: {event.get('event')} {fields}"[:400])
