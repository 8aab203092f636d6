"""One request retries all failed refunds of an event, in parts, each once, whichever process dies meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from booking.reconciler import EVENT_CLAIM, PASS_MAX
from common.contracts.messages import GetBooking, GetEvent, ListBookings, RetryRefunds
from common.contracts.resources import Booking, OperatorsEvent, RefundRetry
from common.contracts.statuses import CancelReason, IntentStatus
from tests.booking.stage import Show, Stage, new_event, report

THOUSAND = 1000
# Bookings of an event whose refunds have failed. They are inserted, as to sell a thousand would take long.
FAILED = """
INSERT INTO bookings (id, owner, event_id, items, amount, currency, status, reason, payment, intent_id,
    payment_version, amount_captured, refund_id, refund_whole, refund_error, refund_failed_amount,
    refund_failed_whole,
    created_at, updated_at)
SELECT gen_random_uuid(), 'alice', $1, '[]', 4500, 'eur', 'cancelled', 'event_cancelled', 'refund_failed',
    'pi_' || number, 5, 4500, gen_random_uuid(), true, 'charge_disputed', 4500, true, now(), now()
FROM generate_series(1, $2) AS number
"""


async def retry(stage: Stage, event_id: UUID, retry_id: UUID | None = None) -> RefundRetry:
    (reply,) = await stage.call(RetryRefunds(event_id=event_id, retry_id=retry_id or uuid4()))
    assert reply.error is None, reply
    return RefundRetry.model_validate(reply.result)


async def shown(stage: Stage, event_id: UUID) -> RefundRetry | None:
    (reply,) = await stage.call(GetEvent(event_id=event_id, operator=True))
    return OperatorsEvent.model_validate(reply.result).refund_retry


def so_far(seen: RefundRetry | None) -> tuple[int, int, int, int, int, bool]:
    assert seen is not None
    return seen.refunds, seen.remaining, seen.under_way, seen.succeeded, seen.failed, seen.finished


async def failed(stage: Stage, show: Show, *, cancel: bool = True, **values: Any) -> Booking:
    """A booking whose refund has failed: all of it, and the booking is cancelled, or a part."""
    booking = await stage.confirmed(show)
    if cancel:
        await stage.cancel(booking, CancelReason.BY_OPERATOR)
    failure: dict[str, Any] = {"refund_ids": ((await stage.row(booking))["refund_id"] or uuid4(),)}
    failure |= {"refund_failed": True, "refund_error": "expired_or_canceled_card", **values}
    (changed,) = await stage.apply(report(booking, IntentStatus.SUCCEEDED, 3, **failure))
    assert changed.payment.status == "refund_failed"
    await stage.published("payment.commands")
    return changed


async def asked(stage: Stage) -> list[str]:
    return [subject for kind, subject in await stage.published("payment.commands") if kind == "payment.refund"]


async def test_a_thousand_refunds_are_retried_in_parts(stage: Stage) -> None:
    """Each is owed once, under a new id, at most one part of them in a transaction; then the retry is finished."""
    show = await stage.show(10)
    await stage.rows(FAILED, show.id, THOUSAND)
    before = {row["id"]: row["refund_id"] for row in await stage.rows("SELECT id, refund_id FROM bookings")}
    first = await retry(stage, show.id)
    assert so_far(first) == (THOUSAND, THOUSAND, 0, 0, 0, False)

    requested: list[str] = []
    for done in range(PASS_MAX, THOUSAND + 1, PASS_MAX):
        await stage.reconcile_now()
        assert so_far(await shown(stage, show.id)) == (THOUSAND, THOUSAND - done, done, 0, 0, False)
        requested += await asked(stage)
        # The request again while the retry is under way: it is answered with the same retry, and starts nothing.
        assert (await retry(stage, show.id)).id == first.id
    # No failed refund is left, and a last pass from the first booking on finds none.
    await stage.reconcile_now()
    await stage.reconcile_now()
    assert (len(requested), set(requested)) == (THOUSAND, {str(id) for id in before})
    rows = await stage.rows("SELECT id, refund_id, refund_amount, refund_whole FROM bookings")
    assert all(row["refund_id"] != before[row["id"]] for row in rows)
    assert {(row["refund_amount"], row["refund_whole"]) for row in rows} == {(4500, True)}
    assert [row["settle_after"] for row in await stage.rows("SELECT settle_after FROM refund_retries")] == [None]
    # A reconciler that was stopped in the middle and continues now does not reopen the retry.
    await stage.store.set_retry_time("refund_retries", first.id, stage.clock())
    assert [row["settle_after"] for row in await stage.rows("SELECT settle_after FROM refund_retries")] == [None]


async def test_the_progress_of_a_retry_is_shown(stage: Stage) -> None:
    """One succeeds; one fails again, and the same request does not retry that one."""
    show = await stage.show(10)
    good, bad = [await failed(stage, show) for _ in range(2)]
    first = await retry(stage, show.id)
    await stage.reconcile_now()
    for booking, refunds in ((good, {"amount_refunded": good.amount}), (bad, {"refund_failed": True})):
        ids = ((await stage.row(booking))["refund_id"],)
        await stage.apply(report(booking, IntentStatus.SUCCEEDED, 4, refund_ids=ids, **refunds))
    await stage.reconcile_now()
    assert so_far(await shown(stage, show.id)) == (2, 0, 0, 1, 1, True)
    assert len(await asked(stage)) == 2

    again = await retry(stage, show.id)
    assert again.id != first.id
    assert so_far(again) == (1, 1, 0, 0, 0, False)
    await stage.reconcile_now()
    assert await asked(stage) == [str(bad.id)]


async def test_the_same_request_repeated_much_later_does_nothing(stage: Stage) -> None:
    """It is known by its id, which an Idempotency-Key makes; also when a refund has failed again."""
    show = await stage.show(10)
    booking = await failed(stage, show)
    first = await retry(stage, show.id)
    await stage.reconcile_now()
    await stage.reconcile_now()
    ids = ((await stage.row(booking))["refund_id"],)
    refunds = {"refund_ids": ids, "refund_failed": True}
    await stage.apply(report(booking, IntentStatus.SUCCEEDED, 4, **refunds))
    assert so_far(await retry(stage, show.id, first.id)) == (1, 0, 0, 0, 1, True)
    await stage.reconcile(timedelta(minutes=1))
    assert len(await asked(stage)) == 1


# For a confirmed booking only the failed amount is retried.
PARTS = [
    ({"refund_failed_amount": 1000}, (1000, False)),
    ({"refund_failed_amount": 2500, "refund_failed_whole": True}, (2500, True)),
    ({"refund_failed_amount": 2500}, (2500, False)),
    # Nothing of the failed amount is left to refund; and a report from a process that does not send the amount.
    ({"refund_failed_amount": 0}, None),
    ({}, None),
]


@pytest.mark.parametrize(("values", "owed"), PARTS)
async def test_a_failed_part_is_retried_as_a_part(
    stage: Stage, values: dict[str, Any], owed: tuple[int, bool] | None
) -> None:
    show = await stage.show(10)
    booking = await failed(stage, show, cancel=False, **values)
    assert (await retry(stage, show.id)).refunds == (owed is not None)
    await stage.reconcile_now()
    row = await stage.row(booking)
    assert (row["refund_amount"], row["refund_whole"]) == (owed or (None, None))


async def test_refunds_of_other_events_and_other_bookings_are_not_retried(stage: Stage) -> None:
    show, other = await stage.show(10), await stage.show(10)
    await failed(stage, other)
    await stage.confirmed(show)
    nothing = await retry(stage, show.id)
    assert so_far(nothing) == (0, 0, 0, 0, 0, True)
    assert await shown(stage, show.id) is None
    assert await stage.rows("SELECT 1 FROM refund_retries") == []
    (reply,) = await stage.call(RetryRefunds(event_id=new_event().event_id, retry_id=uuid4()))
    assert reply.error == "event_not_found"


async def test_when_a_reconciler_dies_in_a_part_another_continues(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part is committed, and nothing of it was published: still its refunds are requested, and
    the rest follows."""
    monkeypatch.setattr("booking.reconciler.PASS_MAX", 2)
    show = await stage.show(10)
    bookings = [await failed(stage, show) for _ in range(3)]
    await retry(stage, show.id)

    class Killed(BaseException):
        pass

    async def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr("booking.repository.Store.set_retry_time", killed)
        with pytest.raises(Killed):
            await stage.reconcile_now()
    assert await asked(stage) == []
    await stage.reconcile(EVENT_CLAIM)
    for _ in range(3):
        await stage.reconcile_now()
    assert set(await asked(stage)) == {str(booking.id) for booking in bookings}


async def test_only_operators_read_what_a_refund_waits_for(stage: Stage) -> None:
    """The same holds for the reason why it failed."""
    show = await stage.show(10)
    booking = await stage.confirmed(show)
    await stage.cancel(booking, CancelReason.BY_OPERATOR)
    ids = ((await stage.row(booking))["refund_id"],)
    refunds = {"refund_ids": ids, "refund_pending": True, "refund_waiting": "insufficient_funds"}
    (changed,) = await stage.apply(report(booking, IntentStatus.SUCCEEDED, 3, **refunds))
    mine, all_of_it = await stage.call(
        GetBooking(booking_id=booking.id, owner="alice"), GetBooking(booking_id=booking.id, owner=None)
    )
    (listed,) = await stage.call(ListBookings(owner=None, limit=5))
    reasons = [
        seen["payment"]["refund_waiting"] for seen in (mine.result, all_of_it.result, listed.result["items"][0])
    ]
    assert reasons == [None, "insufficient_funds", "insufficient_funds"]
    assert changed.payment.refund_waiting is None
