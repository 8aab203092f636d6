"""Mail on a running stack: the sandbox takes it, and operators see what was sent."""

from __future__ import annotations

import re
from typing import Any

import aiohttp
import pytest

from tests.acceptance.client import Client
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually

pytestmark = pytest.mark.timeout(120)


async def mails_to(holdfast: Holdfast, address: str) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(str(holdfast.stack.mail_url)) as response:
        return [each for each in (await response.json())["mails"] if each["recipients"] == [address]]


async def test_a_paid_booking_is_mailed_with_a_link_and_mailed_again_on_request(holdfast: Holdfast) -> None:
    client, operator = await holdfast.guest(), holdfast.client(operator=True)
    event = await holdfast.event((900, 5))
    customer = {"name": "Mia Meyer", "email": "mia@example.com", "locale": "de"}
    booking = (await client.book(event, 1, customer=customer)).ok(201)
    await holdfast.stripe.pay(booking)

    async def mails() -> list[dict[str, Any]]:
        return await mails_to(holdfast, customer["email"])

    (mail,) = await eventually(mails, lambda found: len(found) == 1)
    assert mail["subject"].startswith(f"Ihre Buchung {booking['reference']}")
    assert mail["attachments"] == ["ticket-1.png", "booking.ics"]

    found = re.search(f"{holdfast.url}/b/(.+)#link=(.+)", mail["text"])
    assert found is not None, mail["text"]
    link = {"reference": found[1], "token": found[2].strip()}
    token = (await holdfast.anybody.request("POST", "/auth/guest/link", json=link)).ok(201)["token"]
    device = Client(holdfast.session, holdfast.url, token)
    assert (await device.booking(booking["id"]))["status"] == "confirmed"

    path = f"/admin/bookings/{booking['id']}/mails"
    (await operator.request("POST", path, json={"kind": "confirmation"})).ok(202)
    await eventually(mails, lambda found: len(found) == 2)
    listed = (await operator.request("GET", path)).ok(200)["items"]
    assert [each["recipient"] for each in listed] == [customer["email"]] * 2
