"""Bookings in every state that a test may start from, reports of their payments, and the database's checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from booking.domain import apply_report, decide, retry
from booking.rules import Decision
from booking.schedule import retry_time
from booking.state import Booking, HoldPolicy, Item
from booking.triggers import Happening, Report
from common.contracts.errors import HoldfastError
from common.contracts.statuses import BookingStatus, IntentStatus, PaymentStatus
from common.contracts.values import Customer, PaymentError, PaymentState

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
TERMS = HoldPolicy(hold=timedelta(minutes=15), extension=timedelta(minutes=10), grace=timedelta(minutes=5))
AMOUNT, PART = 5000, 1000
SEATS = UUID(int=3)
FIRST, OTHER = UUID(int=11), UUID(int=12)  # ids of refunds
CUSTOMER = Customer("Ada Lovelace", "ada@example.com", "en-GB", "+442079460000")
DECLINE = PaymentError("card_declined", "insufficient_funds", "Your card has insufficient funds.")


def result_of(rule: Callable[..., Any], *given: Any) -> Any:
    """What a rule returns for these arguments, or the error with which it refuses them."""
    try:
        return rule(*given)
    except HoldfastError as refused:
        return refused


def applied(
    booking: Booking, payment: PaymentState, after: timedelta = timedelta(), *, seats_free: bool = False
) -> Decision:
    """The decision on a report that arrives `after` NOW."""
    return apply_report(booking, Report(payment, NOW + after, TERMS, seats_free))


def asked(booking: Booking, what: Happening, after: timedelta = timedelta()) -> Decision:
    """The decision on a request that arrives `after` NOW. Raises the error that refuses it."""
    return decide(booking, what, NOW + after, TERMS)


def retried(booking: Booking, after: timedelta = timedelta()) -> Decision:
    """What the passing of time makes of the booking, `after` NOW."""
    return retry(booking, NOW + after, TERMS)


def booking(status: str, payment: str = "none", **values: Any) -> Booking:
    """A booking of two seats, with the retry time that its state needs."""
    pending = status == "pending"
    made = Booking(
        id=UUID(int=1),
        owner="alice",
        event_id=UUID(int=2),
        items=(Item(SEATS, 2, AMOUNT // 2),),
        amount=AMOUNT,
        currency="eur",
        status=BookingStatus(status),
        payment=PaymentStatus(payment),
        created_at=NOW - timedelta(minutes=5),
        updated_at=NOW - timedelta(minutes=5),
        version=4,
        payment_version=2,
        intent_id="pi_1",
        expires_at=NOW + timedelta(minutes=10) if pending else None,
        client_secret="pi_1_secret" if pending else None,
    )
    made = made._replace(**values)
    return made._replace(retry_at=retry_time(made, made.retry_count, NOW, TERMS))


def report(status: str, version: int = 3, **values: Any) -> PaymentState:
    """A report of the payment actor: how the payment stands, all of it."""
    made = PaymentState(
        version=version,
        status=IntentStatus(status),
        amount=AMOUNT,
        currency="eur",
        intent_id="pi_1",
        client_secret="pi_1_secret",
        amount_captured=AMOUNT if status == "succeeded" else 0,
    )
    return replace(made, **values)


UNREPORTED: dict[str, Any] = {"payment_version": 0, "intent_id": None, "client_secret": None}
PAID: dict[str, Any] = {"amount_captured": AMOUNT}
OWED = PAID | {"refund_id": FIRST, "refund_amount": AMOUNT}
ASKED = PAID | {"refund_id": FIRST}

STATES: dict[str, Booking] = {
    "creating": booking("pending", "creating", **UNREPORTED),
    "awaiting": booking("pending", "awaiting"),
    "declined": booking("pending", "awaiting", last_error=DECLINE),
    "action required": booking("pending", "action_required"),
    "processing": booking("pending", "processing"),
    "expiring": booking("pending", "awaiting", closing="hold_expired"),
    "expiring, no intent": booking("pending", "creating", closing="hold_expired", **UNREPORTED),
    "expiring, processing": booking("pending", "processing", closing="hold_expired"),
    "cancelling": booking("pending", "awaiting", closing="by_customer"),
    "cancelling, no intent": booking("pending", "creating", closing="by_operator", **UNREPORTED),
    "cancelling, processing": booking("pending", "processing", closing="event_cancelled"),
    "confirmed": booking("confirmed", "paid", **PAID),
    "confirmed, free": booking("confirmed", amount=0, **UNREPORTED),
    "confirmed, part owed": booking("confirmed", "refund_pending", **(OWED | {"refund_amount": PART})),
    "confirmed, part on its way": booking("confirmed", "refund_pending", **ASKED),
    "confirmed, part back": booking("confirmed", "partially_refunded", **ASKED, amount_refunded=PART),
    "confirmed, refund failed": booking("confirmed", "refund_failed", **ASKED),
    "confirmed, disputed": booking("confirmed", "disputed", **PAID),
    "hold expired": booking("cancelled", reason="hold_expired"),
    "hold expired, owed": booking("cancelled", "refund_pending", reason="hold_expired", **OWED),
    "hold expired, refund failed": booking("cancelled", "refund_failed", reason="hold_expired", **ASKED),
    "cancelled unpaid": booking("cancelled", reason="by_customer"),
    "cancelled, owed": booking("cancelled", "refund_pending", reason="by_customer", **OWED),
    "cancelled, on its way": booking("cancelled", "refund_pending", reason="by_customer", **ASKED),
    "cancelled, refunded": booking("cancelled", "refunded", reason="refunded", **ASKED, amount_refunded=AMOUNT),
    "cancelled, refund failed": booking("cancelled", "refund_failed", reason="by_operator", **ASKED),
    "released": booking("cancelled", reason="hold_expired", intent_to_cancel=True, retry_at=NOW),
    "sold out": booking("failed", reason="sold_out", **UNREPORTED),
    "rejected": booking("failed", reason="payment_rejected"),
    "mismatch, owed": booking("failed", "refund_pending", reason="payment_mismatch", **OWED),
}
PENDING = [name for name, each in STATES.items() if each.status is BookingStatus.PENDING]
CONFIRMED = [name for name, each in STATES.items() if each.status is BookingStatus.CONFIRMED]
ENDED = [name for name in STATES if name not in PENDING and name not in CONFIRMED]


def violations(b: Booking) -> list[str]:
    """The checks of the table `bookings` (booking/models.py) that `b` would break, and some that are stricter."""
    owed, pending = b.refund_amount or 0, b.status is BookingStatus.PENDING
    confirmed = b.status is BookingStatus.CONFIRMED
    checks = {
        "bookings_amount": b.amount >= 0,
        "bookings_hold": pending == (b.expires_at is not None),
        "bookings_never_stuck": b.retry_at is not None or not (pending or b.refund_owed or b.intent_to_cancel),
        "bookings_paid": not confirmed or b.amount_captured == b.amount,
        "bookings_refunds": 0 <= b.amount_refunded <= b.amount_captured
        and owed <= b.amount_captured - b.amount_refunded,
        "nothing is retried in vain": b.retry_at is None or pending or b.refund_owed or b.intent_to_cancel,
        "only an ended one has an intent to cancel": not b.intent_to_cancel or not (pending or confirmed),
        "a refund that is owed is of something": b.refund_amount is None or (owed > 0 and b.refund_id is not None),
        "only what is pending is closing": pending or b.closing is None,
        "only what is pending can be paid": pending or b.client_secret is None,
        "what has ended says why": (b.reason is None) == (pending or confirmed),
    }
    return [name for name, holds in checks.items() if not holds]
