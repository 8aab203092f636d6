"""The open loop: when customers come, and what counts as their latency."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import cast

import pytest

from bench.arrivals import Arrivals, schedule
from bench.clients import Client, Sale
from bench.errors import BenchError
from bench.latency import NOTIFIED, Measured, cpu_ms, distribution, milliseconds, summary
from bench.stage import Stage


def test_customers_come_at_the_rate_and_at_the_same_times_in_each_run() -> None:
    """A seed is one schedule: in order, within the time, about as many as the rate says."""
    found = list(schedule(100, 20, seed=7))
    assert found == list(schedule(100, 20, seed=7))
    assert found != list(schedule(100, 20, seed=8))
    assert all(before <= after for before, after in pairwise(found))
    assert found[0] > 0
    assert found[-1] < 20
    assert len(found) == pytest.approx(2000, rel=0.1)


class Meter:
    def read(self) -> dict[str, float]:
        return {"booking": 1.0}


class Quiet:
    """A stage on which no work is left."""

    def meter(self) -> Meter:
        return Meter()

    async def wait_until_idle(self) -> None:
        return None


class Slow:
    """A client that takes 20 ms for each customer, and fails for the last one."""

    def __init__(self, customers: int) -> None:
        self.bodies: list[bytes] = []
        self._customers = customers
        self._come = asyncio.Event()

    async def buy(self, body: bytes) -> Sale:
        self.bodies.append(body)
        if len(self.bodies) == self._customers:
            raise BenchError("sold out")
        # More customers come in this time: they wait for this client.
        async with asyncio.timeout(5):
            await asyncio.sleep(0.02)
        return Sale(str(len(self.bodies)), 0.0, 0.5)


async def test_waiting_for_a_free_client_counts() -> None:
    """A customer who waits for a busy client has waited; a failure is reported and is no sale; orders alternate."""
    customers = len(list(schedule(200, 0.1)))
    client = Slow(customers)
    arrivals = Arrivals(cast(Stage, Quiet()), [cast(Client, client)], [b"a", b"b"])
    arrived = await arrivals.run(200, 0.1)
    assert len(arrived.sales) == customers - 1
    assert arrived.failures == ["BenchError: sold out"]
    assert all(each.sale.payable == each.late for each in arrived.served)
    assert max(each.late for each in arrived.served) > 0
    assert all(before != after for before, after in pairwise(client.bodies))
    found = milliseconds(Measured(arrived, {"one hop": [0.1]}))
    assert found[NOTIFIED] == [500.0] * (customers - 1)
    assert found["  one hop"] == [100.0]


def test_summary_has_every_share_or_nothing() -> None:
    """Each percentile is one of the samples, not a value between two."""
    samples = [float(number) for number in range(1, 101)]
    assert summary(samples) == {"p50": 50.0, "p90": 90.0, "p99": 99.0, "most": 100.0}
    assert summary([]) == {}
    assert distribution(samples)[98] == (99.0, 99.0)
    assert distribution([]) == []


def test_cpu_is_that_of_one_booking() -> None:
    """For each kind of process, and the sum of those that a booking is charged with, which excludes the driver."""
    found = cpu_ms({"booking": 1.0, "redis": 0.5, "driver": 3.0}, 10)
    assert found == {"booking": 100.0, "redis": 50.0, "driver": 300.0, "sum": 150.0}
    assert cpu_ms({"booking": 1.0}, 0) == {}
