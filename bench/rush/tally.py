"""What has happened so far in a rush, moment by moment: what is shown, drawn and judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.measures import percentile


@dataclass(frozen=True, slots=True)
class Moment:
    """The state at `at` (seconds since the sale began), and what came in since the moment before: `answers` to
    requests, `turned_away` of them with Retry-After, and their latencies in ms."""

    at: float
    came: int
    asking: int
    refused: int
    held: int
    sold: int
    answers: int
    turned_away: int
    p50: float | None
    p99: float | None


@dataclass
class Tally:
    """Counts of clients. `statuses`, `turned_away` and `bad` count answers: all, those that say when to come again,
    and those with a 5xx that do not. `problems` says what must not be.

    A client *asks* from its coming until it knows that it has a seat or that none are left. `verdicts` and `sales`
    are how long it took from the first request until then, and until the confirmed booking, in seconds.
    """

    clients: int
    seats: int
    came: int = 0
    refused: int = 0
    seated: int = 0
    unanswered: int = 0
    turned_away: int = 0
    bad: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    verdicts: list[float] = field(default_factory=list)
    sales: list[float] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    _counted: int = 0
    _turned_away: int = 0

    @property
    def asking(self) -> int:
        return self.came - self.refused - self.seated - self.unanswered

    def answered(self, status: int, seconds: float, *, come_again: bool) -> None:
        self.statuses[status] += 1
        self.latencies.append(seconds)
        self.turned_away += come_again
        self.bad += status >= 500 and not come_again

    def look(self, at: float, held: int, sold: int) -> Moment:
        """`held` and `sold` are the database's figures now."""
        new = self.latencies[self._counted :]
        moment = Moment(
            at=at,
            came=self.came,
            asking=self.asking,
            refused=self.refused,
            held=held,
            sold=sold,
            answers=len(new),
            turned_away=self.turned_away - self._turned_away,
            p50=milliseconds(new, 0.5),
            p99=milliseconds(new, 0.99),
        )
        self._counted, self._turned_away = len(self.latencies), self.turned_away
        self.moments.append(moment)
        return moment


def milliseconds(seconds: Sequence[float], share: float) -> float | None:
    return None if (found := percentile(seconds, share)) is None else found * 1000
