"""What the booking actors publish to this gateway: handed to waiting requests and to sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import structlog

from common.contracts.messages import BookingChanged, EventChanged, Message, QueueMoved
from gateway.bookings import BookingView, redacted
from gateway.hub import Hub, VersionedFrame, booking_topic, event_topic, owner_topic
from gateway.queue import QueuePositions
from gateway.waiting import Waiters
from gateway.websocket import state_frame

log = structlog.get_logger()


class Dispatcher:
    """Called with each notification in the order in which they came. What is in it is decoded once, and only what
    somebody listens to is encoded again."""

    def __init__(self, hub: Hub, waiters: Waiters, queue: QueuePositions) -> None:
        self._hub = hub
        self._waiters = waiters
        self._queue = queue
        self._handlers: dict[type[Message], Callable[[bytes], None]] = {
            BookingChanged: self._booking_changed,
            EventChanged: self._event_changed,
            QueueMoved: lambda data: queue.moved(QueueMoved.of_json(data)),
        }

    def __call__(self, kind: type[Message], data: bytes) -> None:
        """`data`: the JSON of a `kind`."""
        handler = self._handlers.get(kind)
        try:
            if handler is not None:
                handler(data)
        except (KeyError, TypeError, ValueError) as error:
            # Not the error's text: it may quote what is in the data.
            log.warning("undecodable", message=kind.__name__, error=type(error).__name__)

    def _booking_changed(self, data: bytes) -> None:
        news = orjson.loads(data)
        owner, booking = news["owner"], BookingView(news["booking"])
        self._waiters.hear(owner, booking)
        key, topic = booking_topic(booking.id), owner_topic(owner)
        if self._hub.has(topic):
            self._hub.broadcast(
                topic, VersionedFrame(state_frame("booking", "booking", booking.json), key, booking.version)
            )
        self._queue.hear(topic, booking)
        if self._hub.has(key):
            json = orjson.dumps(redacted(booking.fields))
            self._hub.broadcast(key, VersionedFrame(state_frame("booking", "booking", json), key, booking.version))

    def _event_changed(self, data: bytes) -> None:
        news: dict[str, Any] = orjson.loads(data)
        # A booking actor of an older release says nothing of what operators see.
        for event, operators in ((news["event"], False), (news.get("operators") or news["event"], True)):
            topic = event_topic(event["id"], operators=operators)
            if self._hub.has(topic):
                # An event's version may count its descriptions while its availability moves on.
                json = orjson.dumps(event)
                self._hub.broadcast(
                    topic, VersionedFrame(state_frame("event", "event", json), topic, event["version"], True)
                )
