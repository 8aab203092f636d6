"""An event is cancelled: every booking ends and all money goes back once, whichever process is killed meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

import pytest

from tests.acceptance.client import Json
from tests.acceptance.customers import Customer, customer, customers
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import SHORT_TIMES, Holdfast, running
from tests.acceptance.polling import eventually

# Enough to kill processes in between; `make chaos` makes a thousand.
PAID = int(os.environ.get("HOLDFAST_MANY", "60"))
UNPAID = 10
# How many bookings two cores can make at once without a client's timeout.
AT_ONCE = 50
# Twice the entries of a killed process are claimed (12 s each), and a thousand refunds take their time.
MOST_SECONDS = 90.0

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Holdfast]:
    """A stack of its own, because this many payments would make every later audit of a shared one slow."""
    async with running(tmp_path_factory.mktemp("cancelled"), settings=SHORT_TIMES) as stack:
        yield stack


async def sell(holdfast: Holdfast, event: Json, count: int) -> list[Customer]:
    """Make `count` bookings that are paid and confirmed."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one() -> Customer:
        async with slots:
            who = await customer(holdfast, event)
            await who.pays()
            return who

    sold = await asyncio.gather(*(one() for _ in range(count)))
    await eventually(partial(as_operator, holdfast, event), lambda now: now["ticket_types"][0]["sold"] == count)
    return sold


async def as_operator(holdfast: Holdfast, event: Json) -> Json:
    """The event with its progress. The operator asks again when an actor was killed while it had the request."""
    operator = holdfast.client(operator=True)
    answer = await eventually(
        lambda: operator.request("GET", f"/admin/events/{event['id']}"), lambda answer: answer.status == 200
    )
    return answer.ok()


async def until(holdfast: Holdfast, event: Json, cancelled: int = 0, refunded: int = 0) -> None:
    """Wait until this many bookings are cancelled and this many refunded."""

    def far_enough(now: Json) -> bool:
        progress = now["progress"]
        return bool(progress["cancelled"] >= cancelled and progress["refunds"]["succeeded"] >= refunded)

    await eventually(partial(as_operator, holdfast, event), far_enough, seconds=MOST_SECONDS)


async def test_an_event_is_cancelled_while_actors_are_killed(stack: Holdfast, chance: random.Random) -> None:
    """With many paid bookings and some unpaid ones: all are cancelled, and each paid one is refunded once."""
    event = await stack.event((1500, PAID + UNPAID))
    sold = await sell(stack, event, PAID)
    unpaid = await customers(stack, event, UNPAID)
    operator = stack.client(operator=True)
    cancelled = (await operator.request("POST", f"/admin/events/{event['id']}/cancel")).ok(202)
    assert cancelled["on_sale"] is False

    await until(stack, event, cancelled=chance.randint(1, PAID // 4))
    await kill(stack, "booking-1")
    await until(stack, event, refunded=chance.randint(PAID // 4, PAID // 2))
    await kill(stack, "payment-1")
    refused = await stack.client().book(event, 1)
    assert (refused.status, refused.code) == (409, "not_on_sale")

    now = await eventually(
        partial(as_operator, stack, event), lambda now: now["progress"]["finished"], seconds=MOST_SECONDS
    )
    progress = now["progress"]
    assert (progress["bookings"], progress["cancelled"]) == (PAID + UNPAID, PAID + UNPAID)
    assert {kind: count for kind, count in progress["refunds"].items() if count} == {"succeeded": PAID}
    await assert_clean(stack)
    assert (now["ticket_types"][0]["held"], now["ticket_types"][0]["sold"]) == (0, 0)

    refunds = await stack.stripe.all("refunds")
    assert Counter(one["payment_intent"] for one in refunds) == Counter(who.intent_id for who in sold)
    assert {(one["amount"], one["status"]) for one in refunds} == {(1500, "succeeded")}
    intents = {one["id"]: one["status"] for one in await stack.stripe.all("payment_intents")}
    assert {intents[who.intent_id] for who in unpaid} == {"canceled"}
    ends = [await who.sees() for who in (sold[0], unpaid[0])]
    assert {(one["status"], one["reason"]) for one in ends} == {("cancelled", "event_cancelled")}


async def kill(holdfast: Holdfast, name: str) -> None:
    """Kill the process (SIGKILL), and start it again."""
    process = holdfast.stack.processes[name]
    await process.kill()
    await process.start()
