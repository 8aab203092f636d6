"""Which of Stripe's payment methods a customer is offered, as parameters of the request for an intent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from common.contracts.statuses import PaymentMethods

# The methods of which Stripe tells at once whether they have succeeded: the page of each says "immediate
# notification", as https://docs.stripe.com/payments/payment-methods#payment-notification means it. What is not in
# this list (bank debits, bank transfers, vouchers, and what Stripe adds later) may be `processing` for days.
# Stripe's own SDK for Android marks the same ones, as far as it knows them, as not settled later (2026-11).
# `card` includes Apple Pay and Google Pay.
INSTANT: Final = (
    "affirm",
    "afterpay_clearpay",
    "alipay",
    "amazon_pay",
    "bancontact",
    "blik",
    "card",
    "cashapp",
    "eps",
    "fpx",
    "grabpay",
    "ideal",
    "klarna",
    "link",
    "mobilepay",
    "paynow",
    "paypal",
    "promptpay",
    "revolut_pay",
    "satispay",
    "swish",
    "twint",
    "wechat_pay",
)


def offered(methods: PaymentMethods) -> Mapping[str, Any]:
    """The parameters that say which methods an intent takes. A customer cannot change them: whoever pays has the
    publishable key alone, and Stripe refuses a method that its intent does not take.

    Stripe drops what the account, the currency or the amount does not allow from the list, and takes it together
    with no other parameter of this kind: https://docs.stripe.com/api/payment_intents/create,
    https://docs.stripe.com/changelog/dahlia/2026-07-29/allowed-payment-method-types-parameter.
    """
    if methods is PaymentMethods.INSTANT:
        return {"allowed_payment_method_types": INSTANT}
    return {"automatic_payment_methods": {"enabled": True}}
