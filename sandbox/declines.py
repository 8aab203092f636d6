"""The issuers' decline codes, and the errors that they cause.

https://docs.stripe.com/declines/codes
"""

from typing import NamedTuple

from sandbox.objects import Object


class Decline(NamedTuple):
    """The error code and message of a declined card, and Stripe's advice about a retry."""

    code: str
    message: str
    advice_code: str = "try_again_later"


DECLINED = "Your card was declined."

CARD_DECLINES: dict[str, Decline] = {
    "generic_decline": Decline("card_declined", DECLINED),
    "insufficient_funds": Decline("card_declined", "Your card has insufficient funds."),
    "lost_card": Decline("card_declined", DECLINED, "do_not_try_again"),
    "stolen_card": Decline("card_declined", DECLINED, "do_not_try_again"),
    "fraudulent": Decline("card_declined", DECLINED, "do_not_try_again"),
    "card_velocity_exceeded": Decline(
        "card_declined",
        "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
    ),
    "expired_card": Decline("expired_card", "Your card has expired.", "do_not_try_again"),
    "incorrect_cvc": Decline("incorrect_cvc", "Your card's security code is incorrect.", "confirm_card_data"),
    "processing_error": Decline(
        "processing_error", "An error occurred while processing your card. Try again in a little bit."
    ),
    "authentication_required": Decline(
        "authentication_required", "Your card was declined. This transaction requires authentication."
    ),
}

BANK_FAILURES = {
    "account_closed": "The customer's bank account has been closed.",
    "no_account": "The bank account could not be located.",
    "insufficient_funds": "The customer's account has insufficient funds to cover this payment.",
    "debit_not_authorized": "The customer has notified their bank that this payment was unauthorized.",
    "invalid_currency": "The bank was unable to process this payment because of its currency.",
    "charge_exceeds_weekly_limit": "The payment exceeds the account's weekly payment volume limit.",
    "generic_could_not_process": "This payment could not be processed.",
}

AUTHENTICATION_FAILED = (
    "We are unable to authenticate your payment method. Please choose a different payment method and try again."
)


def card_declined(decline_code: str, charge: Object, method: Object) -> Object:
    """The error of a declined card, for `last_payment_error` and for the answer."""
    decline = CARD_DECLINES[decline_code]
    return _error(decline.code, decline.message, "card_error", method) | {
        "advice_code": decline.advice_code,
        "charge": charge["id"],
        "decline_code": decline_code,
    }


def bank_failed(failure_code: str, charge: Object, method: Object) -> Object:
    """The error of a bank debit that failed."""
    message = BANK_FAILURES[failure_code]
    return _error(failure_code, message, "invalid_request_error", method) | {"charge": charge["id"]}


def authentication_failed(method: Object) -> Object:
    """The error of a 3D Secure challenge that was not passed."""
    code = "payment_intent_authentication_failure"
    return _error(code, AUTHENTICATION_FAILED, "invalid_request_error", method)


def _error(code: str, message: str, error_type: str, method: Object) -> Object:
    return {
        "code": code,
        "doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}",
        "message": message,
        "payment_method": method,
        "type": error_type,
    }
