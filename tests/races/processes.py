"""Real booking and payment processes, killed by SIGKILL and stopped by SIGSTOP."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from ops.child import Child
from ops.layout import Scale
from tests.acceptance.database_rows import sources_of
from tests.acceptance.holdfast import Holdfast, running
from tests.races.fleet import Fleet
from tests.races.harness import Harness, open_harness
from tests.races.plan import Kill

SCALE = Scale(booking=2, payment=2)
# Other booking processes may claim an entry after 2.1 s. Payment's calls to Stripe allow no time this short: the
# entries of a stopped payment process are made to look old instead.
BOOKING_IDLE = {"HANDLER_TIMEOUT_MS": "1000", "CLAIM_IDLE_MS": "2100"}
STOPPED_S = 1.0


class Processes(Fleet):
    """The fleet of a running stack."""

    option = "--processes"

    def __init__(self, harness: Harness, stack: Holdfast) -> None:
        super().__init__(harness)
        self._stack = stack
        self._stopped: set[Child] = set()
        self._harm: set[asyncio.Task[None]] = set()
        # Locks by name, so that a process is killed or stopped only once at a time.
        self._one: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def children(self, kind: str) -> list[Child]:
        processes = self._stack.stack.processes
        return [child for name, child in processes.items() if name.partition("-")[0] == kind]

    def harm(self, kill: Kill) -> None:
        children = self.children(kill.kind)
        child = children[kill.index % len(children)]
        work = self._replace(child, kill) if kill.point is None or kill.nth == 1 else self._stop(child, kill)
        task = asyncio.create_task(work, name=f"harm {child.name}")
        self._harm.add(task)

    async def _replace(self, child: Child, kill: Kill) -> None:
        await asyncio.sleep(kill.after_ms / 1000)
        async with self._one[child.name]:
            await child.kill()
            self.killed["SIGKILL"] += 1
            await child.start()

    async def _stop(self, child: Child, kill: Kill) -> None:
        """Stop it, and make its entries look old: other processes claim them, and then it continues."""
        await asyncio.sleep(kill.after_ms / 1000)
        async with self._one[child.name]:
            with self.stopped(child, by_the_clock=False):
                await asyncio.sleep(STOPPED_S)

    @contextmanager
    def stopped(self, child: Child, *, by_the_clock: bool) -> Iterator[None]:
        """SIGSTOP inside. Its entries can be claimed at once; with `by_the_clock`, only after their idle time."""
        child.pause()
        self.killed["SIGSTOP"] += 1
        if not by_the_clock:
            self._stopped.add(child)
        try:
            yield
        finally:
            self._stopped.discard(child)
            child.resume()

    async def spare(self) -> None:
        harm, self._harm = self._harm, set()
        await asyncio.gather(*harm)

    def alive(self) -> list[str]:
        children = [child for kind in ("booking", "payment") for child in self.children(kind)]
        return [f"-{child.pid}-" for child in children if child.running and child not in self._stopped]


def _environment(name: str, environment: dict[str, str]) -> dict[str, str]:
    return {**environment, **BOOKING_IDLE} if name.startswith("booking") else environment


@asynccontextmanager
async def open_processes(folder: Path) -> AsyncIterator[Processes]:
    """A running stack under `folder`, as a fleet."""
    async with (
        running(folder, scale=SCALE, detour=_environment) as stack,
        open_harness(sources_of(stack.stack), stack.stack.secrets.sandbox_control_key) as harness,
    ):
        fleet = Processes(harness, stack)
        abandoning = asyncio.create_task(fleet.abandon(), name="abandon")
        try:
            yield fleet
        finally:
            await fleet.spare()
            abandoning.cancel()
            await asyncio.gather(abandoning, return_exceptions=True)
