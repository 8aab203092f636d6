"""A rush of bookings waits for Stripe: payments, refunds and cancels do not wait behind it. And what a few owners
ask beyond their share waits behind what all others ask.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import pytest

from common.contracts.messages import PAYMENT_DEFERRED, PAYMENT_INTENTS
from ops.actor import ActorProcess
from tests.acceptance.client import Json
from tests.acceptance.customers import CANCELLABLE, Customer, customer, customers
from tests.acceptance.database_rows import assert_clean, rows
from tests.acceptance.holdfast import Holdfast, running
from tests.acceptance.mailboxes import mailbox_lengths, until_lengths
from tests.acceptance.polling import eventually

RUSH = 160
# Less than Stripe's limit in test mode (https://docs.stripe.com/rate-limits), so that a small rush is enough.
PER_SECOND = "10"
# At least this many of the rush must still wait when payment, refund and cancel are done.
STILL_QUEUED = 40

# Owners that book and cancel in a loop: so often, and each has so many bookings open.
LOOPS, ROUNDS, OPEN = 3, 40, 30
# The most Stripe calls for which customers beside them wait, with their own, what the loops ask within their shares
# meanwhile, and the deferred calls' part. In one mailbox it were one for each booking of theirs.
CALLS_MAX = 25

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def limited(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Holdfast]:
    """10 requests a second: Holdfast sends no more to Stripe, and the sandbox answers no more."""
    limits = {"STRIPE_REQUESTS_PER_SECOND": PER_SECOND, "SANDBOX_RATE_LIMIT": PER_SECOND}
    async with running(tmp_path_factory.mktemp("limited"), settings=limits) as stack:
        yield stack


async def pays(who: Customer) -> None:
    """Pay, and try again while Stripe's limit is reached."""
    await eventually(who.tries, lambda answer: answer.status == 200)


async def rush(holdfast: Holdfast, event: Json) -> None:
    await asyncio.gather(*(customer(holdfast, event, prefer="respond-async") for _ in range(RUSH)))


async def lift_limit(holdfast: Holdfast) -> None:
    """From now on the sandbox has no limit."""
    sandbox = holdfast.stack.processes["sandbox"]
    assert isinstance(sandbox, ActorProcess)
    await sandbox.stop()
    sandbox.environment = {**sandbox.environment, "SANDBOX_RATE_LIMIT": "0"}
    await sandbox.start()


async def test_payments_and_refunds_do_not_wait_behind_the_intents_of_a_rush(limited: Holdfast) -> None:
    """A payment is confirmed, a refund made and an intent canceled while dozens of intents still wait."""
    small = await limited.event((1500, 3), **CANCELLABLE)
    paying, returning, leaving = await customers(limited, small, 3)
    await pays(returning)
    await returning.receives("confirmed")

    event = await limited.event((1500, RUSH))
    await rush(limited, event)
    await until_lengths(limited, {PAYMENT_INTENTS: 2 * STILL_QUEUED})
    assert (await returning.cancels()).status == 202
    assert (await leaving.cancels()).status == 202
    await pays(paying)
    await asyncio.gather(
        paying.receives("confirmed"), returning.receives_payment("refunded"), leaving.receives("cancelled")
    )
    queued = (await mailbox_lengths(limited))[PAYMENT_INTENTS]
    print(f"{queued} queued")  # noqa: T201
    assert queued > STILL_QUEUED

    # The other bookings are cancelled and the limit is lifted, so that the audit does not wait for their intents.
    (await limited.client(operator=True).request("POST", f"/admin/events/{event['id']}/cancel")).ok(202)
    await lift_limit(limited)
    await assert_clean(limited)


async def books_and_cancels(holdfast: Holdfast, event: Json) -> None:
    """One owner, in a loop."""
    client, kept = holdfast.client(), deque[str]()
    for _ in range(ROUNDS):
        kept.append((await client.book(event, 1, prefer="respond-async")).ok(202)["id"])
        if len(kept) > OPEN:
            await client.request("POST", f"/bookings/{kept.popleft()}/cancel")


async def stripe_calls(holdfast: Holdfast) -> int:
    """How many intents payment knows to be made, and canceled."""
    (payments,) = await rows(holdfast.stack.payment_database_url, "payments")
    made = [each for each in payments if each["intent_id"] is not None]
    return sum(1 + (each["status"] == "canceled") for each in made)


async def test_who_books_and_cancels_in_a_loop_makes_nobody_else_wait(limited: Holdfast) -> None:
    """Of two customers beside three loops, each gets its intent, and one pays, while most that the loops ask for
    still waits."""
    event = await limited.event((1500, 2 * LOOPS * ROUNDS))
    greedy = limited.client()

    async def books() -> Json:
        return (await greedy.book(event, 1, prefer="respond-async")).ok(202)

    # Processes that have just started do not know yet that the mailbox is read.
    await eventually(books, lambda booking: bool(booking["payment"]["deferred"]))
    loops = [asyncio.create_task(books_and_cancels(limited, event)) for _ in range(LOOPS)]
    await until_lengths(limited, {PAYMENT_DEFERRED: 2 * STILL_QUEUED})
    # What the loops asked within their shares is done.
    await eventually(lambda: mailbox_lengths(limited), lambda found: found[PAYMENT_INTENTS] == 0)
    before = await stripe_calls(limited)
    paying, leaving = await customers(limited, event, 2)
    calls = await stripe_calls(limited) - before
    queued = await mailbox_lengths(limited)
    print(f"{calls} calls, {queued}")  # noqa: T201
    assert not paying.booking["payment"]["deferred"]
    assert calls <= CALLS_MAX
    assert queued[PAYMENT_DEFERRED] > STILL_QUEUED
    await pays(paying)
    assert (await leaving.cancels()).status == 202
    await asyncio.gather(paying.receives("confirmed"), leaving.receives("cancelled"))
    await asyncio.gather(*loops)

    # What was deferred is done, too, when nobody else asks.
    (await limited.client(operator=True).request("POST", f"/admin/events/{event['id']}/cancel")).ok(202)
    await lift_limit(limited)
    await assert_clean(limited)
