"""Sends what is due to the endpoints of outgoing webhooks, and writes what became of it.

Any number may run at once: each claims deliveries that no other has locked, for as long as a request may take. A
process that ends meanwhile leaves them to the others, who send them again with the same `webhook-id`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as CounterMetric

from booking.booking_rows import BookingRows
from booking.content_rows import ContentRows
from booking.event_rows import EventRows
from booking.presenters import for_operators, operators_event, shown, webhook_body
from booking.webhook_rows import Claimed, Finished, WebhookRows
from booking.webhooks import Attempt, Outcome, SenderTerms, after, signed
from common.contracts import resources
from common.contracts.webhooks import DeliveryStatus, DisabledReason
from common.postgres.database import Database
from common.runtime.health import Gate
from common.runtime.outages import Outage
from common.runtime.reconciler import Reconciler
from common.runtime.supervisor import cancel
from common.runtime.telemetry import LATENCY_S

# Beyond its time limit a request may take this long to be written down, before another process may claim it.
CLAIM_MARGIN = timedelta(seconds=30)
# Seconds between passes while requests end: what ends meanwhile is written by one statement.
BUSY_SECONDS = 0.02
# How often each process deletes what is no longer needed, and how many rows at once.
FORGET_AGAIN = timedelta(hours=1)
FORGET_MAX = 1000
# No statement takes this long: after it nobody adds a delivery to a deleted endpoint.
DELETED_FOR = timedelta(minutes=10)

# Sends a body with headers to a URL.
Post = Callable[[str, bytes, dict[str, str]], Awaitable[Attempt]]

log = structlog.get_logger()


class WebhookMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = CounterMetric(
            "holdfast_webhook_attempts",
            "Webhooks sent, by what became of it (delivered, refused, unreachable, timeout, forbidden, missing)",
            ("outcome",),
            registry=registry,
        )
        self.seconds = Histogram(
            "holdfast_webhook_seconds", "Time until a receiver has answered", buckets=LATENCY_S, registry=registry
        )
        self.late = Gauge(
            "holdfast_webhook_late_seconds", "Since when the oldest delivery is due", registry=registry
        )
        self.endpoints = Gauge(
            "holdfast_webhook_endpoints",
            "Endpoints, by what they are (enabled, or disabled: by_operator, gone, failing)",
            ("state",),
            registry=registry,
        )


class WebhookSender(Reconciler):
    def __init__(
        self,
        database: Database,
        post: Post,
        clock: Callable[[], datetime],
        metrics: WebhookMetrics,
        terms: SenderTerms,
    ) -> None:
        super().__init__(clock)
        self._database = database
        self._post = post
        self._metrics = metrics
        self._terms = terms
        # Requests under way, and what has become of others and is not written yet.
        self._sends: dict[asyncio.Task[Finished], UUID] = {}
        self._finished: list[Finished] = []
        self._forget_at: datetime | None = None

    async def next_due(self) -> datetime | None:
        async with self._database.connection() as connection:
            return await WebhookRows(connection).next_due(self._busy(), self._terms.concurrency)

    async def retry_due(self, now: datetime) -> None:
        until = now + self._terms.timeout + CLAIM_MARGIN
        async with self._database.statement() as connection:
            claimed = await WebhookRows(connection).claim(self._busy(), self._terms.concurrency, now, until)
            found = await _resources(connection, claimed)
        for each in claimed:
            task = asyncio.create_task(self._send(each, found.get(each.resource_id)), name=f"webhook {each.id}")
            self._sends[task] = each.endpoint_id

    async def run_once(self) -> float:
        await self._write()
        await self._forget()
        pause = await super().run_once()
        if not self._sends:
            return pause
        await asyncio.wait(self._sends, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        return BUSY_SECONDS

    async def run(self, gate: Gate) -> None:
        """Run until `stop`, and then until what is under way has ended."""
        try:
            await super().run(gate)
            if self._sends:
                await asyncio.wait(self._sends)
            with suppress(Outage):  # then others send it again
                await self._write()
        finally:
            for task in self._sends:
                await cancel(task)
            self._sends.clear()

    async def sample(self) -> None:
        """Set the gauges. During an outage they stay as they are."""
        with suppress(Outage):
            load = await self._load()
            late = timedelta() if load.oldest_due is None else self._clock() - load.oldest_due
            self._metrics.late.set(max(0.0, late.total_seconds()))
            for state in ("enabled", *DisabledReason):
                self._metrics.endpoints.labels(state).set(load.endpoints.get(state, 0))

    async def problem(self) -> str | None:
        """What an operator has to act on; None when nothing is."""
        failing = (await self._load()).endpoints.get(DisabledReason.FAILING, 0)
        return f"{failing} webhook endpoint(s) were disabled because they failed for days" if failing else None

    async def _load(self) -> Any:
        async with self._database.connection() as connection:
            return await WebhookRows(connection).load()

    def _busy(self) -> Mapping[UUID, int]:
        return Counter(self._sends.values())

    async def _send(
        self, claimed: Claimed, resource: resources.Booking | resources.OperatorsEvent | None
    ) -> Finished:
        began, now = time.monotonic(), self._clock()
        if resource is None:
            attempt = Attempt(Outcome.MISSING, error="it does not exist any more")
        else:
            body = webhook_body(claimed.type, claimed.happened_at, claimed.version, resource)
            headers = signed(claimed.message_id, body, claimed.secrets, now)
            attempt = await self._post(claimed.url, body, headers)
            self._metrics.seconds.observe(time.monotonic() - began)
        self._metrics.attempts.labels(attempt.outcome).inc()
        then = after(
            attempt,
            claimed.attempts,
            claimed.give_up_at,
            claimed.failing_since,
            self._clock(),
            self._terms.retried_for,
            random.random(),
        )
        log.info(
            "webhook sent",
            id=str(claimed.id),
            endpoint=str(claimed.endpoint_id),
            type=claimed.type,
            subject=str(claimed.resource_id),
            attempt=claimed.attempts,
            outcome=attempt.outcome.value,
            status=attempt.response_status,
            ms=round((time.monotonic() - began) * 1000, 1),
        )
        return Finished(
            claimed.id,
            claimed.attempts,
            then.status,
            then.due_at,
            None if attempt.outcome is Outcome.MISSING else then.status is DeliveryStatus.DELIVERED,
            then.disabled,
            attempt.response_status,
            attempt.response,
            attempt.error,
        )

    async def _write(self) -> None:
        """Write what has become of the requests that have ended. Raises what a request has raised, which only a
        mistake of ours can be."""
        for task in [each for each in self._sends if each.done()]:
            del self._sends[task]
            self._finished.append(task.result())
        if not self._finished:
            return
        async with self._database.statement() as connection:
            disabled = await WebhookRows(connection).finish(
                self._finished, self._clock(), mail=self._terms.mails_operators
            )
        self._finished.clear()
        for id, reason in disabled:
            log.error("webhook endpoint disabled", endpoint=str(id), reason=reason)

    async def _forget(self) -> None:
        now = self._clock()
        if self._forget_at is None or now >= self._forget_at:
            async with self._database.statement() as connection:
                count = await WebhookRows(connection).forget(now - self._terms.kept, now - DELETED_FOR, FORGET_MAX)
            self._forget_at = now if count == FORGET_MAX else now + FORGET_AGAIN


async def _resources(
    connection: asyncpg.Connection, claimed: Iterable[Claimed]
) -> dict[UUID, resources.Booking | resources.OperatorsEvent]:
    """The bookings and events that these are about, as operators see them now."""
    ids: dict[bool, set[UUID]] = {True: set(), False: set()}
    for each in claimed:
        ids[each.type.startswith("event.")].add(each.resource_id)
    found: dict[UUID, resources.Booking | resources.OperatorsEvent] = {}
    if ids[False]:
        bookings = await BookingRows(connection).load(list(ids[False]))
        found |= {id: for_operators(shown(each), each) for id, each in bookings.items()}
    if ids[True]:
        events = await EventRows(connection).find(ids[True])
        contents = await ContentRows(connection).find(events.values())
        found |= {id: operators_event(each, content=contents[id]) for id, each in events.items()}
    return found
