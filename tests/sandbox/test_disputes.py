"""Disputes: opened by test cards or by a control request, won with evidence, lost without."""

from __future__ import annotations

import pytest
import stripe

from tests.sandbox.stand import Stand


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        ("pm_card_createDispute", "fraudulent"),
        ("pm_card_createDisputeProductNotReceived", "product_not_received"),
    ],
)
async def test_a_test_card_disputes_its_payment(stand: Stand, card: str, reason: str) -> None:
    """The money is withdrawn, with a fee, and cannot be refunded any more."""
    paid = await stand.paid(5000, card=card)
    (event,) = await stand.receiver.until(1, "charge.dispute.funds_withdrawn", of=paid.id)
    assert await stand.receiver.until(1, "charge.dispute.created", of=paid.id)

    dispute = await stand.stripe.v1.disputes.retrieve_async(event["data"]["object"]["id"])
    assert (dispute.status, dispute.reason, dispute.amount) == ("needs_response", reason, 5000)
    assert (dispute.payment_intent, dispute.charge) == (paid.id, paid.latest_charge)
    assert [booked.net for booked in dispute.balance_transactions] == [-6500]
    charge = await stand.stripe.v1.charges.retrieve_async(str(dispute.charge))
    assert charge.disputed
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await stand.stripe.v1.refunds.create_async({"payment_intent": paid.id})
    assert refused.value.code == "charge_disputed"


async def test_an_inquiry_takes_no_money(stand: Stand) -> None:
    """A refund is still possible."""
    paid = await stand.paid(5000, card="pm_card_createDisputeInquiry")
    (event,) = await stand.receiver.until(1, "charge.dispute.created", of=paid.id)
    assert event["data"]["object"]["status"] == "warning_needs_response"
    refund = await stand.stripe.v1.refunds.create_async({"payment_intent": paid.id})
    assert refund.status == "succeeded"
    closed = await stand.control("POST", f"/disputes/{event['data']['object']['id']}/lost")
    assert closed["status"] == "warning_closed"
    assert stand.receiver.accepted("charge.dispute.funds_withdrawn") == []


async def opened(stand: Stand) -> str:
    """Open a dispute by a control request; returns its id."""
    paid = await stand.paid(5000)
    dispute = await stand.control("POST", f"/payment_intents/{paid.id}/dispute", {"reason": "duplicate"})
    assert dispute["reason"] == "duplicate"
    return str(dispute["id"])


@pytest.mark.parametrize(
    ("evidence", "status", "net"), [("winning_evidence", "won", 0), ("losing_evidence", "lost", -6500)]
)
async def test_evidence_decides_a_dispute(stand: Stand, evidence: str, status: str, net: int) -> None:
    """Stripe's documented test words decide; a won dispute brings the money and the fee back."""
    dispute_id = await opened(stand)
    decided = await stand.stripe.v1.disputes.update_async(
        dispute_id, {"evidence": {"uncategorized_text": evidence}}
    )
    assert decided.status == status
    assert sum(booked.net for booked in decided.balance_transactions) == net
    assert await stand.receiver.until(1, "charge.dispute.updated", of=dispute_id)
    (closed,) = await stand.receiver.until(1, "charge.dispute.closed", of=dispute_id)
    assert closed["data"]["object"]["status"] == status
    with pytest.raises(stripe.InvalidRequestError, match="already closed"):
        await stand.stripe.v1.disputes.close_async(dispute_id)


async def test_evidence_may_wait_to_be_submitted(stand: Stand) -> None:
    """Other evidence is under review until a control request decides."""
    dispute_id = await opened(stand)
    kept = await stand.stripe.v1.disputes.update_async(
        dispute_id, {"evidence": {"product_description": "Seats"}, "submit": False}
    )
    assert (kept.status, kept.evidence.product_description) == ("needs_response", "Seats")
    sent = await stand.stripe.v1.disputes.update_async(dispute_id, {"evidence": {"receipt": "file_1"}})
    assert (sent.status, sent.evidence_details.submission_count) == ("under_review", 1)
    assert (await stand.control("POST", f"/disputes/{dispute_id}/won"))["status"] == "won"
    assert await stand.receiver.until(1, "charge.dispute.funds_reinstated", of=dispute_id)


async def test_closing_a_dispute_loses_it(stand: Stand) -> None:
    """By a call of Stripe's API; the list shows the lost dispute."""
    dispute_id = await opened(stand)
    closed = await stand.stripe.v1.disputes.close_async(dispute_id)
    listed = await stand.stripe.v1.disputes.list_async({"charge": str(closed.charge)})
    assert (closed.status, [each.id for each in listed.data]) == ("lost", [dispute_id])


async def test_a_charge_may_have_several_disputes(stand: Stand) -> None:
    """Of parts at the same time, or one after the other: each by itself."""
    paid = await stand.paid(5000)
    path = f"/payment_intents/{paid.id}/dispute"
    first, second = await stand.control("POST", path, {"amount": 2000}), await stand.control("POST", path)
    assert (first["amount"], second["amount"]) == (2000, 3000)
    await stand.control("POST", f"/disputes/{first['id']}/lost")
    await stand.control("POST", f"/disputes/{second['id']}/won")
    third = await stand.control("POST", path)
    listed = (await stand.stripe.v1.disputes.list_async({"payment_intent": paid.id})).data
    assert [(each.id, each.status) for each in listed] == [
        (third["id"], "needs_response"),
        (second["id"], "won"),
        (first["id"], "lost"),
    ]


async def test_only_captured_money_can_be_disputed_and_only_once(stand: Stand) -> None:
    """An unpaid intent has nothing to dispute."""
    unpaid, paid = await stand.intent(), await stand.paid()
    assert (await stand.try_control("POST", f"/payment_intents/{unpaid.id}/dispute")).status == 400
    await stand.control("POST", f"/payment_intents/{paid.id}/dispute")
    again = await stand.try_control("POST", f"/payment_intents/{paid.id}/dispute")
    assert (again.status, again.error["code"]) == (400, "charge_disputed")
    odd = await stand.try_control("POST", f"/payment_intents/{paid.id}/dispute", json={"reason": "mood"})
    assert (odd.status, odd.error["param"]) == (400, "reason")
