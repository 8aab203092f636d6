"""`python -m tests.fuzz`: sends much bad input to the real processes."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import structlog
from rich.console import Console

from bench.progress import Steps, shown
from tests.fuzz.report import show
from tests.fuzz.run import Result, parts, run

REQUESTS_MAX = 10_000_000
INTERRUPTED = 130


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Sends bad input to a stack of its own."
    )
    parser.add_argument("--requests", type=int, default=50_000, help="how many, about (50000)")
    names = [part.name for part in parts({})]
    parser.add_argument(
        "--only", choices=names, action="append", default=[], help="this part alone; may be repeated"
    )
    given = parser.parse_args()
    if not 100 <= given.requests <= REQUESTS_MAX:
        parser.error(f"--requests: from 100 to {REQUESTS_MAX}")
    return given


async def _until_stopped(folder: Path, given: argparse.Namespace, seed: int, steps: Steps) -> Result:
    """Run it. asyncio handles Ctrl-C; SIGTERM stops everything in the same way."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(folder, given.requests, seed, steps, given.only)


def main() -> int:
    given = arguments()
    seed = int(os.environ.get("HOLDFAST_SEED") or random.randrange(2**32))
    console = Console()
    console.print(f"HOLDFAST_SEED={seed}", markup=False, highlight=False)
    # The audit calls Stripe, and each call would log a line here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    folder = Path(tempfile.mkdtemp(prefix="holdfast-fuzz-"))
    try:
        with shown("fuzz") as steps:
            result = asyncio.run(_until_stopped(folder, given, seed, steps))
    except (KeyboardInterrupt, asyncio.CancelledError):
        shutil.rmtree(folder, ignore_errors=True)
        console.print("fuzz: interrupted, everything was stopped")
        return INTERRUPTED
    show(result, console)
    if result.tally.findings:
        console.print(f"logs: {folder / 'logs'}", markup=False, highlight=False)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
