"""What one buyer may have of an event: seats and open holds of an owner, holds of the guests of one address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis

from booking.buyers import HOLDS_RETRY_SECONDS, BuyerPolicy, owner_key
from booking.event_rows import EventRows
from booking.state import Event
from common.contracts.messages import CreateBooking, Reply
from common.contracts.resources import Booking
from common.contracts.statuses import IntentStatus
from common.contracts.values import PaymentError
from common.postgres.database import Database
from ops.repair.execution import count_anew
from ops.repair.plan import Action, Kind
from tests.booking.stage import TABLES, TERMS, Show, Stage, delivery, of, report
from tests.servers import empty

PAUSE = timedelta(seconds=30)
POLICY = BuyerPolicy(seats=6, owner_holds=2, address_holds=3, address_seats=8, pause=PAUSE)
DECLINED = PaymentError(code="card_declined")
OVER = TERMS.hold + timedelta(seconds=5)


@pytest.fixture(params=[100, 0], ids=["memory", "locked"])
async def stage(request: pytest.FixtureRequest, database: Database, redis: Redis) -> AsyncIterator[Stage]:
    """With limits; once selling from memory, once only on the locked path."""
    async with database.connection() as connection:
        await empty(connection, TABLES)
    stage = Stage.build(database, redis, request.param, buyers=POLICY)
    yield stage
    await stage.audit()


def guest(show: Show, name: str, address: str = "a1", quantity: int = 1) -> CreateBooking:
    return show.order(quantity, owner=name).model_copy(update={"address": address})


async def errors(stage: Stage, *orders: CreateBooking) -> list[Any]:
    """The errors of these requests in one batch, sorted; None for a booking."""
    return sorted((reply.error for reply in of(await stage.give(*orders), Reply)), key=str)


async def expire(stage: Stage, booking: Booking, version: int = 2) -> None:
    """The hold ends, and Stripe confirms that nothing was paid."""
    await stage.reconcile(OVER)
    await stage.apply(report(booking, IntentStatus.CANCELED, version))


async def test_an_owner_gets_as_many_seats_as_the_limit_says_whatever_the_bookings(stage: Stage) -> None:
    show = await stage.show(100)
    for _ in range(2):
        await stage.confirmed(show, 3)
    assert await errors(stage, show.order(1), show.order(1, owner="bob")) == [None, "owner_limit_reached"]


async def test_within_one_batch_the_limit_counts_as_well(stage: Stage) -> None:
    show = await stage.show(100)
    found = await errors(stage, *(show.order(1) for _ in range(4)), show.order(6, owner="bob"))
    assert found == [None, None, None, "too_many_holds", "too_many_holds"]


async def test_an_event_can_set_its_own_limit(stage: Stage) -> None:
    show = await stage.show(100, max_per_owner=3)
    assert await errors(stage, show.order(2)) == [None]
    (reply,) = of(await stage.give(show.order(2)), Reply)
    assert (reply.error, reply.extra["max_per_owner"]) == ("owner_limit_reached", 3)
    assert await errors(stage, show.order(1)) == [None]


async def test_seats_that_are_given_back_can_be_booked_again(stage: Stage) -> None:
    show = await stage.show(100)
    first = await stage.pending(show, 5)
    assert await errors(stage, show.order(2)) == ["owner_limit_reached"]
    await stage.cancel(first)
    await stage.apply(report(first, IntentStatus.CANCELED, 2))
    assert await errors(stage, show.order(2)) == [None]


async def test_open_holds_of_an_owner_are_bounded_until_one_is_paid(stage: Stage) -> None:
    show = await stage.show(100)
    paid, _ = await stage.pending(show), await stage.pending(show)
    (reply,) = of(await stage.give(show.order()), Reply)
    assert (reply.error, reply.extra["retry_after"]) == ("too_many_holds", HOLDS_RETRY_SECONDS)
    await stage.apply(report(paid, IntentStatus.SUCCEEDED, 2))
    assert await errors(stage, show.order()) == [None]


async def test_guests_of_one_address_share_its_holds(stage: Stage) -> None:
    show, other = await stage.show(100), await stage.show(100)
    found = await errors(stage, *(guest(show, f"guest_{n}") for n in range(4)))
    assert found == [None, None, None, "too_many_holds"]
    elsewhere = [guest(show, "guest_5", "a2"), guest(other, "guest_6"), show.order(owner="a customer with a name")]
    assert await errors(stage, *elsewhere) == [None, None, None]


async def test_guests_of_one_address_share_the_seats_of_its_holds_until_they_pay(stage: Stage) -> None:
    """An address has few holds, but each may have as many seats as the event allows in a booking."""
    show = await stage.show(100)
    paid, _ = await stage.book(guest(show, "guest_1", quantity=4), guest(show, "guest_2", quantity=4))
    assert await errors(stage, guest(show, "guest_3")) == ["too_many_holds"]
    await stage.apply(report(paid, IntentStatus.SUCCEEDED, 2))
    (row,) = await stage.rows("SELECT seats, holds FROM buyers WHERE key LIKE '%:address:a1'")
    assert tuple(row) == (4, 1)
    assert await errors(stage, guest(show, "guest_3", quantity=4)) == [None]


async def test_an_address_may_have_what_the_event_allows_one_owner(stage: Stage) -> None:
    show = await stage.show(100, max_per_owner=10)
    assert await errors(stage, guest(show, "guest_1", quantity=10)) == [None]
    assert await errors(stage, guest(show, "guest_2")) == ["too_many_holds"]


async def test_free_seats_stay_open_holds(stage: Stage) -> None:
    """They are confirmed at once: without that one address could take them all."""
    show = await stage.show(100, unit_amount=0)
    assert await errors(stage, *(guest(show, f"guest_{n}") for n in range(3))) == [None] * 3
    assert await errors(stage, guest(show, "guest_4")) == ["too_many_holds"]


async def test_a_hold_left_to_expire_pauses_its_owner_each_time_for_longer(stage: Stage) -> None:
    show = await stage.show(100)
    for times in (1, 2):
        await expire(stage, await stage.pending(show))
        (reply,) = of(await stage.give(show.order()), Reply)
        assert reply.error == "booking_paused"
        assert 0 < reply.extra["retry_after"] <= times * PAUSE.total_seconds()
        assert await errors(stage, show.order(owner="bob")) == [None]
        stage.clock.ahead += timedelta(seconds=reply.extra["retry_after"])
    stage.clock.ahead += PAUSE  # REFUSED of creation.py is over as well
    await stage.confirmed(show)
    (row,) = await stage.rows("SELECT lapsed FROM buyers WHERE key LIKE '%alice'")
    assert row["lapsed"] == 0


async def test_without_a_pause_nobody_is_refused_whose_request_was_read_before_the_hold_expired(
    database: Database, redis: Redis
) -> None:
    """As by another process, which read the clock before."""
    stage = Stage.build(database, redis, buyers=POLICY._replace(pause=timedelta()))
    show = await stage.show(100)
    await expire(stage, await stage.pending(show))
    stage.clock.ahead -= timedelta(seconds=1)
    assert await errors(stage, show.order()) == [None]


async def test_a_payment_that_failed_is_no_reason_for_a_pause(stage: Stage) -> None:
    show = await stage.show(100)
    booking = await stage.pending(show)
    await stage.apply(report(booking, IntentStatus.REQUIRES_PAYMENT_METHOD, 2, last_error=DECLINED, attempts=1))
    await stage.reconcile(TERMS.hold_max)
    await expire(stage, booking, 3)
    assert (await stage.row(booking))["status"] == "cancelled"
    assert await errors(stage, show.order()) == [None]


async def test_two_statements_of_one_owner_at_once_do_not_exceed_the_limit(
    stage: Stage, database: Database, redis: Redis
) -> None:
    """Neither sees the first row of the other: the table's constraint decides."""
    show = await stage.show(100)
    stages = [Stage.build(database, redis, memory, buyers=POLICY) for memory in (100, 100, 0, 0)]
    found = await asyncio.gather(*(one.handlers.commands[CreateBooking](
        [delivery(show.order())]) for one in stages), return_exceptions=True)  # fmt: skip
    booked = await stage.rows("SELECT count(*) AS n FROM bookings WHERE status = 'pending'")
    assert booked[0]["n"] <= 2
    assert len(found) == 4


async def test_a_refused_buyer_does_not_cost_the_others_of_its_batch_their_way_from_memory(
    database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage.build(database, redis, buyers=POLICY)
    show = await stage.show(100)
    await errors(stage, show.order(), show.order())
    assert await errors(stage, show.order()) == ["too_many_holds"]
    locked: list[UUID] = []

    async def lock_sales(self: EventRows, ids: Sequence[UUID]) -> dict[UUID, Event]:
        locked.extend(ids)
        return await lock(self, ids)

    lock = EventRows.lock_sales
    monkeypatch.setattr(EventRows, "lock_sales", lock_sales)
    assert await errors(stage, show.order(owner="bob")) == [None]
    assert not locked
    assert await errors(stage, show.order(), show.order(owner="carol")) == [None, "too_many_holds"]
    assert locked == [show.id]


async def test_a_buyer_that_is_refused_first_sends_no_other_event_to_the_locked_path(
    database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one statement of its batch fails because of it; the next batch of the other event goes on from memory."""
    stage = Stage.build(database, redis, buyers=POLICY)
    show, other = await stage.show(100), await stage.show(100)
    await errors(stage, show.order(), show.order(), other.order(owner="bob"))
    assert await errors(stage, show.order(), other.order(owner="carol")) == [None, "too_many_holds"]

    async def lock_sales(self: EventRows, ids: Sequence[UUID]) -> dict[UUID, Event]:
        raise AssertionError("the locked path")

    monkeypatch.setattr(EventRows, "lock_sales", lock_sales)
    assert await errors(stage, other.order(owner="dave")) == [None]


async def test_what_a_process_of_the_release_before_changed_is_counted_anew(stage: Stage) -> None:
    show = await stage.show(100)
    booking = await stage.pending(show, 2)
    ended = "UPDATE bookings SET status = 'cancelled', expires_at = NULL, client_secret = NULL"
    await stage.rows(f"{ended} WHERE id = $1", booking.id)
    await stage.rows("UPDATE ticket_types SET held = 0")
    async with stage.store.statement() as rows:
        assert await rows.buyers.recount(PAUSE, 10) == 1
        assert await rows.buyers.recount(PAUSE, 10) == 0
    (row,) = await stage.rows("SELECT seats, holds FROM buyers")
    assert tuple(row) == (0, 0)


async def test_addresses_are_forgotten(stage: Stage) -> None:
    free, show = await stage.show(100, unit_amount=0), await stage.show(100)
    await stage.book(guest(free, "guest_1"), guest(free, "guest_2"), guest(show, "guest_1"))
    async with stage.store.statement() as rows:
        assert await rows.buyers.forget_addresses(stage.clock() + timedelta(days=1), 10) == 2
    left = await stage.rows("SELECT owner FROM bookings WHERE address IS NOT NULL")
    assert [row["owner"] for row in left] == ["guest_1"]  # a pending booking keeps it
    left = await stage.rows("SELECT key FROM buyers WHERE key LIKE '%:address:%'")
    assert len(left) == 1


async def test_a_repair_counts_a_buyer_anew(stage: Stage) -> None:
    show = await stage.show(100)
    await stage.pending(show, 2)
    key = owner_key(show.id, "alice")
    for damage in ("UPDATE buyers SET seats = 1, holds = 0", "DELETE FROM buyers"):
        await stage.rows(damage)
        async with stage.database.connection() as connection:
            assert await count_anew(connection, [Action(Kind.BUYER, key)]) == []
        (row,) = await stage.rows("SELECT key, seats, holds FROM buyers")
        assert tuple(row) == (key, 2, 1)
