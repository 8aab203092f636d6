"""The report of a payment: one class, the well-known type names, and what other releases read and compare."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from common.contracts.messages import REPORT_TYPES, PaymentReport
from common.contracts.statuses import IntentStatus
from common.contracts.values import Dispute, PaymentError, PaymentState

STATE_FIELDS = [field.name for field in fields(PaymentState)]
BOOKING = "01890a5d-ac96-774b-bcce-b302099a8057"
REFUNDS = ["01890a5d-ac96-774b-bcce-b302099a8059", "01890a5d-ac96-774b-bcce-b302099a8058"]
WAITING = {"status": "requires_payment_method", "intent_id": "pi_1", "amount": 2000, "currency": "eur"}
DECLINE = {"code": "card_declined", "decline_code": "insufficient_funds", "message": "Çok 'az' 💸"}
WON: dict[str, Any] = {"id": "du_1", "status": "won"}
LOST = {
    "id": "du_2",
    "status": "lost",
    "amount": 2000,
    "currency": "eur",
    "reason": "fraudulent",
    "opened_at": "2026-01-02T03:04:05Z",
    "respond_by": "2026-02-02T03:04:05Z",
}
# What the previous release sends, and the digest that it stores: both made with its code.
REPORTS: list[tuple[dict[str, Any], str]] = [
    ({"version": 1, "client_secret": "pi_1_secret_2", **WAITING}, "d1d0a27ef52ad090"),
    (
        {"version": 2, **WAITING, "last_error": DECLINE, "attempts": 1, "last_attempt_at": "2026-01-02T03:04:05Z"},
        "009237ef03753e96",
    ),
    (
        {
            "version": 3,
            "status": "rejected",
            "amount": 2000,
            "currency": "eur",
            "last_error": {"code": "amount_too_small"},
            "disputes": [],
        },
        "62fd17eabe85aa53",
    ),
    (
        {
            "version": 9,
            "status": "succeeded",
            "intent_id": "pi_1",
            "amount": 2000,
            "currency": "eur",
            "amount_captured": 2000,
            "amount_refunded": 700,
            "refund_ids": REFUNDS,
            "refund_pending": True,
            "refund_failed": True,
            "refund_waiting": "insufficient_funds",
            "refund_error": "charge_disputed",
            "refund_failed_amount": 500,
            "refund_failed_whole": True,
            "disputed": True,
            "disputes": [WON, LOST],
            "attempts": 2,
            "last_attempt_at": "2026-01-02T03:04:05.678901Z",
        },
        "6e2c82ebcd4ea3c8",
    ),
]


def read(values: dict[str, Any]) -> PaymentReport:
    return PaymentReport.of_json(json.dumps({"booking_id": BOOKING, **values}).encode())


@pytest.mark.parametrize(("values", "digest"), REPORTS)
def test_a_report_has_the_digest_that_other_releases_compare_it_by(values: dict[str, Any], digest: str) -> None:
    """Processes of both releases store it in rows; a different digest means a different report to them."""
    assert read(values).payment.digest == digest
    assert read({**values, "version": 40, "client_secret": "another"}).payment.digest == digest


# What says more about something that counts already, and was added when rows had digests.
MORE = ("refunds", "rejection")


@pytest.mark.parametrize(
    "field", [name for name in STATE_FIELDS if name not in ("version", "client_secret", *MORE)]
)
def test_every_reported_field_counts_for_the_digest(field: str) -> None:
    values, digest = REPORTS[-1]
    payment = read(values).payment
    other: Any = {"status": IntentStatus.PROCESSING, "last_error": PaymentError("x"), "last_attempt_at": None}.get(
        field, "other"
    )
    if isinstance(getattr(payment, field), tuple):
        other = getattr(payment, field)[:1]
    assert replace(payment, **{field: other}).digest != digest


@pytest.mark.parametrize(("values", "_"), REPORTS)
def test_what_is_sent_is_one_flat_object(values: dict[str, Any], _: str) -> None:
    """As a process of the previous release reads it: all fields by name, beside the booking's id."""
    sent = json.loads(read(values).as_json(exclude_unset=True))
    assert list(sent) == ["booking_id", *STATE_FIELDS]
    assert {name: sent[name] for name in ("version", "status", "amount")} == {
        name: values[name] for name in ("version", "status", "amount")
    }
    assert read(sent) == read(values)


def state(status: str, **values: Any) -> PaymentState:
    return PaymentState(version=1, status=IntentStatus(status), amount=2000, currency="eur", **values)


NAMES = [
    (state("requires_payment_method"), "payment.intent_created"),
    (state("requires_confirmation"), "payment.intent_created"),
    (state("requires_payment_method", last_error=PaymentError("x")), "payment.declined"),
    (state("requires_confirmation", last_error=PaymentError("x")), "payment.declined"),
    (state("requires_action"), "payment.action_required"),
    (state("requires_action", last_error=PaymentError("x")), "payment.action_required"),
    (state("processing"), "payment.processing"),
    (state("requires_capture"), "payment.processing"),
    (state("succeeded"), "payment.succeeded"),
    (state("succeeded", refund_ids=(UUID(int=1),)), "payment.refund_updated"),
    (state("succeeded", disputed=True, refund_ids=(UUID(int=1),)), "payment.dispute_updated"),
    (state("succeeded", disputes=(Dispute("du_1", "won"),)), "payment.dispute_updated"),
    (state("succeeded", disputes=()), "payment.succeeded"),
    (state("canceled", last_error=PaymentError("x")), "payment.canceled"),
    (state("rejected", last_error=PaymentError("x")), "payment.intent_rejected"),
]


@pytest.mark.parametrize(("payment", "name"), NAMES)
def test_the_name_follows_from_what_the_report_holds(payment: PaymentState, name: str) -> None:
    assert PaymentReport(booking_id=UUID(BOOKING), payment=payment).type == name


def test_every_name_is_that_of_some_state() -> None:
    assert {name for _, name in NAMES} == set(REPORT_TYPES)
    assert len(REPORT_TYPES) == 9
    for status in IntentStatus:
        assert PaymentReport(booking_id=UUID(BOOKING), payment=state(status)).type in REPORT_TYPES


def test_times_come_out_as_they_went_in() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    sent = PaymentReport(booking_id=UUID(BOOKING), payment=state("processing", last_attempt_at=at))
    assert PaymentReport.of_json(sent.as_json()) == sent
