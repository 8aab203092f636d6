"""The gateway's REST views: each makes at most one call to the booking actor, and a response from its reply."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID, uuid5

import orjson
from aiohttp import hdrs, web

from common.contracts.errors import NotFound
from common.contracts.ids import uuid7
from common.contracts.messages import (
    CancelBooking,
    CancelEvent,
    CreateEvent,
    EraseCustomers,
    EventChanges,
    GetBooking,
    GetEvent,
    GetEventHistory,
    GetHistory,
    ListBookings,
    ListEvents,
    ListMails,
    ListRevocations,
    NewTicketType,
    OperatorRequest,
    OwnersCommand,
    RefundBooking,
    RefundTickets,
    ResendMail,
    RetryRefunds,
    RevokeTokens,
    SellSeats,
    SetCustomer,
    TicketTypeChange,
    UpdateEvent,
)
from common.contracts.resources import Revocation, entity_tag
from common.contracts.scopes import Scope
from common.contracts.statuses import CancelReason
from common.contracts.values import BoxOfficeSale
from common.runtime.web import json_response, read_body
from common.wiring import CLOCK
from gateway import descriptions
from gateway.addresses import NETWORK
from gateway.auth import IDENTITY, Identity
from gateway.bookings import BookingView, Json, completed, redacted
from gateway.catalogue_reader import CATALOGUE
from gateway.limiter import LIMITER
from gateway.requests import (
    AdminBookingsQuery,
    AdminEventsQuery,
    BookingsQuery,
    HistoryQuery,
    PageQuery,
    encode_cursor,
    idempotency_key,
    if_match,
    path_id,
    query,
    read,
    required_key,
)
from gateway.revocations import REVOCATIONS
from gateway.schemas import (
    REVOKED_FOR,
    EventPatch,
    NewCustomer,
    NewErasure,
    NewEvent,
    NewMail,
    NewRefund,
    NewRevocation,
    NewSale,
    PreviewedDescription,
)
from gateway.shared import JSON
from gateway.waiters import call

# The namespace of ids made from an operator's Idempotency-Key; if it changed, a repeated request would act again.
KEYED = UUID("0f7e5d3a-6d0e-5b7c-8c3b-2f6a9d1e4b70")


def page(answer: Json) -> web.Response:
    following = answer.get("next")
    return json_response({"items": answer["items"], "next_cursor": following and encode_cursor(following)})


# --- how a repeated request of an operator is recognised --------------------------------------------------


def operator_request(
    request: web.Request, id: UUID | None = None, content: bytes = b"", **others: UUID
) -> OperatorRequest:
    """What identifies `request`, so that the booking actor recognises a repetition. `id` is the path's, as are the
    `others` by their names; `content` is the body: spaces in valid JSON, and the order of its members, do not
    count. Raises InvalidRequest for a wrong key."""
    resource = request.match_info.route.resource
    assert resource is not None
    path = resource.canonical
    for name, value in {"id": id, **others}.items():
        path = path.replace(f"{{{name}}}", str(value))
    same = content
    if request.content_type == JSON and content:
        same = orjson.dumps(orjson.loads(content), option=orjson.OPT_SORT_KEYS)
    return OperatorRequest(
        subject=request[IDENTITY].subject,
        operation=f"{request.method} {path}",
        key=idempotency_key(request),
        content_hash=hashlib.sha256(same).hexdigest(),
    )


def keyed_id(by: OperatorRequest, purpose: str) -> UUID:
    """A new id; with an Idempotency-Key always the same id for this subject, key and `purpose` (the operation). The
    booking actor, which has the row of the key, refuses other content under the same key."""
    return uuid7() if by.key is None else uuid5(KEYED, f"{purpose}\0{by.subject}\0{by.key}")


# --- tokens -----------------------------------------------------------------------------------------------


async def revoke_tokens(request: web.Request) -> web.Response:
    body = await read(request, NewRevocation)
    known_by = {"claim": "sub", "value": body.subject} if body.jti is None else {"claim": "jti", "value": body.jti}
    expires_at = body.expires_at or request.app[CLOCK]() + REVOKED_FOR
    by = operator_request(request, content=await read_body(request))
    answer = await call(request, RevokeTokens(**known_by, expires_at=expires_at, request=by), "tokens")
    # This gateway need not wait for the notification.
    request.app[REVOCATIONS].receive([Revocation.model_validate(answer)])
    return json_response(answer)


async def list_revocations(request: web.Request) -> web.Response:
    wanted = query(request, PageQuery)
    return page(await call(request, ListRevocations(before=wanted.cursor, limit=wanted.limit), "tokens"))


# --- customers --------------------------------------------------------------------------------------------


async def erase_customers(request: web.Request) -> web.Response:
    body = await read(request, NewErasure)
    by = operator_request(request, content=await read_body(request))
    message = EraseCustomers(erasure_id=keyed_id(by, "erasure"), request=by, **body.model_dump())
    return json_response(await call(request, message, "customers"), status=202)


# --- events -----------------------------------------------------------------------------------------------


async def admin_list_events(request: web.Request) -> web.Response:
    wanted = query(request, AdminEventsQuery)
    message = ListEvents(after=wanted.cursor, operator=True, **wanted.model_dump(exclude={"cursor"}))
    return page(await call(request, message, "events"))


async def admin_get_event(request: web.Request) -> web.Response:
    event_id = path_id(request)
    found = await call(request, GetEvent(event_id=event_id, operator=True, details=True), event_id)
    markdown = found.get("description")
    return _event({**found, "description": markdown, "description_html": await descriptions.html(markdown)})


async def get_event_history(request: web.Request) -> web.Response:
    event_id, wanted = path_id(request), query(request, HistoryQuery)
    after = None if wanted.cursor is None else wanted.cursor[0]
    return page(await call(request, GetEventHistory(event_id=event_id, after=after, limit=wanted.limit), event_id))


def changed_event(request: web.Request, answer: Json, status: int = 200, **headers: str) -> web.Response:
    request.app[CATALOGUE].note(answer)
    return _event(answer, status, **headers)


def _event(answer: Json, status: int = 200, **headers: str) -> web.Response:
    """The ETag is that of the event's terms, as the number of free seats changes all the time."""
    version = answer.get("terms_version")
    if version is not None:  # None from a booking actor of the release before
        headers[hdrs.ETAG] = entity_tag(version)
    return json_response(answer, status=status, headers=headers)


async def create_event(request: web.Request) -> web.Response:
    body = await read(request, NewEvent)
    await descriptions.check(body.description)
    by = operator_request(request, content=await read_body(request))
    event_id = keyed_id(by, "event")
    ticket_types = tuple(
        # With a key, made from the event's id, which is the same for a repeated request.
        NewTicketType(id=uuid7() if by.key is None else uuid5(event_id, f"{by.key}\0{number}"), **each.model_dump())
        for number, each in enumerate(body.ticket_types)
    )
    message = CreateEvent(
        event_id=event_id, ticket_types=ticket_types, request=by, **body.model_dump(exclude={"ticket_types"})
    )
    answer = await call(request, message, event_id)
    return changed_event(request, answer, 201, Location=f"/events/{answer['id']}")


async def preview_description(request: web.Request) -> web.Response:
    body = await read(request, PreviewedDescription)
    await descriptions.check(body.description)
    return json_response({"description_html": await descriptions.html(body.description)})


async def update_event(request: web.Request) -> web.Response:
    event_id = path_id(request)
    body = await read(request, EventPatch)
    await descriptions.check(body.description)
    by = operator_request(request, event_id, await read_body(request))
    message = UpdateEvent(
        event_id=event_id,
        changes=EventChanges(**body.model_dump(exclude_unset=True, exclude={"ticket_types"})),
        ticket_types=tuple(
            TicketTypeChange(
                id=ticket_type.id or keyed_id(by, f"ticket type {number} of {event_id}"),
                new="id" not in ticket_type.model_fields_set,
                **ticket_type.model_dump(exclude_unset=True, exclude={"id"}),
            )
            for number, ticket_type in enumerate(body.ticket_types)
        ),
        request=by,
        if_match=if_match(request),
    )
    return changed_event(request, await call(request, message, event_id))


async def cancel_event(request: web.Request) -> web.Response:
    event_id = path_id(request)
    message = CancelEvent(
        event_id=event_id, request=operator_request(request, event_id), if_match=if_match(request)
    )
    return changed_event(request, await call(request, message, event_id), 202)


async def retry_refunds(request: web.Request) -> web.Response:
    event_id = path_id(request)
    by = operator_request(request, event_id)
    retry_id = keyed_id(by, f"refunds retry {event_id}")
    message = RetryRefunds(event_id=event_id, retry_id=retry_id, request=by, if_match=if_match(request))
    return json_response(await call(request, message, event_id), status=202)


# --- bookings ---------------------------------------------------------------------------------------------


async def list_bookings(request: web.Request) -> web.Response:
    wanted, owner = query(request, BookingsQuery), request[IDENTITY].subject
    message = ListBookings(owner=owner, before=wanted.cursor, **wanted.model_dump(exclude={"cursor"}))
    answer = await call(request, message, "bookings")
    return page({**answer, "items": [completed(booking) for booking in answer["items"]]})


async def admin_list_bookings(request: web.Request) -> web.Response:
    wanted = query(request, AdminBookingsQuery)
    message = ListBookings(before=wanted.cursor, operator=True, **wanted.model_dump(exclude={"cursor"}))
    answer = await call(request, message, "bookings")
    return page({**answer, "items": [redacted(booking) for booking in answer["items"]]})


async def get_booking(request: web.Request) -> web.Response:
    id, identity = path_id(request), request[IDENTITY]
    return _booking(identity, await call(request, GetBooking(booking_id=id, owner=identity.owner), id))


async def get_history(request: web.Request) -> web.Response:
    id = path_id(request)
    return page(await call(request, GetHistory(booking_id=id, owner=request[IDENTITY].owner), id))


async def cancel_booking(request: web.Request) -> web.Response:
    any_owner = Scope.BOX_OFFICE in request[IDENTITY].scopes
    reason = CancelReason.BY_OPERATOR if any_owner else CancelReason.BY_CUSTOMER
    answer = await _call_for_owner(request, CancelBooking(reason=reason, **_for_owner(request)))
    request.app[LIMITER].wasted_booking(request[IDENTITY], request[NETWORK])
    return _booking(request[IDENTITY], answer, changed=True)


async def set_customer(request: web.Request) -> web.Response:
    body = await read(request, NewCustomer)
    common = _for_owner(request, await read_body(request))
    answer = await _call_for_owner(request, SetCustomer(customer=body.value, **common))
    return _booking(request[IDENTITY], answer)


def _for_owner(request: web.Request, content: bytes = b"") -> dict[str, Any]:
    """The fields of a command that a booking's owner may give, and the box office for any booking."""
    id, identity = path_id(request), request[IDENTITY]
    by = operator_request(request, id, content)  # also checks a customer's Idempotency-Key, which it does not need
    any_owner = Scope.BOX_OFFICE in identity.scopes
    return {
        "booking_id": id,
        "owner": None if any_owner else identity.subject,
        "request": by if any_owner else None,
        "if_match": if_match(request),
    }


async def _call_for_owner(request: web.Request, message: OwnersCommand) -> Json:
    try:
        answer: Json = await call(request, message, message.booking_id)
    except NotFound:
        identity = request[IDENTITY]
        if identity.operator:  # who may read the booking of another owner is told what changing it needs
            identity.require(Scope.BOX_OFFICE)
        raise
    return answer


async def sell_seats(request: web.Request) -> web.Response:
    required_key(request)
    body = await read(request, NewSale)
    by = operator_request(request, content=await read_body(request))
    booking_id = keyed_id(by, "sale")
    message = SellSeats(
        booking_id=booking_id,
        # No token has this subject: the booking is none of those that the operator has themselves.
        owner=body.owner or f"box-office:{booking_id}",
        event_id=body.event_id,
        items=body.wanted,
        sale=BoxOfficeSale(body.method, body.note),
        expected_amount=body.expected_amount,
        customer=None if body.customer is None else body.customer.value,
        request=by,
    )
    answer = await call(request, message, booking_id)
    headers = {hdrs.ETAG: entity_tag(answer["version"]), hdrs.LOCATION: f"/bookings/{booking_id}"}
    return json_response(redacted(answer), status=201, headers=headers)


async def refund_booking(request: web.Request) -> web.Response:
    id = path_id(request)
    required_key(request)
    body = await read(request, NewRefund, empty=b"{}")
    by = operator_request(request, id, await read_body(request) or b"{}")
    message = RefundBooking(
        booking_id=id,
        refund_id=keyed_id(by, f"refund {id}"),
        amount=body.amount,
        request=by,
        if_match=if_match(request),
    )
    if body.ticket_ids:
        message = RefundTickets(**dict(message), ticket_ids=body.ticket_ids)
    return _booking(request[IDENTITY], await call(request, message, id), changed=True)


async def list_mails(request: web.Request) -> web.Response:
    id = path_id(request)
    return page(await call(request, ListMails(booking_id=id, owner=None), id))


async def resend_mail(request: web.Request) -> web.Response:
    id, body = path_id(request), await read(request, NewMail)
    by = operator_request(request, id, await read_body(request))
    message = ResendMail(booking_id=id, mail_id=keyed_id(by, f"mail {id}"), kind=body.kind, request=by)
    return json_response(await call(request, message, id), status=202)


def _booking(identity: Identity, answer: Json, *, changed: bool = False) -> web.Response:
    """Operators see every booking without its client secret. 202 for a booking that was `changed` and for which
    Stripe has not answered yet."""
    status = 202 if changed and BookingView(answer).awaits_stripe else 200
    shown = redacted(answer) if identity.operator else completed(answer)
    return json_response(shown, status=status, headers={hdrs.ETAG: entity_tag(answer["version"])})
