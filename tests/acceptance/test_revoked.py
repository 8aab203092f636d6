"""A stolen token is revoked: it and its sockets are refused at once, and by gateways that start later."""

from __future__ import annotations

import asyncio

import pytest

from tests.acceptance.client import Answer, Client
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually
from tests.acceptance.test_killed import restart

pytestmark = pytest.mark.timeout(120)


async def test_a_revoked_token_is_refused_also_after_all_has_restarted(battered: Holdfast) -> None:
    subject = "a-customer-whose-token-is-stolen"
    stolen, other, operator = battered.client(subject), battered.client(), battered.client(operator=True)
    async with stolen.live() as live:
        await live.snapshot(event_id=(await battered.event((0, 5)))["id"])
        mine = (await stolen.request("GET", "/bookings")).ok()
        assert mine["items"] == []
        revoked = (await operator.request("POST", "/admin/tokens/revoke", json={"subject": subject})).ok()
        assert (await stolen.request("GET", "/bookings")).status == 401
        async with asyncio.timeout(10):
            # What the event's news had sent before the revocation may still be on its way.
            async for _ in live.socket:
                pass
        assert live.socket.close_code == 4401
    for name in ("gateway-1", "redis", "booking-1"):
        await restart(battered, name)
    await battered.ready()

    async def answer(client: Client, path: str) -> Answer:
        """What the client gets once what has restarted answers in time again."""
        return await eventually(lambda: client.request("GET", path), lambda answer: answer.status != 503)

    assert (await answer(stolen, "/bookings")).status == 401
    (await answer(other, "/bookings")).ok()
    assert revoked in (await answer(operator, "/admin/tokens/revoked")).ok()["items"]
