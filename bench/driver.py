"""The load: clients that buy one seat after the other for a slice of time, and what that has cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import aiohttp

from bench.clients import Client, Sale
from bench.cpu import Usage, difference
from bench.errors import BenchError
from bench.stage import Stage

# A slice is given up after this many clients have failed; one failure is enough for the run to count as failed.
FAILURES_MAX = 20


@dataclass(frozen=True)
class Slice:
    """What `concurrency` clients did in `seconds`, from the first request to the last notification; `cpu` is
    counted until no work was left."""

    concurrency: int
    kind: str
    seconds: float
    cpu: Usage
    sales: Sequence[Sale]
    failures: Sequence[str]

    @property
    def per_second(self) -> float:
        return len(self.sales) / self.seconds


@dataclass
class _Tally:
    sales: list[Sale] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Driver:
    """Runs slices against `stage`; every sale is kept, to be compared with the database."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.slices: list[Slice] = []

    async def run(self, clients: Sequence[Client], orders: Sequence[bytes], kind: str, seconds: float) -> Slice:
        """Every client buys until `seconds` are over, and finishes what it has begun; `orders` in turn."""
        meter = self._stage.meter()
        before = meter.read()
        bought = await self.buy(clients, orders, kind, seconds)
        await self._stage.wait_until_idle()
        done = replace(bought, cpu=difference(before, meter.read()))
        self.slices[-1] = done
        return done

    async def buy(self, clients: Sequence[Client], orders: Sequence[bytes], kind: str, seconds: float) -> Slice:
        """As `run`, but only until the last notification: it does not wait for the stage, and counts no CPU."""
        numbers = count()
        tally = _Tally()
        started = time.perf_counter()

        async def work(client: Client) -> None:
            while time.perf_counter() - started < seconds and len(tally.failures) < FAILURES_MAX:
                try:
                    tally.sales.append(await client.buy(orders[next(numbers) % len(orders)]))
                except (BenchError, aiohttp.ClientError, OSError, TimeoutError) as error:
                    tally.failures.append(f"{type(error).__name__}: {error}")

        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(work(client))
        elapsed = time.perf_counter() - started
        done = Slice(len(clients), kind, elapsed, {}, tally.sales, tally.failures)
        self.slices.append(done)
        return done
