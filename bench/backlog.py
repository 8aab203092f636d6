"""The drains of a run: a full mailbox of bookings that get their seats, and one of bookings that are sold out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from bench.audit import put_off
from bench.drain import Drain, Drained
from bench.progress import Steps
from bench.stage import Stage
from common.messages import NOTIFICATIONS, PAYMENT_INTENTS

REFUSALS, HOLDS = "refusals", "holds"
# The first drain may take so much of the time, so that the second has some.
FIRST_SHARE = 0.4
CAPACITY = 10_000_000


@dataclass(frozen=True)
class Backlog:
    """The drains by kind, and how many bookings of each status their events must have in the end."""

    drains: dict[str, list[Drained]]
    expected: dict[UUID, dict[str, int]]


async def work_off(stage: Stage, entries: int, deadline: float, share: float, steps: Steps) -> Backlog:
    """Drains until `deadline` (monotonic), each kind at least once. The actors are stopped for good."""
    steps.begin("stopping the gateway and payment")
    (sold_out,) = await stage.events(1, 0, "Sold out")
    (rush,) = await stage.events(1, CAPACITY, "Rush")
    await stage.stop_actors()
    events = {REFUSALS: UUID(sold_out["id"]), HOLDS: UUID(rush["id"])}
    drain = Drain(stage.redis, stage.actor("booking-1"), stage.pids("postgres", "redis"))
    drains: dict[str, list[Drained]] = {REFUSALS: [], HOLDS: []}
    turn, took = 0, 0.0
    while turn == 0 or time.monotonic() + took < deadline:
        turn += 1
        started = time.monotonic()
        for kind, event in events.items():
            steps.begin(f"one booking actor drains {entries} {kind}, run {turn}", share / 2 if turn == 1 else 0.0)
            await _reset(stage)
            until = started + (deadline - started) * FIRST_SHARE if kind == REFUSALS else deadline
            drains[kind].append(await drain.run(event, f"{kind}-{turn}", entries, until, steps.part))
        took = time.monotonic() - started
    return Backlog(drains, _expected(drains, events))


async def _reset(stage: Stage) -> None:
    """Leave nothing of the last drain that would be worked on during the next one."""
    await put_off(stage.stack.booking_database_url)
    await stage.redis.delete(PAYMENT_INTENTS, NOTIFICATIONS)


def _expected(drains: dict[str, list[Drained]], events: dict[str, UUID]) -> dict[UUID, dict[str, int]]:
    statuses = {REFUSALS: "failed", HOLDS: "pending"}
    return {events[kind]: {statuses[kind]: handled(runs)} for kind, runs in drains.items() if handled(runs)}


def handled(runs: Sequence[Drained]) -> int:
    """How many entries were worked off in all, also outside of what was timed."""
    return sum(run.enqueued - run.left for run in runs)
