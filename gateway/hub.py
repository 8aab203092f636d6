"""The WebSocket hub: carries frames to sockets by topic. Knows no domain beyond topic, version and frame.

A frame is built once for all of its sockets and written straight to their transports: there is no queue for each
socket, the transport's buffer is the queue. A socket whose buffer is over the limit is closed with 1013, and the
client comes back and takes a snapshot.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge

from common.messaging.registry import Registry
from gateway.settings import GatewaySettings
from gateway.websocket import CLOSE_SECONDS, Close, Frame, Socket

# Over how long sockets are closed that have to come back: at the least, how many of them a second, and at the most.
RENEW_SECONDS = 2.0
RENEWED_PER_SECOND = 1000
RENEW_MAX_SECONDS = 30.0
# How often all sockets are looked at: who is silent, and whose time is over.
LOOK_SECONDS = 1.0

log = structlog.get_logger()


# Topics are those under which news is published (see common/messaging/registry.py), and, with this before an
# event's, what operators see of it.
OPERATORS = "operators' "


def owner_topic(owner: str) -> str:
    return f"owner:{owner}"


def booking_topic(booking_id: str) -> str:
    """For operators: without the client secret."""
    return f"booking:{booking_id}"


def event_topic(event_id: str, *, operators: bool = False) -> str:
    """For operators: with what is held and sold, and the progress of a calling off."""
    return f"{OPERATORS if operators else ''}event:{event_id}"


def published_as(topic: str) -> str:
    return topic.removeprefix(OPERATORS)


class Hub:
    """All sockets of this process, by topic."""

    def __init__(
        self, settings: GatewaySettings, metrics: CollectorRegistry, registry: Registry, clock: Callable[[], float]
    ) -> None:
        """`registry`: where this process says what it listens for. `clock` says the time, in Unix seconds: it is
        asked once there is a socket with a token."""
        self._clock = clock
        self._registry = registry
        self._settings = settings
        self._sockets: set[Socket] = set()
        self._topics: dict[str, set[Socket]] = {}
        Gauge("holdfast_sockets", "Open WebSockets", registry=metrics).set_function(lambda: len(self._sockets))
        self._closed = Counter(
            "holdfast_sockets_closed", "WebSockets that we closed, by code", ("code",), registry=metrics
        )
        self.stopped = False

    def add(self, transport: asyncio.Transport) -> Socket:
        socket = Socket(transport, self._settings)
        self._sockets.add(socket)
        return socket

    def remove(self, socket: Socket) -> None:
        self._sockets.discard(socket)
        self._silence(socket)
        socket.leave()

    def subscribe(self, socket: Socket, topic: str) -> None:
        if socket.closing:
            return
        socket.topics.add(topic)
        if topic not in self._topics:
            self._topics[topic] = set()
            # It arrives before what is asked from now on. One that does not is noticed within a second, and then
            # its sockets are closed.
            self._registry.add(published_as(topic))
        self._topics[topic].add(socket)

    def unsubscribe(self, socket: Socket, topic: str) -> None:
        socket.topics.discard(topic)
        listeners = self._topics.get(topic)
        if listeners is not None:
            listeners.discard(socket)
            if not listeners:
                del self._topics[topic]
                self._registry.remove(published_as(topic))

    def has(self, topic: str) -> bool:
        """Whether anybody listens: a frame that nobody gets need not be built."""
        return topic in self._topics

    def broadcast(self, topic: str, frame: Frame) -> None:
        """Send `frame` to all who listen to `topic` and have not seen its version."""
        for socket in tuple(self._topics.get(topic, ())):
            if socket.wants(frame):
                self.send(socket, frame)

    def send(self, socket: Socket, frame: Frame) -> None:
        """Send to one socket; one that does not keep up is closed."""
        if not socket.send(frame):
            self.close(socket, Close.TRY_AGAIN_LATER)

    def close(self, socket: Socket, code: Close, reason: str = "") -> None:
        """Close `socket`; it gets nothing more."""
        if socket.closing or socket not in self._sockets:
            return
        self._closed.labels(int(code)).inc()
        self._silence(socket)
        socket.close(code, reason or code.meaning)

    def _silence(self, socket: Socket) -> None:
        for topic in tuple(socket.topics):
            self.unsubscribe(socket, topic)

    async def watch(self) -> None:
        """Ping those who are silent, and close those whose time is over, until cancelled."""
        ping_s = self._settings.ws_ping_seconds
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, ping_s / 2))
            for socket in tuple(self._sockets):
                if socket.expires_at is not None and socket.expires_at <= self._clock():
                    self.close(socket, Close.UNAUTHORIZED, "The token has expired")
                else:
                    socket.look(ping_s)

    def renew(self, missed: Collection[str] | None = None) -> None:
        """Have clients connect again, as changes may have been missed that no socket was sent: of the topics that
        are published as `missed`, or of any. Spread by their number, so that they do not come back all at once."""
        sockets = self._sockets
        if missed is not None:
            lost = [each for topic, each in self._topics.items() if published_as(topic) in missed]
            sockets = set().union(*lost)
        log.warning("sockets closed: news may have been missed", sockets=len(sockets))
        loop = asyncio.get_running_loop()
        spread_s = min(max(RENEW_SECONDS, len(sockets) / RENEWED_PER_SECOND), RENEW_MAX_SECONDS)
        for socket in sockets:
            loop.call_later(random.random() * spread_s, self.close, socket, Close.TRY_AGAIN_LATER)

    async def stop(self) -> None:
        """Send every client elsewhere."""
        self.stopped = True
        for socket in tuple(self._sockets):
            self.close(socket, Close.GOING_AWAY)
        if reading := [socket.reading for socket in self._sockets]:
            await asyncio.wait(reading, timeout=CLOSE_SECONDS)
        if left := [socket.drop() for socket in self._sockets]:
            await asyncio.wait(left)


HUB = web.AppKey("hub", Hub)
