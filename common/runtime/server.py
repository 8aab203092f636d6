"""The HTTP server of every process: it bounds how long it waits for slow clients, never logs what is not HTTP, and
stops without leaving a request unanswered."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import structlog
from aiohttp import hdrs, web

from common.contracts.errors import MalformedRequest
from common.runtime.kernel import refuse_handshakes, unread_bytes
from common.runtime.settings import ProcessSettings
from common.runtime.supervisor import SUPERVISOR
from common.runtime.web import problem, translate

# Linux only: how long sent data may stay unacknowledged, also while the other side's receive window is closed.
# https://www.rfc-editor.org/rfc/rfc5482
USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)

LINGERING_SECONDS = 10.0
# Connections that may wait to be accepted. The kernel drops further attempts, and their clients try again after 1,
# 2, 4, … seconds. Linux allows at most net.core.somaxconn, 4096 as a rule.
BACKLOG = 4096
# Accept at most this many connections per wake-up, so that other tasks can run.
ACCEPT_MAX = 128
# While no file can be opened, connections wait for so many seconds until the next attempt to accept them.
ACCEPT_AGAIN_SECONDS = 1.0
# At a stop: seconds in which handshakes that have begun may end: a round trip to the client.
HANDSHAKE_SECONDS = 0.3
# At a stop: seconds after a connection was made, or last answered, in which its next request may still arrive.
NEXT_REQUEST_SECONDS = 1.0
# At a stop: how many seconds a dismissed connection stays open for what its client had sent before.
DISMISSED_SECONDS = 1.0
# At a stop: seconds between checks of the connections.
CHECK_SECONDS = 0.02
# How many seconds cancelled handlers may take to end.
CANCELLED_SECONDS = 1.0
# Sent over a connection without a request when it has to end. A client that sends a request at the same moment gets
# this as its answer, which permits it to retry: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9. Clients and
# proxies that receive it without a request treat the connection as closed.
DISMISSAL = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

# Whether a connection from an address is accepted: asked before anything is made for it.
Admits = Callable[[str], bool]
ADMITS: web.AppKey[Admits] = web.AppKey("admits")

log = structlog.get_logger()


class _Request(web.Request):
    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        """Which server and release answers is nobody's business: aiohttp has just added it."""
        await super()._prepare_hook(response)
        response.headers.pop(hdrs.SERVER, None)


class Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = ("_arriving", "dismissed")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A part of a request's head has arrived, and the rest has not.
        self._arriving = False
        # Its client was asked to send its next request over another connection.
        self.dismissed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if USER_TIMEOUT is not None and (kernel := transport.get_extra_info("socket")) is not None:
            kernel.setsockopt(socket.IPPROTO_TCP, USER_TIMEOUT, int(self.keepalive_timeout * 1000))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """For what cannot be parsed: aiohttp would log a traceback that shows the header, with the token in it."""
        if status != 400:
            return super().handle_error(request, status, exc, message)
        log.info("not HTTP", error=type(exc).__name__)
        response = problem(MalformedRequest("The request line or a header is not HTTP/1.1, or too long"))
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """A body that breaks after its request was answered is an error of the client, not ours."""
        if isinstance(kwargs.get("exc_info"), web.RequestPayloadError):
            log.info("the rest of a body cannot be read")
        else:
            super().log_exception(*args, **kwargs)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._arriving = self._waits and bool(data)

    @property
    def _waits(self) -> bool:
        """Whether it waits for a request and no complete head of one has arrived."""
        return self._waiter is not None and not self._waiter.done() and not self._messages

    @property
    def more(self) -> bool:
        """Whether its client has sent more requests behind the one that is being handled."""
        return bool(self._messages)

    def idle(self) -> bool:
        """Whether it had time to send its next request, or its first, and has not."""
        if self.dismissed or not self._waits or self._arriving or self.transport is None:
            return False
        waits_since = self._next_keepalive_close_time - self.keepalive_timeout
        if self._loop.time() - waits_since < NEXT_REQUEST_SECONDS:
            return False
        kernel = self.transport.get_extra_info("socket")
        return kernel is None or not unread_bytes(kernel)

    def dismiss(self) -> None:
        """End the connection, which is idle: send DISMISSAL, and read for a while longer. If it closed at once,
        data on its way from the client would make TCP reset it, and the client would lose what it was sent."""
        transport = cast(asyncio.Transport, self.transport)
        self.dismissed = True
        self._close = True  # aiohttp's: it reads no further request
        transport.write(DISMISSAL)
        transport.write_eof()
        self._loop.call_later(DISMISSED_SECONDS, transport.abort)

    def cut(self) -> asyncio.Task[None] | None:
        """End the connection and its handler at once; returns the task that was cancelled, if there was one."""
        task = self._task_handler
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()  # even if the client does not read what was sent
        if task is not None:
            task.cancel()
        return task


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)

    async def end(self, seconds: float) -> None:
        """Let requests under way finish, also those that are still arriving, and end every connection. Connections
        that take longer than `seconds` are cut."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while (left := cast(list[Connection], self.connections)) and loop.time() < deadline:
            for connection in left:
                if connection.idle():
                    connection.dismiss()
            if all(connection.dismissed for connection in left):
                deadline = min(deadline, loop.time() + DISMISSED_SECONDS)
            await asyncio.sleep(CHECK_SECONDS)
        if slow := sum(not connection.dismissed for connection in left):
            log.warning("connections cut off at stop", connections=slow)
        if cut := [task for connection in left if (task := connection.cut()) is not None]:
            await asyncio.wait(cut, timeout=CANCELLED_SECONDS)


class Runner(web.AppRunner):
    """Runs an application with `settings`' limits."""

    def __init__(self, app: web.Application, settings: ProcessSettings) -> None:
        self._shutdown_seconds = settings.shutdown_seconds
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=settings.idle_seconds,
            # How long the rest of a refused body is read.
            lingering_time=min(LINGERING_SECONDS, settings.idle_seconds),
            # Compressed bodies are refused (`web.refuse_encodings`): decompressing one takes a second for each MB.
            auto_decompress=False,
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        handle = made.request_handler

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            try:
                return await handle(request)
            except web.HTTPException as error:  # before any middleware: an Expect that aiohttp does not know
                if error.status < 400:
                    raise
                return translate(error)

        factory = partial(cast(Any, made.request_factory), _cls=_Request)
        return _Server(answer, request_factory=factory, **self._kwargs)

    async def cleanup(self) -> None:
        """Accept no more connections, answer what has arrived, and stop the application.

        Connections and the application's own work have `shutdown_seconds` together. aiohttp's own cleanup leaves
        requests on connections that were just accepted without an answer, and waits for those connections in vain.
        """
        supervisor = self.app[SUPERVISOR]
        for site in self.sites:
            await site.stop()
        supervisor.allow(self._shutdown_seconds)
        if isinstance(self.server, _Server):
            await self.shutdown()
            await self.server.end(supervisor.seconds_left())
        self._server = None
        await self._cleanup_server()


class Site(web.TCPSite):
    """Where the process listens.

    The event loop's server only binds the sockets. It would accept one connection per iteration (libuv does, since
    1.45), and an iteration is long under load: in a rush more connections arrive than that, and the kernel drops or
    breaks them. Here all that wait are accepted, and nothing is made for those that are refused.
    """

    __slots__ = ("_admits", "_listening", "_opening")

    def __init__(self, runner: Runner, host: str, port: int, *, reuse_port: bool = False) -> None:
        """Port 0: the system chooses one."""
        super().__init__(runner, host, port, reuse_port=reuse_port or None)
        self._admits = runner.app.get(ADMITS)
        self._listening: list[socket.socket] = []
        self._opening: set[asyncio.Task[object]] = set()

    async def start(self) -> None:
        """Raises OSError, which names the address, when it cannot be used."""
        await web.BaseSite.start(self)
        assert self._runner.server is not None
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                self._runner.server, self._host, self._port, reuse_port=self._reuse_port, start_serving=False
            )
            for each in self._server.sockets:
                # A copy of the descriptor: the event loop closes its own.
                listening = socket.socket(fileno=os.dup(each.fileno()))
                self._listening.append(listening)
                listening.setblocking(False)
                listening.listen(BACKLOG)
                loop.add_reader(listening, self._accept, listening)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {self._host}:{self._port}: {error.strerror}") from None

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._listening[0].getsockname()[1])

    async def stop(self) -> None:
        """Accept the connections that wait, then listen no more.

        When a listening socket is closed the kernel resets the connections in its queue, even if another process
        listens on the same port. So the kernel is first asked to begin no more handshakes for it; those that have
        begun end, and their connections are accepted.
        """
        refused = [refuse_handshakes(listening) for listening in self._listening]
        if any(refused):
            await asyncio.sleep(HANDSHAKE_SECONDS)
        for listening in self._listening:
            while self._accept(listening):
                pass
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._listening.clear()
        await super().stop()
        if self._opening:
            await asyncio.wait(self._opening)

    def _accept(self, listening: socket.socket) -> bool:
        """Accept connections that wait; returns whether there may be more."""
        loop, admits = asyncio.get_running_loop(), self._admits
        assert self._runner.server is not None
        for _ in range(ACCEPT_MAX):
            try:
                connection, peer = listening.accept()
            except (BlockingIOError, ConnectionError):  # none is left, or its client has given it up
                return False
            except OSError as error:
                log.warning("no connection can be accepted for a while", error=error.strerror)
                loop.remove_reader(listening)
                loop.call_later(ACCEPT_AGAIN_SECONDS, self._accept_again, listening)
                return False
            if admits is not None and not admits(peer[0]):
                connection.close()
                continue
            connection.setblocking(False)
            opening = loop.create_task(loop.connect_accepted_socket(self._runner.server, connection))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)
        return True

    def _accept_again(self, listening: socket.socket) -> None:
        if listening in self._listening:  # it has not been stopped meanwhile
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)
