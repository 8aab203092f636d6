"""What has happened so far in a rush, sample by sample: what is shown, drawn and judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.measures import percentile


@dataclass(frozen=True, slots=True)
class Sample:
    """The state at `at` (seconds since the sale began), and what came in since the sample before: `answers` to
    requests, `sent_back` of them with Retry-After, and their latencies in ms."""

    at: float
    came: int
    asking: int
    refused: int
    held: int
    sold: int
    answers: int
    sent_back: int
    p50: float | None
    p99: float | None


@dataclass
class Tally:
    """Counts of clients. `statuses`, `sent_back` and `bad` count answers: all, those that say when to come again,
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
    sent_back: int = 0
    bad: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    verdicts: list[float] = field(default_factory=list)
    sales: list[float] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    _counted: int = 0
    _sent_back: int = 0

    @property
    def asking(self) -> int:
        return self.came - self.refused - self.seated - self.unanswered

    def answered(self, status: int, seconds: float, *, come_again: bool) -> None:
        self.statuses[status] += 1
        self.latencies.append(seconds)
        self.sent_back += come_again
        self.bad += status >= 500 and not come_again

    def sample(self, at: float, held: int, sold: int) -> Sample:
        """`held` and `sold` are the database's figures now."""
        new = self.latencies[self._counted :]
        sample = Sample(
            at=at,
            came=self.came,
            asking=self.asking,
            refused=self.refused,
            held=held,
            sold=sold,
            answers=len(new),
            sent_back=self.sent_back - self._sent_back,
            p50=milliseconds(new, 0.5),
            p99=milliseconds(new, 0.99),
        )
        self._counted, self._sent_back = len(self.latencies), self.sent_back
        self.samples.append(sample)
        return sample


def milliseconds(seconds: Sequence[float], share: float) -> float | None:
    return None if (found := percentile(seconds, share)) is None else found * 1000
