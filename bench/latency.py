"""How long a customer waits when the machine is half busy: an open loop at half of the highest rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.arrivals import Arrivals, Arrived
from bench.audit import problems as audited
from bench.clients import connected, order
from bench.cpu import CHARGED, Usage, charged
from bench.driver import Driver, Slice
from bench.findings import Chart, Findings, Goal, Series, Table
from bench.hops import hops
from bench.measures import percentile
from bench.progress import Steps
from bench.stage import Stage, running

SECONDS = 24.0
CLIENTS = 64
EVENTS = 100
# More seats than can be sold in any run.
CAPACITY = 1_000_000
WARM_UP_SECONDS = 1.5
# Of the time that is left: the closed loop that finds the highest rate; the rest is the open one.
CLOSED_SHARE = 0.3
# Start, audit and stop.
AROUND_SECONDS = 8.0
MEASURED_SECONDS_MIN = 4.0
HALF = 0.5
PAYABLE, TOLD = "POST /bookings payable", "paid → told"
P99_MS = {PAYABLE: 40.0, TOLD: 30.0}
KINDS = (*CHARGED, "sum", "sandbox", "driver")
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "most": 1.0}
FAILURES_SHOWN = 5


@dataclass(frozen=True)
class Measured:
    """The closed loop that found the highest rate, the open one at `rate`, and each hop of its sales in seconds."""

    closed: Slice
    rate: float
    arrived: Arrived
    hops: Mapping[str, Sequence[float]]


async def run(seconds: float, steps: Steps) -> Findings:
    steps.begin("starting Holdfast", 0.15)
    async with running() as stage, connected(stage, CLIENTS) as clients:
        orders = [order(event["id"]) for event in await stage.events(EVENTS, CAPACITY, "Evening")]
        driver = Driver(stage)
        steps.begin("warming up", 0.05)
        await driver.run(clients, orders, "warm-up", WARM_UP_SECONDS)
        left = max(seconds - AROUND_SECONDS - WARM_UP_SECONDS, MEASURED_SECONDS_MIN)
        steps.begin(f"{CLIENTS} at once, to find the highest rate", 0.8 * CLOSED_SHARE)
        closed = await driver.run(clients, orders, "closed", left * CLOSED_SHARE)
        rate = closed.per_second * HALF
        steps.begin(f"{rate:.0f} customers a second", 0.8 * (1 - CLOSED_SHARE))
        arrived = await Arrivals(stage, clients, orders).run(rate, left * (1 - CLOSED_SHARE))
        steps.begin("comparing with the databases")
        stack = stage.stack
        found = await hops(stack.booking_database_url, stack.payment_database_url, arrived.served)
        wrong = await _problems(stage, driver, arrived)
        steps.begin("stopping")
    return _findings(Measured(closed, rate, arrived, found), wrong)


async def _problems(stage: Stage, driver: Driver, arrived: Arrived) -> list[str]:
    failures = [*(failure for slice in driver.slices for failure in slice.failures), *arrived.failures]
    sales = [*(sale for slice in driver.slices for sale in slice.sales), *arrived.sales]
    return [
        *(f"a request failed: {failure}" for failure in failures[:FAILURES_SHOWN]),
        *(f"{name} has {count} entries" for name, count in (await stage.dead_letters()).items()),
        *await audited(stage.stack.booking_database_url, (sale.booking_id for sale in sales), {}),
    ]


def _findings(measured: Measured, wrong: Sequence[str]) -> Findings:
    arrived, samples = measured.arrived, milliseconds(measured)
    ms = {name: found for name, each in samples.items() if (found := summary(each))}
    cpu = {
        f"{CLIENTS} at once": cpu_ms(measured.closed.cpu, len(measured.closed.sales)),
        "half of that rate": cpu_ms(arrived.cpu, len(arrived.served)),
    }
    busy = sum(arrived.cpu.values()) / arrived.seconds
    return Findings(
        figures={
            "highest_per_second": measured.closed.per_second,
            "offered_per_second": measured.rate,
            "served_per_second": arrived.per_second,
            "sales": len(arrived.served),
            "ms": ms,
            "cpu_ms": cpu,
            "cores_busy": busy,
        },
        tables=[
            Table(
                f"{measured.rate:,.0f} customers a second, half of the highest rate: "
                f"{len(arrived.served):,} sales, {busy:.2f} cores busy; ms",
                ("", *SHARES),
                [(name, *(f"{found[share]:.1f}" for share in SHARES)) for name, found in ms.items()],
            ),
            Table(
                "CPU of one booking in ms: the fewer share a batch, the dearer",
                ("", *(name for name in KINDS)),
                [(name, *(f"{found.get(kind, 0.0):.2f}" for kind in KINDS)) for name, found in cpu.items()],
            ),
        ],
        goals=[
            Goal(f"half load: {name}, p99", ms.get(name, {}).get("p99"), limit, False, "ms")
            for name, limit in P99_MS.items()
        ],
        charts=[
            Chart(
                "Latency at half of the highest load",
                "share of customers served within, %",
                "ms",
                [Series(name, distribution(samples[name])) for name in P99_MS],
            )
        ],
        problems=wrong,
    )


def cpu_ms(cpu: Usage, sales: int) -> dict[str, float]:
    """Of one booking by kind of process, and the `sum` of what it is charged with; empty without any."""
    if not sales:
        return {}
    return {name: spent / sales * 1000 for name, spent in {**cpu, "sum": charged(cpu)}.items()}


def milliseconds(measured: Measured) -> dict[str, list[float]]:
    """What was measured, by the name under which it is shown. The driver's own delay is part of the latencies."""
    arrived = measured.arrived
    seconds = {
        PAYABLE: [sale.payable for sale in arrived.sales],
        TOLD: [sale.notified for sale in arrived.sales],
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
    """For each percentile from 1 to 100: how long so many percent took at most."""
    found = ((percent, percentile(samples, percent / 100)) for percent in range(1, 101))
    return [(float(percent), value) for percent, value in found if value is not None]
