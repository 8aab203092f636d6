"""The yardstick: an aiohttp server that only reads and sends JSON, as a process of its own.

`python -m bench.raw` serves it on PORT. Holdfast's costs are stated as multiples of what one request costs here.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson
import uvloop
from aiohttp import web

from bench.cpu import spent
from bench.errors import BenchError
from ops.actor import ActorProcess
from ops.child import HOST, free_port

JSON = {"Content-Type": "application/json"}
READY = "/health/ready"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class RawLoad:
    """`requests` answered in `seconds`, for `cpu` seconds of the server's CPU."""

    requests: int
    seconds: float
    cpu: float

    @property
    def cpu_ms(self) -> float:
        """CPU of one request, in milliseconds."""
        return self.cpu / self.requests * 1000


class RawServer:
    """The running server, and the load on it."""

    def __init__(self, process: ActorProcess, session: aiohttp.ClientSession) -> None:
        self._process = process
        self._session = session
        self.loads: list[RawLoad] = []

    async def load(self, bodies: Sequence[bytes], concurrency: int, seconds: float) -> RawLoad:
        """`concurrency` clients, each of which posts one body after the other."""
        url = f"{self._process.url}/orders"
        before, started = spent(self._process.pid), time.perf_counter()
        done = 0

        async def work(number: int) -> None:
            nonlocal done
            body = bodies[number % len(bodies)]
            while time.perf_counter() - started < seconds:
                async with self._session.post(url, data=body, headers=JSON) as response:
                    answer = orjson.loads(await response.read())
                if response.status != 201 or answer["quantity"] != 1:
                    raise BenchError(f"{response.status} {answer}")
                done += 1

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(concurrency):
                    group.create_task(work(number))
        except* (BenchError, aiohttp.ClientError) as failures:
            raise BenchError(f"the raw server: {failures.exceptions[0]}") from None
        load = RawLoad(done, time.perf_counter() - started, spent(self._process.pid) - before)
        self.loads.append(load)
        return load


@asynccontextmanager
async def running(folder: Path, session: aiohttp.ClientSession) -> AsyncIterator[RawServer]:
    """The server as a child process, stopped at the end; its output goes to `folder`."""
    async with process("raw", "bench.raw", folder) as server:
        yield RawServer(server, session)


@asynccontextmanager
async def process(name: str, module: str, folder: Path, **settings: str) -> AsyncIterator[ActorProcess]:
    """`python -m module`, which serves on PORT, as a child process with these environment variables."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), **settings}
    child = ActorProcess(name, module, free_port(), folder / f"{name}.log", environment, READY)
    try:
        await child.start()
        yield child
    finally:
        await child.stop()


async def _order(request: web.Request) -> web.Response:
    body = orjson.loads(await request.read())
    return web.Response(
        body=orjson.dumps({**body, "status": "pending"}), status=201, content_type="application/json"
    )


async def _ready(_: web.Request) -> web.Response:
    return web.Response()


def bare(method: str, path: str, view: Handler) -> web.Application:
    """An application with one view, and one view that answers that it is ready."""
    app = web.Application()
    app.router.add_route(method, path, view)
    app.router.add_get(READY, _ready)
    return app


async def serve(app: web.Application, port: int) -> None:
    """Run until SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(serve(bare("POST", "/orders", _order), int(os.environ["PORT"])))
