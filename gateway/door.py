"""The door: 200 lets somebody in, and every other answer does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from common.contracts.errors import (
    CheckInUndone,
    HoldfastError,
    TicketCancelled,
    TicketInvalid,
    TicketOfAnotherEvent,
    TicketUsed,
)
from common.contracts.ids import uuid7
from common.contracts.messages import CheckInEntry, CheckInTickets, GetDoor, UndoCheckIn
from common.contracts.statuses import CheckInOutcome
from common.runtime.web import json_response
from gateway.auth import IDENTITY
from gateway.bookings import Json
from gateway.requests import DoorQuery, encode_cursor, path_id, query, read
from gateway.schemas import NewCheckIn, NewCheckIns, UndoneCheckIn
from gateway.waiters import call

REFUSALS: Mapping[str, type[HoldfastError]] = {
    CheckInOutcome.USED: TicketUsed,
    CheckInOutcome.CANCELLED: TicketCancelled,
    CheckInOutcome.OTHER_EVENT: TicketOfAnotherEvent,
    CheckInOutcome.UNDONE: CheckInUndone,
}


async def check_in_ticket(request: web.Request) -> web.Response:
    body = await read(request, NewCheckIn)
    entry = CheckInEntry(id=body.id or uuid7(), **body.model_dump(exclude={"id", "event_id"}))
    message = CheckInTickets(by=request[IDENTITY].subject, event_id=body.event_id, entries=(entry,))
    (result,) = (await call(request, message, entry.id))["items"]
    if result["outcome"] != CheckInOutcome.OK:
        raise _refusal(result)
    return json_response(result["check_in"])


def _refusal(result: Json) -> HoldfastError:
    members: dict[str, Any] = {} if result["ticket_id"] is None else {"ticket_id": result["ticket_id"]}
    kind = REFUSALS.get(result["outcome"], TicketInvalid)
    if (met := result["check_in"]) is not None:
        members["check_in_id"] = met["id"]
        if kind is TicketUsed:
            members |= {"used_at": met["at"], "gate": met["gate"], "device": met["device"]}
    return kind(**members)


async def check_in_tickets(request: web.Request) -> web.Response:
    body = await read(request, NewCheckIns)
    entries = tuple(CheckInEntry(**each.model_dump()) for each in body.items)
    message = CheckInTickets(by=request[IDENTITY].subject, event_id=body.event_id, entries=entries)
    return json_response(await call(request, message, entries[0].id))


async def undo_check_in(request: web.Request) -> web.Response:
    body = await read(request, UndoneCheckIn)
    message = UndoCheckIn(by=request[IDENTITY].subject, check_in_id=body.check_in_id)
    return json_response(await call(request, message, body.check_in_id))


async def get_door(request: web.Request) -> web.Response:
    event_id, wanted = path_id(request), query(request, DoorQuery)
    door = await call(request, GetDoor(event_id=event_id, since=wanted.since, limit=wanted.limit), event_id)
    return json_response({**door, "mark": encode_cursor(door["mark"])})
