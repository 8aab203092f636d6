"""Time and lost messages: unfinished bookings are handled again, and holds end without losing money or seats."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from booking import reconciler
from common.contracts.messages import (
    CreatePaymentIntent,
    EventChanged,
    SyncPayment,
)
from common.contracts.statuses import CancelReason, IntentStatus
from common.contracts.values import PaymentError
from common.messaging.envelope import envelope_for
from common.runtime.outages import RedisOutage
from tests.booking.stage import Stage, report

SOON, LONG = timedelta(seconds=25), timedelta(minutes=16)
# How many seconds our clock is ahead of Redis' clock.
APART_S = [-300, 0, 300]


async def test_lost_request_for_an_intent_is_sent_again(stage: Stage) -> None:
    (booking,) = await stage.book((await stage.show(10)).order())
    await stage.reconcile(SOON)
    assert await stage.published("payment.intents") == [("payment.create_intent", str(booking.id))]
    assert (await stage.row(booking))["settle_attempts"] == 1


async def due_now(stage: Stage) -> None:
    """Make every unfinished booking due, while no time passes for Redis."""
    await stage.rows("UPDATE bookings SET settle_after = $1 WHERE settle_after IS NOT NULL", stage.clock())
    await stage.reconcile_now()


@pytest.mark.parametrize("apart_s", APART_S)
async def test_request_that_still_waits_in_its_queue_is_not_sent_again(stage: Stage, apart_s: int) -> None:
    """In a rush the queue in front of Stripe is long, and requests in it are not lost. Redis dates the entries, and
    its clock may be far from ours."""
    stage.clock.ahead = timedelta(seconds=apart_s)
    show = await stage.show(10)
    lost, queued = await stage.book(show.order(), show.order())
    before = stage.clock() - timedelta(minutes=1)
    await stage.rows("UPDATE bookings SET created_at = $2 WHERE id = $1", lost.id, before)
    first = CreatePaymentIntent(booking_id=uuid4(), event_id=show.id, amount=1, currency="eur")
    await stage.bus.publish([envelope_for(first, "first in the queue")])
    await due_now(stage)
    assert await stage.published("payment.intents") == [
        ("payment.create_intent", "first in the queue"),
        ("payment.create_intent", str(lost.id)),
    ]
    assert (await stage.row(queued))["settle_attempts"] == 1


@pytest.mark.parametrize("apart_s", APART_S)
async def test_requests_that_wait_in_a_long_queue_of_commands_are_not_sent_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, apart_s: int
) -> None:
    """So when a big event is cancelled. A change from before the oldest waiting entry was handled or lost."""
    monkeypatch.setattr(reconciler, "COMMANDS_MANY", 1)
    stage.clock.ahead = timedelta(seconds=apart_s)
    show = await stage.show(10)
    lost, waiting = [await stage.confirmed(show) for _ in range(2)]
    for booking in (lost, waiting):
        await stage.cancel(booking, CancelReason.BY_OPERATOR)
    held = await stage.pending(show)
    before = stage.clock() - timedelta(minutes=1)
    await stage.rows("UPDATE bookings SET updated_at = $2 WHERE id = $1", lost.id, before)
    await stage.bus.publish([envelope_for(SyncPayment(booking_id=uuid4()), "many") for _ in range(2)])
    for each in (lost, waiting):
        await stage.rows("UPDATE bookings SET settle_after = $2 WHERE id = $1", each.id, stage.clock())
    await stage.reconcile_now()
    assert await stage.published("payment.commands") == [("payment.sync", "many")] * 2 + [
        ("payment.refund", str(lost.id))
    ]
    # A request that follows from a change by time alone was never sent before, so it cannot be waiting.
    await stage.bus.publish([envelope_for(SyncPayment(booking_id=uuid4()), "many") for _ in range(2)])
    over = "UPDATE bookings SET expires_at = $2, settle_after = $2 WHERE id = $1"
    await stage.rows(over, held.id, stage.clock())
    await stage.reconcile_now()
    assert ("payment.cancel_intent", str(held.id)) in await stage.published("payment.commands")


async def test_payable_booking_is_compared_with_stripe_every_few_minutes(stage: Stage) -> None:
    booking = await stage.pending(await stage.show(10))
    await stage.reconcile(timedelta(minutes=6))
    assert await stage.published("payment.commands") == [("payment.sync", str(booking.id))]


async def test_end_of_a_hold_is_noticed_on_time(stage: Stage) -> None:
    """Pauses are spread, so that rows that became due together do not stay together; ends of holds are not."""
    booking = await stage.pending(await stage.show(10))
    await stage.reconcile(timedelta(minutes=6))
    row = await stage.row(booking)
    assert row["settle_after"] == row["expires_at"]


async def test_hold_past_its_end_waits_for_stripe_before_its_seats_are_released(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.pending(show, 2)
    await stage.reconcile(LONG)
    assert await stage.published("payment.commands") == [("payment.cancel_intent", str(booking.id))]
    assert await stage.seats(show) == [(2, 0)]
    (changed,) = await stage.apply(report(booking, IntentStatus.CANCELED, 2))
    assert (changed.status, changed.reason) == ("cancelled", "hold_expired")
    assert await stage.seats(show) == [(0, 0)]


async def test_money_in_time_wins_over_the_end_of_the_hold(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.pending(show, 2)
    await stage.reconcile(LONG)
    (changed,) = await stage.apply(report(booking, IntentStatus.SUCCEEDED, 2))
    assert changed.status == "confirmed"
    assert await stage.seats(show) == [(0, 2)]


async def test_seats_are_released_when_stripe_does_not_answer(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.pending(show, 2)
    await stage.reconcile(LONG)
    await stage.reconcile(timedelta(minutes=3))
    assert await stage.seats(show) == [(2, 0)]
    await stage.reconcile(timedelta(minutes=3))
    row = await stage.row(booking)
    assert (row["status"], row["reason"], row["intent_to_cancel"]) == ("cancelled", "hold_expired", True)
    assert await stage.seats(show) == [(0, 0)]


async def test_intent_of_a_released_hold_is_canceled_whatever_is_lost(stage: Stage) -> None:
    """Its cancellation is requested until its end is reported; the booking's change is then published again."""
    booking = await stage.pending(await stage.show(10), 2)
    for _ in range(3):
        await stage.reconcile(LONG)
    assert (await stage.row(booking))["status"] == "cancelled"
    await stage.redis.flushdb()
    await stage.reconcile(timedelta(minutes=1))
    assert ("payment.cancel_intent", str(booking.id)) in await stage.published("payment.commands")
    (changed,) = await stage.apply(report(booking, IntentStatus.CANCELED, 2))
    assert changed.status == "cancelled"
    row = await stage.row(booking)
    assert (row["intent_to_cancel"], row["settle_after"]) == (False, None)


async def test_processing_payment_does_not_expire(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.pending(show)
    await stage.apply(report(booking, IntentStatus.PROCESSING, 2))
    await stage.reconcile(timedelta(days=2))
    row = await stage.row(booking)
    assert (row["status"], row["payment"], row["closing"]) == ("pending", "processing", None)
    assert await stage.published("payment.commands") == [("payment.sync", str(booking.id))]


async def test_declined_customer_has_ten_minutes_more(stage: Stage) -> None:
    booking = await stage.pending(await stage.show(10))
    stage.clock.ahead = timedelta(minutes=14)
    await stage.apply(report(booking, IntentStatus.REQUIRES_PAYMENT_METHOD, 2, last_error=PaymentError("x")))
    await stage.reconcile(timedelta(minutes=9))
    assert (await stage.row(booking))["closing"] is None
    await stage.reconcile(timedelta(minutes=2))
    assert (await stage.row(booking))["closing"] == "hold_expired"


async def test_refund_that_is_owed_is_requested_again(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.confirmed(show)
    await stage.cancel(booking, CancelReason.BY_OPERATOR)
    await stage.reconcile(SOON)
    assert await stage.published("payment.commands") == [("payment.refund", str(booking.id))]


async def test_cancel_that_is_not_answered_is_requested_again(stage: Stage) -> None:
    booking = await stage.pending(await stage.show(10))
    await stage.cancel(booking)
    await stage.reconcile(SOON)
    assert await stage.published("payment.commands") == [("payment.cancel_intent", str(booking.id))]


async def test_bookings_that_wait_for_nothing_are_left_alone(stage: Stage) -> None:
    await stage.confirmed(await stage.show(10))
    assert await stage.store.next_due(stage.clock()) is None
    await stage.reconcile(timedelta(days=1))
    assert await stage.published("payment.commands") == []


async def test_many_reconcilers_retry_each_booking_once(stage: Stage) -> None:
    """A reconciler that finds the requests of another in the queue sends no more of them."""
    show = await stage.show(500)
    bookings = await stage.book(*(show.order() for _ in range(300)))
    stage.clock.ahead = SOON
    await asyncio.gather(*(stage.reconciler.run_once() for _ in range(6)))
    sent = await stage.published("payment.intents")
    subjects = [subject for _, subject in sent]
    assert len(subjects) == len(set(subjects))
    assert set(subjects) <= {str(booking.id) for booking in bookings}
    counts = await stage.rows("SELECT settle_attempts, count(*) FROM bookings GROUP BY 1")
    assert [tuple(row) for row in counts] == [(1, len(bookings))]


async def test_next_pause_grows_up_to_its_limit(stage: Stage) -> None:
    (booking,) = await stage.book((await stage.show(10)).order())
    pauses = []
    for _ in range(4):
        stage.clock.ahead += timedelta(seconds=30)
        await stage.reconciler.run_once()
        due = await stage.due_at(booking)
        assert due is not None
        pauses.append((due - stage.clock()).total_seconds())
    assert all(14 < pause < 17 for pause in pauses)


async def test_availability_is_published_after_a_change(stage: Stage) -> None:
    show = await stage.show(10)
    await stage.listen(show)
    await stage.availability.run_once()
    await stage.redis.delete("notifications")
    await stage.book(show.order(3))
    await stage.availability.run_once()
    entries: Any = await stage.redis.xrange("notifications")
    ((_, fields),) = entries
    event = EventChanged.model_validate_json(fields[b"data"]).event
    assert (event.id, event.ticket_types[0].available) == (show.id, 7)


async def notifications(stage: Stage) -> list[tuple[str, str]]:
    return [each for each in await stage.published("notifications") if each[0] == "booking.changed"]


async def unpublished(stage: Stage, after: timedelta) -> None:
    """The reconciler's changes are committed, and Redis refuses what it then publishes."""
    await stage.redis.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(RedisOutage):
            await stage.reconcile(after)
    finally:
        await stage.redis.config_set("min-replicas-to-write", 0)


async def test_a_change_by_time_is_published_again(stage: Stage) -> None:
    """A hold that expires, and later one that is released: no other message would publish the change."""
    (booking,) = await stage.book((await stage.show(10)).order())
    await stage.apply(report(booking, IntentStatus.REQUIRES_PAYMENT_METHOD, 1))
    await unpublished(stage, LONG)
    assert (await stage.row(booking))["closing"] == "hold_expired"
    await notifications(stage)
    await stage.reconcile(SOON)
    assert await notifications(stage) == [("booking.changed", str(booking.id))]

    await unpublished(stage, LONG)
    assert (await stage.row(booking))["status"] == "cancelled"
    await notifications(stage)
    await stage.reconcile(SOON)
    assert await notifications(stage) == [("booking.changed", str(booking.id))]


async def test_a_change_by_time_is_published_again_a_few_times_only(stage: Stage) -> None:
    """While Stripe does not answer, a booking is handled again for a long time."""
    (booking,) = await stage.book((await stage.show(10)).order())
    await stage.apply(report(booking, IntentStatus.REQUIRES_PAYMENT_METHOD, 1))
    await stage.reconcile(LONG)
    await notifications(stage)
    for _ in range(6):
        await stage.reconcile(SOON)
    assert len(await notifications(stage)) == reconciler.NOTIFY_AGAIN_RETRIES


async def test_a_hold_that_time_has_not_changed_is_not_published_again(stage: Stage) -> None:
    (booking,) = await stage.book((await stage.show(10)).order())
    await stage.apply(report(booking, IntentStatus.REQUIRES_PAYMENT_METHOD, 1))
    await notifications(stage)
    await stage.reconcile(timedelta(minutes=6))
    assert await notifications(stage) == []
