"""Disputes are opened by test cards or by hand, answered with evidence, won or lost.

https://docs.stripe.com/disputes and https://docs.stripe.com/testing#disputes
"""

from typing import Any

from sandbox import charges, objects
from sandbox.errors import ApiError
from sandbox.intents import merged
from sandbox.lists import PAGE_READERS, list_of
from sandbox.objects import EVIDENCE, Object
from sandbox.schema import Reader, Schema, array, boolean, hash_of, metadata, not_modelled, string
from sandbox.test_numbers import behaviour_of
from sandbox.work import Work

EVIDENCE_READERS: dict[str, Reader] = {
    **dict.fromkeys(EVIDENCE, string(longest=20_000, clearable=True)),
    "enhanced_evidence": not_modelled,
}

UPDATE = Schema(
    {
        "evidence": hash_of(Schema(EVIDENCE_READERS)),
        "expand": array(string()),
        "intended_submission_method": not_modelled,
        "metadata": metadata,
        "submit": boolean,
    }
)
LIST = Schema({**PAGE_READERS, "charge": string(), "payment_intent": string()})

FEE = 1500
"""https://stripe.com/pricing, for the account's country; the amount makes no difference to the objects' fields."""

_REASONS = (
    "bank_cannot_process check_returned credit_not_processed customer_initiated debit_not_authorized duplicate "
    "fraudulent general incorrect_account_details insufficient_funds product_not_received product_unacceptable "
    "subscription_canceled unrecognized"
)
REASONS = tuple(_REASONS.split())

OPEN = ("needs_response", "under_review", "warning_needs_response", "warning_under_review")

WINNING, LOSING = "winning_evidence", "losing_evidence"
"""https://docs.stripe.com/testing#evidence: the values of `uncategorized_text` that decide a test dispute."""


def retrieve(work: Work, params: dict[str, Any], dispute: str) -> Object:
    """`GET /v1/disputes/{id}`."""
    return work.get("dispute", dispute)


def list_disputes(work: Work, params: dict[str, Any]) -> Object:
    """`GET /v1/disputes`."""
    return list_of("dispute", "/v1/disputes", params).page(work, params)


def update(work: Work, params: dict[str, Any], dispute: str) -> Object:
    """`POST /v1/disputes/{id}`: evidence is submitted to the bank at once unless `submit` says otherwise."""
    found = work.get("dispute", dispute)
    _check_open(found)
    if "metadata" in params:
        found["metadata"] = merged(found["metadata"], params["metadata"])
    evidence = params.get("evidence", {})
    if evidence:
        found["evidence"] = found["evidence"] | evidence
        found["evidence_details"] = found["evidence_details"] | {"has_evidence": True}
    submitted = bool(evidence) and params.get("submit", True)
    if submitted:
        details = found["evidence_details"]
        count = details["submission_count"] + 1
        found["evidence_details"] = details | {"submission_count": count, "submission_method": "manual"}
        found["status"] = found["status"].replace("needs_response", "under_review")
    work.ledger.update(found)
    work.emit("charge.dispute.updated", found)
    verdict = found["evidence"]["uncategorized_text"]
    if submitted and verdict in (WINNING, LOSING):
        return close(work, dispute, won=verdict == WINNING)
    return found


def accept(work: Work, params: dict[str, Any], dispute: str) -> Object:
    """`POST /v1/disputes/{id}/close`: the account does not contest the dispute, and loses it."""
    return close(work, dispute, won=False)


def open_by_number(work: Work, charge: str) -> Object:
    """Open the dispute that the charge's test number causes."""
    behaviour = behaviour_of(work.get("charge", charge)["payment_method_details"])
    assert behaviour.dispute is not None
    return open_dispute(work, charge, behaviour.dispute, inquiry=behaviour.inquiry)


def open_dispute(
    work: Work, charge: str, reason: str, *, inquiry: bool = False, amount: int | None = None
) -> Object:
    """The customer disputes the charge, or an amount of it, at the bank; an inquiry does not move the money yet. A
    charge can have several disputes: one after another, or of different parts.

    Raises:
        ApiError: nothing was captured, or less than the amount is undisputed.
    """
    found = work.get("charge", charge)
    if not found["captured"] or not found["paid"]:
        raise ApiError(400, f"Charge {charge} has not been captured, so there is nothing to dispute.")
    others = work.ledger.of_charge("dispute", charge)
    left = found["amount_captured"] - sum(each["amount"] for each in others if each["status"] in OPEN)
    if left <= 0 or (amount or 0) > left:
        raise ApiError(400, f"Charge {charge} is disputed already.", code="charge_disputed")
    status = "warning_needs_response" if inquiry else "needs_response"
    dispute = objects.dispute(found, amount or left, reason, status, work.now)
    work.ledger.insert(dispute)
    if not inquiry:
        _book(work, dispute, -dispute["amount"], fee=FEE)
    found["disputed"] = True
    work.ledger.update(found)
    work.emit("charge.dispute.created", dispute)
    if not inquiry:
        work.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def close(work: Work, dispute: str, *, won: bool) -> Object:
    """The bank has decided; an inquiry ends without a winner.

    Raises:
        ApiError: the dispute is closed already.
    """
    found = work.get("dispute", dispute)
    _check_open(found)
    previous = {"status": found["status"]}
    inquiry = found["status"].startswith("warning_")
    found["status"] = "warning_closed" if inquiry else "won" if won else "lost"
    work.ledger.update(found)
    if won and not inquiry:
        _book(work, found, found["amount"], fee=-FEE)
        work.emit("charge.dispute.funds_reinstated", found)
    work.emit("charge.dispute.closed", found, previous)
    return found


def _check_open(dispute: Object) -> None:
    if dispute["status"] not in OPEN:
        raise ApiError(400, f"This dispute is already closed: it has a status of {dispute['status']}.")


def _book(work: Work, dispute: Object, amount: int, *, fee: int) -> None:
    entry = charges.book(work, dispute, amount, fee=fee, reason="adjustment")
    dispute["balance_transactions"] = [*dispute["balance_transactions"], work.get("balance_transaction", entry)]
    work.ledger.update(dispute)
