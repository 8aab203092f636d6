"""Which of Stripe's payment methods a customer can use, as parameters of the request for an intent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from common.contracts.statuses import PaymentMethods

# The methods for which Stripe reports at once whether the payment succeeded: the page of each says "immediate
# notification" (https://docs.stripe.com/payments/payment-methods#payment-notification). Methods not in this list
# (bank debits, bank transfers, vouchers, and those that Stripe adds later) may be `processing` for days.
# Stripe's SDK for Android marks the same methods, as far as it has them, as not settled later (2026-11).
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
    """The parameters that set which methods an intent accepts. A customer cannot change them: the browser has only
    the publishable key, and Stripe refuses a method that the intent does not accept.

    Stripe drops the methods that the account, the currency or the amount does not allow, and refuses the list
    together with another parameter of this kind: https://docs.stripe.com/api/payment_intents/create,
    https://docs.stripe.com/changelog/dahlia/2026-07-29/allowed-payment-method-types-parameter.
    """
    if methods is PaymentMethods.INSTANT:
        return {"allowed_payment_method_types": INSTANT}
    return {"automatic_payment_methods": {"enabled": True}}
