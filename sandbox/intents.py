"""Payment intents are created, read, updated and listed. How they are paid is in `payments.py`."""

import hmac
from typing import Any

from sandbox import method_types, objects, payment_methods, payments
from sandbox.currencies import check_amount, read_currency
from sandbox.errors import ApiError, ParameterError, missing_object, unexpected_state
from sandbox.lists import PAGE_READERS, list_of
from sandbox.objects import Object
from sandbox.schema import (
    Reader,
    Schema,
    any_hash,
    array,
    boolean,
    hash_of,
    integer,
    metadata,
    not_modelled,
    one_of,
    string,
)
from sandbox.work import Work

NOT_MODELLED: dict[str, Reader] = dict.fromkeys(
    (
        "amount_details",
        "application_fee_amount",
        "confirmation_token",
        "customer_account",
        "hooks",
        "mandate",
        "on_behalf_of",
        "payment_details",
        "payment_method_configuration",
        "transfer_data",
    ),
    not_modelled,
)

SHARED: dict[str, Reader] = {
    "capture_method": one_of("automatic", "automatic_async", "manual"),
    "expand": array(string()),
    "payment_method": string(),
    "payment_method_data": hash_of(payment_methods.METHOD_DATA),
    "payment_method_options": any_hash,
    "receipt_email": string(longest=800, clearable=True),
    "setup_future_usage": one_of("off_session", "on_session"),
    "shipping": any_hash,
}

DESCRIBED: dict[str, Reader] = {
    "amount": integer(least=1),
    "currency": string(),
    "customer": string(),
    "description": string(longest=1000, clearable=True),
    "metadata": metadata,
    "statement_descriptor": string(longest=22, clearable=True),
    "statement_descriptor_suffix": string(longest=22, clearable=True),
    "transfer_group": string(clearable=True),
}

CONFIRMED: dict[str, Reader] = {
    "error_on_requires_action": boolean,
    "mandate_data": any_hash,
    "off_session": boolean,
    "radar_options": any_hash,
    "return_url": string(),
    "use_stripe_sdk": boolean,
}

CREATE = Schema(
    {
        **NOT_MODELLED,
        **SHARED,
        **DESCRIBED,
        **CONFIRMED,
        **method_types.PARAMETERS,
        "automatic_payment_methods": hash_of(
            Schema({"enabled": boolean, "allow_redirects": one_of("always", "never")}, required=("enabled",))
        ),
        "confirm": boolean,
        "confirmation_method": one_of("automatic", "manual"),
    },
    required=("amount", "currency"),
)
UPDATE = Schema({**NOT_MODELLED, **SHARED, **DESCRIBED, **method_types.PARAMETERS})
PAYING: dict[str, Reader] = {**NOT_MODELLED, **SHARED, **CONFIRMED, "amount_to_confirm": not_modelled}
CONFIRM = Schema({**PAYING, **method_types.PARAMETERS})
BROWSER: dict[str, Reader] = {
    "client_secret": string(),
    "expected_payment_method_type": string(),
    "client_context": any_hash,
    "client_attribution_metadata": any_hash,
}
"""What Stripe.js sends in addition, with the publishable key."""
BROWSER_CONFIRM = Schema({**PAYING, **BROWSER, "payment_method_data": hash_of(payment_methods.BROWSER_DATA)})
RETRIEVE = Schema({"expand": array(string()), "client_secret": string()})
BROWSER_RETRIEVE = Schema({**RETRIEVE.readers, "is_stripe_sdk": boolean})
LIST = Schema({**PAGE_READERS, "customer": string(), "customer_account": not_modelled})

_CLIENT_FIELDS = (
    "id object amount amount_details automatic_payment_methods canceled_at cancellation_reason capture_method "
    "client_secret confirmation_method created currency description last_payment_error livemode next_action "
    "payment_method payment_method_configuration_details payment_method_types processing receipt_email "
    "setup_future_usage shipping source status"
)
CLIENT_FIELDS = tuple(_CLIENT_FIELDS.split())
"""What a browser with the publishable key sees: https://docs.stripe.com/api/payment_intents/retrieve."""

CHANGEABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


def load(work: Work, intent: str, params: dict[str, Any]) -> Object:
    """The intent in the URL. The client secret is checked if it is sent, and required with the publishable key.

    Raises:
        ApiError: 404, the intent is unknown; 400, the secret is missing or is another intent's.
    """
    found = work.get("payment_intent", intent, "intent")
    secret = params.get("client_secret")
    if secret is None and not work.publishable:
        return found
    if secret is None or not hmac.compare_digest(secret.encode(), found["client_secret"].encode()):
        message = "The client_secret provided does not match the client_secret associated with this PaymentIntent."
        raise ApiError(400, message, code="payment_intent_invalid_parameter", param="client_secret")
    return found


def visible(work: Work, intent: Object) -> Object:
    """The intent with the fields that the caller may see."""
    if not work.publishable:
        return intent
    return {name: intent[name] for name in CLIENT_FIELDS}


def create(work: Work, params: dict[str, Any]) -> Object:
    """`POST /v1/payment_intents`."""
    currency = read_currency(params["currency"])
    check_amount(params["amount"], currency)
    intent = objects.payment_intent(params["amount"], currency, work.now)
    method_types.choose(intent, params)
    intent["confirmation_method"] = params.get("confirmation_method", "automatic")
    _describe(intent, params)
    if not params.get("confirm"):
        for name in CONFIRMED:
            if name in params:
                raise ParameterError(f"You cannot set `{name}` unless `confirm` is set to true.", name)
        payments.attach(work, intent, params)
        work.ledger.insert(intent)
        work.emit("payment_intent.created", intent)
        return intent
    work.ledger.insert(intent)
    work.emit("payment_intent.created", intent)
    return payments.confirm(work, intent, params)


def retrieve(work: Work, params: dict[str, Any], intent: str) -> Object:
    """`GET /v1/payment_intents/{id}`."""
    return visible(work, load(work, intent, params))


def confirm(work: Work, params: dict[str, Any], intent: str) -> Object:
    """`POST /v1/payment_intents/{id}/confirm`."""
    found = load(work, intent, params)
    for name in ("receipt_email", "shipping", "setup_future_usage", "capture_method"):
        if name in params:
            found[name] = params[name]
    _choose_again(found, params)
    try:
        return visible(work, payments.confirm(work, found, params))
    except ApiError as error:
        if "payment_intent" in error.error:
            error.error["payment_intent"] = visible(work, error.error["payment_intent"])
        raise


def update(work: Work, params: dict[str, Any], intent: str) -> Object:
    """`POST /v1/payment_intents/{id}`."""
    found = work.get("payment_intent", intent, "intent")
    for name in ("amount", "currency", "payment_method", "payment_method_data"):
        if name in params and found["status"] not in CHANGEABLE:
            raise unexpected_state(
                f"This PaymentIntent's {name} could not be updated because it has a status of "
                f"{found['status']}. You may only update the {name} of a PaymentIntent with one of the "
                f"following statuses: {', '.join(CHANGEABLE)}.",
                found,
            )
    if "currency" in params:
        found["currency"] = read_currency(params["currency"])
    found["amount"] = params.get("amount", found["amount"])
    check_amount(found["amount"], found["currency"])
    _choose_again(found, params)
    _describe(found, params)
    payments.attach(work, found, params)
    work.ledger.update(found)
    return found


def list_intents(work: Work, params: dict[str, Any]) -> Object:
    """`GET /v1/payment_intents`."""
    _refuse_customer(params)
    return list_of("payment_intent", "/v1/payment_intents", params).page(work, params)


def _choose_again(intent: Object, params: dict[str, Any]) -> None:
    if method_types.PARAMETERS.keys() & params.keys():
        method_types.choose(intent, params)


def _describe(intent: Object, params: dict[str, Any]) -> None:
    _refuse_customer(params)
    for name in (
        "capture_method",
        "description",
        "payment_method_options",
        "receipt_email",
        "setup_future_usage",
        "shipping",
        "statement_descriptor",
        "statement_descriptor_suffix",
        "transfer_group",
    ):
        if name in params:
            intent[name] = params[name]
    if "metadata" in params:
        intent["metadata"] = merged(intent["metadata"], params["metadata"])


def merged(old: dict[str, str], new: dict[str, str] | None) -> dict[str, str]:
    """Metadata after an update: keys are added or replaced, an empty value removes its key, None removes all."""
    if new is None:
        return {}
    return {key: value for key, value in (old | new).items() if value != ""}


def _refuse_customer(params: dict[str, Any]) -> None:
    if "customer" in params:
        raise missing_object("customer", params["customer"], "customer", status=400)
