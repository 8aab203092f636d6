"""What the parts can do by themselves, measured in the same run, so that Holdfast's figures can be stated as
ratios.

Redis by redis-py and hiredis, Postgres by asyncpg with the real tables, Stripe's SDK and bare aiohttp against the
stand-in, and a JSON POST to a bare aiohttp server. The rounds of all of them alternate.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

from bench.errors import BenchError
from bench.findings import Findings, Table, cell
from bench.parts import BATCH, HOT_CLIENTS, PIPELINE, Sample, http_part, postgres_part, redis_part
from bench.progress import Steps

SECONDS = 25.0
# How many seconds starting and stopping the parts takes.
AROUND_SECONDS = 7.0
ROUNDS = 3
ROUND_SECONDS_MIN = 0.2
TITLE = "What the parts can do alone: medians over rounds"


@dataclass(frozen=True)
class Rate:
    """How many a second, and CPU of each one in microseconds: of the client, and of the server."""

    per_second: float
    client_us: float
    server_us: float


@dataclass(frozen=True)
class Yardsticks:
    """Each by what it counts."""

    xadd: Rate
    xadd_pipelined: Rate
    read_acknowledged: Rate
    bookings_batched: Rate
    bookings_one_by_one: Rate
    stripe_sdk: Rate
    stripe_sdk_objects: Rate
    stripe_bare: Rate
    raw_post: Rate

    @classmethod
    def read(cls, figures: Mapping[str, Any]) -> Yardsticks:
        """From the findings of a run."""
        return cls(**{field.name: Rate(**figures[field.name]) for field in fields(cls)})


# The name of each in the table.
NAMES = {
    "xadd": "XADD, one by one",
    "xadd_pipelined": f"XADD, {PIPELINE} in a pipeline",
    "read_acknowledged": f"XREADGROUP, XACK and XDEL, {PIPELINE} at a time",
    "bookings_batched": f"bookings, {BATCH} in a transaction",
    "bookings_one_by_one": f"bookings, one in a transaction, {HOT_CLIENTS} clients, one hot row",
    "stripe_sdk": "intents by Stripe's SDK, raw requests",
    "stripe_sdk_objects": "intents by Stripe's SDK, resource objects",
    "stripe_bare": "intents by bare aiohttp",
    "raw_post": "JSON POST to bare aiohttp",
}


def ratios(yardsticks: Yardsticks, drained_per_second: float) -> dict[str, float]:
    """What one booking actor drains, over what its parts do alone."""
    return {
        f"of raw batches of {BATCH} bookings": drained_per_second / yardsticks.bookings_batched.per_second,
        "of one-booking transactions on one hot row": drained_per_second
        / yardsticks.bookings_one_by_one.per_second,
        f"of XADDs, {PIPELINE} in a pipeline": drained_per_second / yardsticks.xadd_pipelined.per_second,
        "of XADDs, one by one": drained_per_second / yardsticks.xadd.per_second,
    }


def rate(samples: Sequence[Sample]) -> Rate:
    """The median rate; CPU over all rounds together, because it is counted in clock ticks."""
    operations = sum(sample.operations for sample in samples)
    if not operations:
        raise BenchError("a yardstick did nothing in its time")
    return Rate(
        median(sample.operations / sample.seconds for sample in samples),
        sum(sample.client for sample in samples) / operations * 1e6,
        sum(sample.server for sample in samples) / operations * 1e6,
    )


async def run(seconds: float, steps: Steps) -> Findings:
    steps.begin("starting the parts", 0.2)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-bench-")))
        parts = [
            await stack.enter_async_context(part)
            for part in (redis_part(folder), postgres_part(), http_part(folder))
        ]
        yardsticks = {name: each for of in parts for name, each in of.items()}
        length = max((seconds - AROUND_SECONDS) / (ROUNDS * len(yardsticks)), ROUND_SECONDS_MIN)
        samples: dict[str, list[Sample]] = {name: [] for name in yardsticks}
        for number in range(1, ROUNDS + 1):
            for name, yardstick in yardsticks.items():
                steps.begin(f"{NAMES[name]}, round {number}", 0.8 / (ROUNDS * len(yardsticks)))
                samples[name].append(await yardstick.round(length))
        steps.begin("stopping the parts")
    return _findings(Yardsticks(**{name: rate(of) for name, of in samples.items()}))


def _findings(yardsticks: Yardsticks) -> Findings:
    figures = asdict(yardsticks)
    rows = [
        (name, cell(each.per_second, 0), cell(each.client_us), cell(each.server_us))
        for name, each in ((text, getattr(yardsticks, key)) for key, text in NAMES.items())
    ]
    return Findings(
        figures=figures, tables=[Table(TITLE, ("", "a second", "client CPU µs", "server CPU µs"), rows)]
    )
