"""The monkey: makes the faults of the plan, keeps a diary, and measures how long the system takes to recover."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
import asyncpg

from ops.actor import ActorProcess
from ops.audit.databases import CannotLook
from tests.acceptance.books import unrest
from tests.chaos.deeds import do, start
from tests.chaos.load import Load
from tests.chaos.place import Place
from tests.chaos.plan import Deed, Kind, Round

# docs/operations.md promises "within about half a minute": twice that is the limit.
HEAL_MAX_S = 60.0
# Seconds between two checks whether the system is at rest.
LOOK_S = 0.25
# Seconds for notifications that are still under way when the system is at rest.
NOTICE_S = 1.5
# Seconds in which the reconciler handles a row twice (`booking.reconciler.TOLD_AGAIN_DRIVES`), with their jitter.
TOLD_MAX_S = 30.0
WATCH_S = 0.25


@dataclass(frozen=True)
class Entry:
    """A line of the diary. `at`: seconds from the beginning of the run."""

    at: float
    text: str


@dataclass
class Monkey:
    """`calm_s`: how many seconds are without faults after each recovery."""

    place: Place
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
        self.diary.append(Entry(round(self.place.judge.now, 2), text))

    async def run(self, plan: Iterator[Round], seconds: float) -> None:
        """Make round after round, until `seconds` have passed or the plan ends."""
        judge = self.place.judge
        until = judge.now + seconds
        await self.breathe()
        for deeds in plan:
            since = datetime.now(UTC)
            judge.trouble()
            await asyncio.gather(*(self._do(deed) for deed in deeds))
            await self._heal(deeds, since)
            if judge.now >= until:
                return
            await self.breathe()

    async def breathe(self) -> None:
        """Wait for `calm_s`, in which nothing may go wrong."""
        judge = self.place.judge
        judge.calm()
        self.note("calm")
        self.load.gate.set()
        await asyncio.sleep(self.calm_s)

    async def _do(self, deed: Deed) -> None:
        await asyncio.sleep(deed.at)
        self.note(str(deed))
        strokes = await do(self.place, deed)
        self.struck[deed.kind] += strokes
        self.done[deed.kind] += 1
        self.note(f"over: {deed.kind}{', ' if deed.target else ''}{deed.target}")

    async def _heal(self, deeds: Round, since: datetime) -> None:
        """Wait, without new orders, until the system is at rest."""
        judge = self.place.judge
        self.load.gate.clear()
        began = judge.now
        left = await self._rest(since)
        took = judge.now - began
        for name in {str(deed.kind) for deed in deeds} | ({"several at once"} if len(deeds) > 1 else set()):
            self.healed[name].append(took)
        if left:
            judge.breaks("all is well in time", f"after {took:.0f} s still: {left[:5]}")
            self.note(f"not healed after {took:.1f} s: {'; '.join(left[:3])}")
        else:
            self.note(f"healed after {took:.1f} s")
            await self._everybody_knows()

    async def _rest(self, since: datetime) -> list[str]:
        """Wait until nothing is left to do, for `heal_max_s` at most. Returns what is left."""
        until = self.place.judge.now + self.heal_max_s
        while left := await self._restless(since):
            if self.place.judge.now > until:
                return left
            await asyncio.sleep(LOOK_S)
        return []

    async def _restless(self, since: datetime) -> list[str]:
        holdfast = self.place.holdfast
        unready = {name: status for name, status in (await holdfast.readiness()).items() if status != 200}
        if unready:
            return [f"not ready: {unready}"]
        try:
            return await unrest(holdfast, since=since, dead_letters=False)
        except (CannotLook, AssertionError, aiohttp.ClientError, OSError, TimeoutError) as away:
            return [f"cannot look: {away}"]

    async def _everybody_knows(self) -> None:
        """Each open socket that shows a booking gets its newest version, within TOLD_MAX_S: when an outage kept a
        process from publishing it, the reconciler publishes it again when it handles the row next."""
        await asyncio.sleep(NOTICE_S)
        versions = await self._versions()
        until = self.place.judge.now + TOLD_MAX_S
        while behind := [line for each in self.load.shoppers for line in each.screen.behind(versions)]:
            if self.place.judge.now > until:
                for line in behind:
                    self.place.judge.breaks("open sockets are told", line)
                return
            await asyncio.sleep(LOOK_S)

    async def _versions(self) -> dict[str, int]:
        connection = await asyncpg.connect(self.place.holdfast.stack.booking_database_url)
        try:
            rows = await connection.fetch("SELECT id, version FROM bookings")
        finally:
            await connection.close()
        return {str(row["id"]): row["version"] for row in rows}


async def watch(place: Place) -> None:
    """Start processes again that ended by themselves, as a supervisor does, until cancelled. None should end."""
    while True:
        await asyncio.sleep(WATCH_S)
        for name, process in place.holdfast.stack.processes.items():
            if not isinstance(process, ActorProcess) or place.locks[name].locked() or process.running:
                continue
            async with place.locks[name]:
                place.judge.breaks("a process stays", f"{name} ended with {process.exit_code}")
                with suppress(Exception):
                    await start(place, process)
