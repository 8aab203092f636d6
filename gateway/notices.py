"""What the booking actors tell all gateways: handed to waiting requests and to sockets."""

from __future__ import annotations

from uuid import UUID

import structlog

from common.contracts.messages import BookingChanged, EventChanged, QueueMoved
from common.messaging.envelope import Envelope
from gateway.live import Change, Hub
from gateway.queue import Queue
from gateway.waiters import Heard, Waiters
from gateway.websocket import Topic, text_frame

log = structlog.get_logger()


def owner_topic(owner: str) -> Topic:
    return ("owner", owner)


def booking_topic(booking_id: UUID) -> Topic:
    """For operators: without the client secret."""
    return ("booking", booking_id)


def event_topic(event_id: UUID) -> Topic:
    return ("event", event_id)


def operators_event_topic(event_id: UUID) -> Topic:
    """For operators: with what is held and sold, and the progress of a calling off."""
    return ("operators event", event_id)


class Notices:
    """Called with each notification in the order in which they came."""

    def __init__(self, hub: Hub, waiters: Waiters, queue: Queue) -> None:
        self._hub = hub
        self._waiters = waiters
        self._queue = queue

    def __call__(self, envelope: Envelope) -> None:
        message = envelope.message
        if isinstance(message, BookingChanged):
            self._booking(message)
        elif isinstance(message, EventChanged):
            self._event(message)
        elif isinstance(message, QueueMoved):
            self._queue.moved(message)
        else:
            log.warning("unexpected notification", type=message.type)

    def _booking(self, message: BookingChanged) -> None:
        booking = message.booking
        heard = Heard(booking)
        self._waiters.tell(message.owner, heard)
        key = booking_topic(booking.id)
        topic = owner_topic(message.owner)
        if self._hub.has(topic):
            self._hub.broadcast(topic, Change(key, booking.version, booking_frame(heard.json)))
        self._queue.heard(topic, booking)
        if self._hub.has(key):
            json = booking.redacted().as_json()
            self._hub.broadcast(key, Change(key, booking.version, booking_frame(json)))

    def _event(self, message: EventChanged) -> None:
        # A booking process of an older version tells nothing of what operators see.
        for topic, event in (
            (event_topic(message.event.id), message.event),
            (operators_event_topic(message.event.id), message.operators or message.event),
        ):
            if self._hub.has(topic):
                frame = text_frame(b'{"type":"event","event":' + event.as_json() + b"}")
                # An event's version may count its descriptions while its availability moves on.
                self._hub.broadcast(topic, Change(topic, event.version, frame, repeats=True))


def booking_frame(json: bytes) -> bytes:
    return text_frame(b'{"type":"booking","booking":' + json + b"}")
