"""What a stack sends to an endpoint when a booking is paid and an event changes, as its receiver verifies it."""

from __future__ import annotations

import pytest
from standardwebhooks import Webhook

from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually
from tests.booking.receiver import open_receiver

pytestmark = pytest.mark.timeout(60)


async def test_a_paid_booking_and_a_changed_event_reach_their_receiver(holdfast: Holdfast) -> None:
    operator, guest = holdfast.client(operator=True), await holdfast.guest()
    event = await holdfast.event((4500, 10))
    async with open_receiver() as receiver:
        body = {"url": receiver.url(), "types": ["booking.confirmed", "event.changed"]}
        made = (await operator.request("POST", "/admin/webhook-endpoints", json=body)).ok(201)
        path = f"/admin/webhook-endpoints/{made['id']}"
        try:
            booking = (await guest.book(event, 2)).ok(201)
            await holdfast.stripe.pay(booking)
            (await operator.request("PATCH", f"/admin/events/{event['id']}", json={"on_sale": False})).ok()
            (confirmed,) = await receiver.wait_for("booking.confirmed", booking["id"])
            message = Webhook(made["secret"]).verify(confirmed.body, confirmed.headers)
            assert message["data"]["status"] == "confirmed"
            assert booking["payment"]["client_secret"].encode() not in confirmed.body
            (changed,) = await receiver.wait_for("event.changed", event["id"])
            assert changed.message["data"]["on_sale"] is False

            async def deliveries() -> set[str]:
                items = (await operator.request("GET", f"{path}/deliveries")).ok()["items"]
                return {each["status"] for each in items}

            await eventually(deliveries, lambda statuses: statuses == {"delivered"})
        finally:
            (await operator.request("DELETE", path)).ok()
