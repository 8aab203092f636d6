"""GET /events and GET /events/{id}: answered from the catalogue in memory, so that no query reaches an actor."""

from __future__ import annotations

from aiohttp import hdrs, web

from common.contracts.messages import BOOKING_QUERIES, GetEvent, ListEvents
from common.contracts.resources import Event
from common.runtime.web import TRACEPARENT, json_response
from common.wiring import CLOCK
from gateway import descriptions
from gateway.addresses import NETWORK
from gateway.catalogue import CatalogueEvent, page_of
from gateway.catalogue_reader import CATALOGUE, PAST
from gateway.event_contents import CONTENTS
from gateway.event_queries import EventsQuery
from gateway.limiter import LIMITER
from gateway.limits import LOAD_SHEDDER
from gateway.requests import EventQuery, encode_cursor, invalid_value, path_id, query
from gateway.settings import SETTINGS
from gateway.shared import SharedAnswer


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
    if request.query_string and (code := query(request, EventQuery).code) is not None:
        return await _unlocked(request, code)
    answer = _known(request, request.match_info["id"])
    if answer is None:
        event_id = path_id(request)
        read = request.app[CONTENTS].read_event
        answer = _known(request, str(event_id)) or await read(event_id, request[TRACEPARENT])
    return await answer.to(request)


async def _unlocked(request: web.Request, code: str) -> web.Response:
    """The event with the hidden ticket types that this promo code unlocks: nobody keeps it."""
    event_id = path_id(request)
    message = GetEvent(event_id=event_id, details=True, code=code)
    async with request.app[LIMITER].promo_code(None, request[NETWORK], code):
        found = await request.app[CONTENTS].asked(message, event_id, request[TRACEPARENT])
    markdown = found.get("description")
    body = {**found, "description": markdown, "description_html": await descriptions.html(markdown)}
    return json_response(body, headers={hdrs.CACHE_CONTROL: "no-store"})


def _known(request: web.Request, id: str) -> SharedAnswer | None:
    """The answer with this event, if memory has it and is current."""
    reader = request.app[CATALOGUE]
    event = reader.catalogue.find(id) if reader.current else None
    return None if event is None else request.app[CONTENTS].answer(event)


async def _listed(request: web.Request, wanted: EventsQuery) -> SharedAnswer:
    """The page as the booking actor has it now."""
    message = ListEvents(after=wanted.cursor, limit=wanted.limit, starts_from=wanted.starts_from)
    found = await request.app[CONTENTS].asked(message, "events", request[TRACEPARENT])
    max_age_s = request.app[SETTINGS].events_max_age_seconds
    events = [CatalogueEvent(Event.model_validate(each), max_age_s) for each in found["items"]]
    following = found.get("next")
    return page_of(events, following and encode_cursor(following), max_age_s)
