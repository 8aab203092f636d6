"""What the figures have to reach, each with the figure of this run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import DrainFigures, Ratio, Ways


@dataclass(frozen=True)
class Goal:
    """`figure` must be at most, or at least, `limit`; None was not measured."""

    name: str
    figure: float | None
    limit: float
    at_least: bool
    unit: str

    @property
    def met(self) -> bool | None:
        if self.figure is None:
            return None
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


def judged(ways: Sequence[Ways], ratios: Sequence[Ratio], drains: Sequence[DrainFigures]) -> list[Goal]:
    """Every goal; those of one concurrency are judged at the highest."""
    ratio = max(ratios, key=lambda each: each.concurrency, default=None)
    rates = {each.kind: each.per_second for each in drains}
    top = max(ways, key=lambda each: (each.concurrency, each.kind == "spread"), default=None)
    return [
        Goal("one hot event: CPU of a booking", ratio.cpu if ratio else None, 1.2, False, "times spread events"),
        Goal(
            "one hot event: time of a booking", ratio.seconds if ratio else None, 1.2, False, "times spread events"
        ),
        Goal("one booking actor drains holds", rates.get("holds"), 5_000, True, "a second"),
        Goal("one booking actor drains sold-out refusals", rates.get("refusals"), 20_000, True, "a second"),
        Goal("CPU of a booking", top.cpu_raw_multiple if top else None, 20, False, "times a raw aiohttp POST"),
    ]
