"""Outgoing webhooks as operators and receivers see them: endpoints, and what is sent to them.

The form is that of Standard Webhooks: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, WithJsonSchema
from typing_extensions import TypeAliasType

from common.contracts.open_enums import open_enum
from common.contracts.resources import Resource
from common.contracts.statuses import AnnouncementKind, ChangeKind

# What a webhook may be about: changes of bookings, and of events.
WEBHOOK_TYPES = (*(kind.value for kind in AnnouncementKind), *(f"event.{kind}" for kind in ChangeKind))

# Characters of an endpoint's URL.
URL_MAX = 2000


class DisabledReason(StrEnum):
    """Why an endpoint gets nothing: an operator wants it so; it has answered 410 Gone; it has failed for days."""

    BY_OPERATOR = "by_operator"
    GONE = "gone"
    FAILING = "failing"


class DeliveryStatus(StrEnum):
    """How a delivery stands: it waits for an attempt; it was answered with 2xx; it is not attempted any more."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


WebhookType = TypeAliasType(
    "WebhookType", Annotated[str, WithJsonSchema(open_enum(WEBHOOK_TYPES, "What a webhook is about."))]
)
WebhookDisabledReason = TypeAliasType(
    "WebhookDisabledReason",
    Annotated[
        str,
        WithJsonSchema(
            open_enum(
                DisabledReason,
                "Why an endpoint gets nothing: an operator wants it so, it has answered 410 Gone, or it has failed "
                "for days.",
            )
        ),
    ],
)


class WebhookSecret(Resource):
    """A secret by which what an endpoint gets is signed; the secret itself is shown once, when it is made."""

    made_at: datetime = Field(description="When it was made")
    ends_at: datetime | None = Field(
        default=None, description="Until when it is used beside newer ones; null: until the next rotation"
    )


class WebhookEndpoint(Resource):
    """A URL to which webhooks are sent."""

    id: UUID = Field(description="Its id")
    url: str = Field(description="Where to")
    description: str | None = Field(default=None, description="What it is for, in the operators' words")
    types: tuple[WebhookType, ...] | None = Field(
        default=None, description="What it gets; null: all, also types that later releases add"
    )
    disabled_reason: WebhookDisabledReason | None = Field(
        default=None, description="Why it gets nothing at present; null: it is enabled"
    )
    disabled_at: datetime | None = Field(default=None, description="Since when it gets nothing")
    failing_since: datetime | None = Field(
        default=None, description="Since when every attempt has failed; null: the last one has not"
    )
    secrets: tuple[WebhookSecret, ...] = Field(description="What is signed with, oldest first: each at once")
    version: int = Field(description="Grows with each change of it: the `ETag`")
    created_at: datetime = Field(description="When it was made: it gets what happens from then on")
    updated_at: datetime = Field(description="When `version` grew last")


class SecretWebhookEndpoint(WebhookEndpoint):
    """A URL to which webhooks are sent, with the secret that has just been made for it."""

    secret: str | None = Field(
        default=None,
        description="What the receiver verifies with: the newest of `secrets`. It is shown this once, and to the "
        "same request with the same Idempotency-Key again while it is in use; null after that",
    )


class WebhookDelivery(Resource):
    """One change that one endpoint is to receive."""

    id: UUID = Field(description="Its id")
    endpoint_id: UUID = Field(description="Where to")
    message_id: UUID = Field(description="The `webhook-id`: the same in each attempt and at each endpoint")
    type: WebhookType
    resource_id: UUID = Field(description="The booking or event that has changed")
    version: int = Field(description="Its version since: of an event `terms_version`")
    happened_at: datetime = Field(description="When it changed")
    made_at: datetime = Field(description="When the delivery was made")
    status: DeliveryStatus
    attempts: int = Field(description="How often it was sent")
    next_attempt_at: datetime | None = Field(
        default=None, description="When it is sent again, at the earliest; null: not any more"
    )
    last_attempt_at: datetime | None = Field(default=None, description="When it was sent last")
    response_status: int | None = Field(
        default=None, description="The HTTP status of the last answer; null: there was none"
    )
    response: str | None = Field(
        default=None, description="The beginning of the last answer's body, where the status was not 2xx"
    )
    error: str | None = Field(default=None, description="Why the last attempt failed; null: it did not")


class Repeated(Resource):
    """Deliveries that are sent again."""

    deliveries: int = Field(description="How many")
    more: bool = Field(description="Whether there are more: then send the request again, with another key")
