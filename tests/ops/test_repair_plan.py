"""What `holdfast repair` would do about a case, depending on what booking, payment and Stripe have of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ops.audit.records import Booking, Case, Finding, Intent, Payment
from ops.repair.plan import Action, Kind, bookings_of, of_case, of_findings

NOW = datetime(2030, 1, 1, tzinfo=UTC)
BOOKING = Booking("b", "confirmed", "paid", 1000, 1000, "eur", NOW, intent_id="pi_1")
UNREPORTED = replace(BOOKING, status="pending", payment="creating", intent_id=None)
PAYMENT = Payment("b", "succeeded", 1000, "eur", NOW, intent_id="pi_1")
WITHOUT_INTENT = replace(PAYMENT, status="creating", intent_id=None)
PAID = Intent("pi_1", "b", "succeeded", 1000, 1000, "eur")
SECOND = Intent("pi_2", "b", "succeeded", 1000, 1000, "eur")
CANCELED = Intent("pi_3", "b", "canceled", 1000, 0, "eur")
CAPTURED_THEN_CANCELED = Intent("pi_4", "b", "canceled", 1000, 400, "eur")

NAMED = ("b", "pi_1", 1000, "eur")
PLANS: dict[str, tuple[Case, list[Action]]] = {
    "both know it": (Case("b", BOOKING, PAYMENT, intents=(PAID,)), [Action(Kind.COMPARE, *NAMED)]),
    "payment's row is gone": (Case("b", BOOKING, intents=(PAID,)), [Action(Kind.ADOPT, *NAMED)]),
    "payment's row has forgotten its intent": (
        Case("b", BOOKING, WITHOUT_INTENT, intents=(PAID,)),
        [Action(Kind.ADOPT, *NAMED)],
    ),
    # The customer has the client secret of booking's intent.
    "payment's row has another intent": (
        Case("b", BOOKING, replace(PAYMENT, intent_id="pi_2"), intents=(PAID, SECOND)),
        [Action(Kind.ADOPT, *NAMED), Action(Kind.STRAY, "b", "pi_2")],
    ),
    "booking has no report of it": (Case("b", UNREPORTED, PAYMENT, intents=(PAID,)), [Action(Kind.COMPARE, "b")]),
    "Stripe alone knows it": (Case("b", UNREPORTED, intents=(PAID,)), [Action(Kind.ADOPT, "b", "pi_1")]),
    "no source has an intent": (Case("b", UNREPORTED), [Action(Kind.ADOPT, "b")]),
    "the booking is gone": (Case("b", None, PAYMENT, intents=(PAID,)), [Action(Kind.RETURN, "b")]),
    "both rows are gone": (Case("b", intents=(PAID,)), [Action(Kind.RETURN, "b", "pi_1")]),
    "a second intent was paid": (
        Case("b", BOOKING, PAYMENT, intents=(PAID, SECOND)),
        [Action(Kind.COMPARE, *NAMED), Action(Kind.STRAY, "b", "pi_2")],
    ),
    "a second intent never had money": (
        Case("b", BOOKING, PAYMENT, intents=(PAID, CANCELED)),
        [Action(Kind.COMPARE, *NAMED)],
    ),
    "a second intent was captured before it was canceled": (
        Case("b", BOOKING, PAYMENT, intents=(PAID, CAPTURED_THEN_CANCELED)),
        [Action(Kind.COMPARE, *NAMED), Action(Kind.STRAY, "b", "pi_4")],
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_what_is_done_about_a_case(name: str) -> None:
    case, actions = PLANS[name]
    assert list(of_case(case)) == actions


def test_seats_are_counted_once_for_each_ticket_type_and_first() -> None:
    findings = [Finding("seats", "t1", "held 3"), Finding("summary", "b", "paid"), Finding("seats", "t1", "sold 1")]
    case, actions = PLANS["both know it"]
    assert of_findings([*findings, Finding("seats", "t2", "oversold")], [case]) == [
        Action(Kind.SEATS, "t1"),
        Action(Kind.SEATS, "t2"),
        *actions,
    ]


def test_nothing_is_done_about_nothing() -> None:
    assert of_findings([], []) == []


def test_only_bookings_are_repaired_as_bookings() -> None:
    """An event's id, taken for that of a booking that is lost, would have its money given back."""
    rules = ("summary", "seats", "buyers", "event history", "captured", "summary")
    assert bookings_of(Finding(rule, f"of {rule}", "") for rule in rules) == ["of summary", "of captured"]
