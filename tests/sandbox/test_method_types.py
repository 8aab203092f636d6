"""The payment methods of an intent, as the pinned API version defines them."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import stripe
from stripe.params import PaymentIntentCreateParams

from sandbox.method_types import ALLOWABLE, ALLOWED, EXCLUDABLE, EXCLUDED, PARAMETERS
from tests.sandbox.stand import PUBLISHABLE_KEY, RETURN_URL, Stand

INTENTS = "/v1/payment_intents"
HINTS = PaymentIntentCreateParams.__annotations__


def named(parameter: str) -> set[str]:
    """The types that the SDK's own parameter names, as literals in its annotation."""
    (hint,) = get_args(HINTS[parameter])
    (element,) = get_args(hint)
    return set(get_args(get_args(element)[0]))


def test_the_types_are_those_of_the_sdk() -> None:
    """A parameter that the SDK no longer has is refused by the sandbox."""
    assert set(ALLOWABLE) == named(ALLOWED)
    assert set(EXCLUDABLE) == named(EXCLUDED)
    assert [parameter for parameter in PARAMETERS if parameter not in HINTS] == ["payment_method_types"]


@pytest.mark.parametrize("params", [{ALLOWED: ["card", "klarna"]}, {EXCLUDED: ["sepa_debit"]}])
async def test_a_method_that_is_not_offered_is_refused(stand: Stand, params: dict[str, Any]) -> None:
    """Also with the secret key; another method can pay the intent."""
    intent = await stand.intent(2000, "eur", **params)
    intents = stand.stripe.v1.payment_intents
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await intents.confirm_async(
            intent.id, params={"payment_method": "pm_sepaDebit_success", "return_url": RETURN_URL}
        )
    assert refused.value.code == "payment_intent_incompatible_payment_method"

    paid = await intents.confirm_async(
        intent.id, params={"payment_method": "pm_card_visa", "return_url": RETURN_URL}
    )
    assert paid.status == "succeeded"


@pytest.mark.parametrize("parameter", [*PARAMETERS, "automatic_payment_methods"])
async def test_a_browser_cannot_choose_the_method_types(stand: Stand, parameter: str) -> None:
    """The sandbox refuses these parameters from a browser."""
    intent = await stand.intent(2000, "eur", **{ALLOWED: ["card"]})
    form = {
        "client_secret": intent.client_secret or "",
        "payment_method": "pm_sepaDebit_success",
        f"{parameter}[0]": "sepa_debit",
    }
    refused = await stand.call("POST", f"{INTENTS}/{intent.id}/confirm", form, key=PUBLISHABLE_KEY)
    assert (refused.status, refused.error["code"]) == (400, "parameter_unknown")


async def test_the_offered_method_types_can_be_changed(stand: Stand) -> None:
    """By an update; one way of choosing replaces the other."""
    intent = await stand.intent(2000, "eur", **{ALLOWED: ["card"]})
    intents = stand.stripe.v1.payment_intents
    wider = await intents.update_async(intent.id, params={"allowed_payment_method_types": ["card", "sepa_debit"]})
    assert (wider.payment_method_types, wider.automatic_payment_methods) == (["card", "sepa_debit"], None)
    narrower = await intents.update_async(intent.id, params={"excluded_payment_method_types": ["card"]})
    assert (narrower.payment_method_types, narrower.allowed_payment_method_types) == (["sepa_debit"], None)
