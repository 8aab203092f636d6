"""Whether what a consumer's handlers need is there, and with that whether the consumer is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from common.runtime.backoff import Backoff
from common.runtime.health import Gate
from common.runtime.outages import Away, log_away, said
from common.runtime.supervisor import wait_at_most

# A dependency that has not answered after this many seconds is away.
REACH_TIMEOUT_S = 5.0

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class Dependencies:
    """Closes `gate` while something is away, or refuses work though it answers. `ask` raises while something is
    away. Work that was refused bars for `barred_s` seconds, unless some succeeds before."""

    gate: Gate
    ask: Callable[[], Awaitable[object]]
    stopping: asyncio.Event
    barred_s: float
    _barred_until: float = field(default=0.0, init=False)

    @property
    def barred(self) -> bool:
        """All answers, and work was refused all the same."""
        return time.monotonic() < self._barred_until

    async def reach(self) -> None:
        """Raises what says that something is away, or TimeoutError."""
        async with asyncio.timeout(REACH_TIMEOUT_S):
            await self.ask()

    async def are_away(self, error: Exception) -> bool:
        """Whether `error` came of a dependency that is away. Any other error, and time that ran out, is judged by
        whether they answer."""
        if isinstance(error, Away) and not error.slow:
            return True
        if await self._answer():
            return False
        self.pause(error)
        return True

    def pause(self, error: BaseException) -> None:
        if self.gate.opened.is_set() or self.gate.reason == "starting":
            log_away("paused", error, mailbox=self.gate.name)
        self.gate.close(said(error))

    def open(self) -> None:
        """All answers; where work is barred, that is not enough."""
        if self.barred:
            return
        if self.gate.reason is not None:
            log.info("reading", mailbox=self.gate.name)
        self.gate.open()

    def succeeded(self) -> None:
        if self.barred:
            self._barred_until = 0.0
            self.open()

    async def rest(self, backoff: Backoff, error: BaseException | None = None) -> None:
        """Wait a little, but not beyond a stop; paused where there is an error."""
        if error is not None:
            self.pause(error)
        await wait_at_most(self.stopping, backoff.next())

    async def are_back(self, error: BaseException) -> bool:
        """Wait until they answer after `error`; False where the process stops before."""
        backoff = Backoff(first=0.1)
        hidden = isinstance(error, Away) and error.stated
        while not await self._answer():
            hidden = False
            if self.stopping.is_set():
                return False
            await self.rest(backoff, error)
        if not hidden:
            self.open()
            return True
        # Such as a command that is not permitted, or a full disk.
        self.pause(error)
        self._barred_until = time.monotonic() + self.barred_s
        return not self.stopping.is_set()

    async def _answer(self) -> bool:
        try:
            await self.reach()
        except Exception:
            log.debug("not reachable", mailbox=self.gate.name, exc_info=True)
            return False
        return True
