"""GET /events and GET /events/{id}: answered from the catalogue in memory, so that no query reaches an actor."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from common.contracts.messages import BOOKING_QUERIES, GetEvent, ListEvents, Message
from common.contracts.resources import Event
from common.wiring import CLOCK
from gateway.catalogue import CatalogueEvent, page_of
from gateway.catalogue_reader import CATALOGUE, PAST
from gateway.event_queries import EventsQuery
from gateway.limits import LOAD_SHEDDER, RequestSlots
from gateway.requests import encode_cursor, invalid_value, path_id, query
from gateway.settings import SETTINGS
from gateway.shared import SharedAnswer
from gateway.waiters import call

# Requests to the booking actor for events that are not in the catalogue, under way at once: made-up ids and old
# events must not fill its mailbox. As many fit into one of its batches.
EVENT_SLOTS_MAX = 50
EVENT_SLOTS = web.AppKey("event_slots", RequestSlots)


async def list_events(request: web.Request) -> web.StreamResponse:
    reader = request.app[CATALOGUE]
    now = int(request.app[CLOCK].timestamp() * 1_000_000)
    if reader.current and (kept := reader.catalogue.kept(request.raw_path, now)) is not None:
        return await kept.to(request)
    wanted = query(request, EventsQuery)
    old = wanted.starts_from is not None and wanted.starts_from < reader.earliest()
    if old and not wanted.plain:
        raise invalid_value("query", "from", f"more than {PAST.days} days ago it allows no other parameter")
    if reader.current and not old:
        answer = reader.catalogue.page(wanted, now)
        reader.catalogue.keep(request.raw_path, answer, now)
    elif wanted.plain:
        answer = await _listed(request, wanted)
    else:
        request.app[LOAD_SHEDDER].check((BOOKING_QUERIES,))
        answer = (await reader.read_now()).page(wanted, now)
    return await answer.to(request)


async def get_event(request: web.Request) -> web.StreamResponse:
    reader = request.app[CATALOGUE]
    if reader.current and (known := reader.catalogue.find(request.match_info["id"])) is not None:
        return await known.answer.to(request)
    event_id = path_id(request)
    event = reader.catalogue.find(str(event_id)) if reader.current else None
    if event is None:
        found = await _asked(request, GetEvent(event_id=event_id), event_id)
        reader.note(found)
        event = _as_shown(request, found)
    return await event.answer.to(request)


# --- what the booking actor has ---------------------------------------------------------------------------


async def _listed(request: web.Request, wanted: EventsQuery) -> SharedAnswer:
    """The page as the booking actor has it now."""
    message = ListEvents(after=wanted.cursor, limit=wanted.limit, starts_from=wanted.starts_from)
    found = await _asked(request, message, "events")
    events = [_as_shown(request, each) for each in found["items"]]
    following = found.get("next")
    return page_of(events, following and encode_cursor(following), request.app[SETTINGS].events_max_age_seconds)


async def _asked(request: web.Request, message: Message, subject: object) -> Any:
    """The booking actor's answer. Raises its error, Timeout, and Unavailable."""
    request.app[LOAD_SHEDDER].check((BOOKING_QUERIES,))
    async with request.app[EVENT_SLOTS]:
        return await call(request, message, subject)


def _as_shown(request: web.Request, found: Any) -> CatalogueEvent:
    return CatalogueEvent(Event.model_validate(found), request.app[SETTINGS].events_max_age_seconds)
