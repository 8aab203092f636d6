"""Holds expire safely: seats are on sale again, and no money is kept without seats, however late it comes."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.acceptance.client import Json
from tests.acceptance.customers import Customer, customers, seats
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import SHORT_TIMES, SLOW_BANKS, Holdfast, running
from tests.acceptance.stripe_side import BANK_DEBIT, DECLINED

HOLD_SECONDS = 3
HASTY = {"HOLD_SECONDS": str(HOLD_SECONDS), "HOLD_MAX_SECONDS": "900", "GRACE_SECONDS": "1"}
# Enough for the race to be both won and lost; `make chaos` makes a thousand.
PAYMENTS = int(os.environ.get("HOLDFAST_MANY", "100"))
# How many of them two cores can make at once within the life of a hold.
AT_ONCE = 60
# When payments are made: between these times from the end of their hold. Later than earlier, because a process does
# not notice at once that a hold has ended.
AROUND_SECONDS = (-0.5, 1.0)
# The paths of Stripe that fail while intents can be made and paid.
CANCEL = "/v1/payment_intents/*/cancel"
UNREACHABLE = [CANCEL, "/v1/events", "/v1/refunds"]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
async def hasty_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Holdfast]:
    """Holds expire after three seconds; after a grace time of one second their seats are free without an answer."""
    async with running(tmp_path_factory.mktemp("hasty"), settings=SHORT_TIMES | SLOW_BANKS | HASTY) as stack:
        yield stack


@pytest.fixture
async def hasty(hasty_stack: Holdfast) -> AsyncIterator[Holdfast]:
    yield hasty_stack
    await hasty_stack.stripe.faults()


def expires_at(booking: Json) -> datetime:
    return datetime.fromisoformat(booking["expires_at"])


async def sleep_until(at: datetime) -> None:
    """Sleep until that time, because no event that a test could wait for comes before the customer acts."""
    await asyncio.sleep(max(0.0, (at - datetime.now(UTC)).total_seconds()))


async def test_payments_around_the_time_of_expiry(hasty: Holdfast, chance: random.Random) -> None:
    """Many payments just before, at and just after the end of their hold, with webhooks late, doubled and out of
    order, and with cancels that sometimes fail. Each booking ends confirmed and paid; or cancelled, with no money
    captured or all of it refunded."""
    await hasty.stripe.faults(
        seed=chance.randrange(1000),
        paths=[CANCEL],
        error_before=0.2,
        webhooks={"double": 0.1, "reorder": 0.3, "reorder_window_ms": 1500},
    )
    event = await hasty.event((1500, PAYMENTS))
    slots = asyncio.Semaphore(AT_ONCE)

    async def one() -> tuple[str, str]:
        async with slots:
            client = hasty.client()
            answer = await client.book(event, 1, prefer="wait=30")
            if answer.code == "hold_expired":  # while it waited for its intent, if the machine is slow
                ended = await client.booking(answer.body["booking_id"])
                return ended["status"], ended["payment"]["status"]
            who = Customer(hasty, client, answer.ok(201))
            await sleep_until(expires_at(who.booking) + timedelta(seconds=chance.uniform(*AROUND_SECONDS)))
            answer = await who.tries()
            assert answer.status == 200 or answer.code == "payment_intent_unexpected_state", answer.body
            paid = answer.status == 200
            booking = await who.receives(lambda now: now["status"] != "pending")
            if booking["status"] == "cancelled" and paid:
                booking = await who.receives(lambda now: now["status"] == "confirmed" or is_refunded(now))
            return booking["status"], booking["payment"]["status"]

    ends = Counter(await asyncio.gather(*(one() for _ in range(PAYMENTS))))
    print(ends)  # noqa: T201
    await hasty.stripe.faults()
    assert set(ends) <= {("confirmed", "paid"), ("cancelled", "none"), ("cancelled", "refunded")}, ends
    assert min(ends["confirmed", "paid"], ends["cancelled", "none"]) > 0, ends  # the race was won and lost
    await assert_clean(hasty)
    assert await seats(hasty, event) == PAYMENTS - ends["confirmed", "paid"]


def is_refunded(booking: Json) -> bool:
    return bool(booking["payment"]["status"] == "refunded")


async def test_a_late_payment_gets_free_seats_or_is_refunded(hasty: Holdfast) -> None:
    """Holdfast cannot reach Stripe until the grace time is over. Then two customers who lost their seats pay: for
    one a seat is free again, for the other none is."""
    event = await hasty.event((1500, 2))
    await hasty.stripe.faults(paths=UNREACHABLE, error_before=1.0)
    lucky, late = await customers(hasty, event, 2)
    for who in (lucky, late):
        booking = await who.receives("cancelled")
        assert (booking["reason"], booking["payment"]["status"]) == ("hold_expired", "none")
    (other,) = await customers(hasty, event, 1)
    await other.buys()
    assert await seats(hasty, event) == 1

    await lucky.pays()
    await lucky.receives("confirmed")
    await late.pays()
    assert (await late.receives_payment("refund_pending"))["status"] == "cancelled"
    assert (await hasty.stripe.struck())["error_before"] > 0
    await hasty.stripe.faults()
    assert (await late.receives_payment("refunded"))["status"] == "cancelled"
    await assert_clean(hasty)
    assert await seats(hasty, event) == 0


async def test_the_intent_of_an_expired_hold_is_canceled(hasty: Holdfast) -> None:
    """When nobody paid, the seat is on sale again, and the intent can no longer be paid."""
    event = await hasty.event((1500, 1))
    (who,) = await customers(hasty, event, 1)
    assert (await who.receives("cancelled"))["reason"] == "hold_expired"
    refused = await who.tries()
    assert (refused.status, refused.code) == (400, "payment_intent_unexpected_state")
    (after,) = await customers(hasty, event, 1)
    await after.buys()
    await assert_clean(hasty)


async def test_decline_and_bank_debit_outlive_the_hold(hasty: Holdfast) -> None:
    """A customer who was declined has ten minutes to try again, and one who pays by bank debit has as long as the
    bank takes. Holds that began later expire before these."""
    event = await hasty.event((1500, 4), payment_methods="all")
    declined, debited, failing = await customers(hasty, event, 3)
    assert (await declined.tries(DECLINED)).status == 402
    for who in (debited, failing):
        assert (await who.pays(BANK_DEBIT))["status"] == "processing"
        await who.receives_payment("processing")
    booking = await declined.receives(lambda now: now["payment"]["last_error"] is not None)
    assert expires_at(booking) - datetime.fromisoformat(booking["updated_at"]) >= timedelta(seconds=600)

    later: list[Customer] = await customers(hasty, event, 1)
    await later[0].receives("cancelled")
    assert {(await who.sees())["status"] for who in (declined, debited, failing)} == {"pending"}
    await declined.buys()
    await hasty.stripe.control(f"/payment_intents/{debited.intent_id}/succeed")
    await debited.receives("confirmed")
    await hasty.stripe.control(f"/payment_intents/{failing.intent_id}/fail")
    shown = await failing.receives(lambda now: now["payment"]["last_error"] is not None)
    assert shown["status"] == "pending"
    assert (await failing.cancels()).status == 202
    await failing.receives("cancelled")
    await assert_clean(hasty)
    assert await seats(hasty, event) == 2
