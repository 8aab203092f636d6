"""What booking receives about outgoing webhooks."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import AwareDatetime, Field

from common.contracts.messages.base import BOOKING_QUERIES, Message
from common.contracts.messages.booking import OperatorCommand
from common.contracts.resources import Resource
from common.contracts.webhooks import DeliveryStatus

# --- booking.commands -------------------------------------------------------------------------------------


class WebhookEndpointFields(Resource):
    """What operators set of an endpoint. `types` None: all."""

    url: str | None = None
    description: str | None = None
    types: tuple[str, ...] | None = None
    enabled: bool = True


class CreateWebhookEndpoint(OperatorCommand, type="webhook_endpoint.create"):
    """The reply has the secret, which the booking actor makes."""

    endpoint_id: UUID
    endpoint: WebhookEndpointFields


class UpdateWebhookEndpoint(OperatorCommand, type="webhook_endpoint.update"):
    """Only the fields that were sent (`model_fields_set`) change."""

    endpoint_id: UUID
    changes: WebhookEndpointFields


class DeleteWebhookEndpoint(OperatorCommand, type="webhook_endpoint.delete"):
    """Nothing is sent to it any more; its deliveries are deleted with it, some at a time."""

    endpoint_id: UUID


class RotateWebhookSecret(OperatorCommand, type="webhook_endpoint.rotate_secret"):
    """Make another secret. Those before are used beside it for `overlap_seconds` more."""

    endpoint_id: UUID
    overlap_seconds: int = Field(ge=0)


class RepeatWebhookDelivery(OperatorCommand, type="webhook_delivery.repeat"):
    """Send a delivery again, whatever has become of it."""

    delivery_id: UUID


class RepeatWebhookDeliveries(OperatorCommand, type="webhook_endpoint.repeat_deliveries"):
    """Send all deliveries to this endpoint again that have failed and were made since then."""

    endpoint_id: UUID
    since: AwareDatetime


# --- booking.queries --------------------------------------------------------------------------------------


class ListWebhookEndpoints(Message, type="webhook_endpoint.list", stream=BOOKING_QUERIES):
    """All of them, oldest first."""


class GetWebhookEndpoint(Message, type="webhook_endpoint.get", stream=BOOKING_QUERIES):
    endpoint_id: UUID


class ListWebhookDeliveries(Message, type="webhook_delivery.list", stream=BOOKING_QUERIES):
    """Those to one endpoint, newest first. `before` is the last one of the page before."""

    endpoint_id: UUID
    status: DeliveryStatus | None = None
    before: tuple[datetime, UUID] | None = None
    limit: int = Field(ge=1, le=200)


class GetWebhookDelivery(Message, type="webhook_delivery.get", stream=BOOKING_QUERIES):
    delivery_id: UUID
