"""Whether what a consumer's handlers need can serve, and therefore whether the consumer is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from common.runtime.backoff import Backoff
from common.runtime.health import Gate
from common.runtime.outages import Outage, error_text, log_outage
from common.runtime.supervisor import wait_at_most

# A dependency that has not answered after this many seconds counts as unavailable.
REACH_TIMEOUT_SECONDS = 5.0

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class Dependencies:
    """Closes `gate` during an outage, and while dependencies answer but refuse work. `reachable` raises during an
    outage. Refused work keeps the gate closed for `barred_s` seconds, unless some work succeeds before."""

    gate: Gate
    reachable: Callable[[], Awaitable[object]]
    stopping: asyncio.Event
    barred_s: float
    _barred_until: float = field(default=0.0, init=False)

    @property
    def barred(self) -> bool:
        """All dependencies answer, but work was refused."""
        return time.monotonic() < self._barred_until

    async def reach(self) -> None:
        """Raises the error of an outage, or TimeoutError."""
        async with asyncio.timeout(REACH_TIMEOUT_SECONDS):
            await self.reachable()

    async def have_outage(self, error: Exception) -> bool:
        """Whether `error` comes from an outage. After a time limit, and any other error, a ping decides that."""
        if isinstance(error, Outage) and not error.slow:
            return True
        if await self._can_serve():
            return False
        self.pause(error)
        return True

    def pause(self, error: BaseException) -> None:
        if self.gate.opened.is_set() or self.gate.reason == "starting":
            log_outage("paused", error, mailbox=self.gate.name)
        self.gate.close(error_text(error))

    def open(self) -> None:
        """All answer now; while work is barred the gate stays closed."""
        if self.barred:
            return
        if self.gate.reason is not None:
            log.info("reading", mailbox=self.gate.name)
        self.gate.open()

    def succeeded(self) -> None:
        if self.barred:
            self._barred_until = 0.0
            self.open()

    async def wait_to_retry(self, backoff: Backoff, error: BaseException | None = None) -> None:
        """Pause before a retry, or until a stop; with `error`, close the gate first."""
        if error is not None:
            self.pause(error)
        await wait_at_most(self.stopping, backoff.next())

    async def wait_for_recovery(self, error: BaseException) -> bool:
        """Wait until they answer after `error`; False when the process stops before."""
        backoff = Backoff(first=0.1)
        hidden = isinstance(error, Outage) and error.reported
        while not await self._can_serve():
            hidden = False
            if self.stopping.is_set():
                return False
            await self.wait_to_retry(backoff, error)
        if not hidden:
            self.open()
            return True
        # They answer, but refuse work: for a command that is not permitted, or because a disk is full.
        self.pause(error)
        self._barred_until = time.monotonic() + self.barred_s
        return not self.stopping.is_set()

    async def _can_serve(self) -> bool:
        try:
            await self.reach()
        except Exception:
            log.debug("not reachable", mailbox=self.gate.name, exc_info=True)
            return False
        return True
