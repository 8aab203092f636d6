"""One run: everything starts, clients come, the monkey makes faults, all work is finished, and a report is made."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.layout import Scale
from tests.chaos.harness import open_harness
from tests.chaos.judge import Judge
from tests.chaos.load import Load, crowd
from tests.chaos.monkey import Monkey, watch
from tests.chaos.plan import Kind, Round, Tempo, rounds
from tests.chaos.report import FaultSummary, Report, named
from tests.chaos.rolling import roll
from tests.chaos.verdict import Verdict, finish

TWO_OF_EACH = Scale(gateway=2, booking=2, payment=2)


def fleet(seed: int) -> Scale:
    """Two gateways, and two or three processes of booking and of payment."""
    chance = random.Random(f"fleet {seed}")
    return Scale(gateway=2, booking=chance.choice((2, 3)), payment=chance.choice((2, 3)))


@dataclass(frozen=True)
class Run:
    """The options of a run. `rate`: orders a second; `plan`: used instead of the seed's; `rolled_requests`: how
    many requests are sent at the end, while gateways replace one another."""

    seed: int
    seconds: float
    rate: float = 20.0
    shoppers: int = 40
    scale: Scale = TWO_OF_EACH
    calm_s: float = 3.0
    heal_max_s: float = 60.0
    plan: tuple[Round, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    rolled_requests: int = 0

    @property
    def rounds(self) -> Iterator[Round]:
        return iter(self.plan) if self.plan else rounds(self.seed, self.scale, Tempo())


Shown = Callable[[Run, Load, Monkey], None]


async def chaos(run: Run, folder: Path, shown: Shown | None = None, every_s: float = 0.5) -> Report:
    """Do one run. `shown` is called every `every_s` seconds, to show how the run goes."""
    judge = Judge()
    async with (
        open_harness(folder, run.scale, judge, run.settings) as harness,
        crowd(harness, run.seed, run.rate, run.shoppers) as load,
    ):
        monkey = Monkey(harness, load, run.calm_s, run.heal_max_s)
        async with beside(load.run(), watch(harness), _show(run, load, monkey, shown, every_s)):
            await monkey.run(run.rounds, run.seconds)
            judge.calm()
            if run.rolled_requests:
                monkey.note("no more faults: gateways replace one another")
                judge.gateways_leave = True
                monkey.note(f"{await roll(harness, run.rolled_requests):,} requests were answered meanwhile")
            monkey.note("no more faults: waiting for the last booking to end")
            verdict = await finish(harness, load)
    return _report(run, judge, load, monkey, verdict)


@asynccontextmanager
async def beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `works` in the background until the block ends. When one of them fails, the block fails."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
            yield
            for task in tasks:
                task.cancel()
    except* Exception as errors:
        raise errors.exceptions[0] from None


async def _show(run: Run, load: Load, monkey: Monkey, shown: Shown | None, every_s: float) -> None:
    while shown is not None:
        shown(run, load, monkey)
        await asyncio.sleep(every_s)


def _report(run: Run, judge: Judge, load: Load, monkey: Monkey, verdict: Verdict) -> Report:
    faults = [FaultSummary(kind, monkey.done[kind], monkey.struck[kind], monkey.healed[kind]) for kind in Kind]
    faults.append(
        FaultSummary("several at once", len(monkey.healed["several at once"]), 0, monkey.healed["several at once"])
    )
    journeys: Counter[tuple[str, str]] = sum((each.endings for each in load.shoppers), Counter())
    return Report(
        seed=run.seed,
        seconds=judge.now,
        ended_seconds=verdict.finished_s,
        faults=faults,
        orders=load.orders,
        events_cancelled=len(load.cancelled_events),
        endings=verdict.endings,
        journeys=named(journeys),
        answers=named(judge.answers),
        door={} if load.door is None else named(load.door.check_ins.outcomes),
        notified=verdict.notified,
        sockets_closed=dict(sorted(load.closes.items())),
        poisoned=load.harness.poison.in_all,
        dead_letters=verdict.dead_letters,
        audit_code=verdict.audit.code if verdict.audit else None,
        audit=verdict.audit.body if verdict.audit and verdict.audit.code in (0, 1) else None,
        logged=dict(verdict.logged.most_common()),
        broken=judge.broken,
        broken_by_promise={name: judge.counted[name] for name in sorted({each.promise for each in judge.broken})},
        diary=monkey.diary,
    )
