"""One rush: many clients come within a few seconds for few seats, and what has become of each client in the end."""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import asyncpg

from bench import stage as stages
from bench.audit import problems
from bench.clients import order
from bench.cpu import Others, Usage, difference, give_way
from bench.lag import Lag
from bench.measures import percentile
from bench.rush.attackers import Attack, Attackers
from bench.rush.tally import Tally
from bench.rush.visitors import Targets, Visitor
from bench.stage import Stage
from bench.wire import Wires
from common.contracts.ids import GUEST
from gateway.settings import CLIENT_LIMITS
from ops.layout import Scale

# As in production: empty is the default. Stripe accepts 100 requests a second in live mode.
SETTINGS = {
    "MAILBOX_LIMIT": "",
    "HOLD_SECONDS": "",
    "SEATS_PER_OWNER": "",
    "HOLDS_PER_OWNER": "",
    "HOLDS_PER_ADDRESS": "",
    "SEATS_PER_ADDRESS": "",
    "HOLD_PAUSE_SECONDS": "",
    "OWNER_STRIPE_CALLS": "",
    "STRIPE_REQUESTS_PER_SECOND": "100",
    **dict.fromkeys(CLIENT_LIMITS, ""),
}
# How many times `began` is called.
STEPS = 5
TICK_SECONDS = 0.25
OFFICE = "127.200.0.1"
# How many files a process opens beside its connections.
OTHER_FILES = 1000
# A client that has no answer after this time gets none.
ANSWER_SECONDS_MAX = 40.0
SEATS_NOW = "SELECT sum(held)::int AS held, sum(sold)::int AS sold FROM ticket_types WHERE event_id = $1"

Sampled = Callable[[Tally], None]


@dataclass(frozen=True)
class Plan:
    """`clients` come within `within` seconds for `seats`, over at most `connections` connections. Each is a guest
    with an address of its own; `office` of them share one. `attacks`: those who come beside them, and
    `attacked_before`: for how many seconds before them. `elsewhere`: they attack another installation on this
    machine, whose processes give way to all others as the attackers do."""

    clients: int = 20_000
    seats: int = 1000
    within: float = 4.0
    connections: int = 10_000
    scale: Scale = stages.ONE_OF_EACH
    seed: int = 1
    office: int = 500
    attacks: tuple[Attack, ...] = ()
    attacked_before: float = 0.0
    elsewhere: bool = False


@dataclass(frozen=True)
class Rush:
    """`lag`: how late the driver's own loop was, in seconds at the 99th percentile; it is part of every latency.
    `others`: which part of the machine's cores others than the rush used meanwhile."""

    plan: Plan
    tally: Tally
    seconds: float
    connections: int
    cpu: Usage
    lag: float | None
    problems: Sequence[str]
    attackers: Mapping[str, Counter[int]] = field(default_factory=dict)
    others: float | None = None

    @property
    def sold_out_after(self) -> float | None:
        """When the last seat was held, in seconds since the sale began."""
        return self._first(lambda held, sold: held + sold >= self.plan.seats)

    @property
    def answered_after(self) -> float | None:
        """When the last client knew whether there is a seat for it, in seconds since the sale began."""
        done = (each.at for each in self.tally.samples if each.came == self.plan.clients and not each.asking)
        return next(done, None)

    @property
    def paid_after(self) -> float | None:
        """When the last seat was paid, in seconds since the sale began."""
        return self._first(lambda _, sold: sold >= self.plan.seats)

    def _first(self, reached: Callable[[int, int], bool]) -> float | None:
        return next((each.at for each in self.tally.samples if reached(each.held, each.sold)), None)

    @property
    def unanswered(self) -> int:
        """How many clients know neither of a confirmed booking nor that no seats are left."""
        return self.plan.clients - self.tally.refused - len(self.tally.confirmed)

    @property
    def oversold(self) -> int:
        """How many seats more were held and sold than there are, in the worst sample."""
        return max((each.held + each.sold - self.plan.seats for each in self.tally.samples), default=0)


async def play(plan: Plan, sampled: Sampled, began: Callable[[str], None]) -> Rush:
    """Calls `sampled` with the tally four times a second, `began` with the name of each step before and after."""
    began("starting Holdfast")
    connections = _connections(plan.connections, OTHER_FILES + sum(attack.connections for attack in plan.attacks))
    async with stages.running(plan.scale, **SETTINGS) as stage:
        began("making the event and the tokens")
        (event,) = await stage.events(1, plan.seats, "Opening night")
        tally = Tally(plan.clients, plan.seats)
        targets = Targets(
            gateway=Wires(stage.gateway_url, connections),
            stripe=Wires(stage.sandbox_url, 100),
            publishable_key=stage.stack.secrets.stripe_publishable_key,
            order=order(event["id"]),
        )
        chance = Random(plan.seed)
        visitors = [
            Visitor(targets, tally, stage.token(f"{GUEST}rush-{number}"), chance, _address(number, plan.office))
            for number in range(plan.clients)
        ]
        coming = sorted(chance.uniform(0, plan.within) for _ in visitors)
        began(f"the sale is open: {plan.clients:,} clients within {plan.within:g} s for {plan.seats:,} seats")
        lag = Lag()
        meter = stage.meter()
        before = meter.read()
        async with _attacked(plan, stage) as target, AsyncExitStack() as attacked:
            # They want another event's seats: those of the clients are counted.
            (other,) = await target.events(1, plan.seats, "Another night")
            attackers = [Attackers(attack, target, order(other["id"])) for attack in plan.attacks]
            for each in attackers:
                await attacked.enter_async_context(each)
            await asyncio.sleep(plan.attacked_before)
            arrivals = list(zip(coming, chance.sample(visitors, len(visitors)), strict=True))
            others = Others()
            seconds = await _rush(stage, event["id"], arrivals, tally, lag, sampled)
            by_others = others.share()
        await stage.wait_until_idle()
        cpu = difference(before, meter.read())
        for wires in (targets.gateway, targets.stripe):
            wires.close()
        began("comparing with the database")
        wrong = [*tally.problems, *await _wrong(stage, event["id"], plan, tally)]
        began("stopping")
    statuses = {each.attack.name: each.statuses for each in attackers}
    late = percentile(lag.samples, 0.99)
    return Rush(plan, tally, seconds, targets.gateway.opened, cpu, late, wrong, statuses, by_others)


@asynccontextmanager
async def _attacked(plan: Plan, stage: Stage) -> AsyncIterator[Stage]:
    """Whose gateway the attackers reach."""
    if not plan.elsewhere:
        yield stage
        return
    async with stages.running(plan.scale, **SETTINGS) as other:
        for pid in other.pids().values():
            give_way(pid)
        yield other


def _address(number: int, office: int) -> str:
    """An address of this machine: the first `office` clients share one."""
    if number < office:
        return OFFICE
    return f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def _connections(wanted: int, other: int) -> int:
    """How many of these connections a process may open here, beside `other` files: this one, and the gateway that
    it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted + other
    if hard != resource.RLIM_INFINITY:
        files = min(files, hard)
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(files - other, 1)


async def _rush(
    stage: Stage, event_id: str, arrivals: Sequence[tuple[float, Visitor]], tally: Tally, lag: Lag, sampled: Sampled
) -> float:
    """Until every client has an answer; returns how many seconds it took."""
    connection = await asyncpg.connect(stage.stack.booking_database_url)
    started = time.perf_counter()

    async def sample() -> None:
        row = await connection.fetchrow(SEATS_NOW, event_id)
        tally.sample(time.perf_counter() - started, row["held"], row["sold"])
        sampled(tally)

    async def watch() -> None:
        while True:
            await sample()
            await asyncio.sleep(TICK_SECONDS)

    watching = [asyncio.create_task(lag.watch()), asyncio.create_task(watch())]
    visits: list[asyncio.Task[None]] = []
    try:
        for at, visitor in arrivals:
            if (early := at - (time.perf_counter() - started)) > 0:
                await asyncio.sleep(early)
            visits.append(asyncio.create_task(visitor.visit()))
        _, late = await asyncio.wait(visits, timeout=ANSWER_SECONDS_MAX)
        if late:
            tally.problems.append(f"{len(late)} clients have no answer after {ANSWER_SECONDS_MAX:.0f} s")
    finally:
        for task in (*watching, *visits):
            task.cancel()
        ended = await asyncio.gather(*watching, *visits, return_exceptions=True)
    tally.problems += [f"{type(each).__name__}: {each}" for each in ended if isinstance(each, Exception)]
    seconds = time.perf_counter() - started
    await sample()
    await connection.close()
    return seconds


async def _wrong(stage: Stage, event_id: str, plan: Plan, tally: Tally) -> list[str]:
    """What is wrong in the end: dead letters, and what the database and the clients' answers do not agree on."""
    found = [f"{name} has {count} entries" for name, count in (await stage.dead_letters()).items()]
    if tally.bad:
        found.append(f"{tally.bad} answers were 5xx and did not say when to come again")
    sold = min(plan.seats, plan.clients)
    expected = {"confirmed": sold, "failed": plan.clients - sold}
    counts = {UUID(event_id): {status: count for status, count in expected.items() if count}}
    return found + await problems(stage.stack.booking_database_url, tally.confirmed, counts)
