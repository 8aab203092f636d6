"""The door of an event: ten scanners, and a process that is killed while it lets people in."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import uuid4

import pytest

from tests.acceptance.client import Answer, Json
from tests.acceptance.database_rows import assert_clean, rows
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually
from tests.acceptance.scanner import Scanner, tickets

pytestmark = pytest.mark.timeout(120)


async def test_ten_scanners_at_once_let_each_ticket_in_once(battered: Holdfast) -> None:
    event = await battered.event((0, 100), max_per_booking=10)
    customer = battered.client()
    sold = [(await customer.book(event, 10)).ok(201) for _ in range(4)]
    everything = [ticket for booking in sold for ticket in await tickets(customer, booking)]
    scanners = [Scanner(battered, event) for _ in range(10)]

    async def until_answered(scanner: Scanner, ticket: Json) -> Answer:
        id = str(uuid4())
        while True:
            answer = await scanner.check_in(ticket, id=id)
            if answer.status != 503:
                return answer

    async def work(scanner: Scanner) -> list[Answer]:
        return [await until_answered(scanner, ticket) for ticket in everything]

    async def kill() -> None:
        await eventually(lambda: _used(battered, event), lambda used: used >= 5)
        booking = battered.stack.processes["booking-1"]
        await booking.kill()
        await booking.start()

    async with asyncio.TaskGroup() as group:
        at_work = [group.create_task(work(scanner)) for scanner in scanners]
        group.create_task(kill())
    counted = Counter(answer.code for each in at_work for answer in each.result())
    assert counted == {None: len(everything), "ticket_used": 9 * len(everything)}
    assert await _used(battered, event) == len(everything)
    await assert_clean(battered)


async def _used(holdfast: Holdfast, event: Json) -> int:
    (found,) = await rows(holdfast.stack.booking_database_url, "check_ins")
    assert len({row["ticket_id"] for row in found}) == len(found)
    return sum(str(row["event_id"]) == event["id"] for row in found)
