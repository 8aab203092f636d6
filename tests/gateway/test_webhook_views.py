"""Endpoints of webhooks and deliveries over REST: what the gateway asks the booking actor, and who may."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from common.contracts.messages import (
    CreateWebhookEndpoint,
    DeleteWebhookEndpoint,
    GetWebhookDelivery,
    GetWebhookEndpoint,
    ListWebhookDeliveries,
    ListWebhookEndpoints,
    Message,
    RepeatWebhookDeliveries,
    RepeatWebhookDelivery,
    RotateWebhookSecret,
    UpdateWebhookEndpoint,
)
from common.contracts.scopes import Scope
from gateway.examples import WEBHOOK_DELIVERY, WEBHOOK_ENDPOINT
from tests.gateway.stage import Client, ScriptedBooking, bearer

ID = UUID(str(WEBHOOK_ENDPOINT["id"]))
OPERATOR = bearer("root", operator=True)
PATH, ONE = "/admin/webhook-endpoints", f"/admin/webhook-endpoints/{ID}"
DELIVERY = f"/admin/webhook-deliveries/{WEBHOOK_DELIVERY['id']}"
URL = WEBHOOK_ENDPOINT["url"]
PAGE: dict[str, Any] = {"items": [], "next": None}


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "answer", "status"),
    [
        ("GET", PATH, None, ListWebhookEndpoints, PAGE, 200),
        ("POST", PATH, {"url": URL}, CreateWebhookEndpoint, WEBHOOK_ENDPOINT, 201),
        ("GET", ONE, None, GetWebhookEndpoint, WEBHOOK_ENDPOINT, 200),
        ("PATCH", ONE, {"enabled": False}, UpdateWebhookEndpoint, WEBHOOK_ENDPOINT, 200),
        ("DELETE", ONE, None, DeleteWebhookEndpoint, WEBHOOK_ENDPOINT, 200),
        ("POST", f"{ONE}/secrets", None, RotateWebhookSecret, WEBHOOK_ENDPOINT, 200),
        ("GET", f"{ONE}/deliveries?status=failed", None, ListWebhookDeliveries, PAGE, 200),
        ("POST", f"{ONE}/repeat", {"since": "2030-01-01T00:00:00Z"}, RepeatWebhookDeliveries, {}, 202),
        ("GET", DELIVERY, None, GetWebhookDelivery, WEBHOOK_DELIVERY, 200),
        ("POST", f"{DELIVERY}/repeat", None, RepeatWebhookDelivery, WEBHOOK_DELIVERY, 202),
    ],
)
async def test_each_request_is_one_message_and_needs_the_scope_of_administrators(
    gateway: Client,
    actor: ScriptedBooking,
    method: str,
    path: str,
    body: Any,
    kind: type[Message],
    answer: Any,
    status: int,
) -> None:
    actor.on(kind, answer)
    sent: dict[str, Any] = {} if body is None else {"json": body}
    for scope in (Scope.READ, Scope.BOX_OFFICE, Scope.FINANCE):
        response = await gateway.request(method, path, headers=bearer(scope=scope), **sent)
        assert (response.status, (await response.json())["code"]) == (403, "forbidden")
    assert actor.messages(kind) == []
    response = await gateway.request(method, path, headers=OPERATOR, **sent)
    assert response.status == status
    assert len(actor.messages(kind)) == 1


async def test_the_same_key_is_the_same_endpoint_and_only_what_was_sent_changes(
    gateway: Client, actor: ScriptedBooking
) -> None:
    actor.on(CreateWebhookEndpoint, WEBHOOK_ENDPOINT)
    actor.on(UpdateWebhookEndpoint, WEBHOOK_ENDPOINT)
    body = {"url": URL, "types": ["booking.failed", "event.changed", "booking.failed"]}
    for _ in range(2):
        response = await gateway.post(PATH, json=body, headers=OPERATOR | {"Idempotency-Key": "k"})
    assert response.headers["Location"] == ONE
    assert response.headers["ETag"] == '"1"'
    first, second = actor.messages(CreateWebhookEndpoint)
    assert first.endpoint_id == second.endpoint_id
    assert first.endpoint.types == ("booking.failed", "event.changed")
    await gateway.patch(ONE, json={"types": None}, headers=OPERATOR | {"If-Match": '"1"'})
    (message,) = actor.messages(UpdateWebhookEndpoint)
    assert (message.changes.model_fields_set, message.if_match) == ({"types"}, (1,))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "ftp://example.com/"},
        {"url": "https://"},
        {"url": "https:///hooks"},
        {"url": "/hooks"},
        {"url": "https://user:secret@example.com/"},
        {"url": "https://example.com/#x"},
        {"url": "https://example.com/a b"},
        {"url": "https://example.com/\r\nX: y"},
        {"url": "https://exa\u0000mple.com/"},
        {"url": "https://example.com:99999/"},
        {"url": f"https://example.com/{'x' * 2000}"},
        {"url": URL, "types": []},
        {"url": URL, "types": ["booking.created"]},
        {"url": URL, "enabled": None},
        {"url": URL, "secret": "whsec_mine"},
    ],
)
async def test_a_wrong_endpoint_is_refused_before_the_booking_actor_hears_of_it(
    gateway: Client, actor: ScriptedBooking, body: dict[str, Any]
) -> None:
    response = await gateway.post(PATH, json=body, headers=OPERATOR)
    assert (response.status, (await response.json())["code"]) == (422, "invalid_request")
    assert actor.messages(CreateWebhookEndpoint) == []
