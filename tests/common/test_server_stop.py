"""A server that stops answers all requests that have reached it, ends every connection, and is delayed by none."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import uvloop
from aiohttp import web

from common.runtime import kernel
from common.runtime.health import HEALTH
from common.runtime.server import DISMISSAL, HANDSHAKE_SECONDS, NEXT_REQUEST_SECONDS, Runner, Site
from common.runtime.settings import ProcessSettings
from common.runtime.web import new_app, read_body
from tests.common.stage import until

GIVES_UP_SECONDS = 15
CLIENTS = 40
GET = b"GET /size HTTP/1.1\r\nHost: here\r\n\r\n"
POST = b"POST /size HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\n"
# Seconds that a stop may take on a busy machine when nothing delays it.
SOON_SECONDS = HANDSHAKE_SECONDS + NEXT_REQUEST_SECONDS + 5


class Serving:
    """A server in this process, on the event loop that the processes use."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.waits = asyncio.Event()
        self.go_on = asyncio.Event()

    @classmethod
    async def start(cls, **settings: Any) -> Serving:
        app = new_app()
        limits = ProcessSettings(**settings)
        serving = cls(Runner(app, limits))

        async def size(request: web.Request) -> web.Response:
            return web.json_response(len(await read_body(request)))

        async def held(request: web.Request) -> web.Response:
            serving.waits.set()
            await serving.go_on.wait()
            return web.json_response("held")

        async def endless(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            serving.waits.set()
            while True:
                await response.write(b"x" * 100_000)

        app.router.add_route("*", "/size", size)
        app.router.add_get("/held", held)
        app.router.add_get("/endless", endless)
        await serving._runner.setup()
        await Site(serving._runner, limits.host, limits.port).start()
        return serving

    def drain(self) -> None:
        self._runner.app[HEALTH].draining = True

    async def stop(self) -> float:
        """Returns how many seconds it took."""
        loop = asyncio.get_running_loop()
        self.drain()
        started = loop.time()
        await self._runner.cleanup()
        return loop.time() - started

    @contextmanager
    def client(self) -> Iterator[socket.socket]:
        """An open connection that this process has not accepted yet."""
        with socket.create_connection(self._runner.addresses[0], timeout=GIVES_UP_SECONDS) as client:
            client.setblocking(False)
            yield client

    async def accepts(self, connections: int) -> None:
        server = self._runner.server
        assert server is not None
        await until(lambda: len(server.connections) == connections)


async def send(client: socket.socket, content: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(client, content)


async def answer(client: socket.socket) -> bytes:
    """One answer of the server."""
    async with asyncio.timeout(GIVES_UP_SECONDS):
        got = b""
        while not got.endswith(b"\r\n\r\n0") and b'"held"' not in got:
            more = await asyncio.get_running_loop().sock_recv(client, 65536)
            assert more, got
            got += more
    return got


async def all_of(client: socket.socket) -> bytes:
    """All that the server sends until it ends the connection."""
    async with asyncio.timeout(GIVES_UP_SECONDS):
        got = b""
        while more := await asyncio.get_running_loop().sock_recv(client, 65536):
            got += more
    return got


def play(scene: Callable[[], Awaitable[None]]) -> Any:
    """A test on the event loop that the processes use."""

    async def bounded() -> None:
        async with asyncio.timeout(4 * GIVES_UP_SECONDS):
            await scene()

    async def test() -> None:
        await asyncio.to_thread(uvloop.run, bounded())

    test.__doc__ = scene.__doc__
    return test


@play
async def test_connections_not_accepted_yet_are_answered() -> None:
    """They wait in the kernel when the stop begins."""
    serving = await Serving.start()
    with ExitStack() as stack:
        clients = [stack.enter_context(serving.client()) for _ in range(CLIENTS)]
        for client in clients:
            client.send(GET)
        assert await serving.stop() < SOON_SECONDS
        for client in clients:
            assert (await all_of(client)).startswith(b"HTTP/1.1 200 ")


@play
async def test_connections_just_accepted_are_answered() -> None:
    """Their handlers have not begun, and their requests have not arrived."""
    serving = await Serving.start()
    with ExitStack() as stack:
        clients = [stack.enter_context(serving.client()) for _ in range(CLIENTS)]
        await serving.accepts(CLIENTS)
        stopping = asyncio.create_task(serving.stop())
        await asyncio.sleep(0)
        for client in clients:
            client.send(GET)
        for got in await asyncio.gather(*map(all_of, clients)):
            assert got.startswith(b"HTTP/1.1 200 ")
            assert b"Connection: close" in got
        assert await stopping < SOON_SECONDS


@play
async def test_connection_that_sends_nothing_is_waited_for_and_then_ended() -> None:
    serving = await Serving.start()
    with serving.client() as late, serving.client() as silent:
        stopping = asyncio.create_task(serving.stop())
        await serving.accepts(2)
        await send(late, GET)
        assert (await all_of(late)).startswith(b"HTTP/1.1 200 ")
        assert await all_of(silent) == DISMISSAL
        silent.close()
        assert await stopping < SOON_SECONDS


@play
async def test_kept_connection_ends_with_its_next_answer() -> None:
    serving = await Serving.start()
    with serving.client() as client:
        await send(client, GET)
        assert b"Connection: close" not in await answer(client)
        serving.drain()
        await send(client, GET)
        got = await all_of(client)
        assert got.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" in got
    await serving.stop()


@play
async def test_request_that_crosses_the_end_of_its_idle_connection_is_answered() -> None:
    """The connection does not end without an answer, and no reset discards the answer."""
    serving = await Serving.start()
    with serving.client() as client:
        await send(client, GET)
        await answer(client)
        stopping = asyncio.create_task(serving.stop())
        await until(lambda: kernel.unread_bytes(client))
        await send(client, GET)
        assert await all_of(client) == DISMISSAL
        client.close()
        assert await stopping < SOON_SECONDS


@play
async def test_requests_that_were_sent_together_are_all_answered() -> None:
    serving = await Serving.start()
    with serving.client() as client:
        await send(client, GET * 3)
        stopping = asyncio.create_task(serving.stop())
        got = await all_of(client)
        assert (got.count(b"HTTP/1.1 200 "), got.count(b"Connection: close")) == (3, 1)
        await stopping


@play
async def test_request_under_way_is_finished() -> None:
    serving = await Serving.start()
    with serving.client() as client:
        await send(client, GET.replace(b"size", b"held"))
        await serving.waits.wait()
        stopping = asyncio.create_task(serving.stop())
        await asyncio.sleep(HANDSHAKE_SECONDS)
        serving.go_on.set()
        assert b'"held"' in await all_of(client)
        assert await stopping < SOON_SECONDS


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"GET /size HTTP/1.1\r\nHost", id="half a head"),
        pytest.param(POST + b"12345", id="half a body"),
        pytest.param(GET.replace(b"size", b"held"), id="a handler that does not end"),
        pytest.param(GET.replace(b"size", b"endless"), id="an answer that nobody reads"),
        pytest.param(GET * 5000, id="requests without end"),
    ],
)
async def test_no_client_delays_a_stop(content: bytes) -> None:
    @play
    async def scene() -> None:
        serving = await Serving.start(shutdown_seconds=0.5)
        with serving.client() as client:
            client.setblocking(True)
            sending = asyncio.create_task(asyncio.to_thread(client.sendall, content))
            await serving.accepts(1)
            assert await serving.stop() < 0.5 + SOON_SECONDS
            await asyncio.wait([sending])

    await scene()


async def test_kernel_begins_no_handshake_for_a_socket_that_refuses_them() -> None:
    """A handshake that has begun ends: its connection is in the queue."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as stack:
        stack.enter_context(socket.create_connection(listening.getsockname(), timeout=GIVES_UP_SECONDS))
        assert kernel.refuse_handshakes(listening)
        with pytest.raises(TimeoutError):
            socket.create_connection(listening.getsockname(), timeout=0.2)
        listening.setblocking(False)
        listening.accept()[0].close()
        with pytest.raises(BlockingIOError):
            listening.accept()
