"""The drains of a run: a full mailbox of bookings that get their seats, and one of bookings that are sold out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from bench import stage as stages
from bench.audit import problems, put_off
from bench.cpu import total
from bench.drain import Drain, Drained
from bench.findings import Findings, Goal, Table, cell
from bench.measures import middle
from bench.progress import Steps
from bench.stage import Stage
from common.contracts.messages import NOTIFICATIONS, PAYMENT_INTENTS

# Enough for two drains of each kind.
SECONDS = 50.0
# How many entries are in the mailbox when a drain begins.
ENTRIES = 50_000
REFUSALS, HOLDS = "refusals", "holds"
CAPACITY = 10_000_000
# How much of the time starting, auditing and stopping take.
AROUND_SECONDS = 8.0
# A drain that takes longer is stopped; its rate is that of the entries drained by then.
DRAIN_SECONDS_MAX = 30.0

# Entries a second: the least that is asked for, and what the release before drained on the reference machine.
PER_SECOND_MIN = {HOLDS: (12_000.0, 7_307.0), REFUSALS: (25_000.0, 9_798.0)}


@dataclass(frozen=True)
class DrainFigures:
    """Medians over the runs. CPU in microseconds for each entry, the handler in ms for each batch."""

    kind: str
    runs: int
    enqueued: int
    entries: int
    per_second: float | None
    per_second_of_runs: list[float]
    batch_mean: float | None
    handler_median: float | None
    handler_mean: float | None
    cpu_us: dict[str, float]


@dataclass(frozen=True)
class Backlog:
    """The drains by kind, and how many bookings of each status their events must have in the end."""

    drains: dict[str, list[Drained]]
    expected: dict[UUID, dict[str, int]]


async def run(seconds: float, steps: Steps) -> Findings:
    steps.begin("starting Holdfast")
    deadline = time.monotonic() + seconds - AROUND_SECONDS / 2
    async with stages.running() as stage:
        backlog = await work_off(stage, ENTRIES, deadline, 1.0, steps)
        steps.begin("comparing with the database")
        wrong = [f"{name} has {count} entries" for name, count in (await stage.dead_letters()).items()]
        wrong += await problems(stage.stack.booking_database_url, (), backlog.expected)
        steps.begin("stopping")
    found = figures(backlog.drains)
    return Findings(
        figures={"drains": [asdict(each) for each in found]},
        tables=[_table(found)],
        goals=_goals({each.kind: each.per_second for each in found}),
        problems=wrong,
    )


async def work_off(stage: Stage, entries: int, deadline: float, share: float, steps: Steps) -> Backlog:
    """Drains until `deadline` (monotonic), each kind at least once. The actors stay stopped."""
    steps.begin("stopping the gateway and payment")
    (sold_out,) = await stage.events(1, 0, "Sold out")
    (rush,) = await stage.events(1, CAPACITY, "Rush")
    await stage.stop_actors()
    events = {REFUSALS: UUID(sold_out["id"]), HOLDS: UUID(rush["id"])}
    drain = Drain(stage.redis, stage.actor("booking-1"), stage.pids("postgres", "redis"))
    drains: dict[str, list[Drained]] = {REFUSALS: [], HOLDS: []}
    number, took = 0, 0.0
    while number == 0 or time.monotonic() + took < deadline:
        number += 1
        started = time.monotonic()
        for kind, event in events.items():
            text = f"one booking actor drains {entries:,} {kind}, run {number}"
            steps.begin(text, share / 2 if number == 1 else 0.0)
            await _reset(stage)
            until = time.monotonic() + DRAIN_SECONDS_MAX
            drains[kind].append(await drain.run(event, f"{kind}-{number}", entries, until, steps.part))
        took = time.monotonic() - started
    return Backlog(drains, _expected(drains, events))


async def _reset(stage: Stage) -> None:
    """Remove what is left of the last drain, so that it causes no work during the next one."""
    await put_off(stage.stack.booking_database_url)
    await stage.redis.delete(PAYMENT_INTENTS, NOTIFICATIONS)


def _expected(drains: dict[str, list[Drained]], events: dict[str, UUID]) -> dict[UUID, dict[str, int]]:
    statuses = {REFUSALS: "failed", HOLDS: "pending"}
    return {events[kind]: {statuses[kind]: handled(runs)} for kind, runs in drains.items() if handled(runs)}


def handled(runs: Sequence[Drained]) -> int:
    """How many entries were drained in all, also those outside of the time that was measured."""
    return sum(run.enqueued - run.left for run in runs)


def figures(runs_of: Mapping[str, Sequence[Drained]]) -> list[DrainFigures]:
    """For each kind of which there was a drain."""
    drained = {kind: [run for run in runs if run.entries] for kind, runs in runs_of.items()}
    return [_figures(kind, runs) for kind, runs in drained.items() if runs]


def _figures(kind: str, runs: Sequence[Drained]) -> DrainFigures:
    entries = sum(run.entries for run in runs)

    def milliseconds(seconds: list[float | None]) -> float | None:
        return None if (found := middle(seconds)) is None else found * 1000

    return DrainFigures(
        kind=kind,
        runs=len(runs),
        enqueued=sum(run.enqueued for run in runs),
        entries=entries,
        per_second=middle([run.per_second for run in runs]),
        per_second_of_runs=[run.per_second for run in runs],
        batch_mean=middle([run.batch.mean for run in runs]),
        handler_median=milliseconds([run.handler.median for run in runs]),
        handler_mean=milliseconds([run.handler.mean for run in runs]),
        cpu_us={name: seconds / entries * 1e6 for name, seconds in total([run.cpu for run in runs]).items()},
    )


def _table(found: Sequence[DrainFigures]) -> Table:
    return Table(
        "One booking actor drains a full mailbox of one event; CPU in µs for each entry",
        ("entries", "runs", "drained", "a second", "batch", "handler ms", "booking", "postgres", "redis"),
        [
            (
                each.kind,
                f"{each.runs}",
                f"{each.entries:,} of {each.enqueued:,}",
                cell(each.per_second, 0),
                cell(each.batch_mean, 0),
                cell(each.handler_median),
                *(cell(each.cpu_us.get(name), 0) for name in ("booking", "postgres", "redis")),
            )
            for each in found
        ],
    )


def _goals(rates: Mapping[str, float | None]) -> list[Goal]:
    return [
        Goal(f"one booking actor drains {kind}", rates.get(kind), least, True, "a second", before)
        for kind, (least, before) in PER_SECOND_MIN.items()
    ]
