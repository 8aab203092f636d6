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
    asked,
    report,
    taken,
    violations,
)


@dataclass(frozen=True)
class Outcome:
    """What a cell expects. `None` in status: the booking stays as before."""

    status: str | None = None
    reason: str | None = None
    payment: str = ""
    closing: str | None = None
    owed: int | None = None
    follow: str = ""
    to_cancel: bool = False
    refusal: str | None = None
    unexpected: bool = False


def to(status: str, payment: str, **values: Any) -> Outcome:
    return Outcome(status, payment=payment, **values)


def ends(status: str, reason: str, payment: str = "none", **values: Any) -> Outcome:
    return Outcome(status, reason, payment, **values)


SAME, UNEXPECTED = Outcome(), Outcome(unexpected=True)
CLOSED, CONFLICT = Outcome(refusal="cancellation_closed"), Outcome(refusal="conflict")
OVER_LEFT = Outcome(refusal="amount_over_left")
STOP = Outcome(follow="cancel_intent", to_cancel=True)


def back(status: str, reason: str, owed: int = AMOUNT) -> Outcome:
    """The booking ends, and money has to go back."""
    return ends(status, reason, "refund_pending", owed=owed, follow="refund")


def tell(status: str, free: bool = False, **values: Any) -> Callable[[Booking], Decision]:
    return lambda booking: taken(booking, report(status, **values), seats_free=free)


def ask(what: Happening) -> Callable[[Booking], Decision]:
    return lambda booking: asked(booking, what)


def answered(booking: Booking, news: str) -> tuple[Decision, str | None]:
    """The decision, and the code of the error if the request is refused."""
    try:
        return NEWS[news][1](booking), None
    except HoldfastError as refused:
        return Decision(booking), refused.code


# What can happen to a booking, each with its trigger.
NEWS: dict[str, tuple[Trigger, Callable[[Booking], Decision]]] = {
    "intent": (Trigger.INTENT_CREATED, tell("requires_payment_method")),
    "rejected": (Trigger.INTENT_REJECTED, tell("rejected", intent_id=None, client_secret=None, last_error=DECLINE)),
    "declined": (Trigger.DECLINED, tell("requires_payment_method", last_error=DECLINE)),
    "action": (Trigger.ACTION_REQUIRED, tell("requires_action")),
    "processing": (Trigger.PROCESSING, tell("processing")),
    "paid": (Trigger.SUCCEEDED, tell("succeeded")),
    "paid, seats free": (Trigger.SUCCEEDED, tell("succeeded", free=True)),
    "too little": (Trigger.SUCCEEDED, tell("succeeded", free=True, amount_captured=AMOUNT - 1)),
    "too much": (Trigger.SUCCEEDED, tell("succeeded", free=True, amount_captured=AMOUNT + 1)),
    "other currency": (Trigger.SUCCEEDED, tell("succeeded", free=True, currency="usd")),
    "canceled": (Trigger.CANCELED, tell("canceled")),
    "cancel": (Trigger.CANCEL, ask(Cancel("by_operator"))),
    "cancel too late": (Trigger.CANCEL, ask(Cancel("by_customer", allowed=False))),
    "refund": (Trigger.REFUND, ask(Refund(OTHER))),
    "refund of a part": (Trigger.REFUND, ask(Refund(OTHER, PART))),
    "refund of too much": (Trigger.REFUND, ask(Refund(OTHER, AMOUNT + 1))),
    "expired": (Trigger.EXPIRED, ask(Trigger.EXPIRED)),
    "grace over": (Trigger.GRACE_OVER, ask(Trigger.GRACE_OVER)),
}
WRONG = {"too little": AMOUNT - 1, "too much": AMOUNT + 1, "other currency": AMOUNT}
Row = dict[str, Outcome]


def wrong(outcome: Callable[[int], Outcome]) -> Row:
    return {news: outcome(captured) for news, captured in WRONG.items()}


REFUSED = {"refund": CONFLICT, "refund of a part": CONFLICT, "refund of too much": CONFLICT}
NO_TIME = {"expired": UNEXPECTED, "grace over": UNEXPECTED}


def pending(closing: str | None = None) -> Row:
    """The row of a pending booking; `closing` is the reason for which it is to be cancelled, if any."""
    stop = "cancel_intent" if closing else ""
    cancelling = closing not in (None, "hold_expired")
    paid = back("cancelled", closing or "") if cancelling else to("confirmed", "paid")
    ask_stop: dict[str, Any] = {"follow": "cancel_intent"}
    return {
        "intent": to("pending", "awaiting", closing=closing, follow=stop),
        "rejected": ends("failed", "payment_rejected"),
        "declined": to("pending", "awaiting", closing=closing, follow=stop),
        "action": to("pending", "action_required", closing=closing, follow=stop),
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
    "refund": to("confirmed", "refund_pending", owed=AMOUNT, follow="refund"),
    "refund of a part": to("confirmed", "refund_pending", owed=PART, follow="refund"),
    "refund of too much": OVER_LEFT,
    **NO_TIME,
}


def ended(status: str, reason: str, **values: Outcome) -> Row:
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
    left = {news: ends(status, reason, "refund_pending", owed=min(AMOUNT, WRONG[news])) for news in WRONG}
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
        **{news: replace(row[news], to_cancel=True) for news in waits},
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
    | {"refund": to("confirmed", "refund_pending", owed=AMOUNT - PART, follow="refund")},
    "confirmed, refund failed": CONFIRMED_ROW
    | {"paid": to("confirmed", "paid"), "paid, seats free": to("confirmed", "paid")},
    "confirmed, disputed": CONFIRMED_ROW
    | {"paid": to("confirmed", "paid"), "paid, seats free": to("confirmed", "paid")}
    | {"cancel": ends("cancelled", "by_operator", "disputed", owed=AMOUNT, follow="refund")}
    | {"refund": to("confirmed", "disputed", owed=AMOUNT, follow="refund")}
    | {"refund of a part": to("confirmed", "disputed", owed=PART, follow="refund")},
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
CELLS = [(state, news) for state in STATES for news in NEWS]


@pytest.mark.parametrize(("state", "news"), CELLS)
def test_every_state_against_everything_that_can_happen(state: str, news: str) -> None:
    """Each cell says how the booking changes, what booking asks payment for, and how a request is answered."""
    before, expected = STATES[state], EXPECTED[state][news]
    decision, refusal = answered(before, news)
    after = decision.booking

    assert (refusal, decision.unexpected) == (expected.refusal, expected.unexpected)
    assert [each.value for each in decision.follow] == [each for each in [expected.follow] if each]
    assert after.intent_to_cancel == expected.to_cancel
    if expected.status is None:
        assert after._replace(
            payment_version=before.payment_version,
            payment_digest=before.payment_digest,
            intent_id=before.intent_id,
            intent_to_cancel=before.intent_to_cancel,
            settle_after=before.settle_after,
        ) == before._replace(version=after.version, updated_at=after.updated_at)
    else:
        payment = expected.payment or before.payment
        assert (after.status, after.reason, after.payment) == (expected.status, expected.reason, payment)
        assert (after.closing, after.refund_amount) == (expected.closing, expected.owed)
    assert violations(after) == []
    unheard = after._replace(payment_version=before.payment_version, payment_digest=before.payment_digest)
    assert after.version == before.version + (unheard != before)


@pytest.mark.parametrize(("state", "news"), [cell for cell in CELLS if cell[1] != "grace over"])
def test_what_comes_twice_changes_nothing_more(state: str, news: str) -> None:
    """The answer is the same as before. What the reconciler will ask for again need not be asked for again here."""
    first, refusal = answered(STATES[state], news)
    second, again = answered(first.booking, news)

    assert second.booking == first.booking
    assert again == refusal
    assert second.follow == first.follow or (second.follow == () and first.booking.settle_after is not None)


@pytest.mark.parametrize(("state", "news"), [cell for cell in CELLS if NEWS[cell[1]][0] in LIVE])
def test_a_report_that_was_overtaken_changes_nothing(state: str, news: str) -> None:
    """Its version is lower than the version that the booking has applied."""
    before = STATES[state]._replace(payment_version=9)

    assert NEWS[news][1](before) == Decision(before)


def test_the_table_of_the_tests_is_whole() -> None:
    """Every state meets everything that can happen; every row of the state table is met, and no other."""
    assert set(EXPECTED) == set(STATES)
    assert all(set(row) == set(NEWS) for row in EXPECTED.values())
    met = {
        (STATES[state].status, signal)
        for state in STATES
        for news, (signal, _) in NEWS.items()
        if not EXPECTED[state][news].unexpected
    }
    # These have their own tests: a refund in full follows from a report, and failed refunds are retried by request.
    others = {key for key in TABLE if key[1] in (Trigger.REFUNDED_IN_FULL, Trigger.RETRY_REFUNDS)}
    assert met | others == set(TABLE)
    assert len(PENDING) + len(CONFIRMED) + len(ENDED) == len(STATES)
    assert [name for name, each in STATES.items() if violations(each)] == []
