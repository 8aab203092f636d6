"""The door: each ticket lets somebody in once, whatever comes at the same time, twice or late; and scanners hear of
every change."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from booking.ticket_codes import TicketCodes
from common.contracts.errors import EventNotFound, NotFound
from common.contracts.messages import (
    CancelBooking,
    CancelEvent,
    CheckInEntry,
    CheckInTickets,
    GetDoor,
    RefundTickets,
    UndoCheckIn,
)
from common.contracts.resources import Booking
from common.contracts.statuses import CancelReason
from common.contracts.tickets import CheckIn, CheckInResult, CheckInResults, Door, Ticket
from ops.audit.databases import CHECK_INS
from ops.audit.records import CheckIn as Audited
from ops.audit.rules import judge_check_in
from tests.booking.stage import Show, Stage
from tests.booking.test_tickets import OTHER_KEY, bought, tickets

BY = "box-office-7"


async def sold(stage: Stage, show: Show, quantity: int = 1) -> tuple[Booking, list[Ticket]]:
    booking = await bought(stage, show, {show.types[0]: quantity})
    return booking, list((await tickets(stage, booking.id)).items)


def entry(ticket: Ticket, **values: Any) -> CheckInEntry:
    return CheckInEntry(**{"id": uuid4(), "code": ticket.code, **values})


def shown(*entries: CheckInEntry, **values: Any) -> CheckInTickets:
    return CheckInTickets(by=BY, entries=entries, **values)


async def check_in(stage: Stage, *messages: CheckInTickets) -> list[list[CheckInResult]]:
    """What each entry of each message has met, all in one batch."""
    replies = await stage.call(*messages)
    assert all(reply.error is None for reply in replies), replies
    return [list(CheckInResults.model_validate(reply.result).items) for reply in replies]


async def met(stage: Stage, *entries: CheckInEntry, **values: Any) -> list[str]:
    return [each.outcome for (results) in await check_in(stage, shown(*entries, **values)) for each in results]


async def let_in(stage: Stage, ticket: Ticket) -> CheckIn:
    ((result,),) = await check_in(stage, shown(entry(ticket)))
    assert (result.outcome, result.check_in is None) == ("ok", False)
    assert result.check_in is not None
    return result.check_in


async def audit(stage: Stage) -> None:
    rows = await stage.rows(CHECK_INS.format(part="true"))
    assert [finding for row in rows for finding in judge_check_in(Audited(**row))] == []


# --- once


async def test_a_ticket_lets_in_once_and_says_when_and_where_it_did(stage: Stage) -> None:
    booking, (ticket,) = await sold(stage, show := await stage.show())
    first = entry(ticket, gate="north", device="scanner 4")
    ((result,),) = await check_in(stage, shown(first))
    assert result.check_in is not None
    expected = (ticket.id, booking.id, show.id, show.types[0], 1, "north", "scanner 4", BY, None)
    seen = result.check_in
    assert expected == (
        seen.ticket_id, seen.booking_id, seen.event_id, seen.ticket_type_id, seen.number, seen.gate, seen.device,
        seen.by, seen.undone_at,
    )  # fmt: skip
    ((again,),) = await check_in(stage, shown(entry(ticket, gate="south")))
    assert (again.outcome, again.check_in) == ("used", result.check_in)
    assert len(await stage.rows("SELECT * FROM check_ins")) == 1
    await audit(stage)


async def test_the_same_check_in_again_is_answered_as_before(stage: Stage) -> None:
    _, (one, other) = await sold(stage, await stage.show(), 2)
    message = shown(entry(one), entry(other))
    first = await check_in(stage, message)
    assert [each.outcome for each in first[0]] == ["ok", "ok"]
    assert await check_in(stage, message, message) == [*first, *first]
    assert len(await stage.rows("SELECT * FROM check_ins")) == 2


async def test_of_several_in_one_batch_the_first_is_let_in(stage: Stage) -> None:
    _, (ticket, _) = await sold(stage, await stage.show(), 2)
    one, other = shown(entry(ticket)), shown(entry(ticket), entry(ticket))
    results = await check_in(stage, one, other, one)
    assert [[each.outcome for each in each] for each in results] == [["ok"], ["used", "used"], ["ok"]]
    assert len({each.check_in for each in (item for items in results for item in items)}) == 1


async def test_one_id_of_a_scanner_never_names_two_tickets(stage: Stage) -> None:
    _, (one, other) = await sold(stage, await stage.show(), 2)
    id = uuid4()
    assert await met(stage, entry(one, id=id), entry(other, id=id)) == ["ok", "ok"]


async def test_a_ticket_is_found_by_its_ids_too(stage: Stage) -> None:
    booking, (ticket, _) = await sold(stage, await stage.show(), 2)

    def by_ids(booking_id: UUID, ticket_id: UUID) -> CheckInEntry:
        return CheckInEntry(id=uuid4(), booking_id=booking_id, ticket_id=ticket_id)

    entries = (
        by_ids(booking.id, ticket.id),
        by_ids(booking.id, uuid4()),
        by_ids(uuid4(), ticket.id),
        entry(ticket),
    )
    assert await met(stage, *entries) == ["ok", "invalid", "invalid", "used"]


async def test_the_time_of_the_scanner_counts_but_not_in_the_future(stage: Stage) -> None:
    _, (past, future) = await sold(stage, await stage.show(), 2)
    now = stage.clock()
    early, late = now - timedelta(hours=2), now + timedelta(hours=2)
    (results,) = await check_in(stage, shown(entry(past, at=early), entry(future, at=late)))
    (first, second) = (each.check_in.at for each in results if each.check_in is not None)
    assert first == early
    assert now <= second < late


# --- refused


async def test_what_is_no_ticket_lets_nobody_in(stage: Stage) -> None:
    show = await stage.show()
    _, (ticket,) = await sold(stage, show)
    pending = await stage.pending(show)
    signed = stage.door_handlers._codes.read(ticket.code or "")
    assert signed is not None
    codes = {
        "forged": TicketCodes([OTHER_KEY]).sign(signed),
        "no such seat": stage.door_handlers._codes.sign(signed._replace(number=2)),
        "no such booking": stage.door_handlers._codes.sign(signed._replace(booking_id=uuid4())),
        "another event's": stage.door_handlers._codes.sign(signed._replace(event_id=uuid4())),
        "not paid": stage.door_handlers._codes.sign(signed._replace(booking_id=pending.id)),
        "nothing": "",
    }
    entries = [CheckInEntry(id=uuid4(), code=code) for code in codes.values()]
    assert await met(stage, *entries, CheckInEntry(id=uuid4())) == ["invalid"] * (len(codes) + 1)
    assert await stage.rows("SELECT * FROM check_ins") == []


async def test_a_ticket_of_another_event_is_not_let_in_here(stage: Stage) -> None:
    show, other = await stage.show(), await stage.show()
    _, (ticket,) = await sold(stage, show)
    assert await met(stage, entry(ticket), event_id=other.id) == ["other_event"]
    assert await met(stage, entry(ticket), event_id=show.id) == ["ok"]


async def test_a_cancelled_booking_lets_nobody_in_any_more(stage: Stage) -> None:
    booking, (one, other) = await sold(stage, await stage.show(), 2)
    before = entry(one)
    assert await met(stage, before) == ["ok"]
    await stage.cancel(booking, CancelReason.BY_OPERATOR)
    # The same check-in again is told what it has met.
    assert await met(stage, entry(one), entry(other), before) == ["cancelled", "cancelled", "ok"]
    await audit(stage)


# --- undone


async def test_an_undone_check_in_lets_the_ticket_in_again_and_is_kept(stage: Stage) -> None:
    _, (ticket,) = await sold(stage, await stage.show())
    message = shown(entry(ticket))
    ((first,),) = await check_in(stage, message)
    assert first.check_in is not None
    undo = UndoCheckIn(by="boss", check_in_id=first.check_in.id)
    (undone,) = await stage.call(undo)
    assert (undone.result["undone_by"], undone.result["by"]) == ("boss", BY)
    # Late and repeated messages change nothing: neither is the first one let in again, nor the second one undone.
    ((again,),) = await check_in(stage, message)
    assert (again.outcome, again.check_in and again.check_in.undone_by) == ("undone", "boss")
    second = await let_in(stage, ticket)
    assert [reply.result for reply in await stage.call(undo, undo)] == [undone.result] * 2
    assert await met(stage, entry(ticket)) == ["used"]
    rows = await stage.rows("SELECT id FROM check_ins WHERE undone_at IS NULL")
    assert [row["id"] for row in rows] == [second.id]


async def test_beside_a_check_in_that_is_undone_another_one_counts(stage: Stage) -> None:
    """Both in one batch."""
    _, (ticket,) = await sold(stage, await stage.show())
    first = entry(ticket)
    ((result,),) = await check_in(stage, shown(first))
    assert result.check_in is not None
    await stage.call(UndoCheckIn(by=BY, check_in_id=result.check_in.id))
    assert await met(stage, first, entry(ticket), entry(ticket)) == ["undone", "ok", "used"]


async def test_only_what_happened_can_be_undone(stage: Stage) -> None:
    (reply,) = await stage.call(UndoCheckIn(by=BY, check_in_id=uuid4()))
    assert reply.error == NotFound.code


# --- at the same time


@asynccontextmanager
async def locked(stage: Stage, booking: Booking, *then: str) -> AsyncIterator[asyncpg.Connection]:
    """Another transaction has the booking's lock, and does `then` before it ends with the block."""
    async with stage.database.transaction() as connection:
        await connection.execute("SELECT FROM bookings WHERE id = $1 FOR NO KEY UPDATE", booking.id)
        yield connection
        for each in then:
            await connection.execute(each, booking.id)


CANCEL = "UPDATE bookings SET status = 'cancelled', version = version + 1 WHERE id = $1"


@pytest.mark.parametrize(("then", "outcome"), [((CANCEL,), "cancelled"), ((), "ok")])
async def test_a_check_in_waits_for_who_has_its_booking(stage: Stage, then: tuple[str, ...], outcome: str) -> None:
    booking, (ticket,) = await sold(stage, await stage.show())
    async with asyncio.TaskGroup() as group, locked(stage, booking, *then):
        waiting = group.create_task(met(stage, entry(ticket)))
        await stage.until_somebody_waits_for_a_lock()
    assert await waiting == [outcome]


async def test_what_another_process_has_let_in_meanwhile_is_seen(stage: Stage) -> None:
    """The other one commits while this one waits, with a snapshot from before."""
    booking, (ticket,) = await sold(stage, await stage.show())
    values = (uuid4(), ticket.id, booking.id, booking.event_id, ticket.ticket_type_id, stage.clock())
    async with asyncio.TaskGroup() as group, locked(stage, booking) as other:
        waiting = group.create_task(check_in(stage, shown(entry(ticket))))
        await stage.until_somebody_waits_for_a_lock()
        await other.execute(
            "INSERT INTO check_ins (id, ticket_id, booking_id, event_id, ticket_type_id, number, booking_version, "
            "at, recorded_at, gate, by) VALUES ($1, $2, $3, $4, $5, 1, 3, $6, $6, 'west', 'other')",
            *values,
        )
    ((result,),) = await waiting
    assert (result.outcome, result.check_in and result.check_in.gate) == ("used", "west")


async def test_ten_scanners_at_the_same_tickets_let_each_in_once(stage: Stage) -> None:
    """Beside them bookings are cancelled and check-ins undone: nobody is let in twice, nor without a seat."""
    show = await stage.show(200)
    sales = [await sold(stage, show, 4) for _ in range(12)]
    everything = [ticket for _, of_one in sales for ticket in of_one]
    answered: list[CheckInResult] = []

    async def scanner(number: int) -> None:
        chance = random.Random(number)
        for ticket in chance.sample(everything, len(everything)):
            message = shown(entry(ticket, device=f"scanner {number}"))
            for results in await check_in(stage, *[message] * chance.choice((1, 1, 2))):
                answered.extend(results)

    async def operator() -> None:
        for booking, _ in sales[::3]:
            await stage.give(CancelBooking(booking_id=booking.id, owner=None, reason=CancelReason.BY_OPERATOR))
            done = [each.check_in for each in answered if each.outcome == "ok" and each.check_in is not None]
            if done:
                await stage.call(UndoCheckIn(by=BY, check_in_id=random.Random(len(done)).choice(done).id))

    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(scanner(number))
        group.create_task(operator())
    rows = {row["id"]: row["undone_at"] for row in await stage.rows("SELECT id, undone_at FROM check_ins")}
    ok = {(each.ticket_id, each.check_in.id) for each in answered if each.outcome == "ok" and each.check_in}
    assert {id for _, id in ok} == rows.keys()
    still = [ticket_id for ticket_id, id in ok if rows[id] is None]
    assert len(still) == len(set(still))
    for _, of_one in (sales[number] for number in range(len(sales)) if number % 3):
        assert {ticket.id for ticket in of_one} <= {ticket_id for ticket_id, _ in ok}
    await audit(stage)
    await stage.audit()


# --- what scanners hear


async def door(stage: Stage, show: Show, since: Any = None, limit: int = 500) -> tuple[Door, Any]:
    (reply,) = await stage.call(GetDoor(event_id=show.id, since=since, limit=limit))
    assert reply.error is None, reply
    return Door.model_validate(reply.result | {"mark": ""}), tuple(reply.result["mark"])


async def test_a_scanner_hears_of_each_change_since_its_mark(stage: Stage) -> None:
    show = await stage.show(20, 5)
    booking, (one, other) = await sold(stage, show, 2)
    begin, mark = await door(stage, show)
    assert (begin.items, begin.more, begin.reset) == ((), False, False)
    assert [(each.name, each.sold, each.checked_in) for each in begin.ticket_types] == [
        ("Type 0", 2, 0),
        ("Type 1", 0, 0),
    ]
    assert begin.keys == stage.door_handlers._codes.public.keys
    used = await let_in(stage, one)
    after, mark = await door(stage, show, mark)
    assert [(each.ticket_id, each.state, each.used_at) for each in after.items] == [(one.id, "used", used.at)]
    assert [each.checked_in for each in after.ticket_types] == [1, 0]
    await stage.call(UndoCheckIn(by=BY, check_in_id=used.id))
    after, mark = await door(stage, show, mark)
    assert [(each.ticket_id, each.state, each.used_at) for each in after.items] == [(one.id, "valid", None)]
    await stage.cancel(booking, CancelReason.BY_OPERATOR)
    after, mark = await door(stage, show, mark)
    assert [(each.ticket_id, each.state) for each in after.items] == [
        (one.id, "cancelled"),
        (other.id, "cancelled"),
    ]
    assert ((await door(stage, show, mark))[0].items, (await door(stage, await stage.show()))[0].items) == ((), ())


async def test_changes_come_in_pages(stage: Stage) -> None:
    show = await stage.show(20)
    booking, of_one = await sold(stage, show, 5)
    for ticket in of_one:
        await let_in(stage, ticket)
    seen, mark, more = [], None, True
    while more:
        page, mark = await door(stage, show, mark, limit=2)
        assert len(page.items) <= 2
        seen += [each.ticket_id for each in page.items]
        more = page.more
    assert seen == [ticket.id for ticket in of_one]
    await stage.cancel(booking, CancelReason.BY_OPERATOR)
    page, mark = await door(stage, show, mark, limit=2)  # a booking is not divided
    assert (len(page.items), page.more) == (5, False)


async def test_a_refunded_ticket_lets_nobody_in_and_its_seat_is_free_again(stage: Stage) -> None:
    """The others of its booking stay as they were; scanners hear of it."""
    show = await stage.show(3, max_per_owner=3)
    booking, (one, two, three) = await sold(stage, show, 3)
    await let_in(stage, one)
    _, mark = await door(stage, show)
    refund = RefundTickets(booking_id=booking.id, refund_id=uuid4(), ticket_ids=(three.id,))
    (again,) = {str(reply.result) for reply in [*await stage.call(refund), *await stage.call(refund)]}
    assert "'refund_pending'" in again
    assert await stage.seats(show) == [(0, 2)]
    assert await met(stage, entry(three), entry(two), entry(one)) == ["cancelled", "ok", "used"]
    now = (await tickets(stage, booking.id)).items
    assert [(each.state, each.code is None) for each in now] == [
        ("used", False),
        ("used", False),
        ("refunded", True),
    ]
    received, mark = await door(stage, show, mark)
    assert {each.ticket_id: each.state for each in received.items} == {each.id: each.state for each in now}
    (other,) = await stage.book(show.order(1))  # also the owner may have one more
    assert other.status == "pending"
    await audit(stage)
    await stage.cancel(booking, CancelReason.BY_OPERATOR)
    assert await stage.seats(show) == [(1, 0)]
    (strange,) = await stage.call(RefundTickets(booking_id=booking.id, refund_id=uuid4(), ticket_ids=(uuid4(),)))
    assert strange.error == "ticket_invalid"


async def test_a_cancelled_event_lets_nobody_in_before_its_bookings_follow(stage: Stage) -> None:
    show = await stage.show()
    booking, (ticket,) = await sold(stage, show)
    await stage.call(CancelEvent(event_id=show.id))
    assert (await stage.row(booking))["status"] == "confirmed"
    assert await met(stage, entry(ticket)) == ["cancelled"]
    (shown_as,) = (await tickets(stage, booking.id)).items
    assert (shown_as.state, shown_as.code) == ("cancelled", None)


async def test_a_change_that_is_committed_late_is_not_missed(stage: Stage) -> None:
    """It began before one that scanners have asked for already."""
    show = await stage.show(20)
    booking, _ = await sold(stage, show)
    _, (ticket,) = await sold(stage, show)
    async with locked(stage, booking) as late:
        await late.execute(CANCEL, booking.id)
        await late.execute("INSERT INTO door_changes (event_id, booking_id) VALUES ($1, $2)", show.id, booking.id)
        await let_in(stage, ticket)
        meanwhile, mark = await door(stage, show)
        assert meanwhile.items == ()  # it follows the one that is under way
    after, _ = await door(stage, show, mark)
    assert [each.state for each in after.items] == ["cancelled", "used"]


async def test_the_mark_of_another_server_begins_anew(stage: Stage) -> None:
    show = await stage.show()
    _, (ticket,) = await sold(stage, show)
    await let_in(stage, ticket)
    _, mark = await door(stage, show)
    again, _ = await door(stage, show, ("another", *mark[1:]))
    assert (again.reset, [each.ticket_id for each in again.items]) == (True, [ticket.id])


async def test_what_was_restored_from_a_dump_of_another_server_is_not_missed(stage: Stage) -> None:
    """Its numbers of transactions mean nothing here: they may be far ahead."""
    show = await stage.show(20)
    _, of_one = await sold(stage, show, 3)
    for ticket in of_one[:2]:
        await let_in(stage, ticket)
    await stage.rows("UPDATE door_changes SET transaction = transaction + 1000000000000")
    page, mark = await door(stage, show, limit=1)
    seen = [each.ticket_id for each in page.items]
    await let_in(stage, of_one[2])
    while page.more:
        page, mark = await door(stage, show, mark, limit=1)
        seen += [each.ticket_id for each in page.items]
    assert seen == [ticket.id for ticket in of_one]
    assert (await door(stage, show, mark))[0].items == ()


async def test_there_is_a_door_for_each_event_alone(stage: Stage) -> None:
    (reply,) = await stage.call(GetDoor(event_id=uuid4(), limit=1))
    assert reply.error == EventNotFound.code
