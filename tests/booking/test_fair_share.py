"""What an owner asks of Stripe beyond its share waits behind what all others ask, and nobody else's does."""

from __future__ import annotations

import math
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from booking import fair_share
from booking.fair_share import READ_SECONDS, FairShare, Share
from booking.queue import SAMPLED
from common.contracts.messages import (
    PAYMENT_COMMANDS,
    PAYMENT_DEFERRED,
    PAYMENT_INTENTS,
    GetBooking,
    QueueMoved,
    Reply,
)
from common.contracts.resources import Booking
from common.contracts.statuses import CancelReason, IntentStatus
from common.messaging.envelope import Envelope
from common.messaging.lease import ReaderLease
from common.postgres.database import Database
from tests.booking.stage import Clock, Show, Stage, report
from tests.booking.test_queue import published, queue_of

PAYABLE = IntentStatus.REQUIRES_PAYMENT_METHOD
SHARE = Share(calls=2, seconds=10)
NO_REDIS = cast(Redis, None)


def build(database: Database, redis: Redis, share: Share = SHARE) -> Stage:
    """A process whose clock stands still, beside payment processes that read the deferred mailbox."""
    stage = Stage.build(database, redis, clock=Clock(Clock()()), share=share)
    stage.share._read_until = math.inf
    return stage


@pytest.fixture
def fair(stage: Stage) -> Stage:
    return build(stage.database, stage.redis)


def asked(envelopes: list[Envelope]) -> list[tuple[str, str]]:
    """What payment is asked for, and in which mailbox."""
    payments = [each for each in envelopes if each.stream.startswith("payment.")]
    return [(each.stream, each.message.type) for each in payments if each.message.type != "payment.report_applied"]


CREATE, CANCEL = "payment.create_intent", "payment.cancel_intent"


async def books(stage: Stage, show: Show, owner: str = "alice") -> str:
    """The mailbox in which the intent of a new booking is asked for."""
    ((stream, kind),) = asked(await stage.give(show.order(owner=owner)))
    assert kind == CREATE
    return stream


async def test_what_an_owner_asks_beyond_its_share_is_deferred(fair: Stage) -> None:
    show = await fair.show(20)
    assert [await books(fair, show) for _ in range(4)] == [PAYMENT_INTENTS] * 2 + [PAYMENT_DEFERRED] * 2
    assert await books(fair, show, "bob") == PAYMENT_INTENTS
    rows = await fair.rows("SELECT owner, deferred FROM bookings ORDER BY owner, deferred")
    assert [tuple(row) for row in rows] == [*[("alice", False)] * 2, *[("alice", True)] * 2, ("bob", False)]


async def test_of_one_batch_no_more_than_the_share_is_not_deferred(fair: Stage) -> None:
    show = await fair.show(20)
    envelopes = await fair.give(*(show.order() for _ in range(5)), show.order(owner="bob"))
    streams = [stream for stream, _ in asked(envelopes)]
    assert (streams.count(PAYMENT_INTENTS), streams.count(PAYMENT_DEFERRED)) == (3, 3)


async def test_the_share_comes_back_with_time_and_deferred_calls_use_none_of_it(fair: Stage) -> None:
    show = await fair.show(20)
    assert [await books(fair, show) for _ in range(9)][2:] == [PAYMENT_DEFERRED] * 7
    fair.clock.ahead += timedelta(seconds=10)
    assert [await books(fair, show), await books(fair, show)] == [PAYMENT_INTENTS, PAYMENT_DEFERRED]
    fair.clock.ahead += timedelta(hours=1)
    assert [await books(fair, show) for _ in range(3)] == [PAYMENT_INTENTS] * 2 + [PAYMENT_DEFERRED]


async def pending(stage: Stage, show: Show, owner: str = "alice") -> Booking:
    (booking,) = await stage.book(show.order(owner=owner))
    (changed,) = await stage.apply(report(booking, PAYABLE, 1))
    return changed


async def test_cancels_of_an_owner_count(fair: Stage) -> None:
    """One that books and cancels in a loop is behind all others with the second round."""
    show = await fair.show(20)
    mailboxes = []
    for _ in range(2):
        booking = await pending(fair, show)
        mailboxes += [booking.payment.deferred, *asked(await fair.cancel(booking))]
    assert mailboxes == [False, (PAYMENT_COMMANDS, CANCEL), True, (PAYMENT_DEFERRED, CANCEL)]


async def test_a_cancellation_that_is_asked_for_again_counts_once(fair: Stage) -> None:
    """The payment changes while its intent is being cancelled: an owner's only booking is never deferred."""
    booking = await pending(fair, await fair.show(20))
    assert asked(await fair.cancel(booking)) == [(PAYMENT_COMMANDS, CANCEL)]
    for version, status in enumerate((IntentStatus.REQUIRES_ACTION, PAYABLE, IntentStatus.REQUIRES_ACTION), 2):
        envelopes = await fair.give(report(booking, status, version))
        assert asked(envelopes) == [(PAYMENT_COMMANDS, CANCEL)]
    assert not (await fair.row(booking))["deferred"]


async def test_a_hold_that_ends_beyond_the_share_is_cancelled_behind_others(fair: Stage) -> None:
    show = await fair.show(20)
    first, second = await pending(fair, show), await pending(fair, show)
    await fair.rows("UPDATE bookings SET expires_at = now() - interval '1 min', settle_after = created_at")
    await fair.published(PAYMENT_COMMANDS)
    await fair.reconcile_now()
    assert {subject for _, subject in await fair.published(PAYMENT_DEFERRED)} == {str(first.id), str(second.id)}
    assert await fair.published(PAYMENT_COMMANDS) == []
    assert (await fair.row(first))["deferred"]


async def test_a_cancellation_that_needs_no_call_is_neither_counted_nor_deferred(fair: Stage) -> None:
    """The intent was not made yet, and never will be: that should be known soon."""
    show = await fair.show(20)
    bookings = await fair.book(*(show.order() for _ in range(3)))
    cancels = [asked(await fair.cancel(each)) for each in bookings]
    assert cancels == [[(PAYMENT_COMMANDS, CANCEL)]] * 3
    fair.clock.ahead += timedelta(seconds=20)
    assert [await books(fair, show) for _ in range(2)] == [PAYMENT_INTENTS] * 2


async def test_operators_and_refunds_are_never_deferred(fair: Stage) -> None:
    show = await fair.show(20)
    for _ in range(2):
        await fair.book(show.order())
    left, paid = await pending(fair, show), await pending(fair, show)
    assert (left.payment.deferred, paid.payment.deferred) == (True, True)
    assert asked(await fair.cancel(left, CancelReason.BY_OPERATOR)) == [(PAYMENT_COMMANDS, CANCEL)]
    await fair.apply(report(paid, IntentStatus.SUCCEEDED, 2))
    assert asked(await fair.cancel(paid, CancelReason.BY_OPERATOR)) == [(PAYMENT_COMMANDS, "payment.refund")]


async def test_a_deferred_booking_asks_again_in_the_same_mailbox(fair: Stage) -> None:
    """Unless its request still waits there."""
    show = await fair.show(20)
    *_, booking = await fair.book(*(show.order() for _ in range(3)))
    await fair.redis.xadd(PAYMENT_DEFERRED, {"still": "waits"}, id="1-1")
    await fair.reconcile(timedelta(seconds=11))
    assert await fair.redis.xlen(PAYMENT_DEFERRED) == 1
    await fair.redis.delete(PAYMENT_DEFERRED)
    await fair.reconcile(timedelta(seconds=31))
    assert await fair.published(PAYMENT_DEFERRED) == [(CREATE, str(booking.id))]


async def test_the_deferred_mailbox_is_bounded(fair: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds it full is asked for again later, and nobody is refused."""
    monkeypatch.setattr(fair_share, "LENGTH_MAX", 1)
    show = await fair.show(20)
    for number in (1, 2):
        await fair.redis.xadd(PAYMENT_DEFERRED, {"many": "wait"}, id=f"{number}-1")
    await fair.share.check()
    assert len(await fair.book(*(show.order() for _ in range(2)))) == 2
    fair.clock.ahead += timedelta(seconds=1)
    envelopes = await fair.give(show.order())
    (reply,) = [each.message for each in envelopes if isinstance(each.message, Reply)]
    booking = Booking.model_validate(reply.result["booking"])
    assert (asked(envelopes), booking.payment.deferred) == ([], True)
    await fair.redis.delete(PAYMENT_DEFERRED)
    await fair.share.check()
    fair.share._read_until = math.inf
    await fair.reconcile(timedelta(seconds=11))
    assert await fair.published(PAYMENT_DEFERRED) == [(CREATE, str(booking.id))]


async def test_a_request_counts_once_however_often_it_comes(fair: Stage) -> None:
    show = await fair.show(20)
    order = show.order()
    for _ in range(5):
        await fair.give(order)
    assert [await books(fair, show), await books(fair, show)] == [PAYMENT_INTENTS, PAYMENT_DEFERRED]


async def test_what_was_not_written_counts_nothing(fair: Stage) -> None:
    """The terms have changed: memory proposes in vain, and the booking is made under locks."""
    show = await fair.show(20)
    assert await books(fair, show) == PAYMENT_INTENTS
    await fair.rows("UPDATE events SET name = 'Opera' WHERE id = $1", show.id)
    assert [await books(fair, show), await books(fair, show)] == [PAYMENT_INTENTS, PAYMENT_DEFERRED]


async def test_each_process_counts_for_itself(fair: Stage) -> None:
    """So an owner gets one share from each: never more, whichever of them it comes to."""
    show = await fair.show(50)
    fleet = [fair, *(build(fair.database, fair.redis) for _ in range(2))]
    streams = [await books(stage, show) for _ in range(5) for stage in fleet]
    assert streams.count(PAYMENT_INTENTS) == len(fleet) * SHARE.calls


async def test_nothing_is_deferred_when_it_is_off(stage: Stage) -> None:
    stage.share._read_until = math.inf
    show = await stage.show(20)
    assert {await books(stage, show) for _ in range(10)} == {PAYMENT_INTENTS}


def test_the_guests_of_an_address_have_a_share_together() -> None:
    """That of so many owners; a booking without an address counts for its owner alone."""
    share = FairShare(NO_REDIS, Share(calls=2, seconds=10, per_address=3), lambda: 0.0)
    share._read_until = math.inf

    def deferred(owner: str, address: str | None) -> bool:
        asks = share.asks()
        booking: Any = SimpleNamespace(id=owner, owner=owner, address=address, deferred=False)
        booking._replace = lambda **changes: SimpleNamespace(**vars(booking) | changes)
        judged = asks.new(booking)
        asks.committed([cast(Any, owner)])
        return judged.deferred

    assert [deferred(f"guest {number}", "a") for number in range(8)] == [False] * 6 + [True] * 2
    assert not deferred("guest 9", "b")
    assert not deferred("guest 9", None)
    assert deferred("guest 9", None)


def test_only_so_many_owners_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_share, "COUNTED_MAX", 3)
    share = FairShare(NO_REDIS, SHARE, lambda: 0.0)
    for owner in range(10):
        share.take(f"owner {owner}", 1)
    assert [share.left(f"owner {owner}", 1) for owner in (6, 7, 9)] == [2, 1, 1]


# --- who reads the mailbox --------------------------------------------------------------------------------


async def test_nothing_is_deferred_while_nobody_reads_it(stage: Stage) -> None:
    """Payment processes of the release before do not. A reader with much in hand is still one."""
    fair, lease = build(stage.database, stage.redis), ReaderLease(PAYMENT_DEFERRED, "payment", "payment-1")
    fair.share._read_until = 0.0
    show = await fair.show(20)

    async def mailbox(after: float = 0.0) -> str:
        fair.clock.ahead += timedelta(seconds=after)
        await fair.share.check()
        return await books(fair, show)

    assert {await mailbox() for _ in range(4)} == {PAYMENT_INTENTS}
    await lease.acquire(stage.redis)
    assert [await mailbox() for _ in range(3)] == [PAYMENT_INTENTS] * 2 + [PAYMENT_DEFERRED]
    await lease.release(stage.redis)
    assert [await mailbox(1), await mailbox(READ_SECONDS)] == [PAYMENT_DEFERRED, PAYMENT_INTENTS]
    assert {await mailbox() for _ in range(9)} == {PAYMENT_INTENTS}


async def test_what_was_deferred_before_a_rollback_is_asked_for_in_the_usual_mailbox(fair: Stage) -> None:
    """The entries that nobody reads any more keep no booking waiting."""
    show = await fair.show(20)
    *_, booking = await fair.book(*(show.order() for _ in range(3)))
    await fair.redis.xadd(PAYMENT_DEFERRED, {"never": "read"}, id="1-1")
    fair.share._read_until = 0.0
    await fair.reconcile(timedelta(seconds=11))
    assert (CREATE, str(booking.id)) in await fair.published(PAYMENT_INTENTS)


# --- in the queue -----------------------------------------------------------------------------------------


async def position(stage: Stage, booking: Booking) -> int | None:
    (reply,) = await stage.call(GetBooking(booking_id=booking.id, owner=None))
    return cast("int | None", reply.result["payment"]["queue_position"])


async def made(stage: Stage, show: Show, count: int, owner: str = "alice") -> list[Booking]:
    """Bookings made one after another."""
    bookings = []
    for _ in range(count):
        bookings += await stage.book(show.order(owner=owner))
        stage.clock.ahead += timedelta(milliseconds=1)
    return bookings


async def test_deferred_bookings_are_behind_all_others(fair: Stage) -> None:
    show = await fair.show(20)
    first, second, third, fourth = await made(fair, show, 4)
    (bob,) = await made(fair, show, 1, "bob")
    in_order = [await position(fair, each) for each in (first, second, bob, third, fourth)]
    assert in_order == [0, 1, 2, 3, 4]


async def test_the_sample_has_both_parts_of_the_queue(fair: Stage) -> None:
    show = await fair.show(200)
    *_, last = await made(fair, show, 82)
    (bob,) = await made(fair, show, 1, "bob")
    (moved,) = [each for each in await published(fair, queue_of(fair)) if isinstance(each, QueueMoved)]
    assert moved.total == 83
    assert [place for place, _, _ in moved.places] == [0, 1, 2]
    assert [place for place, _, _ in moved.deferred] == [3 + each for each in SAMPLED if each < 80] + [82]
    assert (moved.places[-1][2], moved.deferred[-1][2]) == (bob.id, last.id)
