"""State is the truth, messages are hints: at its retry time a row asks again for what it waits for.

Any number of reconcilers may run at once: each handles rows that no other has locked (`FOR UPDATE SKIP LOCKED`).
When nothing is due, a pass is one query.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime

from common.runtime.background import repeat
from common.runtime.health import Gate

# Seconds between polls. New rows can become due before the ones seen last: this bounds how late that is noticed.
POLL_SECONDS = 2.0
# Seconds between passes while more is due than one pass handles.
BUSY_SECONDS = 0.05


class Reconciler(ABC):
    """A loop over `run_once`, which handles the rows that are due."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._stopping = asyncio.Event()

    @abstractmethod
    async def next_due(self) -> datetime | None:
        """The next retry time; None when no row has one."""

    @abstractmethod
    async def retry_due(self, now: datetime) -> None:
        """Handle some rows that are due: move their retry times on, commit, and publish what they need an answer
        to."""

    async def run_once(self) -> float:
        """Handle what is due; returns after how many seconds to poll again."""
        now = self._clock()
        due = await self.next_due()
        if due is None:
            return POLL_SECONDS
        if due > now:
            return min(POLL_SECONDS, (due - now).total_seconds())
        await self.retry_due(now)
        return BUSY_SECONDS

    def stop(self) -> None:
        """`run` returns after the pass under way."""
        self._stopping.set()

    async def run(self, gate: Gate) -> None:
        """Run until `stop`. During an outage of Postgres or Redis it waits, with `gate` closed."""
        await repeat(self.run_once, gate, stopping=self._stopping)
