"""Whether memory stays what it is: many bookings by customers who come and go, and the memory of each process.

Every customer has a token and a socket of its own, buys some seats and leaves, so that anything that a process
keeps for each customer, socket or booking shows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count

import aiohttp

from bench.audit import problems as audited
from bench.clients import Client, order
from bench.cpu import Usage, charged, difference
from bench.errors import BenchError
from bench.findings import Chart, Findings, Goal, Series, Table, cell
from bench.progress import Steps
from bench.stage import Stage, running
from bench.start import MIB, memory

# The longest time; the number of bookings mostly ends it earlier. With TIMES=0.1 it sells 20,000.
SECONDS = 1500.0
BOOKINGS = 200_000
# Up to this share of the bookings a process may still fill its bounded memories.
WARM_SHARE = 0.1
SAMPLES = 100
CUSTOMERS = 64
EACH_BUYS = 25
EVENTS = 100
CAPACITY = 1_000_000
FAILURES_MAX = 20
PER = 100_000
# How much an allocator varies by itself.
GROWTH_MAX_MB = 2.0
JUDGED = ("gateway", "booking", "payment")


@dataclass(frozen=True)
class Sample:
    """After `bookings`: memory of each process in MB, by name, and CPU of a booking since the last sample in ms."""

    bookings: int
    resident: Mapping[str, float]
    proportional: Mapping[str, float]
    cpu_ms: float


class Course:
    """What has happened so far of `wanted` bookings; it ends at `until` (monotonic) at the latest."""

    def __init__(self, wanted: int, until: float) -> None:
        self.wanted = wanted
        self.until = until
        self.sold: list[str] = []
        self.failures: list[str] = []
        self.samples: list[Sample] = []

    @property
    def over(self) -> bool:
        failed = len(self.failures) >= FAILURES_MAX
        return failed or len(self.sold) >= self.wanted or time.monotonic() > self.until

    @property
    def sample_due(self) -> bool:
        return len(self.sold) >= self.wanted * (len(self.samples) + 1) // SAMPLES


async def run(seconds: float, steps: Steps) -> Findings:
    steps.begin("starting Holdfast", 0.02)
    async with running() as stage:
        orders = [order(event["id"]) for event in await stage.events(EVENTS, CAPACITY, "Evening")]
        started = time.monotonic()
        course = Course(round(BOOKINGS * seconds / SECONDS), started + seconds)
        steps.begin(f"{course.wanted:,} bookings", 0.95)
        await _soak(stage, orders, course, steps)
        took = time.monotonic() - started
        steps.begin("comparing with the database")
        await stage.wait_until_idle()
        wrong = [f"a request failed: {failure}" for failure in course.failures]
        wrong += [f"{name} has {count} entries" for name, count in (await stage.dead_letters()).items()]
        wrong += await audited(stage.stack.booking_database_url, course.sold, {})
        steps.begin("stopping")
    return findings(course, took, wrong)


async def _soak(stage: Stage, orders: Sequence[bytes], course: Course, steps: Steps) -> None:
    names, sales = count(1), count()
    meter = stage.meter()
    before = meter.read()

    def sample() -> None:
        nonlocal before
        now, bookings = meter.read(), len(course.sold)
        new = bookings - (course.samples[-1].bookings if course.samples else 0)
        course.samples.append(_sample(stage, bookings, difference(before, now), new))
        before = now
        steps.part(bookings / course.wanted)

    async def customer(client: Client) -> None:
        try:
            await client.connect()
            for _ in range(EACH_BUYS):
                if course.over:
                    break
                course.sold.append((await client.buy(orders[next(sales) % len(orders)])).booking_id)
                if course.sample_due:
                    sample()
        except (BenchError, aiohttp.ClientError, OSError, TimeoutError) as error:
            course.failures.append(f"{type(error).__name__}: {error}")
        finally:
            await client.close()

    async def customers() -> None:
        while not course.over:
            await customer(Client(stage, f"soak-{next(names)}"))

    async with asyncio.TaskGroup() as group:
        for _ in range(CUSTOMERS):
            group.create_task(customers())


def _sample(stage: Stage, bookings: int, cpu: Usage, new: int) -> Sample:
    found = {name: memory(pid) for name, pid in stage.pids().items()}
    return Sample(
        bookings,
        {name: resident / MIB for name, (resident, _) in found.items()},
        {name: (resident if share is None else share) / MIB for name, (resident, share) in found.items()},
        charged(cpu) / max(new, 1) * 1000,
    )


# --- What was found -----------------------------------------------------------------------------------------


def growth(samples: Sequence[Sample], name: str, wanted: int) -> float | None:
    """MB of resident memory for each PER bookings of the process `name`, by least squares over the samples after
    the first bookings; None with fewer than three."""
    points = [(each.bookings, each.resident[name]) for each in samples if each.bookings >= wanted * WARM_SHARE]
    if len(points) < 3:
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return PER * sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def findings(course: Course, seconds: float, wrong: Sequence[str]) -> Findings:
    samples, wanted = course.samples, course.wanted
    names = list(samples[-1].resident) if samples else []
    grown = {name: growth(samples, name, wanted) for name in names}
    return Findings(
        figures={
            "bookings": len(course.sold),
            "seconds": seconds,
            "growth_mb": grown,
            "samples": [asdict(each) for each in samples],
        },
        tables=[_table(samples, grown, len(course.sold), seconds)] if samples else [],
        goals=[
            Goal(
                f"soak: {name} grows in {PER:,} bookings",
                grown[name],
                GROWTH_MAX_MB,
                False,
                "MB",
            )
            for name in names
            if name.partition("-")[0] in JUDGED
        ],
        charts=[
            Chart(
                "Resident memory over a soak",
                "bookings",
                "MB",
                [
                    Series(name, [(float(each.bookings), each.resident[name]) for each in samples])
                    for name in names
                    if name.partition("-")[0] in JUDGED
                ],
            )
        ],
        problems=wrong,
        notes=[] if len(course.sold) >= wanted else [f"{len(course.sold):,} of {wanted:,} bookings in its time"],
    )


def _table(samples: Sequence[Sample], grown: Mapping[str, float | None], bookings: int, seconds: float) -> Table:
    at = [samples[min(round(share * len(samples)), len(samples) - 1)] for share in (0.0, WARM_SHARE, 0.5, 1.0)]
    rows = [
        (
            name,
            *(cell(each.resident[name]) for each in at),
            cell(at[-1].proportional[name]),
            "–" if growth is None else f"{growth:+.2f}",
        )
        for name, growth in grown.items()
    ]
    rows.append(("CPU of a booking, ms", *(cell(each.cpu_ms, 2) for each in at), "", ""))
    return Table(
        f"{bookings:,} bookings in {seconds:,.0f} s: resident memory in MB after so many",
        ("", *(f"{each.bookings:,}" for each in at), "proportional", f"in {PER:,} more"),
        rows,
    )
