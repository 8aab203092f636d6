"""The WebSocket hub: sends frames to sockets by topic. It knows nothing of the domain but topic, version and frame.

A frame is built once for all of its sockets and written straight to their transports. A socket has no queue but its
transport's buffer. When that is over the limit, the hub closes the socket with 1013, and the client connects again
and gets a snapshot.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Collection

import prometheus_client
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge

from common.contracts.errors import TooManyRequests
from common.messaging.registry import Registry
from gateway.auth import Identity
from gateway.settings import GatewaySettings
from gateway.websocket import CLOSE_SECONDS, Close, Frame, Socket

# Sockets whose clients must connect again are closed over at least this time, at this rate, over at most this time.
RENEW_SECONDS = 2.0
RENEWED_PER_SECOND = 1000  # each client that returns reads its snapshots again
RENEW_MAX_SECONDS = 30.0  # until its socket is closed a client may show an old state
# How often all sockets are checked for silence and expired tokens: the most that a token is accepted for too long.
CHECK_SECONDS = 1.0
# Retry-After, in seconds, where the client must close a socket first.
FULL_SECONDS = 10

log = structlog.get_logger()


# Topics are those under which notifications are published (see common/messaging/registry.py). An event's topic with
# this in front is for what operators see of the event.
OPERATORS = "operators' "


def owner_topic(owner: str) -> str:
    return f"owner:{owner}"


def booking_topic(booking_id: str) -> str:
    """For operators, who see the booking without its client secret."""
    return f"booking:{booking_id}"


def waiting_entry_topic(entry_id: str) -> str:
    """By which a socket knows the versions of an entry that it was sent; nothing is published under it."""
    return f"waiting_entry:{entry_id}"


def event_topic(event_id: str, *, operators: bool = False) -> str:
    """For `operators`: with held and sold seats and, when the event is cancelled, its progress."""
    return f"{OPERATORS if operators else ''}event:{event_id}"


def published_as(topic: str) -> str:
    return topic.removeprefix(OPERATORS)


class Hub:
    """All sockets of this process, by topic."""

    def __init__(
        self, settings: GatewaySettings, metrics: CollectorRegistry, registry: Registry, clock: Callable[[], float]
    ) -> None:
        """`registry`: where this process registers the topics that it listens for. `clock` returns the time, in
        Unix seconds, and is called only while there is a socket with a token."""
        self._clock = clock
        self._registry = registry
        self._settings = settings
        self._sockets: set[Socket] = set()
        self._topics: dict[str, set[Socket]] = {}
        # How many sockets each network and each subject has, also those that are being closed.
        self._addresses: Counter[str] = Counter()
        self._subjects: Counter[str] = Counter()
        Gauge("holdfast_sockets", "Open WebSockets", registry=metrics).set_function(lambda: len(self._sockets))
        self._closed = prometheus_client.Counter(
            "holdfast_sockets_closed", "WebSockets that we closed, by code", ("code",), registry=metrics
        )
        self.stopped = False

    def add(self, transport: asyncio.Transport, address: str) -> Socket:
        """A new socket of a client in network `address`: see `admit_address`."""
        socket = Socket(transport, self._settings, address)
        self._sockets.add(socket)
        self._addresses[address] += 1
        return socket

    def remove(self, socket: Socket) -> None:
        if socket in self._sockets:
            self._sockets.discard(socket)
            _count_down(self._addresses, socket.address)
            if socket.subject is not None:
                _count_down(self._subjects, socket.subject)
        self._unsubscribe_all(socket)
        socket.leave()

    def admit_address(self, address: str) -> None:
        """Raises TooManyRequests when the network `address` has as many sockets as it may."""
        _check(self._addresses[address], self._settings.ws_sockets_per_address, "sockets_per_address")

    def admit_subject(self, subject: str) -> None:
        """Raises TooManyRequests when the subject has as many sockets as it may."""
        _check(self._subjects[subject], self._settings.ws_sockets_per_subject, "sockets_per_subject")

    def assign(self, socket: Socket, subject: str) -> None:
        """From now on the socket counts for `subject`. Raises TooManyRequests, and then it does not."""
        self.admit_subject(subject)
        socket.subject = subject
        self._subjects[subject] += 1

    def subscribe(self, socket: Socket, topic: str) -> None:
        if socket.closing:
            return
        socket.topics.add(topic)
        if topic not in self._topics:
            self._topics[topic] = set()
            # Redis receives the registration before any call that is sent from now on. If it does not, the listener
            # notices within a second, and the topic's sockets are closed.
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
        """Whether a socket listens to `topic`; if none does, no frame need be built."""
        return topic in self._topics

    def broadcast(self, topic: str, frame: Frame) -> None:
        """Send `frame` to all sockets that listen to `topic` and have not been sent its version."""
        for socket in tuple(self._topics.get(topic, ())):
            if socket.wants(frame):
                self.send(socket, frame)

    def send(self, socket: Socket, frame: Frame) -> None:
        """Send `frame` to one socket, or close it if its client does not keep up."""
        if not socket.send(frame):
            self.close(socket, Close.TRY_AGAIN_LATER)

    def close(self, socket: Socket, code: Close, reason: str = "") -> None:
        """Close `socket`; nothing more is sent to it."""
        if socket.closing or socket not in self._sockets:
            return
        self._closed.labels(int(code)).inc()
        self._unsubscribe_all(socket)
        socket.close(code, reason or code.meaning)

    def _unsubscribe_all(self, socket: Socket) -> None:
        for topic in tuple(socket.topics):
            self.unsubscribe(socket, topic)

    async def watch(self) -> None:
        """Ping silent clients, and close sockets whose token has expired, until cancelled."""
        ping_s = self._settings.ws_ping_seconds
        while True:
            await asyncio.sleep(min(CHECK_SECONDS, ping_s / 2))
            for socket in tuple(self._sockets):
                if socket.identity is not None and socket.identity.expires_at <= self._clock():
                    self.close(socket, Close.UNAUTHORIZED, "The token has expired")
                else:
                    socket.check_silence(ping_s)

    def close_revoked(self, revoked: Callable[[Identity], bool]) -> None:
        """Close the sockets whose token is revoked."""
        for socket in tuple(self._sockets):
            if socket.identity is not None and revoked(socket.identity):
                self.close(socket, Close.UNAUTHORIZED, "The token was revoked")

    def renew(self, missed: Collection[str] | None = None) -> None:
        """Close the sockets of the topics published as `missed`, or all: they may have missed notifications, and
        their clients connect again. It is spread over time, so that not all come back at once."""
        sockets = self._sockets
        if missed is not None:
            lost = [each for topic, each in self._topics.items() if published_as(topic) in missed]
            sockets = set().union(*lost)
        log.warning("sockets closed: notifications may have been missed", sockets=len(sockets))
        loop = asyncio.get_running_loop()
        spread_s = min(max(RENEW_SECONDS, len(sockets) / RENEWED_PER_SECOND), RENEW_MAX_SECONDS)
        for socket in sockets:
            loop.call_later(random.random() * spread_s, self.close, socket, Close.TRY_AGAIN_LATER)

    async def stop(self) -> None:
        """Close every socket, so that its client connects to another process."""
        self.stopped = True
        for socket in tuple(self._sockets):
            self.close(socket, Close.GOING_AWAY)
        if reading := [socket.reading for socket in self._sockets]:
            await asyncio.wait(reading, timeout=CLOSE_SECONDS)
        if left := [socket.drop() for socket in self._sockets]:
            await asyncio.wait(left)


def _check(open: int, most: int, limit: str) -> None:
    if most and open >= most:
        raise TooManyRequests(
            "Too many sockets are open: close another first", retry_after=FULL_SECONDS, limited_by=limit
        )


def _count_down(counts: Counter[str], key: str) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]


HUB = web.AppKey("hub", Hub)
