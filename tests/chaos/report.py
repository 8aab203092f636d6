"""The report of a run: for people on the console and as Markdown, for programs as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.chaos.judge import Broken
from tests.chaos.monkey import Entry

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class FaultSummary:
    """One kind of fault: how often it was made, how often it struck, and the seconds of each recovery."""

    kind: str
    done: int
    struck: int
    healed: Sequence[float]

    @property
    def cells(self) -> tuple[str, ...]:
        if not self.healed:
            return self.kind, str(self.done), str(self.struck), "", ""
        return self.kind, str(self.done), str(self.struck), f"{median(self.healed):.1f}", f"{max(self.healed):.1f}"


@dataclass(frozen=True)
class Report:
    seed: int
    seconds: float
    ended_seconds: float
    faults: Sequence[FaultSummary]
    orders: int
    events_cancelled: int
    # Bookings in the database, by how they ended.
    endings: dict[str, int]
    # How many orders of clients, by their promo code or else by what they wanted, and by how they ended.
    journeys: dict[str, int]
    answers: dict[str, int]
    # What scanners have met, by how they sent it.
    door: dict[str, int]
    # How many mails and webhooks there were, and how often they were taken.
    notified: dict[str, int]
    sockets_closed: dict[str, int]
    poisoned: int
    dead_letters: int
    audit_code: int | None
    audit: Any
    logged: dict[str, int]
    broken: Sequence[Broken]
    broken_by_promise: dict[str, int]
    diary: Sequence[Entry]

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not self.broken

    def json(self) -> str:
        return json.dumps({"kept": self.kept, **asdict(self)}, indent=2)

    def markdown(self) -> str:
        return "\n".join(self._lines())

    def keep(self, path: Path) -> None:
        """Write it to `path`, as JSON or Markdown, depending on the path's ending."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((self.json() if path.suffix == ".json" else self.markdown()) + "\n")

    def _lines(self) -> Iterable[str]:
        text = "every promise was kept" if self.kept else f"{sum(self.broken_by_promise.values())} promises broken"
        yield f"# Chaos, seed {self.seed}: {text}\n"
        yield f"{self.seconds:.0f} s with {sum(fault.done for fault in self.faults)} faults, {self.orders} orders,"
        yield f"{self.events_cancelled} events cancelled; the last booking ended after {self.ended_seconds:.0f} s."
        yield f"`holdfast audit`: exit {self.audit_code}, {'clean' if self.audit_code == 0 else 'not clean'}."
        yield f"Dead letters: {self.dead_letters} of {self.poisoned} poison entries; Redis has lost the others."
        yield ""
        if self.broken:
            yield "## What was not kept\n"
            yield from _table(
                ("s", "promise", "what"), [(str(each.at), each.promise, each.what) for each in self.broken]
            )
            yield from _table(("promise", "times"), _counted(self.broken_by_promise))
        yield "## Faults\n\nHealed: seconds from the end of the fault until nothing was restless.\n"
        head = ("fault", "done", "struck", "healed, median", "worst")
        yield from _table(head, [fault.cells for fault in self.faults])
        for title, what, counts in (
            ("Bookings", "ended", self.endings),
            ("Clients", "wanted, and what came of it", self.journeys),
            ("Answers", "request, status", self.answers),
            ("The door", "sent, and what it met", self.door),
            ("Mails and webhooks", "taken", self.notified),
            ("Sockets closed", "code", self.sockets_closed),
            ("Logged", "line", self.logged),
        ):
            yield f"## {title}\n"
            yield from _table((what, "number"), _counted(counts))
        yield "## What the monkey did\n"
        yield from _table(("s", "what"), [(f"{entry.at:.2f}", entry.text) for entry in self.diary])


def _counted(counts: dict[str, int]) -> Rows:
    return [(name, str(number)) for name, number in counts.items()]


def _table(head: Sequence[str], rows: Rows) -> Iterable[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in row)} |"
    yield ""


def named(counts: Counter[tuple[str, str]]) -> dict[str, int]:
    """Counts by two names as counts by one name, in order."""
    return {f"{first}: {second}": number for (first, second), number in sorted(counts.items())}
