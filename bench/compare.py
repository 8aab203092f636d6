"""Holdfast beside the design that most teams would write (`bench/reference/`): the same journey, in one run.

Slices of the two alternate on the same Postgres and Redis, first on spread events, then on one hot event; after
that many clients want few seats at once. While one of the two is measured, the other is idle.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from statistics import median
from uuid import UUID

import aiohttp

from bench import stage as stages
from bench.clients import JSON, Client, connected, order
from bench.errors import BenchError
from bench.figures import HOT, SPREAD, Ways, ways
from bench.findings import Chart, Findings, Series, Table, cell
from bench.measures import middle, percentile
from bench.progress import Steps
from bench.reference.stage import beside
from bench.sides import SPREAD_EVENTS, Side, Times, alternated, times
from bench.stage import Stage

SECONDS = 45.0
# How many seconds starting both, warming up, the rushes, auditing and stopping take.
AROUND_SECONDS = 27.0
SLICE_SECONDS_MIN = 1.5
CONCURRENCY = 64
RUSH_CLIENTS, RUSH_SEATS = 500, 100
HOLDFAST, REFERENCE = "Holdfast", "reference"
ORDER = alternated((HOLDFAST, REFERENCE), 2)
POINTS = 50


@dataclass(frozen=True)
class Rush:
    """Clients that all want a seat at once: when each had its answer, in seconds after the start and ascending, and
    how many got which status."""

    answered: Sequence[float]
    statuses: Mapping[int, int]

    @property
    def seconds(self) -> float:
        return self.answered[-1]


class Contestant(Side):
    """A side that also sells in rushes."""

    def __init__(self, name: str, stage: Stage, clients: Sequence[Client], database_url: str) -> None:
        super().__init__(name, stage, clients, database_url)
        self.rushes: list[Rush] = []

    async def rush(self, number: int) -> None:
        (event,) = await self.stage.events(1, RUSH_SEATS, f"Rush {number}")
        self.rushes.append(await rush(self.stage, event["id"], f"rush-{self.name}-{number}"))
        await self.stage.wait_until_idle()
        # The reference keeps no booking for a client that was refused.
        refused = {"failed": RUSH_CLIENTS - RUSH_SEATS} if self.name == HOLDFAST else {}
        self.expected = {**self.expected, UUID(event["id"]): {"pending": RUSH_SEATS, **refused}}

    async def problems(self) -> list[str]:
        right = {201: RUSH_SEATS, 409: RUSH_CLIENTS - RUSH_SEATS}
        wrong = [f"a rush was answered with {each.statuses}" for each in self.rushes if each.statuses != right]
        return [*await super().problems(), *(f"{self.name}: {text}" for text in wrong)]


async def run(seconds: float, steps: Steps) -> Findings:
    steps.begin("starting both", 0.2)
    async with AsyncExitStack() as stack:
        holdfast = await stack.enter_async_context(stages.running())
        reference = await stack.enter_async_context(beside(holdfast))
        sides = {
            HOLDFAST: await _side(HOLDFAST, holdfast, holdfast.stack.booking_database_url, stack),
            REFERENCE: await _side(REFERENCE, reference, reference.database_url, stack),
        }
        length = max((seconds - AROUND_SECONDS) / (2 * len(ORDER)), SLICE_SECONDS_MIN)
        for kind in (SPREAD, HOT):
            for name in ORDER:
                steps.begin(f"{CONCURRENCY} at once, {kind}: {name}", 0.6 / (2 * len(ORDER)))
                await sides[name].slice(kind, length)
        for number, name in enumerate(ORDER, 1):
            steps.begin(f"{RUSH_CLIENTS} clients for {RUSH_SEATS} seats: {name}", 0.2 / len(ORDER))
            await sides[name].rush(number)
        steps.begin("comparing with the databases")
        wrong = [text for side in sides.values() for text in await side.problems()]
        steps.begin("stopping both")
    return _findings(sides, wrong)


async def _side(name: str, stage: Stage, database_url: str, stack: AsyncExitStack) -> Contestant:
    clients = await stack.enter_async_context(connected(stage, CONCURRENCY))
    side = Contestant(name, stage, clients, database_url)
    await side.prepare()
    return side


async def rush(stage: Stage, event_id: str, name: str) -> Rush:
    """All clients request a seat of the event at the same time, once."""
    body, url = order(event_id), f"{stage.gateway_url}/bookings"
    tokens = [stage.token(f"{name}-{number}") for number in range(RUSH_CLIENTS)]
    started = time.perf_counter()

    async def request(token: str) -> tuple[float, int]:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": name, **JSON}
        async with stage.session.post(url, data=body, headers=headers) as response:
            await response.read()
        return time.perf_counter() - started, response.status

    try:
        answers = await asyncio.gather(*(request(token) for token in tokens))
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise BenchError(f"a rush: {type(error).__name__}: {error}") from None
    return Rush(sorted(at for at, _ in answers), Counter(status for _, status in answers))


# --- What was found -----------------------------------------------------------------------------------------


def _findings(sides: Mapping[str, Contestant], wrong: Sequence[str]) -> Findings:
    found = {name: ways(side.driver.slices, None) for name, side in sides.items()}
    gain = {
        kind: times(*([each for each in side.driver.slices if each.kind == kind] for side in sides.values()))
        for kind in (SPREAD, HOT)
    }
    rushes = {name: side.rushes for name, side in sides.items()}
    return Findings(
        figures={
            "ways": {name: [asdict(each) for each in of] for name, of in found.items()},
            "reference_over_holdfast": {kind: each._asdict() for kind, each in gain.items()},
            "rush_seconds": {name: median(each.seconds for each in of) for name, of in rushes.items()},
            "rush_reference_over_holdfast": _rush_times(rushes),
        },
        tables=[_ways_table(found, gain), _rush_table(rushes)],
        charts=[_cpu_chart(found), _rush_chart(rushes)],
        problems=wrong,
    )


def _rush_times(rushes: Mapping[str, Sequence[Rush]]) -> float | None:
    pairs = zip(rushes[REFERENCE], rushes[HOLDFAST], strict=True)
    return middle([theirs.seconds / ours.seconds for theirs, ours in pairs])


def _ways_table(found: Mapping[str, Sequence[Ways]], gain: Mapping[str, Times]) -> Table:
    rows: list[tuple[str, ...]] = []
    for kind, many in gain.items():
        where = "one hot event" if kind == HOT else f"{SPREAD_EVENTS} events"
        for name, of in found.items():
            rows += [
                (
                    f"{where}: {name}",
                    f"{each.bookings:,}",
                    cell(each.per_second),
                    cell(each.payable_p50),
                    cell(each.payable_p99),
                    cell(each.notified_p50),
                    cell(each.notified_p99),
                    cell(each.cpu_sum, 2),
                )
                for each in of
                if each.kind == kind
            ]
        factors = (many.per_second, None, many.payable_p99, None, many.notified_p99, many.cpu)
        rows.append(("… Holdfast is better by", "", *("" if each is None else f"× {each:.1f}" for each in factors)))
    return Table(
        f"{CONCURRENCY} at once, Holdfast and a row for each request; latencies in ms, medians over slices",
        ("", "bookings", "a second", "payable p50", "p99", "paid → notified p50", "p99", "CPU ms"),
        rows,
    )


def _rush_table(rushes: Mapping[str, Sequence[Rush]]) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            name,
            cell(median(each.seconds for each in of), 2),
            *(cell(middle([percentile(each.answered, share) for each in of]), 2) for share in (0.5, 0.99)),
        )
        for name, of in rushes.items()
    ]
    many = _rush_times(rushes)
    rows.append(("… Holdfast is better by", "" if many is None else f"× {many:.1f}", "", ""))
    return Table(
        f"{RUSH_CLIENTS} clients at once for {RUSH_SEATS} seats: seconds, medians of {len(ORDER) // 2} rushes",
        ("", "all answered", "p50", "p99"),
        rows,
    )


def _cpu_chart(found: Mapping[str, Sequence[Ways]]) -> Chart:
    column = {SPREAD: 1.0, HOT: 2.0}
    return Chart(
        f"CPU of one confirmed booking at {CONCURRENCY}: Holdfast and a row for each request",
        f"1: {SPREAD_EVENTS} events, 2: one hot event",
        "ms",
        [Series(name, [(column[each.kind], each.cpu_sum or 0.0) for each in of]) for name, of in found.items()],
    )


def _rush_chart(rushes: Mapping[str, Sequence[Rush]]) -> Chart:
    return Chart(
        f"{RUSH_CLIENTS} clients at once for {RUSH_SEATS} seats",
        "seconds",
        "clients with an answer",
        [Series(name, _course(min(of, key=lambda each: each.seconds))) for name, of in rushes.items()],
    )


def _course(rush: Rush) -> list[tuple[float, float]]:
    step = max(len(rush.answered) // POINTS, 1)
    last = len(rush.answered) - 1
    return [(at, number + 1.0) for number, at in enumerate(rush.answered) if number % step == 0 or number == last]
