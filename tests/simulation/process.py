"""A process of the simulation: tasks that live and die together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

_CURRENT: ContextVar[Process | None] = ContextVar("process", default=None)


class Process:
    """All tasks that run in its context belong to it, whatever started them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        # A dict, because it keeps the order in which tasks were made, which a set does not.
        self.tasks: dict[asyncio.Task[Any], None] = {}

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        context = copy_context()
        context.run(_CURRENT.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    def kill(self, spared: asyncio.Task[Any] | None = None) -> None:
        """As by SIGKILL: from now on nothing that it does has any effect; see `Gates.reach`."""
        self.alive = False
        for task in list(self.tasks):
            if task is not spared:
                task.cancel()


def current() -> Process | None:
    """The process that the current task belongs to; None for the world around."""
    return _CURRENT.get()


def process_of(context: Context | None) -> Process | None:
    """The process whose context this is; without one, the current process."""
    return _CURRENT.get() if context is None else context.get(_CURRENT)
