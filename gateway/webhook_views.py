"""The views of outgoing webhooks: their endpoints, and what these were or are to be sent."""

from __future__ import annotations

from aiohttp import hdrs, web

from common.contracts.messages import (
    CreateWebhookEndpoint,
    DeleteWebhookEndpoint,
    GetWebhookDelivery,
    GetWebhookEndpoint,
    ListWebhookDeliveries,
    ListWebhookEndpoints,
    RepeatWebhookDeliveries,
    RepeatWebhookDelivery,
    RotateWebhookSecret,
    UpdateWebhookEndpoint,
    WebhookEndpointFields,
)
from common.contracts.resources import entity_tag
from common.runtime.web import json_response, read_body
from gateway.bookings import Json
from gateway.requests import WebhookDeliveriesQuery, if_match, path_id, query, read
from gateway.schemas import NewRepetition, NewWebhookEndpoint, NewWebhookSecret, WebhookEndpointPatch
from gateway.views import keyed_id, operator_request, page
from gateway.waiters import call


async def list_webhook_endpoints(request: web.Request) -> web.Response:
    return page(await call(request, ListWebhookEndpoints(), "webhooks"))


async def get_webhook_endpoint(request: web.Request) -> web.Response:
    id = path_id(request)
    return _endpoint(await call(request, GetWebhookEndpoint(endpoint_id=id), id))


async def create_webhook_endpoint(request: web.Request) -> web.Response:
    body = await read(request, NewWebhookEndpoint)
    by = operator_request(request, content=await read_body(request))
    id, fields = keyed_id(by, "webhook endpoint"), WebhookEndpointFields(**body.model_dump())
    answer = await call(request, CreateWebhookEndpoint(endpoint_id=id, endpoint=fields, request=by), id)
    return _endpoint(answer, 201, Location=f"/admin/webhook-endpoints/{answer['id']}")


async def update_webhook_endpoint(request: web.Request) -> web.Response:
    id = path_id(request)
    body = await read(request, WebhookEndpointPatch)
    message = UpdateWebhookEndpoint(
        endpoint_id=id,
        changes=WebhookEndpointFields(**body.model_dump(exclude_unset=True)),
        request=operator_request(request, id, await read_body(request)),
        if_match=if_match(request),
    )
    return _endpoint(await call(request, message, id))


async def delete_webhook_endpoint(request: web.Request) -> web.Response:
    id = path_id(request)
    by = operator_request(request, id)
    message = DeleteWebhookEndpoint(endpoint_id=id, request=by, if_match=if_match(request))
    return json_response(await call(request, message, id))


async def rotate_webhook_secret(request: web.Request) -> web.Response:
    id = path_id(request)
    body = await read(request, NewWebhookSecret, empty=b"{}")
    message = RotateWebhookSecret(
        endpoint_id=id,
        overlap_seconds=body.overlap_seconds,
        request=operator_request(request, id, await read_body(request) or b"{}"),
        if_match=if_match(request),
    )
    return _endpoint(await call(request, message, id))


async def list_webhook_deliveries(request: web.Request) -> web.Response:
    id, wanted = path_id(request), query(request, WebhookDeliveriesQuery)
    message = ListWebhookDeliveries(endpoint_id=id, status=wanted.status, before=wanted.cursor, limit=wanted.limit)
    return page(await call(request, message, id))


async def repeat_webhook_deliveries(request: web.Request) -> web.Response:
    id = path_id(request)
    body = await read(request, NewRepetition)
    by = operator_request(request, id, await read_body(request))
    message = RepeatWebhookDeliveries(endpoint_id=id, since=body.since, request=by)
    return json_response(await call(request, message, id), status=202)


async def get_webhook_delivery(request: web.Request) -> web.Response:
    id = path_id(request)
    return json_response(await call(request, GetWebhookDelivery(delivery_id=id), id))


async def repeat_webhook_delivery(request: web.Request) -> web.Response:
    id = path_id(request)
    message = RepeatWebhookDelivery(delivery_id=id, request=operator_request(request, id))
    return json_response(await call(request, message, id), status=202)


def _endpoint(answer: Json, status: int = 200, **headers: str) -> web.Response:
    headers[hdrs.ETAG] = entity_tag(answer["version"])
    return json_response(answer, status=status, headers=headers)
