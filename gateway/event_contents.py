"""What events show, as this process read it last: descriptions and images, each in bounded memory.

Both are long and hardly ever change: they come neither with lists nor with notifications, but are read when
somebody wants them. However many want one at the same time, the booking actor is asked once.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson
from aiohttp import web

from common.contracts.errors import NotFound
from common.contracts.messages import BOOKING_QUERIES, GetEvent, GetEventImage, Message
from common.contracts.resources import Event
from common.messaging.calls import Calls
from common.runtime.single_flight import SingleFlight
from gateway.bookings import Json
from gateway.catalogue import CatalogueEvent
from gateway.catalogue_reader import CatalogueReader
from gateway.descriptions import html
from gateway.images import KEPT_AS
from gateway.limits import LoadShedder, RequestSlots
from gateway.settings import GatewaySettings
from gateway.shared import SharedAnswer, tagged

# Descriptions with their HTML: some two thousand of them. Answers that have them take a few times as much.
DESCRIPTIONS_BYTES_MAX = 8 * 1024 * 1024
# Requests to the booking actor for what is not in memory, under way at once: made-up ids and old events must not
# fill its mailbox. As many fit into one of its batches.
ASKED_AT_ONCE = 50

V = TypeVar("V")


class Recent(Generic[V]):
    """What was used last, by event, up to a number of bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        # With the size of each; what was used least recently comes first.
        self._kept: OrderedDict[str, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, id: str) -> V | None:
        if (found := self._kept.get(id)) is None:
            return None
        self._kept.move_to_end(id)
        return found[0]

    def keep(self, id: str, value: V, size: int) -> None:
        """What alone is larger than all may be is not kept."""
        self._bytes += size - self._kept.pop(id, (value, 0))[1]
        self._kept[id] = value, size
        while self._bytes > self._bytes_max:
            self._bytes -= self._kept.popitem(last=False)[1][1]


@dataclass(slots=True)
class _Described:
    """A description, as JSON to be put behind the other members of the event that it belongs to."""

    content_version: int
    json: bytes
    # The last answer that was made with it, and of which event.
    event: CatalogueEvent
    answer: SharedAnswer


@dataclass(frozen=True, slots=True)
class ServedImage:
    """An image as it was read last. `for_ever`: the answer to a request that names its hash."""

    hash: str
    for_ever: SharedAnswer

    @classmethod
    def of(cls, hash: str, data: bytes) -> ServedImage:
        return cls(hash, SharedAnswer(data, f'"{hash}"', None, KEPT_AS))

    def answer(self, max_age_s: int | None) -> SharedAnswer:
        """`max_age_s`: how long it may be cached; None for ever."""
        if max_age_s is None:
            return self.for_ever
        return SharedAnswer(self.for_ever.body, self.for_ever.tag, max_age_s, KEPT_AS)


class EventContents:
    """Descriptions and images that this process has read, and how it reads those that it has not."""

    def __init__(
        self, calls: Calls, catalogue: CatalogueReader, shedder: LoadShedder, settings: GatewaySettings
    ) -> None:
        self._calls = calls
        self._catalogue = catalogue
        self._shedder = shedder
        self._settings = settings
        self._slots = RequestSlots(ASKED_AT_ONCE, settings.answer_seconds)
        self._descriptions = Recent[_Described](DESCRIPTIONS_BYTES_MAX)
        self._images = Recent[ServedImage](settings.event_images_max_bytes)
        self.read_event = SingleFlight(self._read_event, lambda event_id, _: event_id)
        self._read_image = SingleFlight(self._read_image_anew, lambda event_id, _: event_id)

    # --- events with their descriptions -------------------------------------------------------------------

    def answer(self, event: CatalogueEvent) -> SharedAnswer | None:
        """The answer with the event and its description; None if that is not in memory."""
        if event.outdated:
            return None
        if not event.content_version:
            return event.answer
        described = self._descriptions.find(event.id)
        if described is None or described.content_version != event.content_version:
            return None
        if described.event is not event:
            described.event, described.answer = event, self._answer(event, described.json)
        return described.answer

    async def _read_event(self, event_id: UUID, traceparent: str) -> SharedAnswer:
        """The answer with an event that is not in memory, or whose description is not. Raises EventNotFound."""
        found: Json = await self.asked(GetEvent(event_id=event_id, details=True), event_id, traceparent)
        self._catalogue.note(found)
        event = CatalogueEvent(Event.model_validate(found), self._settings.events_max_age_seconds)
        if not event.content_version:
            return event.answer
        markdown = found.get("description")
        json = orjson.dumps({"description": markdown, "description_html": await html(markdown)})
        described = _Described(event.content_version, json, event, self._answer(event, json))
        self._descriptions.keep(event.id, described, len(json))
        return described.answer

    def _answer(self, event: CatalogueEvent, json: bytes) -> SharedAnswer:
        body = b"%b,%b" % (event.body[:-1], json[1:])
        return SharedAnswer(body, tagged(body, event.terms_version), self._settings.events_max_age_seconds)

    # --- images -------------------------------------------------------------------------------------------

    async def image(self, event_id: UUID, traceparent: str) -> ServedImage:
        """The event's image. Raises EventNotFound, also for a draft, and NotFound if there is none."""
        known = self._images.find(str(event_id))
        event = self._catalogue.catalogue.find(str(event_id)) if self._catalogue.current else None
        if event is not None and not event.outdated:
            if event.image_hash is None:
                raise NotFound("The event has no image")
            if known is not None and known.hash == event.image_hash:
                return known
        return await self._read_image(event_id, traceparent)

    async def _read_image_anew(self, event_id: UUID, traceparent: str) -> ServedImage:
        """The image as it is now. Its bytes travel only if it is another one than before."""
        known = self._images.find(str(event_id))
        message = GetEventImage(event_id=event_id, known=None if known is None else known.hash)
        found: Json = await self.asked(message, event_id, traceparent)
        if known is not None and known.hash == found["hash"]:
            return known
        image = ServedImage.of(found["hash"], base64.b64decode(found["data"]))
        self._images.keep(str(event_id), image, 2 * len(image.for_ever.body))  # it is sent from a copy
        return image

    async def asked(self, message: Message, subject: object, traceparent: str) -> Any:
        """The booking actor's answer. Raises its error, Timeout, and Unavailable."""
        self._shedder.check((BOOKING_QUERIES,))
        timeout_s = self._settings.answer_seconds
        async with self._slots:
            return await self._calls.call(message, subject, timeout_s=timeout_s, traceparent=traceparent)


CONTENTS = web.AppKey("event_contents", EventContents)
