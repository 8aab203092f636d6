"""An event is cancelled: every booking of it ends, the money goes back, and operators see the progress."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from booking import reconciler
from booking.availability import COUNTED_TIMES, Availability
from booking.reconciler import BookingReconciler
from common.contracts.messages import (
    CancelEvent,
    CreateBooking,
    EventChanged,
    GetEvent,
    ListEvents,
    RefundBooking,
)
from common.contracts.resources import Booking, OperatorsEvent, Progress, Refunds
from common.contracts.statuses import IntentStatus
from tests.booking.stage import TERMS, Show, Stage, report

EVENT_CLAIM = timedelta(seconds=16)


async def seen(stage: Stage, show: Show) -> OperatorsEvent:
    (reply,) = await stage.call(GetEvent(event_id=show.id, operator=True))
    return OperatorsEvent.model_validate(reply.result)


async def progress(stage: Stage, show: Show) -> Progress:
    found = (await seen(stage, show)).progress
    assert found is not None
    return found


def so_far(bookings: int, cancelled: int, *, finished: bool = False, **refunds: int) -> Progress:
    counts = dict.fromkeys(Refunds.model_fields, 0) | refunds
    return Progress(bookings=bookings, cancelled=cancelled, refunds=Refunds(**counts), finished=finished)


async def published_events(stage: Stage) -> list[EventChanged]:
    """The notifications of events since the last call."""
    await stage.availability.run_once()
    entries: Any = await stage.redis.xrange("notifications")
    await stage.redis.delete("notifications")
    found = [fields[b"data"] for _, fields in entries if fields[b"type"] == b"event.changed"]
    return [EventChanged.model_validate_json(data) for data in found]


async def cancel_event(stage: Stage, show: Show) -> None:
    (reply,) = await stage.call(CancelEvent(event_id=show.id))
    assert reply.error is None


async def refunded(stage: Stage, booking: Booking, version: int, **values: Any) -> None:
    refund_id = (await stage.row(booking))["refund_id"]
    refunds = {"refund_ids": (refund_id,)} | values
    await stage.apply(report(booking, IntentStatus.SUCCEEDED, version, **refunds))


async def test_operators_see_what_is_held_and_sold(stage: Stage) -> None:
    show = await stage.show(10, 5)
    await stage.book(show.order(3))
    await stage.confirmed(show, 2)
    event = await seen(stage, show)
    assert [(each.capacity, each.held, each.sold, each.available) for each in event.ticket_types] == [
        (10, 3, 2, 5),
        (5, 0, 0, 5),
    ]
    assert (event.progress, event.called_off_at) == (None, None)


async def test_progress_counts_bookings_and_then_refunds(stage: Stage) -> None:
    show = await stage.show(10)
    (waiting,) = await stage.book(show.order())
    payable, paid = await stage.pending(show), await stage.confirmed(show, 2)
    before = await seen(stage, show)
    await cancel_event(stage, show)
    event = await seen(stage, show)
    assert event.called_off_at is not None
    assert event.version > before.version
    assert event.progress == so_far(3, 0)
    await stage.reconcile_now()
    assert await progress(stage, show) == so_far(3, 1, owed=1)
    await stage.apply(*(report(each, IntentStatus.CANCELED, 2) for each in (waiting, payable)))
    assert await progress(stage, show) == so_far(3, 3, owed=1)
    await refunded(stage, paid, 3, refund_pending=True)
    assert await progress(stage, show) == so_far(3, 3, under_way=1)
    await refunded(stage, paid, 4, amount_refunded=5000)
    assert await progress(stage, show) == so_far(3, 3, succeeded=1, finished=True)


async def test_refund_that_failed_is_counted_until_another_is_made(stage: Stage) -> None:
    show = await stage.show(10)
    paid = await stage.confirmed(show)
    await cancel_event(stage, show)
    await stage.reconcile_now()
    await refunded(stage, paid, 3, refund_failed=True)
    assert await progress(stage, show) == so_far(1, 1, failed=1, finished=True)
    await stage.call(RefundBooking(booking_id=paid.id, refund_id=uuid4()))
    assert await progress(stage, show) == so_far(1, 1, owed=1)


async def test_booking_with_a_part_given_back_gets_the_rest(stage: Stage) -> None:
    show = await stage.show(10)
    paid = await stage.confirmed(show)
    await stage.call(RefundBooking(booking_id=paid.id, refund_id=uuid4(), amount=1000))
    await refunded(stage, paid, 3, amount_refunded=1000)
    await cancel_event(stage, show)
    await stage.reconcile_now()
    row = await stage.row(paid)
    assert (row["status"], row["reason"], row["refund_amount"]) == ("cancelled", "event_cancelled", 1500)


async def test_disputed_money_is_counted_by_itself(stage: Stage) -> None:
    show = await stage.show(10)
    paid = await stage.confirmed(show)
    await cancel_event(stage, show)
    await stage.reconcile_now()
    await refunded(stage, paid, 3, disputed=True, refund_failed=True)
    assert await progress(stage, show) == so_far(1, 1, disputed=1, finished=True)


async def test_bookings_that_ended_for_another_reason_do_not_count(stage: Stage) -> None:
    show = await stage.show(10)
    ended, unwanted = await stage.book(show.order(), show.order())
    await stage.cancel(ended)
    await stage.apply(report(ended, IntentStatus.CANCELED, 1))
    await cancel_event(stage, show)
    assert await progress(stage, show) == so_far(1, 0)
    await stage.apply(report(unwanted, IntentStatus.REJECTED, 1))
    assert await progress(stage, show) == so_far(0, 0, finished=True)


async def test_event_without_bookings_is_cancelled_at_once(stage: Stage) -> None:
    show = await stage.show(10)
    await cancel_event(stage, show)
    assert await progress(stage, show) == so_far(0, 0, finished=True)


async def test_progress_is_published_while_availability_stays_the_same(stage: Stage) -> None:
    """Each notification has a higher version than the one before, though the event itself has not changed."""
    show = await stage.show(10)
    paid = await stage.confirmed(show)
    await stage.listen(show)
    await cancel_event(stage, show)
    await stage.reconcile_now()
    await published_events(stage)
    snapshots = []
    for version, values in ((3, {"refund_pending": True}), (4, {"amount_refunded": 2500})):
        await refunded(stage, paid, version, **values)
        snapshots += await published_events(stage)
    under_way, succeeded = [snapshot.operators for snapshot in snapshots]
    assert under_way is not None
    assert succeeded is not None
    assert under_way.progress == so_far(1, 1, under_way=1)
    assert succeeded.progress == so_far(1, 1, succeeded=1, finished=True)
    assert succeeded.version > under_way.version
    assert snapshots[0].event == snapshots[1].event


async def test_progress_is_published_again_after_a_repeated_report(stage: Stage) -> None:
    """The process that applied it first may have died before it published the notification."""
    show = await stage.show(10)
    paid = await stage.confirmed(show)
    await stage.listen(show)
    await cancel_event(stage, show)
    await stage.reconcile_now()
    await refunded(stage, paid, 3, amount_refunded=2500)
    await published_events(stage)
    await refunded(stage, paid, 3, amount_refunded=2500)
    (again,) = await published_events(stage)
    assert again.operators is not None
    assert again.operators.progress == so_far(1, 1, succeeded=1, finished=True)


async def test_bookings_are_seldom_counted_during_many_changes(stage: Stage) -> None:
    """A count reads all bookings of the event: the second one waits for its time."""
    show = await stage.show(10)
    await stage.listen(show)
    first, other = (Availability(stage.store, stage.bus, stage.redis, each, 1000, 1000) for each in ("1", "2"))
    first.touched([show.id])
    assert await first.run_once() == 1
    await cancel_event(stage, show)
    first.touched([show.id])
    assert await first.run_once() == COUNTED_TIMES
    assert await stage.redis.pttl(f"availability:{show.id}") > 1000 * COUNTED_TIMES
    await stage.redis.delete("notifications")
    other.touched([show.id])
    await other.run_once()
    assert await stage.redis.xlen("notifications") == 0


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "PASS_MAX", 4)


@pytest.mark.usefixtures("small_parts")
async def test_any_reconciler_continues_with_the_next_part(stage: Stage) -> None:
    """Reconcilers start and end between parts; no booking is left out and no refund is owed twice."""
    show = await stage.show(50)
    free: list[CreateBooking] = [show.order() for _ in range(11)]
    bookings = await stage.book(*free)
    await stage.apply(*(report(each, IntentStatus.SUCCEEDED, 1) for each in bookings))
    await cancel_event(stage, show)
    cancelled = []
    for _ in range(5):
        # A new reconciler each time: it does not know how far the one before has come.
        reconciler = BookingReconciler(
            stage.store, stage.unit, stage.availability, stage.bus, stage.redis, stage.clock, TERMS
        )
        stage.clock.ahead += timedelta(milliseconds=1)
        await reconciler.run_once()
        cancelled.append((await progress(stage, show)).cancelled)
    assert cancelled == [4, 8, 11, 11, 11]
    refunds = [each for each in await stage.published("payment.commands") if each[0] == "payment.refund"]
    assert sorted(subject for _, subject in refunds) == sorted(str(each.id) for each in bookings)
    assert await stage.seats(show) == [(0, 0)]


@pytest.mark.usefixtures("small_parts")
async def test_when_a_reconciler_dies_in_a_part_another_continues(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part is committed and nothing of it was published: still the rest follows, and so do its refunds."""
    show = await stage.show(50)
    bookings = await stage.book(*(show.order() for _ in range(6)))
    await stage.apply(*(report(each, IntentStatus.SUCCEEDED, 1) for each in bookings))
    await cancel_event(stage, show)

    class Killed(BaseException):
        pass

    async def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr("booking.repository.Store.set_retry_time", killed)
        with pytest.raises(Killed):
            await stage.reconcile_now()
    assert (await progress(stage, show)).cancelled == 4
    await stage.reconcile(timedelta(seconds=1))
    assert await stage.published("payment.commands") == []
    await stage.reconcile(EVENT_CLAIM)
    await stage.reconcile_now()
    assert await progress(stage, show) == so_far(6, 6, owed=6)
    refunds = [subject for kind, subject in await stage.published("payment.commands") if kind == "payment.refund"]
    assert set(refunds) == {str(each.id) for each in bookings}


@pytest.mark.usefixtures("small_parts")
async def test_one_reconciler_handles_the_bookings_once_and_makes_a_last_pass(stage: Stage) -> None:
    show = await stage.show(50)
    await stage.book(*(show.order() for _ in range(9)))
    await cancel_event(stage, show)
    for _ in range(5):
        await stage.reconcile_now()
    rows = await stage.rows("SELECT closing FROM bookings")
    assert [row["closing"] for row in rows] == ["event_cancelled"] * 9
    (row,) = await stage.rows("SELECT settle_after FROM events")
    assert row["settle_after"] is None


@pytest.mark.usefixtures("small_parts")
async def test_booking_that_appears_among_the_handled_ones_is_found_by_the_last_pass(stage: Stage) -> None:
    """It was created before the bookings that have been handled: a last pass from the first booking on finds it."""
    show = await stage.show(50)
    bookings = await stage.book(*(show.order() for _ in range(9)))
    late = bookings[0]
    await stage.rows("UPDATE bookings SET closing = 'by_customer' WHERE id = $1", late.id)
    await cancel_event(stage, show)
    await stage.reconcile_now()
    # Not to be cancelled with the event when the reconciler passed it; now it is.
    await stage.rows("UPDATE bookings SET closing = NULL WHERE id = $1", late.id)
    for _ in range(5):
        await stage.reconcile_now()
    rows = await stage.rows("SELECT closing FROM bookings")
    assert [row["closing"] for row in rows] == ["event_cancelled"] * 9
    (row,) = await stage.rows("SELECT settle_after FROM events")
    assert row["settle_after"] is None


async def test_cancelled_events_are_listed_to_operators(stage: Stage) -> None:
    off, on = await stage.show(10), await stage.show(10, on_sale=False)
    await cancel_event(stage, off)
    (reply,) = await stage.call(ListEvents(limit=10, operator=True))
    events = [OperatorsEvent.model_validate(item) for item in reply.result["items"]]
    assert {(event.id, event.called_off_at is not None, event.on_sale) for event in events} == {
        (off.id, True, False),
        (on.id, False, False),
    }
