"""What the sandbox has besides Stripe's API: health, the summary of the ledger, receipts."""

from __future__ import annotations

import pytest

from tests.sandbox.stand import Stand


async def test_health_is_ok_once_the_sandbox_serves(stand: Stand) -> None:
    """No key is needed."""
    answer = await stand.send("GET", "/_sandbox/health")
    assert (answer.status, answer.body) == (200, {"status": "ok"})


async def test_the_ledger_has_captured_and_refunded_amounts(stand: Stand) -> None:
    """Payment by payment, for the audit."""
    paid = await stand.paid(5000, metadata={"booking_id": "b-1"})
    for amount in (1000, 500):
        await stand.stripe.v1.refunds.create_async({"payment_intent": paid.id, "amount": amount})
    failing = await stand.paid(3000, card="pm_card_refundFail")
    refund = await stand.stripe.v1.refunds.create_async({"payment_intent": failing.id})
    await stand.receiver.until(1, "refund.failed", of=refund.id)
    unpaid = await stand.intent(700, "eur")
    shown = await stand.control("GET", "/ledger")

    rows = {row["id"]: row for row in shown["payment_intents"]}
    assert list(rows) == [paid.id, failing.id, unpaid.id]
    assert rows[paid.id] == {
        "id": paid.id,
        "status": "succeeded",
        "amount": 5000,
        "currency": "usd",
        "amount_received": 5000,
        "amount_captured": 5000,
        "amount_refunded": 1500,
        "charges": 1,
        "refunds": {"succeeded": 2},
        "disputed": False,
        "metadata": {"booking_id": "b-1"},
    }
    assert (rows[failing.id]["amount_refunded"], rows[failing.id]["refunds"]) == (0, {"failed": 1})
    assert (rows[unpaid.id]["amount_received"], rows[unpaid.id]["charges"]) == (0, 0)
    assert shown["totals"] == {
        "usd": {"payment_intents": 2, "amount_received": 8000, "amount_refunded": 1500},
        "eur": {"payment_intents": 1, "amount_received": 0, "amount_refunded": 0},
    }


async def test_a_receipt_shows_the_payment(stand: Stand) -> None:
    """At the address in the charge."""
    paid = await stand.paid(5000)
    await stand.stripe.v1.refunds.create_async({"payment_intent": paid.id, "amount": 1000})
    charge = await stand.stripe.v1.charges.retrieve_async(str(paid.latest_charge))
    assert charge.receipt_url is not None
    page = await stand.send("GET", charge.receipt_url.removeprefix(stand.url))
    assert page.status == 200
    assert "$50.00 USD" in page.body
    assert "$10.00 USD" in page.body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/payment_intents/pi_1/succeed"),
        ("POST", "/payment_intents/pi_1/dispute"),
        ("POST", "/refunds/re_1/fail"),
        ("POST", "/disputes/dp_1/won"),
        ("GET", "/receipts/ch_1"),
    ],
)
async def test_unknown_objects_and_paths_are_not_found(stand: Stand, method: str, path: str) -> None:
    """404, as in the API."""
    answer = await stand.send(method, f"/_sandbox{path}")
    assert (answer.status, answer.error["code"]) == (404, "resource_missing")
