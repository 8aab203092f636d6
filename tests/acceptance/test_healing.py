"""What Redis forgets, Stripe does not send or a killed actor was handling is found again: Postgres is the truth."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from common.contracts.messages import (
    BOOKING_COMMANDS,
    BOOKING_PAYMENTS,
    PAYMENT_COMMANDS,
    PAYMENT_INTENTS,
    PAYMENT_WEBHOOKS,
)
from tests.acceptance.client import Json
from tests.acceptance.customers import CANCELLABLE, Customer, customer, customers, seats
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.mailboxes import forget_all, until_lengths
from tests.acceptance.polling import eventually
from tests.acceptance.stripe_side import DECLINED

SEATS = 100
RUSH = 60
FORGOTTEN = 6

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def harmed(battered: Holdfast) -> AsyncIterator[Holdfast]:
    """The stack is at rest before the test. After it all processes run and Stripe has no faults."""
    await assert_clean(battered)
    yield battered
    await battered.stripe.faults()
    for process in battered.stack.processes.values():
        if not process.running:
            await process.start()


@asynccontextmanager
async def payments_locked(holdfast: Holdfast) -> AsyncIterator[None]:
    """No process can read or write a payment, so the payment actor cannot finish the entries that it has read."""
    connection = await asyncpg.connect(holdfast.stack.payment_database_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE payments IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def event_of(holdfast: Holdfast) -> Json:
    return await holdfast.event((1500, SEATS), **CANCELLABLE)


async def intents_and_refunds(holdfast: Holdfast, who: list[Customer]) -> tuple[Counter[str], Counter[str]]:
    """How many intents and how many refunds Stripe has, by booking."""
    ids = {each.id for each in who}
    found = []
    for kind in ("payment_intents", "refunds"):
        named = [each["metadata"].get("booking_id") for each in await holdfast.stripe.all(kind)]
        found.append(Counter(id for id in named if id in ids))
    intents, refunds = found
    return intents, refunds


# --- Redis forgets ------------------------------------------------------------------------------------------


async def test_payments_work_that_redis_lost_is_done(harmed: Holdfast) -> None:
    """FLUSHALL between a hold and its intent; a payment and its webhook; a webhook stored in the mailbox and its
    handling; a customer's cancel and the cancel at Stripe; a refund that is owed and its creation."""
    event = await event_of(harmed)
    payment = harmed.stack.processes["payment-1"]
    paid_now, coming, unwanted, returned = await customers(harmed, event, 4)
    await returned.buys()
    await assert_clean(harmed)

    async with payments_locked(harmed):
        await paid_now.pays()
        await until_lengths(harmed, {PAYMENT_WEBHOOKS: 1})
        await eventually(harmed.stripe.undelivered, lambda count: count == 0)
        await payment.kill()
    held = await customer(harmed, event, prefer="respond-async")
    assert (await unwanted.cancels()).status == 202
    assert (await returned.cancels()).status == 202
    await coming.pays()
    await until_lengths(harmed, {PAYMENT_WEBHOOKS: 1, PAYMENT_INTENTS: 1, PAYMENT_COMMANDS: 2})
    await forget_all(harmed)
    await payment.start()

    await asyncio.gather(
        paid_now.receives("confirmed"),
        coming.receives("confirmed"),
        unwanted.receives("cancelled"),
        returned.receives_payment("refunded"),
        held.receives_payment("awaiting"),
    )
    await held.buys()
    await assert_clean(harmed)
    assert (unwanted.booking["reason"], unwanted.booking["payment"]["status"]) == ("by_customer", "none")
    assert returned.booking["status"] == "cancelled"
    assert await seats(harmed, event) == SEATS - 3


async def test_reports_to_booking_that_redis_lost_are_sent_again(harmed: Holdfast) -> None:
    """FLUSHALL before booking has read: a request, a customer's cancel, and payment's reports of an intent, of a
    payment, of a cancel at Stripe and of a refund."""
    event = await event_of(harmed)
    payment, booking = harmed.stack.processes["payment-1"], harmed.stack.processes["booking-1"]
    paying, unwanted, returned, regretting = await customers(harmed, event, 4)
    await returned.buys()
    await assert_clean(harmed)

    await payment.kill()
    held = await customer(harmed, event, prefer="respond-async")
    assert (await unwanted.cancels()).status == 202
    assert (await returned.cancels()).status == 202
    await until_lengths(harmed, {PAYMENT_INTENTS: 1, PAYMENT_COMMANDS: 2})
    await booking.kill()
    asking = harmed.client()
    asked = asyncio.create_task(asking.book_until_final(event, 1, key="asked"))
    assert (await regretting.cancels()).status == 503  # no actor has answered, so the customer sends it again later
    await paying.pays()
    await payment.start()
    await until_lengths(harmed, {BOOKING_COMMANDS: 2, BOOKING_PAYMENTS: 4})
    await forget_all(harmed)
    await booking.start()

    await asyncio.gather(
        paying.receives("confirmed"),
        unwanted.receives("cancelled"),
        returned.receives_payment("refunded"),
        held.receives_payment("awaiting"),
    )
    assert (await regretting.sees())["status"] == "pending"
    assert (await regretting.cancels()).status in (200, 202)
    await regretting.receives("cancelled")
    await held.buys()
    answer = await asked
    await Customer(harmed, asking, answer.ok(answer.status)).buys()
    await assert_clean(harmed)
    assert await seats(harmed, event) == SEATS - 3


async def test_redis_loses_everything_at_random_times(harmed: Holdfast, chance: random.Random) -> None:
    """FLUSHALL several times while customers book, pay and cancel: each booking ends as its customer wants."""
    event = await event_of(harmed)
    done = asyncio.Semaphore(0)

    async def one(number: int) -> str:
        client = harmed.client()
        answer = await client.book_until_final(event, 1, key="rush")
        done.release()
        who = Customer(harmed, client, answer.ok(answer.status))
        await who.receives_payment("awaiting")
        if number % 3:
            await who.pays()
            done.release()
            await who.receives("confirmed")
        if number % 3 < 2:
            await insist_on_cancel(who)
            done.release()
            await who.receives("cancelled")
            await who.receives(lambda now: now["payment"]["status"] in ("none", "refunded"))
        return str(who.booking["status"])

    async def forget() -> None:
        for _ in range(FORGOTTEN):
            for _ in range(chance.randint(1, 2 * RUSH // FORGOTTEN)):
                await done.acquire()
            await forget_all(harmed)

    forgetting = asyncio.create_task(forget())
    ends = await asyncio.gather(*(one(number) for number in range(RUSH)))
    await forgetting
    assert Counter(ends) == Counter("confirmed" if number % 3 == 2 else "cancelled" for number in range(RUSH))
    await assert_clean(harmed)
    assert await seats(harmed, event) == SEATS - ends.count("confirmed")


async def insist_on_cancel(who: Customer) -> None:
    """Cancel, again and again, because Redis may lose the request."""
    await eventually(who.cancels, lambda answer: answer.status in (200, 202))


# --- Webhooks do not come -----------------------------------------------------------------------------------


async def test_the_catch_up_finds_changes_without_webhooks(harmed: Holdfast) -> None:
    """All webhooks are lost. Holdfast still finds a payment, a decline, a dispute, a cancel, a refund by hand."""
    event, stripe = await event_of(harmed), harmed.stripe
    paying, declined, canceled, refunded, disputed = await customers(harmed, event, 5)
    await asyncio.gather(refunded.buys(), disputed.buys())
    await assert_clean(harmed)
    await stripe.faults(webhooks={"drop": 1.0})
    await paying.pays()
    assert (await declined.tries(DECLINED)).status == 402
    await stripe.cancel(canceled.intent_id)
    await stripe.control(f"/payment_intents/{refunded.intent_id}/refund")
    await stripe.control(f"/payment_intents/{disputed.intent_id}/dispute")
    await asyncio.gather(
        paying.receives("confirmed"),
        declined.receives(lambda now: now["payment"]["last_error"] is not None),
        canceled.receives("cancelled"),
        refunded.receives_payment("refunded"),
        disputed.receives_payment("disputed"),
    )
    assert (await stripe.struck())["webhooks.drop"] >= 5
    await assert_clean(harmed)


async def test_payment_made_while_no_payment_actor_runs(harmed: Holdfast) -> None:
    """Stripe has given up its webhooks before an actor is back: the catch-up finds it in the event list."""
    (who,) = await customers(harmed, await event_of(harmed), 1)
    payment = harmed.stack.processes["payment-1"]
    await assert_clean(harmed)  # it has no pending entry
    await payment.kill()
    await harmed.stripe.faults(webhooks={"drop": 1.0})
    await who.pays()
    assert (await harmed.stripe.struck())["webhooks.drop"] >= 1
    await harmed.stripe.faults()
    await payment.start()
    await who.receives("confirmed")
    await assert_clean(harmed)


# --- Stripe fails after the work ----------------------------------------------------------------------------


async def fails_after_work(holdfast: Holdfast, path: str) -> None:
    await holdfast.stripe.faults(methods=["POST"], paths=[path], error_after=1.0)


async def test_a_call_that_stripe_did_and_answered_with_an_error_is_done_once(harmed: Holdfast) -> None:
    """Stripe does every create, cancel and refund, and answers 500: each booking gets one intent and one refund."""
    event, stripe = await event_of(harmed), harmed.stripe
    await fails_after_work(harmed, "/v1/payment_intents")
    who = await customers(harmed, event, 9)
    kept, returned, unwanted = who[:3], who[3:6], who[6:]
    assert (await stripe.struck())["error_after"] >= len(who)
    await stripe.faults()
    await asyncio.gather(*(each.buys() for each in (*kept, *returned)))

    await fails_after_work(harmed, "/v1/payment_intents/*/cancel")
    await asyncio.gather(*(each.cancels() for each in unwanted))
    await asyncio.gather(*(each.receives("cancelled") for each in unwanted))
    assert (await stripe.struck())["error_after"] >= len(unwanted)

    await fails_after_work(harmed, "/v1/refunds")
    await asyncio.gather(*(each.cancels() for each in returned))
    await asyncio.gather(*(each.receives_payment("refunded") for each in returned))
    assert (await stripe.struck())["error_after"] >= len(returned)

    await stripe.faults()
    await assert_clean(harmed)
    intents, refunds = await intents_and_refunds(harmed, who)
    assert intents == Counter(each.id for each in who)
    assert refunds == Counter(each.id for each in returned)
