"""Background tasks of a process: they start and stop with it, and wait during an outage of what they need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiohttp import web

from common.runtime.backoff import Backoff
from common.runtime.health import HEALTH, Gate
from common.runtime.outages import Outage, error_text, log_outage
from common.runtime.supervisor import SUPERVISOR, cancel, raise_if_cancelled, wait_at_most

log = structlog.get_logger()


@asynccontextmanager
async def background(
    app: web.Application,
    name: str,
    run: Callable[[Gate], Coroutine[Any, Any, None]],
    *,
    stop: Callable[[], None] | None = None,
    shutdown_s: float = 0.0,
) -> AsyncIterator[Gate]:
    """Runs `run` as a supervised task, with a gate of its name in the process' readiness. At the end `stop` is
    called and the task may finish, within the `shutdown_s` seconds of the process' stop; without `stop` it is
    cancelled."""
    gate = app[HEALTH].gate(name)
    task = app[SUPERVISOR].spawn(name, run(gate))
    yield gate
    if stop is None:
        await cancel(task)
        return
    stop()
    await app[SUPERVISOR].finish(task, shutdown_s)


async def repeat(
    run_once: Callable[[], Awaitable[float]],
    gate: Gate,
    *,
    first_s: float = 0.2,
    most_s: float = 5.0,
    stopping: asyncio.Event | None = None,
) -> None:
    """Call `run_once` until cancelled or `stopping`; it returns after how many seconds to call it again.

    During an outage of Redis or Postgres `gate` is closed, so that the process is not ready, and the pauses grow
    from `first_s` to `most_s` seconds. Any other error is raised, and ends the process.
    """
    stopping = stopping or asyncio.Event()
    backoff = Backoff(first_s, most_s)
    gate.open()  # ready until a call meets an outage
    while not stopping.is_set():
        raise_if_cancelled()
        try:
            pause = await run_once()
        except Outage as outage:
            if gate.reason is None:
                log_outage("paused", outage, task=gate.name)
            gate.close(error_text(outage))
            pause = backoff.next()
        else:
            if gate.reason is not None:
                log.info("going on", task=gate.name)
            gate.open()
            backoff.reset()
        await wait_at_most(stopping, pause)
