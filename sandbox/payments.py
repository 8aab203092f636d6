"""The state machine of a payment intent: confirm, authenticate, process, capture, cancel.

https://docs.stripe.com/payments/paymentintents/lifecycle
"""

from typing import Any

from sandbox import charges, declines, payment_methods
from sandbox.errors import ApiError, CardError, ParameterError, unexpected_state
from sandbox.objects import Object
from sandbox.schema import Schema, any_hash, array, boolean, integer, metadata, not_modelled, one_of, string
from sandbox.test_numbers import behaviour_of
from sandbox.work import Work

CANCEL = Schema(
    {
        "cancellation_reason": one_of("abandoned", "duplicate", "fraudulent", "requested_by_customer"),
        "expand": array(string()),
    }
)
CAPTURE = Schema(
    {
        "amount_details": not_modelled,
        "amount_to_capture": integer(least=1),
        "application_fee_amount": not_modelled,
        "expand": array(string()),
        "final_capture": boolean,
        "hooks": not_modelled,
        "metadata": metadata,
        "payment_details": any_hash,
        "statement_descriptor": string(longest=22),
        "statement_descriptor_suffix": string(longest=22),
        "transfer_data": not_modelled,
    }
)

CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
CANCELABLE = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)

RETURN_URL_NEEDED = (
    "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of these "
    "payment methods might redirect your customer off of your page, you must provide a `return_url`. If you don't "
    "want to accept redirect-based payment methods, set `automatic_payment_methods[enabled]` to `true` and "
    "`automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents and Payment Intents."
)
METHOD_NEEDED = (
    "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
    "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a payment "
    "method or ConfirmationToken."
)


def attach(work: Work, intent: Object, params: dict[str, Any]) -> None:
    """Attach the payment method in the parameters to the intent.

    Raises:
        ApiError: the method is unknown, or of a kind that the intent does not accept.
    """
    if "payment_method_data" in params:
        method = payment_methods.create(work, params["payment_method_data"])
    elif "payment_method" in params:
        method = payment_methods.resolve(work, params["payment_method"])
    else:
        return
    if method["type"] not in intent["payment_method_types"]:
        message = (
            f"The PaymentMethod provided ({method['type']}) is not allowed for this PaymentIntent. Please attach a "
            f"PaymentMethod of one of the following types: {', '.join(intent['payment_method_types'])}."
        )
        raise ApiError(400, message, code="payment_intent_incompatible_payment_method", param="payment_method")
    intent |= {"payment_method": method["id"], "status": "requires_confirmation", "next_action": None}


def confirm(work: Work, intent: Object, params: dict[str, Any]) -> Object:
    """Try to collect the money. The intent's status is the result.

    Raises:
        CardError: the card was declined; the attempt is kept.
        ApiError: the intent's status does not allow it, or a payment method is missing.
    """
    _check_confirmable(intent)
    attach(work, intent, params)
    if intent["payment_method"] is None:
        raise unexpected_state(METHOD_NEEDED, intent)
    _check_return_url(intent, params)
    intent["last_payment_error"] = None
    method = payment_methods.resolve(work, intent["payment_method"])
    if not behaviour_of(method).authenticate:
        return _charge(work, intent, method)
    if params.get("off_session") or params.get("error_on_requires_action"):
        return _decline(work, intent, method, "authentication_required")
    intent |= {"status": "requires_action", "next_action": _challenge(work, intent, params)}
    work.ledger.update(intent)
    work.emit("payment_intent.requires_action", intent)
    return intent


def authenticate(work: Work, intent: Object, *, passed: bool) -> Object:
    """The customer has passed the 3D Secure challenge, or failed it.

    Raises:
        CardError: passed, but then declined.
        ApiError: there is no open challenge.
    """
    if intent["status"] != "requires_action":
        raise unexpected_state(f"This PaymentIntent has a status of {intent['status']}.", intent)
    method = payment_methods.resolve(work, intent["payment_method"])
    intent["next_action"] = None
    if passed:
        return _charge(work, intent, method)
    _fail(work, intent, declines.authentication_failed(method))
    return intent


def cancel(work: Work, params: dict[str, Any], intent: str) -> Object:
    """`POST /v1/payment_intents/{id}/cancel`: authorised money is released."""
    found = work.get("payment_intent", intent, "intent")
    if found["status"] not in CANCELABLE:
        raise unexpected_state(
            f"You cannot cancel this PaymentIntent because it has a status of {found['status']}. Only a "
            f"PaymentIntent with one of the following statuses may be canceled: {', '.join(CANCELABLE)}.",
            found,
        )
    if found["latest_charge"] is not None:
        _release(work, found)
    found |= {
        "status": "canceled",
        "canceled_at": work.now,
        "cancellation_reason": params.get("cancellation_reason"),
        "amount_capturable": 0,
        "next_action": None,
        "processing": None,
    }
    work.ledger.update(found)
    work.emit("payment_intent.canceled", found)
    return found


def capture(work: Work, params: dict[str, Any], intent: str, *, rest_as_refund: bool = False) -> Object:
    """`POST /v1/payment_intents/{id}/capture`: capture the authorised money, or a part of it.

    `rest_as_refund`: emit `charge.refunded` for the rest, as Stripe did before version 2025-03-31.basil.
    """
    found = work.get("payment_intent", intent, "intent")
    if found["status"] != "requires_capture":
        raise unexpected_state(
            f"This PaymentIntent could not be captured because it has a status of {found['status']}. Only a "
            "PaymentIntent with one of the following statuses may be captured: requires_capture.",
            found,
        )
    amount = int(params.get("amount_to_capture") or found["amount_capturable"])
    if amount > found["amount_capturable"]:
        message = "The provided amount_to_capture is greater than the amount that can be captured."
        raise ParameterError(message, "amount_to_capture")
    charge = work.get("charge", found["latest_charge"])
    charges.take(work, charge, amount)
    work.ledger.update(charge)
    work.emit("charge.captured", charge)
    _succeed(work, found, amount)
    if rest_as_refund and amount < charge["amount"]:
        work.emit("charge.refunded", charge | {"amount_refunded": charge["amount"] - amount})
    return found


def settle(work: Work, intent: Object, *, succeeded: bool) -> Object:
    """A payment that was processing has succeeded or failed.

    Raises:
        ApiError: it is not processing.
    """
    if intent["status"] != "processing":
        raise unexpected_state(f"This PaymentIntent has a status of {intent['status']}.", intent)
    charge = work.get("charge", intent["latest_charge"])
    if succeeded:
        charges.succeed(work, charge, capture=True)
        work.ledger.update(charge)
        charges.announce(work, charge, settles_later=False)
        _succeed(work, intent, charge["amount"])
        return intent
    method = payment_methods.resolve(work, intent["payment_method"])
    failure = behaviour_of(method).decline or ("account_closed" if method["type"] != "card" else "generic_decline")
    error = declines.bank_failed(failure, charge, method)
    charges.fail(charge, error)
    work.ledger.update(charge)
    work.emit("charge.failed", charge)
    _fail(work, intent, error)
    return intent


def _check_confirmable(intent: Object) -> None:
    status = intent["status"]
    if status in ("succeeded", "requires_capture"):
        message = (
            "You cannot confirm this PaymentIntent because it has already succeeded after being previously "
            "confirmed."
        )
        raise unexpected_state(message, intent)
    if status not in CONFIRMABLE:
        raise unexpected_state(
            f"You cannot confirm this PaymentIntent because it has a status of {status}. Only a PaymentIntent "
            f"with one of the following statuses may be confirmed: {', '.join(CONFIRMABLE)}.",
            intent,
        )


def _check_return_url(intent: Object, params: dict[str, Any]) -> None:
    automatic = intent["automatic_payment_methods"]
    redirects = automatic is not None and automatic["enabled"] and automatic["allow_redirects"] == "always"
    if redirects and "return_url" not in params and not params.get("use_stripe_sdk"):
        raise ParameterError(RETURN_URL_NEEDED, "return_url")


def _challenge(work: Work, intent: Object, params: dict[str, Any]) -> Object:
    """The `next_action` that leads the customer to the stand-in's page for 3D Secure."""
    url = f"{work.origin}/_sandbox/challenges/{intent['id']}?client_secret={intent['client_secret']}"
    if params.get("use_stripe_sdk") or "return_url" not in params:
        return {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": url},
        }
    return {"type": "redirect_to_url", "redirect_to_url": {"return_url": params["return_url"], "url": url}}


def _charge(work: Work, intent: Object, method: Object) -> Object:
    behaviour = behaviour_of(method)
    if behaviour.delayed:
        return _process(work, intent, method)
    if behaviour.decline is not None:
        return _decline(work, intent, method, behaviour.decline)
    capture = intent["capture_method"] != "manual"
    charge = charges.start(work, intent, method)
    charges.succeed(work, charge, capture=capture)
    work.ledger.insert(charge)
    charges.announce(work, charge, settles_later=intent["capture_method"] == "automatic_async")
    if capture:
        _succeed(work, intent, charge["amount"])
    else:
        intent |= {"status": "requires_capture", "amount_capturable": charge["amount"]}
        work.ledger.update(intent)
        work.emit("payment_intent.amount_capturable_updated", intent)
    return intent


def _process(work: Work, intent: Object, method: Object) -> Object:
    charge = charges.start(work, intent, method)
    work.ledger.insert(charge)
    intent["status"] = "processing"
    work.ledger.update(intent)
    work.emit("charge.pending", charge)
    work.emit("payment_intent.processing", intent)
    behaviour = behaviour_of(method)
    if not behaviour.endless:
        move = "payment.succeed" if behaviour.decline is None else "payment.fail"
        work.later(move, intent["id"], work.settle_seconds)
    return intent


def _decline(work: Work, intent: Object, method: Object, decline_code: str) -> Object:
    charge = charges.start(work, intent, method)
    error = declines.card_declined(decline_code, charge, method)
    charges.fail(charge, error)
    work.ledger.insert(charge)
    work.emit("charge.failed", charge)
    _fail(work, intent, error)
    raise CardError(error, payment_intent=intent)


def _fail(work: Work, intent: Object, error: Object) -> None:
    """The intent requires a payment method again, so that the customer can retry."""
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "last_payment_error": error,
        "next_action": None,
    }
    work.ledger.update(intent)
    work.emit("payment_intent.payment_failed", intent)


def _succeed(work: Work, intent: Object, amount: int) -> None:
    intent |= {"status": "succeeded", "amount_received": amount, "amount_capturable": 0, "next_action": None}
    work.ledger.update(intent)
    work.emit("payment_intent.succeeded", intent)


def _release(work: Work, intent: Object) -> None:
    charge = work.get("charge", intent["latest_charge"])
    # Released money is no refund, and there is no event of its charge: see `charges.take`.
    if charge["status"] == "pending":
        charge |= {"status": "failed", "failure_message": "The payment was canceled."}
        work.ledger.update(charge)
        work.emit("charge.failed", charge)
