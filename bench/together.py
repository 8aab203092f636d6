"""What only several phases together show: Holdfast's figures as multiples of what its parts cost alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.backlog import HOLDS
from bench.figures import SPREAD
from bench.findings import Findings, Table, cell
from bench.yardsticks import Rate, Yardsticks, ratios

# The processes that work while a mailbox is drained.
DRAINING = ("booking", "postgres", "redis")


def together(found: Mapping[str, Findings]) -> Findings | None:
    """From the phases of one run; None without the yardsticks, or without any figure to compare with them."""
    if not (figures := found.get("yardsticks", Findings({})).figures):
        return None
    yardsticks = Yardsticks.read(figures)
    costs = _costs(found)
    rates = _rates(found)
    if not (costs or rates):
        return None
    against = {
        "one raw POST": yardsticks.raw_post.server_us,
        "one XADD": _both(yardsticks.xadd),
        "one booking in raw batches": _both(yardsticks.bookings_batched),
    }
    multiples = {
        name: {other: us / theirs for other, theirs in against.items() if theirs} for name, us in costs.items()
    }
    shares = {name: ratios(yardsticks, per_second) for name, per_second in rates.items()}
    return Findings(
        figures={"cpu_multiples": multiples, "rate_shares": shares},
        tables=[
            Table(
                "CPU, as a multiple of what the parts cost alone",
                ("", "CPU µs", *(f"× {other}" for other in against)),
                [
                    (name, cell(us, 0), *(cell(multiples[name].get(other)) for other in against))
                    for name, us in costs.items()
                ],
            ),
            *(
                Table(f"{name}, as a share", ("", "share"), [(of, cell(share, 2)) for of, share in parts.items()])
                for name, parts in shares.items()
            ),
        ],
    )


def _both(rate: Rate) -> float:
    return rate.client_us + rate.server_us


def _costs(found: Mapping[str, Findings]) -> dict[str, float]:
    """CPU in microseconds, of all processes whose CPU counts for a booking."""
    costs: dict[str, float] = {}
    ways = [each for each in _listed(found, "journey", "ways") if each["kind"] == SPREAD]
    if ways:
        top = max(ways, key=lambda each: int(each["concurrency"]))
        costs[f"a confirmed booking at {top['concurrency']}"] = top["cpu_sum"] * 1000
    for each in _listed(found, "drain", "drains"):
        costs[f"one of the {each['kind']} drained"] = sum(each["cpu_us"][name] for name in DRAINING)
    return costs


def _rates(found: Mapping[str, Findings]) -> dict[str, float]:
    return {
        f"What one booking actor drains of {each['kind']} a second": each["per_second"]
        for each in _listed(found, "drain", "drains")
        if each["kind"] == HOLDS
    }


def _listed(found: Mapping[str, Findings], phase: str, name: str) -> list[Mapping[str, Any]]:
    listed: list[Mapping[str, Any]] = found.get(phase, Findings({})).figures.get(name, [])
    return listed
