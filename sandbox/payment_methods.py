"""Payment methods: those with the documented test names, and those made from test numbers."""

from datetime import UTC, datetime
from typing import Any

from sandbox import objects
from sandbox.errors import ApiError, ParameterError, missing_object, missing_parameter
from sandbox.objects import Object
from sandbox.schema import (
    Schema,
    any_hash,
    anything,
    array,
    hash_of,
    integer,
    metadata,
    not_modelled,
    one_of,
    string,
)
from sandbox.test_numbers import BY_NAME, BY_NUMBER, Behaviour
from sandbox.work import Work

BILLING_DETAILS = Schema(
    {
        "address": hash_of(Schema({name: string(clearable=True) for name in objects.NO_ADDRESS})),
        "email": string(longest=800, clearable=True),
        "name": string(clearable=True),
        "phone": string(clearable=True),
        "tax_id": string(clearable=True),
    }
)

METHOD_DATA = Schema(
    {
        "type": one_of("card", "us_bank_account", "sepa_debit"),
        "allow_redisplay": one_of("always", "limited", "unspecified"),
        "billing_details": hash_of(BILLING_DETAILS),
        "metadata": metadata,
        "radar_options": any_hash,
        "card": hash_of(
            Schema(
                {
                    "number": string(),
                    "exp_month": integer(),
                    "exp_year": integer(),
                    "cvc": string(longest=4),
                    "token": string(),
                    "networks": any_hash,
                }
            )
        ),
        "us_bank_account": hash_of(
            Schema(
                {
                    "account_number": string(),
                    "routing_number": string(),
                    "account_holder_type": one_of("company", "individual"),
                    "account_type": one_of("checking", "savings"),
                },
                required=("account_number", "routing_number"),
            )
        ),
        "sepa_debit": hash_of(Schema({"iban": string()}, required=("iban",))),
    },
    required=("type",),
)
METHOD_CREATE = Schema(
    {
        **METHOD_DATA.readers,
        **dict.fromkeys(("customer", "customer_account", "payment_method"), not_modelled),
        "expand": array(string()),
    },
    METHOD_DATA.required,
)

STATISTICS = dict.fromkeys(
    (
        "client_attribution_metadata",
        "guid",
        "muid",
        "pasted_fields",
        "payment_user_agent",
        "referrer",
        "sid",
        "time_on_page",
    ),
    anything,
)
"""What Stripe.js sends in addition; the stand-in ignores it."""
BROWSER_DATA = Schema({**METHOD_DATA.readers, **STATISTICS}, METHOD_DATA.required)
BROWSER_CREATE = Schema({**METHOD_CREATE.readers, **STATISTICS}, METHOD_DATA.required)


def create(work: Work, params: dict[str, Any]) -> Object:
    """`POST /v1/payment_methods`, and `payment_method_data` on a confirmation.

    Raises:
        ApiError: 402, the card number, month, year or CVC is impossible.
        ParameterError: the hash named by `type` is missing.
    """
    kind: str = params["type"]
    given = params.get(kind)
    if given is None:
        raise missing_parameter(kind)
    if kind == "card":
        behaviour, expiry = _read_card(given, work.now)
    else:
        number = given["iban"].replace(" ", "") if kind == "sepa_debit" else given["account_number"]
        behaviour, expiry = _read_account(kind, number), None
    billing = params.get("billing_details", {})
    billing = objects.NO_BILLING_DETAILS | billing
    billing["address"] = objects.NO_ADDRESS | (billing["address"] or {})
    method = objects.payment_method(kind, _details(behaviour, expiry), billing, work.now)
    method["metadata"] = params.get("metadata") or {}
    work.ledger.insert(method)
    return method


def resolve(work: Work, method_id: str) -> Object:
    """The payment method with this id; a documented test name makes a new one, as at Stripe.

    Raises:
        ApiError: 400, there is none with that id.
    """
    behaviour = BY_NAME.get(method_id)
    if behaviour is not None:
        details = _details(behaviour, None)
        method = objects.payment_method(behaviour.kind, details, objects.NO_BILLING_DETAILS, work.now)
        work.ledger.insert(method)
        return method
    found = work.ledger.find("payment_method", method_id)
    if found is None:
        raise missing_object("PaymentMethod", method_id, "payment_method", status=400)
    return found


def retrieve(work: Work, params: dict[str, Any], method: str) -> Object:
    """`GET /v1/payment_methods/{id}`."""
    return resolve(work, method)


def _read_card(card: Object, now: int) -> tuple[Behaviour, tuple[int, int]]:
    today = datetime.fromtimestamp(now, UTC)
    if "token" in card:
        return _read_token(card["token"]), (12, today.year + 1)
    for name in ("number", "exp_month", "exp_year"):
        if name not in card:
            raise missing_parameter(f"card[{name}]")
    number = card["number"].replace(" ", "").replace("-", "")
    month, year = card["exp_month"], card["exp_year"]
    year = year if year > 99 else 2000 + year
    behaviour = BY_NUMBER.get(number)
    if not number.isdecimal() or not _luhn(number):
        raise _card_error("Your card number is incorrect.", "incorrect_number", "number")
    if not 1 <= month <= 12:
        raise _card_error("Your card's expiration month is invalid.", "invalid_expiry_month", "exp_month")
    if (year, month) < (today.year, today.month) or year > today.year + 50:
        raise _card_error("Your card's expiration year is invalid.", "invalid_expiry_year", "exp_year")
    if "cvc" in card and not (card["cvc"].isdecimal() and len(card["cvc"]) in (3, 4)):
        raise _card_error("Your card's security code is invalid.", "invalid_cvc", "cvc")
    if behaviour is None or behaviour.kind != "card":
        message = (
            "Your card was declined. Your request was in test mode, but used a non test (live) card. "
            "For a list of valid test cards, visit: https://stripe.com/docs/testing."
        )
        raise _card_error(message, "card_declined", "number", decline_code="test_mode_live_card")
    return behaviour, (month, year)


def _read_token(token: str) -> Behaviour:
    behaviour = BY_NAME.get(token.replace("tok_", "pm_card_", 1)) if token.startswith("tok_") else None
    if behaviour is None:
        raise missing_object("token", token, "card[token]", status=400)
    return behaviour


def _read_account(kind: str, number: str) -> Behaviour:
    behaviour = BY_NUMBER.get(number)
    if behaviour is None or behaviour.kind != kind:
        param = "sepa_debit[iban]" if kind == "sepa_debit" else "us_bank_account[account_number]"
        message = "You must use a test bank account number in test mode. See https://stripe.com/docs/testing."
        raise ParameterError(message, param, "payment_method_invalid_parameter_testmode")
    return behaviour


def _card_error(message: str, code: str, param: str, **details: Any) -> ApiError:
    return ApiError(402, message, type="card_error", code=code, param=param, **details)


def _luhn(number: str) -> bool:
    digits = [int(digit) for digit in reversed(number)]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _details(behaviour: Behaviour, expiry: tuple[int, int] | None) -> Object:
    last4, fingerprint = behaviour.number[-4:], behaviour.fingerprint
    if behaviour.kind == "us_bank_account":
        return {
            "account_holder_type": "individual",
            "account_type": "checking",
            "bank_name": "STRIPE TEST BANK",
            "financial_connections_account": None,
            "fingerprint": fingerprint,
            "last4": last4,
            "networks": {"preferred": "ach", "supported": ["ach"]},
            "routing_number": "110000000",
            "status_details": {},
        }
    if behaviour.kind == "sepa_debit":
        return {
            "bank_code": behaviour.number[4:9],
            "branch_code": "",
            "country": behaviour.number[:2],
            "fingerprint": fingerprint,
            "generated_from": {"charge": None, "setup_attempt": None},
            "last4": last4,
        }
    month, year = expiry or (12, datetime.now(UTC).year + 1)
    return {
        "brand": behaviour.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "display_brand": behaviour.brand,
        "exp_month": month,
        "exp_year": year,
        "fingerprint": fingerprint,
        "funding": behaviour.funding,
        "generated_from": None,
        "last4": last4,
        "networks": {"available": [behaviour.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }
