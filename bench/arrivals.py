"""An open loop: customers come at their times, whether or not those before them have been served.

A closed loop waits for an answer before it asks again, so a server that stalls is asked less just then, and its
worst answers are counted once instead of often (coordinated omission). Here every latency counts from when the
customer was to come: the wait for a busy driver or a free client is in the figure.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from bench.clients import Client, Sale
from bench.cpu import Usage, difference
from bench.driver import FAILURES_MAX
from bench.errors import BenchError
from bench.lag import Lag
from bench.stage import Stage

# The same arrivals in each run.
SEED = 1


@dataclass(frozen=True)
class Arrived:
    """What came in `seconds`, from the first arrival to the last notification; `cpu` goes on until nothing was left
    to do. `late`: by how much each customer was served by the driver after their time, in seconds; it is part of
    their sale's `payable`. `lag`: how late the driver's loop was, looked at all along."""

    per_second: float
    seconds: float
    cpu: Usage
    sales: Sequence[Sale]
    failures: Sequence[str]
    late: Sequence[float]
    lag: Sequence[float]


def schedule(per_second: float, seconds: float, seed: int = SEED) -> Iterator[float]:
    """When customers come who know nothing of each other: seconds from the start, in order (a Poisson process)."""
    gaps = random.Random(seed)
    at = gaps.expovariate(per_second)
    while at < seconds:
        yield at
        at += gaps.expovariate(per_second)


class Arrivals:
    """Lets customers come to `stage`; `clients` are those who are free."""

    def __init__(self, stage: Stage, clients: Sequence[Client], orders: Sequence[bytes]) -> None:
        self._stage = stage
        self._free = asyncio.Queue[Client]()
        for client in clients:
            self._free.put_nowait(client)
        self._orders = deque(orders)
        self._sales: list[Sale] = []
        self._failures: list[str] = []
        self._late: list[float] = []

    async def run(self, per_second: float, seconds: float) -> Arrived:
        """Until `seconds` are over, and everybody who has come by then is served."""
        self._sales, self._failures, self._late = [], [], []
        meter, lag = self._stage.meter(), Lag()
        watching = asyncio.create_task(lag.watch(), name="lag")
        before = meter.read()
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for at in schedule(per_second, seconds):
                if len(self._failures) >= FAILURES_MAX:
                    break
                await asyncio.sleep(max(started + at - time.perf_counter(), 0.0))
                group.create_task(self._serve(started + at))
        elapsed = time.perf_counter() - started
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await self._stage.settled()
        cpu = difference(before, meter.read())
        return Arrived(
            len(self._sales) / elapsed, elapsed, cpu, self._sales, self._failures, self._late, lag.samples
        )

    async def _serve(self, due: float) -> None:
        client = await self._free.get()
        self._orders.rotate(-1)
        late = time.perf_counter() - due
        try:
            sale = await client.buy(self._orders[0])
        except (BenchError, aiohttp.ClientError, OSError, TimeoutError) as error:
            self._failures.append(f"{type(error).__name__}: {error}")
        else:
            self._late.append(late)
            self._sales.append(Sale(sale.booking_id, sale.payable + late, sale.notified))
        finally:
            self._free.put_nowait(client)
