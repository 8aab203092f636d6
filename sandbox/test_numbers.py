"""The documented test numbers and their names, and how each behaves.

https://docs.stripe.com/testing and https://docs.stripe.com/payments/ach-direct-debit/accept-a-payment.
A payment method's fingerprint identifies its number, so that a charge alone shows how its refund behaves.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sandbox.objects import Object


@dataclass(frozen=True)
class Behaviour:
    """How payments and refunds with one test number behave."""

    kind: Literal["card", "us_bank_account", "sepa_debit"]
    number: str
    brand: str = "visa"
    funding: str = "credit"
    authenticate: bool = False
    """The payment requires 3D Secure first."""
    decline: str | None = None
    """The issuer's decline code; a bank debit is processing first, and fails later."""
    endless: bool = False
    """The payment stays in processing until `/_sandbox` moves it."""
    dispute: str | None = None
    """The reason of the dispute that follows the payment."""
    inquiry: bool = False
    """The dispute is only an inquiry, which does not move the money."""
    refund: Literal["succeeds", "succeeds_later", "fails_later"] = "succeeds"

    @property
    def fingerprint(self) -> str:
        digest = hashlib.blake2b(f"{self.kind}{self.number}".encode(), digest_size=8)
        return digest.hexdigest()

    @property
    def delayed(self) -> bool:
        """Whether the payment is processing for a time before its result is known."""
        return self.kind != "card"


def _card(number: str, brand: str = "visa", funding: str = "credit", **behaviour: Any) -> Behaviour:
    return Behaviour("card", number, brand, funding, **behaviour)


def _us_bank(number: str, **behaviour: Any) -> Behaviour:
    return Behaviour("us_bank_account", number, **behaviour)


def _sepa(number: str, **behaviour: Any) -> Behaviour:
    return Behaviour("sepa_debit", number, **behaviour)


METHODS: dict[str, Behaviour] = {
    "pm_card_visa": _card("4242424242424242"),
    "pm_card_visa_debit": _card("4000056655665556", funding="debit"),
    "pm_card_mastercard": _card("5555555555554444", "mastercard"),
    "pm_card_mastercard_debit": _card("5200828282828210", "mastercard", "debit"),
    "pm_card_mastercard_prepaid": _card("5105105105105100", "mastercard", "prepaid"),
    "pm_card_amex": _card("378282246310005", "amex"),
    "pm_card_discover": _card("6011111111111117", "discover"),
    "pm_card_diners": _card("3056930009020004", "diners"),
    "pm_card_jcb": _card("3566002020360505", "jcb"),
    "pm_card_unionpay": _card("6200000000000005", "unionpay"),
    "pm_card_bypassPending": _card("4000000000000077"),
    "pm_card_visa_chargeDeclined": _card("4000000000000002", decline="generic_decline"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": _card("4000000000009995", decline="insufficient_funds"),
    "pm_card_visa_chargeDeclinedLostCard": _card("4000000000009987", decline="lost_card"),
    "pm_card_visa_chargeDeclinedStolenCard": _card("4000000000009979", decline="stolen_card"),
    "pm_card_visa_chargeDeclinedVelocityLimitExceeded": _card("4000000000006975", decline="card_velocity_exceeded"),
    "pm_card_chargeDeclinedExpiredCard": _card("4000000000000069", decline="expired_card"),
    "pm_card_chargeDeclinedIncorrectCvc": _card("4000000000000127", decline="incorrect_cvc"),
    "pm_card_chargeDeclinedProcessingError": _card("4000000000000119", decline="processing_error"),
    "pm_card_chargeCustomerFail": _card("4000000000000341", decline="generic_decline"),
    "pm_card_radarBlock": _card("4100000000000019", decline="fraudulent"),
    "pm_card_authenticationRequired": _card("4000002760003184", authenticate=True),
    "pm_card_authenticationRequiredOnSetup": _card("4000002500003155", authenticate=True),
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": _card(
        "4000008260003178", authenticate=True, decline="insufficient_funds"
    ),
    "pm_card_threeDSecure2Required": _card("4000000000003220", authenticate=True),
    "pm_card_threeDSecureRequired": _card("4000000000003063", authenticate=True),
    "pm_card_threeDSecureRequiredChargeDeclined": _card(
        "4000008400001629", authenticate=True, decline="generic_decline"
    ),
    "pm_card_threeDSecureOptional": _card("4000000000003055"),
    "pm_card_createDispute": _card("4000000000000259", dispute="fraudulent"),
    "pm_card_createDisputeProductNotReceived": _card("4000000000002685", dispute="product_not_received"),
    "pm_card_createDisputeInquiry": _card("4000000000001976", dispute="fraudulent", inquiry=True),
    "pm_card_pendingRefund": _card("4000000000007726", refund="succeeds_later"),
    "pm_card_refundFail": _card("4000000000005126", refund="fails_later"),
    "pm_usBankAccount_success": _us_bank("000123456789", refund="succeeds_later"),
    "pm_usBankAccount_accountClosed": _us_bank("000111111113", decline="account_closed"),
    "pm_usBankAccount_noAccount": _us_bank("000111111116", decline="no_account"),
    "pm_usBankAccount_insufficientFunds": _us_bank("000222222227", decline="insufficient_funds"),
    "pm_usBankAccount_debitNotAuthorized": _us_bank("000333333335", decline="debit_not_authorized"),
    "pm_usBankAccount_invalidCurrency": _us_bank("000444444440", decline="invalid_currency"),
    "pm_usBankAccount_dispute": _us_bank("000555555559", dispute="debit_not_authorized"),
    "pm_usBankAccount_processing": _us_bank("000000000009", endless=True),
    "pm_usBankAccount_weeklyLimitExceeded": _us_bank("000777777771", decline="charge_exceeds_weekly_limit"),
    # Stripe documents SEPA test accounts only by their numbers; these names are the sandbox's own.
    "pm_sepaDebit_success": _sepa("AT611904300234573201", refund="succeeds_later"),
    "pm_sepaDebit_failed": _sepa("AT861904300235473202", decline="generic_could_not_process"),
    "pm_sepaDebit_processing": _sepa("AT321904300235473204", endless=True),
    "pm_sepaDebit_dispute": _sepa("AT591904300235473203", dispute="debit_not_authorized"),
}


def _aliases() -> Iterator[tuple[str, Behaviour]]:
    """All names, where the declines have one with and one without `visa`; Stripe has documented both."""
    for name, behaviour in METHODS.items():
        yield name, behaviour
        if name.startswith("pm_card_visa_chargeDeclined"):
            yield name.replace("_visa_", "_"), behaviour
        elif name.startswith("pm_card_chargeDeclined"):
            yield name.replace("pm_card_", "pm_card_visa_"), behaviour


BY_NAME = dict(_aliases())
BY_NUMBER = {behaviour.number: behaviour for behaviour in METHODS.values()}
BY_FINGERPRINT = {behaviour.fingerprint: behaviour for behaviour in METHODS.values()}

KINDS_OF_CURRENCY = {"usd": ["card", "us_bank_account"], "eur": ["card", "sepa_debit"]}
"""What `automatic_payment_methods` offers; for every other currency, only cards."""


def behaviour_of(details: Object) -> Behaviour:
    """The behaviour behind a payment method, or behind a charge's `payment_method_details`."""
    return BY_FINGERPRINT[details[details["type"]]["fingerprint"]]
