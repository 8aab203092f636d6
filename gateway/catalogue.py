"""The catalogue: all events that clients may see, in memory, searched and ordered. It holds nothing else."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

from common.contracts.resources import Event
from common.contracts.statuses import EventStatus
from gateway.event_queries import (
    BY_NAME,
    EARLIEST_FIRST,
    LATEST_FIRST,
    ORDERED_CHARACTERS,
    EventsQuery,
    ListPosition,
    cursor_behind,
    folded,
    microseconds,
)
from gateway.shared import SharedAnswer, tagged

# The bytes of pages that are kept, of all queries together.
PAGES_BYTES_MAX = 16 * 1024 * 1024
# No time is later.
NEVER = 2**63
# The members that notifications do not have, with the version of the content that they belong to.
CONTENT = ("content_version", "category", "venue", "image")
NO_CONTENT: dict[str, Any] = {"content_version": 0, "category": None, "venue": None, "image": None}
# What an event without content has behind its other members, where it is read by itself.
NOT_DESCRIBED = b',"description":null,"description_html":null}'


class CatalogueEvent:
    """One version of an event. Only what `resources.Event` has gets into it, whatever a message has."""

    __slots__ = (
        "answer", "body", "category", "content", "content_version", "id", "image_hash", "listed", "name",
        "outdated", "sales_end", "sales_start", "sold", "starts", "starts_at", "terms_version", "version",
    )  # fmt: skip

    def __init__(self, event: Event, max_age_s: int, *, outdated: bool = False) -> None:
        """`outdated`: its content is of an earlier version, because a notification brought this one."""
        self.id = str(event.id)
        self.version, self.terms_version = event.version, event.terms_version
        self.name = folded(event.name)
        self.listed = event.status is EventStatus.PUBLISHED
        self.outdated = outdated
        self.content_version = event.content_version
        self.content = {name: getattr(event, name) for name in CONTENT} if event.content_version else NO_CONTENT
        self.category = None if event.category is None else folded(event.category)
        self.image_hash = None if event.image is None else event.image.hash
        # Times in microseconds since 1970.
        self.starts = microseconds(event.starts_at)
        self.sales_start = 0 if event.sales_start is None else microseconds(event.sales_start)
        self.sales_end = NEVER if event.sales_end is None else microseconds(event.sales_end)
        # Whether it is sold between the two.
        self.sold = event.on_sale and event.called_off_at is None
        # As an item of a list; and the answer where it is read by itself and has no content.
        self.body = event.as_json()
        alone = self.body[:-1] + NOT_DESCRIBED
        self.answer = SharedAnswer(alone, tagged(alone, event.terms_version), max_age_s)
        self.starts_at = event.starts_at.isoformat()

    def on_sale(self, now: int) -> bool:
        return self.sold and self.sales_start <= now < self.sales_end

    def position(self, sort: str) -> ListPosition:
        if sort == BY_NAME:
            return ListPosition(self.name[:ORDERED_CHARACTERS], self.id)
        return ListPosition(-self.starts if sort == LATEST_FIRST else self.starts, self.id)

    @property
    def terms(self) -> tuple[Any, ...]:
        """What orders and times depend on."""
        return self.starts, self.name, self.sales_start, self.sales_end, self.sold, self.listed


class Catalogue:
    """Events by id: those that are published and, on no page, archived ones that were read lately. Pages are kept
    until an event changes or until time changes what is on them."""

    def __init__(self, max_age_s: int) -> None:
        """`max_age_s`: how long clients may cache an answer."""
        self._max_age_s = max_age_s
        self._events: dict[str, CatalogueEvent] = {}
        # The places of all events by order, and all times at which pages change; made when they are needed.
        self._orders: dict[str, list[ListPosition]] = {}
        self._times: list[int] | None = None
        # Pages by the request's target, their bytes, and until when they are valid.
        self._pages: dict[str, SharedAnswer] = {}
        self._pages_bytes = 0
        self._valid_until = 0

    def __len__(self) -> int:
        return len(self._events)

    def find(self, id: str) -> CatalogueEvent | None:
        return self._events.get(id)

    def put(self, event: Event, *, older: bool = False) -> None:
        """Take `event` in, without what is hidden; `older`: also in place of a newer version."""
        event = event.public()
        known = self._events.get(str(event.id))
        if known is not None and known.version > event.version and not older:
            return
        new = self._with_content(event, known)
        if known is not None and known.answer.tag == new.answer.tag:
            return
        self._events[new.id] = new
        self._changed(terms=known is None or known.terms != new.terms)

    def _with_content(self, event: Event, known: CatalogueEvent | None) -> CatalogueEvent:
        """With the content that is known, if it came in a notification: it may be outdated then."""
        if "venue" in event.model_fields_set or not event.content_version:
            return CatalogueEvent(event, self._max_age_s)
        content = NO_CONTENT if known is None else known.content
        outdated = content["content_version"] != event.content_version
        return CatalogueEvent(event.model_copy(update=content), self._max_age_s, outdated=outdated)

    def remove(self, ids: Iterable[str]) -> None:
        for id in ids:
            if self._events.pop(id, None) is not None:
                self._changed(terms=True)

    def versions(self) -> dict[str, int]:
        return {id: event.version for id, event in self._events.items()}

    def starting_before(self, time: int) -> list[str]:
        """The ids of events that start before `time` (microseconds)."""
        return [id for id, event in self._events.items() if event.starts < time]

    def _changed(self, *, terms: bool) -> None:
        self._pages.clear()
        self._pages_bytes = 0
        if terms:
            self._orders.clear()
            self._times = None

    # --- pages --------------------------------------------------------------------------------------------

    def kept(self, target: str, now: int) -> SharedAnswer | None:
        """The page that was kept for this target of a request, if it is still right."""
        if now >= self._valid_until and self._pages:
            self._changed(terms=False)
        return self._pages.get(target)

    def keep(self, target: str, page: SharedAnswer, now: int) -> None:
        """Keep a page that was made `now`."""
        if self._pages_bytes + len(page.body) > PAGES_BYTES_MAX:
            self._changed(terms=False)
        if not self._pages:
            self._valid_until = self._next_time(now)
        self._pages[target] = page
        self._pages_bytes += len(page.body)

    def _next_time(self, now: int) -> int:
        """When the next event starts, or its sales start or end."""
        if self._times is None:
            events = self._events.values()
            self._times = sorted(
                {time for each in events for time in (each.starts, each.sales_start, each.sales_end)}
            )
        at = bisect_left(self._times, now)
        return max(self._times[at], now + 1) if at < len(self._times) else NEVER

    def page(self, query: EventsQuery, now: int) -> SharedAnswer:
        """The page that `query` asks for; `now` in microseconds."""
        found: list[CatalogueEvent] = []
        for event in self._matching(query, now):
            found.append(event)
            if len(found) > query.limit:
                break
        shown, following = found[: query.limit], None
        if len(found) > query.limit:
            last = shown[-1]
            key = last.name[:ORDERED_CHARACTERS] if query.sort == BY_NAME else last.starts_at
            following = cursor_behind(query.sort, key, last.id)
        return page_of(shown, following, self._max_age_s)

    def _matching(self, query: EventsQuery, now: int) -> Iterator[CatalogueEvent]:
        position, sought = query.position, query.sought
        earliest, latest = _bounds(query, now)
        order = self._order(query.sort)
        at = 0 if position is None else bisect_right(order, position)
        if query.sort == EARLIEST_FIRST:
            at = max(at, bisect_left(order, ListPosition(earliest, "")))
        for number in range(at, len(order)):
            event = self._events[order[number].id]
            if not earliest <= event.starts < latest:
                if query.sort == EARLIEST_FIRST:
                    return  # it, and so all that follow, are too late
                continue
            if (
                sought in event.name
                and query.on_sale in (None, event.on_sale(now))
                and query.sought_category in (None, event.category)
            ):
                yield event

    def _order(self, sort: str) -> list[ListPosition]:
        if (known := self._orders.get(sort)) is None:
            listed = (event for event in self._events.values() if event.listed)
            known = self._orders[sort] = sorted(event.position(sort) for event in listed)
        return known


def _bounds(query: EventsQuery, now: int) -> tuple[int, int]:
    """Which starts the query asks for: from the first, before the second."""
    if query.starts_from is not None:
        earliest = microseconds(query.starts_from)
    else:
        follows = query.cursor is not None and query.sort == EARLIEST_FIRST
        earliest = 0 if follows else now
    return earliest, NEVER if query.starts_before is None else microseconds(query.starts_before)


def page_of(events: Iterable[CatalogueEvent], next_cursor: str | None, max_age_s: int) -> SharedAnswer:
    """A page of a list: these events, and where the next one begins."""
    items = b",".join([each.body for each in events])
    following = b"null" if next_cursor is None else b'"%b"' % next_cursor.encode()
    body = b'{"items":[%b],"next_cursor":%b}' % (items, following)
    return SharedAnswer(body, tagged(body), max_age_s)
