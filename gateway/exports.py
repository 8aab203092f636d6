"""Tables for spreadsheets: bookings, seats and money as CSV (RFC 4180), sent while they are read, page by page."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import structlog
from aiohttp import web

from common.contracts.errors import EventNotFound, HoldfastError
from common.contracts.messages import GetEvent, ListBookings
from gateway.bookings import Json, completed
from gateway.limits import RequestSlots
from gateway.requests import ExportQuery, query
from gateway.waiters import call

log = structlog.get_logger()

# Tables under way at once in one gateway: each has one query of the booking actor under way all the time.
EXPORTS_MAX = 2
EXPORT_SLOTS = web.AppKey("export_slots", RequestSlots)
# Bookings in one query: as many as it may have.
PAGE = 200
# What makes a spreadsheet run the text of a cell as a formula: https://owasp.org/www-community/attacks/CSV_Injection.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# By which spreadsheets know that a file is UTF-8.
BYTE_ORDER_MARK = "\ufeff"

Cells = list[Any]
# The rows of a booking and its event.
RowsOf = Callable[[Json, Json], Iterator[Cells]]
# Of an event that its database has lost.
NO_EVENT: Json = {"name": None, "starts_at": None, "ticket_types": ()}


def safe(cell: Any) -> Any:
    """The cell as a spreadsheet shows it: a text that it would run has an apostrophe before it."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip(" ").startswith(FORMULA) else cell


def lines(rows: Iterator[Cells]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([safe(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


class Events:
    """The events of a table's bookings, each read once."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._known: dict[str, Json] = {}

    async def read(self, bookings: list[Json]) -> dict[str, Json]:
        """By id: these bookings' events. Raises the errors of `call`."""
        for id in {booking["event_id"] for booking in bookings} - self._known.keys():
            try:
                event: Json = await call(self._request, GetEvent(event_id=id, operator=True), id)
            except EventNotFound:
                event = NO_EVENT
            types = {each["id"]: each["name"] for each in event["ticket_types"]}
            self._known[id] = {"name": event["name"], "starts_at": event["starts_at"], "types": types}
        return self._known


# --- the tables -------------------------------------------------------------------------------------------

BOOKING = ("reference", "booking_id", "event_id", "event", "starts_at", "status")
BOOKINGS = (
    *BOOKING, "reason", "seats", "amount", "discount", "code", "currency", "payment", "method", "note",
    "amount_captured", "amount_refunded", "name", "email", "locale", "phone", "owner", "created_at", "updated_at",
)  # fmt: skip
SEATS = (
    *BOOKING,
    "ticket_type_id",
    "ticket_type",
    "seats",
    "unit_amount",
    "unit_discount",
    "currency",
    "name",
    "email",
)
MONEY = (
    *BOOKING, "kind", "amount", "currency", "money", "method", "note", "intent_id", "refund_id",
    "stripe_refund_id", "by", "at",
)  # fmt: skip


def _common(booking: Json, event: Json) -> Cells:
    of_event = (booking["event_id"], event["name"], event["starts_at"])
    return [booking["reference"], booking["id"], *of_event, booking["status"]]


def of_booking(booking: Json, event: Json) -> Iterator[Cells]:
    payment, customer = booking["payment"], booking.get("customer") or {}
    yield [
        *_common(booking, event),
        booking["reason"],
        sum(item["quantity"] for item in booking["items"]),
        *(booking.get(name) for name in ("amount", "discount", "code", "currency")),
        *(payment[name] for name in ("status", "method", "note", "amount_captured", "amount_refunded")),
        *(customer.get(name) for name in ("name", "email", "locale", "phone")),
        *(booking[name] for name in ("owner", "created_at", "updated_at")),
    ]


def of_seats(booking: Json, event: Json) -> Iterator[Cells]:
    """A row for each ticket type of the booking."""
    customer = booking.get("customer") or {}
    for item in booking["items"]:
        id = item["ticket_type_id"]
        discount = item.get("unit_discount", 0)  # none from a booking actor of the release before
        price = (item["quantity"], item["unit_amount"], discount, booking["currency"])
        whom = (customer.get("name"), customer.get("email"))
        yield [*_common(booking, event), id, event["types"].get(id), *price, *whom]


def of_money(booking: Json, event: Json) -> Iterator[Cells]:
    """A row for what came in, and one for each refund, which is below zero."""
    payment, common = booking["payment"], _common(booking, event)
    by = payment["method"] or "stripe", payment["note"], payment["intent_id"]
    if captured := payment["amount_captured"]:
        yield [*common, "charge", captured, booking["currency"], "succeeded", *by, None, None, None, None]
    for refund in payment["refunds"] or ():
        made = (refund["id"], refund["stripe_refund_id"], refund["by"], refund["created_at"])
        yield [*common, "refund", -refund["amount"], booking["currency"], refund["status"], *by, *made]


# --- what is sent -----------------------------------------------------------------------------------------


async def export_bookings(request: web.Request) -> web.StreamResponse:
    return await _sent(request, "bookings", BOOKINGS, of_booking)


async def export_seats(request: web.Request) -> web.StreamResponse:
    return await _sent(request, "seats", SEATS, of_seats)


async def export_money(request: web.Request) -> web.StreamResponse:
    return await _sent(request, "money", MONEY, of_money)


async def _sent(request: web.Request, name: str, header: tuple[str, ...], rows_of: RowsOf) -> web.StreamResponse:
    """An error before the first page is an answer. After it the connection ends without the last chunk, by which
    the client knows that the table is not complete."""
    wanted = query(request, ExportQuery)
    async with request.app[EXPORT_SLOTS]:
        pages = _pages(request, wanted)
        first = await anext(pages)
        response = web.StreamResponse(
            headers={"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "no-store"}
        )
        response.content_type, response.charset = "text/csv", "utf-8"
        await response.prepare(request)
        await response.write(BYTE_ORDER_MARK.encode() + lines(iter([list(header)])))
        try:
            await response.write(_table(*first, rows_of))
            async for page in pages:
                await response.write(_table(*page, rows_of))
        except HoldfastError as error:
            log.warning("export not finished", table=name, code=error.code)
            if request.transport is not None:
                request.transport.abort()
            return response
        await response.write_eof()
    return response


def _table(bookings: list[Json], events: dict[str, Json], rows_of: RowsOf) -> bytes:
    return lines(row for booking in bookings for row in rows_of(booking, events[booking["event_id"]]))


async def _pages(request: web.Request, wanted: ExportQuery) -> AsyncIterator[tuple[list[Json], dict[str, Json]]]:
    """Bookings with their events, newest first; at least one page. One that is made meanwhile is not among them,
    and one that changes meanwhile is there once, as it was when it was read."""
    events, before = Events(request), None
    while True:
        message = ListBookings(owner=None, operator=True, limit=PAGE, before=before, **wanted.model_dump())
        answer = await call(request, message, "bookings")
        bookings = [completed(booking) for booking in answer["items"]]
        yield bookings, await events.read(bookings)
        if (before := answer["next"]) is None:
            return
