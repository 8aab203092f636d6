"""`make chaos`: exits with 1 when a promise was broken, and prints which, with the seed and the faults."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import structlog
import uvloop
from rich.console import Console
from rich.markdown import Markdown

from ops.errors import StartError
from tests.chaos.display import display
from tests.chaos.report import Report
from tests.chaos.run import Run, chaos, fleet

INTERRUPTED = 130
# How many requests are sent while gateways replace one another, in a run of at least this many minutes. A shorter
# run sends fewer, in proportion.
ROLLED_REQUESTS, ROLLED_MINUTES = 100_000, 10.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Harms everything there is, and sees whether promises are kept."
    )
    parser.add_argument("--minutes", type=float, default=2.0, help="how long faults go on (2)")
    parser.add_argument("--seed", type=int, default=None, help="the plan comes from it alone; another each time")
    parser.add_argument("--rate", type=float, default=20.0, help="orders a second (20)")
    parser.add_argument("--report", type=Path, default=None, help="write it to this file, .md or .json")
    return parser.parse_args()


async def run(what: Run, folder: Path) -> Report:
    """Run it. asyncio handles Ctrl-C; SIGTERM stops everything in the same way."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with display() as shown:
        return await chaos(what, folder, shown)


def main() -> int:
    given = arguments()
    # Only this process' log lines, such as the audit's calls to Stripe, are dropped: the actors log to files.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    seed = random.randrange(2**32) if given.seed is None else given.seed
    console = Console(stderr=True)
    rolled = int(min(1.0, given.minutes / ROLLED_MINUTES) * ROLLED_REQUESTS)
    what = Run(seed, given.minutes * 60, given.rate, scale=fleet(seed), rolled_requests=rolled)
    counts = ", ".join(f"{count} {kind}" for kind, count in vars(what.scale).items())
    console.print(f"chaos: {given.minutes:g} min, SEED={seed}; {counts}", highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="holdfast-chaos-"))
    try:
        report = uvloop.run(run(what, folder))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print(
            f"chaos: interrupted, everything was stopped; the logs are in {folder}/logs",
            highlight=False,
            soft_wrap=True,
        )
        return INTERRUPTED
    except StartError as error:
        console.print(f"chaos: {error}", highlight=False, markup=False)
        return 1
    if given.report is not None:
        report.keep(given.report)
    if console.is_terminal:
        Console().print(Markdown(report.markdown()))
    else:
        sys.stdout.write(report.markdown() + "\n")
    if report.kept:
        shutil.rmtree(folder)
        return 0
    console.print(
        f"chaos: promises were broken, SEED={seed}; the logs are in {folder}/logs", highlight=False, soft_wrap=True
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
