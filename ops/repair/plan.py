"""What to do about the findings of an audit. Pure.

The actors have the rules; a repair only makes them compare. Payment compares a payment with Stripe's own object,
updates it, or adopts it if its row is lost, and reports it in any case. Booking answers with the version that it
has, and payment reports with a higher one. Seats are counted again in the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from ops.audit.records import Case, Finding
from ops.audit.rules import EVENT_HISTORY


class Kind(Enum):
    """What an action does, in the words that are printed."""

    COMPARE = "compare a payment with Stripe, and report it again"
    ADOPT = "adopt an intent whose payment is lost"
    RETURN = "cancel or give back what belongs to no booking"
    STRAY = "cancel or give back a second intent of a booking"
    SEATS = "count the seats of a ticket type anew"
    BUYER = "count anew what a buyer has of an event"
    PROMO_CODE = "count the uses of a promo code anew"


# What is counted anew in the database, by the audit's rule that found it.
COUNTED = {"seats": Kind.SEATS, "buyers": Kind.BUYER, "promo codes": Kind.PROMO_CODE}


@dataclass(frozen=True, slots=True)
class Action:
    """One action of a repair. `id` is that of a booking, a ticket type, a buyer or a promo code; amount and
    currency are those of the booking, if there is one that names the intent."""

    kind: Kind
    id: str
    intent_id: str | None = None
    amount: int | None = None
    currency: str | None = None


def bookings_of(findings: Iterable[Finding]) -> list[str]:
    """The bookings that findings are about. Neither what is counted nor an event is one: only a person can explain
    what an event's history lacks."""
    others = {*COUNTED, EVENT_HISTORY}
    return list(dict.fromkeys(each.id for each in findings if each.rule not in others))


def of_findings(findings: Iterable[Finding], cases: Sequence[Case]) -> list[Action]:
    """What to do: by the cases for bookings, by the findings for what is counted."""
    counted = dict.fromkeys((COUNTED[each.rule], each.id) for each in findings if each.rule in COUNTED)
    actions = [Action(kind, id) for kind, id in counted]
    return [*actions, *(action for case in cases for action in of_case(case))]


def of_case(case: Case) -> Iterator[Action]:
    """Compare the payment, by the intent that the booking names, else by its own row; then each other intent."""
    booking, payment = case.booking, case.payment
    named = booking.intent_id if booking is not None else None
    row = payment.intent_id if payment is not None else None
    first = named or row or next((each.id for each in case.intents), None)
    if booking is None:
        yield Action(Kind.RETURN, case.id, None if payment is not None and row is not None else first)
    elif named is not None:
        kind = Kind.COMPARE if row == named else Kind.ADOPT
        yield Action(kind, case.id, named, booking.amount, booking.currency)
    else:
        yield Action(Kind.COMPARE if row is not None else Kind.ADOPT, case.id, None if row is not None else first)
    for each in case.intents:
        if each.id != first and (each.status != "canceled" or each.received):
            yield Action(Kind.STRAY, case.id, each.id)
