"""One client's WebSocket: RFC 6455's frames, and the connection that they travel on.

The connection is taken over from aiohttp once it is upgraded. aiohttp's own WebSocketResponse lives inside of its
request's handler, and keeps the request with its headers, its parser, two tasks and a dozen coroutines: most of the
memory of a client that mostly listens.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import OrderedDict
from enum import IntEnum
from hashlib import sha1
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any, NamedTuple, Self, cast

import orjson
from aiohttp import EofStream, WSMessage, WSMsgType, web
from aiohttp._websocket.reader import WebSocketDataQueue  # what WebSocketReader writes to; exported nowhere
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import WS_KEY, WebSocketReader

from common.contracts.errors import MalformedRequest
from gateway.settings import GatewaySettings

# What the kernel may hold for one socket beyond our own queue: without a bound Linux lets it grow to megabytes.
KERNEL_BUFFER_BYTES = 65_536
# Messages of a client that wait for those before them; past it nothing more is read from it.
RECEIVED_MAX_BYTES = 65_536
# Things whose last version one socket remembers; past it the ones longest silent are forgotten.
SEEN_MAX = 1000
# How long a client may take to answer a close frame, and to read what was written before it.
CLOSE_SECONDS = 2.0
LINGER_SECONDS = 10.0
# A client that does not answer a ping within half of the time that it was silent before is gone.
ANSWER_SHARE = 0.5
NORMAL_CLOSURE = 1000
# How each kind of frame begins: final, and nothing reserved.
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A


class Close(IntEnum):
    """Why a socket was closed, as the client sees it: RFC 6455, section 7.4, and 4401 of our own."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        close = int.__new__(cls, code)
        close._value_, close.meaning = code, meaning
        return close

    GOING_AWAY = 1001, "This process stops: connect again, and reach another"
    PROTOCOL_ERROR = 1002, "A frame is not as RFC 6455 has it"
    UNSUPPORTED_DATA = 1003, "Only text messages are understood"
    INVALID_TEXT = 1007, "A text message that is not UTF-8"
    POLICY_VIOLATION = 1008, "Too many messages in a row that are not valid"
    MESSAGE_TOO_BIG = 1009, "The message is too long"
    TRY_AGAIN_LATER = (
        1013,
        "Changes may have been missed: connect again and subscribe, snapshots bring up to date",
    )
    UNAUTHORIZED = 4401, "No valid token came in time, or the token has expired"


class Frame(NamedTuple):
    """Ready to be written. It may show the state of the thing `key`, a topic, at `version`: `repeats` says whether
    another state of the same version may follow (its version counts something else)."""

    data: bytes
    key: str | None = None
    version: int = 0
    repeats: bool = False


def framed(payload: bytes, kind: int = TEXT) -> bytes:
    """One unmasked frame: https://www.rfc-editor.org/rfc/rfc6455#section-5.2."""
    size = len(payload)
    if size < 126:
        return bytes((kind, size)) + payload
    if size < 65_536:
        return bytes((kind, 126)) + size.to_bytes(2, "big") + payload
    return bytes((kind, 127)) + size.to_bytes(8, "big") + payload


def message_frame(message: dict[str, Any]) -> Frame:
    """A message that shows no state."""
    return Frame(framed(orjson.dumps(message)))


def state_frame(type: str, name: str, json: bytes, key: str, version: int, *, repeats: bool = False) -> Frame:
    """The message that shows a client the state of what `name` says."""
    data = framed(b'{"type":"%b","%b":%b}' % (type.encode(), name.encode(), json))
    return Frame(data, key, version, repeats)


async def upgrade(request: web.Request) -> web.StreamResponse:
    """Answer that the connection is a WebSocket from now on. Raises MalformedRequest where it was not asked for."""
    try:
        asked = web.WebSocketResponse(compress=False).can_prepare(request).ok
    except ValueError:  # aiohttp's, of a header that is not ASCII
        asked = False
    if not asked:
        raise MalformedRequest("The headers do not ask for a WebSocket")
    key = request.headers["Sec-WebSocket-Key"].encode()
    accept = b64encode(sha1(key + WS_KEY, usedforsecurity=False).digest()).decode()
    headers = {"Upgrade": "websocket", "Connection": "upgrade", "Sec-WebSocket-Accept": accept}
    response = web.StreamResponse(status=101, headers=headers)
    await response.prepare(request)
    return response


class Socket(BaseProtocol):
    """One client's socket: what it listens to, and which versions it has been sent. `expires_at` is in Unix
    seconds; `reading` is the task that receives."""

    __slots__ = (
        "_heard_at", "_pinged_at", "_queue_max", "_reader", "_received", "_seen", "_transport",
        "closing", "expires_at", "reading", "topics",
    )  # fmt: skip

    reading: asyncio.Task[None]

    def __init__(self, transport: asyncio.Transport, settings: GatewaySettings) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(loop)
        self.transport = self._transport = transport
        self._upgraded = True
        self._queue_max = settings.ws_queue_max_bytes
        self._received = WebSocketDataQueue(self, RECEIVED_MAX_BYTES, loop=loop)
        self._reader = WebSocketReader(
            self._received, settings.ws_message_max_bytes, compress=False, decode_text=True
        )
        self._heard_at = loop.time()
        self._pinged_at: float | None = None
        self._seen: OrderedDict[str, int] | None = None
        self.topics: set[str] = set()
        self.closing = False
        self.expires_at: float | None = None
        kernel = transport.get_extra_info("socket")
        if kernel is not None:
            kernel.setsockopt(SOL_SOCKET, SO_SNDBUF, KERNEL_BUFFER_BYTES)

    # --- from the client ----------------------------------------------------------------------------------

    def take_over(self, request: web.Request) -> None:
        """Go on with the upgraded connection; for aiohttp it is as though it was lost."""
        handler = request.protocol
        handler.transport = None  # or it would be closed
        handler.connection_lost(None)
        self._transport.set_protocol(self)
        if not self._transport.is_closing():
            self._transport.resume_reading()
        handler.set_parser(self._reader)  # which is given what came right behind the request

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        self._pinged_at = None
        self._reader.feed_data(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._received.feed_eof()

    async def receive(self) -> WSMessage | None:
        """The next text or binary message; None when the client is gone. Raises WebSocketError for what is no
        WebSocket: then nothing more can be received."""
        while True:
            try:
                message = await self._received.read()
            except EofStream:
                return None
            if message.type is WSMsgType.PING:
                if self._writable:
                    self._transport.write(framed(message.data, PONG))
            elif message.type is WSMsgType.CLOSE:
                if not self.closing:
                    self._transport.write(framed(NORMAL_CLOSURE.to_bytes(2, "big"), CLOSE))
                return None
            elif message.type is not WSMsgType.PONG:
                return cast(WSMessage, message)

    # --- to the client ------------------------------------------------------------------------------------

    @property
    def _writable(self) -> bool:
        return not self._transport.is_closing() and self._transport.get_write_buffer_size() <= self._queue_max

    def send(self, frame: Frame) -> bool:
        """Write `frame`, and remember its version; False when the client does not keep up, or is gone."""
        if self.closing or not self._writable:
            return False
        self._transport.write(frame.data)
        if frame.key is not None:
            self._seen = self._seen or OrderedDict()
            self._seen[frame.key] = frame.version
            self._seen.move_to_end(frame.key)
            if len(self._seen) > SEEN_MAX:
                self._seen.popitem(last=False)
        return True

    def last_seen(self, key: str | None) -> int:
        """The newest version of `key` that this socket was sent; -1 before the first."""
        return -1 if key is None or self._seen is None else self._seen.get(key, -1)

    def wants(self, frame: Frame) -> bool:
        """Whether `frame` is news after what this socket was sent."""
        seen = self.last_seen(frame.key)
        return frame.version > seen or (frame.version == seen and frame.repeats)

    def look(self, ping_s: float) -> None:
        """Ping the client when nothing came from it for `ping_s` seconds; end the connection if no answer comes."""
        now = self._loop.time()
        if self._pinged_at is not None:
            if now - self._pinged_at > ping_s * ANSWER_SHARE:
                self._transport.abort()
        elif now - self._heard_at > ping_s and self._writable:
            self._pinged_at = now
            self._transport.write(framed(b"", PING))

    # --- the end ------------------------------------------------------------------------------------------

    def close(self, code: Close, reason: str) -> None:
        """Say why, in at most 123 bytes, and go on reading until the client has answered, or has had the time to:
        what is still on its way from it to a closed connection would have TCP reset that, and our reason would be
        lost."""
        self.closing = True
        if not self._transport.is_closing():
            self._transport.write(framed(code.to_bytes(2, "big") + reason.encode(), CLOSE))
            self._loop.call_later(CLOSE_SECONDS, self.leave)

    def leave(self) -> None:
        """End the connection. A client that has not read by then what is on its way to it is cut off."""
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._loop.call_later(LINGER_SECONDS, self._transport.abort)

    def drop(self) -> asyncio.Task[None]:
        """End the connection at once, and what is done for its client."""
        self._transport.abort()
        self.reading.cancel()
        return self.reading
