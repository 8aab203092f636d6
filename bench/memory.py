"""What an actor's memory is worth: the same sales with the default MEMORY_MAX and with 0, in turn.

With 0 the actor first reads every decision's rows from the database, and decides under locks: the locked path
alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict

from bench import stage as stages
from bench.cpu import CHARGED
from bench.figures import SPREAD, Ways, ways
from bench.findings import Findings, Table, cell
from bench.progress import Steps
from bench.sides import Side, Times, alternated, prepared, times

SECONDS = 50.0
# How many seconds starting two, warming up, auditing and stopping take.
AROUND_SECONDS = 20.0
CONCURRENCIES = (1, 16, 64)
ROUNDS = 2
SLICE_SECONDS_MIN = 0.5
WITH, WITHOUT = "with memory", "MEMORY_MAX=0"
SETTINGS: Mapping[str, Mapping[str, str]] = {WITH: {}, WITHOUT: {"MEMORY_MAX": "0"}}
OVER = "… with memory, of without"


async def run(seconds: float, steps: Steps) -> Findings:
    steps.begin("starting Holdfast twice", 0.25)
    async with AsyncExitStack() as stack:
        sides: dict[str, Side] = {}
        for name, settings in SETTINGS.items():
            stage = await stack.enter_async_context(stages.running(stages.ONE_OF_EACH, **settings))
            sides[name] = await stack.enter_async_context(prepared(name, stage, max(CONCURRENCIES)))
        order = alternated(list(sides), ROUNDS)
        slices = len(CONCURRENCIES) * len(order)
        length = max((seconds - AROUND_SECONDS) / slices, SLICE_SECONDS_MIN)
        for concurrency in CONCURRENCIES:
            for name in order:
                steps.begin(f"{concurrency} at once: {name}", 0.7 / slices)
                await sides[name].slice(SPREAD, length, concurrency)
        steps.begin("comparing with the databases")
        wrong = [text for side in sides.values() for text in await side.problems()]
        steps.begin("stopping both")
    return _findings(sides, wrong)


def _findings(sides: Mapping[str, Side], wrong: Sequence[str]) -> Findings:
    found = {name: ways(side.driver.slices, None) for name, side in sides.items()}
    over = {
        concurrency: times(sides[WITHOUT].slices(SPREAD, concurrency), sides[WITH].slices(SPREAD, concurrency))
        for concurrency in CONCURRENCIES
    }
    return Findings(
        figures={
            "ways": {name: [asdict(each) for each in of] for name, of in found.items()},
            "with_over_without": {str(concurrency): each._asdict() for concurrency, each in over.items()},
        },
        tables=[_table(found, over)],
        problems=wrong,
    )


def _table(found: Mapping[str, Sequence[Ways]], over: Mapping[int, Times]) -> Table:
    rows: list[tuple[str, ...]] = []
    for concurrency, ratio in over.items():
        for name, of in found.items():
            rows += [
                (
                    f"{concurrency}: {name}",
                    f"{each.bookings:,}",
                    *map(cell, (each.per_second, each.payable_p50)),
                    *(cell(each.cpu[kind], 2) for kind in CHARGED),
                    cell(each.cpu_sum, 2),
                )
                for each in of
                if each.concurrency == concurrency
            ]
        rows.append((OVER, "", "", cell(ratio.payable_p50, 2), *("" for _ in CHARGED), cell(ratio.cpu, 2)))
    return Table(
        "What memory gives: latency and CPU of one booking in ms",
        ("at once", "bookings", "a second", "payable p50", *CHARGED, "sum"),
        rows,
    )
