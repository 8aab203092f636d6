"""Endpoints of webhooks: operators make, change and delete them, and rotate their secrets, which are shown once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from booking.webhook_handlers import ENDPOINTS_MAX
from booking.webhooks import SECRETS_MAX
from common.contracts.ids import uuid7
from common.contracts.messages import (
    CreateWebhookEndpoint,
    DeleteWebhookEndpoint,
    GetWebhookDelivery,
    GetWebhookEndpoint,
    ListWebhookDeliveries,
    ListWebhookEndpoints,
    Message,
    OperatorRequest,
    RepeatWebhookDeliveries,
    RepeatWebhookDelivery,
    RotateWebhookSecret,
    UpdateWebhookEndpoint,
    WebhookEndpointFields,
)
from tests.booking.stage import WEBHOOK_TERMS, Stage

URL = "https://example.com/hooks"
Json = dict[str, Any]


def by(key: str | None, content: str = "") -> OperatorRequest:
    return OperatorRequest(subject="root", operation="any", key=key, content_hash=content)


def creating(url: str = URL, key: str | None = None, **fields: Any) -> CreateWebhookEndpoint:
    wanted = WebhookEndpointFields(url=url, **fields)
    return CreateWebhookEndpoint(endpoint_id=uuid7(), endpoint=wanted, request=by(key))


async def done(stage: Stage, message: Message) -> Json:
    (reply,) = await stage.call(message)
    assert reply.error is None, reply
    return reply.result  # type: ignore[no-any-return]


async def refused(stage: Stage, message: Message) -> str:
    (reply,) = await stage.call(message)
    assert reply.error is not None, reply
    return reply.error


async def changed(stage: Stage, id: str, **changes: Any) -> Json:
    return await done(
        stage,
        UpdateWebhookEndpoint(endpoint_id=UUID(id), changes=WebhookEndpointFields(**changes), request=by(None)),
    )


async def rotated(stage: Stage, id: str, overlap_seconds: int = 60, key: str | None = None) -> Json:
    return await done(
        stage, RotateWebhookSecret(endpoint_id=UUID(id), overlap_seconds=overlap_seconds, request=by(key))
    )


async def listed(stage: Stage) -> list[Json]:
    return (await done(stage, ListWebhookEndpoints()))["items"]  # type: ignore[no-any-return]


async def test_an_endpoint_is_shown_without_its_secret_but_when_it_is_made(stage: Stage) -> None:
    made = await done(stage, creating(description="Accounting", types=("booking.confirmed",)))
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made["url"] == URL
    assert made["types"] == ["booking.confirmed"]
    assert made["disabled_reason"] is None
    assert await done(stage, GetWebhookEndpoint(endpoint_id=UUID(made["id"]))) == made
    assert await listed(stage) == [made]
    other = await done(stage, creating())
    assert other["secret"] != secret
    assert other["types"] is None


async def test_a_repeated_request_has_the_secret_again_while_it_is_in_use_and_nothing_else_keeps_it(
    stage: Stage,
) -> None:
    message = creating(key="k")
    made = await done(stage, message)
    assert await done(stage, message.model_copy(update={"endpoint_id": uuid7()})) == made
    again = await rotated(stage, made["id"], overlap_seconds=0, key="r")
    assert await rotated(stage, made["id"], overlap_seconds=0, key="r") == again
    assert await done(stage, message) == made | {"secret": None}
    kept = "\n".join(row["answer"] for row in await stage.rows("SELECT answer FROM operator_requests"))
    assert made["secret"] not in kept
    assert again["secret"] not in kept
    await done(stage, DeleteWebhookEndpoint(endpoint_id=UUID(made["id"]), request=by("d")))
    assert (await rotated(stage, made["id"], overlap_seconds=0, key="r"))["secret"] is None
    assert await stage.rows("SELECT 1 FROM webhook_endpoints WHERE secrets <> '[]'") == []


async def test_a_key_whose_request_was_forgotten_makes_no_second_endpoint(stage: Stage) -> None:
    message = creating(key="k")
    made = await done(stage, message)
    await stage.rows("DELETE FROM operator_requests")
    assert await refused(stage, message) == "idempotency_key_reused"
    assert [each["id"] for each in await listed(stage)] == [made["id"]]


async def test_secrets_overlap_for_as_long_as_the_operator_wants_and_there_are_not_too_many(stage: Stage) -> None:
    made = await done(stage, creating())
    secrets = {made["secret"]}
    for number in range(2, SECRETS_MAX + 1):
        answer = await rotated(stage, made["id"])
        secrets.add(answer["secret"])
        assert [each["ends_at"] is None for each in answer["secrets"]] == [False] * (number - 1) + [True]
    assert len(secrets) == SECRETS_MAX
    full = RotateWebhookSecret(endpoint_id=UUID(made["id"]), overlap_seconds=60, request=by(None))
    assert await refused(stage, full) == "conflict"
    stage.clock.ahead += timedelta(seconds=61)
    assert len((await rotated(stage, made["id"]))["secrets"]) == 2


async def test_an_endpoint_changes_by_what_is_sent_alone(stage: Stage) -> None:
    made = await done(stage, creating(description="Accounting", types=("booking.confirmed",)))
    id = made["id"]
    assert (await changed(stage, id, url=URL))["version"] == 1  # nothing new
    other = await changed(stage, id, url="https://example.org/x", types=None)
    assert (other["url"], other["types"], other["description"]) == ("https://example.org/x", None, "Accounting")
    assert other["version"] == 2
    off = await changed(stage, id, enabled=False)
    assert off["disabled_reason"] == "by_operator"
    assert (await changed(stage, id, description=None))["disabled_at"] == off["disabled_at"]
    assert (await changed(stage, id, enabled=True))["disabled_reason"] is None
    stale = UpdateWebhookEndpoint(
        endpoint_id=UUID(id), changes=WebhookEndpointFields(enabled=False), request=by(None), if_match=(1,)
    )
    assert await refused(stage, stale) == "precondition_failed"


@pytest.mark.parametrize(
    "url", ["http://example.com/x", "https://127.0.0.1/x", "https://[::ffff:a00:1]/", "https://169.254.169.254/"]
)
async def test_a_url_to_which_nothing_may_be_sent_is_refused_when_it_is_given(stage: Stage, url: str) -> None:
    strict = WEBHOOK_TERMS.policy._replace(http=False, private=False)
    stage.webhook_handlers._terms = WEBHOOK_TERMS._replace(policy=strict)
    assert await refused(stage, creating(url)) == "invalid_request"
    made = await done(stage, creating())
    wanted = WebhookEndpointFields(url=url)
    update = UpdateWebhookEndpoint(endpoint_id=UUID(made["id"]), changes=wanted, request=by(None))
    assert await refused(stage, update) == "invalid_request"
    made.pop("secret")
    assert await listed(stage) == [made]


async def test_where_no_webhooks_are_sent_or_there_are_many_endpoints_none_is_made(stage: Stage) -> None:
    stage.webhook_handlers._terms = WEBHOOK_TERMS._replace(on=False)
    assert await refused(stage, creating()) == "conflict"
    stage.webhook_handlers._terms = WEBHOOK_TERMS
    made = [await done(stage, creating()) for _ in range(ENDPOINTS_MAX)]
    assert await refused(stage, creating()) == "conflict"
    await done(stage, DeleteWebhookEndpoint(endpoint_id=UUID(made[0]["id"]), request=by(None)))
    await done(stage, creating())


async def test_what_does_not_exist_is_not_found(stage: Stage) -> None:
    made = await done(stage, creating())
    deleting = DeleteWebhookEndpoint(endpoint_id=UUID(made["id"]), request=by("d"))
    assert (await done(stage, deleting))["id"] == made["id"]
    assert (await done(stage, deleting))["id"] == made["id"]
    assert await listed(stage) == []
    id, request = UUID(made["id"]), by(None)
    for message in (
        GetWebhookEndpoint(endpoint_id=id),
        ListWebhookDeliveries(endpoint_id=id, limit=5),
        UpdateWebhookEndpoint(endpoint_id=id, changes=WebhookEndpointFields(), request=request),
        RotateWebhookSecret(endpoint_id=id, overlap_seconds=0, request=request),
        RepeatWebhookDeliveries(endpoint_id=id, since=stage.clock(), request=request),
        DeleteWebhookEndpoint(endpoint_id=id, request=request),
        GetWebhookDelivery(delivery_id=uuid4()),
        RepeatWebhookDelivery(delivery_id=uuid4(), request=request),
    ):
        assert await refused(stage, message) == "not_found"
