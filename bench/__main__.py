"""`python -m bench`: measures the real processes. The JSON goes to stdout, everything for people to stderr."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

import uvloop
from rich.console import Console

from bench.errors import BenchError
from bench.progress import shown
from bench.report import Report
from bench.run import PHASES, Plan, measure
from ops.errors import StartError

SECONDS_MIN = 30
ENTRIES_MAX = 1_000_000
INTERRUPTED = 130


def arguments() -> Plan:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures the real processes of Holdfast.")
    parser.add_argument("--seconds", type=float, default=60, help=f"all of it, at least {SECONDS_MIN} (60)")
    parser.add_argument("--entries", type=int, default=50_000, help="what one drain begins with (50000)")
    parser.add_argument("--only", choices=PHASES, action="append", help="measure this alone; may be repeated")
    given = parser.parse_args()
    if given.seconds < SECONDS_MIN:
        parser.error(f"--seconds: nothing can be measured in less than {SECONDS_MIN}")
    if not 1 <= given.entries <= ENTRIES_MAX:
        parser.error(f"--entries: from 1 to {ENTRIES_MAX}")
    return Plan(given.seconds, given.entries, tuple(given.only or PHASES))


async def run(plan: Plan) -> Report:
    """Ctrl-C is handled by asyncio; a SIGTERM stops everything in the same way."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with shown() as steps:
        return await measure(plan, steps)


def main() -> int:
    plan = arguments()
    console = Console(stderr=True)
    try:
        report = uvloop.run(run(plan))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("bench: interrupted, everything was stopped")
        return INTERRUPTED
    except (BenchError, StartError) as error:
        console.print(f"bench: {error}", highlight=False, markup=False)
        return 1
    sys.stdout.write(report.json().decode() + "\n")
    sys.stdout.flush()
    report.keep()
    report.show(console)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
