"""Keeps the catalogue current: notifications bring each change, and a read of all events finds what they missed.

Notifications are hints. One may be lost with a crash or never be published, by a booking process of the release
before. So the versions of all events are read again and again, and the catalogue is used only while such a read has
confirmed it a short time ago and nothing is known to be missing; otherwise the booking actor is asked, as it is for
events that are not in the catalogue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge

from common.contracts.errors import EventNotFound, Unavailable
from common.contracts.messages import EVENTS_TOPIC, GetEvent, ListEvents, Message
from common.contracts.resources import Event
from common.contracts.statuses import EventStatus
from common.messaging.calls import Calls
from common.messaging.registry import Registry
from common.runtime.health import Gate
from common.runtime.single_flight import SingleFlight
from gateway.bookings import Json
from gateway.catalogue import Catalogue
from gateway.event_queries import microseconds
from gateway.reads import PAGE, PAGE_PAUSE_SECONDS, pages, read_again
from gateway.settings import GatewaySettings

# Events that started longer ago are not in the catalogue: hardly anybody looks at them, and they only become more.
PAST = timedelta(days=30)
# An event that is read alone costs as much as so many of a page: a message and a query of its own.
SINGLE_READ_COST = 10
# Changed events that are read at the same time.
READ_AT_ONCE = 20
# The catalogue is not used when it was confirmed this many intervals ago.
CONFIRMED_INTERVALS = 3

log = structlog.get_logger()


class CatalogueReader:
    """The catalogue of this process, and whether it may be used."""

    def __init__(
        self,
        registry: Registry,
        calls: Calls,
        listening: Gate,
        clock: Callable[[], datetime],
        settings: GatewaySettings,
    ) -> None:
        """`listening` is open while this process receives notifications. `clock` raises Outage while it does not
        know the time."""
        self._registry = registry
        self._calls = calls
        self._listening = listening
        self._clock = clock
        self._settings = settings
        self.catalogue = self._empty()
        # Events that notifications have changed since the read under way began.
        self._changed: set[str] = set()
        # Of these, with their versions, those that have become drafts; and events whose content is to be read.
        self._withdrawn: dict[str, int] = {}
        self._outdated: set[str] = set()
        # Grows each time that notifications may have been missed.
        self._misses = 0
        # Until when, by the monotonic clock, the last read confirms the catalogue, and when the next one is due.
        self._confirmed_until = self._read_at = 0.0
        # Whether the catalogue has all events, if perhaps not all changes; whether they are too many.
        self._loaded = self._too_many = False
        self._sooner = asyncio.Event()
        self.read_now = SingleFlight(self._read_apart)

    def show_in(self, metrics: CollectorRegistry) -> None:
        """Show operators what it holds, and whether it is used."""
        Gauge("holdfast_event_catalogue_events", "Events in the catalogue", registry=metrics).set_function(
            lambda: len(self.catalogue)
        )
        Gauge("holdfast_event_catalogue_current", "1 while it answers, else 0", registry=metrics).set_function(
            lambda: self.current
        )

    def _empty(self) -> Catalogue:
        return Catalogue(self._settings.events_max_age_seconds)

    @property
    def current(self) -> bool:
        """Whether the catalogue is as new as notifications make it."""
        return self._listening.reason is None and time.monotonic() < self._confirmed_until

    def earliest(self) -> datetime:
        """The catalogue has all events that start then or later. Raises Outage."""
        return self._clock() - PAST

    def receive(self, event: Json) -> None:
        """Take in an event that the booking actor has sent, in a notification or a reply. Raises ValueError."""
        if not self._settings.event_catalogue_max:
            return
        changed = Event.model_validate(event)
        id = str(changed.id)
        if changed.status is EventStatus.DRAFT:
            self.withdraw(id, changed.terms_version or 0)
            return
        if self._is_withdrawn(changed):
            return
        self._changed.add(id)
        if len(self.catalogue) >= self._settings.event_catalogue_max and self.catalogue.find(id) is None:
            self._distrust()
            return
        self.catalogue.put(changed)
        if (known := self.catalogue.find(id)) is not None and known.outdated:
            self._outdated.add(id)
            self._sooner.set()

    def withdraw(self, id: str, version: int) -> None:
        """Nobody may see this event any more, unless it was published again since it had this version."""
        known = self.catalogue.find(id)
        if known is not None and (known.terms_version or 0) > version:
            return
        self._changed.add(id)
        self._withdrawn[id] = version
        self.catalogue.remove([id])

    def _is_withdrawn(self, event: Event) -> bool:
        """Whether this was sent, or read, before the event became a draft."""
        return (event.terms_version or 0) <= self._withdrawn.get(str(event.id), -1)

    def note(self, event: Json) -> None:
        """Take in the reply to a request that has changed an event: its client then reads what it wrote."""
        try:
            self.receive(event)
        except ValueError as error:
            log.warning("undecodable", message="an event in a reply", error=type(error).__name__)

    def on_missed(self, topics: Collection[str] | None) -> None:
        """Read all events again: the notifications of these topics, or of all, may have been missed."""
        if topics is None or EVENTS_TOPIC in topics:
            self._misses += 1
            self._distrust()

    def _distrust(self) -> None:
        self._confirmed_until = self._read_at = 0.0
        self._sooner.set()

    # --- reading ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read until cancelled. What cannot be read now is read later; meanwhile the booking actor is asked."""
        if not self._settings.event_catalogue_max:
            return
        self._registry.add(EVENTS_TOPIC)
        await read_again("events", self._read, self._sooner)

    async def _read(self) -> float:
        """Read contents that are outdated or, when it is due, all; returns after how many seconds to read again."""
        await self._listening.opened.wait()
        if self._outdated and time.monotonic() < self._read_at:
            await self._read_contents()
        else:
            due = self._read_at = time.monotonic()
            pause = await self._read_all()
            if self._read_at == due:  # else all is to be read again
                self._read_at = time.monotonic() + pause
        return 0.0 if self._outdated else max(self._read_at - time.monotonic(), 0.0)

    async def _read_contents(self) -> None:
        """Read events whose content is outdated."""
        outdated, self._outdated = self._outdated, set()
        try:
            for event in await self._read_events([UUID(id) for id in outdated]):
                if self.catalogue.find(event["id"]) is not None:
                    self.catalogue.put(Event.model_validate(event))
        except BaseException:
            self._outdated |= outdated
            raise

    async def _read_all(self) -> float:
        """Make the catalogue as the database is; returns after how many seconds to do it again."""
        misses, earliest, seconds = self._misses, self.earliest(), self._settings.event_catalogue_read_seconds
        self._changed.clear()
        self._withdrawn.clear()
        known, found, published, count = self.catalogue.versions(), dict[str, Json](), True, 0
        async for answer in pages(self._list, self._page(earliest, versions_only=self._loaded)):
            found |= {each["id"]: each for each in answer["items"]}
            published, count = published and answer.get("published", False), count + 1
            if len(found) > self._settings.event_catalogue_max:
                self._give_up(len(found))
                return seconds * CONFIRMED_INTERVALS
        unread = [UUID(id) for id, each in found.items() if "name" not in each and known.get(id) != each["version"]]
        if len(unread) * SINGLE_READ_COST > len(found):
            self._loaded = False  # whole pages are read sooner
            return 0.0
        read = [each for each in found.values() if "name" in each] + await self._read_events(unread)
        self._take_in(read, gone=known.keys() - found.keys(), earliest=earliest)
        self._loaded, self._too_many = True, False
        if misses != self._misses:
            return 0.0
        pause = max(seconds, count * PAGE_PAUSE_SECONDS)
        # A booking process of the release before publishes only what a socket follows: it is asked.
        if self._listening.reason is None and published:
            self._confirmed_until = time.monotonic() + CONFIRMED_INTERVALS * pause
        return pause

    def _take_in(self, read: list[Json], gone: Collection[str], earliest: datetime) -> None:
        """What was read replaces what is known; where a notification came meanwhile, the newer of both stays."""
        for each in read:
            event = Event.model_validate(each)
            if not self._is_withdrawn(event):
                self.catalogue.put(event, older=str(event.id) not in self._changed)
        self.catalogue.remove([id for id in gone if id not in self._changed])
        self.catalogue.remove(self.catalogue.starting_before(microseconds(earliest)))

    def _give_up(self, events: int) -> None:
        if not self._too_many:
            most = self._settings.event_catalogue_max
            log.warning("too many events for the catalogue: the booking actor is asked", events=events, most=most)
        self._loaded, self._too_many, self._confirmed_until = False, True, 0.0
        self.catalogue = self._empty()

    def _page(self, earliest: datetime, *, versions_only: bool) -> Callable[[Any], Message]:
        return lambda after: ListEvents(after=after, limit=PAGE, starts_from=earliest, versions_only=versions_only)

    async def _list(self, message: Message) -> Json:
        answer: Json = await self._call(message, "events")
        return answer

    async def _read_events(self, ids: list[UUID]) -> list[Json]:
        found: list[Json] = []
        for begin in range(0, len(ids), READ_AT_ONCE):
            some = [self._read_event(id) for id in ids[begin : begin + READ_AT_ONCE]]
            found += [each for each in await asyncio.gather(*some) if each is not None]
        return found

    async def _read_event(self, id: UUID) -> Json | None:
        try:
            event: Json = await self._call(GetEvent(event_id=id), id)
        except EventNotFound:
            return None
        return event

    async def _call(self, message: Message, subject: object) -> Any:
        return await self._calls.call(message, subject, timeout_s=self._settings.answer_seconds)

    async def _read_apart(self) -> Catalogue:
        """A catalogue of all events as they are now, for a search while the own one cannot be used. Raises the
        errors of a call, Outage, and Unavailable if there are too many."""
        catalogue = self._empty()
        async for answer in pages(self._list, self._page(self.earliest(), versions_only=False)):
            for each in answer["items"]:
                catalogue.put(Event.model_validate(each))
            if len(catalogue) > self._settings.event_catalogue_max:
                raise Unavailable("There are too many events to search them: an operator can allow more")
        return catalogue


CATALOGUE = web.AppKey("catalogue", CatalogueReader)
