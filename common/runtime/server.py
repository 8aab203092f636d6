"""The HTTP server of every process: waits for slow clients, but not for ever, logs nothing that is no HTTP, and
stops without leaving a request unanswered."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any, cast

import structlog
from aiohttp import web

from common.contracts.errors import MalformedRequest
from common.runtime.kernel import refuse_handshakes, unread_bytes
from common.runtime.settings import ProcessSettings
from common.runtime.supervisor import SUPERVISOR
from common.runtime.web import problem, translate

# Linux only: how long what was sent may wait for the other side to take it, also behind a closed window.
# https://www.rfc-editor.org/rfc/rfc5482
USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)

LINGERING_SECONDS = 10.0
# Connections that may wait to be taken. Of more the kernel drops the attempts, and their clients try again after 1,
# 2, 4, … seconds. Linux takes no more than net.core.somaxconn, 4096 as a rule.
BACKLOG = 4096
# So many connections, then all else has its turn.
TAKEN_AT_ONCE = 128
# At a stop: how long handshakes that have begun may take to end, a round trip to the client.
HANDSHAKE_SECONDS = 0.3
# At a stop: how long after it was made, or answered, a connection's next request may be on its way.
NEXT_REQUEST_SECONDS = 1.0
# At a stop: how long a connection that was dismissed stays open for what its client had sent by then.
DISMISSED_SECONDS = 1.0
# At a stop: how often connections are looked at.
LOOK_SECONDS = 0.02
# How long handlers that were cancelled may take to end.
CANCELLED_SECONDS = 1.0
# What a connection without a request is sent when it has to end. A client whose request crosses it has an answer,
# which says that it may send that again: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9. Clients and proxies
# take a connection on which it comes unasked for a closed one.
DISMISSAL = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

log = structlog.get_logger()


class Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = ("_arriving", "dismissed")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Whether a part of a request's head is here, and the rest is not.
        self._arriving = False
        # Whether its client was told to send its next request elsewhere.
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
        """What cannot be parsed: aiohttp would log a traceback that shows the header, and in it the token."""
        if status != 400:
            return super().handle_error(request, status, exc, message)
        log.info("not HTTP", error=type(exc).__name__)
        response = problem(MalformedRequest("The request line or a header is not HTTP/1.1, or too long"))
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """A body that breaks after its request was answered is the client's, and no error of ours."""
        if isinstance(kwargs.get("exc_info"), web.RequestPayloadError):
            log.info("the rest of a body cannot be read")
        else:
            super().log_exception(*args, **kwargs)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._arriving = self._waits and bool(data)

    @property
    def _waits(self) -> bool:
        """Whether it waits for a request of which the whole head is here."""
        return self._waiter is not None and not self._waiter.done() and not self._messages

    @property
    def more(self) -> bool:
        """Whether its client has sent more requests behind the one in hand."""
        return bool(self._messages)

    def idle(self) -> bool:
        """Whether it has had the time to send its next request, or its first, and has not."""
        if self.dismissed or not self._waits or self._arriving or self.transport is None:
            return False
        waits_since = self._next_keepalive_close_time - self.keepalive_timeout
        if self._loop.time() - waits_since < NEXT_REQUEST_SECONDS:
            return False
        kernel = self.transport.get_extra_info("socket")
        return kernel is None or not unread_bytes(kernel)

    def dismiss(self) -> None:
        """End the connection, which is idle: say so, and go on reading for a while. What is on its way from the
        client to a closed connection would have TCP reset that, and what it was told would be lost."""
        transport = cast(asyncio.Transport, self.transport)
        self.dismissed = True
        self._close = True  # aiohttp's: nothing more is taken for a request
        transport.write(DISMISSAL)
        transport.write_eof()
        self._loop.call_later(DISMISSED_SECONDS, transport.abort)

    def cut(self) -> asyncio.Task[None] | None:
        """End the connection at once, and what is done for its client; says the task that ends by this."""
        task = self._task_handler
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()  # also when the client does not read what is left
        if task is not None:
            task.cancel()
        return task


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)

    async def end(self, seconds: float) -> None:
        """Let requests under way finish, also those that are still arriving, and end every connection. What takes
        longer than `seconds` is cut off."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while (left := cast(list[Connection], self.connections)) and loop.time() < deadline:
            for connection in left:
                if connection.idle():
                    connection.dismiss()
            if all(connection.dismissed for connection in left):
                deadline = min(deadline, loop.time() + DISMISSED_SECONDS)
            await asyncio.sleep(LOOK_SECONDS)
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
            # How long the rest of a body that was refused is read.
            lingering_time=min(LINGERING_SECONDS, settings.idle_seconds),
            # Compressed bodies are refused (`web.refuse_encodings`): decompressing one costs a second for each MB.
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

        return _Server(answer, request_factory=made.request_factory, **self._kwargs)

    async def cleanup(self) -> None:
        """Take no more connections, answer what has come, and stop the application.

        Connections and the application's own work have `shutdown_seconds` together. aiohttp's own way leaves
        requests without an answer whose connections have just been taken, and waits for these in vain.
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

    uvloop takes one connection at each turn of its loop (libuv does, since 1.45), and a turn is long under load: in
    a rush more come than are taken, and the kernel drops or breaks them. Here all that wait are taken.
    """

    __slots__ = ("_listening", "_opening")

    def __init__(self, runner: Runner, settings: ProcessSettings) -> None:
        super().__init__(
            runner, settings.host, settings.port, backlog=BACKLOG, reuse_port=settings.reuse_port or None
        )
        self._listening: list[socket.socket] = []
        self._opening: set[asyncio.Task[object]] = set()

    async def start(self) -> None:
        """Raises OSError when the address cannot be used."""
        await super().start()
        assert self._server is not None
        for each in self._server.sockets:  # type: ignore[attr-defined]
            # uvloop watches its own descriptor.
            listening = socket.socket(fileno=os.dup(each.fileno()))
            listening.setblocking(False)
            self._listening.append(listening)
            asyncio.get_running_loop().add_reader(listening, self._take, listening)

    async def stop(self) -> None:
        """Take what has come, then listen no more.

        Connections that wait in a listening socket's queue are reset when it is closed, also where another process
        listens on the same port. So the kernel is first asked to begin no more handshakes for it; those that have
        begun end, and are taken.
        """
        refused = [refuse_handshakes(listening) for listening in self._listening]
        if any(refused):
            await asyncio.sleep(HANDSHAKE_SECONDS)
        for listening in self._listening:
            while self._take(listening):
                pass
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._listening.clear()
        await super().stop()
        if self._opening:
            await asyncio.wait(self._opening)

    def _take(self, listening: socket.socket) -> bool:
        """Take connections that wait; says whether there may be more."""
        loop = asyncio.get_running_loop()
        assert self._runner.server is not None
        for _ in range(TAKEN_AT_ONCE):
            try:
                connection, _ = listening.accept()
            except OSError:  # none is left; or no more can be opened, of which uvloop tells those that wait
                return False
            connection.setblocking(False)
            opening = loop.create_task(loop.connect_accepted_socket(self._runner.server, connection))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)
        return True
