"""Several stages that sell the same alternately: each has its slices, in an order in which none is always first.

Other changes on the machine affect all of them alike. While one is measured, the others are idle.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from bench.arrivals import Arrivals, Arrived
from bench.audit import Expected, problems
from bench.clients import Client, connected, order
from bench.driver import Driver, Slice
from bench.figures import HOT, SPREAD, ways
from bench.measures import middle
from bench.stage import Stage
from ops.migrate import migrate

SPREAD_EVENTS = 100
# More seats than any run can sell.
CAPACITY = 1_000_000
WARM_UP_SECONDS = 1.0


class Times(NamedTuple):
    """How many times as much one side takes as another; of bookings a second, how many times as few it makes."""

    cpu: float | None
    per_second: float | None
    payable_p50: float | None
    payable_p99: float | None
    notified_p99: float | None


class Side:
    """A stage with its clients, its events and the figures that were measured of it."""

    def __init__(self, name: str, stage: Stage, clients: Sequence[Client], database_url: str) -> None:
        self.name = name
        self.stage = stage
        self.clients = clients
        self.database_url = database_url
        self.driver, self.warm_up = Driver(stage), Driver(stage)
        # The customers of the open loops.
        self.arrived: list[Arrived] = []
        # What is sold, by kind: a hundred events in turn, or one hot one.
        self.orders: dict[str, list[bytes]] = {}
        # By event: how many bookings of each status there must be in the end, beside those sold in slices.
        self.expected: Expected = {}

    async def prepare(self) -> None:
        """Make its events, and let each kind of message occur once."""
        events = await self.stage.events(SPREAD_EVENTS + 1, CAPACITY, "Evening")
        hot, *spread = (order(event["id"]) for event in events)
        self.orders = {SPREAD: spread, HOT: [hot]}
        for kind in self.orders:
            await self.warm_up.run(self.clients, self.orders[kind], kind, WARM_UP_SECONDS / 2)

    async def slice(self, kind: str, seconds: float, concurrency: int | None = None) -> Slice:
        """By all its clients, or by `concurrency` of them."""
        return await self.driver.run(self.clients[:concurrency], self.orders[kind], kind, seconds)

    async def arrivals(self, kind: str, per_second: float, seconds: float) -> Arrived:
        """Customers who come at that rate, whether or not those before them have been served."""
        arrived = await Arrivals(self.stage, self.clients, self.orders[kind]).run(per_second, seconds)
        self.arrived.append(arrived)
        return arrived

    def slices(self, kind: str, concurrency: int) -> list[Slice]:
        return [each for each in self.driver.slices if (each.kind, each.concurrency) == (kind, concurrency)]

    async def problems(self) -> list[str]:
        """Why its figures cannot be believed."""
        slices: list[Slice | Arrived] = [*self.warm_up.slices, *self.driver.slices, *self.arrived]
        sold = [sale.booking_id for each in slices for sale in each.sales]
        wrong = [f"a request failed: {failure}" for each in slices for failure in each.failures]
        if type(self.stage) is Stage:
            wrong += [f"{name} has {count} entries" for name, count in (await self.stage.dead_letters()).items()]
        # What is read here may be younger than the release before.
        await migrate(self.database_url, None)
        wrong += await problems(self.database_url, sold, self.expected)
        return [f"{self.name}: {text}" for text in wrong]


@asynccontextmanager
async def prepared(name: str, stage: Stage, clients: int, database_url: str | None = None) -> AsyncIterator[Side]:
    """A side with open sockets, ready for its slices. `database_url` is that of its bookings."""
    async with connected(stage, clients) as connections:
        side = Side(name, stage, connections, database_url or stage.stack.booking_database_url)
        await side.prepare()
        yield side


def alternated(names: Sequence[str], rounds: int) -> list[str]:
    """Each name once in each round, forth and back: A B B A A B …"""
    return [name for number in range(rounds) for name in (names if number % 2 == 0 else list(reversed(names)))]


def times(base: Sequence[Slice], other: Sequence[Slice]) -> Times:
    """The figures of `other` over those of `base`: medians over the slices, each compared with its neighbour."""
    pairs = [
        (theirs, ours)
        for one, two in zip(base, other, strict=True)
        for ours, theirs in zip(ways([one], None), ways([two], None), strict=False)
    ]

    def over(figure: str) -> float | None:
        found = [(getattr(theirs, figure), getattr(ours, figure)) for theirs, ours in pairs]
        return middle([one / two for one, two in found if one and two])

    slower = over("per_second")
    return Times(
        over("cpu_sum"), slower and 1 / slower, over("payable_p50"), over("payable_p99"), over("notified_p99")
    )
