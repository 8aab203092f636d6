"""The figures of a journey: medians over its slices, in the form in which they are printed and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.cpu import CHARGED, charged, total
from bench.driver import Slice
from bench.measures import middle, percentile
from bench.raw import RawLoad

# Bookings on a hundred events in turn, or all on one event.
SPREAD, HOT = "spread", "hot"


@dataclass(frozen=True)
class Ways:
    """Confirmed bookings of one kind at one concurrency: medians over the slices. Latencies and CPU in ms."""

    concurrency: int
    kind: str
    slices: int
    bookings: int
    per_second: float | None
    payable_p50: float | None
    payable_p99: float | None
    notified_p50: float | None
    notified_p99: float | None
    # Of one booking, from all slices together.
    cpu: dict[str, float]
    cpu_apart: dict[str, float]
    cpu_sum: float | None
    cpu_raw_multiple: float | None


@dataclass(frozen=True)
class Ratio:
    """The cost of a booking of one hot event over that on a hundred events: medians over the pairs of slices."""

    concurrency: int
    cpu: float | None
    seconds: float | None


def raw_cpu_ms(raw: Sequence[RawLoad]) -> float | None:
    """CPU of one request at the raw server, in milliseconds."""
    return middle([load.cpu_ms for load in raw if load.requests])


def ways(slices: Sequence[Slice], raw: float | None) -> list[Ways]:
    """`raw` is the CPU of one request at the raw server in ms."""
    groups: dict[tuple[int, str], list[Slice]] = {}
    for each in slices:
        if each.sales:
            groups.setdefault((each.concurrency, each.kind), []).append(each)
    return [_ways(concurrency, kind, slices, raw) for (concurrency, kind), slices in groups.items()]


def _ways(concurrency: int, kind: str, slices: Sequence[Slice], raw: float | None) -> Ways:
    bookings = sum(len(each.sales) for each in slices)
    cpu = {name: seconds / bookings * 1000 for name, seconds in total([each.cpu for each in slices]).items()}

    def latency(name: str, share: float) -> float | None:
        found = [percentile([getattr(sale, name) for sale in each.sales], share) for each in slices]
        return None if (seconds := middle(found)) is None else seconds * 1000

    return Ways(
        concurrency=concurrency,
        kind=kind,
        slices=len(slices),
        bookings=bookings,
        per_second=middle([each.per_second for each in slices]),
        payable_p50=latency("payable", 0.5),
        payable_p99=latency("payable", 0.99),
        notified_p50=latency("notified", 0.5),
        notified_p99=latency("notified", 0.99),
        cpu={name: cpu.get(name, 0.0) for name in CHARGED},
        cpu_apart={name: spent for name, spent in cpu.items() if name not in CHARGED},
        cpu_sum=charged(cpu),
        cpu_raw_multiple=charged(cpu) / raw if raw else None,
    )


def ratios(slices: Sequence[Slice]) -> list[Ratio]:
    """By concurrency; each slice is compared with its neighbour."""
    found = []
    for concurrency in sorted({each.concurrency for each in slices}):
        hot, spread = (
            [each for each in slices if (each.concurrency, each.kind) == (concurrency, kind)]
            for kind in (HOT, SPREAD)
        )
        pairs = [(a, b) for a, b in zip(hot, spread, strict=False) if a.sales and b.sales]
        cpu = middle([_cpu(a) / _cpu(b) for a, b in pairs if _cpu(b)])
        found.append(Ratio(concurrency, cpu, middle([b.per_second / a.per_second for a, b in pairs])))
    return found


def _cpu(slice: Slice) -> float:
    return charged(slice.cpu) / len(slice.sales)
