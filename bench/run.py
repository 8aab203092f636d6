"""One run: the phases one after the other, each on a stack of its own, so that none can spoil another's figures."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench import (
    backlog,
    compare,
    door,
    events,
    growth,
    journey,
    latency,
    lone,
    memory,
    profile,
    rush,
    soak,
    sockets,
    start,
    yardsticks,
)
from bench.baseline import phase as baseline
from bench.errors import BenchError
from bench.findings import Findings
from bench.machine import described
from bench.progress import Steps
from bench.report import Report
from bench.together import together
from ops.errors import StartError


class Phase(Protocol):
    """A module that measures one thing in about SECONDS."""

    SECONDS: float

    async def run(self, seconds: float, steps: Steps) -> Findings:
        """Takes about `seconds`, and starts and stops what it needs. Raises BenchError or StartError."""


# In the order in which they run and are reported.
PHASES: dict[str, Phase] = {
    "baseline": baseline,
    "lone": lone,
    "journey": journey,
    "drain": backlog,
    "latency": latency,
    "sockets": sockets,
    "door": door,
    "events": events,
    "growth": growth,
    "start": start,
    "rush": rush,
    "compare": compare,
    "memory": memory,
    "yardsticks": yardsticks,
    "profile": profile,
    "soak": soak,
}
# Only when named: it takes longer than all the others together.
LONG = frozenset({"soak"})


@dataclass(frozen=True)
class Plan:
    """What is measured; each phase gets `times` the time that it needs at least."""

    phases: Sequence[str] = tuple(name for name in PHASES if name not in LONG)
    times: float = 1.0

    @property
    def seconds(self) -> float:
        return sum(PHASES[name].SECONDS * self.times for name in self.phases)


async def measure(plan: Plan, steps: Steps) -> Report:
    """A phase that fails is a problem of the run; the other phases are measured all the same."""
    started = time.monotonic()
    steps.begin("looking at the machine")
    machine = await described()
    found: dict[str, Findings] = {}
    for name in [name for name in PHASES if name in plan.phases]:
        seconds = PHASES[name].SECONDS * plan.times
        found[name] = await _one(name, seconds, steps.within(name, seconds / plan.seconds))
    if (ratios := together(found)) is not None:
        found["together"] = ratios
    return Report(machine, time.monotonic() - started, found)


async def _one(name: str, seconds: float, steps: Steps) -> Findings:
    try:
        return await PHASES[name].run(seconds, steps)
    except (BenchError, StartError) as error:
        return Findings({}, problems=[str(error)])
    except Exception as error:
        traceback.print_exc()
        return Findings({}, problems=[f"{type(error).__name__}: {error}"])
