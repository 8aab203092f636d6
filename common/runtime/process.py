"""Running a process: SIGTERM drains it, and an error in any background task stops it with exit code 1."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import structlog
import uvloop
from aiohttp import web

from common.contracts.errors import ConfigurationError
from common.runtime import logs
from common.runtime.admin import admin_app
from common.runtime.health import HEALTH
from common.runtime.server import Runner, Site
from common.runtime.settings import ProcessSettings, former_names, load
from common.runtime.supervisor import SUPERVISOR, wait_at_most

log = structlog.get_logger()

S = TypeVar("S", bound=ProcessSettings)

# After this many new objects Python's garbage collector searches them for cycles. A batch makes tens of thousands,
# which hardly ever need it: with Python's default of 700 the collector used a fifth of an actor's CPU.
GC_NEW_OBJECTS = 20_000
# So long a process that shares its port waits to be able to serve, before it listens: several times what a start
# takes.
UNHEARD_SECONDS = 5.0


async def serve(app: web.Application, settings: ProcessSettings) -> int:
    """Serve `app` until SIGTERM or SIGINT; returns the exit code.

    From the signal on `/health/ready` answers 503, and every connection ends with its next answer. After
    `drain_seconds` the process accepts no more connections and finishes requests under way; then the cleanup
    contexts stop what they started. SIGINT, which is a person's Ctrl-C, and any second signal end the draining.
    """
    loop = asyncio.get_running_loop()
    supervisor = app[SUPERVISOR]

    def on_signal(number: signal.Signals) -> None:
        if supervisor.stop.is_set() or number == signal.SIGINT:
            supervisor.at_once.set()
        supervisor.stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    runner, admin = Runner(app, settings), Runner(admin_app(app), settings)
    await runner.setup()
    await admin.setup()
    try:
        public = Site(runner, settings.host, settings.port, reuse_port=settings.reuse_port)
        operators = Site(admin, settings.admin_host, settings.admin_port)
        try:
            if settings.reuse_port:
                await _until_it_can_serve(app)
            await public.start()
            await operators.start()  # last: what is ready there also listens for its clients
        except OSError as error:
            print(error.strerror, file=sys.stderr)  # noqa: T201
            return 1
        _spare_collector()
        log.info(
            "listening",
            host=settings.host,
            port=public.port,
            admin_host=settings.admin_host,
            admin_port=operators.port,
        )
        await supervisor.stop.wait()
        log.info("stopping")
        app[HEALTH].draining = True
        await wait_at_most(supervisor.at_once, settings.drain_seconds)
    finally:
        await asyncio.gather(runner.cleanup(), admin.cleanup())
    log.info("stopped")
    return 1 if supervisor.failed else 0


async def _until_it_can_serve(app: web.Application) -> None:
    """Where processes share a port, the others serve clients meanwhile. After UNHEARD_SECONDS it listens all the
    same, and says what is wrong: in an outage the others may have ended."""
    waiting = [asyncio.ensure_future(event) for event in (app[HEALTH].opened(), app[SUPERVISOR].stop.wait())]
    await asyncio.wait(waiting, timeout=UNHEARD_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()


def _allow_open_files() -> None:
    """Allow as many open files as the system permits: each client uses one. A shell's own limit is mostly 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _spare_collector() -> None:
    """Freeze what the start has allocated, so that the garbage collector never scans it again. Python delays a full
    collection until a quarter of what the last one left has been added: the second one here leaves nothing, so that
    frozen objects do not count."""
    gc.collect()
    gc.freeze()
    gc.collect()
    _, *older = gc.get_threshold()
    gc.set_threshold(GC_NEW_OBJECTS, *older)


def main(process: str, kind: type[S], build_app: Callable[[S], web.Application]) -> None:
    """Read the settings, build the application, serve it; exits with 2 when a setting is wrong."""
    try:
        settings = load(kind)
        app = build_app(settings)
    except ConfigurationError as error:
        print(f"{process}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    _allow_open_files()
    logs.configure(settings.log_level, settings.log_format, process, settings.instance)
    for former, name in former_names(kind).items():
        log.warning("setting renamed", old=former.upper(), new=name.upper())
    sys.exit(uvloop.run(serve(app, settings)))
