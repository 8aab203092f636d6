"""`python -m tests.races`: all rounds, with servers of their own. What is printed is for people."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ops.errors import StartError
from ops.migrate import migrate
from ops.postgres import embedded_postgres
from ops.redis import embedded_redis
from tests.races.fleet import open_fleet, quiet
from tests.races.processes import open_processes
from tests.races.run import Result, RoundFailed, play

LINES = 20
# A round with real processes takes this many times longer, so this many times fewer are played.
OUTSIDE = 50
INTERRUPTED = 130

Played = Callable[[Result], None]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.races", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first round")
    parser.add_argument("--inside", action="store_true", help="only actors inside this process")
    parser.add_argument("--processes", action="store_true", help="only real processes")
    parser.add_argument("--seed", default=os.environ.get("HOLDFAST_SEED") or str(random.randrange(2**32)))
    return parser.parse_args()


@contextmanager
def shown(rounds: int) -> Iterator[Played]:
    """A progress bar on a terminal, LINES lines elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        every = max(1, rounds // LINES)

        def line(result: Result) -> None:
            if result.rounds % every == 0:
                granted, kills = result.totals["granted"], result.killed.total()
                sys.stderr.write(f"races: {result.rounds}/{rounds} rounds, {granted} granted, {kills} kills\n")

        yield line
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=rounds)

        def move(result: Result) -> None:
            text = f"{result.totals['granted']} granted, {result.killed.total()} kills"
            progress.update(task, completed=result.rounds, description=text)

        yield move


async def inside(seed: str, numbers: range) -> Result:
    """Play rounds with actors inside this process."""
    async with embedded_redis(persist=False) as redis, embedded_postgres() as postgres:
        booking, payment = postgres.url("booking"), postgres.url("payment")
        await migrate(booking, payment)
        async with open_fleet(redis.url, booking, payment) as fleet:
            with shown(len(numbers)) as played:
                return await play(seed, numbers, fleet, played)


async def outside(seed: str, numbers: range) -> Result:
    """Play rounds with real processes."""
    with tempfile.TemporaryDirectory(prefix="holdfast-races-") as folder:
        async with open_processes(Path(folder)) as fleet:
            with shown(len(numbers)) as played:
                return await play(seed, numbers, fleet, played)


def main() -> int:
    given = arguments()
    sys.stderr.write(f"races: seed {given.seed}\n")
    few = given.rounds if given.processes else max(1, given.rounds // OUTSIDE)
    with quiet():
        try:
            if not given.processes:
                show("inside", asyncio.run(inside(given.seed, range(given.first, given.first + given.rounds))))
            if not given.inside:
                show("processes", asyncio.run(outside(given.seed, range(given.first, given.first + few))))
        except RoundFailed as failure:
            sys.stderr.write(f"races: {failure}\n")
            return 1
        except StartError as error:
            sys.stderr.write(f"races: {error}\n")
            return 2
        except KeyboardInterrupt:
            return INTERRUPTED
    return 0


def show(name: str, result: Result) -> None:
    sys.stdout.write("\n".join([f"{name}:", *(f"  {line}" for line in result.lines())]) + "\n")


if __name__ == "__main__":
    sys.exit(main())
