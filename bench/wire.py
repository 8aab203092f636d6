"""HTTP/1.1 for very many clients in one process: keep-alive connections that need hardly any CPU for a request."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

END_OF_HEAD = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """`retry_after` in seconds, None without such a header."""

    status: int
    retry_after: int | None
    body: bytes


def request(method: str, host: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + END_OF_HEAD + body


class _Wire(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._reply: asyncio.Future[Reply] | None = None

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def send(self, data: bytes) -> Reply:
        """Raises ConnectionError if the server closes the connection first."""
        if self._transport is None:
            raise ConnectionError("the connection was closed")
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        try:
            return await self._reply
        except asyncio.CancelledError:
            self.close()  # its answer must not become the next one's
            raise
        finally:
            self._reply = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data
        end = received.find(END_OF_HEAD)
        if end < 0 or self._reply is None:
            return
        head = received[:end]
        length = LENGTH.search(head)
        if length is None:
            self.close()
            return
        size = end + len(END_OF_HEAD) + int(length[1])
        if len(received) < size:
            return
        self._received = received[size:]
        if _CLOSE.search(head):
            self.close()
        retry_after = _RETRY_AFTER.search(head)
        if not self._reply.done():
            body = received[end + len(END_OF_HEAD) : size]
            self._reply.set_result(Reply(int(head[9:12]), int(retry_after[1]) if retry_after else None, body))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ConnectionError(str(exc or "the connection was closed")))


class Wires:
    """Up to `most` connections to one server. A new one is opened when none from the client's address is free; if
    there are `most` already, that which has been free for longest is closed for it."""

    def __init__(self, url: str, most: int) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.host = parts.netloc
        self._address = (parts.hostname, parts.port)
        self._most = most
        self._room = asyncio.Semaphore(most)
        self._busy = 0
        # Free connections with the addresses that they come from, that which became free first in front.
        self._idle: OrderedDict[_Wire, str | None] = OrderedDict()
        self._from: defaultdict[str | None, list[_Wire]] = defaultdict(list)
        self.opened = 0

    async def send(self, data: bytes, source: str | None = None) -> Reply:
        """Send from the address `source` of this machine. Raises OSError if there is no connection, or it breaks
        before the answer."""
        async with self._room:
            self._busy += 1
            try:
                wire = await self._free(source)
                reply = await wire.send(data)
            finally:
                self._busy -= 1
            if wire.open:
                self._idle[wire] = source
                self._from[source].append(wire)
            return reply

    async def _free(self, source: str | None) -> _Wire:
        while self._from[source]:
            wire = self._from[source].pop()
            del self._idle[wire]
            if wire.open:
                return wire
        del self._from[source]
        while self._idle and self._busy + len(self._idle) > self._most:
            self._drop(*self._idle.popitem(last=False))
        self.opened += 1
        own = None if source is None else (source, 0)
        _, wire = await asyncio.get_running_loop().create_connection(_Wire, *self._address, local_addr=own)
        return wire

    def _drop(self, wire: _Wire, source: str | None) -> None:
        self._from[source].remove(wire)
        wire.close()

    def close(self) -> None:
        """Closes the connections that are free."""
        while self._idle:
            self._drop(*self._idle.popitem())
