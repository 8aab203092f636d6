"""Refunds that succeed at once, later, or fail after they have succeeded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import stripe

from tests.sandbox.stand import Stand

FAILS_LATER, SUCCEEDS_LATER = "pm_card_refundFail", "pm_card_pendingRefund"


async def charge_of(stand: Stand, intent_id: str) -> stripe.Charge:
    intent = await stand.stripe.v1.payment_intents.retrieve_async(intent_id, {"expand": ["latest_charge"]})
    assert isinstance(intent.latest_charge, stripe.Charge)
    return intent.latest_charge


async def refund(stand: Stand, intent_id: str, **params: Any) -> stripe.Refund:
    return await stand.stripe.v1.refunds.create_async({"payment_intent": intent_id, **params})  # type: ignore[arg-type]


async def test_a_refund_without_an_amount_returns_all(stand: Stand) -> None:
    """The charge and the webhooks show it; the intent stays succeeded."""
    paid = await stand.paid(5000)
    made = await refund(stand, paid.id, reason="requested_by_customer", metadata={"refund_id": "r-1"})
    charge = await charge_of(stand, paid.id)

    assert (made.status, made.amount, made.charge, made.payment_intent) == ("succeeded", 5000, charge.id, paid.id)
    assert made.metadata is not None
    assert (made.reason, made.metadata.to_dict()) == ("requested_by_customer", {"refund_id": "r-1"})
    assert (charge.amount_refunded, charge.refunded, charge.status) == (5000, True, "succeeded")
    (created,) = await stand.receiver.until(1, "refund.created", of=made.id)
    assert created["data"]["object"]["status"] == "succeeded"
    (refunded,) = await stand.receiver.until(1, "charge.refunded", of=charge.id)
    assert refunded["data"]["object"]["amount_refunded"] == 5000
    assert refunded["data"]["previous_attributes"] == {"amount_refunded": 0, "refunded": False}
    balance = await stand.stripe.v1.balance.retrieve_async()
    assert balance.pending[0].amount == -175  # Stripe keeps its fee


async def test_partial_refunds_add_up_to_the_charge(stand: Stand) -> None:
    """No more than the whole."""
    paid = await stand.paid(5000)
    await refund(stand, paid.id, amount=2000)
    with pytest.raises(stripe.InvalidRequestError, match=r"\$30.01.*\$30.00") as refused:
        await refund(stand, paid.id, amount=3001)
    assert refused.value.param == "amount"
    assert (await charge_of(stand, paid.id)).amount_refunded == 2000

    rest = await refund(stand, paid.id)
    assert rest.amount == 3000
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await refund(stand, paid.id)
    assert (refused.value.http_status, refused.value.code) == (400, "charge_already_refunded")


async def test_concurrent_refunds_return_no_more_than_was_captured(stand: Stand) -> None:
    """Whichever comes first is made."""
    paid = await stand.paid(5000)
    results = await asyncio.gather(*(refund(stand, paid.id, amount=2000) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(result, stripe.Refund) for result in results) == 2
    assert sum(isinstance(result, stripe.InvalidRequestError) for result in results) == 3
    assert (await charge_of(stand, paid.id)).amount_refunded == 4000


async def test_more_than_the_charge_is_refused(stand: Stand) -> None:
    """Nothing is refunded."""
    paid = await stand.paid(5000)
    with pytest.raises(stripe.InvalidRequestError, match="greater than charge amount"):
        await refund(stand, paid.id, amount=5001)
    assert (await charge_of(stand, paid.id)).amount_refunded == 0


async def test_an_unpaid_intent_cannot_be_refunded(stand: Stand) -> None:
    """Neither an unpaid intent, nor one whose money is only held, nor one that does not exist."""
    unpaid, held = await stand.intent(), await stand.paid(capture_method="manual")
    for intent_id in (unpaid.id, held.id):
        with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
            await refund(stand, intent_id)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await refund(stand, "pi_unknown")
    assert (refused.value.code, refused.value.param) == ("resource_missing", "payment_intent")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await stand.stripe.v1.refunds.create_async({})
    assert refused.value.code == "parameter_missing"


async def test_a_refund_can_name_the_charge(stand: Stand) -> None:
    """But not the charge and the intent together."""
    paid = await stand.paid()
    charge = str(paid.latest_charge)
    with pytest.raises(stripe.InvalidRequestError):
        await refund(stand, paid.id, charge=charge)
    made = await stand.stripe.v1.refunds.create_async({"charge": charge})
    assert made.payment_intent == paid.id


async def test_a_refund_may_succeed_later(stand: Stand) -> None:
    """It is pending first, and the charge already counts it."""
    paid = await stand.paid(5000, card=SUCCEEDS_LATER)
    made = await refund(stand, paid.id, amount=1000)
    assert (made.status, made.balance_transaction) == ("pending", None)
    assert (await charge_of(stand, paid.id)).amount_refunded == 1000

    (updated,) = await stand.receiver.until(1, "refund.updated", of=made.id)
    assert updated["data"]["object"]["status"] == "succeeded"
    assert updated["data"]["previous_attributes"]["status"] == "pending"
    assert await stand.receiver.until(1, "charge.refund.updated", of=made.id)
    after = await stand.stripe.v1.refunds.retrieve_async(made.id)
    assert after.status == "succeeded"
    assert after.balance_transaction is not None


async def test_a_refund_may_fail_after_it_succeeded(stand: Stand) -> None:
    """The charge no longer counts it, and another refund can be made."""
    paid = await stand.paid(5000, card=FAILS_LATER)
    made = await refund(stand, paid.id)
    assert made.status == "succeeded"

    (failed,) = await stand.receiver.until(1, "refund.failed", of=made.id)
    assert failed["data"]["object"]["status"] == "failed"
    assert await stand.receiver.until(1, "refund.updated", of=made.id)
    after = await stand.stripe.v1.refunds.retrieve_async(made.id)
    assert (after.status, after.failure_reason) == ("failed", "expired_or_canceled_card")
    assert after.failure_balance_transaction is not None
    charge = await charge_of(stand, paid.id)
    assert (charge.amount_refunded, charge.refunded) == (0, False)
    assert (await refund(stand, paid.id)).amount == 5000


@pytest.mark.parametrize(("outcome", "status", "left"), [("succeed", "succeeded", 4000), ("fail", "failed", 5000)])
async def test_a_pending_refund_waits_for_a_control_request(
    manual: Stand, outcome: str, status: str, left: int
) -> None:
    """It ends once."""
    paid = await manual.paid(5000, card=SUCCEEDS_LATER)
    made = await refund(manual, paid.id, amount=1000)
    assert (await manual.control("POST", f"/refunds/{made.id}/{outcome}"))["status"] == status

    charge = await charge_of(manual, paid.id)
    assert charge.amount - charge.amount_refunded == left
    again = await manual.try_control("POST", f"/refunds/{made.id}/{outcome}")
    assert again.status == 400


async def test_a_refund_by_hand_is_an_ordinary_refund(stand: Stand) -> None:
    """Of a part, or of what is left."""
    paid = await stand.paid(5000)
    await stand.control("POST", f"/payment_intents/{paid.id}/refund", {"amount": 1500})
    await stand.control("POST", f"/payment_intents/{paid.id}/refund")

    listed = await stand.stripe.v1.refunds.list_async({"payment_intent": paid.id})
    assert [each.amount for each in listed.data] == [3500, 1500]
    (first, _) = await stand.receiver.until(2, "refund.created", of=paid.id)
    assert first["request"]["id"] is None


async def test_a_refunds_metadata_can_be_changed(stand: Stand) -> None:
    """Nothing else of it can change, and it cannot be cancelled."""
    paid = await stand.paid()
    made = await refund(stand, paid.id, metadata={"a": "1"})
    changed = await stand.stripe.v1.refunds.update_async(made.id, {"metadata": {"b": "2"}})
    assert changed.metadata is not None
    assert changed.metadata.to_dict() == {"a": "1", "b": "2"}
    with pytest.raises(stripe.InvalidRequestError, match="requires_action"):
        await stand.stripe.v1.refunds.cancel_async(made.id)


async def test_an_amount_off_the_currencys_step_is_refused(stand: Stand) -> None:
    """In a currency with three decimals an amount ends in 0: 1234 is refused, 1230 is refunded."""
    intent = await stand.intent(5120, "kwd", allowed_payment_method_types=["card"])
    await stand.stripe.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await refund(stand, intent.id, amount=1234)
    await refund(stand, intent.id, amount=1230)
    charge = await charge_of(stand, intent.id)

    assert refused.value.param == "amount"
    assert charge.amount_refunded == 1230


async def test_without_balance_a_refund_is_refused_as_long_as_its_key_is_the_same(stand: Stand) -> None:
    """The first answer to a key is kept, also a refusal; under another key the refund is made."""
    paid = await stand.paid(5000)
    await stand.faults(refund_refused={"count": 1})
    form = {"payment_intent": paid.id, "amount": "2000"}
    for _ in range(2):
        refused = await stand.call("POST", "/v1/refunds", form, Idempotency_Key="first")
        assert (refused.status, refused.error["type"]) == (400, "invalid_request_error")
        assert refused.error["message_code"] == "insufficient_balance_for_refund"
        assert "code" not in refused.error
    assert refused.headers["Idempotent-Replayed"] == "true"
    assert (await charge_of(stand, paid.id)).amount_refunded == 0

    made = await stand.call("POST", "/v1/refunds", form, Idempotency_Key="second")
    assert (made.status, made.body["status"]) == (200, "succeeded")


@pytest.mark.parametrize("reason", ["insufficient_funds", "processing", "charge_pending"])
async def test_a_refund_held_pending_waits_for_a_control_request(stand: Stand, reason: str) -> None:
    """Meanwhile the charge counts it as refunded, and the refund shows why it waits."""
    paid = await stand.paid(5000)
    await stand.faults(refund_pending=1, refund_pending_reason=reason)
    made = await refund(stand, paid.id)
    assert (made.status, made.pending_reason) == ("pending", reason)
    assert (await charge_of(stand, paid.id)).amount_refunded == 5000
    with pytest.raises(stripe.InvalidRequestError, match="already been refunded"):
        await refund(stand, paid.id)

    done = await stand.control("POST", f"/refunds/{made.id}/succeed")
    assert (done["status"], done.get("pending_reason")) == ("succeeded", None)
