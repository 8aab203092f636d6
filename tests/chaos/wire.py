"""A TCP proxy between two parts, whose connections a test can cut, silence and slow down."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET
from urllib.parse import urlsplit

from ops.child import HOST

CHUNK_BYTES = 65_536


class Wire:
    """A proxy on a port of its own. Without a fault it passes everything on as it comes.

    `struck` counts the faults that traffic had: connections `cut` and `refused`, chunks `held` and `delayed`,
    answers `lost`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.struck: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._target = (HOST, 0)
        self._open: set[asyncio.WriteTransport] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._is_cut = False
        self._delay_s = 0.0
        self._loses_answer = False

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, 0)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for transport in tuple(self._open):
            transport.abort()
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def lead_to(self, url: str) -> str:
        """Connect this wire to `url`, and return the URL that leads there over the wire."""
        assert self._server is not None
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = (parts.hostname, parts.port)
        own = self._server.sockets[0].getsockname()[1]
        return parts._replace(netloc=parts.netloc.removesuffix(str(parts.port)) + str(own)).geturl()

    def cut(self) -> None:
        """Break every connection, and every new one until `mend`."""
        self._is_cut = True
        self.struck["cut"] += len(self._open) // 2
        for transport in tuple(self._open):
            _reset(transport)

    def lose_answer(self) -> None:
        """Break the connection over which the next answer comes, instead of passing that on."""
        self._loses_answer = True

    def hold(self) -> None:
        """Pass nothing on until `mend`; then pass all of it on."""
        self._passing.clear()

    def delay(self, seconds: float) -> None:
        """Delay each chunk by `seconds` in each direction, until `mend`."""
        self._delay_s = seconds

    def mend(self) -> None:
        self._is_cut = False
        self._delay_s = 0.0
        self._passing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            await self._connect(reader, writer)
        except asyncio.CancelledError:
            return  # the wire is closed
        finally:
            self._under_way.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            self.struck["refused"] += 1
            _reset(writer.transport)
            return
        if not self._passing.is_set():
            self.struck["held"] += 1
            await self._passing.wait()
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = (writer.transport, back.transport)
        self._open.update(ends)
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer, answers=True))
        finally:
            self._open.difference_update(ends)
            for transport in ends:
                transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        """Pass data on until one side ends its direction, which is passed on too, or is gone, which ends both."""
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                if answers and self._loses_answer:
                    self._loses_answer = False
                    self.struck["lost"] += 1
                    _reset(writer.transport)
                    return
                if not self._passing.is_set():
                    self.struck["held"] += 1
                    await self._passing.wait()
                if self._delay_s:
                    self.struck["delayed"] += 1
                    await asyncio.sleep(self._delay_s)
                writer.write(chunk)
                await writer.drain()
            with suppress(OSError, RuntimeError):
                writer.write_eof()
        except OSError:
            writer.transport.abort()


def _reset(transport: asyncio.WriteTransport) -> None:
    """Break the connection as a network does: the other side gets a reset (RST), not an end (FIN)."""
    transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
