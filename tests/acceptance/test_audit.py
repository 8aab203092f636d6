"""The audit itself: each promise broken in a copy of clean books is found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.acceptance.audit import Books, Row, discrepancies

A, B = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


def booking(of: str, **changes: Any) -> Row:
    return {
        "id": of,
        "items": '[{"ticket_type_id": "t", "quantity": 2, "unit_amount": 500}]',
        "amount": 1000,
        "currency": "eur",
        "status": "confirmed",
        "payment": "paid",
        "intent_id": f"pi_{of[0]}",
        "amount_captured": 1000,
        "amount_refunded": 0,
        "refund_amount": None,
        "version": 1,
        "settle_after": None,
        **changes,
    }


def payment(of: str, **changes: Any) -> Row:
    return {
        "booking_id": of,
        "intent_id": f"pi_{of[0]}",
        "status": "succeeded",
        "amount_captured": 1000,
        "amount_refunded": 0,
        "version": 3,
        "reported_version": 3,
        "report_after": None,
        **changes,
    }


def intent(of: str, **changes: Any) -> Row:
    return {
        "id": f"pi_{of[0]}",
        "metadata": {"booking_id": of},
        "status": "succeeded",
        "amount_received": 1000,
        "currency": "eur",
        **changes,
    }


def stripe_refund(of: str, **changes: Any) -> Row:
    metadata = {"booking_id": of, "refund_id": f"r_{of[0]}"}
    row = {"id": "re_1", "payment_intent": f"pi_{of[0]}", "metadata": metadata}
    return {**row, "amount": 1000, "status": "succeeded", **changes}


TYPE = {"id": "t", "capacity": 4, "held": 0, "sold": 2}
CANCELLED = booking(B, status="cancelled", payment="refunded", amount_refunded=1000)
HISTORY = [
    {"booking_id": A, "version": 1, "to_status": "confirmed"},
    {"booking_id": B, "version": 1, "to_status": "cancelled"},
]
CLEAN = Books(
    ticket_types=[TYPE],
    bookings=[booking(A), CANCELLED],
    transitions=HISTORY,
    payments=[payment(A), payment(B, amount_refunded=1000)],
    intents=[intent(A), intent(B)],
    stripe_refunds=[stripe_refund(B)],
    mailboxes={"booking.commands": 0},
)


def with_first(name: str, **changes: Any) -> Books:
    first, *rest = getattr(CLEAN, name)
    rows: Any = {name: [{**first, **changes}, *rest]}
    return replace(CLEAN, **rows)


def test_clean_books_have_no_discrepancy() -> None:
    assert discrepancies(CLEAN) == []


BROKEN: dict[str, tuple[Books, str]] = {
    "sold counter": (with_first("ticket_types", sold=1), "ticket type t"),
    "held counter": (with_first("ticket_types", held=1), "ticket type t"),
    "oversold": (with_first("ticket_types", capacity=1), "2 seats given of 1"),
    "unknown ticket type": (replace(CLEAN, ticket_types=[]), "is not there"),
    "stuck": (with_first("bookings", refund_amount=5), "driven on at None"),
    "driven on though settled": (with_first("bookings", settle_after="now"), "driven on at now"),
    "unreported": (with_first("payments", version=4), "acknowledged 3"),
    "gap in the history": (with_first("transitions", version=2), "history [2]"),
    "other end of the history": (with_first("transitions", to_status="failed"), "history failed"),
    "money for nobody": (with_first("intents", metadata={}), "captured for no booking"),
    "wrong amount": (with_first("intents", amount_received=900), "not its amount"),
    "wrong currency": (with_first("intents", currency="usd"), "not its amount"),
    "never paid": (with_first("intents", amount_received=0, status="processing"), "never paid"),
    "kept money": (replace(CLEAN, stripe_refunds=[]), "not all of it goes back"),
    "failed refund": (with_first("stripe_refunds", status="failed"), "not all of it goes back"),
    "refunded too much": (with_first("stripe_refunds", amount=1001), "more than there was"),
    "refund made twice": (
        replace(CLEAN, stripe_refunds=[stripe_refund(B, amount=500), stripe_refund(B, id="re_2", amount=500)]),
        "made 2 times",
    ),
    "two live intents": (
        replace(CLEAN, intents=[*CLEAN.intents, intent(A, id="pi_x", status="processing", amount_received=0)]),
        "2 live intents",
    ),
    "paid twice": (replace(CLEAN, intents=[*CLEAN.intents, intent(A, id="pi_x")]), "paid 2 times"),
    "payment behind Stripe": (with_first("payments", status="processing"), "at Stripe succeeded"),
    "intent Stripe does not know": (with_first("payments", intent_id="pi_y"), "is not at Stripe"),
    "booking behind its payment": (with_first("bookings", amount_captured=0), "amount_captured 0"),
    "payment without a booking": (with_first("payments", booking_id="z"), "no such booking"),
    "work left": (replace(CLEAN, mailboxes={"booking.commands": 1}), "1 left"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_promise_is_found(name: str) -> None:
    books, told = BROKEN[name]
    assert any(told in line for line in discrepancies(books)), discrepancies(books)


def test_refund_that_is_owed_counts_as_given_back() -> None:
    owed = booking(B, status="cancelled", payment="refund_pending", refund_amount=1000, settle_after="soon")
    books = replace(CLEAN, bookings=[booking(A), owed], payments=[payment(A), payment(B)], stripe_refunds=[])
    assert discrepancies(books) == []


def test_part_of_the_money_may_be_given_back() -> None:
    row = booking(A, amount_refunded=300)
    books = replace(
        CLEAN,
        bookings=[row, CANCELLED],
        payments=[payment(A, amount_refunded=300), payment(B, amount_refunded=1000)],
        stripe_refunds=[stripe_refund(B), stripe_refund(A, amount=300)],
    )
    assert discrepancies(books) == []
