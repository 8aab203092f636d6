"""What a booking costs the servers when it is alone: statements, syncs, round trips and wake-ups, counted.

One client buys one seat after the other, here and at the release before. What the same processes do while no
request comes is counted, too, and subtracted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass

from bench import stage as stages
from bench.baseline.release import Unavailable
from bench.baseline.release import prepared as release_prepared
from bench.baseline.stage import release_running
from bench.counts import OWN_READS, REPORTED_SECONDS, Counting, Counts
from bench.cpu import CHARGED
from bench.figures import SPREAD
from bench.findings import Findings, Goal, Table, cell
from bench.progress import Steps
from bench.sides import Side, prepared

SECONDS = 60.0
# The share of the time in which one side buys; the rest is for starting, for Postgres to report, and for stopping.
BUYING_SHARE = 0.08
BUYING_SECONDS_MIN = 2.0
WARM_UP_SECONDS = 2.0
# Sold in turn: few enough that the warm-up meets each of them, because an event is first read only once.
EVENTS = 10
# How long the work for the last booking may last after its client was notified.
AFTER_SECONDS = 1.0
NOW, WITHOUT, BEFORE = "this tree", "with MEMORY_MAX=0", "the release before"
STATEMENTS_MAX, SYNCS_MAX, ROUND_TRIPS_MAX = 6.0, 6.0, 9.0
# A statement that occurs more rarely than this is no part of a booking.
STATEMENT_MIN = 0.05


@dataclass(frozen=True)
class Lone:
    """The counts for one booking, averaged over `bookings`."""

    bookings: int
    counts: Counts

    @property
    def statements(self) -> float:
        return sum(self.counts.statements.values())

    @property
    def commands(self) -> float:
        return sum(self.counts.redis_commands.values())

    @property
    def wakeups(self) -> float:
        return sum(self.counts.wakeups.values())


async def run(seconds: float, steps: Steps) -> Findings:
    buying = max(seconds * BUYING_SHARE, BUYING_SECONDS_MIN)
    steps.begin("starting all of them", 0.3)
    async with AsyncExitStack() as stack:
        running = {NOW: await stack.enter_async_context(stages.running())}
        running[WITHOUT] = await stack.enter_async_context(stages.running(MEMORY_MAX="0"))
        notes = []
        try:
            running[BEFORE] = await stack.enter_async_context(release_running(await release_prepared()))
        except Unavailable as error:
            notes.append(f"the release before cannot be run here ({error}): this tree is counted alone")
        sides = {name: await stack.enter_async_context(prepared(name, stage, 1)) for name, stage in running.items()}
        found = await _counted(sides, buying, steps)
        wrong = [text for side in sides.values() for text in await side.problems()]
        steps.begin("stopping all of them")
    return _findings(found, wrong, notes)


async def _counted(sides: Mapping[str, Side], seconds: float, steps: Steps) -> dict[str, Lone]:
    counting = {name: Counting(side.stage) for name, side in sides.items()}
    for name, side in sides.items():
        steps.begin(f"a client of {name}, to warm up", 0.05)
        await counting[name].begin()
        await side.driver.run(side.clients, side.orders[SPREAD][:EVENTS], SPREAD, WARM_UP_SECONDS)
    steps.begin("waiting until Postgres has counted", 0.2)
    await asyncio.sleep(REPORTED_SECONDS)
    bought: dict[str, tuple[int, float, Counts]] = {}
    syncs = {name: await each.syncs() for name, each in counting.items()}
    for name, side in sides.items():
        steps.begin(f"a client of {name}", 0.1)
        bought[name] = await _bought(side, counting[name], seconds)
    steps.begin("counting what goes on by itself", 0.2)
    idle, started = {name: await each.read() for name, each in counting.items()}, time.monotonic()
    await asyncio.sleep(REPORTED_SECONDS)
    still = time.monotonic() - started
    found = {}
    for name, each in counting.items():
        background = _plain(await each.read(), idle[name])
        number, took, counts = bought[name]
        own = counts.without(background, took / still)
        synced = (await each.syncs()) - syncs[name]
        one = Counts(own.statements, synced, own.redis_reads, own.redis_commands, own.wakeups).each(number)
        found[name] = Lone(number, one)
    return found


async def _bought(side: Side, counting: Counting, seconds: float) -> tuple[int, float, Counts]:
    """How many bookings were sold, in how many seconds, and what was counted meanwhile. It does not ask whether all
    work is done, because that would be counted, too."""
    started, before = time.monotonic(), await counting.read()
    bought = await side.driver.buy(side.clients, side.orders[SPREAD][:EVENTS], SPREAD, seconds)
    await asyncio.sleep(AFTER_SECONDS)
    counts = _plain(await counting.read(), before)
    return len(bought.sales), time.monotonic() - started, counts


def _plain(after: Counts, before: Counts) -> Counts:
    """What was counted between two readings, without the readings themselves."""
    found = after.since(before)
    return Counts(
        found.statements, found.wal_syncs, found.redis_reads - OWN_READS, found.redis_commands, found.wakeups
    )


# --- What was found -----------------------------------------------------------------------------------------


def _findings(found: Mapping[str, Lone], wrong: list[str], notes: list[str]) -> Findings:
    now = found[NOW]
    return Findings(
        figures={
            name: {
                "bookings": each.bookings,
                "sql_statements": each.statements,
                "wal_syncs": each.counts.wal_syncs,
                "redis_round_trips": each.counts.redis_reads,
                "redis_commands": each.commands,
                "wakeups": each.wakeups,
                "counts": asdict(each.counts),
            }
            for name, each in found.items()
        },
        tables=[_table(found), *(_statements(name, found[name]) for name in (NOW, BEFORE) if name in found)],
        goals=[
            Goal("SQL statements of a lone booking", now.statements, STATEMENTS_MAX, False, "statements", 31.6),
            Goal("WAL syncs of a lone booking", now.counts.wal_syncs, SYNCS_MAX, False, "syncs", 6.0),
            Goal("Redis round trips of a lone booking", now.counts.redis_reads, ROUND_TRIPS_MAX, False, "", 16.0),
        ],
        problems=wrong,
        notes=notes,
    )


def _table(found: Mapping[str, Lone]) -> Table:
    return Table(
        "What a lone booking asks of the servers, and how often each process is woken",
        ("", "bookings", "SQL", "WAL syncs", "Redis trips", "commands", *CHARGED),
        [
            (
                name,
                f"{each.bookings:,}",
                cell(each.statements),
                cell(each.counts.wal_syncs),
                cell(each.counts.redis_reads),
                cell(each.commands),
                *(cell(each.counts.wakeups.get(kind)) for kind in CHARGED),
            )
            for name, each in found.items()
        ],
    )


def _statements(name: str, lone: Lone) -> Table:
    often = sorted(lone.counts.statements.items(), key=lambda each: -each[1])
    rows = [(text, cell(count, 2)) for text, count in often if count >= STATEMENT_MIN]
    return Table(f"Statements of a lone booking: {name}", ("", "times"), rows)
