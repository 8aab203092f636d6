"""holdfast.js and the Python client go on when the gateway is killed and started again."""

from __future__ import annotations

import pytest

from tests.acceptance.holdfast import Holdfast
from tests.clients.buyers import Start, is_payable, seats

pytestmark = pytest.mark.timeout(180)


async def test_a_gateway_that_is_killed_and_started_again_is_survived(
    battered: Holdfast, start_client: Start
) -> None:
    event = await battered.event((1500, 10))
    gateway = battered.stack.processes["gateway-1"]
    async with start_client(battered.url) as buyer:
        await buyer.call("guest")
        booking = await buyer.call("book", seats(event, 1))
        watching = await buyer.watch(booking["id"])
        payable = await watching.until(is_payable)
        await gateway.kill()
        await battered.stripe.pay(payable)
        await gateway.start()
        await watching.status("confirmed")
        assert (await buyer.call("booking", booking["id"]))["status"] == "confirmed"
    await battered.ready()
