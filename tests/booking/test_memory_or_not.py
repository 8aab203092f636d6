"""The same schedule with memory and without it ends alike, in the database and in what is published."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis

from common.contracts.messages import (
    BookingChanged,
    CancelBooking,
    CreateBooking,
    CreateEvent,
    EventChanges,
    Message,
    PaymentReport,
    PaymentReportApplied,
    Reply,
    RequestPayment,
    TicketTypeChange,
    UpdateEvent,
)
from common.contracts.statuses import CancelReason, IntentStatus
from common.messaging.envelope import Envelope
from common.postgres.database import Database
from tests.booking.stage import TABLES, Clock, Show, Stage, new_event, report
from tests.servers import empty

BEGIN = datetime(2030, 1, 1, 12, tzinfo=UTC)
STEPS = 60
SEEDS = range(8)
# All but what is random: ids of messages and rows, tokens, and which process wrote a row last.
ROWS = (
    "SELECT * FROM bookings ORDER BY id",
    "SELECT booking_id, version, from_status, to_status, reason, payment_status, cause_type, at"
    " FROM booking_transitions ORDER BY booking_id, version",
    "SELECT id, name, unit_amount, capacity, held, sold FROM ticket_types ORDER BY id",
)


def id_of(number: int) -> UUID:
    return UUID(int=number)


@dataclass
class Schedule:
    """The messages and times of a test, drawn from its seed alone."""

    seed: int

    def batches(self) -> list[list[Message] | timedelta]:
        chance = random.Random(self.seed)
        show = Show(id_of(1), (id_of(10), id_of(11)))
        made: list[CreateBooking] = []
        versions: dict[UUID, int] = {}
        found: list[list[Message] | timedelta] = [[event()]]
        for _ in range(STEPS):
            act = chance.choices(("book", "report", "cancel", "pay", "edit", "time"), (6, 8, 1, 1, 1, 2))[0]
            some = chance.sample(made, min(len(made), chance.choice((1, 2, 5))))
            ids = [each.booking_id for each in some]
            if act == "book":
                new = [
                    show.order(chance.randint(1, 2), id=id_of(100 + len(made) + n), type=chance.choice(show.types))
                    for n in range(chance.choice((1, 2, 6)))
                ]
                made += new
                again = [chance.choice(made)] if chance.random() < 0.3 else []
                found.append([*new, *again])
            elif act == "report" and some:
                found.append([self._report(chance, each, versions) for each in some])
            elif act == "cancel" and some:
                reason = chance.choice((CancelReason.BY_CUSTOMER, CancelReason.BY_OPERATOR))
                owner = "alice" if reason is CancelReason.BY_CUSTOMER else None
                found.append([CancelBooking(booking_id=id, owner=owner, reason=reason) for id in ids])
            elif act == "pay" and some:
                found.append([RequestPayment(booking_id=id, owner="alice") for id in ids])
            elif act == "edit":
                values = {"unit_amount": chance.randint(50, 900), "capacity": chance.randint(9, 15)}
                change = TicketTypeChange(id=chance.choice(show.types), **values)
                changes = EventChanges(on_sale=chance.random() < 0.8)
                found.append([UpdateEvent(event_id=show.id, changes=changes, ticket_types=(change,))])
            elif act == "time":
                found.append(timedelta(minutes=chance.choice((0.1, 1, 20))))
        return found

    @staticmethod
    def _report(chance: random.Random, order: CreateBooking, versions: dict[UUID, int]) -> PaymentReport:
        """Mostly the next report; sometimes a late or a doubled one."""
        id = order.booking_id
        versions[id] = versions.get(id, 0) + chance.choice((1, 1, 1, 0))
        status = chance.choice(list(IntentStatus))
        booking: Any = SimpleNamespace(id=id, amount=chance.choice((1000, 2000)), currency="eur")
        return report(booking, status, max(1, versions[id]))


def event() -> CreateEvent:
    message = new_event(12, 12, event_id=id_of(1), unit_amount=1000)
    types = tuple(
        each.model_copy(update={"id": id_of(10 + number)}) for number, each in enumerate(message.ticket_types)
    )
    return message.model_copy(update={"ticket_types": types})


def as_text(envelope: Envelope) -> str:
    """The message without what is random."""
    message = envelope.message
    if isinstance(message, (Reply, BookingChanged, PaymentReportApplied)):
        return f"{message.type} {message.as_json()!r}"
    return f"{message.type} {envelope.subject}"


async def play(
    database: Database, redis: Redis, schedule: Schedule, memory_max: int
) -> tuple[list[Sequence[Any]], list[list[str]]]:
    """Returns the rows at the end, and what each batch has published. A batch that repeats a request may publish
    the same notification twice, so each is a set."""
    async with database.connection() as connection:
        await empty(connection, TABLES)
    stage = Stage.build(database, redis, memory_max, Clock(BEGIN))
    published: list[list[str]] = []
    for batch in schedule.batches():
        if isinstance(batch, timedelta):
            stage.clock.ahead += batch
            await stage.reconciler.run_once()
        else:
            published.append(sorted({as_text(each) for each in await stage.give(*batch)}))
    await stage.audit()
    return [[tuple(row) for row in await stage.rows(query)] for query in ROWS], published


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_schedule_ends_alike_with_memory_and_without(
    database: Database, redis: Redis, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with a memory of two rows, which rarely has the row."""
    monkeypatch.setattr("random.random", lambda: 0.5)  # it spreads the retry times
    without = await play(database, redis, Schedule(seed), 0)
    assert await play(database, redis, Schedule(seed), 1000) == without
    assert await play(database, redis, Schedule(seed), 2) == without
