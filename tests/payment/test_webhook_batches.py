"""The process that receives Stripe events applies them in batches; what it cannot apply goes to the mailbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from common.contracts.messages import (
    BOOKING_PAYMENTS,
    PAYMENT_WEBHOOKS,
    PaymentReport,
    PaymentReportApplied,
    StripeEventReceived,
)
from common.messaging.envelope import Envelope
from common.messaging.publisher import Publisher
from common.messaging.redis import connect
from common.runtime.outages import RedisOutage
from payment import webhook_batches
from payment.stripe_objects import Json
from payment.webhook_batches import WAITING_BATCHES, WebhookBatches
from tests.payment.stage import Stage, booking
from tests.payment.test_reconciler import sent

BATCH_MAX = 8
STRANGE: dict[str, Any] = {"object": "event", "type": "payment_intent.created", "created": 1, "livemode": False}


class Held:
    """The real handler; each batch waits until the test releases it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.batches: list[list[Json]] = []
        self.began = asyncio.Condition()
        self.go = asyncio.Semaphore(0)

    async def apply_events(self, events: Sequence[tuple[Json, str]]) -> Iterable[Envelope]:
        async with self.began:
            self.batches.append([event for event, _ in events])
            self.began.notify_all()
        await self.go.acquire()
        return await self._stage.handlers.events.apply(events)

    async def until(self, batches: int) -> None:
        async with self.began:
            await self.began.wait_for(lambda: len(self.batches) >= batches)


@pytest.fixture
def held(stage: Stage) -> Held:
    return Held(stage)


@pytest.fixture
async def batches(stage: Stage, held: Held) -> AsyncIterator[WebhookBatches]:
    batches = WebhookBatches(held.apply_events, stage.bus, stage.metrics, BATCH_MAX)
    yield batches
    for _ in range(1000):
        held.go.release()
    await batches.close()


def event(number: int, **values: Any) -> Json:
    """An event about an object that payment does not know."""
    customer = {"id": f"cus_{number}", "object": "customer"}
    return {**STRANGE, "id": f"evt_{number}", "data": {"object": customer}, **values}


def start(batches: WebhookBatches, *events: Json) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(batches.apply(each)) for each in events]


async def stored(stage: Stage) -> set[str]:
    return {row["id"] for row in await stage.rows("SELECT id FROM stripe_events")}


async def test_a_webhook_is_answered_after_the_commit(stage: Stage, batches: WebhookBatches, held: Held) -> None:
    (first,) = start(batches, event(1))
    await held.until(1)
    assert not first.done()
    assert await stored(stage) == set()
    held.go.release()
    await first
    assert await stored(stage) == {"evt_1"}


async def test_events_that_arrive_during_a_batch_make_the_next_one(batches: WebhookBatches, held: Held) -> None:
    first = start(batches, event(0))
    await held.until(1)
    others = start(batches, *(event(number) for number in range(1, BATCH_MAX + 3)))
    await asyncio.sleep(0)
    for _ in range(3):
        held.go.release()
    await asyncio.gather(*first, *others)
    assert [len(batch) for batch in held.batches] == [1, BATCH_MAX, 2]


async def test_one_bad_event_of_a_batch_harms_no_other(
    stage: Stage, batches: WebhookBatches, held: Held, redis: Redis
) -> None:
    """It goes to the mailbox, where its failures are counted until it is a dead letter: without a spent secret."""
    spent = {"id": "pi_5", "object": "payment_intent", "status": "succeeded", "client_secret": "pi_5_secret_"}
    bad = event(5, data={"object": spent})
    for _ in range(100):
        held.go.release()
    good = [event(number) for number in range(3)]
    await asyncio.gather(*start(batches, good[0], bad, *good[1:]))
    assert await stored(stage) == {"evt_0", "evt_1", "evt_2"}
    (kept,) = await sent(redis, PAYMENT_WEBHOOKS)
    assert isinstance(kept, StripeEventReceived)
    assert orjson.loads(kept.payload)["id"] == "evt_5"
    assert "_secret_" not in kept.payload


async def test_events_over_the_waiting_limit_go_to_the_mailbox(
    batches: WebhookBatches, held: Held, redis: Redis
) -> None:
    first = start(batches, event(0))
    await held.until(1)
    most = WAITING_BATCHES * BATCH_MAX
    waiting = start(batches, *(event(number) for number in range(1, most + 1)))
    await asyncio.sleep(0)
    await batches.apply(event(most + 1))
    assert await redis.xlen(PAYMENT_WEBHOOKS) == 1
    for _ in range(WAITING_BATCHES + 1):
        held.go.release()
    await asyncio.gather(*first, *waiting)


async def test_a_batch_that_takes_too_long_goes_to_the_mailbox(
    stage: Stage, batches: WebhookBatches, held: Held, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events that follow soon go there without an attempt."""
    monkeypatch.setattr(webhook_batches, "BATCH_SECONDS", 0.05)
    await asyncio.gather(*start(batches, event(1), event(2)))
    await batches.apply(event(3))
    assert len(held.batches) == 1
    assert await redis.xlen(PAYMENT_WEBHOOKS) == 3
    assert await stored(stage) == set()


async def test_an_event_that_nothing_can_store_raises_an_error(
    stage: Stage, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_batches, "BATCH_SECONDS", 0.05)
    nowhere = connect("redis://127.0.0.1:1/0")
    batches = WebhookBatches(held.apply_events, Publisher(nowhere, source="/t"), stage.metrics, BATCH_MAX)
    results = await asyncio.gather(*start(batches, event(1), event(2)), return_exceptions=True)
    assert [type(each) for each in results] == [RedisOutage, RedisOutage]
    with pytest.raises(RedisOutage):
        await batches.apply(event(3))
    await batches.close()
    await nowhere.aclose()


async def test_a_report_that_cannot_be_published_is_left_to_the_reconciler(
    stage: Stage, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The webhook is answered 200 all the same: its event is committed."""
    of = booking()
    (made,) = await stage.do(of.create)
    await stage.do(applied(of, made))
    await stage.pay(made.payment.intent_id)
    (paid,) = await stage.events("payment_intent.succeeded", of=made.payment.intent_id)
    nowhere = connect("redis://127.0.0.1:1/0")
    bus = Publisher(nowhere, source="/t")
    batches = WebhookBatches(stage.handlers.events.apply, bus, stage.metrics, BATCH_MAX)
    await batches.apply(paid)
    await batches.close()
    await nowhere.aclose()
    assert not await redis.exists(BOOKING_PAYMENTS)
    row = await stage.row(of)
    assert (row["status"], row["reported_version"]) == ("succeeded", made.payment.version)
    assert row["report_after"] is not None


def applied(of: Any, report: PaymentReport) -> Any:
    return PaymentReportApplied(booking_id=of.id, version=report.payment.version)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0, 1, 1), (1, 1, 0, 0), (1, 0, 1, 0)])
@pytest.mark.parametrize("at_once", [True, False])
async def test_events_of_one_payment_end_alike(
    stage: Stage, redis: Redis, order: tuple[int, ...], at_once: bool
) -> None:
    """In one batch or in several, doubled and out of order, and while a report is not applied yet."""
    of = booking()
    (made,) = await stage.do(of.create)
    await stage.pay(made.payment.intent_id, "pm_card_chargeDeclined")
    await stage.pay(made.payment.intent_id)
    events = await stage.events(
        "payment_intent.payment_failed", "payment_intent.succeeded", of=made.payment.intent_id
    )
    assert len(events) == 2
    batches = WebhookBatches(stage.handlers.events.apply, stage.bus, stage.metrics, BATCH_MAX)
    if at_once:
        await asyncio.gather(*start(batches, *(events[number] for number in order)))
    else:
        for number in order:
            await batches.apply(events[number])
    await batches.close()
    row = await stage.row(of)
    assert (row["status"], row["amount_captured"], row["failed_attempts"]) == ("succeeded", of.amount, 1)
    reports = [each for each in await sent(redis, BOOKING_PAYMENTS) if isinstance(each, PaymentReport)]
    assert reports[-1].payment.version == max(each.payment.version for each in reports) == row["version"]
    assert reports[-1].payment.status == "succeeded"
