"""Play many seeds in several worker processes with one Postgres."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, chdir
from dataclasses import dataclass, field
from multiprocessing import Pipe, get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncpg

from ops.postgres import Postgres
from tests.servers import make_migrated
from tests.simulation.postgres import TABLES
from tests.simulation.story import Coverage
from tests.simulation.worker import Task, work

STEPS = 250
ROOT = Path(__file__).resolve().parents[2]
# Workers are forked from a process that has imported all they need, because importing takes seconds.
WORKERS = get_context("forkserver")
WORKERS.set_forkserver_preload(["tests.simulation.worker"])


@dataclass(frozen=True)
class Result:
    """The result of one seed."""

    seed: int
    violations: list[str]
    digest: str
    story: str
    coverage: dict[str, dict[str, int]]
    virtual_s: float
    seconds: float


@dataclass
class Results:
    """The results of all seeds, in the order in which they ended."""

    done: int = 0
    failed: list[Result] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)
    longest_s: float = 0.0

    def add(self, result: Result) -> None:
        self.done += 1
        self.coverage.add(result.coverage)
        self.longest_s = max(self.longest_s, result.virtual_s)
        if result.violations:
            self.failed.append(result)

    @property
    def first(self) -> Result | None:
        return min(self.failed, key=lambda each: each.seed, default=None)


@dataclass
class Runner:
    """`urls`: the databases of each worker, booking and payment."""

    urls: list[tuple[str, str]]
    steps: int = STEPS
    planted: str = ""
    # Whether results have stories also where all promises were kept.
    all_stories: bool = False

    async def play(self, seeds: Iterable[int], seen: Callable[[Result], object]) -> None:
        """Play all seeds. `seen` gets each result; when it returns False, the rest is not played."""
        remaining = iter(seeds)
        async with asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[None]] = []

            def result(each: Result) -> None:
                if seen(each) is False:
                    for task in tasks:
                        task.cancel()

            tasks += [group.create_task(self._work(urls, remaining, result)) for urls in self.urls]

    async def _work(
        self, urls: tuple[str, str], remaining: Iterator[int], result: Callable[[Result], object]
    ) -> None:
        async with self._worker(urls) as play_seed:
            for seed in remaining:
                result(Result(**await play_seed(seed)))

    @asynccontextmanager
    async def _worker(self, urls: tuple[str, str]) -> AsyncIterator[Callable[[int], Any]]:
        here, there = Pipe()
        task = Task(*urls, self.steps, self.planted, self.all_stories)
        # The order of a set of strings must also be the same each time.
        with patch.dict(os.environ, PYTHONHASHSEED="0"), chdir(ROOT):
            process = WORKERS.Process(target=work, args=(there, task), daemon=True)
            process.start()
        there.close()

        async def play_seed(seed: int) -> Any:
            here.send(seed)
            await asyncio.to_thread(lambda: wait([here, process.sentinel]))
            if not here.poll():
                raise RuntimeError(f"the worker died with seed {seed}")
            return here.recv()

        try:
            yield play_seed
            here.close()
            await asyncio.to_thread(process.join)
        finally:
            process.kill()
            process.join()


async def make_databases(server: Postgres, workers: int) -> list[tuple[str, str]]:
    """Make migrated databases for this many workers. Returns their URLs, booking and payment."""
    urls = []
    for number in range(1, workers + 1):
        booking, payment = [await _make(server, app, number) for app in ("booking", "payment")]
        urls.append((booking, payment))
    return urls


async def _make(server: Postgres, app: str, number: int) -> str:
    url = await make_migrated(server, app, f"simulated_{app}_{number}")
    connection = await asyncpg.connect(url)
    try:
        # The order of rows must not depend on when Postgres removed old ones.
        for table in TABLES[app].split(", "):
            await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    finally:
        await connection.close()
    return url
