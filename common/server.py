"""The HTTP server of every process: waits for slow clients, but not for ever, and logs nothing that is no HTTP."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import structlog
from aiohttp import web

from common.errors import MalformedRequest
from common.settings import ProcessSettings
from common.web import problem, translate

# Linux only: how long what was sent may wait for the other side to take it, also behind a closed window.
# https://www.rfc-editor.org/rfc/rfc5482
USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)

LINGERING_SECONDS = 10.0
# Connections that may wait to be taken. Of more the kernel drops the attempts, and their clients try again after 1,
# 2, 4, … seconds. Linux takes no more than net.core.somaxconn, 4096 as a rule.
BACKLOG = 4096
# So many connections, then all else has its turn.
TAKEN_AT_ONCE = 128

log = structlog.get_logger()


class Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = ()

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


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application with `settings`' limits."""

    def __init__(self, app: web.Application, settings: ProcessSettings) -> None:
        limits: dict[str, Any] = {
            "keepalive_timeout": settings.idle_seconds,
            # How long the rest of a body that was refused is read.
            "lingering_time": min(LINGERING_SECONDS, settings.idle_seconds),
            # Compressed bodies are refused (`web.refuse_encodings`): decompressing one costs a second for each MB.
            "auto_decompress": False,
        }
        super().__init__(app, access_log=None, shutdown_timeout=settings.shutdown_seconds, **limits)

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
        for listening in self._listening:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._listening.clear()
        await super().stop()

    def _take(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        assert self._runner.server is not None
        for _ in range(TAKEN_AT_ONCE):
            try:
                connection, _ = listening.accept()
            except OSError:  # none is left; or no more can be opened, of which uvloop tells those that wait
                return
            connection.setblocking(False)
            opening = loop.create_task(loop.connect_accepted_socket(self._runner.server, connection))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)
