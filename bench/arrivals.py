"""An open loop: customers come at their times, whether or not the customers before them have been served.

A closed loop waits for an answer before it sends the next request, so it sends less to a server just while that
stalls, and counts the worst answers once instead of often (coordinated omission). Here every latency counts from
the time at which the customer was to come: the wait for a busy driver or a free client is part of the figure.
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


@dataclass(frozen=True, slots=True)
class Served:
    """A customer who was to come at `due` (Unix time), and for whom a client was free only `late` seconds after it.
    These seconds are part of the sale's `payable`."""

    due: float
    late: float
    sale: Sale


@dataclass(frozen=True)
class Arrived:
    """What happened in `seconds`, from the first arrival to the last notification; `cpu` is counted until no work
    was left. `lag`: samples of how late the driver's loop was, in seconds."""

    seconds: float
    cpu: Usage
    served: Sequence[Served]
    failures: Sequence[str]
    lag: Sequence[float]

    @property
    def per_second(self) -> float:
        return len(self.served) / self.seconds

    @property
    def sales(self) -> list[Sale]:
        return [each.sale for each in self.served]


def schedule(per_second: float, seconds: float, seed: int = SEED) -> Iterator[float]:
    """When independent customers come: seconds from the start, in order (a Poisson process)."""
    gaps = random.Random(seed)
    at = gaps.expovariate(per_second)
    while at < seconds:
        yield at
        at += gaps.expovariate(per_second)


class Arrivals:
    """Lets customers come to `stage`; `clients` are those that are free."""

    def __init__(self, stage: Stage, clients: Sequence[Client], orders: Sequence[bytes]) -> None:
        self._stage = stage
        self._free = asyncio.Queue[Client]()
        for client in clients:
            self._free.put_nowait(client)
        self._orders = deque(orders)
        # What is added to `time.perf_counter`, which measures, to get Unix time.
        self._epoch = time.time() - time.perf_counter()
        self._served: list[Served] = []
        self._failures: list[str] = []

    async def run(self, per_second: float, seconds: float) -> Arrived:
        """Until `seconds` are over, and every customer who has come by then is served."""
        self._served, self._failures = [], []
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
        await self._stage.wait_until_idle()
        cpu = difference(before, meter.read())
        return Arrived(elapsed, cpu, self._served, self._failures, lag.samples)

    async def _serve(self, due: float) -> None:
        client = await self._free.get()
        self._orders.rotate(-1)
        late = time.perf_counter() - due
        try:
            sale = await client.buy(self._orders[0])
        except (BenchError, aiohttp.ClientError, OSError, TimeoutError) as error:
            self._failures.append(f"{type(error).__name__}: {error}")
        else:
            counted = Sale(sale.booking_id, sale.payable + late, sale.notified)
            self._served.append(Served(due + self._epoch, late, counted))
        finally:
            self._free.put_nowait(client)
