"""Operators read who did what, what came in and went back, and why Stripe refused; owners see what is theirs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.client import Json
from tests.acceptance.customers import customers, operator_refunds
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually

pytestmark = pytest.mark.timeout(120)

# Booking accepts this price; in this currency only Stripe knows that it is too little.
TOO_LITTLE: dict[str, Any] = {"currency": "sar"}


async def test_a_refund_is_read_with_who_asked_for_it(holdfast: Holdfast) -> None:
    event = await holdfast.event((4500, 5))
    (who,) = await customers(holdfast, event, 1)
    await who.buys()
    operator = holdfast.client("director", operator=True)

    async def payment() -> Json:
        found: Json = (await operator.booking(who.id))["payment"]
        return found

    assert (await operator.booking(who.id))["owner"] == (await who.sees())["owner"]
    answer = (await operator_refunds(holdfast, who, "part", 500)).body
    assert [(each["amount"], each["by"]) for each in answer["payment"]["refunds"]] == [(500, "cashier")]
    seen = await eventually(payment, lambda now: now["amount_refunded"] == 500)
    (refund,) = seen["refunds"]
    assert (refund["amount"], refund["status"], refund["by"], refund["by_hand"]) == (
        500,
        "succeeded",
        "cashier",
        False,
    )
    assert refund["stripe_refund_id"] in {each["id"] for each in await holdfast.stripe.all("refunds")}
    assert seen["amount_captured"] == 4500

    owners = (await who.sees())["payment"]
    assert (owners["amount_captured"], owners["amount_refunded"], owners["refunds"]) == (4500, 500, None)
    by = {each["cause_type"]: each["by"] for each in await operator.history(who.id)}
    assert (by["booking.create"], by["booking.refund"]) == (who.booking["owner"], "cashier")
    assert {each["by"] for each in await who.client.history(who.id)} == {None}
    assert "cashier" not in str(await who.sees())

    path = f"/admin/bookings?owner={who.booking['owner']}"
    listed = (await operator.request("GET", path)).ok()["items"]
    assert [each["id"] for each in listed] == [who.id]
    await assert_clean(holdfast)


async def test_an_events_history_says_who_changed_what(holdfast: Holdfast) -> None:
    event = await holdfast.event((4500, 5))
    path, (row,) = f"/admin/events/{event['id']}", event["ticket_types"]
    for subject, body in (
        ("planner", {"name": "Matinee", "ticket_types": [{"id": row["id"], "unit_amount": 3000}]}),
        ("director", {"on_sale": False}),
    ):
        (await holdfast.client(subject, operator=True).request("PATCH", path, json=body)).ok()
    reader = holdfast.client(operator=True)
    (await holdfast.client("director", operator=True).request("POST", f"{path}/cancel")).ok(202)

    found: list[Json] = []
    cursor: str | None = ""
    while cursor is not None:
        query = f"?limit=3{f'&cursor={cursor}' if cursor else ''}"
        page = (await reader.request("GET", f"{path}/history{query}")).ok()
        found, cursor = [*found, *page["items"]], page["next_cursor"]
    assert [(each["version"], each["what"], each["by"]) for each in found[1:]] == [
        (2, "changed", "planner"),
        (3, "changed", "director"),
        (4, "cancelled", "director"),
    ]
    assert found[0]["what"] == "created"
    assert found[1]["changes"] == [
        {"field": "name", "ticket_type_id": None, "code": None, "old": event["name"], "new": "Matinee"},
        {"field": "unit_amount", "ticket_type_id": row["id"], "code": None, "old": 4500, "new": 3000},
    ]
    assert (await holdfast.client().request("GET", f"{path}/history")).status == 403
    await assert_clean(holdfast)


async def test_operators_read_why_stripe_refused_a_payment(holdfast: Holdfast) -> None:
    client, operator = holdfast.client(), holdfast.client(operator=True)
    refused = await client.book(await holdfast.event((20, 5), **TOO_LITTLE), 1)
    assert (refused.status, refused.code) == (409, "payment_rejected")
    seen = (await operator.booking(refused.body["booking_id"]))["payment"]["rejection"]
    assert (seen["code"], seen["param"]) == ("amount_too_small", "amount")
    assert seen["message"]
    assert seen["request_id"].startswith("req_")
    owners = await client.booking(refused.body["booking_id"])
    assert (owners["payment"]["rejection"], owners["payment"]["last_error"]) == (None, None)
    assert seen["message"] not in str(owners)
    await assert_clean(holdfast)
