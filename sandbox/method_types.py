"""Which payment methods an intent accepts: the parameters that choose them, and those of them that exist here.

https://docs.stripe.com/api/payment_intents/create. Since 2026-09-30.endive `payment_method_types` is read-only:
https://docs.stripe.com/changelog/endive/2026-09-30/removes-the-payment-method-types-parameter-from-payment-intents-and-setup-intents
"""

from typing import Any

from sandbox.errors import ParameterError
from sandbox.objects import Object
from sandbox.params import Raw
from sandbox.schema import Reader, array, one_of
from sandbox.test_numbers import KINDS_OF_CURRENCY

ALLOWABLE = (
    "acss_debit", "affirm", "afterpay_clearpay", "alipay", "alma", "amazon_pay", "au_becs_debit", "bacs_debit",
    "bancontact", "billie", "bizum", "blik", "boku_promptpay", "boleto", "capchase_pay", "card", "card_present",
    "cashapp", "check_scan", "click_to_pay", "crypto", "customer_balance", "demo_pay", "duitnow",
    "dummy_auth_push", "dummy_passthrough_card", "edenred", "eps", "fpx", "gcash", "getbalance", "gift_card",
    "giropay", "gopay", "grabpay", "id_bank_transfer", "ideal", "interac_present", "kakao_pay", "klarna",
    "knet", "konbini", "kr_card", "kr_market", "kriya", "link", "mb_way", "mobilepay", "momo", "mondu",
    "multibanco", "naver_pay", "netbanking", "ng_bank", "ng_bank_transfer", "ng_card", "ng_market", "ng_ussd",
    "ng_wallet", "nz_bank_account", "octopus", "oxxo", "p24", "paper_check", "pay_by_bank", "payco", "paynow",
    "paypal", "paypay", "payto", "pix", "promptpay", "qris", "rechnung", "revolut_pay", "samsung_pay",
    "satispay", "scalapay", "sepa_debit", "sequra", "shop_pay", "shopeepay", "sofort", "south_korea_market",
    "stripe_balance", "sunbit", "swish", "tamara", "test_pay", "touch_n_go", "truemoney", "twint", "upi",
    "us_bank_account", "us_cash_voucher", "vipps", "wechat_pay", "wero", "zip",
)  # fmt: skip
"""The types that `allowed_payment_method_types` may name; the sandbox models three of them."""

EXCLUDABLE = (
    "acss_debit", "affirm", "afterpay_clearpay", "alipay", "alma", "amazon_pay", "au_becs_debit", "bacs_debit",
    "bancontact", "billie", "bizum", "blik", "boleto", "card", "cashapp", "crypto", "customer_balance", "eps",
    "fpx", "giropay", "grabpay", "ideal", "kakao_pay", "klarna", "konbini", "kr_card", "mb_way", "mobilepay",
    "multibanco", "naver_pay", "nz_bank_account", "oxxo", "p24", "pay_by_bank", "payco", "paynow", "paypal",
    "paypay", "payto", "pix", "promptpay", "revolut_pay", "samsung_pay", "satispay", "scalapay", "sepa_debit",
    "sequra", "sofort", "sunbit", "swish", "twint", "upi", "us_bank_account", "wechat_pay", "zip",
)  # fmt: skip
"""The types that `excluded_payment_method_types` may name."""

ALLOWED, EXCLUDED = "allowed_payment_method_types", "excluded_payment_method_types"
AUTOMATIC, WRITTEN = "automatic_payment_methods", "payment_method_types"


def _no_longer(raw: Raw, path: str) -> None:
    """Raises ParameterError: the parameter is no longer supported."""
    message = (
        "The parameter payment_method_types is no longer supported on this API version. Use dynamic payment "
        "methods, allowed_payment_method_types or excluded_payment_method_types instead."
    )
    raise ParameterError(message, path, "payment_method_types_no_longer_supported")


PARAMETERS: dict[str, Reader] = {
    ALLOWED: array(one_of(*ALLOWABLE), longest=len(ALLOWABLE)),
    EXCLUDED: array(one_of(*EXCLUDABLE), longest=len(EXCLUDABLE)),
    WRITTEN: _no_longer,
}
"""Only with the secret key: a customer does not choose which methods the intent accepts."""


def choose(intent: Object, params: dict[str, Any]) -> None:
    """Set the methods that the intent accepts, from the parameters. Without parameters they stay as they were; a
    new intent accepts all methods of its currency.

    Raises:
        ParameterError: two parameters exclude each other, or no method is left.
    """
    _check_alone(params)
    if ALLOWED in params:
        intent |= {ALLOWED: params[ALLOWED], EXCLUDED: None, AUTOMATIC: None}
    if AUTOMATIC in params:
        redirects = params[AUTOMATIC].get("allow_redirects", "always")
        intent |= {AUTOMATIC: {"allow_redirects": redirects, "enabled": params[AUTOMATIC]["enabled"]}}
    elif intent[ALLOWED] is None and intent[AUTOMATIC] is None:
        intent |= {AUTOMATIC: {"allow_redirects": "always", "enabled": True}}
    if EXCLUDED in params:
        intent |= {EXCLUDED: params[EXCLUDED], ALLOWED: None}
    intent["payment_method_types"] = _left(intent)


def _check_alone(params: dict[str, Any]) -> None:
    for other in (EXCLUDED, AUTOMATIC):
        if ALLOWED in params and other in params:
            message = f"You may only specify one of these parameters: {ALLOWED}, {other}."
            raise ParameterError(message, ALLOWED)


def _left(intent: Object) -> list[str]:
    automatic = intent[AUTOMATIC]
    if automatic is not None and not automatic["enabled"]:
        return ["card"]
    offered = KINDS_OF_CURRENCY.get(intent["currency"], ["card"])
    allowed, excluded = intent[ALLOWED], intent[EXCLUDED] or ()
    left = [kind for kind in offered if kind not in excluded and (allowed is None or kind in allowed)]
    if not left:
        message = "No valid payment method types for this Payment Intent."
        raise ParameterError(message, ALLOWED if allowed is not None else EXCLUDED)
    return left
