"""What owners ask beyond their share: the same handlers, with Stripe calls that wait behind all others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from common.contracts.messages import (
    PAYMENT_COMMANDS,
    PAYMENT_DEFERRED,
    PAYMENT_INTENTS,
    Message,
    PaymentReport,
)
from common.contracts.statuses import IntentStatus
from common.messaging.envelope import Envelope
from payment.intent_commands import wanted
from payment.rate_limiter import Priority, StripeRateLimiter
from tests.payment.stage import Stage, booking, delivery
from tests.payment.wire import Fault


async def defer(stage: Stage, *messages: Message) -> list[Envelope]:
    """Hand messages of one type to the handlers of the deferred mailbox."""
    handle = stage.handlers.deferred[type(messages[0])]
    return list(await handle([delivery(message) for message in messages]))


@pytest.fixture
def priorities(monkeypatch: pytest.MonkeyPatch) -> list[Priority]:
    """The priority of each Stripe call, as it is made."""
    acquired: list[Priority] = []
    acquire = StripeRateLimiter.acquire

    async def noted(self: StripeRateLimiter, priority: Priority, *deadline: float) -> None:
        acquired.append(priority)
        await acquire(self, priority, *deadline)

    monkeypatch.setattr(StripeRateLimiter, "acquire", noted)
    return acquired


def statuses(envelopes: Sequence[Envelope]) -> list[IntentStatus]:
    return [each.message.payment.status for each in envelopes if isinstance(each.message, PaymentReport)]


async def test_deferred_calls_wait_behind_all_others(stage: Stage, priorities: list[Priority]) -> None:
    """Intents are made and canceled as those of others."""
    of, other = booking(), booking()
    assert statuses(await defer(stage, of.create)) == [IntentStatus.REQUIRES_PAYMENT_METHOD]
    assert statuses(await defer(stage, of.cancel)) == [IntentStatus.CANCELED]
    await stage.do(other.create)
    await stage.do(other.cancel)
    assert priorities == [Priority.DEFERRED, Priority.DEFERRED, Priority.INTENTS, Priority.MONEY]


async def test_an_intent_that_is_not_wanted_any_more_needs_no_call(
    stage: Stage, priorities: list[Priority]
) -> None:
    """It waited so long that its booking was cancelled before."""
    of = booking()
    assert statuses(await stage.give(of.cancel)) == [IntentStatus.CANCELED]
    assert statuses(await defer(stage, of.create)) == [IntentStatus.CANCELED]
    assert priorities == []


async def streams(stage: Stage, redis: Any) -> list[str]:
    """Where the reconciler asks again for what Stripe has not answered."""
    stage.clock.ahead += timedelta(minutes=10)
    await stage.reconciler.run_once()
    names = [PAYMENT_INTENTS, PAYMENT_COMMANDS, PAYMENT_DEFERRED]
    found = [name for name in names if await redis.xlen(name)]
    await redis.delete(*names)
    return found


async def test_a_call_without_an_answer_is_repeated_in_the_same_mailbox(stage: Stage, redis: Any) -> None:
    deferred, usual = booking(), booking()
    async with stage.store.statement() as rows:
        await rows.insert([wanted(deferred.create, stage.clock(), deferred=True)])
    assert await streams(stage, redis) == [PAYMENT_DEFERRED]
    await stage.rows("DELETE FROM payments")
    await stage.record(usual)
    assert await streams(stage, redis) == [PAYMENT_INTENTS]


async def test_the_last_request_says_in_which_mailbox_it_is_repeated(stage: Stage, redis: Any) -> None:
    """An operator cancels what its owner has asked for beyond its share, and the other way round."""
    first, second = booking(), booking()
    await defer(stage, first.create)
    await stage.do(second.create)
    assert [(await stage.load(each)).deferred for each in (first, second)] == [True, False]

    paths = [f"/v1/payment_intents/{(await stage.load(each)).intent_id}/cancel" for each in (first, second)]
    stage.wire.faults += [Fault(path, passed_on=False, times=9) for path in paths]
    await stage.give(first.cancel)
    await defer(stage, second.cancel)
    assert [(await stage.load(each)).deferred for each in (first, second)] == [False, True]
    assert await streams(stage, redis) == [PAYMENT_COMMANDS, PAYMENT_DEFERRED]
