"""Refunds: they succeed at once for most cards, later for bank debits, and fail later for one test card.

https://docs.stripe.com/refunds and https://docs.stripe.com/api/refunds
"""

from typing import Any

from sandbox import charges, objects
from sandbox.currencies import check_step, formatted
from sandbox.errors import ApiError, ParameterError, missing_object, missing_parameter
from sandbox.intents import merged
from sandbox.lists import PAGE_READERS, list_of
from sandbox.objects import Object
from sandbox.schema import Schema, array, integer, metadata, not_modelled, one_of, string
from sandbox.test_numbers import behaviour_of
from sandbox.work import Work

NOT_MODELLED = dict.fromkeys(
    ("customer", "currency", "instructions_email", "origin", "refund_application_fee", "reverse_transfer"),
    not_modelled,
)

CREATE = Schema(
    {
        **NOT_MODELLED,
        "amount": integer(least=1),
        "charge": string(),
        "expand": array(string()),
        "metadata": metadata,
        "payment_intent": string(),
        "reason": one_of("duplicate", "fraudulent", "requested_by_customer"),
    }
)
UPDATE = Schema({"expand": array(string()), "metadata": metadata})
LIST = Schema({**PAGE_READERS, "charge": string(), "payment_intent": string()})

UNFINISHED = ("pending", "requires_action")
FAILURE_REASON = "expired_or_canceled_card"
"""https://docs.stripe.com/refunds#failed-refunds"""


def create(work: Work, params: dict[str, Any]) -> Object:
    """`POST /v1/refunds`.

    Raises:
        ApiError: there is nothing to refund, or less than the amount.
    """
    charge = _charge_of(work, params)
    amount = _amount_of(work, charge, params)
    refund = objects.refund(charge, amount, params.get("reason"), params.get("metadata") or {}, work.now)
    behaviour = behaviour_of(charge["payment_method_details"])
    if work.refund_pending is not None:
        refund["pending_reason"] = work.refund_pending
    elif behaviour.refund == "succeeds_later":
        refund["pending_reason"] = "processing"
        work.later("refund.succeed", refund["id"], work.settle_seconds)
    else:
        _take_back(work, refund)
        if behaviour.refund == "fails_later":
            work.later("refund.fail", refund["id"], work.settle_seconds)
    work.ledger.insert(refund)
    work.emit("refund.created", refund)
    _give_back(work, charge, amount)
    return refund


def retrieve(work: Work, params: dict[str, Any], refund: str) -> Object:
    """`GET /v1/refunds/{id}`."""
    return work.get("refund", refund)


def update(work: Work, params: dict[str, Any], refund: str) -> Object:
    """`POST /v1/refunds/{id}`: only metadata can be changed."""
    found = work.get("refund", refund)
    if "metadata" in params:
        previous = {"metadata": found["metadata"]}
        found["metadata"] = merged(found["metadata"], params["metadata"])
        work.ledger.update(found)
        _emit_update(work, found, previous)
    return found


def cancel(work: Work, params: dict[str, Any], refund: str) -> Object:
    """`POST /v1/refunds/{id}/cancel`: always refused, because no refund here is in `requires_action`."""
    found = work.get("refund", refund)
    message = (
        f"You cannot cancel this refund because it has a status of {found['status']}. Only refunds with one of the "
        "following statuses may be canceled: requires_action."
    )
    raise ApiError(400, message)


def list_refunds(work: Work, params: dict[str, Any]) -> Object:
    """`GET /v1/refunds`."""
    return list_of("refund", "/v1/refunds", params).page(work, params)


def succeed(work: Work, refund: str) -> Object:
    """A pending refund has reached the customer.

    Raises:
        ApiError: it is not pending.
    """
    found = work.get("refund", refund)
    if found["status"] not in UNFINISHED:
        raise ApiError(400, f"This refund has a status of {found['status']}.")
    previous = {"status": found["status"], "balance_transaction": found["balance_transaction"]}
    _take_back(work, found)
    found.pop("pending_reason", None)
    work.ledger.update(found)
    _emit_update(work, found, previous)
    return found


def fail(work: Work, refund: str) -> Object:
    """A refund has failed, which may also happen after it succeeded: its money is on the balance again.

    Raises:
        ApiError: it has failed already.
    """
    found = work.get("refund", refund)
    if found["status"] in ("failed", "canceled"):
        raise ApiError(400, f"This refund has a status of {found['status']}.")
    previous = {"status": found["status"]}
    found |= {"status": "failed", "failure_reason": FAILURE_REASON}
    found.pop("pending_reason", None)
    if found["balance_transaction"] is not None:
        found["failure_balance_transaction"] = charges.book(work, found, found["amount"], reason="refund_failure")
    work.ledger.update(found)
    charge = work.get("charge", found["charge"])
    charge |= {"amount_refunded": charge["amount_refunded"] - found["amount"], "refunded": False}
    work.ledger.update(charge)
    work.emit("refund.failed", found)
    _emit_update(work, found, previous)
    return found


def _charge_of(work: Work, params: dict[str, Any]) -> Object:
    """The charge to refund: the one in the parameters, or the one of the intent in the parameters."""
    charge_id, intent_id = params.get("charge"), params.get("payment_intent")
    if charge_id is not None and intent_id is not None:
        message = "You may only specify one of these parameters: charge, payment_intent."
        raise ParameterError(message, "payment_intent")
    if intent_id is not None:
        intent = work.ledger.find("payment_intent", intent_id)
        if intent is None:
            raise missing_object("payment_intent", intent_id, "payment_intent", status=400)
        if intent["status"] != "succeeded":
            message = f"This PaymentIntent ({intent_id}) does not have a successful charge to refund."
            raise ApiError(400, message, code="payment_intent_unexpected_state", param="payment_intent")
        charge_id = intent["latest_charge"]
    if charge_id is None:
        raise missing_parameter("payment_intent")
    charge = work.ledger.find("charge", charge_id)
    if charge is None:
        raise missing_object("charge", charge_id, "charge", status=400)
    if not charge["paid"] or not charge["captured"]:
        raise ApiError(
            400, f"Charge {charge_id} has not been captured, so there is nothing to refund.", param="charge"
        )
    return charge


def _amount_of(work: Work, charge: Object, params: dict[str, Any]) -> int:
    disputes = work.ledger.of_charge("dispute", charge["id"])
    if not all(dispute["is_charge_refundable"] for dispute in disputes):
        message = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise ApiError(400, message, code="charge_disputed")
    left: int = charge["amount_captured"] - charge["amount_refunded"]
    if left <= 0:
        message = f"Charge {charge['id']} has already been refunded."
        raise ApiError(400, message, code="charge_already_refunded")
    amount: int = params.get("amount", left)
    if amount > left:
        currency = charge["currency"]
        than = "unrefunded amount on charge" if charge["amount_refunded"] else "charge amount"
        message = (
            f"Refund amount ({formatted(amount, currency)}) is greater than {than} ({formatted(left, currency)})"
        )
        raise ApiError(400, message, param="amount")
    check_step(amount, charge["currency"])
    if work.refund_refused:
        # Stripe usually makes the refund, which is then pending; a refusal has this `message_code`.
        message = "Insufficient funds in your Stripe balance to refund this amount."
        raise ApiError(400, message, message_code="insufficient_balance_for_refund")
    return amount


def _take_back(work: Work, refund: Object) -> None:
    """The refund's money leaves the balance."""
    refund["status"] = "succeeded"
    refund["balance_transaction"] = charges.book(work, refund, -refund["amount"], reason="refund")


def _give_back(work: Work, charge: Object, amount: int) -> None:
    """Add a new refund to the charge's `amount_refunded`, even if it is pending."""
    previous = {"amount_refunded": charge["amount_refunded"]}
    charge["amount_refunded"] += amount
    if charge["amount_refunded"] == charge["amount_captured"]:
        previous["refunded"] = False
        charge["refunded"] = True
    work.ledger.update(charge)
    work.emit("charge.refunded", charge, previous)


def _emit_update(work: Work, refund: Object, previous: Object) -> None:
    """Emit the update under both types: older integrations use `charge.refund.updated`."""
    work.emit("refund.updated", refund, previous)
    work.emit("charge.refund.updated", refund, previous)
