"""The monkey: makes the faults of the plan, keeps a diary, and measures how long the system takes to recover."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
import asyncpg

from ops.actor import ActorProcess
from ops.audit.databases import SourceUnavailable
from tests.acceptance.client import send
from tests.acceptance.database_rows import unfinished_work
from tests.chaos.faults import inject, start
from tests.chaos.harness import Harness
from tests.chaos.load import Load
from tests.chaos.plan import CLAIM_IDLE_S, Fault, Kind, Round
from tests.waiting_lists import offers_due

# docs/operations.md promises "within about half a minute": twice that is the limit.
HEAL_MAX_S = 60.0
# Seconds between two checks whether the system is at rest.
CHECK_S = 0.25
# Seconds for notifications that are still under way when the system is at rest.
NOTIFY_S = 1.5
# Seconds in which a row is retried twice (`booking.reconciler.NOTIFY_AGAIN_RETRIES`), with their jitter.
NOTIFY_AGAIN_MAX_S = 30.0
# Seconds in which a booking process makes the offers that are due: ten times what it needs.
OFFERED_MAX_S = 20.0
# Seconds after which gateways have closed sockets once more (`common/messaging/listener.py`): nothing is in hand
# any more, they have looked for it, and have closed one socket after the other.
REOPEN_MAX_S = CLAIM_IDLE_S + 5.0
WATCH_S = 0.25


@dataclass(frozen=True)
class Entry:
    """A line of the diary. `at`: seconds from the beginning of the run."""

    at: float
    text: str


@dataclass
class Monkey:
    """`calm_s`: how many seconds are without faults after each recovery."""

    harness: Harness
    load: Load
    calm_s: float
    heal_max_s: float = HEAL_MAX_S
    diary: list[Entry] = field(default_factory=list)
    struck: Counter[Kind] = field(default_factory=Counter)
    done: Counter[Kind] = field(default_factory=Counter)
    healed: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    doing: str = ""

    def note(self, text: str) -> None:
        self.doing = text
        self.diary.append(Entry(round(self.harness.judge.now, 2), text))

    async def run(self, plan: Iterator[Round], seconds: float) -> None:
        """Make round after round, until `seconds` have passed or the plan ends."""
        judge = self.harness.judge
        until = judge.now + seconds
        await self.breathe()
        for faults in plan:
            since = datetime.now(UTC)
            judge.trouble()
            await asyncio.gather(*(self._do(fault) for fault in faults))
            await self._heal(faults, since)
            if judge.now >= until:
                return
            await self.breathe()

    async def breathe(self) -> None:
        """Wait for `calm_s`, in which nothing may go wrong."""
        judge = self.harness.judge
        judge.calm()
        self.note("calm")
        self.load.gate.set()
        await asyncio.sleep(self.calm_s)

    async def _do(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        self.note(str(fault))
        strokes = await inject(self.harness, fault)
        if fault.hides_notifications:
            self.harness.judge.sockets_reopen(REOPEN_MAX_S)
        self.struck[fault.kind] += strokes
        self.done[fault.kind] += 1
        self.note(f"over: {fault.kind}{', ' if fault.target else ''}{fault.target}")

    async def _heal(self, faults: Round, since: datetime) -> None:
        """Wait, without new orders, until the system is at rest."""
        judge = self.harness.judge
        self.load.gate.clear()
        began = judge.now
        left = await self._rest(since)
        took = judge.now - began
        for name in {str(fault.kind) for fault in faults} | ({"several at once"} if len(faults) > 1 else set()):
            self.healed[name].append(took)
        if left:
            judge.breaks("all is well in time", f"after {took:.0f} s still: {left[:5]}")
            self.note(f"not healed after {took:.1f} s: {'; '.join(left[:3])}")
        else:
            self.note(f"healed after {took:.1f} s")
            await asyncio.gather(self._sockets_show_all(), self._offers_are_made())

    async def _rest(self, since: datetime) -> list[str]:
        """Wait until nothing is left to do, for `heal_max_s` at most. Returns what is left."""
        until = self.harness.judge.now + self.heal_max_s
        while left := await self._restless(since):
            if self.harness.judge.now > until:
                return left
            await asyncio.sleep(CHECK_S)
        return []

    async def _restless(self, since: datetime) -> list[str]:
        holdfast = self.harness.holdfast
        unready = {name: status for name, status in (await holdfast.readiness()).items() if status != 200}
        try:
            if unready:
                return [f"not ready: {name}, {status}: {await self._why(name)}" for name, status in unready.items()]
            return await unfinished_work(holdfast, since=since, dead_letters=False)
        except (SourceUnavailable, AssertionError, aiohttp.ClientError, OSError, TimeoutError) as error:
            return [f"cannot check: {error}"]

    async def _why(self, name: str) -> object:
        """What keeps the process from being ready, by itself."""
        process = self.harness.holdfast.stack.processes[name]
        assert isinstance(process, ActorProcess)
        return (await send(self.harness.holdfast.session, "GET", process.health_url)).body

    async def _sockets_show_all(self) -> None:
        """Each open socket that shows a booking gets its newest version, within NOTIFY_AGAIN_MAX_S: when an outage
        kept a process from publishing it, the reconciler publishes it again when it handles the row next."""
        await asyncio.sleep(NOTIFY_S)
        versions = await self._versions()
        until = self.harness.judge.now + NOTIFY_AGAIN_MAX_S
        while behind := [line for each in self.load.shoppers for line in each.screen.behind(versions)]:
            if self.harness.judge.now > until:
                for line in behind:
                    self.harness.judge.breaks("open sockets are notified", line)
                return
            await asyncio.sleep(CHECK_S)

    async def _versions(self) -> dict[str, int]:
        async with self._bookings() as connection:
            rows = await connection.fetch("SELECT id, version FROM bookings")
        return {str(row["id"]): row["version"] for row in rows}

    async def _offers_are_made(self) -> None:
        """Who is the first in a line, and whose seats are free, gets them within OFFERED_MAX_S."""
        until = self.harness.judge.now + OFFERED_MAX_S
        async with self._bookings() as connection:
            waiting = await offers_due(connection)
            while waiting and self.harness.judge.now < until:
                await asyncio.sleep(CHECK_S)
                waiting &= await offers_due(connection)
        if waiting:
            self.harness.judge.breaks("nobody waits for seats that are free", f"{waiting}")

    @asynccontextmanager
    async def _bookings(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.harness.holdfast.stack.booking_database_url)
        try:
            yield connection
        finally:
            await connection.close()


async def watch(harness: Harness) -> None:
    """Start processes again that ended by themselves, as a supervisor does, until cancelled. None should end."""
    while True:
        await asyncio.sleep(WATCH_S)
        for name, process in harness.holdfast.stack.processes.items():
            if not isinstance(process, ActorProcess) or harness.locks[name].locked() or process.running:
                continue
            async with harness.locks[name]:
                harness.judge.breaks("a process stays", f"{name} ended with {process.exit_code}")
                with suppress(Exception):
                    await start(harness, process)
