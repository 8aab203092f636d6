"""Whether a booking costs the same when there is more of everything: bookings that have ended, and processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from bench.audit import problems as audited
from bench.clients import connected, order
from bench.cpu import CHARGED, charged, total
from bench.driver import Driver, Slice
from bench.findings import Chart, Findings, Goal, Series, Table
from bench.finished import fill
from bench.measures import middle
from bench.progress import Steps
from bench.stage import WORK_SECONDS_MAX, Json, Stage, running
from ops.layout import Scale

SECONDS = 140.0
FINISHED = 1_000_000
PROCESSES = (1, 2, 4, 8)
CLIENTS = 64
EVENTS = 100
CAPACITY = 1_000_000
# The limits: the cost over that with no ended bookings, and over that with one of each process; each with its
# figure of the release before on the reference machine.
FINISHED_GROWTH, FINISHED_GROWTH_BEFORE = 1.10, 0.92
PROCESSES_GROWTH, PROCESSES_GROWTH_BEFORE = 1.15, 1.54
SHOWN = (*CHARGED, "sum")
# Long enough for every process to connect, to prepare its statements, and to meet every kind of message.
WARM_UP_SECONDS = 1.5
SLICE_SECONDS_MIN = 2.0
# How many seconds the start, filling, adding processes, the audit and the stop take.
AROUND_SECONDS = 95.0
FAILURES_SHOWN = 5


@dataclass(frozen=True)
class Setup:
    """A running stack, and the events that are sold there."""

    stage: Stage
    name: str
    events: Sequence[Json]


@dataclass(frozen=True)
class SetupSlice:
    """One slice at a setup, with `processes` of each kind."""

    setup: str
    processes: int
    warm_up: Slice
    slice: Slice


@dataclass(frozen=True)
class Cell:
    """All slices at one setup with the same number of processes."""

    setup: str
    processes: int
    slices: Sequence[Slice]

    @property
    def sales(self) -> int:
        return sum(len(slice.sales) for slice in self.slices)

    @property
    def cpu(self) -> dict[str, float]:
        """CPU of one booking in ms, by kind of process."""
        spent = total([slice.cpu for slice in self.slices])
        return {name: seconds / self.sales * 1000 for name, seconds in spent.items()} if self.sales else {}

    def by_kind(self, name: str) -> float:
        """CPU of one booking in ms at one kind of process, or their `sum`."""
        return (self.ms or 0.0) if name == "sum" else self.cpu.get(name, 0.0)

    @property
    def ms(self) -> float | None:
        """CPU of one booking in ms; None if none was sold."""
        return charged(self.cpu) if self.sales else None


async def run(seconds: float, steps: Steps) -> Findings:
    slice_seconds = max(
        (seconds - AROUND_SECONDS) / (2 * (len(PROCESSES) + 1)) - WARM_UP_SECONDS, SLICE_SECONDS_MIN
    )
    steps.begin("starting Holdfast twice", 0.06)
    async with running() as small, running() as large:
        finished_before = datetime.now(UTC)
        few = Setup(small, "none finished", await small.events(EVENTS, CAPACITY, "Evening"))
        many = Setup(large, f"{FINISHED:,} finished", await large.events(EVENTS, CAPACITY, "Evening"))
        steps.begin(f"writing {FINISHED:,} finished bookings", 0.35)
        await large.stop_actors()
        await fill(large.stack.booking_database_url, large.stack.payment_database_url, many.events, FINISHED)
        # There and back again, so that all other changes on the machine affect all setups alike.
        there = [(few, 1), *((many, number) for number in PROCESSES)]
        measured: list[SetupSlice] = []
        for setup, number in [*there, *reversed(there)]:
            steps.begin(f"{setup.name}, {number} of each process", 0.55 / len(there) / 2)
            await setup.stage.stack.resize(Scale(number, number, number))
            measured.append(await _slice(setup, number, slice_seconds, f"{len(measured)}"))
        steps.begin("comparing with the databases")
        wrong = [problem for setup in (few, many) for problem in await _problems(setup, measured, finished_before)]
        steps.begin("stopping")
    return _findings(cells(measured), wrong)


async def _slice(setup: Setup, processes: int, seconds: float, number: str) -> SetupSlice:
    async with _anew(setup.stage) as stage, connected(stage, CLIENTS, f"growth-{number}") as clients:
        driver = Driver(stage)
        orders = [order(event["id"]) for event in setup.events]
        warm_up = await driver.run(clients, orders, setup.name, WARM_UP_SECONDS)
        return SetupSlice(setup.name, processes, warm_up, await driver.run(clients, orders, setup.name, seconds))


@asynccontextmanager
async def _anew(stage: Stage) -> AsyncIterator[Stage]:
    """`stage` with new connections, which spread over the gateways that run now."""
    timeout = aiohttp.ClientTimeout(total=WORK_SECONDS_MAX)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        yield Stage(stage.stack, session, stage.redis)


async def _problems(setup: Setup, measured: Sequence[SetupSlice], since: datetime) -> list[str]:
    slices = [slice for each in measured if each.setup == setup.name for slice in (each.warm_up, each.slice)]
    failures = [failure for slice in slices for failure in slice.failures]
    sold = [sale.booking_id for slice in slices for sale in slice.sales]
    return [
        *(f"{setup.name}: a request failed: {failure}" for failure in failures[:FAILURES_SHOWN]),
        *(
            f"{setup.name}: {name} has {count} entries"
            for name, count in (await setup.stage.dead_letters()).items()
        ),
        *await audited(setup.stage.stack.booking_database_url, sold, {}, since),
    ]


def cells(measured: Sequence[SetupSlice]) -> list[Cell]:
    """Slices of one setup with the same number of processes belong together; in the order of their first slices."""
    slices: dict[tuple[str, int], list[Slice]] = {}
    for each in measured:
        slices.setdefault((each.setup, each.processes), []).append(each.slice)
    return [Cell(setup, processes, found) for (setup, processes), found in slices.items()]


def _findings(found: Sequence[Cell], wrong: Sequence[str]) -> Findings:
    base, one, *more = found
    scaled = (one, *more)
    worst = max(more, key=lambda cell: cell.ms or 0.0)
    return Findings(
        figures={"cells": [_figures(cell) for cell in found], "finished": FINISHED},
        tables=[
            Table(
                f"CPU of one confirmed booking in ms, {CLIENTS} at once",
                ("", "of each", "bookings", "a second", *SHOWN, "times"),
                [_row(base, None), _row(one, base), *(_row(cell, one) for cell in more)],
            )
        ],
        goals=_goals(ratio(one, base), worst.processes, ratio(worst, one)),
        charts=[
            Chart(
                f"CPU of one booking, {FINISHED:,} finished bookings in the database",
                "processes of each kind",
                "ms",
                [Series(name, [(float(cell.processes), cell.by_kind(name)) for cell in scaled]) for name in SHOWN],
            )
        ],
        problems=wrong,
    )


def _goals(finished: float | None, processes: int, scaled: float | None) -> list[Goal]:
    unit = "times with none"
    return [
        Goal(
            f"CPU of a booking with {FINISHED:,} finished",
            finished,
            FINISHED_GROWTH,
            False,
            unit,
            FINISHED_GROWTH_BEFORE,
        ),
        Goal(
            f"CPU of a booking with {processes} of each process",
            scaled,
            PROCESSES_GROWTH,
            False,
            "times with one",
            PROCESSES_GROWTH_BEFORE,
        ),
    ]


def ratio(cell: Cell, base: Cell) -> float | None:
    return cell.ms / base.ms if cell.ms and base.ms else None


def _figures(cell: Cell) -> dict[str, Any]:
    return {
        "setup": cell.setup,
        "processes": cell.processes,
        "sales": cell.sales,
        "per_second": middle([slice.per_second for slice in cell.slices]),
        "cpu_ms": cell.cpu,
        "cpu_sum_ms": cell.ms,
    }


def _row(cell: Cell, base: Cell | None) -> tuple[str, ...]:
    growth = None if base is None else ratio(cell, base)
    return (
        cell.setup,
        str(cell.processes),
        str(cell.sales),
        f"{middle([slice.per_second for slice in cell.slices]) or 0:.0f}",
        *(f"{cell.by_kind(name):.2f}" for name in SHOWN),
        "–" if growth is None else f"{growth:.2f}",
    )
