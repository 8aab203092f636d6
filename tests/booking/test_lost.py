"""What one of the databases has lost: booking answers so that payment can repair it."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from common.contracts.messages import (
    BookingUnknown,
    CancelBooking,
    CancelPaymentIntent,
    PaymentReportApplied,
    RefundPayment,
    SyncPayment,
)
from common.contracts.statuses import CancelReason, IntentStatus
from common.messaging.envelope import Envelope
from tests.booking.stage import Stage, report


def messages(envelopes: list[Envelope], kind: type[Any]) -> list[Any]:
    return [each.message for each in envelopes if isinstance(each.message, kind)]


async def test_a_report_of_an_unknown_booking_is_answered_with_what_payment_needs(stage: Stage) -> None:
    show = await stage.show(10)
    (known,) = await stage.book(show.order(2))
    gone = known.model_copy(update={"id": uuid4()})
    envelopes = await stage.give(report(gone, IntentStatus.SUCCEEDED, 2), report(known, IntentStatus.SUCCEEDED, 2))
    (unknown,) = messages(envelopes, BookingUnknown)
    assert unknown == BookingUnknown(
        booking_id=gone.id,
        version=2,
        intent_id=f"pi_{gone.id.hex}",
        amount=known.amount,
        currency=known.currency,
        amount_captured=known.amount,
    )
    assert [each.booking_id for each in messages(envelopes, PaymentReportApplied)] == [known.id]
    assert stage.handlers._metrics.orphans.labels("no_booking")._value.get() == 1


async def test_a_lower_version_is_answered_with_the_one_that_the_booking_holds(stage: Stage) -> None:
    """Payment's row was lost and counts from one again: payment continues above the version in the answer."""
    show = await stage.show(10)
    (booking,) = await stage.book(show.order(2))
    await stage.give(report(booking, IntentStatus.REQUIRES_PAYMENT_METHOD, 5))
    envelopes = await stage.give(report(booking, IntentStatus.SUCCEEDED, 1))
    assert messages(envelopes, PaymentReportApplied) == [PaymentReportApplied(booking_id=booking.id, version=5)]
    assert (await stage.row(booking))["status"] == "pending"
    await stage.give(report(booking, IntentStatus.SUCCEEDED, 6))
    assert (await stage.row(booking))["status"] == "confirmed"


async def test_another_report_under_the_version_that_the_booking_holds_is_a_conflict(stage: Stage) -> None:
    show = await stage.show(10)
    (booking,) = await stage.book(show.order(2))
    await stage.give(report(booking, IntentStatus.PROCESSING, 2))
    envelopes = await stage.give(report(booking, IntentStatus.SUCCEEDED, 2))
    answer = PaymentReportApplied(booking_id=booking.id, version=2, conflict=True)
    assert messages(envelopes, PaymentReportApplied) == [answer]
    same = await stage.give(report(booking, IntentStatus.PROCESSING, 2))
    assert messages(same, PaymentReportApplied) == [PaymentReportApplied(booking_id=booking.id, version=2)]
    assert (await stage.row(booking))["status"] == "pending"


async def test_a_report_of_another_intent_is_answered_with_the_bookings_own(stage: Stage) -> None:
    """Booking does not acknowledge it: money of the other intent is not this booking's money."""
    show = await stage.show(10)
    booking = await stage.confirmed(show)
    other = report(booking, IntentStatus.CANCELED, 9, intent_id="pi_other")
    before = await stage.row(booking)
    envelopes = await stage.give(other)
    (asked,) = messages(envelopes, SyncPayment)
    assert (asked.booking_id, asked.intent_id) == (booking.id, f"pi_{booking.id.hex}")
    assert not messages(envelopes, PaymentReportApplied)
    assert await stage.row(booking) == before


async def test_commands_to_payment_name_the_intent_and_what_the_booking_costs(stage: Stage) -> None:
    show = await stage.show(10)
    (booking,) = await stage.book(show.order(2))
    (never,) = await stage.book(show.order(2))
    await stage.give(report(booking, IntentStatus.REQUIRES_PAYMENT_METHOD, 1))
    asked = {"booking_id": booking.id, "intent_id": f"pi_{booking.id.hex}", "booking_currency": "eur"}
    for each, expected in (
        (booking, CancelPaymentIntent(**asked, booking_amount=booking.amount)),
        (never, CancelPaymentIntent(booking_id=never.id)),
    ):
        envelopes = await cancelled(stage, each.id)
        assert messages(envelopes, CancelPaymentIntent) == [expected]
    envelopes = await stage.give(report(booking, IntentStatus.SUCCEEDED, 2))
    (refund,) = messages(envelopes, RefundPayment)
    assert (refund.intent_id, refund.booking_amount) == (f"pi_{booking.id.hex}", booking.amount)


async def cancelled(stage: Stage, id: UUID) -> list[Envelope]:
    return await stage.give(CancelBooking(booking_id=id, owner=None, reason=CancelReason.BY_OPERATOR))
