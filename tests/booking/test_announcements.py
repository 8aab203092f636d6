"""Changes of bookings are announced once each: which ones, from which version on, and whatever fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from redis.asyncio import Redis

from booking.announcements import Announcement
from booking.announcer import GATHER_SECONDS
from common.contracts.ids import ticket_id
from common.contracts.messages import (
    BookingChanged,
    OperatorRequest,
    RefundBooking,
    RefundTickets,
    SetCustomer,
)
from common.contracts.resources import Booking
from common.contracts.statuses import CancelReason, IntentStatus
from common.contracts.values import Customer
from common.postgres.database import Database
from common.runtime.reconciler import BUSY_SECONDS, POLL_SECONDS
from tests.booking.stage import Stage, of, report
from tests.booking.test_box_office import sale, sold
from tests.booking.test_waiting_list import end, join, offered, wish

ADA = Customer("Ada", "ada@example.com", "en")


class Listener:
    """Takes announcements; a test makes it fail."""

    def __init__(self) -> None:
        self.all: list[Announcement] = []
        self.fails_for: set[UUID] = set()

    async def __call__(self, _: asyncpg.Connection, made: Sequence[Announcement], now: datetime) -> None:
        if self.fails_for & {each.booking.id for each in made}:
            raise RuntimeError("as the test wants it")
        self.all += made

    def kinds(self, booking: Booking) -> list[str]:
        """What was announced of this booking since the last time, in order."""
        found = [each.kind.value.removeprefix("booking.") for each in self.all if each.booking.id == booking.id]
        self.all = [each for each in self.all if each.booking.id != booking.id]
        return found


@pytest.fixture
def announced() -> Listener:
    return Listener()


@pytest.fixture
def announcing(stage: Stage, database: Database, redis: Redis, announced: Listener) -> Stage:
    """A stage whose changes are announced; `stage` has emptied its tables."""
    return Stage.build(database, redis, announce=(announced,))


async def marks(stage: Stage) -> list[Any]:
    return [row["announce_from"] for row in await stage.rows("SELECT announce_from FROM bookings")]


async def test_a_paid_booking_is_announced_once(announcing: Stage, announced: Listener) -> None:
    booking = await announcing.confirmed(await announcing.show(10))
    assert await marks(announcing) == [booking.version]

    await announcing.announcer.run_once()
    await announcing.announcer.run_once()

    (made,) = announced.all
    assert (made.kind, made.booking.id) == ("booking.confirmed", booking.id)
    assert (made.change.version, made.change.after.status) == (booking.version, "confirmed")
    assert await marks(announcing) == [None]
    await announcing.audit()


async def test_where_nothing_is_switched_on_nothing_is_marked(stage: Stage) -> None:
    await stage.confirmed(await stage.show(10))
    assert await marks(stage) == [None]


async def test_a_pending_booking_is_not_announced(announcing: Stage) -> None:
    await announcing.pending(await announcing.show(10))
    assert await marks(announcing) == [None]


async def test_a_sold_out_booking_is_not_announced(announcing: Stage) -> None:
    show = await announcing.show(1)
    await announcing.book(show.order(1), show.order(1))
    assert await marks(announcing) == [None, None]


async def test_a_free_booking_is_announced_from_its_first_version(announcing: Stage, announced: Listener) -> None:
    show = await announcing.show(10, unit_amount=0)
    (booking,) = await announcing.book(show.order())
    await announcing.announcer.run_once()
    assert announced.kinds(booking) == ["confirmed"]


async def test_changes_before_it_was_switched_on_are_not_announced(
    stage: Stage, announcing: Stage, announced: Listener
) -> None:
    booking = await stage.confirmed(await stage.show(10))
    await announcing.cancel(booking, CancelReason.BY_OPERATOR)
    await announcing.announcer.run_once()
    assert announced.kinds(booking) == ["cancelled"]


async def test_several_changes_are_announced_together_in_order(announcing: Stage, announced: Listener) -> None:
    booking = await announcing.confirmed(await announcing.show(10))
    await announcing.cancel(booking, CancelReason.BY_OPERATOR)
    await announcing.announcer.run_once()
    assert announced.kinds(booking) == ["confirmed", "cancelled"]


async def test_each_refund_is_announced_with_its_amount(announcing: Stage, announced: Listener) -> None:
    booking = await announcing.confirmed(await announcing.show(10), 2)
    refund = {"refund_id": uuid4(), "amount": 1000, "operator": "root"}
    await announcing.give(RefundBooking(booking_id=booking.id, **refund))
    for version, refunded in enumerate((0, 1000, 1000, 3500), 3):
        values = {"amount_refunded": refunded, "refund_pending": not refunded}
        await announcing.apply(report(booking, IntentStatus.SUCCEEDED, version, **values))
    await announcing.announcer.run_once()
    amounts = [each.amount for each in announced.all if each.kind == "booking.refunded"]
    assert amounts == [1000, 2500]


@pytest.mark.parametrize("at_box_office", [False, True])
async def test_a_refund_of_single_tickets_is_announced_when_its_money_went_back(
    announcing: Stage, announced: Listener, at_box_office: bool
) -> None:
    show = await announcing.show(10)
    booking = await (sold(announcing, sale(show, 2)) if at_box_office else announcing.confirmed(show, 2))
    await announcing.announcer.run_once()
    assert announced.kinds(booking) == ["confirmed"]
    ids = (ticket_id(booking.id, show.types[0], 1),)
    asked = OperatorRequest(subject="desk", operation="refund", content_hash="")
    await announcing.give(RefundTickets(booking_id=booking.id, refund_id=uuid4(), ticket_ids=ids, request=asked))
    if not at_box_office:
        assert await marks(announcing) == [None]
        await announcing.apply(report(booking, IntentStatus.SUCCEEDED, 3, amount_refunded=2500))
    assert await marks(announcing) == [booking.version + 1 + (not at_box_office)]
    await announcing.announcer.run_once()
    assert [(each.kind.value, each.amount) for each in announced.all] == [("booking.refunded", 2500)]


async def test_failed_refunds_and_disputes_are_announced(announcing: Stage, announced: Listener) -> None:
    booking = await announcing.confirmed(await announcing.show(10))
    for version, values in ((3, {"refund_failed": True}), (4, {"refund_failed": True, "disputed": True})):
        await announcing.apply(report(booking, IntentStatus.SUCCEEDED, version, **values))
    await announcing.announcer.run_once()
    assert announced.kinds(booking) == ["confirmed", "refund_failed", "disputed"]


async def test_another_address_of_a_confirmed_booking_is_announced(announcing: Stage, announced: Listener) -> None:
    booking = await announcing.confirmed(await announcing.show(10))
    await announcing.announcer.run_once()
    assert announced.kinds(booking) == ["confirmed"]
    for customer, expected in (
        (ADA, ["customer_changed"]),
        (replace(ADA, phone="+491701234567"), []),
        (replace(ADA, email="ada@example.org"), ["customer_changed"]),
    ):
        changed = await announcing.give(SetCustomer(booking_id=booking.id, owner="alice", customer=customer))
        assert of(changed, BookingChanged)
        await announcing.announcer.run_once()
        assert announced.kinds(booking) == expected


async def test_announcing_does_not_disturb_what_comes_after(announcing: Stage, announced: Listener) -> None:
    booking = await announcing.confirmed(await announcing.show(10))
    await announcing.announcer.run_once()
    (changed,) = await announcing.apply(report(booking, IntentStatus.SUCCEEDED, 3, amount_refunded=2500))
    assert changed.status == "cancelled"
    await announcing.announcer.run_once()
    assert announced.kinds(booking) == ["confirmed", "cancelled", "refunded"]
    await announcing.audit()


async def test_an_announcement_has_the_same_id_whenever_it_is_made(announcing: Stage, announced: Listener) -> None:
    booking = await announcing.confirmed(await announcing.show(10))
    await announcing.announcer.run_once()
    await announcing.rows("UPDATE bookings SET announce_from = $1", booking.version)
    await announcing.announcer.run_once()
    first, second = announced.all
    assert first.id == second.id


async def test_a_booking_that_cannot_be_announced_holds_up_no_other(announcing: Stage, announced: Listener) -> None:
    show = await announcing.show(10)
    bookings = [await announcing.confirmed(show) for _ in range(3)]
    announced.fails_for = {bookings[0].id}
    await announcing.announcer.run_once()

    assert [announced.kinds(each) for each in bookings] == [[], ["confirmed"], ["confirmed"]]
    assert await announcing.announcer.next_due() is None, "it is not tried again at once"
    assert sorted(await marks(announcing), key=str) == [3, None, None]

    announced.fails_for = set()
    announcing.clock.ahead += timedelta(minutes=1)
    await announcing.announcer.run_once()
    assert announced.kinds(bookings[0]) == ["confirmed"]


async def test_more_bookings_than_one_pass_takes_do_not_wait_for_others_to_gather(
    announcing: Stage, announced: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("booking.announcer.PASS_MAX", 2)
    show = await announcing.show()
    bookings = [await announcing.confirmed(show) for _ in range(3)]
    pauses = [await announcing.announcer.run_once() for _ in range(3)]
    assert pauses == [BUSY_SECONDS, GATHER_SECONDS, POLL_SECONDS]
    assert [announced.kinds(booking) for booking in bookings] == [["confirmed"]] * 3


async def test_a_booking_that_another_announcer_has_is_left_to_it(announcing: Stage, announced: Listener) -> None:
    booking = await announcing.confirmed(await announcing.show(10))
    async with announcing.database.transaction() as connection:
        await connection.execute("SELECT 1 FROM bookings WHERE id = $1 FOR UPDATE", booking.id)
        await announcing.announcer.run_once()
        assert announced.all == []
    await announcing.announcer.run_once()
    assert announced.kinds(booking) == ["confirmed"]


async def test_a_later_change_keeps_the_older_mark(announcing: Stage) -> None:
    booking = await announcing.confirmed(await announcing.show(10))
    await announcing.cancel(booking, CancelReason.BY_OPERATOR)
    assert await marks(announcing) == [booking.version]


async def test_an_offer_to_who_waits_is_announced_and_what_the_customer_asked_for_is_not(
    announcing: Stage, announced: Listener
) -> None:
    show = await announcing.show(1)
    (held,) = await announcing.book(show.order(owner="holder"))
    asked = wish(show, "ann")
    await join(announcing, asked)
    await end(announcing, held)
    await announcing.reconcile_now()
    await announcing.announcer.run_once()
    assert announced.kinds(await offered(announcing, asked)) == ["waiting_list.offered"]
    assert announced.kinds(held) == ["cancelled"]
