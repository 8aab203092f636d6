"""How long a customer waits when the machine is half busy: an open loop at half of the highest rate."""

from __future__ import annotations

from collections.abc import Sequence

from bench.arrivals import Arrivals, Arrived
from bench.audit import problems as audited
from bench.clients import connected, order
from bench.driver import Driver
from bench.findings import Chart, Findings, Goal, Series, Table
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
PAYABLE_P99_MS, TOLD_P99_MS = 40.0, 30.0
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "most": 1.0}
FAILURES_SHOWN = 5

Samples = dict[str, list[float]]


async def run(seconds: float, steps: Steps) -> Findings:
    steps.begin("starting Holdfast", 0.15)
    async with running() as stage, connected(stage, CLIENTS) as clients:
        orders = [order(event["id"]) for event in await stage.events(EVENTS, CAPACITY, "Evening")]
        driver = Driver(stage)
        steps.begin("warming up", 0.05)
        await driver.run(clients, orders, "warm-up", WARM_UP_SECONDS)
        left = max(seconds - AROUND_SECONDS - WARM_UP_SECONDS, MEASURED_SECONDS_MIN)
        steps.begin(f"{CLIENTS} at once, to find the highest rate", 0.8 * CLOSED_SHARE)
        highest = (await driver.run(clients, orders, "closed", left * CLOSED_SHARE)).per_second
        rate = highest * HALF
        steps.begin(f"{rate:.0f} customers a second", 0.8 * (1 - CLOSED_SHARE))
        arrived = await Arrivals(stage, clients, orders).run(rate, left * (1 - CLOSED_SHARE))
        steps.begin("comparing with the database")
        wrong = await _problems(stage, driver, arrived)
        steps.begin("stopping")
    return _findings(highest, rate, arrived, wrong)


async def _problems(stage: Stage, driver: Driver, arrived: Arrived) -> list[str]:
    failures = [*(failure for slice in driver.slices for failure in slice.failures), *arrived.failures]
    sales = [*(sale for slice in driver.slices for sale in slice.sales), *arrived.sales]
    return [
        *(f"a request failed: {failure}" for failure in failures[:FAILURES_SHOWN]),
        *(f"{name} has {count} entries" for name, count in (await stage.dead_letters()).items()),
        *await audited(stage.stack.booking_database_url, (sale.booking_id for sale in sales), {}),
    ]


def _findings(highest: float, rate: float, arrived: Arrived, wrong: Sequence[str]) -> Findings:
    samples = milliseconds(arrived)
    found = {name: summary(each) for name, each in samples.items()}
    return Findings(
        figures={
            "highest_per_second": highest,
            "offered_per_second": rate,
            "served_per_second": arrived.per_second,
            "sales": len(arrived.sales),
            "ms": found,
        },
        tables=[
            Table(
                f"{rate:,.0f} customers a second, half of the highest rate; {len(arrived.sales):,} sales, in ms",
                ("", *SHARES),
                [(name, *(f"{found[name][share]:.1f}" for share in SHARES)) for name in found if found[name]],
            )
        ],
        goals=[
            Goal(
                "half load: POST /bookings payable, p99", found["payable"].get("p99"), PAYABLE_P99_MS, False, "ms"
            ),
            Goal("half load: paid → told, p99", found["paid → told"].get("p99"), TOLD_P99_MS, False, "ms"),
        ],
        charts=[
            Chart(
                "Latency at half of the highest load",
                "share of customers served within, %",
                "ms",
                [Series(name, distribution(samples[name])) for name in ("payable", "paid → told")],
            )
        ],
        problems=wrong,
    )


def milliseconds(arrived: Arrived) -> Samples:
    """What was measured, by the name under which it is shown. The driver's own delay is part of the latencies."""
    seconds = {
        "payable": [sale.payable for sale in arrived.sales],
        "paid → told": [sale.notified for sale in arrived.sales],
        "(driver late for a customer)": arrived.late,
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
