"""State is the truth, messages are hints: what an actor's rows still wait for is driven again when due.

Any number of settlers may run at once: each takes rows that no other has in hand (`FOR UPDATE SKIP LOCKED`).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

import structlog

from common.backoff import Backoff
from common.database import DATABASE_AWAY
from common.streams import REDIS_AWAY

log = structlog.get_logger()


class Settler(ABC):
    """A loop over `run_once`, which drives what is due."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()

    @abstractmethod
    async def run_once(self) -> float:
        """Drive what is due; says after how many seconds to look again."""

    def stop(self) -> None:
        """`run` returns after the pass under way."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`; waits while Postgres or Redis is away."""
        backoff = Backoff(first=0.2, most=5.0)
        while not self._stopping.is_set():
            try:
                pause = await self.run_once()
                backoff.reset()
            except (*DATABASE_AWAY, *REDIS_AWAY) as away:
                pause = backoff.next()
                log.warning("settling paused", error=f"{type(away).__name__}: {away}")
            try:
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            except TimeoutError:
                continue
