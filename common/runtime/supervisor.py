"""Background tasks: named, supervised, and never failing without a log line."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import structlog
from aiohttp import web

# Before Python 3.12 `asyncio.wait_for`, by which redis-py sends, swallows a cancellation that arrives just as it
# completes (https://github.com/python/cpython/issues/86296). So `cancel` cancels again after this many seconds.
CANCEL_AGAIN_SECONDS = 0.25
# Tasks that `cancel` was called for. `Task.cancelling()` does not say it: before Python 3.13 a task group in which
# one has failed may leave it above 0 (https://github.com/python/cpython/issues/116720).
_cancelled: WeakSet[asyncio.Task[Any]] = WeakSet()
# A task that was asked to end has at least this many seconds, even if clients have used up the time of the stop.
LAST_SECONDS = 1.0

log = structlog.get_logger()


class Supervisor:
    """Named background tasks. When one ends with an error, or is cancelled although nobody cancelled it, the
    process stops, and at once.

    `stop`: the process was asked to stop. `at_once`: it does not drain first.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.at_once = asyncio.Event()
        self.failed = False
        # In the event loop's time: when all that ends at a stop must have ended.
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
            if task in _cancelled:
                return
            # Nobody has cancelled it: something that it awaited was cancelled.
            error: BaseException | None = asyncio.CancelledError()
        else:
            error = task.exception()
        if error is not None:
            log.critical("task died", task=task.get_name(), exc_info=error)
            self.failed = True
            self.at_once.set()
            self.stop.set()

    def allow(self, seconds: float) -> None:
        """All that ends at the stop has this many seconds from now on, together. Only the first call counts."""
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + seconds

    def seconds_left(self) -> float:
        """How many of the allowed seconds are left; 0 when they are over."""
        assert self._deadline is not None
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    async def finish(self, task: asyncio.Task[Any], seconds: float) -> None:
        """Wait for `task`, which was asked to end, for the rest of the stop's time, then cancel it. `seconds` is
        what the whole stop may take, if it begins with this task. An error of the task was logged when it ended."""
        self.allow(seconds)
        done, _ = await asyncio.wait({task}, timeout=max(self.seconds_left(), LAST_SECONDS))
        if not done:
            log.warning("cancelled at stop", task=task.get_name())
            await cancel(task)


SUPERVISOR = web.AppKey("supervisor", Supervisor)


async def wait_at_most(event: asyncio.Event, seconds: float) -> None:
    """Wait until `event` is set, or for `seconds`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel `task` and wait for its end."""
    _cancelled.add(task)
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_SECONDS)


def raise_if_cancelled() -> None:
    """For loops over Redis: raises this task's CancelledError if it was swallowed, see CANCEL_AGAIN_SECONDS."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
