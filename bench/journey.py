"""The whole way of a booking, from POST /bookings to the word on the socket, at several concurrencies.

Slices on a hundred events and on one hot event alternate, in the order A B B A, so that whatever else happens on
the machine befalls both alike.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.clients import Client, connected, order
from bench.driver import Driver, Slice
from bench.progress import Steps
from bench.raw import RawLoad, RawServer
from bench.raw import running as raw_running
from bench.stage import Stage

CONCURRENCIES = (1, 16, 64)
SPREAD, HOT = "spread", "hot"
SPREAD_EVENTS = 100
# More seats than can be sold in any run.
CAPACITY = 1_000_000
# Short enough that noise hits neighbours alike, long enough that a slice has some hundred bookings.
SLICE_SECONDS = 2.5
SLICE_SECONDS_MIN = 0.5
WARM_UP_SECONDS = 1.5
WARM_UP_CLIENTS = 16
# The part of a level that the raw server gets.
RAW_SHARE = 0.1


@dataclass(frozen=True)
class Journey:
    slices: Sequence[Slice]
    raw: Sequence[RawLoad]
    # Everything that was sold, also while warming up.
    sold: Sequence[str]


@dataclass(frozen=True)
class _Timetable:
    """How one concurrency's time is used: so many pairs of slices, and a slice of the raw server."""

    pairs: int
    slice_seconds: float
    raw_seconds: float

    @classmethod
    def of(cls, seconds: float) -> _Timetable:
        raw_seconds = max(seconds * RAW_SHARE, SLICE_SECONDS_MIN)
        left = seconds - raw_seconds
        pairs = max(2, round(left / (2 * SLICE_SECONDS)))
        return cls(pairs, max(left / (2 * pairs), SLICE_SECONDS_MIN), raw_seconds)


async def travel(stage: Stage, seconds: float, share: float, steps: Steps) -> Journey:
    """Takes about `seconds`, and `share` of the progress."""
    started = time.monotonic()
    steps.begin("making the events and opening the sockets")
    events = await stage.events(SPREAD_EVENTS + 1, CAPACITY, "Evening")
    hot, *spread = (order(event["id"]) for event in events)
    orders = {SPREAD: spread, HOT: [hot]}
    driver, warm_up = Driver(stage), Driver(stage)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-raw-") as folder:
        async with (
            raw_running(Path(folder), stage.session) as raw,
            connected(stage, max(CONCURRENCIES)) as clients,
        ):
            steps.begin("warming up", 0.0)
            for kind in (SPREAD, HOT):
                await warm_up.run(clients[:WARM_UP_CLIENTS], orders[kind], kind, WARM_UP_SECONDS / 2)
            left = seconds - (time.monotonic() - started)
            for concurrency in CONCURRENCIES:
                timetable = _Timetable.of(left / len(CONCURRENCIES))
                level = _Level(driver, raw, clients[:concurrency], orders, timetable)
                await level.run(share / len(CONCURRENCIES), steps)
    sold = [sale.booking_id for each in (warm_up, driver) for slice in each.slices for sale in slice.sales]
    return Journey([*warm_up_failures(warm_up), *driver.slices], raw.loads, sold)


def warm_up_failures(driver: Driver) -> list[Slice]:
    """Slices of the warm-up that must not be passed over: those with failures."""
    return [slice for slice in driver.slices if slice.failures]


@dataclass(frozen=True)
class _Level:
    """One concurrency: its clients, and what they do when."""

    driver: Driver
    raw: RawServer
    clients: Sequence[Client]
    orders: dict[str, list[bytes]]
    timetable: _Timetable

    async def run(self, share: float, steps: Steps) -> None:
        concurrency, timetable = len(self.clients), self.timetable
        step = share / (2 * timetable.pairs + 1)
        for pair in range(timetable.pairs):
            for kind in (SPREAD, HOT) if pair % 2 == 0 else (HOT, SPREAD):
                where = "one hot event" if kind == HOT else f"{SPREAD_EVENTS} events"
                steps.begin(f"{concurrency} at once on {where}", step)
                await self.driver.run(self.clients, self.orders[kind], kind, timetable.slice_seconds)
        # The yardstick does not grow with the level: always under the same load.
        steps.begin("the raw aiohttp server", step)
        await self.raw.load(self.orders[SPREAD], max(CONCURRENCIES), timetable.raw_seconds)
