"""One client's WebSocket: RFC 6455's frames, and the connection that carries them.

Once upgraded, the connection is taken over from aiohttp. Its own WebSocketResponse stays in the handler of its
request, and keeps the request with its headers, its parser, two tasks and a dozen coroutines: most of the memory of
a client that mostly listens.
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
from aiohttp import EofStream, WebSocketError, WSMessage, WSMsgType, web
from aiohttp._websocket.reader import WebSocketDataQueue  # what WebSocketReader writes to; not exported
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import WS_KEY, WebSocketReader

from common.contracts.errors import MalformedRequest
from gateway.auth import Identity
from gateway.settings import GatewaySettings

# Bytes that the kernel may hold for one socket beyond our own queue: Linux by itself lets them grow to megabytes.
KERNEL_BUFFER_BYTES = 65_536
# Bytes of a client's messages that may wait to be handled: at twice as many aiohttp stops reading from it.
RECEIVED_MAX_BYTES = 65_536
# Topics whose last version a socket remembers, ten times WS_SUBSCRIPTIONS_MAX; the oldest is forgotten first.
SEEN_MAX = 1000
# How long a client may take to answer a close frame; then, to read what was written before it.
CLOSE_SECONDS = 2.0
LINGER_SECONDS = 10.0
# Pings and pongs that a client may send between two checks of its silence, which are a second apart: they are no
# messages, and count for no rate limit.
CONTROL_MAX = 50
# A client is gone if it does not answer a ping within half of the silence that led to the ping.
ANSWER_SHARE = 0.5
NORMAL_CLOSURE = 1000
# The first byte of each kind of frame: the final frame of its message, without reserved bits.
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A


class Close(IntEnum):
    """Why a socket was closed, as the client sees it: codes of RFC 6455, section 7.4, and our own from 4000 on."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        close = int.__new__(cls, code)
        close._value_, close.meaning = code, meaning
        return close

    GOING_AWAY = 1001, "This process is stopping: connect again to reach another"
    PROTOCOL_ERROR = 1002, "A frame does not follow RFC 6455"
    UNSUPPORTED_DATA = 1003, "Only text messages are accepted"
    INVALID_TEXT = 1007, "A text message that is not UTF-8"
    POLICY_VIOLATION = 1008, "Too many messages in a row that are not valid, or too many pings"
    MESSAGE_TOO_BIG = 1009, "The message is too long"
    TRY_AGAIN_LATER = (
        1013,
        "Changes may have been missed: connect again and subscribe to get snapshots",
    )
    UNAUTHORIZED = 4401, "No valid token came in time, or the token has expired or was revoked"
    TOO_MANY = 4429, "The subject has too many sockets open: close another first"


class Frame(NamedTuple):
    """Bytes ready to be sent. With a `key`, a topic, they show its state at `version`; `repeats`: another state of
    the same version may follow."""

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
    """The frame of a message that shows no state."""
    return Frame(framed(orjson.dumps(message)))


def state_frame(type: str, name: str, json: bytes, key: str, version: int, *, repeats: bool = False) -> Frame:
    """The frame of a message that shows `json`, the state of what `name` says."""
    data = framed(b'{"type":"%b","%b":%b}' % (type.encode(), name.encode(), json))
    return Frame(data, key, version, repeats)


async def upgrade(request: web.Request) -> web.StreamResponse:
    """Answer that the connection is a WebSocket from now on. Raises MalformedRequest unless that was requested."""
    try:
        is_upgrade = web.WebSocketResponse(compress=False).can_prepare(request).ok
    except ValueError:  # raised by aiohttp for a header that is not ASCII
        is_upgrade = False
    if not is_upgrade:
        raise MalformedRequest("The headers do not request a WebSocket")
    key = request.headers["Sec-WebSocket-Key"].encode()
    accept = b64encode(sha1(key + WS_KEY, usedforsecurity=False).digest()).decode()
    headers = {"Upgrade": "websocket", "Connection": "upgrade", "Sec-WebSocket-Accept": accept}
    response = web.StreamResponse(status=101, headers=headers)
    await response.prepare(request)
    return response


class Socket(BaseProtocol):
    """One client's socket: the topics that it listens to, and the versions that it has been sent. `identity` is
    that of its token, None before there is one; `reading` is the task that receives; `address` is the network that
    the client is in, `subject` what the socket counts for, None before it has a token and for operators."""

    __slots__ = (
        "_control", "_last_data_at", "_pinged_at", "_queue_max", "_reader", "_received", "_seen", "_transport",
        "address", "closing", "identity", "reading", "subject", "topics",
    )  # fmt: skip

    reading: asyncio.Task[None]

    def __init__(self, transport: asyncio.Transport, settings: GatewaySettings, address: str) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(loop)
        self.transport = self._transport = transport
        self._upgraded = True
        self._queue_max = settings.ws_queue_max_bytes
        self._received = WebSocketDataQueue(self, RECEIVED_MAX_BYTES, loop=loop)
        self._reader = WebSocketReader(
            self._received, settings.ws_message_max_bytes, compress=False, decode_text=True
        )
        self._last_data_at = loop.time()
        self._pinged_at: float | None = None
        self._control = 0
        self._seen: OrderedDict[str, int] | None = None
        self.address = address
        self.subject: str | None = None
        self.topics: set[str] = set()
        self.closing = False
        self.identity: Identity | None = None
        kernel = transport.get_extra_info("socket")
        if kernel is not None:
            kernel.setsockopt(SOL_SOCKET, SO_SNDBUF, KERNEL_BUFFER_BYTES)

    # --- from the client ----------------------------------------------------------------------------------

    def take_over(self, request: web.Request) -> None:
        """Use the upgraded connection from now on; aiohttp's handler takes it for lost."""
        handler = request.protocol
        handler.transport = None  # or it would be closed
        handler.connection_lost(None)
        self._transport.set_protocol(self)
        if not self._transport.is_closing():
            self._transport.resume_reading()
        handler.set_parser(self._reader)  # gets the bytes that came right after the request

    def data_received(self, data: bytes) -> None:
        self._last_data_at = self._loop.time()
        self._pinged_at = None
        self._reader.feed_data(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._received.feed_eof()

    async def receive(self) -> WSMessage | None:
        """The next text or binary message; None when the client is gone. Raises WebSocketError for bytes that break
        the protocol, and for too many pings: then nothing more can be received."""
        while True:
            try:
                message = await self._received.read()
            except EofStream:
                return None
            if message.type in (WSMsgType.PING, WSMsgType.PONG):
                self._control += 1
                if self._control > CONTROL_MAX:
                    raise WebSocketError(Close.POLICY_VIOLATION, "too many pings and pongs")
                if message.type is WSMsgType.PING and self._writable:
                    self._transport.write(framed(message.data, PONG))
            elif message.type is WSMsgType.CLOSE:
                if not self.closing:
                    self._transport.write(framed(NORMAL_CLOSURE.to_bytes(2, "big"), CLOSE))
                return None
            else:
                return cast(WSMessage, message)

    # --- to the client ------------------------------------------------------------------------------------

    @property
    def _writable(self) -> bool:
        return not self._transport.is_closing() and self._transport.get_write_buffer_size() <= self._queue_max

    def send(self, frame: Frame) -> bool:
        """Write `frame` and remember its version. Returns False if the client does not keep up or is gone."""
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
        """Whether `frame` shows a newer state than this socket was sent."""
        seen = self.last_seen(frame.key)
        return frame.version > seen or (frame.version == seen and frame.repeats)

    def check_silence(self, ping_s: float) -> None:
        """Ping a client that sent nothing for `ping_s` seconds; end the connection if it did not answer in time."""
        now = self._loop.time()
        self._control = 0
        if self._pinged_at is not None:
            if now - self._pinged_at > ping_s * ANSWER_SHARE:
                self._transport.abort()
        elif now - self._last_data_at > ping_s and self._writable:
            self._pinged_at = now
            self._transport.write(framed(b"", PING))

    # --- the end ------------------------------------------------------------------------------------------

    def close(self, code: Close, reason: str) -> None:
        """Send a close frame with `reason`, at most 123 bytes, and read until the client has answered, for up to
        CLOSE_SECONDS. If the connection were closed at once, bytes that the client still sends would make TCP
        reset it, and the reason would be lost."""
        self.closing = True
        if not self._transport.is_closing():
            self._transport.write(framed(code.to_bytes(2, "big") + reason.encode(), CLOSE))
            self._loop.call_later(CLOSE_SECONDS, self.leave)

    def leave(self) -> None:
        """End the connection. A client that has not read all within LINGER_SECONDS is cut off."""
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._loop.call_later(LINGER_SECONDS, self._transport.abort)

    def drop(self) -> asyncio.Task[None]:
        """End the connection at once, and the task that handles its messages, which is returned."""
        self._transport.abort()
        self.reading.cancel()
        return self.reading
