"""Background tasks: named, supervised, and never failing in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog
from aiohttp import web

# Before Python 3.12 `asyncio.wait_for`, by which redis-py sends, returns as if nothing had been when it is
# cancelled in the very moment in which it is done (https://github.com/python/cpython/issues/86296): then it is
# asked again.
CANCEL_AGAIN_S = 0.25

log = structlog.get_logger()


class Supervisor:
    """Named background tasks. When one ends with an error, or is cancelled though nobody asked for it, the process
    is asked to stop."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.failed = False
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
            self.stop.set()


SUPERVISOR = web.AppKey("supervisor", Supervisor)


async def finish(task: asyncio.Task[Any], seconds: float) -> None:
    """Wait for `task` to end by itself, at most `seconds`, then cancel it. Its errors are the supervisor's."""
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        log.warning("cancelled at stop", task=task.get_name())
        await cancel(task)


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
