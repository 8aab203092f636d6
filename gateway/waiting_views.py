"""The views of waiting lists."""

from __future__ import annotations

from aiohttp import hdrs, web

from common.contracts.ids import waiting_entry_id
from common.contracts.messages import GetWaitingEntry, JoinWaitingList, LeaveWaitingList, ListWaitingEntries
from common.runtime.web import json_response
from gateway.addresses import ADDRESS_HASHES, NETWORK
from gateway.auth import IDENTITY
from gateway.limiter import LIMITER
from gateway.requests import HistoryQuery, path_id, query, read, required_key
from gateway.schemas import NewWaitingEntry
from gateway.views import page
from gateway.waiters import call


async def join_waiting_list(request: web.Request) -> web.Response:
    """An entry takes no seats, but a client that asks for many in vain is stopped as with bookings."""
    identity, key = request[IDENTITY], required_key(request)
    body = await read(request, NewWaitingEntry)
    id = waiting_entry_id(identity.subject, key)
    message = JoinWaitingList(
        entry_id=id,
        owner=identity.subject,
        event_id=body.event_id,
        ticket_type_id=body.ticket_type_id,
        quantity=body.quantity,
        customer=None if body.customer is None else body.customer.value,
        address=request.app[ADDRESS_HASHES].hashed(request[NETWORK]) if identity.guest else None,
    )
    async with request.app[LIMITER].new_booking(identity, request[NETWORK]):
        answer = await call(request, message, id)
    return json_response(answer, status=201, headers={hdrs.LOCATION: f"/waiting-list/{id}"})


async def list_waiting_entries(request: web.Request) -> web.Response:
    return await _list(request, ListWaitingEntries(owner=request[IDENTITY].subject, limit=1))


async def list_waiting_list(request: web.Request) -> web.Response:
    return await _list(request, ListWaitingEntries(event_id=path_id(request), limit=1))


async def _list(request: web.Request, asked: ListWaitingEntries) -> web.Response:
    wanted = query(request, HistoryQuery)
    behind = None if wanted.cursor is None else wanted.cursor[0]
    message = asked.model_copy(update={"behind": behind, "limit": wanted.limit})
    return page(await call(request, message, asked.event_id or "waiting list"))


async def get_waiting_entry(request: web.Request) -> web.Response:
    id = path_id(request)
    return json_response(await call(request, GetWaitingEntry(entry_id=id, owner=request[IDENTITY].owner), id))


async def leave_waiting_list(request: web.Request) -> web.Response:
    id, identity = path_id(request), request[IDENTITY]
    answer = await call(request, LeaveWaitingList(entry_id=id, owner=identity.subject), id)
    request.app[LIMITER].wasted_booking(identity, request[NETWORK])
    return json_response(answer)
