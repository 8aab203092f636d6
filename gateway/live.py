"""The WebSocket hub: carries changes to sockets by topic. Knows no domain beyond topic, version and payload.

A frame is built once for all of its sockets and written straight to their transports: there is no task and
no queue for each socket, the transport's buffer is the queue. A socket whose buffer is over the limit is
closed with 1013, and the client comes back and takes a snapshot.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from socket import SO_SNDBUF, SOL_SOCKET

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge

# What the kernel may hold for one socket beyond our own queue: without a bound Linux lets it grow to megabytes.
KERNEL_BUFFER_BYTES = 65_536
# Things whose last version one socket remembers; past it the ones longest silent are forgotten.
SEEN_MAX = 1000
# How long a client may take to answer a close frame, and to read what was written before it.
CLOSE_SECONDS = 2.0
LINGER_SECONDS = 10.0
# Over how long sockets are closed when all have to come back.
RENEW_SECONDS = 2.0

log = structlog.get_logger()


class Close(IntEnum):
    """Why a socket was closed, as the client sees it: RFC 6455, section 7.4, and 4401 of our own."""

    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_TEXT = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    TRY_AGAIN_LATER = 1013
    UNAUTHORIZED = 4401


CLOSE_MEANINGS = {
    Close.GOING_AWAY: "This process stops: connect again, and reach another",
    Close.PROTOCOL_ERROR: "A frame is not as RFC 6455 has it",
    Close.UNSUPPORTED_DATA: "Only text messages are understood",
    Close.INVALID_TEXT: "A text message that is not UTF-8",
    Close.POLICY_VIOLATION: "Too many messages in a row that are not valid",
    Close.MESSAGE_TOO_BIG: "The message is too long",
    Close.TRY_AGAIN_LATER: "Changes may have been missed: connect again and subscribe, snapshots bring up to date",
    Close.UNAUTHORIZED: "No valid token came in time, or the token has expired",
}


# What can be listened to; a tuple costs less to make for each change than a string.
Topic = tuple[str, Hashable]


@dataclass(frozen=True, slots=True)
class Change:
    """The state of the thing `key` at `version`, ready to be written.

    `repeats`: whether another state of the same version may follow (its version counts something else).
    """

    key: Topic
    version: int
    frame: bytes
    repeats: bool = False


def close_frame(code: Close, reason: str) -> bytes:
    """One close frame: https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1. `reason`: at most 123 bytes."""
    payload = int(code).to_bytes(2, "big") + reason.encode()
    return bytes((0x88, len(payload))) + payload


def text_frame(payload: bytes) -> bytes:
    """One unmasked, final text frame: https://www.rfc-editor.org/rfc/rfc6455#section-5.2."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


class Socket:
    """One client's socket: what it listens to, and which versions it has been sent."""

    __slots__ = ("_queue_max", "_seen", "_transport", "closing", "topics")

    def __init__(self, transport: asyncio.Transport, queue_max_bytes: int) -> None:
        self._transport = transport
        self._queue_max = queue_max_bytes
        self._seen: OrderedDict[Topic, int] | None = None
        self.topics: set[Topic] = set()
        self.closing = False
        kernel = transport.get_extra_info("socket")
        if kernel is not None:
            kernel.setsockopt(SOL_SOCKET, SO_SNDBUF, KERNEL_BUFFER_BYTES)

    def send(self, frame: bytes) -> bool:
        """Write `frame`; False when the client does not keep up, or is gone."""
        if self.closing or self._transport.is_closing():
            return False
        if self._transport.get_write_buffer_size() > self._queue_max:
            return False
        self._transport.write(frame)
        return True

    def last_seen(self, key: Topic) -> int:
        """The newest version of `key` that this socket was sent; -1 before the first."""
        return -1 if self._seen is None else self._seen.get(key, -1)

    def remember(self, key: Topic, version: int) -> None:
        if self._seen is None:
            self._seen = OrderedDict()
        self._seen[key] = version
        self._seen.move_to_end(key)
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)

    def close(self, code: Close, reason: str) -> None:
        """Say why, and go on reading until the client has answered, or has had the time to: what is still on its
        way from it to a closed connection would have TCP reset that, and our reason would be lost."""
        self.closing = True
        if not self._transport.is_closing():
            self._transport.write(close_frame(code, reason))
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.leave)

    def leave(self) -> None:
        """End the connection. A client that has not read by then what is on its way to it is cut off."""
        if self.closing:
            self._transport.close()
        if self._transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.abort)


class Hub:
    """All sockets of this process, by topic."""

    def __init__(self, registry: CollectorRegistry, *, queue_max_bytes: int) -> None:
        self._queue_max = queue_max_bytes
        self._sockets: set[Socket] = set()
        self._topics: dict[Topic, set[Socket]] = {}
        self._open = Gauge("holdfast_sockets", "Open WebSockets", registry=registry)
        self._closed = Counter(
            "holdfast_sockets_closed", "WebSockets that we closed, by code", ("code",), registry=registry
        )
        self._empty = asyncio.Event()
        self.stopped = False

    def add(self, transport: asyncio.Transport) -> Socket:
        socket = Socket(transport, self._queue_max)
        self._sockets.add(socket)
        self._open.set(len(self._sockets))
        return socket

    def remove(self, socket: Socket) -> None:
        self._sockets.discard(socket)
        self._open.set(len(self._sockets))
        self._silence(socket)
        socket.leave()
        if self.stopped and not self._sockets:
            self._empty.set()

    def subscribe(self, socket: Socket, topic: Topic) -> None:
        if socket.closing:
            return
        socket.topics.add(topic)
        self._topics.setdefault(topic, set()).add(socket)

    def unsubscribe(self, socket: Socket, topic: Topic) -> None:
        socket.topics.discard(topic)
        listeners = self._topics.get(topic)
        if listeners is not None:
            listeners.discard(socket)
            if not listeners:
                del self._topics[topic]

    def has(self, topic: Topic) -> bool:
        """Whether anybody listens: a frame that nobody gets need not be built."""
        return topic in self._topics

    def broadcast(self, topic: Topic, change: Change) -> None:
        """Send `change` to all who listen to `topic`, but never a version not above one sent before."""
        for socket in tuple(self._topics.get(topic, ())):
            seen = socket.last_seen(change.key)
            if change.version > seen or (change.repeats and change.version == seen):
                self.send(socket, change.frame, change.key, change.version)

    def send(self, socket: Socket, frame: bytes, key: Topic | None = None, version: int = 0) -> None:
        """Send to one socket, and remember the version; a socket that does not keep up is closed."""
        if socket.send(frame):
            if key is not None:
                socket.remember(key, version)
        else:
            self.close(socket, Close.TRY_AGAIN_LATER)

    def close(self, socket: Socket, code: Close, reason: str = "") -> None:
        """Close `socket`; it gets nothing more."""
        if socket.closing or socket not in self._sockets:
            return
        self._closed.labels(int(code)).inc()
        self._silence(socket)
        socket.close(code, reason or CLOSE_MEANINGS[code])

    def _silence(self, socket: Socket) -> None:
        for topic in tuple(socket.topics):
            self.unsubscribe(socket, topic)

    def renew(self) -> None:
        """Have every client connect again, as changes may have been missed that no socket was sent. Spread over
        RENEW_SECONDS, so that they do not come back all at once."""
        log.warning("sockets closed: notifications may have been lost", sockets=len(self._sockets))
        loop = asyncio.get_running_loop()
        for socket in self._sockets:
            loop.call_later(random.random() * RENEW_SECONDS, self.close, socket, Close.TRY_AGAIN_LATER)

    async def stop(self) -> None:
        """Send every client elsewhere."""
        self.stopped = True
        for socket in tuple(self._sockets):
            self.close(socket, Close.GOING_AWAY)
        if self._sockets:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._empty.wait()


HUB = web.AppKey("hub", Hub)
