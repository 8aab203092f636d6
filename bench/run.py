"""One run: the phases one after the other within the time that there is, then the audit."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench import figures
from bench.audit import problems
from bench.backlog import Backlog, work_off
from bench.goals import judged
from bench.journey import Journey, travel
from bench.machine import described
from bench.measures import middle
from bench.progress import Steps
from bench.report import Report
from bench.stage import Stage, running

JOURNEY, DRAIN = "journey", "drain"
PHASES = (JOURNEY, DRAIN)
# Audit and stop.
END_SECONDS = 4.0
START_SHARE = 0.1
# Of the time after the start, where both phases run.
JOURNEY_SHARE = 0.45
# A phase that starts late still gets this much, or its figures would say nothing.
PHASE_SECONDS_MIN = 8.0
FAILURES_SHOWN = 5


@dataclass(frozen=True)
class Plan:
    """What is measured, and how long all of it may take, start and stop included."""

    seconds: float
    entries: int
    phases: tuple[str, ...] = PHASES


async def measure(plan: Plan, steps: Steps) -> Report:
    started = time.monotonic()
    steps.begin("starting Holdfast", START_SHARE)
    journey, backlog = Journey((), (), ()), Backlog({}, {})
    async with running() as stage:
        machine = await described(stage)
        deadline = max(started + plan.seconds - END_SECONDS, time.monotonic() + PHASE_SECONDS_MIN)
        shares = _shares(plan)
        if JOURNEY in plan.phases:
            left = deadline - time.monotonic()
            seconds = left * JOURNEY_SHARE if DRAIN in plan.phases else left
            journey = await travel(stage, max(seconds, PHASE_SECONDS_MIN), shares[JOURNEY], steps)
        if DRAIN in plan.phases:
            until = max(deadline, time.monotonic() + PHASE_SECONDS_MIN)
            backlog = await work_off(stage, plan.entries, until, shares[DRAIN], steps)
        steps.begin("comparing with the database")
        wrong = await _problems(stage, journey, backlog)
        steps.begin("stopping")
    return _report(machine, time.monotonic() - started, journey, backlog, wrong)


def _shares(plan: Plan) -> dict[str, float]:
    each = (1 - START_SHARE) / max(len(plan.phases), 1)
    return dict.fromkeys(plan.phases, each)


async def _problems(stage: Stage, journey: Journey, backlog: Backlog) -> list[str]:
    failures = [failure for slice in journey.slices for failure in slice.failures]
    wrong = [f"a request failed: {failure}" for failure in failures[:FAILURES_SHOWN]]
    if len(failures) > FAILURES_SHOWN:
        wrong.append(f"{len(failures) - FAILURES_SHOWN} more requests failed")
    wrong += [f"{name} has {count} entries" for name, count in (await stage.dead_letters()).items()]
    return wrong + await problems(stage.stack.booking_database_url, journey.sold, backlog.expected)


def _report(
    machine: dict[str, object], seconds: float, journey: Journey, backlog: Backlog, wrong: list[str]
) -> Report:
    ways, ratios, drains = figures.ways(journey), figures.ratios(journey), figures.drains(backlog.drains)
    return Report(
        machine=machine,
        seconds=seconds,
        raw_cpu_ms=figures.raw_cpu_ms(journey),
        raw_per_second=middle([load.requests / load.seconds for load in journey.raw]),
        ways=ways,
        ratios=ratios,
        drains=drains,
        goals=judged(ways, ratios, drains),
        problems=wrong,
    )
