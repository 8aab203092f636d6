"""Hands the notifications that the booking actors publish to waiting requests and to sockets."""

from __future__ import annotations

from typing import Any

import orjson
import structlog

from common.contracts.messages import (
    BookingChanged,
    EventChanged,
    EventWithdrawn,
    Message,
    QueueMoved,
    TokensRevoked,
    WaitingEntryChanged,
)
from gateway.bookings import BookingView, Json, redacted
from gateway.catalogue_reader import CatalogueReader
from gateway.hub import Hub, booking_topic, event_topic, owner_topic, waiting_entry_topic
from gateway.queue_positions import QueuePositions
from gateway.revocations import RevocationReader
from gateway.waiters import Waiters
from gateway.websocket import state_frame

log = structlog.get_logger()


class Dispatcher:
    """Called with each notification, in the order in which they came. Decodes it once, and encodes it again only
    where a socket listens to its topic."""

    def __init__(
        self,
        hub: Hub,
        waiters: Waiters,
        queue: QueuePositions,
        catalogue: CatalogueReader,
        revocations: RevocationReader,
    ) -> None:
        self._catalogue = catalogue
        self._revocations = revocations
        self._hub = hub
        self._waiters = waiters
        self._queue = queue

    def __call__(self, kind: type[Message], data: bytes) -> None:
        """`data`: the JSON of a `kind`."""
        try:
            if kind is BookingChanged:
                self._booking_changed(**orjson.loads(data))
            elif kind is EventChanged:
                self._event_changed(**orjson.loads(data))
            elif kind is WaitingEntryChanged:
                self._waiting_entry_changed(**orjson.loads(data))
            elif kind is EventWithdrawn:
                withdrawn = EventWithdrawn.of_json(data)
                self._catalogue.withdraw(str(withdrawn.event_id), withdrawn.version)
            elif kind is QueueMoved:
                self._queue.receive(QueueMoved.of_json(data))
            elif kind is TokensRevoked:
                self._revocations.receive([TokensRevoked.of_json(data).revocation])
        except (KeyError, TypeError, ValueError) as error:
            # The error's text is not logged, as it may quote the data.
            log.warning("undecodable", message=kind.__name__, error=type(error).__name__)

    def _booking_changed(self, owner: str, booking: Json, **_: Any) -> None:
        view = BookingView(booking)
        self._waiters.receive(owner, view)
        key, topic = booking_topic(view.id), owner_topic(owner)
        if self._hub.has(topic):
            self._hub.broadcast(topic, state_frame("booking", "booking", view.json, key, view.version))
        self._queue.track(topic, view)
        if self._hub.has(key):
            json = orjson.dumps(redacted(booking))
            self._hub.broadcast(key, state_frame("booking", "booking", json, key, view.version))

    def _waiting_entry_changed(self, owner: str, entry: Json, **_: Any) -> None:
        topic = owner_topic(owner)
        if self._hub.has(topic):
            key = waiting_entry_topic(entry["id"])
            json = orjson.dumps(entry)
            frame = state_frame("waiting_entry", "waiting_entry", json, key, entry["version"])
            self._hub.broadcast(topic, frame)

    def _event_changed(self, event: Json, operators: Json | None = None, **_: Any) -> None:
        self._catalogue.receive(event)
        # A booking actor of an older release does not send what operators see.
        for seen, by_operators in ((event, False), (operators or event, True)):
            topic = event_topic(event["id"], operators=by_operators)
            if self._hub.has(topic):
                # Two states of an event may have the same version (docs/websocket.md): the later one is sent, too.
                json, version = orjson.dumps(seen), seen["version"]
                self._hub.broadcast(topic, state_frame("event", "event", json, topic, version, repeats=True))
