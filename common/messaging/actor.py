"""The loops of one process. Each mailbox has a loop of its own, and they do not wait for one another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from redis.asyncio import Redis

from common.messaging.bus import Bus
from common.messaging.loop import Intake, Loop
from common.messaging.redis import writable
from common.runtime.health import Health
from common.runtime.settings import ActorSettings
from common.runtime.telemetry import Metrics


class Actor:
    """The loops of one process' mailboxes, started and stopped together."""

    def __init__(
        self,
        intakes: Sequence[Intake],
        *,
        bus: Bus,
        redis: Redis,
        settings: ActorSettings,
        metrics: Metrics,
        health: Health,
        ping: Callable[[], Awaitable[object]],
    ) -> None:
        async def reachable() -> None:
            await writable(redis)
            await ping()

        self.loops = {
            intake.mailbox.stream: Loop(
                intake,
                bus,
                settings,
                metrics,
                health.gate(intake.mailbox.stream),
                reachable=reachable,
            )
            for intake in intakes
        }

    def stop(self) -> None:
        for loop in self.loops.values():
            loop.stop()

    async def run(self) -> None:
        """Until `stop`; an unexpected error of one loop ends all and is raised."""
        async with asyncio.TaskGroup() as group:
            for stream, loop in self.loops.items():
                group.create_task(_watch(loop), name=f"loop {stream}")


async def _watch(loop: Loop) -> None:
    try:
        await loop.run()
    except asyncio.CancelledError as cancelled:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # It came out of something that was awaited. A group would take it for an end as it should be.
        raise RuntimeError("what a loop awaited was cancelled") from cancelled
