"""Payment intents through the official SDK, from their creation to their end."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.sandbox.stand import NEXT_YEAR, RETURN_URL, Stand


async def test_a_new_intent_waits_for_a_payment_method(stand: Stand) -> None:
    """It has all that it was made with, and reads the same later."""
    made = await stand.intent(1999, "eur", description="Two seats", metadata={"booking_id": "b-1"})
    read = await stand.stripe.v1.payment_intents.retrieve_async(made.id)

    assert (made.status, made.amount, made.currency) == ("requires_payment_method", 1999, "eur")
    assert (made.description, made.metadata.to_dict()) == ("Two seats", {"booking_id": "b-1"})
    assert made.client_secret is not None
    assert made.client_secret.startswith(f"{made.id}_secret_")
    assert read.to_dict() == made.to_dict()


@pytest.mark.parametrize(
    ("currency", "params", "kinds"),
    [
        ("usd", {}, ["card", "us_bank_account"]),
        ("eur", {"automatic_payment_methods": {"enabled": True}}, ["card", "sepa_debit"]),
        ("gbp", {}, ["card"]),
        ("usd", {"allowed_payment_method_types": ["card", "ideal", "link"]}, ["card"]),
        (
            "eur",
            {"allowed_payment_method_types": ["sepa_debit", "card", "us_bank_account"]},
            ["card", "sepa_debit"],
        ),
        ("usd", {"excluded_payment_method_types": ["us_bank_account", "boleto"]}, ["card"]),
        (
            "usd",
            {"excluded_payment_method_types": ["card"], "automatic_payment_methods": {"enabled": True}},
            ["us_bank_account"],
        ),
    ],
)
async def test_an_intent_offers_the_methods_of_its_currency(
    stand: Stand, currency: str, params: dict[str, Any], kinds: list[str]
) -> None:
    """Unless the request names or excludes methods."""
    assert (await stand.intent(2000, currency, **params)).payment_method_types == kinds


async def test_a_good_card_pays_the_intent(stand: Stand) -> None:
    """With the charge, its fee in the balance, and the events in order."""
    paid = await stand.paid(5000, metadata={"booking_id": "b-1"})
    assert isinstance(paid.latest_charge, str)
    charge = await stand.stripe.v1.charges.retrieve_async(paid.latest_charge, {"expand": ["balance_transaction"]})

    assert (paid.status, paid.amount_received, paid.next_action) == ("succeeded", 5000, None)
    assert (charge.status, charge.paid, charge.captured, charge.amount_captured) == ("succeeded", True, True, 5000)
    assert (charge.payment_intent, charge.metadata.to_dict()) == (paid.id, {"booking_id": "b-1"})
    booked = charge.balance_transaction
    assert isinstance(booked, stripe.BalanceTransaction)
    assert (booked.amount, booked.fee, booked.net, booked.source) == (5000, 175, 4825, charge.id)
    events = await stand.stripe.v1.events.list_async()
    assert [event.type for event in reversed(events.data)] == [
        "payment_intent.created",
        "charge.succeeded",
        "charge.updated",
        "payment_intent.succeeded",
    ]


async def test_an_intent_can_be_confirmed_while_it_is_made(stand: Stand) -> None:
    """In one call."""
    paid = await stand.intent(confirm=True, payment_method="pm_card_visa", return_url=RETURN_URL)
    assert paid.status == "succeeded"


async def test_a_paid_intent_cannot_be_confirmed_again(stand: Stand) -> None:
    """The error shows the intent as it is."""
    paid = await stand.paid()
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await stand.confirm(paid.id)

    assert (refused.value.http_status, refused.value.code) == (400, "payment_intent_unexpected_state")
    assert refused.value.error is not None
    assert refused.value.error.payment_intent is not None
    assert refused.value.error.payment_intent.status == "succeeded"


async def test_an_intent_without_a_method_cannot_be_confirmed(stand: Stand) -> None:
    """The intent does not change."""
    made = await stand.intent()
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await stand.stripe.v1.payment_intents.confirm_async(made.id, {"return_url": RETURN_URL})

    assert refused.value.code == "payment_intent_unexpected_state"
    assert (await stand.stripe.v1.payment_intents.retrieve_async(made.id)).status == "requires_payment_method"


async def test_methods_that_may_redirect_need_a_return_url(stand: Stand) -> None:
    """Unless redirects are switched off, or Stripe.js follows them."""
    made = await stand.intent()
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await stand.stripe.v1.payment_intents.confirm_async(made.id, {"payment_method": "pm_card_visa"})
    assert refused.value.param == "return_url"

    never = await stand.intent(automatic_payment_methods={"enabled": True, "allow_redirects": "never"})
    paid = await stand.stripe.v1.payment_intents.confirm_async(never.id, {"payment_method": "pm_card_visa"})
    assert paid.status == "succeeded"


async def test_a_method_whose_type_the_intent_does_not_offer_is_refused(stand: Stand) -> None:
    """A bank account in dollars cannot pay euros."""
    made = await stand.intent(2000, "eur")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await stand.confirm(made.id, "pm_usBankAccount_success")
    assert refused.value.code == "payment_intent_incompatible_payment_method"


async def test_an_intent_can_be_changed_until_it_is_paid(stand: Stand) -> None:
    """Metadata is merged; the amount is fixed once the intent is paid."""
    made = await stand.intent(metadata={"a": "1", "b": "2"})
    changed = await stand.stripe.v1.payment_intents.update_async(
        made.id, {"amount": 3000, "metadata": {"b": "", "c": "3"}}
    )
    assert (changed.amount, changed.metadata.to_dict()) == (3000, {"a": "1", "c": "3"})

    await stand.confirm(made.id)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await stand.stripe.v1.payment_intents.update_async(made.id, {"amount": 4000})
    assert refused.value.code == "payment_intent_unexpected_state"


@pytest.mark.parametrize("reason", ["abandoned", None])
async def test_an_unpaid_intent_can_be_cancelled(stand: Stand, reason: Any) -> None:
    """After that it can neither be paid nor cancelled again."""
    made = await stand.intent()
    params = {"cancellation_reason": reason} if reason else {}
    canceled = await stand.stripe.v1.payment_intents.cancel_async(made.id, params)  # type: ignore[arg-type]

    assert (canceled.status, canceled.cancellation_reason) == ("canceled", reason)
    assert canceled.canceled_at is not None
    for again in (stand.stripe.v1.payment_intents.cancel_async(made.id), stand.confirm(made.id)):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await again
        assert refused.value.code == "payment_intent_unexpected_state"
    assert len(await stand.receiver.until(1, "payment_intent.canceled", of=made.id)) == 1


async def test_a_paid_intent_cannot_be_cancelled(stand: Stand) -> None:
    """Its money has to be refunded."""
    paid = await stand.paid()
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await stand.stripe.v1.payment_intents.cancel_async(paid.id)
    assert refused.value.code == "payment_intent_unexpected_state"


async def test_authorised_money_can_be_captured_in_part(stand: Stand) -> None:
    """The rest is released, which is no refund; a second capture is refused; what was captured can be refunded."""
    held = await stand.paid(5000, capture_method="manual")
    assert (held.status, held.amount_capturable, held.amount_received) == ("requires_capture", 5000, 0)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        await stand.stripe.v1.payment_intents.capture_async(held.id, {"amount_to_capture": 5001})
    assert refused.value.param == "amount_to_capture"
    captured = await stand.stripe.v1.payment_intents.capture_async(
        held.id, {"amount_to_capture": 3000, "expand": ["latest_charge"]}
    )
    charge = captured.latest_charge
    assert isinstance(charge, stripe.Charge)
    assert (captured.status, captured.amount_received, captured.amount_capturable) == ("succeeded", 3000, 0)
    assert (charge.amount_captured, charge.amount_refunded, charge.refunded) == (3000, 0, False)
    with pytest.raises(stripe.InvalidRequestError):
        await stand.stripe.v1.payment_intents.capture_async(held.id)
    await stand.stripe.v1.refunds.create_async({"payment_intent": held.id})
    (refunded,) = await stand.receiver.until(1, "charge.refunded", of=charge.id)
    assert (refunded["data"]["object"]["amount_refunded"], refunded["data"]["object"]["refunded"]) == (3000, True)


async def test_a_capture_by_hand_can_report_the_rest_as_a_refund(stand: Stand) -> None:
    """It sends `charge.refunded`, though there is no refund."""
    held = await stand.paid(5000, capture_method="manual")
    wanted = {"amount": 3000, "rest_as_refund": True}
    captured = await stand.control("POST", f"/payment_intents/{held.id}/capture", wanted)
    (refunded,) = await stand.receiver.until(1, "charge.refunded", of=str(captured["latest_charge"]))
    assert (captured["amount_received"], refunded["data"]["object"]["amount_refunded"]) == (3000, 2000)
    assert (await stand.stripe.v1.refunds.list_async({"payment_intent": held.id})).data == []


async def test_a_cancelled_intent_releases_its_authorised_money(stand: Stand) -> None:
    """Nothing was captured."""
    held = await stand.paid(5000, capture_method="manual")
    canceled = await stand.stripe.v1.payment_intents.cancel_async(held.id, {"expand": ["latest_charge"]})
    charge = canceled.latest_charge
    assert isinstance(charge, stripe.Charge)
    assert (canceled.status, canceled.amount_received) == ("canceled", 0)
    assert (charge.captured, charge.refunded, charge.amount_captured, charge.amount_refunded) == (
        False,
        False,
        0,
        0,
    )


@pytest.mark.parametrize(
    ("account", "currency", "status", "code"),
    [
        ("pm_usBankAccount_success", "usd", "succeeded", None),
        ("pm_usBankAccount_accountClosed", "usd", "requires_payment_method", "account_closed"),
        ("pm_usBankAccount_noAccount", "usd", "requires_payment_method", "no_account"),
        ("pm_usBankAccount_insufficientFunds", "usd", "requires_payment_method", "insufficient_funds"),
        ("pm_usBankAccount_debitNotAuthorized", "usd", "requires_payment_method", "debit_not_authorized"),
        ("pm_sepaDebit_success", "eur", "succeeded", None),
        ("pm_sepaDebit_failed", "eur", "requires_payment_method", "generic_could_not_process"),
    ],
)
async def test_a_bank_debit_settles_later(
    stand: Stand, account: str, currency: str, status: str, code: str | None
) -> None:
    """It is processing first, and a webhook brings its result."""
    made = await stand.intent(2000, currency)
    assert (await stand.confirm(made.id, account)).status == "processing"
    end = "payment_intent.succeeded" if code is None else "payment_intent.payment_failed"
    (event,) = await stand.receiver.until(1, end, of=made.id)

    ended = await stand.stripe.v1.payment_intents.retrieve_async(made.id)
    error = ended.last_payment_error
    assert (ended.status, error.code if error else None) == (status, code)
    assert event["data"]["object"]["status"] == status


async def test_a_processing_payment_waits_for_a_control_request(manual: Stand) -> None:
    """A control request lets it succeed or fail, once."""
    first, second = await manual.intent(), await manual.intent()
    for made in (first, second):
        assert (await manual.confirm(made.id, "pm_usBankAccount_processing")).status == "processing"
    succeeded = await manual.control("POST", f"/payment_intents/{first.id}/succeed")
    failed = await manual.control("POST", f"/payment_intents/{second.id}/fail")

    assert (succeeded["status"], succeeded["amount_received"]) == ("succeeded", 2000)
    assert (failed["status"], failed["last_payment_error"]["code"]) == ("requires_payment_method", "account_closed")
    again = await manual.try_control("POST", f"/payment_intents/{first.id}/fail")
    assert (again.status, again.error["code"]) == (400, "payment_intent_unexpected_state")


@pytest.mark.parametrize("number", ["4242424242424242", "4242 4242 4242 4242"])
async def test_a_payment_method_can_be_made_from_a_card_number(stand: Stand, number: str) -> None:
    """As `payment_method_data`, or as a payment method made before."""
    card = {"type": "card", "card": {"number": number, "exp_month": 12, "exp_year": int(NEXT_YEAR), "cvc": "123"}}
    method = await stand.stripe.v1.payment_methods.create_async(card)  # type: ignore[arg-type]
    paid = await stand.paid(card=method.id)
    assert (paid.status, paid.payment_method) == ("succeeded", method.id)

    made = await stand.intent()
    paid = await stand.stripe.v1.payment_intents.confirm_async(
        made.id,
        {"payment_method_data": card, "return_url": RETURN_URL},  # type: ignore[arg-type]
    )
    assert paid.status == "succeeded"
