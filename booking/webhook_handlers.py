"""What operators do to the endpoints of outgoing webhooks and to the deliveries."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from booking.faults import Fault, refuse
from booking.operator_requests import check_version
from booking.query_handlers import by_time, page_of
from booking.repository import Store, Transaction
from booking.webhook_client import url_problem
from booking.webhook_rows import Endpoint
from booking.webhooks import SECRET_BYTES, SECRETS_MAX, WebhookTerms, in_use, new_secret, rotated
from common.contracts.errors import Conflict, IdempotencyKeyReused, NotFound
from common.contracts.messages import (
    CreateWebhookEndpoint,
    DeleteWebhookEndpoint,
    GetWebhookDelivery,
    GetWebhookEndpoint,
    ListWebhookDeliveries,
    ListWebhookEndpoints,
    OperatorCommand,
    RepeatWebhookDeliveries,
    RepeatWebhookDelivery,
    RotateWebhookSecret,
    UpdateWebhookEndpoint,
)
from common.contracts.resources import Resource
from common.contracts.webhooks import DisabledReason, Repeated, SecretWebhookEndpoint, WebhookDelivery
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, answer_each

# Each has requests of its own under way in each process that sends.
ENDPOINTS_MAX = 20
# Deliveries that one request repeats at most: a statement of milliseconds.
REPEATED_MAX = 10_000


Do = Callable[[Transaction, Any, datetime], Awaitable[Resource]]
Read = Callable[[Transaction, Any], Awaitable[Any]]


class WebhookHandlers:
    """These messages are rare: each has a transaction of its own."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], datetime],
        terms: WebhookTerms,
        draw: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._clock = clock
        self._terms = terms
        # Random bytes for a secret.
        self._draw = draw
        self.commands: Handlers = {
            CreateWebhookEndpoint: partial(self._each, self._create),
            UpdateWebhookEndpoint: partial(self._each, self._update),
            DeleteWebhookEndpoint: partial(self._each, self._delete),
            RotateWebhookSecret: partial(self._each, self._rotate),
            RepeatWebhookDelivery: partial(self._each, self._repeat),
            RepeatWebhookDeliveries: partial(self._each, self._repeat_failed),
        }
        self.queries: Handlers = {
            ListWebhookEndpoints: partial(self._read, self._list),
            GetWebhookEndpoint: partial(self._read, self._get),
            ListWebhookDeliveries: partial(self._read, self._deliveries),
            GetWebhookDelivery: partial(self._read, self._delivery),
        }

    async def _each(self, do: Do, deliveries: Sequence[Delivery]) -> list[Envelope]:
        async def done(delivery: Delivery) -> Any:
            async with self._store.transaction() as rows:
                return await self._once(do, rows, delivery)

        return await answer_each(deliveries, done)

    async def _once(self, do: Do, rows: Transaction, delivery: Delivery) -> Any:
        """A repeated request gets the answer of the first one, with the secret while that is in use: it is in the
        endpoint's row alone. Raises the error that refuses it."""
        await rows.webhooks.lock()
        now = self._clock()
        await rows.requests.open([delivery], now)
        if (answered := rows.requests.answer_to(delivery)) is not None:
            if "secret" not in answered:
                return answered
            endpoint = await rows.webhooks.find(UUID(answered["id"]))
            made_at = datetime.fromisoformat(answered["secrets"][-1]["made_at"])
            known = in_use(endpoint.secrets, now) if endpoint else ()
            return answered | {"secret": next((each.secret for each in known if each.made_at == made_at), None)}
        result = await do(rows, delivery.message, now)
        kept = result.model_copy(update={"secret": None}) if isinstance(result, SecretWebhookEndpoint) else result
        rows.requests.keep(delivery, kept)
        await rows.requests.save()
        return result

    async def _read(self, read: Read, deliveries: Sequence[Delivery]) -> list[Envelope]:
        async with self._store.reading() as rows:
            return await answer_each(deliveries, lambda delivery: read(rows, delivery.message))

    # --- commands

    async def _create(self, rows: Transaction, message: CreateWebhookEndpoint, now: datetime) -> Resource:
        if not self._terms.on:
            raise Conflict("This installation sends no webhooks (WEBHOOKS)")
        if len(await rows.webhooks.endpoints()) >= ENDPOINTS_MAX:
            raise Conflict(f"There are {ENDPOINTS_MAX} endpoints already, which is the most")
        wanted = message.endpoint
        url = self._checked(wanted.url or "")
        secret = new_secret(self._draw(SECRET_BYTES), now)
        endpoint = Endpoint(
            id=message.endpoint_id,
            url=url,
            description=wanted.description,
            types=wanted.types,
            secrets=(secret,),
            disabled_at=None if wanted.enabled else now,
            disabled_reason=None if wanted.enabled else DisabledReason.BY_OPERATOR,
            failing_since=None,
            version=1,
            created_at=now,
            updated_at=now,
        )
        if not await rows.webhooks.add(
            endpoint
        ):  # its request was forgotten: nobody knows whether this is the same
            raise IdempotencyKeyReused
        return _with_secret(endpoint)

    async def _update(self, rows: Transaction, message: UpdateWebhookEndpoint, now: datetime) -> Resource:
        endpoint = await self._find(rows, message.endpoint_id, message)
        changes = message.changes.model_dump(exclude_unset=True)
        enabled = changes.pop("enabled", endpoint.disabled_at is None)
        if "url" in changes:
            self._checked(changes["url"])
        changed = endpoint._replace(**changes)
        if not enabled and endpoint.disabled_at is None:
            changed = changed._replace(disabled_at=now, disabled_reason=DisabledReason.BY_OPERATOR)
        if enabled:
            changed = changed._replace(disabled_at=None, disabled_reason=None)
        if changed == endpoint:
            return endpoint.shown()
        # Another URL, or an operator who has mended it, begins anew.
        changed = _next(changed._replace(failing_since=None), now)
        await rows.webhooks.save(changed)
        if enabled and endpoint.disabled_at is not None:
            await rows.webhooks.resume(endpoint.id, now, now + self._terms.retried_for)
        return changed.shown()

    async def _delete(self, rows: Transaction, message: DeleteWebhookEndpoint, now: datetime) -> Resource:
        endpoint = await self._find(rows, message.endpoint_id, message)
        deleted = _next(endpoint._replace(secrets=(), deleted_at=now), now)
        await rows.webhooks.save(deleted)
        return endpoint.shown()

    async def _rotate(self, rows: Transaction, message: RotateWebhookSecret, now: datetime) -> Resource:
        endpoint = await self._find(rows, message.endpoint_id, message)
        new = new_secret(self._draw(SECRET_BYTES), now)
        known = rotated(endpoint.secrets, new, timedelta(seconds=message.overlap_seconds))
        if len(known) > SECRETS_MAX:
            raise Conflict(f"{SECRETS_MAX} secrets are in use already, which is the most: end them sooner")
        changed = _next(endpoint._replace(secrets=known), now)
        await rows.webhooks.save(changed)
        return _with_secret(changed)

    async def _repeat(self, rows: Transaction, message: RepeatWebhookDelivery, now: datetime) -> Resource:
        delivery = await self._delivery(rows, message)
        await self._enabled(rows, delivery.endpoint_id)
        await rows.webhooks.repeat(delivery.id, now, now + self._terms.retried_for)
        return await self._delivery(rows, message)

    async def _repeat_failed(self, rows: Transaction, message: RepeatWebhookDeliveries, now: datetime) -> Resource:
        await self._enabled(rows, message.endpoint_id)
        until = now + self._terms.retried_for
        count = await rows.webhooks.repeat_failed(message.endpoint_id, message.since, now, until, REPEATED_MAX)
        return Repeated(deliveries=count, more=count == REPEATED_MAX)

    def _checked(self, url: str) -> str:
        """Raises InvalidRequest for a URL to which nothing may be sent."""
        if problem := url_problem(url, self._terms.policy):
            refuse([Fault(("url",), "url_forbidden", problem)])
        return url

    async def _enabled(self, rows: Transaction, id: UUID) -> None:
        """Raises Conflict for an endpoint to which nothing is sent."""
        endpoint = await self._find(rows, id)
        if endpoint.disabled_at is not None:
            raise Conflict("The endpoint is disabled: enable it first")

    async def _find(self, rows: Transaction, id: UUID, command: OperatorCommand | None = None) -> Endpoint:
        """Raises NotFound, and PreconditionFailed where `command` is meant for another version."""
        if (endpoint := await rows.webhooks.find(id)) is None:
            raise NotFound
        if command is not None:
            check_version(command, endpoint.version)
        return endpoint

    # --- queries

    async def _list(self, rows: Transaction, _: ListWebhookEndpoints) -> Any:
        endpoints = await rows.webhooks.endpoints()
        return page_of(endpoints, len(endpoints), Endpoint.shown, lambda _: [])

    async def _get(self, rows: Transaction, message: GetWebhookEndpoint) -> Resource:
        return (await self._find(rows, message.endpoint_id)).shown()

    async def _deliveries(self, rows: Transaction, message: ListWebhookDeliveries) -> Any:
        await self._find(rows, message.endpoint_id)
        found = await rows.webhooks.page(message)
        return page_of(found, message.limit, lambda each: each, by_time("made_at"))

    async def _delivery(
        self, rows: Transaction, message: GetWebhookDelivery | RepeatWebhookDelivery
    ) -> WebhookDelivery:
        """Raises NotFound."""
        if (delivery := await rows.webhooks.delivery(message.delivery_id)) is None:
            raise NotFound
        return delivery


def _next(endpoint: Endpoint, now: datetime) -> Endpoint:
    return endpoint._replace(version=endpoint.version + 1, updated_at=now)


def _with_secret(endpoint: Endpoint) -> SecretWebhookEndpoint:
    return SecretWebhookEndpoint(**dict(endpoint.shown()), secret=endpoint.secrets[-1].secret)
