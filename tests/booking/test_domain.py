"""The booking's state machine as a table: every state against everything that can happen, once and twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from booking.domain import LIVE, TABLE
from booking.rules import Decision
from booking.state import Booking
from booking.triggers import Cancel, Happening, Refund, Trigger
from common.contracts.errors import HoldfastError
from tests.booking.samples import (
    AMOUNT,
    CONFIRMED,
    DECLINE,
    ENDED,
    OTHER,
    PART,
    PENDING,
    STATES,
    applied,
    asked,
    report,
    violations,
)


@dataclass(frozen=True)
class Expected:
    """What a cell expects. `None` in status: the booking stays as before."""

    status: str | None = None
    reason: str | None = None
    payment: str = ""
    closing: str | None = None
    owed: int | None = None
    follow_up: str = ""
    to_cancel: bool = False
    refusal: str | None = None
    unexpected: bool = False


def to(status: str, payment: str, **values: Any) -> Expected:
    return Expected(status, payment=payment, **values)


def ends(status: str, reason: str, payment: str = "none", **values: Any) -> Expected:
    return Expected(status, reason, payment, **values)


SAME, UNEXPECTED = Expected(), Expected(unexpected=True)
CLOSED, CONFLICT = Expected(refusal="cancellation_closed"), Expected(refusal="conflict")
OVER_LEFT = Expected(refusal="amount_over_left")
STOP = Expected(follow_up="cancel_intent", to_cancel=True)


def back(status: str, reason: str, owed: int = AMOUNT) -> Expected:
    """The booking ends, and money has to go back."""
    return ends(status, reason, "refund_pending", owed=owed, follow_up="refund")


def reported(status: str, free: bool = False, **values: Any) -> Callable[[Booking], Decision]:
    return lambda booking: applied(booking, report(status, **values), seats_free=free)


def requested(what: Happening) -> Callable[[Booking], Decision]:
    return lambda booking: asked(booking, what)


def answered(booking: Booking, happening: str) -> tuple[Decision, str | None]:
    """The decision, and the code of the error if the request is refused."""
    try:
        return WHAT_HAPPENS[happening][1](booking), None
    except HoldfastError as refused:
        return Decision(booking), refused.code


# What can happen to a booking, each with its trigger.
WHAT_HAPPENS: dict[str, tuple[Trigger, Callable[[Booking], Decision]]] = {
    "intent": (Trigger.INTENT_CREATED, reported("requires_payment_method")),
    "rejected": (
        Trigger.INTENT_REJECTED,
        reported("rejected", intent_id=None, client_secret=None, last_error=DECLINE),
    ),
    "declined": (Trigger.DECLINED, reported("requires_payment_method", last_error=DECLINE)),
    "action": (Trigger.ACTION_REQUIRED, reported("requires_action")),
    "processing": (Trigger.PROCESSING, reported("processing")),
    "paid": (Trigger.SUCCEEDED, reported("succeeded")),
    "paid, seats free": (Trigger.SUCCEEDED, reported("succeeded", free=True)),
    "too little": (Trigger.SUCCEEDED, reported("succeeded", free=True, amount_captured=AMOUNT - 1)),
    "too much": (Trigger.SUCCEEDED, reported("succeeded", free=True, amount_captured=AMOUNT + 1)),
    "other currency": (Trigger.SUCCEEDED, reported("succeeded", free=True, currency="usd")),
    "canceled": (Trigger.CANCELED, reported("canceled")),
    "cancel": (Trigger.CANCEL, requested(Cancel("by_operator"))),
    "cancel too late": (Trigger.CANCEL, requested(Cancel("by_customer", allowed=False))),
    "refund": (Trigger.REFUND, requested(Refund(OTHER))),
    "refund of a part": (Trigger.REFUND, requested(Refund(OTHER, PART))),
    "refund of too much": (Trigger.REFUND, requested(Refund(OTHER, AMOUNT + 1))),
    "expired": (Trigger.EXPIRED, requested(Trigger.EXPIRED)),
    "grace over": (Trigger.GRACE_OVER, requested(Trigger.GRACE_OVER)),
}
WRONG = {"too little": AMOUNT - 1, "too much": AMOUNT + 1, "other currency": AMOUNT}
Row = dict[str, Expected]


def wrong(expected: Callable[[int], Expected]) -> Row:
    return {happening: expected(captured) for happening, captured in WRONG.items()}


REFUSED = {"refund": CONFLICT, "refund of a part": CONFLICT, "refund of too much": CONFLICT}
NO_TIME = {"expired": UNEXPECTED, "grace over": UNEXPECTED}


def pending(closing: str | None = None) -> Row:
    """The row of a pending booking; `closing` is the reason for which it is to be cancelled, if any."""
    stop = "cancel_intent" if closing else ""
    cancelling = closing not in (None, "hold_expired")
    paid = back("cancelled", closing or "") if cancelling else to("confirmed", "paid")
    ask_stop: dict[str, Any] = {"follow_up": "cancel_intent"}
    return {
        "intent": to("pending", "awaiting", closing=closing, follow_up=stop),
        "rejected": ends("failed", "payment_rejected"),
        "declined": to("pending", "awaiting", closing=closing, follow_up=stop),
        "action": to("pending", "action_required", closing=closing, follow_up=stop),
        "processing": to("pending", "processing", closing=closing),
        "paid": paid,
        "paid, seats free": paid,
        **wrong(lambda captured: back("failed", "payment_mismatch", captured)),
        "canceled": ends("cancelled", closing or "payment_canceled"),
        "cancel": to("pending", "", closing=closing if cancelling else "by_operator", **ask_stop),
        "cancel too late": CLOSED,
        **REFUSED,
        "expired": to("pending", "", closing=closing or "hold_expired", **ask_stop),
        "grace over": ends("cancelled", closing, to_cancel=True, **ask_stop) if closing else SAME,
    }


NO_WAY_BACK: Row = dict.fromkeys(("intent", "rejected", "declined", "action", "processing", "canceled"), UNEXPECTED)
CONFIRMED_ROW: Row = {
    **NO_WAY_BACK,
    "paid": SAME,
    "paid, seats free": SAME,
    **wrong(lambda _: UNEXPECTED),
    "cancel": back("cancelled", "by_operator"),
    "cancel too late": CLOSED,
    "refund": to("confirmed", "refund_pending", owed=AMOUNT, follow_up="refund"),
    "refund of a part": to("confirmed", "refund_pending", owed=PART, follow_up="refund"),
    "refund of too much": OVER_LEFT,
    **NO_TIME,
}


def ended(status: str, reason: str, **values: Expected) -> Row:
    """The row of a booking that has ended without money: any money that arrives goes back."""
    return {
        **dict.fromkeys(("intent", "declined", "action", "processing"), STOP),
        **dict.fromkeys(("rejected", "canceled", "cancel", "cancel too late"), SAME),
        **dict.fromkeys(("paid", "paid, seats free"), back(status, reason)),
        **wrong(lambda captured: back(status, reason, captured)),
        **REFUSED,
        **NO_TIME,
        **values,
    }


def owed(status: str, reason: str) -> Row:
    """The refund is owed already; a report of another captured amount can make it smaller, not larger."""
    left = {
        happening: ends(status, reason, "refund_pending", owed=min(AMOUNT, WRONG[happening])) for happening in WRONG
    }
    return ended(status, reason) | {"paid": SAME, "paid, seats free": SAME} | left


def under_refund(status: str, reason: str, payment: str) -> Row:
    """The row of an ended booking whose refund payment knows: its payment status follows payment's reports."""
    row = ended(status, reason)
    may = payment == "refund_failed"
    return row | {
        "refund": back(status, reason) if may else CONFLICT,
        "refund of a part": back(status, reason, PART) if may else CONFLICT,
        "refund of too much": OVER_LEFT if may else CONFLICT,
    }


def released() -> Row:
    """The row of a booking that ended before Stripe answered: a report that its intent has ended ends the requests
    to cancel it."""
    row = ended("cancelled", "hold_expired") | {"paid, seats free": to("confirmed", "paid")}
    waits = ("cancel too late", *REFUSED, *NO_TIME)
    return {
        **row,
        **{happening: replace(row[happening], to_cancel=True) for happening in waits},
        "cancel": ends("cancelled", "by_operator", to_cancel=True),
    }


EXPECTED: dict[str, Row] = {
    **dict.fromkeys(("creating", "awaiting", "declined", "action required"), pending()),
    "processing": pending() | {"expired": SAME},
    "expiring": pending("hold_expired"),
    "expiring, no intent": pending("hold_expired"),
    "expiring, processing": pending("hold_expired") | {"expired": SAME, "grace over": SAME},
    "cancelling": pending("by_customer"),
    "cancelling, no intent": pending("by_operator"),
    "cancelling, processing": pending("event_cancelled") | {"expired": SAME, "grace over": SAME},
    "confirmed": CONFIRMED_ROW,
    "confirmed, free": CONFIRMED_ROW
    | {"paid": UNEXPECTED, "paid, seats free": UNEXPECTED}
    | {"cancel": ends("cancelled", "by_operator"), **REFUSED},
    "confirmed, part owed": CONFIRMED_ROW
    | {"cancel": ends("cancelled", "by_operator", "refund_pending", owed=PART), **REFUSED},
    # The rest is owed only when it is known how much of the part has gone back.
    "confirmed, part on its way": CONFIRMED_ROW
    | {"paid": to("confirmed", "paid"), "paid, seats free": to("confirmed", "paid")}
    | {"cancel": ends("cancelled", "by_operator", "refund_pending"), **REFUSED},
    "confirmed, part back": CONFIRMED_ROW
    | {"paid": to("confirmed", "paid"), "paid, seats free": to("confirmed", "paid")}
    | {"cancel": back("cancelled", "by_operator", AMOUNT - PART)}
    | {"refund": to("confirmed", "refund_pending", owed=AMOUNT - PART, follow_up="refund")},
    "confirmed, refund failed": CONFIRMED_ROW
    | {"paid": to("confirmed", "paid"), "paid, seats free": to("confirmed", "paid")},
    "confirmed, disputed": CONFIRMED_ROW
    | {"paid": to("confirmed", "paid"), "paid, seats free": to("confirmed", "paid")}
    | {"cancel": ends("cancelled", "by_operator", "disputed", owed=AMOUNT, follow_up="refund")}
    | {"refund": to("confirmed", "disputed", owed=AMOUNT, follow_up="refund")}
    | {"refund of a part": to("confirmed", "disputed", owed=PART, follow_up="refund")},
    "hold expired": ended("cancelled", "hold_expired")
    | {"paid, seats free": to("confirmed", "paid"), "cancel": ends("cancelled", "by_operator")},
    "hold expired, owed": owed("cancelled", "hold_expired"),
    "hold expired, refund failed": under_refund("cancelled", "hold_expired", "refund_failed"),
    "released": released(),
    "cancelled unpaid": ended("cancelled", "by_customer"),
    "cancelled, owed": owed("cancelled", "by_customer"),
    "cancelled, on its way": under_refund("cancelled", "by_customer", "refund_pending"),
    "cancelled, refunded": under_refund("cancelled", "refunded", "refunded"),
    "cancelled, refund failed": under_refund("cancelled", "by_operator", "refund_failed"),
    "sold out": ended("failed", "sold_out"),
    "rejected": ended("failed", "payment_rejected"),
    "mismatch, owed": owed("failed", "payment_mismatch"),
}


# A row of the table is one test: for each cell pytest would take many times as long as the cell itself. When one
# fails, the values of `state` and `happening` stand above it.
@pytest.mark.parametrize("state", STATES)
def test_every_state_against_everything_that_can_happen(state: str) -> None:
    """Each cell says how the booking changes, what booking asks payment for, and how a request is answered."""
    for happening in WHAT_HAPPENS:
        assert_as_expected(state, happening)


def assert_as_expected(state: str, happening: str) -> None:
    before, expected = STATES[state], EXPECTED[state][happening]
    decision, refusal = answered(before, happening)
    after = decision.booking

    assert (refusal, decision.unexpected) == (expected.refusal, expected.unexpected)
    assert [each.value for each in decision.follow_ups] == [each for each in [expected.follow_up] if each]
    assert after.intent_to_cancel == expected.to_cancel
    if expected.status is None:
        assert after._replace(
            payment_version=before.payment_version,
            payment_digest=before.payment_digest,
            intent_id=before.intent_id,
            intent_to_cancel=before.intent_to_cancel,
            retry_at=before.retry_at,
        ) == before._replace(version=after.version, updated_at=after.updated_at)
    else:
        payment = expected.payment or before.payment
        assert (after.status, after.reason, after.payment) == (expected.status, expected.reason, payment)
        assert (after.closing, after.refund_amount) == (expected.closing, expected.owed)
    assert violations(after) == []
    but_the_report = after._replace(payment_version=before.payment_version, payment_digest=before.payment_digest)
    assert after.version == before.version + (but_the_report != before)


@pytest.mark.parametrize("state", STATES)
def test_a_repeated_report_or_request_changes_nothing_more(state: str) -> None:
    """The answer is the same as before. What the reconciler will ask for again need not be asked for again here."""
    for happening in WHAT_HAPPENS:
        if happening != "grace over":
            assert_nothing_more(state, happening)


def assert_nothing_more(state: str, happening: str) -> None:
    first, refusal = answered(STATES[state], happening)
    second, again = answered(first.booking, happening)

    assert second.booking == first.booking
    assert again == refusal
    assert second.follow_ups == first.follow_ups or (second.follow_ups == () and first.booking.retry_at is not None)


@pytest.mark.parametrize("state", STATES)
def test_a_report_with_a_lower_version_changes_nothing(state: str) -> None:
    """Its version is lower than the version that the booking has applied."""
    before = STATES[state]._replace(payment_version=9)
    reports = {happening: act for happening, (signal, act) in WHAT_HAPPENS.items() if signal in LIVE}

    assert reports
    assert {happening: act(before) for happening, act in reports.items()} == dict.fromkeys(
        reports, Decision(before)
    )


def test_the_table_of_the_tests_is_complete() -> None:
    """Every state meets everything that can happen; every row of the state table is met, and no other."""
    assert set(EXPECTED) == set(STATES)
    assert all(set(row) == set(WHAT_HAPPENS) for row in EXPECTED.values())
    met = {
        (STATES[state].status, signal)
        for state in STATES
        for happening, (signal, _) in WHAT_HAPPENS.items()
        if not EXPECTED[state][happening].unexpected
    }
    # These have their own tests: a refund in full follows from a report, failed refunds are retried by request, and
    # a customer is no part of what is expected here.
    own = (Trigger.REFUNDED_IN_FULL, Trigger.RETRY_REFUNDS, Trigger.SET_CUSTOMER)
    others = {key for key in TABLE if key[1] in own}
    assert met | others == set(TABLE)
    assert len(PENDING) + len(CONFIRMED) + len(ENDED) == len(STATES)
    assert [name for name, each in STATES.items() if violations(each)] == []
