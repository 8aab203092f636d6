"""Owners and operators cancel bookings and refund them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from booking.booking_rows import Interfered
from booking.rules import Decision
from common.contracts.messages import (
    BookingChanged,
    CancelBooking,
    RefundBooking,
    RefundPayment,
    Reply,
    RequestPayment,
)
from common.contracts.resources import Booking
from common.contracts.statuses import CancelReason, IntentStatus
from tests.booking.stage import Stage, asked, of, report

LATER = datetime.now(UTC) + timedelta(days=1)
OPERATOR = CancelReason.BY_OPERATOR


async def test_pending_booking_is_cancelled_once_stripe_has_answered(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.pending(show, 2)
    envelopes = await stage.cancel(booking)
    assert asked(envelopes) == ["payment.cancel_intent"]
    (reply,) = of(envelopes, Reply)
    assert (reply.result["status"], reply.result["payment"]["client_secret"]) == ("pending", None)
    assert await stage.seats(show) == [(2, 0)]
    (changed,) = await stage.apply(report(booking, IntentStatus.CANCELED, 2))
    assert (changed.status, changed.reason) == ("cancelled", "by_customer")
    assert await stage.seats(show) == [(0, 0)]


async def test_money_that_arrives_before_the_cancel_is_refunded(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.pending(show, 2)
    await stage.cancel(booking)
    envelopes = await stage.give(report(booking, IntentStatus.SUCCEEDED, 2))
    (refund,) = of(envelopes, RefundPayment)
    assert refund.amount == 5000
    row = await stage.row(booking)
    assert (row["status"], row["reason"], row["payment"]) == ("cancelled", "by_customer", "refund_pending")
    assert await stage.seats(show) == [(0, 0)]


async def test_paid_booking_is_cancelled_within_the_policy(stage: Stage) -> None:
    show = await stage.show(10, cancel_until=LATER)
    booking = await stage.confirmed(show, 2)
    envelopes = await stage.cancel(booking)
    (refund,) = of(envelopes, RefundPayment)
    assert refund.amount == 5000
    (changed,) = of(envelopes, BookingChanged)
    assert (changed.booking.status, changed.booking.payment.status) == ("cancelled", "refund_pending")
    assert await stage.seats(show) == [(0, 0)]
    # The payment actor has accepted the refund, and then Stripe has made it.
    taken_up = report(booking, IntentStatus.SUCCEEDED, 3, refund_ids=(refund.refund_id,), refund_pending=True)
    await stage.apply(taken_up)
    assert await stage.due_at(booking) is None
    (done,) = await stage.apply(
        report(booking, IntentStatus.SUCCEEDED, 4, refund_ids=(refund.refund_id,), amount_refunded=5000)
    )
    assert (done.status, done.payment.status) == ("cancelled", "refunded")


@pytest.mark.parametrize("until", [None, datetime.now(UTC) - timedelta(minutes=1)])
async def test_paid_booking_stays_outside_the_policy_unless_an_operator_asks(
    stage: Stage, until: datetime | None
) -> None:
    show = await stage.show(10, cancel_until=until)
    booking = await stage.confirmed(show)
    (refused,) = of(await stage.cancel(booking), Reply)
    assert refused.error == "cancellation_closed"
    assert await stage.seats(show) == [(0, 1)]
    (changed,) = of(await stage.cancel(booking, OPERATOR), BookingChanged)
    assert (changed.booking.status, changed.booking.reason) == ("cancelled", "by_operator")


async def test_cancelled_twice_is_refunded_once(stage: Stage) -> None:
    show = await stage.show(10, cancel_until=LATER)
    booking = await stage.confirmed(show)
    message = CancelBooking(booking_id=booking.id, owner="alice", reason=CancelReason.BY_CUSTOMER)
    envelopes = await stage.give(message, message)
    assert len(of(envelopes, RefundPayment)) == 1
    assert [reply.result["status"] for reply in of(envelopes, Reply)] == ["cancelled"] * 2
    assert of(await stage.give(message), RefundPayment) == []


async def test_free_booking_is_cancelled_without_stripe(stage: Stage) -> None:
    show = await stage.show(10, unit_amount=0, cancel_until=LATER)
    (booking,) = await stage.book(show.order(2))
    envelopes = await stage.cancel(booking)
    assert asked(envelopes) == []
    assert await stage.seats(show) == [(0, 0)]


async def test_booking_of_another_is_not_found(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.pending(show)
    before = await stage.row(booking)
    cancel = CancelBooking(booking_id=booking.id, owner="mallory", reason=CancelReason.BY_CUSTOMER)
    pay = RequestPayment(booking_id=booking.id, owner="mallory")
    unknown = RequestPayment(booking_id=uuid4(), owner="alice")
    for message in (cancel, pay, unknown):
        (reply,) = await stage.call(message)
        assert reply.error == "not_found"
    assert await stage.row(booking) == before


async def test_request_to_pay_is_answered_with_the_booking(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.pending(show)
    right = RequestPayment(booking_id=booking.id, owner="alice", amount=2500, currency="eur")
    replies = await stage.call(
        right, RequestPayment(booking_id=booking.id, owner="alice"), right.model_copy(update={"amount": 2400})
    )
    assert [reply.error for reply in replies] == [None, None, "amount_mismatch"]
    assert replies[0].result["payment"]["intent_id"] == f"pi_{booking.id.hex}"


async def test_part_is_refunded_once_for_each_id(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.confirmed(show)
    part = RefundBooking(booking_id=booking.id, refund_id=uuid4(), amount=1000)
    first = await stage.give(part)
    again = await stage.give(part)
    for envelopes in (first, again):
        (asked,) = of(envelopes, RefundPayment)
        assert (asked.booking_id, asked.refund_id, asked.amount, asked.whole) == (
            booking.id,
            part.refund_id,
            1000,
            False,
        )
    row = await stage.row(booking)
    assert (row["status"], row["payment"], row["version"]) == ("confirmed", "refund_pending", booking.version + 1)
    await stage.apply(
        report(booking, IntentStatus.SUCCEEDED, 3, refund_ids=(part.refund_id,), amount_refunded=1000)
    )
    row = await stage.row(booking)
    assert (row["status"], row["payment"], row["settle_after"]) == ("confirmed", "partially_refunded", None)
    (too_much,) = await stage.call(RefundBooking(booking_id=booking.id, refund_id=uuid4(), amount=1501))
    assert too_much.error == "amount_over_left"


async def test_refund_of_all_cancels_the_booking_when_it_is_made(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.confirmed(show)
    refund = RefundBooking(booking_id=booking.id, refund_id=uuid4())
    await stage.give(refund)
    assert await stage.seats(show) == [(0, 1)]
    (done,) = await stage.apply(
        report(booking, IntentStatus.SUCCEEDED, 3, refund_ids=(refund.refund_id,), amount_refunded=2500)
    )
    assert (done.status, done.payment.status) == ("cancelled", "refunded")
    assert await stage.seats(show) == [(0, 0)]


async def test_a_unit_of_work_changes_a_booking_once(stage: Stage) -> None:
    """A second change would leave a gap in the booking's transitions: it is refused, and nothing is saved."""
    booking = await stage.confirmed(await stage.show(10))
    before = await stage.row(booking)
    with pytest.raises(Interfered):
        await change_twice(stage, booking)
    assert await stage.row(booking) == before


async def change_twice(stage: Stage, booking: Booking) -> None:
    unit = stage.unit()
    async with unit.locked() as rows:
        unit.take(await rows.bookings.lock([booking.id]))
        for reason in ("by_operator", "event_cancelled"):
            kept = unit.bookings[booking.id]
            unit.change(Decision(kept._replace(reason=reason, version=kept.version + 1)))
