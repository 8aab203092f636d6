"""Background tasks: named, supervised, and never failing in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import structlog
from aiohttp import web

# Before Python 3.12 `asyncio.wait_for`, by which redis-py sends, returns as if nothing had been when it is
# cancelled in the very moment in which it is done (https://github.com/python/cpython/issues/86296): then it is
# asked again.
CANCEL_AGAIN_S = 0.25
# What was asked to end has so long at the least: clients may have used up the time of the stop.
LAST_SECONDS = 1.0

log = structlog.get_logger()


class Supervisor:
    """Named background tasks. When one ends with an error, or is cancelled though nobody asked for it, the process
    is asked to stop, and at once.

    `stop`: the process was asked to stop. `at_once`: it does not go on serving for a while first.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.at_once = asyncio.Event()
        self.failed = False
        # Until when, in the event loop's time, all that ends at a stop must have ended.
        self._deadline: float | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            if task.cancelling():
                return
            # Nobody asked for it: something that it awaited was cancelled.
            error: BaseException | None = asyncio.CancelledError()
        else:
            error = task.exception()
        if error is not None:
            log.critical("task died", task=task.get_name(), exc_info=error)
            self.failed = True
            self.at_once.set()
            self.stop.set()

    def allow(self, seconds: float) -> None:
        """All that ends at the stop has so long from now on, together. The first call counts."""
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + seconds

    def seconds_left(self) -> float:
        """Of what was allowed; 0 when it is over."""
        assert self._deadline is not None
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    async def finish(self, task: asyncio.Task[Any], seconds: float) -> None:
        """Wait for `task`, which was asked to end, as long as the stop may still take, then cancel it. `seconds` is
        what the whole stop may take, where it begins with this task. Its errors were told when it ended."""
        self.allow(seconds)
        done, _ = await asyncio.wait({task}, timeout=max(self.seconds_left(), LAST_SECONDS))
        if not done:
            log.warning("cancelled at stop", task=task.get_name())
            await cancel(task)


SUPERVISOR = web.AppKey("supervisor", Supervisor)


async def wait_at_most(event: asyncio.Event, seconds: float) -> None:
    """Until `event` is set, or for so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel `task` and wait for its end."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)


def heed_cancel() -> None:
    """For loops over Redis: raises CancelledError when this task was cancelled and was not told, see above."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
