"""Charges: the attempts to pay an intent, and their entries on the account's balance."""

from typing import Any

from sandbox import objects
from sandbox.identifiers import new_id
from sandbox.lists import PAGE_READERS, list_of
from sandbox.objects import Object
from sandbox.schema import Schema, not_modelled, string
from sandbox.test_numbers import behaviour_of
from sandbox.work import Work

LIST = Schema(
    {**PAGE_READERS, "customer": not_modelled, "payment_intent": string(), "transfer_group": not_modelled}
)

FEE_PERCENT, FEE_FIXED = 2.9, 30
"""Stripe's standard price for a domestic card; the amount makes no difference to the objects' fields."""

AVAILABLE_SECONDS = 2 * 24 * 3600

APPROVED: Object = {
    "advice_code": None,
    "network_advice_code": None,
    "network_decline_code": None,
    "network_status": "approved_by_network",
    "reason": None,
    "risk_level": "normal",
    "risk_score": 20,
    "seller_message": "Payment complete.",
    "type": "authorized",
}


def retrieve(work: Work, params: dict[str, Any], charge: str) -> Object:
    """`GET /v1/charges/{id}`."""
    return work.get("charge", charge)


def list_charges(work: Work, params: dict[str, Any]) -> Object:
    """`GET /v1/charges`."""
    return list_of("charge", "/v1/charges", params).page(work, params)


def retrieve_balance_transaction(work: Work, params: dict[str, Any], transaction: str) -> Object:
    """`GET /v1/balance_transactions/{id}`."""
    return work.get("balance_transaction", transaction)


def succeed(work: Work, charge: Object, *, capture: bool) -> None:
    """The charge has succeeded: the money is captured, or only authorised without `capture`."""
    charge |= {"status": "succeeded", "paid": True, "outcome": APPROVED}
    if capture:
        take(work, charge, charge["amount"])
    charge["receipt_url"] = f"{work.origin}/_sandbox/receipts/{charge['id']}"


def take(work: Work, charge: Object, amount: int) -> None:
    """Capture an amount of an authorised charge. The rest is released, which is no refund since 2025-03-31.basil:
    https://docs.stripe.com/changelog/basil/2025-03-31/remove-refund-from-partial-capture-and-payment-cancellation-flow
    """
    charge |= {"captured": True, "amount_captured": amount}
    fee = round(amount * FEE_PERCENT / 100) + FEE_FIXED
    charge["balance_transaction"] = book(work, charge, amount, fee=fee)


def fail(charge: Object, error: Object) -> None:
    """The attempt has failed with this error."""
    decline_code = error.get("decline_code")
    blocked = decline_code == "fraudulent"
    charge |= {
        "status": "failed",
        "failure_code": error["code"],
        "failure_message": error["message"],
        "outcome": {
            "advice_code": error.get("advice_code"),
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "not_sent_to_network" if blocked else "declined_by_network",
            "reason": "highest_risk_level" if blocked else decline_code or error["code"],
            "risk_level": "highest" if blocked else "normal",
            "risk_score": 90 if blocked else 20,
            "seller_message": "The bank did not complete the payment.",
            "type": "blocked" if blocked else "issuer_declined",
        },
    }


def announce(work: Work, charge: Object, *, settles_later: bool) -> None:
    """Emit the events of a charge that succeeded, and schedule the dispute that its test number causes.

    With `capture_method=automatic_async` the balance transaction comes in a later `charge.updated`.
    """
    if settles_later:
        work.emit("charge.succeeded", charge | {"balance_transaction": None})
        work.emit("charge.updated", charge, {"balance_transaction": None})
    else:
        work.emit("charge.succeeded", charge)
    if behaviour_of(charge["payment_method_details"]).dispute is not None and charge["captured"]:
        work.later("dispute.open", charge["id"], 0)


def book(work: Work, source: Object, amount: int, *, fee: int = 0, reason: str | None = None) -> str:
    """Add the amount of a charge, refund or dispute to the balance; returns the id of the entry."""
    kind = reason or ("payment" if source["id"].startswith("py") else source["object"])
    details = {"amount": fee, "application": None, "currency": source["currency"],
               "description": "Stripe processing fees", "type": "stripe_fee"}  # fmt: skip
    entry = {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": work.now + AVAILABLE_SECONDS,
        "balance_type": "payments",
        "created": work.now,
        "currency": source["currency"],
        "description": None,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [details] if fee else [],
        "net": amount - fee,
        "reporting_category": kind,
        "source": source["id"],
        "status": "pending",
        "type": kind,
    }
    work.ledger.insert(entry)
    return str(entry["id"])


def start(work: Work, intent: Object, method: Object) -> Object:
    """A new attempt on the intent."""
    charge = objects.charge(intent, method, work.now)
    intent["latest_charge"] = charge["id"]
    return charge
