"""State is the truth, messages are hints: what an actor's rows still wait for is driven again when due.

Any number of settlers may run at once: each takes rows that no other has in hand (`FOR UPDATE SKIP LOCKED`). With
nothing due a pass is one look.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from common.runtime.background import repeat
from common.runtime.health import Gate

# Rows may become due sooner than the ones that were there at the last look: so long that may go unseen.
LOOK_S = 2.0
# Between passes while there is more than one pass can take.
BUSY_S = 0.05


class Dues(Protocol):
    """Where the rows are kept."""

    async def next_due(self) -> datetime | None:
        """When something is due next; None when everything is settled."""


class Settler(ABC):
    """A loop over `run_once`, which drives what is due."""

    def __init__(self, dues: Dues, clock: Callable[[], datetime]) -> None:
        self._dues = dues
        self._clock = clock
        self._stopping = asyncio.Event()

    @abstractmethod
    async def drive_due(self, now: datetime) -> None:
        """Drive some of what is due: put its next time on, commit, and publish what it waits for an answer to."""

    async def run_once(self) -> float:
        """Drive what is due; says after how many seconds to look again."""
        now = self._clock()
        due = await self._dues.next_due()
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
