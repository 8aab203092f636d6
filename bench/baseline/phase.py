"""The working tree beside the release before it, and beside a design with a row for each request: the same sales.

Slices of all three alternate at 1, 16 and 64 customers at once. Where the release before cannot be run, its stored
figures are compared, scaled by the cost of one raw POST on either machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import stage as stages
from bench.baseline import BASELINE
from bench.baseline import stored as stores
from bench.baseline.release import Release, Unavailable
from bench.baseline.release import prepared as release_prepared
from bench.baseline.stage import release_running
from bench.cpu import CHARGED
from bench.figures import SPREAD, Ways, raw_cpu_ms, ways
from bench.findings import Chart, Findings, Goal, Series, Table, cell
from bench.progress import Steps
from bench.raw import RawLoad, RawServer
from bench.raw import running as raw_running
from bench.reference.stage import beside
from bench.sides import Side, alternated, prepared, times

SECONDS = 125.0
# How many seconds starting three services, warming up, auditing and stopping take.
AROUND_SECONDS = 32.0
CONCURRENCIES = (1, 16, 64)
ROUNDS = 4
SLICE_SECONDS_MIN = 0.5
RAW_SECONDS = 1.0
NOW, BEFORE, REFERENCE = "now", "before", "reference"
TITLES = {NOW: "this tree", BEFORE: "the release before", REFERENCE: "a row for each request"}
OVER = "… of the release before"
# CPU of a booking as a share of the release before's: by concurrency, the limit and what is worth reaching for.
SHARE_MAX = {64: (0.55, 0.48), 16: (0.50, 0.42), 1: (0.43, 0.34)}
LONE_PAYABLE_MAX = 0.35


@dataclass(frozen=True)
class Over:
    """This tree's figures, divided by the release before's: CPU of a booking, and POST until payable (p50)."""

    cpu: float | None
    payable_p50: float | None


@dataclass
class Measured:
    """By the name of the side; `release` is None if only its stored figures are there."""

    release: Release | None
    sides: Mapping[str, Side]
    raw: Sequence[RawLoad]
    problems: Sequence[str]
    notes: list[str] = field(default_factory=list)


async def run(seconds: float, steps: Steps) -> Findings:
    steps.begin("making the release before ready", 0.05)
    notes: list[str] = []
    release: Release | None = None
    try:
        release = await release_prepared()
    except Unavailable as error:
        notes.append(f"the release before cannot be run here ({error}): its stored figures are compared")
    steps.begin("starting all of them", 0.15)
    async with AsyncExitStack() as stack:
        sides = await _sides(release, stack)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-bench-raw-")))
        raw = await stack.enter_async_context(raw_running(folder, sides[NOW].stage.session))
        await _measure_alternately(sides, raw, max(seconds - AROUND_SECONDS, 0.0), steps)
        steps.begin("comparing with the databases")
        wrong = [text for side in sides.values() for text in await side.problems()]
        steps.begin("stopping all of them")
    return findings(Measured(release, sides, raw.loads, wrong, notes))


async def _sides(release: Release | None, stack: AsyncExitStack) -> dict[str, Side]:
    now = await stack.enter_async_context(stages.running())
    running = {NOW: now}
    if release is not None:
        running[BEFORE] = await stack.enter_async_context(release_running(release))
    reference = await stack.enter_async_context(beside(now))
    sides = {
        name: await stack.enter_async_context(prepared(name, stage, max(CONCURRENCIES)))
        for name, stage in running.items()
    }
    url = reference.database_url
    sides[REFERENCE] = await stack.enter_async_context(prepared(REFERENCE, reference, max(CONCURRENCIES), url))
    return sides


async def _measure_alternately(sides: Mapping[str, Side], raw: RawServer, seconds: float, steps: Steps) -> None:
    order = alternated(list(sides), ROUNDS)
    length = max((seconds / len(CONCURRENCIES) - RAW_SECONDS) / len(order), SLICE_SECONDS_MIN)
    for concurrency in CONCURRENCIES:
        for name in order:
            steps.begin(f"{concurrency} at once: {TITLES[name]}", 0.75 / len(CONCURRENCIES) / len(order))
            await sides[name].slice(SPREAD, length, concurrency)
        await raw.load(sides[NOW].orders[SPREAD], max(CONCURRENCIES), RAW_SECONDS)


# --- What was found -----------------------------------------------------------------------------------------


def findings(measured: Measured) -> Findings:
    raw = raw_cpu_ms(measured.raw)
    found = {name: ways(side.driver.slices, raw) for name, side in measured.sides.items()}
    if BEFORE in measured.sides:
        over = over_before(measured.sides[NOW], measured.sides[BEFORE])
    else:
        over = over_stored(found[NOW], raw)
    notes = list(measured.notes)
    if measured.release is not None:
        notes.append(f"the release before is {BASELINE}, its environment {measured.release.environment}")
    return Findings(
        figures={
            "commit": BASELINE,
            "raw_cpu_ms": raw,
            "ways": {name: [asdict(each) for each in of] for name, of in found.items()},
            "over_before": {str(concurrency): asdict(each) for concurrency, each in over.items()},
        },
        tables=_tables(found, over),
        goals=_goals(over),
        charts=[_chart(found)],
        problems=measured.problems,
        notes=notes,
    )


def over_before(now: Side, before: Side) -> dict[int, Over]:
    """By concurrency; each slice is compared with the neighbouring slice of the other side."""
    found = {}
    for concurrency in CONCURRENCIES:
        each = times(before.slices(SPREAD, concurrency), now.slices(SPREAD, concurrency))
        found[concurrency] = Over(each.cpu, each.payable_p50)
    return found


def over_stored(now: Sequence[Ways], raw: float | None) -> dict[int, Over]:
    """By concurrency, from the stored figures. Raises BenchError if there are none of that release."""
    kept = stores.read().scaled(raw) if raw else {}
    return {
        each.concurrency: Over(
            each.cpu_sum / before.cpu_ms if each.cpu_sum else None,
            each.payable_p50 / before.payable_p50_ms if each.payable_p50 else None,
        )
        for each in now
        if (before := kept.get(each.concurrency))
    }


def _goals(over: Mapping[int, Over]) -> list[Goal]:
    unmeasured = Over(None, None)
    unit = "times the release before"
    return [
        *(
            Goal(
                f"CPU of a booking at {concurrency} at once",
                over.get(concurrency, unmeasured).cpu,
                limit,
                False,
                unit,
                1.0,
                reach,
            )
            for concurrency, (limit, reach) in SHARE_MAX.items()
        ),
        Goal(
            "a lone POST /bookings until payable, p50",
            over.get(1, unmeasured).payable_p50,
            LONE_PAYABLE_MAX,
            False,
            unit,
            1.0,
        ),
    ]


def _tables(found: Mapping[str, Sequence[Ways]], over: Mapping[int, Over]) -> list[Table]:
    times_rows: list[tuple[str, ...]] = []
    cpu_rows: list[tuple[str, ...]] = []
    for concurrency in CONCURRENCIES:
        for name, of in found.items():
            for each in (each for each in of if each.concurrency == concurrency):
                title = f"{concurrency}: {TITLES[name]}"
                latencies = (each.payable_p50, each.payable_p99, each.notified_p50, each.notified_p99)
                times_rows.append((title, f"{each.bookings:,}", *map(cell, (each.per_second, *latencies))))
                spent = (cell(each.cpu[kind], 2) for kind in CHARGED)
                cpu_rows.append((title, *spent, cell(each.cpu_sum, 2), cell(each.cpu_raw_multiple)))
        share = over.get(concurrency, Over(None, None))
        times_rows.append((OVER, "", "", cell(share.payable_p50, 2), "", "", ""))
        cpu_rows.append((OVER, *("" for _ in CHARGED), cell(share.cpu, 2), ""))
    columns = ("at once", "bookings", "a second", "payable p50", "p99", "paid → notified p50", "p99")
    return [
        Table(
            "This tree, the release before and a row for each request, in turn; latencies in ms",
            columns,
            times_rows,
        ),
        Table("CPU of one confirmed booking in ms", ("at once", *CHARGED, "sum", "× raw"), cpu_rows),
    ]


def _chart(found: Mapping[str, Sequence[Ways]]) -> Chart:
    return Chart(
        "CPU of one booking",
        "clients at once",
        "ms",
        [
            Series(TITLES[name], [(float(each.concurrency), each.cpu_sum or 0.0) for each in of])
            for name, of in found.items()
        ],
    )
