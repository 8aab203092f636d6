"""A WebSocket client that also sends what no library sends: https://www.rfc-editor.org/rfc/rfc6455#section-5.2."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@dataclass(frozen=True)
class Frame:
    """One frame. `length`: a wrong payload length to send instead of the real one."""

    opcode: int
    payload: bytes
    final: bool = True
    masked: bool = True
    reserved: int = 0
    length: int | None = None

    @property
    def raw(self) -> bytes:
        length = len(self.payload) if self.length is None else self.length
        head = bytes([self.final << 7 | self.reserved << 4 | self.opcode])
        mask = self.masked << 7
        if length < 126:
            head += bytes([mask | length])
        elif length < 65_536:
            head += bytes([mask | 126]) + struct.pack("!H", length)
        else:
            head += bytes([mask | 127]) + struct.pack("!Q", length)
        if not self.masked:
            return head + self.payload
        key = os.urandom(4)
        return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(self.payload))


class RawSocket:
    """An open socket, to which any bytes can be written."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str, headers: Mapping[str, str]) -> RawSocket:
        """Open a WebSocket. Raises AssertionError if the server refuses."""
        host = urlsplit(url)
        reader, writer = await asyncio.open_connection(host.hostname, host.port)
        request_headers = {
            "Host": host.netloc,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": KEY,
            "Sec-WebSocket-Version": "13",
            **headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in request_headers.items())
        writer.write(f"GET /ws HTTP/1.1\r\n{lines}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return cls(reader, writer)

    async def send(self, raw: bytes) -> None:
        """Send bytes. Raises ConnectionError when the server has closed the connection."""
        self._writer.write(raw)
        await self._writer.drain()

    async def receive(self) -> Frame | None:
        """The next frame; None when the connection has ended."""
        try:
            first, second = await self._reader.readexactly(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", await self._reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self._reader.readexactly(8))
            return Frame(first & 0x0F, await self._reader.readexactly(length), final=bool(first & 0x80))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def end(self) -> None:
        """End the sending direction of the connection."""
        self._writer.write_eof()

    def abort(self) -> None:
        self._writer.transport.abort()
