"""Many clients for few seats: no seat is sold twice, and every client gets an answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.acceptance.client import Answer, Client, Json
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast

CLIENTS = 500
SEATS = 50

pytestmark = pytest.mark.timeout(120)


def counted(answers: Iterable[Answer]) -> Counter[tuple[int, str | None]]:
    return Counter((answer.status, answer.code) for answer in answers)


async def pay_and_receive(holdfast: Holdfast, client: Client, booking: Json) -> None:
    async with client.live() as live:
        # The snapshot shows that the socket listens before there is anything to notify.
        await live.snapshot(booking_id=booking["id"])
        await holdfast.stripe.pay(booking)
        await live.until(booking["id"], "confirmed")


async def test_rush_for_few_seats_sells_each_once(holdfast: Holdfast) -> None:
    """500 clients at once for 50 seats: 50 may pay, all others are answered `sold_out`."""
    event = await holdfast.event((1500, SEATS))
    clients = [holdfast.client() for _ in range(CLIENTS)]
    answers = await asyncio.gather(*(client.book(event, 1, prefer="wait=30") for client in clients))
    assert counted(answers) == {(201, None): SEATS, (409, "sold_out"): CLIENTS - SEATS}

    won = [
        (client, answer.ok(201)) for client, answer in zip(clients, answers, strict=True) if answer.status == 201
    ]
    assert (await holdfast.event_now(event))["ticket_types"][0]["available"] == 0
    await asyncio.gather(*(pay_and_receive(holdfast, client, booking) for client, booking in won))

    rows = await assert_clean(holdfast)
    (row,) = [row for row in rows.ticket_types if str(row["id"]) == event["ticket_types"][0]["id"]]
    assert (row["held"], row["sold"]) == (0, SEATS)


async def test_one_client_who_asks_many_times_at_once_books_once(holdfast: Holdfast) -> None:
    """Requests with the same key over several connections at once make one booking."""
    event, client = await holdfast.event((1500, SEATS)), holdfast.client()
    answers = await asyncio.gather(*(client.book(event, 2, key="impatient") for _ in range(20)))
    assert counted(answers) <= Counter({(201, None): 20, (200, None): 20})
    assert len({answer.body["id"] for answer in answers}) == 1
    assert sum(answer.status == 201 for answer in answers) == 1
    assert (await holdfast.event_now(event))["ticket_types"][0]["available"] == SEATS - 2
    await assert_clean(holdfast)


async def test_different_quantities_never_exceed_the_seats(holdfast: Holdfast) -> None:
    """Bookings of several ticket types get all of their seats or none."""
    event = await holdfast.event((1000, 20), (2000, 10))
    wishes = [(2, 1), (1, 2), (3, 0), (0, 3)] * 10
    answers = await asyncio.gather(*(holdfast.client().book(event, *wish) for wish in wishes))
    assert set(counted(answers)) == {(201, None), (409, "sold_out")}
    given = [wish for wish, answer in zip(wishes, answers, strict=True) if answer.status == 201]
    left = [ticket_type["available"] for ticket_type in (await holdfast.event_now(event))["ticket_types"]]
    assert left == [20 - sum(wish[0] for wish in given), 10 - sum(wish[1] for wish in given)]
    await assert_clean(holdfast)
