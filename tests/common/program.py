"""A process that only does what a test of processes needs: `python -m tests.common.program`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Literal

import structlog
from aiohttp import web

from common.runtime.health import HEALTH
from common.runtime.process import main
from common.runtime.settings import ProcessSettings
from common.runtime.supervisor import SUPERVISOR
from common.runtime.web import new_app, read_body

log = structlog.get_logger()


class Settings(ProcessSettings):
    ends: Literal["on stop", "dying", "cancelled"] = "on stop"
    a_secret: int = 0
    # It cannot serve until it is sent SIGUSR1.
    gated: bool = False


def build_app(settings: Settings) -> web.Application:
    app = new_app(body_seconds=settings.body_seconds)
    app.router.add_get("/slow", slow)
    app.router.add_post("/size", size)

    if settings.gated:
        app.on_startup.append(gated)

    async def background(app: web.Application) -> AsyncIterator[None]:
        stopped = asyncio.Event()
        task = app[SUPERVISOR].spawn("worker", work(settings.ends, stopped))
        yield
        stopped.set()
        await app[SUPERVISOR].finish(task, 5)

    app.cleanup_ctx.append(background)
    return app


async def gated(app: web.Application) -> None:
    gate = app[HEALTH].gate("what it needs")

    def on_signal() -> None:
        gate.open()
        log.info("opened")

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, on_signal)
    log.info("gated")


async def work(ends: str, stopped: asyncio.Event) -> None:
    if ends == "dying":
        raise RuntimeError("the worker is broken")
    if ends == "cancelled":
        cancelled = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        await cancelled
    await stopped.wait()


async def size(request: web.Request) -> web.Response:
    return web.json_response(len(await read_body(request)))


async def slow(request: web.Request) -> web.StreamResponse:
    """Answers in two parts, the second when the process is asked to stop."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"begun\n")
    await request.app[SUPERVISOR].stop.wait()
    await response.write(b"finished\n")
    return response


if __name__ == "__main__":
    main("program", Settings, build_app)
