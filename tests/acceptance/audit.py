"""Compares both databases, Stripe's ledger and the mailboxes; says every discrepancy.

The comparisons are pure functions over rows; `read_books` is what fetches them. They hold of a system at rest:
nothing under way, all webhooks delivered.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]

# Statuses of an intent by which money can still come.
LIVE = frozenset(
    {
        "requires_payment_method",
        "requires_confirmation",
        "requires_action",
        "processing",
        "requires_capture",
        "succeeded",
    }
)
# A refund in these gives nothing back.
VOID = frozenset({"failed", "canceled"})


@dataclass(frozen=True)
class Books:
    """All rows that have to agree. `intents` and `stripe_refunds` are Stripe's objects."""

    ticket_types: Sequence[Row] = ()
    bookings: Sequence[Row] = ()
    transitions: Sequence[Row] = ()
    payments: Sequence[Row] = ()
    refunds: Sequence[Row] = ()
    intents: Sequence[Row] = ()
    stripe_refunds: Sequence[Row] = ()
    mailboxes: Mapping[str, int] = field(default_factory=dict)


def discrepancies(books: Books) -> list[str]:
    """Everything that is not as promised; empty when all is well."""
    return [
        *seats(books.ticket_types, books.bookings),
        *unsettled(books.bookings, books.payments),
        *histories(books.bookings, books.transitions),
        *money(books.bookings, books.refunds, books.intents, books.stripe_refunds),
        *one_intent(books.intents),
        *refunds_once(books.stripe_refunds),
        *agreement(books.bookings, books.payments, books.intents),
        *outstanding(books.mailboxes),
    ]


def items_of(booking: Row) -> list[Row]:
    items: list[Row] = json.loads(booking["items"]) if isinstance(booking["items"], str) else booking["items"]
    return items


def seats(ticket_types: Iterable[Row], bookings: Iterable[Row]) -> list[str]:
    """Promise 1: held and sold are the sums over the bookings, and never more than there are."""
    counted: dict[str, Counter[str]] = {"pending": Counter(), "confirmed": Counter()}
    for booking in bookings:
        if booking["status"] in counted:
            for item in items_of(booking):
                counted[booking["status"]][str(item["ticket_type_id"])] += item["quantity"]
    found = []
    for row in ticket_types:
        id = str(row["id"])
        held, sold = counted["pending"].pop(id, 0), counted["confirmed"].pop(id, 0)
        if (row["held"], row["sold"]) != (held, sold):
            found.append(f"ticket type {id}: held {row['held']}, sold {row['sold']}; bookings: {held}, {sold}")
        if held + sold > row["capacity"]:
            found.append(f"ticket type {id}: {held + sold} seats given of {row['capacity']}")
    strays = counted["pending"].keys() | counted["confirmed"].keys()
    return found + [f"ticket type {id} is booked and is not there" for id in strays]


def unsettled(bookings: Iterable[Row], payments: Iterable[Row]) -> list[str]:
    """Promise 2: what still waits for something carries a time at which it is driven on; the rest does not."""
    found = []
    for booking in bookings:
        waits = booking["status"] == "pending" or booking["refund_amount"] is not None
        if waits is not (booking["settle_after"] is not None):
            found.append(
                f"booking {booking['id']}: {booking['status']}, {booking['payment']}, refund owed "
                f"{booking['refund_amount']}, driven on at {booking['settle_after']}"
            )
    found += [
        f"payment {payment['booking_id']}: version {payment['version']}, its booking has "
        f"acknowledged {payment['reported_version']}"
        for payment in payments
        if payment["report_after"] is not None or payment["reported_version"] != payment["version"]
    ]
    return found


def histories(bookings: Iterable[Row], transitions: Iterable[Row]) -> list[str]:
    """Each version of a booking has one row in its history, and the last one is what the booking is."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for transition in transitions:
        rows[str(transition["booking_id"])].append(transition)
    found = []
    for booking in bookings:
        history = sorted(rows[str(booking["id"])], key=lambda row: int(row["version"]))
        versions = [row["version"] for row in history]
        if versions != list(range(1, booking["version"] + 1)):
            found.append(f"booking {booking['id']}: version {booking['version']}, history {versions}")
        elif history[-1]["to_status"] != booking["status"]:
            found.append(f"booking {booking['id']}: {booking['status']}, history {history[-1]['to_status']}")
    return found


def booking_of(thing: Row) -> str | None:
    """The booking that an object at Stripe names."""
    booking_id: str | None = thing["metadata"].get("booking_id")
    return booking_id


def money(
    bookings: Iterable[Row], refunds: Iterable[Row], intents: Iterable[Row], stripe_refunds: Iterable[Row]
) -> list[str]:
    """Promise 3: captured money belongs to one confirmed booking of that amount, or goes back in full."""
    by_id = {str(booking["id"]): booking for booking in bookings}
    asked: Counter[str] = Counter()  # of Stripe not yet, or without an answer
    for refund in refunds:
        if refund["status"] == "requested" and refund["stripe_refund_id"] is None:
            asked[str(refund["booking_id"])] += refund["amount"]
    back: Counter[str] = Counter()
    for refund in stripe_refunds:
        if refund["status"] not in VOID:
            back[refund["payment_intent"]] += refund["amount"]
    found = []
    paid: Counter[str] = Counter()
    for intent in intents:
        captured = intent["amount_received"]
        if not captured:
            continue
        booking = by_id.get(booking_of(intent) or "")
        if booking is None:
            found.append(f"intent {intent['id']}: {captured} captured for no booking")
            continue
        id = str(booking["id"])
        paid[id] += 1
        given = back[intent["id"]] + asked[id] + (booking["refund_amount"] or 0)
        found += _judge(booking, intent, captured, given)
    found += [f"booking {id}: paid {times} times" for id, times in paid.items() if times > 1]
    found += [
        f"booking {id}: confirmed for {booking['amount']} and never paid"
        for id, booking in by_id.items()
        if booking["status"] == "confirmed" and booking["amount"] > 0 and not paid[id]
    ]
    return found


def _judge(booking: Row, intent: Row, captured: int, given: int) -> list[str]:
    told = f"booking {booking['id']}, {booking['status']}, intent {intent['id']}: captured {captured}, back {given}"
    if given > captured:
        return [f"{told}: more than there was"]
    if booking["status"] == "confirmed":
        right = (captured, intent["currency"]) == (booking["amount"], booking["currency"])
        return [] if right and given < captured else [f"{told}: not its amount of {booking['amount']}"]
    return [] if given == captured else [f"{told}: not all of it goes back"]


def one_intent(intents: Iterable[Row]) -> list[str]:
    """Promise 3: at most one intent for each booking by which money can come."""
    live = Counter(booking_of(intent) for intent in intents if intent["status"] in LIVE)
    return [f"booking {id}: {count} live intents" for id, count in live.items() if count > 1]


def refunds_once(stripe_refunds: Iterable[Row]) -> list[str]:
    """Promise 3: each refund of ours was made once."""
    made = Counter(
        refund["metadata"]["refund_id"] for refund in stripe_refunds if "refund_id" in refund["metadata"]
    )
    return [f"refund {id}: made {count} times" for id, count in made.items() if count > 1]


def agreement(bookings: Iterable[Row], payments: Iterable[Row], intents: Iterable[Row]) -> list[str]:
    """Booking, payment and Stripe tell the same of a payment."""
    by_id = {str(booking["id"]): booking for booking in bookings}
    at_stripe = {intent["id"]: intent for intent in intents}
    found = []
    for payment in payments:
        id = str(payment["booking_id"])
        intent = at_stripe.get(payment["intent_id"])
        if payment["intent_id"] is not None and intent is None:
            found.append(f"payment {id}: intent {payment['intent_id']} is not at Stripe")
        if intent is not None and (intent["status"], intent["amount_received"]) != (
            payment["status"],
            payment["amount_captured"],
        ):
            found.append(
                f"payment {id}: {payment['status']}, {payment['amount_captured']} captured; at Stripe "
                f"{intent['status']}, {intent['amount_received']}"
            )
        booking = by_id.get(id)
        if booking is None:
            found.append(f"payment {id}: there is no such booking")
            continue
        columns = ("intent_id", "amount_captured", "amount_refunded")
        found += [
            f"booking {id}: {column} {booking[column]}, payment {payment[column]}"
            for column in columns
            if booking[column] != payment[column]
        ]
    return found


def outstanding(mailboxes: Mapping[str, int]) -> list[str]:
    """A system at rest has no work left."""
    return [f"mailbox {name}: {length} left" for name, length in mailboxes.items() if length]
