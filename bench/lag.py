"""How late an event loop is: the figures of a load driver are only as good as its own loop."""

from __future__ import annotations

import asyncio
import time

PERIOD_SECONDS = 0.01


class Lag:
    """Watches the running loop; `samples` are in seconds."""

    def __init__(self) -> None:
        self.samples: list[float] = []

    async def watch(self) -> None:
        """Run until cancelled."""
        while True:
            due = time.perf_counter() + PERIOD_SECONDS
            await asyncio.sleep(PERIOD_SECONDS)
            self.samples.append(max(time.perf_counter() - due, 0.0))
