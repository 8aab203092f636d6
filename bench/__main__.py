"""`python -m bench`: measures the real processes. The JSON goes to stdout, all text for people to stderr."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

import uvloop
from rich.console import Console

from bench.progress import shown, stoppable
from bench.report import Report
from bench.run import PHASES, Plan, measure

TIMES_MIN, TIMES_MAX = 0.1, 100.0
INTERRUPTED = 130


def arguments(words: Sequence[str] | None = None) -> tuple[Plan, str | None]:
    """What to measure, and the name of the files with the results, if one is given."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures the real processes of Holdfast.")
    parser.add_argument("--times", type=float, default=1.0, help="every phase so many times as long (1)")
    parser.add_argument("--only", choices=tuple(PHASES), action="append", help="this phase alone; may be repeated")
    parser.add_argument("--name", help="what the files in bench/results/ are called (the time)")
    given = parser.parse_args(words)
    if not TIMES_MIN <= given.times <= TIMES_MAX:
        parser.error(f"--times: from {TIMES_MIN} to {TIMES_MAX:.0f}")
    if given.name is not None and not given.name.replace("-", "").isalnum():
        parser.error("--name: letters, digits and hyphens")
    return (Plan(tuple(given.only), given.times) if given.only else Plan(times=given.times)), given.name


async def run(plan: Plan) -> Report:
    with stoppable(), shown() as steps:
        return await measure(plan, steps)


def main() -> int:
    plan, name = arguments()
    console = Console(stderr=True)
    try:
        report = uvloop.run(run(plan))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("bench: interrupted, everything was stopped")
        return INTERRUPTED
    sys.stdout.write(report.json().decode() + "\n")
    sys.stdout.flush()
    report.show(console)
    kept = report.keep(name)
    console.print(f"\nkept as {kept}.json, .txt and .svg", highlight=False)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
