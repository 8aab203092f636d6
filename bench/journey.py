"""The whole way of a booking, from POST /bookings to the notification on the socket, at several concurrencies.

Slices on a hundred events and on one hot event alternate, in the order A B B A, so that all other changes on the
machine affect both alike.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import stage as stages
from bench.audit import problems
from bench.clients import Client, connected, order
from bench.cpu import CHARGED
from bench.driver import Driver, Slice
from bench.figures import HOT, SPREAD, Ratio, Ways, ratios, raw_cpu_ms, ways
from bench.findings import Chart, Findings, Goal, Series, Table, cell
from bench.measures import middle
from bench.progress import Steps
from bench.raw import RawLoad, RawServer
from bench.raw import running as raw_running
from bench.stage import Stage

SECONDS = 75.0
CONCURRENCIES = (1, 16, 64)
SPREAD_EVENTS = 100
# More seats than any run can sell.
CAPACITY = 1_000_000
# Short enough that noise affects neighbours alike, long enough that a slice has some hundred bookings.
SLICE_SECONDS = 2.5
SLICE_SECONDS_MIN = 0.5
WARM_UP_SECONDS = 1.5
WARM_UP_CLIENTS = 16
# The share of a level's time that the raw server gets.
RAW_SHARE = 0.1
# How many seconds starting, auditing and stopping take.
AROUND_SECONDS = 8.0
LEVEL_SECONDS_MIN = 2.0

# CPU of a booking at the highest concurrency, as a multiple of a request of the raw server: the limit, what is
# worth reaching for, and the figure of the release before on the reference machine.
RAW_MULTIPLE_MAX, RAW_MULTIPLE_REACH, RAW_MULTIPLE_BEFORE = 48.0, 40.0, 88.7
# The limit of a booking's cost on one hot event, over that on a hundred events; also the release before's figure.
HOT_MAX = 1.02


@dataclass(frozen=True)
class Journey:
    slices: Sequence[Slice]
    raw: Sequence[RawLoad]
    # All bookings that were sold, also while warming up.
    sold: Sequence[str]


@dataclass(frozen=True)
class _Timetable:
    """How the time of one concurrency is divided: its pairs of slices, and one slice of the raw server."""

    pairs: int
    slice_seconds: float
    raw_seconds: float

    @classmethod
    def of(cls, seconds: float) -> _Timetable:
        raw_seconds = max(seconds * RAW_SHARE, SLICE_SECONDS_MIN)
        left = seconds - raw_seconds
        pairs = max(2, round(left / (2 * SLICE_SECONDS)))
        return cls(pairs, max(left / (2 * pairs), SLICE_SECONDS_MIN), raw_seconds)


async def run(seconds: float, steps: Steps) -> Findings:
    steps.begin("starting Holdfast")
    async with stages.running() as stage:
        journey = await travel(stage, max(seconds - AROUND_SECONDS, 0), 1.0, steps)
        steps.begin("comparing with the database")
        wrong = [f"a request failed: {failure}" for slice in journey.slices for failure in slice.failures]
        wrong += [f"{name} has {count} entries" for name, count in (await stage.dead_letters()).items()]
        wrong += await problems(stage.stack.booking_database_url, journey.sold, {})
        steps.begin("stopping")
    return _findings(journey, wrong)


async def travel(stage: Stage, seconds: float, share: float, steps: Steps) -> Journey:
    """Takes about `seconds`, and `share` of the progress."""
    started = time.monotonic()
    steps.begin("making the events and opening the sockets")
    events = await stage.events(SPREAD_EVENTS + 1, CAPACITY, "Evening")
    hot, *spread = (order(event["id"]) for event in events)
    orders = {SPREAD: spread, HOT: [hot]}
    driver, warm_up = Driver(stage), Driver(stage)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-raw-") as folder:
        async with (
            raw_running(Path(folder), stage.session) as raw,
            connected(stage, max(CONCURRENCIES)) as clients,
        ):
            steps.begin("warming up", 0.0)
            for kind in (SPREAD, HOT):
                await warm_up.run(clients[:WARM_UP_CLIENTS], orders[kind], kind, WARM_UP_SECONDS / 2)
            left = seconds - (time.monotonic() - started)
            for concurrency in CONCURRENCIES:
                timetable = _Timetable.of(max(left / len(CONCURRENCIES), LEVEL_SECONDS_MIN))
                level = _Level(driver, raw, clients[:concurrency], orders, timetable)
                await level.run(share / len(CONCURRENCIES), steps)
    sold = [sale.booking_id for each in (warm_up, driver) for slice in each.slices for sale in slice.sales]
    return Journey([*warm_up_failures(warm_up), *driver.slices], raw.loads, sold)


def warm_up_failures(driver: Driver) -> list[Slice]:
    """The slices of the warm-up that must not be ignored: those with failures."""
    return [slice for slice in driver.slices if slice.failures]


@dataclass(frozen=True)
class _Level:
    """One concurrency: its clients, and the slices that they run."""

    driver: Driver
    raw: RawServer
    clients: Sequence[Client]
    orders: dict[str, list[bytes]]
    timetable: _Timetable

    async def run(self, share: float, steps: Steps) -> None:
        concurrency, timetable = len(self.clients), self.timetable
        step = share / (2 * timetable.pairs + 1)
        for pair in range(timetable.pairs):
            for kind in (SPREAD, HOT) if pair % 2 == 0 else (HOT, SPREAD):
                where = "one hot event" if kind == HOT else f"{SPREAD_EVENTS} events"
                steps.begin(f"{concurrency} at once on {where}", step)
                await self.driver.run(self.clients, self.orders[kind], kind, timetable.slice_seconds)
        # The yardstick does not grow with the level: it always has the same load.
        steps.begin("the raw aiohttp server", step)
        await self.raw.load(self.orders[SPREAD], max(CONCURRENCIES), timetable.raw_seconds)


def _findings(journey: Journey, wrong: Sequence[str]) -> Findings:
    raw = raw_cpu_ms(journey.raw)
    found, hot_over_spread = ways(journey.slices, raw), ratios(journey.slices)
    return Findings(
        figures={
            "raw_cpu_ms": raw,
            "raw_per_second": middle([load.requests / load.seconds for load in journey.raw]),
            "ways": [asdict(each) for each in found],
            "ratios": [asdict(each) for each in hot_over_spread],
        },
        tables=[_ways_table(found), _cpu_table(found, raw)],
        goals=_goals(found, hot_over_spread),
        charts=[_cpu_chart(found)],
        problems=wrong,
    )


def _goals(found: Sequence[Ways], hot_over_spread: Sequence[Ratio]) -> list[Goal]:
    """Judged at the highest concurrency."""
    top = max((each for each in found if each.kind == SPREAD), key=lambda each: each.concurrency, default=None)
    ratio = max(hot_over_spread, key=lambda each: each.concurrency, default=None)
    over = "times a booking of spread events"
    return [
        Goal(
            f"CPU of a confirmed booking at {max(CONCURRENCIES)}",
            top.cpu_raw_multiple if top else None,
            RAW_MULTIPLE_MAX,
            False,
            "times a raw aiohttp POST",
            RAW_MULTIPLE_BEFORE,
            RAW_MULTIPLE_REACH,
        ),
        Goal("one hot event: CPU of a booking", ratio.cpu if ratio else None, HOT_MAX, False, over, HOT_MAX),
        Goal("one hot event: time of a booking", ratio.seconds if ratio else None, HOT_MAX, False, over, HOT_MAX),
    ]


def _where(each: Ways) -> tuple[str, str]:
    return f"{each.concurrency}", "one hot" if each.kind == HOT else "a hundred"


def _ways_table(found: Sequence[Ways]) -> Table:
    return Table(
        "From POST /bookings to confirmed on the socket; latencies in ms, medians over slices",
        ("at once", "events", "bookings", "a second", "payable p50", "p99", "paid → notified p50", "p99"),
        [
            (
                *_where(each),
                f"{each.bookings:,}",
                *map(
                    cell,
                    (each.per_second, each.payable_p50, each.payable_p99, each.notified_p50, each.notified_p99),
                ),
            )
            for each in found
        ],
    )


def _cpu_table(found: Sequence[Ways], raw: float | None) -> Table:
    apart = sorted({name for each in found for name in each.cpu_apart})
    return Table(
        f"CPU of one confirmed booking in ms; one raw aiohttp POST: {cell(raw, 3)} ms",
        ("at once", "events", *CHARGED, "sum", "× raw", *(f"({name})" for name in apart)),
        [
            (
                *_where(each),
                *(cell(each.cpu[name], 2) for name in CHARGED),
                cell(each.cpu_sum, 2),
                cell(each.cpu_raw_multiple),
                *(cell(each.cpu_apart.get(name), 2) for name in apart),
            )
            for each in found
        ],
    )


def _cpu_chart(found: Sequence[Ways]) -> Chart:
    def points(name: str) -> list[tuple[float, float]]:
        return [(each.concurrency, each.cpu[name]) for each in found if each.kind == SPREAD]

    return Chart(
        "CPU of one confirmed booking, by process",
        "clients at once",
        "ms",
        [Series(name, points(name)) for name in CHARGED],
    )
