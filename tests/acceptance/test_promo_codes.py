"""A promo code from its making to a ticket that is given back, with all processes and Stripe's stand-in."""

from __future__ import annotations

import pytest

from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually
from tests.acceptance.scanner import bought, tickets

pytestmark = pytest.mark.timeout(60)


async def test_a_hidden_seat_is_quoted_bought_and_refunded_at_the_price_of_its_code(holdfast: Holdfast) -> None:
    public = await holdfast.event((1500, 10), (2500, 10))
    operator, path = holdfast.client(operator=True), f"/admin/events/{public['id']}"
    hidden = public["ticket_types"][1]["id"]
    (await operator.request("PATCH", path, json={"ticket_types": [{"id": hidden, "hidden": True}]})).ok()
    code = {"code": "Friends-33", "percent_off": 33, "unlocks": [hidden], "uses_max": 1}
    (made,) = (await operator.request("POST", f"{path}/codes", json=code)).ok(201)["items"]

    async def shown() -> list[str]:
        event = (await holdfast.anybody.request("GET", f"/events/{public['id']}")).ok()
        return [each["id"] for each in event["ticket_types"]]

    # The catalogue of a gateway may be a moment older.
    await eventually(shown, lambda ids: ids == [public["ticket_types"][0]["id"]])
    unlocked = await holdfast.anybody.request("GET", f"/events/{public['id']}?code=friends33")
    assert len(unlocked.ok()["ticket_types"]) == 2
    customer = holdfast.client()
    assert (await customer.book(public, 0, 2)).code == "ticket_type_not_found"

    seats = {"event_id": public["id"], "items": [{"ticket_type_id": hidden, "quantity": 2}], "code": "friends 33"}
    quote = (await customer.request("POST", "/quotes", json=seats)).ok()
    assert (quote["subtotal"], quote["discount"], quote["amount"]) == (5000, 1650, 3350)
    customer, booking = await bought(holdfast, public, 0, 2, code="friends33", expected_amount=quote["amount"])
    intent = await holdfast.stripe.intent(booking["payment"]["intent_id"])
    assert (intent["amount_received"], intent["description"].endswith(", Friends-33")) == (3350, True)
    assert (await customer.book(public, 0, 1, code="friends33")).code == "code_used_up"

    one, _ = await tickets(customer, booking)
    refund = {"ticket_ids": [one["id"]]}
    key = {"Idempotency-Key": one["id"]}
    refunded = await operator.request("POST", f"/admin/bookings/{booking['id']}/refund", json=refund, headers=key)
    assert refunded.status in (200, 202)
    (listed,) = (await operator.request("GET", f"{path}/codes")).ok()["items"]
    assert (listed["id"], listed["used"]) == (made["id"], 1)
    await assert_clean(holdfast)
    (sent,) = [each for each in await holdfast.stripe.all("refunds") if each["payment_intent"] == intent["id"]]
    assert sent["amount"] == 1675
