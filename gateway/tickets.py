"""The tickets of a booking: their codes, the images of these, the calendar entry, and the keys that check codes.

A browser's <img> sends no token, and a URL has none: pages fetch an image with the token, and show it from memory.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import orjson
from aiohttp import hdrs, web

from common.contracts.errors import HoldfastError, NotFound, TicketCancelled
from common.contracts.messages import BOOKING_QUERIES, GetSigningKeys, GetTickets
from common.contracts.statuses import TicketState
from common.contracts.tickets import BookingTickets
from common.icalendar import calendar
from common.messaging.calls import Calls
from common.qr_codes import png, svg
from common.runtime.outages import Outage
from common.runtime.single_flight import SingleFlight
from common.runtime.web import json_response
from common.wiring import CLOCK
from gateway.auth import IDENTITY
from gateway.bookings import Json
from gateway.limits import LoadShedder
from gateway.requests import TicketsQuery, encode_cursor, path_id, query
from gateway.settings import GatewaySettings
from gateway.shared import SharedAnswer, tagged
from gateway.waiters import call

DRAWN = {"svg": svg, "png": png}
# Drawing one takes 2 to 3 ms. So many are kept, of at most 5 KB each.
IMAGES_MAX = 1000
# How long the public keys are used before they are read again: a new one is added before it signs.
KEYS_SECONDS = 60


async def list_tickets(request: web.Request) -> web.Response:
    wanted = query(request, TicketsQuery)
    found = await _found(request, after=wanted.cursor[0] if wanted.cursor else 0, limit=wanted.limit)
    following = found.pop("next")
    for ticket in found["items"]:
        address = f"/bookings/{found['booking_id']}/tickets/{ticket['id']}"
        ticket |= {kind: f"{address}.{kind}" for kind in DRAWN}
    return json_response({**found, "next_cursor": following and encode_cursor(following)})


async def get_ticket_svg(request: web.Request) -> web.Response:
    return await _image(request, "svg", "image/svg+xml")


async def get_ticket_png(request: web.Request) -> web.Response:
    return await _image(request, "png", "image/png")


async def get_booking_calendar(request: web.Request) -> web.Response:
    tickets = BookingTickets.model_validate(await _found(request, limit=1))
    name = f'attachment; filename="{tickets.booking_id}.ics"'
    return web.Response(
        text=calendar(tickets, request.app[CLOCK]()),
        content_type="text/calendar",
        charset="utf-8",
        headers={hdrs.CONTENT_DISPOSITION: name},
    )


async def _found(request: web.Request, **wanted: Any) -> Json:
    id = path_id(request)
    message = GetTickets(booking_id=id, owner=request[IDENTITY].owner, **wanted)
    answer: Json = await call(request, message, id)
    return answer


async def _image(request: web.Request, kind: str, content_type: str) -> web.Response:
    ticket_id = path_id(request, "ticket_id")
    found = (await _found(request, ticket_id=ticket_id, limit=1))["items"]
    if not found:
        raise NotFound
    (ticket,) = found
    if ticket["state"] in (TicketState.CANCELLED, TicketState.REFUNDED):
        raise TicketCancelled(ticket_id=ticket["id"])
    if ticket["code"] is None:
        raise NotFound("Tickets have no codes on this installation")
    return web.Response(body=drawn(ticket["code"], kind), content_type=content_type)


@lru_cache(IMAGES_MAX)
def drawn(code: str, kind: str) -> bytes:
    """The QR code as an image of this kind, `svg` or `png`."""
    return DRAWN[kind](code)


# --- the keys that check codes ----------------------------------------------------------------------------


class PublicKeys:
    """The answer to GET /tickets/keys, as the booking actor gave it last: anybody may ask for it any time."""

    def __init__(self, calls: Calls, shedder: LoadShedder, settings: GatewaySettings) -> None:
        self._calls = calls
        self._shedder = shedder
        self._timeout_s = settings.answer_seconds
        self._answer: SharedAnswer | None = None
        self._read_at = float("-inf")
        self._refresh = SingleFlight(self._read)

    async def answer(self) -> SharedAnswer:
        """Raises the errors of a call while no keys are known."""
        if self._answer is None or time.monotonic() - self._read_at > KEYS_SECONDS:
            try:
                return await self._refresh()
            except (HoldfastError, Outage):
                if self._answer is None:
                    raise
        return self._answer

    async def _read(self) -> SharedAnswer:
        self._shedder.check((BOOKING_QUERIES,))
        body = orjson.dumps(await self._calls.call(GetSigningKeys(), "tickets", timeout_s=self._timeout_s))
        self._answer, self._read_at = SharedAnswer(body, tagged(body), KEYS_SECONDS), time.monotonic()
        return self._answer


PUBLIC_KEYS = web.AppKey("public_keys", PublicKeys)


async def list_signing_keys(request: web.Request) -> web.StreamResponse:
    return await (await request.app[PUBLIC_KEYS].answer()).to(request)
