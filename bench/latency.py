"""How long a customer waits when the machine is half busy: an open loop at half of the highest rate of the release
before, which is measured in the same run. That release gets the same load."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.arrivals import Arrived
from bench.baseline import stored
from bench.baseline.release import Unavailable
from bench.baseline.release import prepared as release_prepared
from bench.baseline.stage import release_running
from bench.cpu import CHARGED, Usage, charged
from bench.errors import BenchError
from bench.figures import SPREAD
from bench.findings import Chart, Findings, Goal, Series, Table
from bench.hops import hops
from bench.measures import percentile
from bench.progress import Steps
from bench.raw import running as raw_running
from bench.sides import Side, prepared
from bench.stage import running

SECONDS = 44.0
CLIENTS = 64
# The share of the time that the closed loop gets, which finds the highest rate; the open loops share the rest.
CLOSED_SHARE = 0.25
# How many seconds starting two services, auditing and stopping take.
AROUND_SECONDS = 18.0
MEASURED_SECONDS_MIN = 4.0
RAW_SECONDS = 1.0
HALF = 0.5
NOW, BEFORE = "this tree", "the release before"
PAYABLE, NOTIFIED = "POST /bookings payable", "paid → notified"
# The limits, and the figures of the release before on the reference machine.
P99_MS = {PAYABLE: (40.0, 127.0), NOTIFIED: (30.0, 192.0)}
KINDS = (*CHARGED, "sum", "sandbox", "driver")
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "most": 1.0}


@dataclass(frozen=True)
class Measured:
    """The open loop, and each hop of its sales in seconds."""

    arrived: Arrived
    hops: Mapping[str, Sequence[float]]


async def run(seconds: float, steps: Steps) -> Findings:
    steps.begin("starting Holdfast", 0.3)
    notes: list[str] = []
    async with AsyncExitStack() as stack:
        now = await stack.enter_async_context(running())
        sides: dict[str, Side] = {}
        try:
            before = await stack.enter_async_context(release_running(await release_prepared()))
            sides[BEFORE] = await stack.enter_async_context(prepared(BEFORE, before, CLIENTS))
        except Unavailable as error:
            notes.append(f"the release before cannot be run here ({error}): its stored rate is taken")
        sides[NOW] = await stack.enter_async_context(prepared(NOW, now, CLIENTS))
        left = max(seconds - AROUND_SECONDS, MEASURED_SECONDS_MIN)
        steps.begin(f"{CLIENTS} at once, to find the highest rate before", 0.7 * CLOSED_SHARE)
        highest = await _highest_before(sides, left * CLOSED_SHARE)
        share = (1 - CLOSED_SHARE) / len(sides)
        found = {}
        for name, side in sides.items():
            steps.begin(f"{highest * HALF:.0f} customers a second: {name}", 0.7 * share)
            found[name] = await _measured(side, highest * HALF, left * share)
        steps.begin("comparing with the databases")
        wrong = [text for side in sides.values() for text in await side.problems()]
        steps.begin("stopping")
    return _findings(highest, found, wrong, notes)


async def _highest_before(sides: Mapping[str, Side], seconds: float) -> float:
    """How many bookings a second the release before sells at once; where it cannot run, by its stored figures."""
    if (before := sides.get(BEFORE)) is not None:
        return (await before.slice(SPREAD, seconds)).per_second
    now = sides[NOW]
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-raw-") as folder:
        async with raw_running(Path(folder), now.stage.session) as raw:
            load = await raw.load(now.orders[SPREAD], CLIENTS, RAW_SECONDS)
    if (level := stored.read().scaled(load.cpu_ms).get(CLIENTS)) is None:
        raise BenchError(f"there is no stored rate of the release before at {CLIENTS} at once")
    return level.per_second


async def _measured(side: Side, per_second: float, seconds: float) -> Measured:
    arrived = await side.arrivals(SPREAD, per_second, seconds)
    stack = side.stage.stack
    return Measured(arrived, await hops(stack.booking_database_url, stack.payment_database_url, arrived.served))


def _findings(
    highest: float, found: Mapping[str, Measured], wrong: Sequence[str], notes: Sequence[str]
) -> Findings:
    samples = {name: milliseconds(each) for name, each in found.items()}
    ms = {name: _summaries(each) for name, each in samples.items()}
    cpu = {name: cpu_ms(each.arrived.cpu, len(each.arrived.served)) for name, each in found.items()}
    return Findings(
        figures={
            "highest_per_second_before": highest,
            "offered_per_second": highest * HALF,
            **{name: _figures(each) | {"ms": ms[name], "cpu_ms": cpu[name]} for name, each in found.items()},
        },
        tables=[
            *(_table(name, highest * HALF, each.arrived, ms[name]) for name, each in found.items()),
            Table(
                "CPU of one booking in ms: the fewer share a batch, the dearer",
                ("", *KINDS),
                [(name, *(f"{each.get(kind, 0.0):.2f}" for kind in KINDS)) for name, each in cpu.items()],
            ),
        ],
        goals=[
            Goal(f"half load: {name}, p99", ms[NOW].get(name, {}).get("p99"), limit, False, "ms", before)
            for name, (limit, before) in P99_MS.items()
        ],
        charts=[
            Chart(
                "Latency at half of the highest load before",
                "share of customers served within, %",
                "ms",
                [
                    Series(f"{name}: {what}", distribution(each[what]))
                    for name, each in samples.items()
                    for what in P99_MS
                ],
            )
        ],
        problems=wrong,
        notes=notes,
    )


def _figures(measured: Measured) -> dict[str, Any]:
    arrived = measured.arrived
    return {
        "served_per_second": arrived.per_second,
        "sales": len(arrived.served),
        "cores_busy": cores_busy(arrived),
    }


def cores_busy(arrived: Arrived) -> float:
    return sum(arrived.cpu.values()) / arrived.seconds


def _summaries(samples: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    return {name: found for name, each in samples.items() if (found := summary(each))}


def _table(name: str, rate: float, arrived: Arrived, ms: Mapping[str, Mapping[str, float]]) -> Table:
    return Table(
        f"{name}, {rate:,.0f} customers a second, half of the highest rate before: "
        f"{len(arrived.served):,} sales, {cores_busy(arrived):.2f} cores busy; ms",
        ("", *SHARES),
        [(what, *(f"{found[share]:.1f}" for share in SHARES)) for what, found in ms.items()],
    )


def cpu_ms(cpu: Usage, sales: int) -> dict[str, float]:
    """CPU of one booking by kind of process, and the `sum` of those that count for it; empty without bookings."""
    if not sales:
        return {}
    return {name: spent / sales * 1000 for name, spent in {**cpu, "sum": charged(cpu)}.items()}


def milliseconds(measured: Measured) -> dict[str, list[float]]:
    """The samples by the name under which they are shown. The driver's own delay is part of the latencies."""
    arrived = measured.arrived
    seconds = {
        PAYABLE: [sale.payable for sale in arrived.sales],
        NOTIFIED: [sale.notified for sale in arrived.sales],
        **{f"  {name}": found for name, found in measured.hops.items()},
        "(driver late for a customer)": [each.late for each in arrived.served],
        "(driver's loop late)": arrived.lag,
    }
    return {name: [each * 1000 for each in values] for name, values in seconds.items()}


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Percentiles by name; empty without samples."""
    found = {name: percentile(samples, share) for name, share in SHARES.items()}
    return {name: value for name, value in found.items() if value is not None}


def distribution(samples: Sequence[float]) -> list[tuple[float, float]]:
    """For each percentile from 1 to 100: the longest time among that share of the samples."""
    found = ((percent, percentile(samples, percent / 100)) for percent in range(1, 101))
    return [(float(percent), value) for percent, value in found if value is not None]
