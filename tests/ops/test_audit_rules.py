"""The audit's rules: each promise that a copy of a clean case breaks is found; work under way is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops.audit.money import STUCK
from ops.audit.records import Booking, Buyer, Case, Change, CheckIn, Intent, Payment, Refund, Seats, StripeRefund
from ops.audit.rules import judge, judge_buyer, judge_check_in, judge_seats

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(seconds=10)
LATE = NOW - STUCK - timedelta(seconds=1)
EARLIER = NOW - timedelta(hours=1)
ID, PI = "11111111-1111-1111-1111-111111111111", "pi_1"

HISTORY = (Change(1, None, "pending"), Change(2, "pending", "confirmed"))
PAID = Case(
    id=ID,
    booking=Booking(
        id=ID,
        status="confirmed",
        payment="paid",
        amount=1000,
        items_amount=1000,
        currency="eur",
        created_at=EARLIER,
        intent_id=PI,
        payment_version=2,
        amount_captured=1000,
        version=2,
        history=HISTORY,
    ),
    payment=Payment(
        booking_id=ID,
        status="succeeded",
        amount=1000,
        currency="eur",
        created_at=EARLIER,
        intent_id=PI,
        amount_captured=1000,
        version=2,
        reported_version=2,
    ),
    intents=(Intent(PI, ID, "succeeded", 1000, 1000, "eur"),),
)


def change(case: Case, part: str, **fields: Any) -> Case:
    """A copy of `case` with other fields in its `booking` or `payment`."""
    changed: dict[str, Any] = {part: replace(getattr(case, part), **fields)}
    return replace(case, **changed)


def at_stripe(case: Case, **fields: Any) -> Case:
    return replace(case, intents=(replace(case.intents[0], **fields),))


def ended(case: Case, status: str) -> Case:
    """A copy of `case` with another last status."""
    return change(case, "booking", status=status, history=(HISTORY[0], Change(2, "pending", status)))


PENDING = at_stripe(
    change(
        change(
            PAID,
            "booking",
            status="pending",
            payment="awaiting",
            amount_captured=0,
            version=1,
            payment_version=1,
            retry_at=SOON,
            history=HISTORY[:1],
        ),
        "payment",
        status="requires_payment_method",
        amount_captured=0,
        version=1,
        reported_version=1,
    ),
    status="requires_payment_method",
    received=0,
)
GIVEN_BACK = replace(
    change(
        change(ended(PAID, "cancelled"), "booking", payment="refunded", amount_refunded=1000, refund_id="r"),
        "payment",
        amount_refunded=1000,
    ),
    refunds=(Refund("r", 1000, "succeeded", "re_1"),),
    stripe_refunds=(StripeRefund("re_1", PI, "r", 1000, "succeeded"),),
)
PARTLY = replace(
    change(
        change(PAID, "booking", payment="partially_refunded", amount_refunded=300, refund_id="r"),
        "payment",
        amount_refunded=300,
    ),
    refunds=(Refund("r", 300, "succeeded", "re_1"),),
    stripe_refunds=(StripeRefund("re_1", PI, "r", 300, "succeeded"),),
)
# The booking owes the refund, and payment has not received it yet.
OWED = change(
    ended(PAID, "cancelled"),
    "booking",
    payment="refund_pending",
    refund_id="r",
    refund_amount=1000,
    retry_at=SOON,
)
REQUESTED = replace(
    change(ended(PAID, "cancelled"), "booking", payment="refund_pending", refund_id="r"),
    refunds=(Refund("r", 1000, "requested", None, SOON),),
)
CREATING = replace(
    change(
        change(PENDING, "booking", payment="creating", intent_id=None, payment_version=0),
        "payment",
        status="creating",
        intent_id=None,
        version=0,
        reported_version=0,
        retry_at=SOON,
    ),
    intents=(),
)
PROMISED = replace(CREATING, payment=None)
FREE = change(
    PROMISED,
    "booking",
    status="confirmed",
    payment="none",
    amount=0,
    items_amount=0,
    retry_at=None,
    history=(Change(1, None, "confirmed"),),
)
SECOND = Intent("pi_2", ID, "requires_payment_method", 1000, 0, "eur")
CANCELED = replace(SECOND, status="canceled")

CLEAN: dict[str, tuple[Case, list[str]]] = {
    "paid": (PAID, []),
    "free": (FREE, []),
    "never asked for, and its payment row is lost": (
        change(
            ended(PROMISED, "cancelled"), "booking", payment="none", payment_version=1, version=2, retry_at=None
        ),
        [],
    ),
    "hold": (PENDING, ["hold"]),
    "queued for its intent": (PROMISED, ["hold"]),
    "intent asked for": (CREATING, ["hold", "Stripe to be asked"]),
    "intent made, answer lost": (replace(CREATING, intents=PENDING.intents), ["hold", "Stripe to be asked"]),
    "expiring": (change(PENDING, "booking", closing="hold_expired"), ["closing"]),
    "given back": (GIVEN_BACK, []),
    "partly given back": (PARTLY, []),
    "refund owed": (OWED, ["refund owed"]),
    "refund owed and asked for": (replace(OWED, refunds=REQUESTED.refunds), ["refund owed", "refund asked for"]),
    "refund asked for": (REQUESTED, ["refund asked for"]),
    "refund made, answer lost": (
        replace(REQUESTED, stripe_refunds=(StripeRefund("re_1", PI, "r", 1000, "pending"),)),
        ["refund asked for"],
    ),
    "refund on its way": (
        replace(
            REQUESTED,
            refunds=(Refund("r", 1000, "pending", "re_1"),),
            stripe_refunds=(StripeRefund("re_1", PI, "r", 1000, "pending"),),
        ),
        ["refund on its way"],
    ),
    "success not yet reported": (
        change(change(PAID, "booking", amount_captured=0), "payment", reported_version=1, report_retry_at=SOON),
        ["report on its way"],
    ),
    "late money not yet reported": (
        change(ended(PAID, "cancelled"), "payment", reported_version=1, report_retry_at=SOON),
        ["report on its way"],
    ),
    "intent of a released hold": (
        change(
            change(ended(PENDING, "cancelled"), "booking", payment="none", version=2, retry_at=None),
            "payment",
            cancel_requested=True,
            retry_at=SOON,
        ),
        ["intent to be canceled", "Stripe to be asked"],
    ),
    "released, and no report of its intent": (
        change(
            ended(PROMISED, "cancelled"),
            "booking",
            payment="none",
            intent_to_cancel=True,
            version=2,
            retry_at=SOON,
        ),
        ["intent to be canceled"],
    ),
    "canceled, of another amount: its booking was lost and made anew": (
        at_stripe(
            change(
                change(ended(PENDING, "cancelled"), "booking", payment="none", version=2, retry_at=None),
                "payment",
                status="canceled",
            ),
            status="canceled",
            amount=1100,
        ),
        [],
    ),
    "another intent that was canceled": (replace(PAID, intents=(*PAID.intents, CANCELED)), []),
    "money taken back by the bank": (
        change(change(ended(PAID, "cancelled"), "booking", payment="disputed"), "payment", dispute_status="lost"),
        [],
    ),
}


@pytest.mark.parametrize("name", CLEAN)
def test_what_is_right_or_under_way_is_no_finding(name: str) -> None:
    case, under_way = CLEAN[name]
    verdict = judge(case, NOW)
    assert verdict.findings == ()
    assert list(verdict.under_way) == under_way


BROKEN: dict[str, tuple[Case, str, str]] = {
    "confirmed and never paid": (replace(PAID, intents=(SECOND,)), "captured", "captured 0"),
    "confirmed for another amount": (at_stripe(PAID, received=900), "captured", "captured 900"),
    "confirmed in another currency": (at_stripe(PAID, currency="usd"), "captured", "captured 1000 usd"),
    "confirmed free of charge, and paid": (
        change(PAID, "booking", amount=0, items_amount=0),
        "captured",
        "confirmed for 0",
    ),
    "confirmed with all of it given back": (
        replace(
            change(
                change(PAID, "booking", payment="refunded", amount_refunded=1000), "payment", amount_refunded=1000
            ),
            refunds=GIVEN_BACK.refunds,
            stripe_refunds=GIVEN_BACK.stripe_refunds,
        ),
        "captured",
        "all of 1000 was given back",
    ),
    "money kept": (ended(PAID, "cancelled"), "captured", "1000 kept"),
    "money of a failed booking kept": (ended(PAID, "failed"), "captured", "1000 kept"),
    "part of the money kept": (
        replace(GIVEN_BACK, stripe_refunds=(StripeRefund("re_1", PI, "r", 400, "succeeded"),)),
        "captured",
        "600 kept",
    ),
    "refund failed": (
        replace(GIVEN_BACK, stripe_refunds=(StripeRefund("re_1", PI, "r", 1000, "failed"),)),
        "captured",
        "1000 kept",
    ),
    "given back more than there was": (
        replace(
            GIVEN_BACK, stripe_refunds=(*GIVEN_BACK.stripe_refunds, StripeRefund("re_2", PI, None, 1, "pending"))
        ),
        "captured",
        "more than there was",
    ),
    "owed more than there was": (
        replace(OWED, stripe_refunds=(StripeRefund("re_1", PI, None, 1, "succeeded"),)),
        "captured",
        "more than there was",
    ),
    "paid twice": (
        replace(PAID, intents=(*PAID.intents, replace(PAID.intents[0], id="pi_2"))),
        "captured",
        "paid 2 times",
    ),
    "two live intents": (replace(PENDING, intents=(*PENDING.intents, SECOND)), "one intent", "2 live intents"),
    "a refund made twice": (
        replace(
            PARTLY,
            stripe_refunds=(*PARTLY.stripe_refunds, StripeRefund("re_2", PI, "r", 300, "succeeded")),
        ),
        "refund twice",
        "made 2 times",
    ),
    "refund unknown to payment": (
        replace(PAID, stripe_refunds=(StripeRefund("re_1", PI, None, 300, "succeeded"),)),
        "refund",
        "unknown to payment",
    ),
    "refund not at Stripe": (replace(PARTLY, stripe_refunds=()), "refund", "not at Stripe"),
    "refund recorded as made without one at Stripe": (
        replace(PARTLY, refunds=(Refund("r", 300, "succeeded"),), stripe_refunds=()),
        "refund",
        "without one at Stripe",
    ),
    "refund in another state": (
        replace(PARTLY, stripe_refunds=(StripeRefund("re_1", PI, "r", 300, "pending"),)),
        "refund",
        "Stripe: pending 300",
    ),
    "sum of the refunds": (change(PARTLY, "payment", amount_refunded=200), "refund", "its refunds 300"),
    "refunds over what was captured": (
        replace(PARTLY, refunds=(*PARTLY.refunds, Refund("s", 800, "requested", None, SOON))),
        "refund",
        "refunds of 1100",
    ),
    "payment behind Stripe": (change(PAID, "payment", status="processing"), "intent", "Stripe: succeeded"),
    "captured otherwise at Stripe": (at_stripe(PAID, received=900), "intent", "captured 1000; Stripe: 900"),
    "intent of another amount": (at_stripe(PAID, amount=1100), "intent", "Stripe: 1100"),
    "live intent of another amount": (at_stripe(PENDING, amount=1100), "intent", "Stripe: 1100"),
    "intent in another currency": (at_stripe(PAID, currency="usd"), "intent", "Stripe: usd"),
    "intent not at Stripe": (replace(PAID, intents=()), "intent", "not at Stripe"),
    "intent of another booking": (at_stripe(PAID, booking_id="other"), "intent", "for booking other"),
    "intent unknown to payment": (replace(PAID, intents=(*PAID.intents, SECOND)), "intent", "unknown to payment"),
    "intent for no booking": (Case(ID, intents=PAID.intents), "intent", "for no booking"),
    "payment for no booking": (replace(PAID, booking=None), "summary", "no such booking"),
    "booking with an intent that payment has not": (replace(PAID, payment=None), "summary", "has nothing of it"),
    "summary of the intent": (change(PAID, "booking", intent_id="pi_2"), "summary", "intent pi_2"),
    "summary of what was captured": (change(PAID, "booking", amount_captured=900), "summary", "captured 900"),
    "summary of what was refunded": (change(PARTLY, "booking", amount_refunded=0), "summary", "refunded 0"),
    "summary of an old version": (change(PAID, "booking", payment_version=1), "summary", "payment's version 1"),
    "summary in words": (change(PAID, "booking", payment="refunded"), "summary", "so paid"),
    "pending though paid": (
        change(ended(PAID, "pending"), "booking", retry_at=SOON, payment="processing"),
        "summary",
        "pending, payment processing",
    ),
    "pending though canceled": (change(PENDING, "payment", status="canceled"), "summary", "payment: canceled"),
    "pending, without a retry time": (change(PENDING, "booking", retry_at=None), "stuck", "no retry time"),
    "pending, and stuck": (change(PENDING, "booking", retry_at=LATE), "stuck", "stuck"),
    "refund owed, without a retry time": (change(OWED, "booking", retry_at=None), "stuck", "no retry time"),
    "intent to be canceled, without a retry time": (
        change(PENDING, "booking", status="cancelled", intent_to_cancel=True, retry_at=None),
        "stuck",
        "no retry time",
    ),
    "finished, and stuck": (change(PAID, "booking", retry_at=LATE), "stuck", "stuck"),
    "report without a retry time": (change(PAID, "payment", version=3), "stuck", "no retry time"),
    "report stuck": (change(PAID, "payment", version=3, report_retry_at=LATE), "stuck", "acknowledged 2"),
    "intent asked for, without a retry time": (
        change(CREATING, "payment", retry_at=None),
        "stuck",
        "payment creating",
    ),
    "cancel asked for, without a retry time": (
        change(PENDING, "payment", cancel_requested=True),
        "stuck",
        "no retry time",
    ),
    "refund stuck": (
        replace(REQUESTED, refunds=(Refund("r", 1000, "requested", None, LATE),)),
        "stuck",
        "refund r",
    ),
    "a gap in the history": (change(PAID, "booking", history=HISTORY[1:]), "history", "history [2]"),
    "a doubled version": (change(PAID, "booking", history=(HISTORY[0], *HISTORY)), "history", "[1, 1, 2]"),
    "no history": (change(PAID, "booking", history=()), "history", "history []"),
    "a jump in the history": (
        change(PAID, "booking", history=(HISTORY[0], Change(2, "failed", "confirmed"))),
        "history",
        "begins as failed",
    ),
    "another end of the history": (change(PAID, "booking", status="failed"), "history", "ends confirmed"),
    "items of another amount": (change(PAID, "booking", items_amount=999), "items", "its items 999"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_match_is_found(name: str) -> None:
    case, rule, text = BROKEN[name]
    found = judge(case, NOW).findings
    assert any(each.rule == rule and text in each.text and each.id == ID for each in found), found


def test_work_that_is_due_is_not_yet_stuck() -> None:
    case = change(PENDING, "booking", retry_at=NOW - timedelta(seconds=100))
    assert judge(case, NOW).findings == ()


SEATS: dict[str, tuple[Seats, Iterable[str]]] = {
    "right": (Seats("t", 4, 1, 3, 1, 3), []),
    "held": (Seats("t", 4, 2, 1, 1, 1), ["held 2, sold 1"]),
    "sold": (Seats("t", 4, 1, 1, 1, 2), ["held 1, sold 1"]),
    "oversold": (Seats("t", 4, 2, 3, 2, 3), ["5 seats given of 4"]),
    "oversold, and the counters do not say so": (Seats("t", 4, 1, 3, 2, 3), ["held 1", "5 seats given of 4"]),
    "reserved": (Seats("t", 4, 3, 1, 1, 1, reserved=2, waiting=3, wanted=3), []),
    "reserved, and not held": (
        Seats("t", 4, 1, 3, 1, 3, reserved=1, waiting=1, wanted=1),
        ["reserved 1", "5 seats"],
    ),
    "more reserved than wanted": (Seats("t", 4, 2, 0, 0, 0, reserved=2, waiting=1, wanted=1), ["2 reserved of 1"]),
    "waited for by nobody": (Seats("t", 4, 0, 0, 0, 0, waiting=1), ["entries want 0"]),
    "no such ticket type": (Seats("t", None, 0, 0, 1, 0), ["no such ticket type"]),
}


def test_buyers_are_counted() -> None:
    assert judge_buyer(Buyer("e:owner:alice", 3, 1, 3, 1)) == []
    (found,) = judge_buyer(Buyer("e:owner:alice", 3, 1, 2, 1))
    assert (found.rule, found.id) == ("buyers", "e:owner:alice")


CHECK_INS: dict[str, tuple[CheckIn, Iterable[str]]] = {
    "right": (CheckIn("c", 2, 2, "confirmed"), []),
    "no such seat": (CheckIn("c", 3, 2, "confirmed"), ["seat 3 of 2"]),
    "cancelled by then": (CheckIn("c", 1, 2, "cancelled"), ["its booking was cancelled"]),
    "no such booking": (CheckIn("c", 1, 0, None), ["its booking was not there", "seat 1 of 0"]),
}


@pytest.mark.parametrize("name", CHECK_INS)
def test_check_ins_belong_to_sold_seats(name: str) -> None:
    row, texts = CHECK_INS[name]
    assert [(each.rule, each.id, each.text) for each in judge_check_in(row)] == [
        ("check-ins", "c", text) for text in texts
    ]


@pytest.mark.parametrize("name", SEATS)
def test_seats_are_counted(name: str) -> None:
    row, texts = SEATS[name]
    found = judge_seats(row)
    assert len(found) == len(list(texts))
    assert all(text in each.text and each.rule == "seats" for each, text in zip(found, texts, strict=True))
