"""State is the truth, messages are hints: what an actor's rows wait for is asked for again at its retry time.

Any number of reconcilers may run at once: each takes rows that no other has in hand (`FOR UPDATE SKIP LOCKED`).
With nothing due a pass is one look.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime

from common.runtime.background import repeat
from common.runtime.health import Gate

# New rows can become due before the ones seen last: this bounds, in seconds, how late that is noticed.
LOOK_S = 2.0
# Between passes while there is more than one pass can take.
BUSY_S = 0.05


class Reconciler(ABC):
    """A loop over `run_once`, which handles what is due."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._stopping = asyncio.Event()

    @abstractmethod
    async def next_due(self) -> datetime | None:
        """When something is due next; None when nothing waits."""

    @abstractmethod
    async def drive_due(self, now: datetime) -> None:
        """Handle some of what is due: put its retry time forward, commit, and publish what it waits for an answer
        to."""

    async def run_once(self) -> float:
        """Handle what is due; says after how many seconds to look again."""
        now = self._clock()
        due = await self.next_due()
        if due is None:
            return LOOK_S
        if due > now:
            return min(LOOK_S, (due - now).total_seconds())
        await self.drive_due(now)
        return BUSY_S

    def stop(self) -> None:
        """`run` returns after the pass under way."""
        self._stopping.set()

    async def run(self, gate: Gate) -> None:
        """Until `stop`; waits while Postgres or Redis is away, and says so at `gate`."""
        await repeat(self.run_once, gate, stopping=self._stopping)
