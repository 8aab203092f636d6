"""Where processes stop, fail and are killed: how the scheduler controls what happens inside them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn

from tests.simulation.clockwork import VirtualLoop
from tests.simulation.faults import Fault, Point, Profile
from tests.simulation.process import Process, current
from tests.simulation.story import Coverage, Story


@dataclass(eq=False)
class Parked:
    """A task that waits until the scheduler lets it continue."""

    process: Process
    point: Point
    what: str
    go: asyncio.Future[None]


class Gates:
    """Between two gates a task runs alone, so that what happens depends on the seed only."""

    def __init__(
        self, loop: VirtualLoop, chance: random.Random, profile: Profile, story: Story, coverage: Coverage
    ) -> None:
        self._loop = loop
        self._chance = chance
        self._profile = profile
        self._story = story
        self._coverage = coverage
        self.parked: list[Parked] = []
        # The servers that are unavailable now.
        self.outages: set[Fault] = set()
        self.quiet = False
        self._io_lock = asyncio.Lock()
        self._io = 0
        self._io_done: asyncio.Future[None] | None = None
        self._in_io: asyncio.Task[object] | None = None

    async def reach(self, point: Point, what: str = "") -> None:
        """Continue, wait for the scheduler, or die here."""
        process = current()
        if process is None:
            return
        if not process.alive:
            die()
        if self.quiet:
            return
        drawn = self._chance.random()
        if drawn < self._profile.crash:
            self.crash(process, point)
            raise asyncio.CancelledError
        if drawn < self._profile.crash + self._profile.park:
            await self._park(Parked(process, point, what, self._loop.create_future()))

    async def _park(self, parked: Parked) -> None:
        self.parked.append(parked)
        self._story.note(f"stops {parked.point.value}")
        try:
            await parked.go
        finally:
            if parked in self.parked:
                self.parked.remove(parked)
        self._story.note(f"goes on {parked.point.value}", parked.process.name)
        if not parked.process.alive:
            die()

    def release(self, parked: Parked) -> None:
        self.parked.remove(parked)
        self._story.note(f"goes on {parked.point.value}", parked.process.name)
        if not parked.go.done():
            parked.go.set_result(None)

    def crash(self, process: Process, point: Point) -> None:
        self._coverage.crash(point)
        self._story.note(f"killed {point.value}", process.name)
        # A task with a statement at Postgres is not cancelled there, because that takes an unknown time: it dies
        # after the statement.
        process.kill(spared=self._in_io)

    def dies_here(self) -> bool:
        """Whether the process is killed here, at a point where it cannot be stopped."""
        return not self.quiet and self._chance.random() < self._profile.crash

    def strikes(self, fault: Fault, outage: Fault | None = None) -> bool:
        """Whether `fault` strikes here and now. It always does during an `outage` of its server."""
        if self.quiet or current() is None:
            return False
        struck = outage in self.outages or self._chance.random() < self._profile.chances[fault]
        if struck:
            self._coverage.strike(fault)
            self._story.note(fault.value)
        return struck

    def happens(self, fault: Fault) -> bool:
        """As `strikes`, for what happens in the world and not in a process. The caller adds it to the story."""
        struck = not self.quiet and self._chance.random() < self._profile.chances[fault]
        if struck:
            self._coverage.strike(fault)
        return struck

    def note(self, what: str) -> None:
        self._story.note(what)

    def violated(self, text: str) -> None:
        self._story.violate("5 a webhook counts once", text)

    # --- until nothing can run

    @asynccontextmanager
    async def io(self) -> AsyncIterator[None]:
        """Only one task at a time waits for Postgres, and only when no other task can run: so the order of steps is
        the same, however long Postgres takes."""
        self._io += 1
        try:
            async with self._io_lock:
                while self._loop.busy:  # noqa: ASYNC110 - the loop has no event for being idle
                    await asyncio.sleep(0)
                process = current()
                if process is not None and not process.alive:
                    die()
                self._in_io = asyncio.current_task()
                try:
                    yield
                finally:
                    self._in_io = None
        finally:
            self._io -= 1
            if self._io == 0 and self._io_done is not None and not self._io_done.done():
                self._io_done.set_result(None)

    async def quiesce(self) -> None:
        """Wait until every task waits: at a gate, for a message, or for a timer."""
        while True:
            await asyncio.sleep(0)
            if self._io:
                self._io_done = self._loop.create_future()
                await self._io_done
            elif not self._loop.busy:
                return


def die() -> NoReturn:
    """Cancel the current task, as the others were cancelled when its process was killed."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    raise asyncio.CancelledError
