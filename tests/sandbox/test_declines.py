"""Cards that are declined by each of the documented test payment methods, and by the customer's bank."""

from __future__ import annotations

import pytest
import stripe

from tests.sandbox.stand import NEXT_YEAR, RETURN_URL, Stand

DECLINES = [
    ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
    ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
    ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
    ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
    ("pm_card_visa_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
    ("pm_card_visa_chargeDeclinedVelocityLimitExceeded", "card_declined", "card_velocity_exceeded"),
    ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
    ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", None),
    ("pm_card_chargeDeclinedProcessingError", "processing_error", None),
    ("pm_card_chargeCustomerFail", "card_declined", "generic_decline"),
    ("pm_card_radarBlock", "card_declined", "fraudulent"),
]


@pytest.mark.parametrize(("card", "code", "decline_code"), DECLINES)
async def test_an_intent_can_be_confirmed_again_after_a_decline(
    stand: Stand, card: str, code: str, decline_code: str | None
) -> None:
    """402, and the failed charge is kept; another card then pays."""
    made = await stand.intent()
    with pytest.raises(stripe.CardError) as declined:
        await stand.confirm(made.id, card)

    error = declined.value.error
    assert error is not None
    assert (declined.value.http_status, declined.value.code) == (402, code)
    assert error.decline_code == (decline_code or code)
    after = await stand.stripe.v1.payment_intents.retrieve_async(made.id, {"expand": ["latest_charge"]})
    assert after.last_payment_error is not None
    assert (after.status, after.last_payment_error.code) == ("requires_payment_method", code)
    assert isinstance(after.latest_charge, stripe.Charge)
    assert (after.latest_charge.status, after.latest_charge.paid) == ("failed", False)
    assert error.charge == after.latest_charge.id
    (event,) = await stand.receiver.until(1, "payment_intent.payment_failed", of=made.id)
    assert event["data"]["object"]["last_payment_error"]["code"] == code

    paid = await stand.confirm(made.id)
    assert (paid.status, paid.last_payment_error) == ("succeeded", None)
    charges = await stand.stripe.v1.charges.list_async({"payment_intent": made.id})
    assert [charge.status for charge in charges.data] == ["succeeded", "failed"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"number": "4242424242424241"}, "incorrect_number"),
        ({"exp_month": "13"}, "invalid_expiry_month"),
        ({"exp_year": "1999"}, "invalid_expiry_year"),
        ({"cvc": "12"}, "invalid_cvc"),
        ({"number": "4111111111111111"}, "card_declined"),
    ],
)
async def test_an_invalid_card_is_refused(stand: Stand, change: dict[str, str], code: str) -> None:
    """It is refused before any attempt; a real card is declined in test mode."""
    card = {"number": "4242424242424242", "exp_month": "12", "exp_year": NEXT_YEAR, "cvc": "123"} | change
    form = {"type": "card", **{f"card[{name}]": value for name, value in card.items()}}
    refused = await stand.refused("POST", "/v1/payment_methods", form)
    assert (refused.status, refused.error["type"], refused.error["code"]) == (402, "card_error", code)


async def challenged(stand: Stand, card: str) -> tuple[str, str]:
    """Confirm an intent whose card asks for 3D Secure; returns its id, and the address of the challenge."""
    made = await stand.confirm((await stand.intent()).id, card)
    assert made.status == "requires_action"
    assert made.next_action is not None
    assert made.next_action.redirect_to_url is not None
    assert made.next_action.redirect_to_url.url is not None
    assert made.next_action.redirect_to_url.return_url == RETURN_URL
    return made.id, made.next_action.redirect_to_url.url.removeprefix(stand.url)


@pytest.mark.parametrize(
    "card",
    ["pm_card_authenticationRequired", "pm_card_threeDSecure2Required", "pm_card_threeDSecureRequired"],
)
async def test_a_passed_challenge_pays(stand: Stand, card: str) -> None:
    """The challenge is then over."""
    intent_id, challenge = await challenged(stand, card)
    passed = await stand.send("POST", challenge, data={"outcome": "passed"})
    assert (passed.status, passed.body["status"], passed.body["next_action"]) == (200, "succeeded", None)
    assert await stand.receiver.until(1, "payment_intent.requires_action", of=intent_id)
    assert await stand.receiver.until(1, "payment_intent.succeeded", of=intent_id)

    again = await stand.send("POST", challenge, data={"outcome": "failed"})
    assert (again.status, again.error["code"]) == (400, "payment_intent_unexpected_state")


async def test_a_failed_challenge_requires_another_payment_method(stand: Stand) -> None:
    """The intent shows why."""
    intent_id, challenge = await challenged(stand, "pm_card_authenticationRequired")
    failed = await stand.send("POST", challenge, data={"outcome": "failed"})
    assert (failed.status, failed.body["status"]) == (200, "requires_payment_method")
    assert failed.body["last_payment_error"]["code"] == "payment_intent_authentication_failure"
    assert await stand.receiver.until(1, "payment_intent.payment_failed", of=intent_id)


async def test_a_passed_challenge_can_still_be_declined(stand: Stand) -> None:
    """By the issuer."""
    _, challenge = await challenged(stand, "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds")
    declined = await stand.send("POST", challenge, data={"outcome": "passed"})
    assert (declined.status, declined.error["decline_code"]) == (402, "insufficient_funds")


async def test_without_the_customer_a_challenge_is_a_decline(stand: Stand) -> None:
    """No customer is there to pass it."""
    with pytest.raises(stripe.CardError) as declined:
        await stand.intent(
            confirm=True,
            off_session=True,
            payment_method="pm_card_authenticationRequired",
            allowed_payment_method_types=["card"],
        )
    assert declined.value.code == "authentication_required"


@pytest.mark.parametrize(("outcome", "status"), [("passed", "succeeded"), ("failed", "failed")])
async def test_a_browser_gets_the_challenge_page_and_is_redirected_back(
    stand: Stand, outcome: str, status: str
) -> None:
    """To the shop's page, with the parameters that Stripe adds to its address."""
    html = {"Accept": "text/html"}
    intent_id, challenge = await challenged(stand, "pm_card_threeDSecure2Required")
    page = await stand.send("GET", challenge, headers=html)
    assert page.status == 200
    assert "$20.00 USD" in page.body
    back = await stand.send("POST", challenge, headers=html, data={"outcome": outcome})

    assert back.status == 303
    assert back.headers["Location"].startswith(f"{RETURN_URL}?payment_intent={intent_id}&")
    assert back.headers["Location"].endswith(f"redirect_status={status}")


async def test_a_challenge_needs_the_client_secret(stand: Stand) -> None:
    """Without the secret the challenge is not found."""
    _, challenge = await challenged(stand, "pm_card_threeDSecure2Required")
    path = challenge.partition("?")[0]
    for address in (path, f"{path}?client_secret=pi_1_secret_2"):
        assert (await stand.send("POST", address, data={"outcome": "passed"})).status == 404
        assert (await stand.send("GET", address)).status == 404
