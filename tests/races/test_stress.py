"""Several booking actors with one Postgres, each with its memory and several connections. This shows what the
simulation's one connection cannot: Postgres' snapshots, the order of locks, and statements on a row that another
statement has just written. `make races` plays more rounds.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import asyncpg
import pytest
from redis.asyncio import Redis

from booking.booking_rows import Interfered
from common.contracts.messages import (
    CancelBooking,
    CancelEvent,
    EventChanges,
    Message,
    PaymentReport,
    RequestPayment,
    TicketTypeChange,
    UpdateEvent,
)
from common.contracts.resources import Booking
from common.contracts.statuses import CancelReason, IntentStatus
from common.messaging.redis import connect
from common.postgres.database import open_database
from ops.redis import RedisServer
from tests.booking.stage import TABLES, Show, Stage, report
from tests.servers import empty

ACTORS, CONNECTIONS = 4, 4
EVENTS, CAPACITY = 3, 60
# Batches of one round. `make test` plays one round, `make races` more: see HOLDFAST_EXAMPLES in the Makefile.
BATCHES = 160
ROUNDS = max(1, int(os.environ.get("HOLDFAST_EXAMPLES", "30")) // 30)
STATUSES = (
    IntentStatus.REQUIRES_PAYMENT_METHOD,
    IntentStatus.REQUIRES_ACTION,
    IntentStatus.PROCESSING,
    IntentStatus.SUCCEEDED,
    IntentStatus.CANCELED,
)
# Errors after which a consumer handles each message of the batch alone.
ALONE = (Interfered, asyncpg.UniqueViolationError)


class Crowd:
    """Sends messages to the actors, and keeps the bookings that they made."""

    def __init__(self, seed: str, stages: Sequence[Stage]) -> None:
        self.chance = random.Random(seed)
        self.stages = stages
        self.shows: list[Show] = []
        self.bookings: list[Booking] = []
        self._versions: dict[object, int] = {}

    async def give(self, *messages: Message) -> None:
        """To one actor, or to two at once: a message may be delivered again while one actor still handles it."""
        stages = self.chance.sample(self.stages, self.chance.choice((1, 1, 1, 2)))
        await asyncio.gather(*(self._give(stage, messages) for stage in stages))

    async def _give(self, stage: Stage, messages: Sequence[Message]) -> None:
        try:
            await stage.give(*messages)
        except ALONE:
            for message in messages:
                await self._alone(stage, message)

    async def _alone(self, stage: Stage, message: Message) -> None:
        """Try as often as a consumer does (ATTEMPTS_MAX)."""
        for _ in range(4):
            try:
                await stage.give(message)
            except ALONE:
                continue
            return
        await stage.give(message)

    async def book(self) -> None:
        chance = self.chance
        orders = [chance.choice(self.shows).order(chance.randint(1, 3)) for _ in range(chance.choice((1, 3, 20)))]
        if len(orders) > 1 and chance.random() < 0.3:
            orders.append(orders[0])
        chance.shuffle(orders)
        await self.give(*orders)
        known = await self.stages[0].rows(
            "SELECT id, event_id, amount, currency FROM bookings WHERE id = ANY($1::uuid[])",
            [order.booking_id for order in orders],
        )
        self.bookings += [Booking.model_construct(**row) for row in known]

    async def report(self) -> None:
        some = self._some()
        if some:
            await self.give(*(self.next_report(each, self.chance.choice(STATUSES)) for each in some))

    def next_report(self, booking: Booking, status: IntentStatus) -> PaymentReport:
        version = self._versions[booking.id] = self._versions.get(booking.id, 0) + 1
        return report(booking, status, version)

    async def cancel(self) -> None:
        by = self.chance.choice((CancelReason.BY_CUSTOMER, CancelReason.BY_OPERATOR))
        owner = "alice" if by is CancelReason.BY_CUSTOMER else None
        if some := self._some():
            await self.give(*(CancelBooking(booking_id=each.id, owner=owner, reason=by) for each in some))

    async def request_payment(self) -> None:
        if some := self._some():
            await self.give(*(RequestPayment(booking_id=each.id, owner="alice") for each in some))

    async def edit(self) -> None:
        show = self.chance.choice(self.shows)
        capacity = self.chance.randint(CAPACITY // 2, CAPACITY)
        change = TicketTypeChange(id=show.types[0], unit_amount=self.chance.randint(50, 9000), capacity=capacity)
        on_sale = self.chance.random() < 0.9
        await self.give(
            UpdateEvent(event_id=show.id, changes=EventChanges(on_sale=on_sale), ticket_types=(change,))
        )

    async def cancel_event(self) -> None:
        await self.give(CancelEvent(event_id=self.shows[-1].id))

    async def reconcile(self) -> None:
        await self.chance.choice(self.stages).reconcile_now()

    def _some(self) -> list[Booking]:
        chosen = self.chance.sample(self.bookings, min(len(self.bookings), self.chance.choice((1, 2, 10))))
        return list({each.id: each for each in chosen}.values())


@pytest.fixture
async def stages(redis_server: RedisServer, database_urls: tuple[str, str]) -> AsyncIterator[list[Stage]]:
    redis: Redis = connect(f"{redis_server.url.removesuffix('/0')}/6")
    async with AsyncExitStack() as opened:
        opened.push_async_callback(redis.aclose)
        found = [
            Stage.build(await opened.enter_async_context(open_database(database_urls[0], CONNECTIONS)), redis)
            for _ in range(ACTORS)
        ]
        async with found[0].database.connection() as connection:
            await empty(connection, TABLES)
        yield found
        async with found[0].database.connection() as connection:
            await empty(connection, TABLES)


async def play(crowd: Crowd) -> None:
    """Do all acts of a round, many at once. Any error, such as a deadlock, ends it."""
    acts: list[Callable[[], Awaitable[None]]] = [
        crowd.book, crowd.report, crowd.cancel, crowd.request_payment, crowd.edit, crowd.reconcile,
    ]  # fmt: skip
    weights = (8, 10, 2, 1, 1, 1)
    crowd.shows = [await crowd.stages[0].show(CAPACITY, unit_amount=2500) for _ in range(EVENTS)]
    acts_at_once = ACTORS * CONNECTIONS * 2
    room = asyncio.Semaphore(acts_at_once)

    async def act(number: int) -> None:
        async with room:
            await (crowd.cancel_event if number == BATCHES // 2 else crowd.chance.choices(acts, weights)[0])()

    async with asyncio.TaskGroup() as group:
        for number in range(BATCHES):
            group.create_task(act(number))


@pytest.mark.timeout(3000)
async def test_actors_over_many_connections_sell_each_seat_once_and_leave_no_pending_booking(
    stages: list[Stage], seed: str
) -> None:
    for number in range(ROUNDS):
        crowd = Crowd(f"{seed} {number}", stages)
        await play(crowd)
        # Counters are sums, each change has its transition; the constraint keeps seats from being sold twice.
        await stages[0].audit()
        # Every booking that is left can be brought to its end: none is stuck.
        crowd.bookings = list({each.id: each for each in crowd.bookings}.values())
        await stages[1].give(*(crowd.next_report(each, IntentStatus.CANCELED) for each in crowd.bookings))
        pending = await stages[0].rows("SELECT id FROM bookings WHERE status = 'pending'")
        assert pending == []
        await stages[0].audit()
        held = await stages[0].rows("SELECT id FROM ticket_types WHERE held <> 0")
        assert held == []
    (deadlocks,) = await stages[0].rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert deadlocks["deadlocks"] == 0
    labels = {"kind": "booking", "outcome": "found"}
    found = [stage.metrics.registry.get_sample_value("holdfast_memory_reads_total", labels) for stage in stages]
    assert sum(each or 0 for each in found) > 0
