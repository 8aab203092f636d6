"""Refunds: what is owed, under which id, and what follows when a refund fails or was made by hand at Stripe."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from booking.domain import may_cancel, moves
from booking.rules import Decision
from booking.state import Booking, Event, FollowUp, Item, Seat, SeatMove
from booking.triggers import Cancel, Refund
from common.contracts import errors
from common.contracts.statuses import BookingStatus, CancelReason, PaymentStatus
from common.contracts.values import PaymentState
from tests.booking.samples import AMOUNT, FIRST, NOW, OTHER, PART, SEATS, STATES, applied, asked, report, violations

BY_HAND = UUID(int=13)
DEARER = UUID(int=4)
S = BookingStatus


def paid(version: int, **values: Any) -> PaymentState:
    return report("succeeded", version, **values)


def after(booking: Booking, *payments: PaymentState, free: bool = False) -> Booking:
    for each in payments:
        booking = applied(booking, each, seats_free=free).booking
        assert violations(booking) == []
    return booking


def cancelled(booking: Booking) -> Booking:
    return asked(booking, Cancel("by_operator")).booking


def shown(booking: Booking) -> tuple[str, str, int | None]:
    return booking.status.value, booking.payment.value, booking.refund_amount


def test_a_decision_made_again_is_the_same_refund() -> None:
    """A transaction that was rolled back is decided again, and asks for no second refund."""
    first, second = (cancelled(STATES["confirmed"]) for _ in range(2))

    assert first == second
    assert first.refund_id is not None


def test_refunds_of_different_decisions_have_different_ids() -> None:
    """After the part that was under way has gone back, the rest is another refund."""
    booking = cancelled(STATES["confirmed, part owed"])
    booking = after(booking, paid(3, refund_ids=(FIRST,), amount_refunded=PART))

    assert shown(booking) == ("cancelled", "refund_pending", AMOUNT - PART)
    assert booking.refund_id not in (FIRST, None)


# A booking that is cancelled while a part is on its way back: the rest is owed once that part's result is known.
PARTS = [
    ("confirmed, part owed", [{"refund_pending": True}, {"amount_refunded": PART}], AMOUNT - PART),
    ("confirmed, part owed", [{"amount_refunded": PART}], AMOUNT - PART),
    ("confirmed, part owed", [{"refund_pending": True}], None),
    ("confirmed, part on its way", [{"refund_pending": True}, {"amount_refunded": PART}], AMOUNT - PART),
    ("confirmed, part on its way", [{"amount_refunded": AMOUNT}], None),
    # The part failed: operators see that, and one of them refunds all of it.
    ("confirmed, part on its way", [{"refund_failed": True}], None),
]


@pytest.mark.parametrize(("state", "reports", "owed"), PARTS)
def test_the_rest_beside_a_part_is_owed_when_the_part_has_ended(
    state: str, reports: list[dict[str, Any]], owed: int | None
) -> None:
    """Two refunds at once would ask for more than there is, and one would fail."""
    booking = cancelled(STATES[state])
    payments = [paid(version, refund_ids=(FIRST,), **values) for version, values in enumerate(reports, start=3)]
    booking = after(booking, *payments)

    assert (booking.status, booking.refund_amount) == (S.CANCELLED, owed)
    assert (booking.retry_at is not None) is (owed is not None)


BY_HAND_ROWS: list[tuple[str, dict[str, Any], tuple[str, str, int | None]]] = [
    # A part: the booking does not end, and no more is owed than what is left.
    ("confirmed", {"amount_refunded": PART}, ("confirmed", "partially_refunded", None)),
    ("confirmed", {"refund_pending": True}, ("confirmed", "refund_pending", None)),
    ("confirmed", {"refund_failed": True}, ("confirmed", "refund_failed", None)),
    ("cancelled, owed", {"amount_refunded": PART}, ("cancelled", "refund_pending", AMOUNT - PART)),
    ("mismatch, owed", {"amount_refunded": PART}, ("failed", "refund_pending", AMOUNT - PART)),
    ("hold expired", {"amount_refunded": PART}, ("cancelled", "refund_pending", AMOUNT - PART)),
    # All of it: the seats are free again, and nothing is owed.
    ("awaiting", {"amount_refunded": AMOUNT}, ("cancelled", "refunded", None)),
    ("cancelling", {"amount_refunded": AMOUNT}, ("cancelled", "refunded", None)),
    ("confirmed", {"amount_refunded": AMOUNT}, ("cancelled", "refunded", None)),
    ("confirmed, part owed", {"amount_refunded": AMOUNT}, ("cancelled", "refunded", None)),
    ("confirmed, part back", {"amount_refunded": AMOUNT}, ("cancelled", "refunded", None)),
    ("cancelled, owed", {"amount_refunded": AMOUNT}, ("cancelled", "refunded", None)),
    ("mismatch, owed", {"amount_refunded": AMOUNT}, ("failed", "refunded", None)),
    ("hold expired", {"amount_refunded": AMOUNT}, ("cancelled", "refunded", None)),
    # Under way or failed, of a booking that has ended: the rest goes back by itself, unless the refund
    # is under way.
    ("cancelled unpaid", {"refund_pending": True}, ("cancelled", "refund_pending", None)),
    ("cancelled unpaid", {"refund_failed": True}, ("cancelled", "refund_pending", AMOUNT)),
]


@pytest.mark.parametrize(("state", "values", "expected"), BY_HAND_ROWS)
def test_refunds_made_by_hand_at_stripe(
    state: str, values: dict[str, Any], expected: tuple[str, str, int | None]
) -> None:
    """They count like ours. Even if seats are free, they are not sold for money that goes back."""
    booking = after(STATES[state], paid(3, refund_ids=(BY_HAND,), **values), free=True)

    assert shown(booking) == expected


@pytest.mark.parametrize("state", ["confirmed", "confirmed, part back", "awaiting"])
def test_a_whole_refund_ends_a_booking_once(state: str) -> None:
    """It is one change with one version, whatever the booking was before."""
    refunded = paid(3, refund_ids=(BY_HAND,), amount_refunded=AMOUNT)
    booking = after(STATES[state], refunded, replace(refunded, version=4))

    assert (booking.status, booking.reason) == (S.CANCELLED, "refunded")
    assert booking.version == STATES[state].version + 1


@pytest.mark.parametrize("state", ["cancelled, owed", "hold expired, owed", "mismatch, owed"])
def test_a_refund_that_failed_is_left_to_an_operator(state: str) -> None:
    """Whatever is reported afterwards, it is not retried by itself, and the booking stays ended."""
    before = STATES[state]
    failed = after(before, paid(3, refund_ids=(FIRST,), refund_failed=True), free=True)
    failed = after(failed, paid(4, refund_ids=(FIRST,), refund_failed=True), free=True)
    assert (failed.status, failed.payment) == (before.status, PaymentStatus.REFUND_FAILED)
    assert (failed.refund_amount, failed.retry_at) == (None, None)

    again = asked(failed, Refund(OTHER))
    assert (again.booking.refund_id, again.booking.refund_amount, again.follow_ups) == (
        OTHER,
        AMOUNT,
        (FollowUp.REFUND,),
    )
    # A report from before payment has received the refund: it is still owed.
    waiting = after(again.booking, paid(5, refund_ids=(FIRST,), refund_failed=True), free=True)
    assert shown(waiting) == (before.status.value, "refund_pending", AMOUNT)
    done = after(waiting, paid(6, refund_ids=(FIRST, OTHER), amount_refunded=AMOUNT), free=True)
    assert shown(done) == (before.status.value, "refunded", None)


def test_a_refund_that_fails_days_later_is_shown() -> None:
    """The booking stays cancelled: another customer may have its seats."""
    late = paid(3, refund_ids=(FIRST,), refund_failed=True)
    booking = after(STATES["cancelled, refunded"], late, free=True)

    assert shown(booking) == ("cancelled", "refund_failed", None)


REPEATS = [
    ("confirmed, part owed", FIRST, (FollowUp.REFUND,)),
    ("confirmed, part on its way", FIRST, ()),
    ("confirmed, part back", FIRST, ()),
    ("cancelled, refunded", FIRST, ()),
    ("cancelled, refund failed", FIRST, ()),
]


@pytest.mark.parametrize(("state", "id", "follow"), REPEATS)
@pytest.mark.parametrize("amount", [None, PART, AMOUNT + 1])
def test_the_same_refund_requested_again_changes_nothing(
    state: str, id: UUID, follow: tuple[FollowUp, ...], amount: int | None
) -> None:
    """Its id makes the refund once only. What payment may not have received is sent again."""
    decision = asked(STATES[state], Refund(id, amount))

    assert decision == Decision(STATES[state], follow)


def test_a_refund_that_payment_knew_already_is_finished_by_the_known_report() -> None:
    """The refund is asked for again long after; payment's answer has no higher version than the report before."""
    booking = STATES["confirmed, part back"]
    booking = asked(booking, Refund(OTHER, PART)).booking
    known = paid(booking.payment_version, refund_ids=(FIRST, OTHER), amount_refunded=2 * PART)
    finished = after(booking, known)

    assert (finished.refund_amount, finished.retry_at) == (None, None)
    assert finished.version == booking.version + 1
    assert after(finished, known) == finished


def test_money_that_was_being_refunded_does_not_revive_an_expired_booking() -> None:
    """Its owner has seen it as cancelled; it makes no difference that the seats are free again."""
    booking = after(STATES["hold expired"], paid(3))
    assert shown(booking) == ("cancelled", "refund_pending", AMOUNT)

    assert after(booking, paid(4), free=True).status is S.CANCELLED


def test_late_money_for_an_unwanted_booking_is_refunded() -> None:
    """It was cancelled after its hold had expired: late money buys its seats no more."""
    unwanted = cancelled(STATES["hold expired"])
    assert (unwanted.reason, unwanted.version) == ("by_operator", STATES["hold expired"].version + 1)

    assert shown(after(unwanted, paid(3), free=True)) == ("cancelled", "refund_pending", AMOUNT)


THREE = STATES["confirmed"]._replace(items=(Item(SEATS, 2, 2000), Item(DEARER, 1, 1000)))
ONE, TWO, DEAR = Seat(SEATS, 1), Seat(SEATS, 2), Seat(DEARER, 1)


def test_refunded_seats_are_given_back_and_what_they_cost_is_owed() -> None:
    """The rest of the booking stays, and gives back no more than is left when it ends."""
    part = asked(THREE, Refund(OTHER, seats=(TWO, DEAR)))
    assert shown(part.booking) == ("confirmed", "refund_pending", 3000)
    assert (part.booking.refund_whole, part.booking.items, part.booking.amount) == (False, THREE.items, AMOUNT)
    freed = [SeatMove(THREE.id, SEATS, 0, -1), SeatMove(THREE.id, DEARER, 0, -1)]
    assert moves([(THREE, part.booking)]) == freed
    assert asked(part.booking, Refund(OTHER, seats=(TWO, DEAR))).booking == part.booking
    assert moves([(part.booking, cancelled(part.booking))]) == [
        SeatMove(THREE.id, SEATS, 0, -1),
        SeatMove(THREE.id, DEARER, 0, 0),
    ]


def test_refunded_seats_may_give_back_another_amount() -> None:
    assert shown(asked(THREE, Refund(OTHER, 500, seats=(ONE,))).booking) == ("confirmed", "refund_pending", 500)


@pytest.mark.parametrize(
    ("booking", "seats", "error"),
    [
        (THREE, (ONE, TWO, DEAR), errors.LastTickets),
        (THREE._replace(cancelled_seats=(ONE,)), (ONE,), errors.TicketCancelled),
        (THREE._replace(cancelled_seats=(ONE,)), (TWO, DEAR), errors.LastTickets),
        (THREE._replace(items=(Item(SEATS, 2, AMOUNT // 2), Item(DEARER, 1, 0))), (DEAR,), errors.Conflict),
        (THREE._replace(amount_refunded=4500), (DEAR,), errors.AmountOverLeft),
        (cancelled(THREE), (ONE,), errors.Conflict),
    ],
    ids=["all", "again", "all that are left", "free", "more than is left", "of an ended booking"],
)
def test_seats_that_can_not_be_refunded(booking: Booking, seats: tuple[Seat, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        asked(booking, Refund(BY_HAND, seats=seats))


POLICY = [
    # the reason, the state, `cancel_until`, whether it is allowed
    (CancelReason.BY_CUSTOMER, "confirmed", None, False),
    (CancelReason.BY_CUSTOMER, "confirmed", NOW.replace(hour=11), False),
    (CancelReason.BY_CUSTOMER, "confirmed", NOW, True),
    (CancelReason.BY_CUSTOMER, "confirmed", NOW.replace(hour=13), True),
    (CancelReason.BY_CUSTOMER, "confirmed, free", None, False),
    (CancelReason.BY_CUSTOMER, "awaiting", None, True),
    (CancelReason.BY_CUSTOMER, "cancelled unpaid", None, True),
    (CancelReason.BY_OPERATOR, "confirmed", None, True),
    (CancelReason.BY_OPERATOR, "confirmed", NOW.replace(hour=11), True),
    (CancelReason.EVENT_CANCELLED, "confirmed", None, True),
]


@pytest.mark.parametrize(("reason", "state", "until", "allowed"), POLICY)
def test_who_may_cancel(reason: CancelReason, state: str, until: datetime | None, allowed: bool) -> None:
    """Customers cancel what is paid until the policy ends, what is not paid at any time; operators always."""
    event = Event(UUID(int=2), "Concert", NOW, "eur", True, 10, {}, cancel_until=until)

    assert may_cancel(STATES[state], reason, event, NOW) is allowed
