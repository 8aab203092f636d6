"""The REST of the gateway: each view turns a request into one question at most, and its answer into a response."""

from __future__ import annotations

from typing import Any
from uuid import uuid5

from aiohttp import web

from common.contracts.ids import uuid7
from common.contracts.messages import (
    CancelBooking,
    CancelEvent,
    CreateEvent,
    EventChanges,
    GetBooking,
    GetEvent,
    GetHistory,
    ListBookings,
    ListEvents,
    Message,
    NewTicketType,
    RefundBooking,
    RetryRefunds,
    TicketTypeChange,
    UpdateEvent,
)
from common.contracts.statuses import CancelReason
from common.runtime.web import TRACEPARENT, json_response, read_body
from common.wiring import CLOCK
from gateway.auth import Identity, issue_guest
from gateway.bookings import BookingView, Json, redacted
from gateway.conditions import etag, if_match
from gateway.keys import IDENTITY, REQUESTS, SETTINGS
from gateway.operators import keyed_id, operator_request
from gateway.requests import (
    AdminBookingsQuery,
    BookingsQuery,
    EventsQuery,
    encode_cursor,
    path_id,
    query,
    read,
)
from gateway.schemas import EventPatch, NewEvent, NewRefund


async def ask(request: web.Request, message: Message, subject: object) -> Any:
    """The answer to `message`, as JSON. Raises the error that it is answered with, Timeout or Unavailable."""
    return await request.app[REQUESTS].ask(
        message,
        subject,
        timeout_s=request.app[SETTINGS].answer_seconds,
        traceparent=request[TRACEPARENT],
    )


def page(answer: Json) -> web.Response:
    following = answer.get("next")
    cursor = None if following is None else encode_cursor(following)
    return json_response({"items": answer["items"], "next_cursor": cursor})


async def create_guest(request: web.Request) -> web.Response:
    guest = issue_guest(request.app[SETTINGS], request.app[CLOCK].timestamp())
    return json_response(guest.model_dump(mode="json"), status=201)


# --- events -----------------------------------------------------------------------------------------------


async def list_events(request: web.Request) -> web.Response:
    return await _list_events(request, query(request, EventsQuery), operator=False)


async def get_event(request: web.Request) -> web.Response:
    event_id = path_id(request)
    return _event(await ask(request, GetEvent(event_id=event_id), event_id))


async def admin_list_events(request: web.Request) -> web.Response:
    return await _list_events(request, query(request, EventsQuery), operator=True)


async def _list_events(request: web.Request, wanted: EventsQuery, *, operator: bool) -> web.Response:
    message = ListEvents(after=wanted.cursor, limit=wanted.limit, operator=operator, starts_from=wanted.starts_from)
    return page(await ask(request, message, "events"))


async def admin_get_event(request: web.Request) -> web.Response:
    event_id = path_id(request)
    return _event(await ask(request, GetEvent(event_id=event_id, operator=True), event_id))


def _event(answer: Json, status: int = 200, **headers: str) -> web.Response:
    """The ETag is of the event's terms: how many seats are left moves all the time."""
    return json_response(answer, status=status, headers={**headers, **etag(answer.get("terms_version"))})


async def create_event(request: web.Request) -> web.Response:
    body = await read(request, NewEvent)
    by = operator_request(request, content=await read_body(request))
    event_id = keyed_id(by, "event")
    ticket_types = tuple(
        # Of the event's id, which comes of all that makes it the same request.
        NewTicketType(id=uuid7() if by.key is None else uuid5(event_id, f"{by.key}\0{number}"), **each.model_dump())
        for number, each in enumerate(body.ticket_types)
    )
    message = CreateEvent(
        event_id=event_id, ticket_types=ticket_types, request=by, **body.model_dump(exclude={"ticket_types"})
    )
    answer = await ask(request, message, event_id)
    return _event(answer, 201, Location=f"/events/{answer['id']}")


async def update_event(request: web.Request) -> web.Response:
    event_id = path_id(request)
    body = await read(request, EventPatch)
    by = operator_request(request, event_id, await read_body(request))
    message = UpdateEvent(
        event_id=event_id,
        changes=EventChanges(**body.model_dump(exclude_unset=True, exclude={"ticket_types"})),
        ticket_types=tuple(
            TicketTypeChange(
                id=ticket_type.id or keyed_id(by, f"ticket type {number} of {event_id}"),
                new=ticket_type.id is None,
                **ticket_type.model_dump(exclude_unset=True, exclude={"id"}),
            )
            for number, ticket_type in enumerate(body.ticket_types)
        ),
        request=by,
        if_match=if_match(request),
    )
    return _event(await ask(request, message, event_id))


async def cancel_event(request: web.Request) -> web.Response:
    event_id = path_id(request)
    message = CancelEvent(
        event_id=event_id, request=operator_request(request, event_id), if_match=if_match(request)
    )
    return _event(await ask(request, message, event_id), 202)


async def retry_refunds(request: web.Request) -> web.Response:
    event_id = path_id(request)
    by = operator_request(request, event_id)
    retry_id = keyed_id(by, f"refunds retry {event_id}")
    message = RetryRefunds(event_id=event_id, retry_id=retry_id, request=by, if_match=if_match(request))
    return json_response(await ask(request, message, event_id), status=202)


# --- bookings ---------------------------------------------------------------------------------------------


async def list_bookings(request: web.Request) -> web.Response:
    wanted = query(request, BookingsQuery)
    message = ListBookings(
        owner=request[IDENTITY].subject,
        status=wanted.status,
        event_id=wanted.event_id,
        before=wanted.cursor,
        limit=wanted.limit,
    )
    return page(await ask(request, message, "bookings"))


async def admin_list_bookings(request: web.Request) -> web.Response:
    wanted = query(request, AdminBookingsQuery)
    message = ListBookings(before=wanted.cursor, operator=True, **wanted.model_dump(exclude={"cursor"}))
    answer = await ask(request, message, "bookings")
    return page({**answer, "items": [redacted(booking) for booking in answer["items"]]})


async def get_booking(request: web.Request) -> web.Response:
    id = path_id(request)
    identity = request[IDENTITY]
    return _booking(identity, await ask(request, GetBooking(booking_id=id, owner=identity.owner), id))


async def get_history(request: web.Request) -> web.Response:
    id = path_id(request)
    return page(await ask(request, GetHistory(booking_id=id, owner=request[IDENTITY].owner), id))


async def cancel_booking(request: web.Request) -> web.Response:
    id = path_id(request)
    identity = request[IDENTITY]
    by = operator_request(request, id)  # a customer's key is looked at, too: a cancel is the same one without it
    message = CancelBooking(
        booking_id=id,
        owner=identity.owner,
        reason=CancelReason.BY_OPERATOR if identity.operator else CancelReason.BY_CUSTOMER,
        request=by if identity.operator else None,
        if_match=if_match(request),
    )
    return _changed(identity, await ask(request, message, id))


async def refund_booking(request: web.Request) -> web.Response:
    id = path_id(request)
    body = await read(request, NewRefund, empty=b"{}")
    by = operator_request(request, id, await read_body(request) or b"{}")
    message = RefundBooking(
        booking_id=id,
        refund_id=keyed_id(by, f"refund {id}"),
        amount=body.amount,
        request=by,
        if_match=if_match(request),
    )
    return _changed(request[IDENTITY], await ask(request, message, id))


def _changed(identity: Identity, answer: Json) -> web.Response:
    """200 for a booking that has changed, 202 while Stripe has still to answer."""
    return _booking(identity, answer, 202 if BookingView(answer).moving else 200)


def _booking(identity: Identity, answer: Json, status: int = 200) -> web.Response:
    """Operators see every booking; what it is paid with is its owner's alone."""
    shown = redacted(answer) if identity.operator else answer
    return json_response(shown, status=status, headers=etag(answer["version"]))
