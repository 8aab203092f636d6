"""What the payment actor's reports change in bookings, whatever their order and number."""

from __future__ import annotations

import asyncio
from itertools import permutations
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from booking.events import cancelled
from common.contracts.messages import (
    BookingChanged,
    PaymentReportApplied,
)
from common.contracts.resources import Booking
from common.contracts.statuses import IntentStatus
from common.contracts.values import PaymentError
from tests.booking.stage import Stage, asked, of, report
from tests.common.stage import until

PAYABLE = IntentStatus.REQUIRES_PAYMENT_METHOD
DECLINE = PaymentError(code="card_declined", decline_code="insufficient_funds", message="No.")


async def test_intent_makes_the_booking_payable_and_starts_the_hold_anew(stage: Stage) -> None:
    show = await stage.show(10)
    (booking,) = await stage.book(show.order(2))
    (changed,) = await stage.apply(report(booking, PAYABLE, 1))
    assert (changed.version, changed.payment.status) == (2, "awaiting")
    assert changed.payment.client_secret == f"pi_{booking.id.hex}_secret_x"
    assert booking.expires_at is not None
    assert changed.expires_at is not None
    assert changed.expires_at > booking.expires_at


async def test_money_sells_the_held_seats(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.pending(show, 3)
    envelopes = await stage.give(report(booking, IntentStatus.SUCCEEDED, 2))
    (changed,) = of(envelopes, BookingChanged)
    assert (changed.booking.status, changed.booking.payment.status) == ("confirmed", "paid")
    assert (changed.booking.payment.client_secret, changed.booking.expires_at) == (None, None)
    (applied,) = of(envelopes, PaymentReportApplied)
    assert (applied.booking_id, applied.version) == (booking.id, 2)
    assert await stage.seats(show) == [(0, 3)]
    assert await stage.due_at(booking) is None


async def test_repeated_report_changes_nothing_and_is_published_and_acknowledged_again(stage: Stage) -> None:
    """The process that applied it may have been killed after the commit and before it published."""
    show = await stage.show(10)
    booking = await stage.confirmed(show)
    before = await stage.row(booking)
    envelopes = await stage.give(report(booking, IntentStatus.SUCCEEDED, 2))
    changed, applied = (each.message for each in envelopes)
    assert isinstance(changed, BookingChanged)
    assert (changed.booking.status, changed.booking.version) == ("confirmed", before["version"])
    assert isinstance(applied, PaymentReportApplied)
    assert await stage.row(booking) == before


@pytest.mark.parametrize("order", list(permutations((0, 1, 2))))
@pytest.mark.parametrize("together", [True, False])
async def test_order_of_reports_does_not_matter(stage: Stage, order: tuple[int, ...], together: bool) -> None:
    show = await stage.show(10)
    (booking,) = await stage.book(show.order(2))
    reports = (
        report(booking, PAYABLE, 1),
        report(booking, PAYABLE, 2, last_error=DECLINE),
        report(booking, IntentStatus.SUCCEEDED, 3),
    )
    shuffled = [reports[number] for number in order]
    for batch in [shuffled] if together else [[each] for each in shuffled]:
        await stage.apply(*batch)
    row = await stage.row(booking)
    assert (row["status"], row["payment"], row["payment_version"]) == ("confirmed", "paid", 3)
    assert await stage.seats(show) == [(0, 2)]


async def test_decline_is_shown_and_leaves_time_to_try_again(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.pending(show)
    await stage.rows("UPDATE bookings SET expires_at = now() + interval '1 minute'")
    (changed,) = await stage.apply(report(booking, PAYABLE, 2, last_error=DECLINE))
    assert changed.payment.last_error == DECLINE
    assert changed.payment.client_secret
    assert changed.expires_at is not None
    assert (changed.expires_at - changed.updated_at).total_seconds() == 600


async def test_refused_intent_fails_the_booking(stage: Stage) -> None:
    show = await stage.show(10)
    (booking,) = await stage.book(show.order(2))
    (changed,) = await stage.apply(report(booking, IntentStatus.REJECTED, 1, intent_id=None, client_secret=None))
    assert (changed.status, changed.reason, changed.payment.status) == ("failed", "payment_rejected", "none")
    assert await stage.seats(show) == [(0, 0)]


@pytest.mark.parametrize("wrong", [{"amount_captured": 2400}, {"currency": "usd"}])
async def test_wrong_money_is_refunded(stage: Stage, wrong: dict[str, Any]) -> None:
    show = await stage.show(10)
    booking = await stage.pending(show)
    envelopes = await stage.give(report(booking, IntentStatus.SUCCEEDED, 2, **wrong))
    (changed,) = of(envelopes, BookingChanged)
    assert (changed.booking.status, changed.booking.reason) == ("failed", "payment_mismatch")
    assert asked(envelopes) == ["payment.refund", "payment.report_applied"]
    assert (await stage.row(booking))["refund_amount"] == wrong.get("amount_captured", 2500)
    assert await stage.seats(show) == [(0, 0)]


async def test_intent_canceled_by_hand_cancels_the_booking(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.pending(show)
    (changed,) = await stage.apply(report(booking, IntentStatus.CANCELED, 2))
    assert (changed.status, changed.reason) == ("cancelled", "payment_canceled")
    assert await stage.seats(show) == [(0, 0)]


async def test_payment_refunded_by_hand_cancels_the_booking(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.confirmed(show)
    refunded = report(booking, IntentStatus.SUCCEEDED, 3, amount_refunded=2500, refund_ids=(uuid4(),))
    (changed,) = await stage.apply(refunded)
    assert (changed.status, changed.reason, changed.payment.status) == ("cancelled", "refunded", "refunded")
    assert await stage.seats(show) == [(0, 0)]


async def test_report_of_an_unknown_booking_is_not_acknowledged(stage: Stage) -> None:
    show = await stage.show(10)
    (booking,) = await stage.book(show.order())
    stranger = booking.model_copy(update={"id": uuid4()})
    envelopes = await stage.give(report(stranger, IntentStatus.SUCCEEDED, 2), report(booking, PAYABLE, 1))
    assert [each.booking_id for each in of(envelopes, PaymentReportApplied)] == [booking.id]


async def expired(stage: Stage, booking: Booking) -> None:
    """Let the hold end without an answer of Stripe, until its seats are given back."""
    await stage.rows(
        "UPDATE bookings SET expires_at = now() - interval '1 hour', settle_after = now() WHERE id = $1", booking.id
    )
    await stage.reconcile_now()
    await stage.rows("UPDATE bookings SET settle_after = now() WHERE id = $1", booking.id)
    await stage.reconcile_now()
    row = await stage.row(booking)
    assert (row["status"], row["reason"]) == ("cancelled", "hold_expired")


async def test_late_money_gets_its_seats_back_while_they_are_free(stage: Stage) -> None:
    show = await stage.show(3)
    booking = await stage.pending(show, 2)
    await expired(stage, booking)
    (changed,) = await stage.apply(report(booking, IntentStatus.SUCCEEDED, 2))
    assert (changed.status, changed.payment.status) == ("confirmed", "paid")
    assert await stage.seats(show) == [(0, 2)]


async def test_late_money_is_refunded_when_the_seats_are_sold(stage: Stage) -> None:
    show = await stage.show(3)
    booking = await stage.pending(show, 2)
    await expired(stage, booking)
    await stage.book(show.order(2))
    envelopes = await stage.give(report(booking, IntentStatus.SUCCEEDED, 2))
    assert asked(envelopes) == ["payment.refund", "payment.report_applied"]
    row = await stage.row(booking)
    assert (row["status"], row["reason"], row["payment"]) == ("cancelled", "hold_expired", "refund_pending")
    assert await stage.seats(show) == [(2, 0)]


async def test_a_batch_locks_all_seats_in_one_order(stage: Stage) -> None:
    """Late money needs new seats of the second type, and a payment sells seats of the first. A transaction
    that locks both types in order must not meet a batch that holds the second and waits for the first: that
    would be a deadlock."""
    show = await stage.show(3, 3)
    low, high = sorted(show.types)
    late, paid = await stage.book(show.order(type=high), show.order(type=low))
    await stage.apply(report(late, PAYABLE, 1), report(paid, PAYABLE, 1))
    await expired(stage, late)
    lock = "SELECT 1 FROM ticket_types WHERE id = $1 FOR UPDATE NOWAIT"
    async with stage.database.transaction() as other:
        await other.execute(lock, low)
        batch = asyncio.create_task(
            stage.apply(report(late, IntentStatus.SUCCEEDED, 2), report(paid, IntentStatus.SUCCEEDED, 2))
        )
        await until_waiting(stage)
        await other.execute(lock, high)
    assert {changed.status for changed in await batch} == {"confirmed"}


async def until_waiting(stage: Stage) -> None:
    """Wait until a transaction waits for a lock that another holds."""

    async def waits() -> bool:
        return bool(await stage.rows("SELECT 1 FROM pg_locks WHERE NOT granted"))

    await until(waits)


async def test_one_of_two_late_payments_gets_the_last_seat(stage: Stage) -> None:
    show = await stage.show(2)
    first, second = await stage.pending(show), await stage.pending(show)
    await expired(stage, first)
    await expired(stage, second)
    await stage.book(show.order())
    await stage.apply(*(report(each, IntentStatus.SUCCEEDED, 2) for each in (first, second)))
    rows = [await stage.row(first), await stage.row(second)]
    assert sorted((row["status"], row["payment"]) for row in rows) == [
        ("cancelled", "refund_pending"),
        ("confirmed", "paid"),
    ]
    assert await stage.seats(show) == [(1, 1)]


async def test_late_money_buys_no_seats_of_an_event_that_is_being_cancelled(stage: Stage) -> None:
    """The report waits for the event's lock while the event is cancelled, and then sees the cancellation."""
    show = await stage.show(2)
    booking = await stage.pending(show)
    await expired(stage, booking)
    async with stage.store.transaction() as rows:
        event = await rows.events.lock(show.id)
        assert event is not None
        money = asyncio.create_task(stage.apply(report(booking, IntentStatus.SUCCEEDED, 2)))
        await stage.until_somebody_waits_for_a_lock()
        now = stage.clock()
        await rows.events.save(event, cancelled(event, now), now, "root", retry_at=now)
    await money
    row = await stage.row(booking)
    assert (row["status"], row["payment"]) == ("cancelled", "refund_pending")
    assert await stage.seats(show) == [(0, 0)]


async def test_the_database_keeps_no_client_secret_of_a_booking_that_has_ended(stage: Stage) -> None:
    booking = await stage.confirmed(await stage.show(10))
    assert (await stage.row(booking))["client_secret"] is None
    with pytest.raises(asyncpg.CheckViolationError, match="bookings_secret"):
        await stage.rows("UPDATE bookings SET client_secret = 'pi_secret' WHERE id = $1", booking.id)
