"""Real processes are killed by SIGKILL, and stopped by SIGSTOP for longer than their entries' idle time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from common.contracts.messages import BOOKING_COMMANDS, PAYMENT_INTENTS, CreateBooking, CreateEvent, ItemRequest
from common.messaging.calls import Calls
from common.messaging.lease import LEASE_MS
from ops.audit.command import examine
from ops.child import Child
from tests.booking.stage import new_event
from tests.races.harness import BOOKINGS, SEATS
from tests.races.processes import Processes, open_processes
from tests.races.run import open_bus, play

ROUNDS = 2
SEATS_FREE = 10
CLIENTS = 15
ANSWER_S = 30.0

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
async def processes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Processes]:
    async with open_processes(tmp_path_factory.mktemp("races")) as processes:
        yield processes


async def test_few_seats_are_sold_once_whichever_process_is_killed(processes: Processes, seed: str) -> None:
    result = await play(seed, range(ROUNDS), processes)
    print("\n".join(result.lines()))  # noqa: T201
    assert result.rounds == ROUNDS


async def in_hand(processes: Processes, mailbox: str) -> Child | None:
    """A process with pending entries of the mailbox: mostly the one that has the lease."""
    kind = mailbox.partition(".")[0]
    for each in await processes.harness.redis.xinfo_consumers(mailbox, kind):
        for child in processes.children(kind):
            if f"-{child.pid}-".encode() in each["name"] and each["pending"]:
                return child
    return None


def orders(event: CreateEvent) -> list[CreateBooking]:
    items = (ItemRequest(ticket_type_id=event.ticket_types[0].id, quantity=1),)
    ids = [uuid4() for _ in range(CLIENTS)]
    return [CreateBooking(booking_id=id, owner=f"client-{id}", event_id=event.event_id, items=items) for id in ids]


async def states(processes: Processes, event: CreateEvent) -> set[tuple[Any, ...]]:
    rows = await processes.harness.booking.fetch(BOOKINGS, event.event_id)
    return {(row["id"], row["status"], row["payment"], row["intent_id"], row["version"]) for row in rows}


async def book_all(processes: Processes, bus: Calls) -> tuple[CreateEvent, list[asyncio.Future[Any]]]:
    """Make a new event, and let CLIENTS clients book it, all at once."""
    event = new_event(SEATS_FREE)
    await bus.call(event, event.event_id, timeout_s=ANSWER_S)
    return event, [bus.call(order, order.booking_id, timeout_s=2 * ANSWER_S) for order in orders(event)]


async def rest(processes: Processes, event: CreateEvent, answers_due: list[asyncio.Future[Any]]) -> None:
    """Wait until all clients have an answer, and no work is left for them."""
    await asyncio.wait(answers_due)
    await processes.harness.at_rest(event.event_id)


async def reads_on(processes: Processes, bus: Calls, mailbox: str, child: Child) -> None:
    """Give `child` the lease, and make new work, until it has read an entry: then it has finished its old ones."""
    redis, began = processes.harness.redis, time.monotonic()
    async with asyncio.timeout(2 * ANSWER_S):
        while True:
            for each in await redis.xinfo_consumers(mailbox, mailbox.partition(".")[0]):
                if f"-{child.pid}-".encode() not in each["name"]:
                    continue
                if each["idle"] / 1000 < time.monotonic() - began and not each["pending"]:
                    return
                await redis.set(f"turn:{mailbox}", each["name"], px=LEASE_MS)
            event, answers_due = await book_all(processes, bus)
            await rest(processes, event, answers_due)


@pytest.mark.parametrize(("kind", "mailbox"), [("booking", BOOKING_COMMANDS), ("payment", PAYMENT_INTENTS)])
async def test_a_process_that_continues_late_changes_nothing(processes: Processes, kind: str, mailbox: str) -> None:
    """While it is stopped, all clients get an answer and intents are made; when it continues, nothing changes."""
    started = datetime.now(UTC)
    url = processes.harness.where.redis_url
    assert url is not None
    async with open_bus(url) as bus:
        stopped = False
        while not stopped:  # until a process is stopped while it has a pending entry
            event, answers_due = await book_all(processes, bus)
            over = asyncio.create_task(rest(processes, event, answers_due))
            child = None
            while child is None and not over.done():
                child = await in_hand(processes, mailbox)
            over.cancel()
            if child is None:
                continue
            with processes.stopped(child, by_the_clock=kind == "booking"):
                stopped = await in_hand(processes, mailbox) is child
                if stopped:
                    answers = [(await task)["booking"] for task in answers_due]
                    await processes.harness.at_rest(event.event_id, seconds=60)
                    before = await states(processes, event)
            await asyncio.gather(*answers_due)
        assert child is not None
        await reads_on(processes, bus, mailbox, child)
    assert sorted(answer["status"] for answer in answers) == ["failed"] * 5 + ["pending"] * SEATS_FREE
    await processes.harness.at_rest(event.event_id)
    assert await states(processes, event) == before
    (seats,) = await processes.harness.booking.fetch(SEATS, event.event_id)
    assert (seats["held"], seats["held_is"], seats["sold"]) == (SEATS_FREE, SEATS_FREE, 0)
    audited = await examine(processes.harness.where, started, wait_seconds=0)
    assert audited.clean, audited.mismatches
