"""A rush of bookings waits for Stripe: payments, refunds and cancels do not wait behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from common.contracts.messages import PAYMENT_INTENTS
from ops.actor import ActorProcess
from tests.acceptance.client import Json
from tests.acceptance.customers import CANCELLABLE, Customer, customer, customers
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast, running
from tests.acceptance.mailboxes import mailbox_lengths, until_lengths
from tests.acceptance.polling import eventually

RUSH = 160
# Less than Stripe's limit in test mode (https://docs.stripe.com/rate-limits), so that a small rush is enough.
PER_SECOND = "10"
# At least this many of the rush must still wait when payment, refund and cancel are done.
STILL_QUEUED = 40

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
