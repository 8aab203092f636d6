"""`make simulate`: many seeds, or one with its story."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ops.postgres import embedded_postgres
from tests.servers import without_fsync
from tests.simulation import watch
from tests.simulation.faults import Fault, Point
from tests.simulation.planted import PLANTED
from tests.simulation.run import STEPS, Result, Results, Runner, make_databases

# Seconds between two progress lines where there is no terminal, so that a log stays short.
PLAIN_EVERY_S = 10.0
FAILURES_MAX = 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", default="1000", help="how many from 1 on, or a range such as 200-700")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--steps", type=int, default=STEPS, help="choices with faults in each")
    parser.add_argument("--planted", default="", choices=["", *PLANTED], help="with this mistake put in")
    parser.add_argument("--workers", type=int, default=min(os.cpu_count() or 1, 8))
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + 1) if options.seed is not None else _range(options.seeds)
    with without_fsync():
        sys.exit(asyncio.run(simulate(seeds, options.steps, options.planted, options.workers)))


def _range(text: str) -> range:
    first, _, last = text.rpartition("-")
    return range(int(first or 1), int(last) + 1)


async def simulate(seeds: range, steps: int, planted: str, workers: int) -> int:
    """Play all seeds. Returns the exit code: 1 when a promise was broken."""
    console = Console(highlight=False)
    results = Results()
    async with embedded_postgres() as server:
        urls = await make_databases(server, min(workers, len(seeds)))
        runner = Runner(urls, steps, planted, all_stories=len(seeds) == 1)
        started = time.monotonic()
        with _Progress(console, len(seeds)) as shown:

            def seen(result: Result) -> bool:
                results.add(result)
                shown(results, time.monotonic() - started)
                if len(seeds) == 1 and not result.violations:
                    console.out(result.story, highlight=False)
                return len(results.failed) < FAILURES_MAX and not (planted and results.failed)

            await runner.play(seeds, seen)
        seconds = time.monotonic() - started
    _report(console, results, seconds)
    return 1 if results.failed else 0


class _Progress:
    """A progress bar in a terminal, lines in a log."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._next = PLAIN_EVERY_S
        self._failed = 0
        self._bar = Progress(
            TextColumn("seeds"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} a minute, {task.fields[failed]} failed"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("seeds", total=total, rate="-", failed=0)

    def __enter__(self) -> Callable[[Results, float], None]:
        if self._console.is_terminal:
            self._bar.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _show(self, results: Results, seconds: float) -> None:
        rate, failed = round(results.done * 60 / seconds), len(results.failed)
        if failed > self._failed:
            self._failed = failed
            self._console.out(f"FAILED seed {results.failed[-1].seed}: {results.failed[-1].violations[0]}")
        self._bar.update(self._task, completed=results.done, rate=rate, failed=failed)
        if not self._console.is_terminal and seconds >= self._next:
            self._next = seconds + PLAIN_EVERY_S
            self._console.out(f"{results.done} of {self._total} seeds, {rate} a minute, {failed} failed")


def _report(console: Console, results: Results, seconds: float) -> None:
    first = results.first
    if first is not None:
        console.out(first.story, highlight=False)
    for title, counts, all_of in (
        ("How bookings ended", results.coverage.endings, ()),
        ("How their money stands", results.coverage.money, ()),
        ("Logged", results.coverage.logs, ()),
        ("Killed", results.coverage.crashes, [each.value for each in Point]),
        ("Faults", results.coverage.faults, [each.value for each in Fault]),
    ):
        table = Table(title, "times")
        for name in sorted({*counts, *all_of}):
            table.add_row(name, Text(str(counts[name]), style="" if counts[name] else "bold red"))
        console.print(table)
    rows = watch.all_rows()
    missed = sorted(rows - results.coverage.rows.keys())
    console.print(f"rows of the table reached: {len(rows) - len(missed)} of {len(rows)}")
    for name in missed:
        console.print(f"  not reached: {name}")
    rate = results.done * 60 / seconds
    console.print(
        f"{results.done} seeds, {rate:.0f} a minute; the longest lasted {results.longest_s:.0f} s of its own time"
    )
    for result in sorted(results.failed, key=lambda each: each.seed):
        console.out(f"FAILED seed {result.seed}: {result.violations[0]}")
    if not results.failed:
        console.print("every promise was kept", style="bold green")


if __name__ == "__main__":
    main()
