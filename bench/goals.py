"""What the figures have to reach, each with the figure of this run."""

from __future__ import annotations

from collections.abc import Sequence

from bench.figures import DrainFigures, Ratio, Ways
from bench.findings import Goal


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
