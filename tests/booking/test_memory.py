"""Memory proposes, Postgres decides: a change by another process is never written over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest

from booking import events
from booking.booking_rows import BOOKING_COLUMNS, BookingRows
from booking.domain import apply_report
from booking.event_rows import EVENT_COLUMNS, TICKET_TYPE_COLUMNS, EventRows
from booking.events import cancelled
from booking.triggers import Report
from common.contracts.messages import EventChanges, TicketTypeChange, UpdateEvent
from common.contracts.resources import Booking
from common.contracts.statuses import IntentStatus
from common.runtime.outages import DatabaseOutage
from tests.booking.stage import TERMS, Show, Stage, report

AWAITING, PAID = IntentStatus.REQUIRES_PAYMENT_METHOD, IntentStatus.SUCCEEDED
# For a booking that waits for its intent: a change of each column, with the other columns that its checks need.
OTHERS = {
    "owner": "owner = 'mallory'",
    "event_id": "event_id = gen_random_uuid()",
    "items": "items = '[]'",
    "amount": "amount = amount + 1",
    "currency": "currency = 'usd'",
    "status": "status = 'cancelled', expires_at = NULL",
    "reason": "reason = 'by_customer'",
    "payment": "payment = 'processing'",
    "expires_at": "expires_at = expires_at + interval '1 min'",
    "settle_after": "settle_after = settle_after + interval '1 s'",
    "created_at": "created_at = created_at - interval '1 s'",
    "updated_at": "updated_at = updated_at + interval '1 s'",
    "payment_methods": "payment_methods = 'all'",
    "intent_id": "intent_id = 'pi_other'",
    "client_secret": "client_secret = 'pi_other_secret'",
    "last_error": """last_error = '{"code": "card_declined"}'""",
    "attempts": "attempts = 1",
    "last_attempt_at": "last_attempt_at = now()",
    "hold_until": "hold_until = now() + interval '1 h'",
    "payment_version": "payment_version = 1",
    "payment_digest": "payment_digest = 'other'",
    "amount_captured": "amount_captured = 1",
    "amount_refunded": "amount_captured = 1, amount_refunded = 1",
    "closing": "closing = 'by_customer'",
    "intent_to_cancel": "intent_to_cancel = true",
    "refund_id": "refund_id = gen_random_uuid()",
    "refund_amount": "amount_captured = 1, refund_amount = 1",
    "refund_whole": "refund_whole = true",
    "refund_waiting": "refund_waiting = 'insufficient_funds'",
    "refund_error": "refund_error = 'declined'",
    "refund_failed_amount": "refund_failed_amount = 1",
    "refund_failed_whole": "refund_failed_whole = true",
    "refund_retry_id": "refund_retry_id = gen_random_uuid()",
    "refund_by": "refund_by = 'root'",
    "refunds": "refunds = '[]'",
    "rejection": """rejection = '{"code": "amount_too_small"}'""",
    "version": "version = version + 1",
    "settle_attempts": "settle_attempts = 1",
    "disputes": "disputes = '[]'",
    "address": "address = 'other'",
    "box_office": "box_office = '{}', status = 'confirmed', expires_at = NULL, amount_captured = amount",
    "counted": "counted = 0",
    "deferred": "deferred = true",
    "cancelled_seats": "cancelled_seats = '[]'",
    "customer": """customer = '{"name": "Ada", "email": "ada@example.com", "locale": "en"}'""",
    "customer_digest": "customer_digest = NULL",
    "description": "description = 'HF'",
    "code_id": "code_id = gen_random_uuid()",
    "code": "code = 'SUMMER'",
    "announce_from": "announce_from = 1",
}
EVENT_OTHERS = {
    "name": "name = 'Opera'",
    "starts_at": "starts_at = starts_at + interval '1 day'",
    "currency": "currency = 'usd'",
    "on_sale": "on_sale = false",
    "max_per_booking": "max_per_booking = 2",
    "cancel_until": "cancel_until = now()",
    "called_off_at": "on_sale = false, called_off_at = now()",
    "status": "status = 'archived'",
    "time_zone": "time_zone = 'Europe/Vienna'",
    "sales_start": "sales_start = now()",
    "sales_end": "sales_end = now() + interval '1 h'",
    "sell_after_start": "sell_after_start = true",
    "cancel_after_start": "cancel_after_start = true",
    "payment_methods": "payment_methods = 'all'",
    "slow_payments_until": "slow_payments_until = now()",
    "max_per_owner": "max_per_owner = 1",
}
TYPE_OTHERS = {
    "event_id": "event_id = event_id",
    "position": "position = position + 1",
    "name": "name = 'Balcony'",
    "unit_amount": "unit_amount = 9900",
    "capacity": "capacity = capacity + 1",
    "hidden": "hidden = true",
    "terms_token": "terms_token = gen_random_uuid()",
    "held": "held = capacity",
    "sold": "sold = capacity",
}


def test_the_changes_have_every_column() -> None:
    """The `version` of a ticket type is no bound: it only counts the published changes of its seats. Nor is that
    which it had when it was hidden, nor that of an event, which content changes, too."""
    assert OTHERS.keys() == BOOKING_COLUMNS.keys() - {"id"}
    assert EVENT_OTHERS.keys() == set(EVENT_COLUMNS) - {"id", "version", "content_version"}
    columns = TICKET_TYPE_COLUMNS.keys() - {"id", "version", "version_when_hidden"}
    assert TYPE_OTHERS.keys() == columns | {"terms_token", "held", "sold"}


async def full_row(stage: Stage, booking: Booking) -> dict[str, Any]:
    return dict(await stage.row(booking))


@pytest.mark.parametrize("column", OTHERS)
async def test_a_report_is_not_written_over_a_change_of_any_column(stage: Stage, column: str) -> None:
    """The statement does not write, no message follows, and the booking is no longer in memory."""
    (booking,) = await stage.book((await stage.show(10)).order(2))
    unit = stage.unit()
    unit.take(stage.store.bookings.find([booking.id]))
    payment = report(booking, AWAITING, 1).payment
    unit.change(apply_report(unit.bookings[booking.id], Report(payment, stage.clock(), TERMS)))
    await stage.rows(f"UPDATE bookings SET {OTHERS[column]} WHERE id = $1", booking.id)
    changed = await full_row(stage, booking)
    await unit.save()

    assert (unit.written, list(unit.envelopes())) == (frozenset(), [])
    assert await full_row(stage, booking) == changed
    assert stage.store.bookings.find([booking.id]) == {}


@contextmanager
def ways() -> Iterator[list[str]]:
    """Lists how new bookings are made inside this context: by a statement from memory, or under locks."""
    found: list[str] = []
    save, lock = BookingRows.save, EventRows.lock_sales

    async def saved(self: BookingRows, changed: Any, *args: Any) -> Any:
        if any(before is None for before, *_ in changed):
            found.append("statement")
        return await save(self, changed, *args)

    async def locked(self: EventRows, *args: Any) -> Any:
        found.append("locks")
        return await lock(self, *args)

    with patch.object(BookingRows, "save", saved), patch.object(EventRows, "lock_sales", locked):
        yield found


TERMS_OTHERS = [("events", column) for column in EVENT_OTHERS] + [("types", column) for column in TYPE_OTHERS]


@pytest.mark.parametrize(("table", "column"), TERMS_OTHERS)
async def test_outdated_terms_or_seats_in_memory_sell_nothing(stage: Stage, table: str, column: str) -> None:
    """Whichever column has changed: the statement sells nothing, and the booking is decided under locks."""
    show = await stage.show(10)
    await stage.book(show.order())
    if table == "events":
        await stage.rows(f"UPDATE events SET {EVENT_OTHERS[column]} WHERE id = $1", show.id)
    else:
        await stage.rows("UPDATE ticket_types SET held = held - 1 WHERE id = $1", show.types[0])
        await stage.rows("DELETE FROM booking_transitions")
        await stage.rows("DELETE FROM bookings")
        await stage.rows(f"UPDATE ticket_types SET {TYPE_OTHERS[column]} WHERE id = $1", show.types[0])
    with ways() as found:
        await stage.give(show.order())
    assert found[:2] == ["statement", "locks"]


async def test_unchanged_rows_are_sold_and_confirmed_without_the_locked_path(stage: Stage) -> None:
    show = await stage.show(10)
    await stage.book(show.order())
    with ways() as found, patch.object(BookingRows, "lock", None), patch.object(BookingRows, "load", None):
        booking = await stage.confirmed(show, 2)
    assert found == ["statement"]
    assert booking.status == "confirmed"
    assert await stage.seats(show) == [(1, 2)]


async def test_a_sold_out_event_refuses_by_one_statement(stage: Stage) -> None:
    """The statement checks that there are still too few seats."""
    show = await stage.show(3)
    await stage.book(show.order(2))
    with ways() as found:
        bookings = await stage.book(show.order(2), show.order(1), show.order(1))
    assert found == ["statement"]
    assert [each.status for each in bookings] == ["failed", "pending", "failed"]
    assert await stage.seats(show) == [(3, 0)]


async def test_seats_that_came_free_unnoticed_are_sold(stage: Stage) -> None:
    """Memory says sold out, but another process has released seats."""
    show = await stage.show(1)
    first = await stage.pending(show)
    other = Stage.build(stage.database, stage.redis)
    await other.apply(report(first, IntentStatus.CANCELED, 2))
    with ways() as found:
        (booking,) = await stage.book(show.order())
    assert found == ["statement", "locks", "statement"]
    assert booking.status == "pending"
    assert await stage.seats(show) == [(1, 0)]


async def test_when_memory_was_wrong_an_event_is_sold_under_locks_for_a_second(stage: Stage) -> None:
    show = await stage.show(100)
    await stage.book(show.order())
    await stage.rows("UPDATE ticket_types SET terms_token = gen_random_uuid()")
    with ways() as found:
        for _ in range(3):
            await stage.book(show.order())
    assert found == ["statement", *["locks", "statement"] * 3]
    await stage.reconcile(2 * TERMS.extension)
    with ways() as found:
        await stage.book(show.order())
    assert found == ["statement"]


def type_change(show: Show, **values: int) -> TicketTypeChange:
    return TicketTypeChange(id=show.types[0], **values)


EDITS: dict[str, tuple[Callable[[Show], dict[str, Any]] | None, str, int | None]] = {
    "price": (lambda show: {"ticket_types": (type_change(show, unit_amount=3000),)}, "pending", 3000),
    "capacity": (lambda show: {"ticket_types": (type_change(show, capacity=1),)}, "failed", 2500),
    "limit": (lambda show: {"changes": EventChanges(max_per_booking=1)}, "quantity_over_limit", None),
    "sale": (lambda show: {"changes": EventChanges(on_sale=False)}, "not_on_sale", None),
    "cancel": (None, "not_on_sale", None),
}


@pytest.mark.parametrize("edit", EDITS)
async def test_an_edit_that_races_with_a_sale_binds_it(stage: Stage, edit: str) -> None:
    """The sale waits for the edit's locks, and is then decided by the event as the edit has left it."""
    show = await stage.show(10)
    await stage.book(show.order())
    change, expected, unit_amount = EDITS[edit]
    async with stage.store.transaction() as rows:
        event = await rows.events.lock(show.id)
        assert event is not None
        selling = asyncio.create_task(stage.call(show.order(2)))
        await stage.until_somebody_waits_for_a_lock()
        now = stage.clock()
        if change is None:
            await rows.events.save(event, cancelled(event, now), now, "root", retry_at=now)
        else:
            fields = {"event_id": show.id, "changes": EventChanges()} | change(show)
            await rows.events.save(event, await changed(stage, event, UpdateEvent(**fields)), now, "root")
    (reply,) = await selling
    if unit_amount is None:
        assert reply.error == expected
    else:
        booking = Booking.model_validate(reply.result["booking"])
        assert (booking.status, booking.items[0].unit_amount) == (expected, unit_amount)
    await stage.audit()


async def changed(stage: Stage, event: Any, message: UpdateEvent) -> Any:
    """The event after the change, as the handler of UpdateEvent makes it."""
    values = message.changes.model_dump(exclude_unset=True)
    return events.change(event, values, message.ticket_types, stage.clock())


async def test_terms_that_a_failover_lost_differ_from_those_made_anew(stage: Stage) -> None:
    """Versions and counters are as memory knows them; the token is not."""
    show = await stage.show(10)
    before = await stage.rows("SELECT * FROM ticket_types")
    await stage.call(price(show, 3000))
    (booking,) = await stage.book(show.order())
    assert booking.amount == 3000
    # A standby takes over that has received neither the price nor the booking; then somebody sets another price.
    await stage.rows("DELETE FROM booking_transitions")
    await stage.rows("DELETE FROM bookings")
    await stage.rows("DELETE FROM operator_requests")
    await stage.rows("DELETE FROM event_changes WHERE version > 1")
    await stage.rows("UPDATE events SET version = 1")
    token = before[0]["terms_token"]
    await stage.rows("UPDATE ticket_types SET unit_amount = 2500, held = 0, version = 0, terms_token = $1", token)
    other = Stage.build(stage.database, stage.redis)
    await other.call(price(show, 4000))
    # Book as much as makes all counters equal to those in memory.
    await other.book(show.order())
    (booking,) = await stage.book(show.order())
    assert booking.amount == 4000
    assert await stage.seats(show) == [(2, 0)]


def price(show: Show, unit_amount: int) -> UpdateEvent:
    types = (type_change(show, unit_amount=unit_amount),)
    return UpdateEvent(event_id=show.id, changes=EventChanges(), ticket_types=types)


async def test_two_actors_with_one_row_in_memory_overwrite_nothing(stage: Stage) -> None:
    """Each decides its last report from an old row in memory; the statement refuses it, as the row is newer."""
    show = await stage.show(10)
    other = Stage.build(stage.database, stage.redis)
    booking = await stage.pending(show)
    await other.apply(report(booking, IntentStatus.REQUIRES_ACTION, 2))
    await stage.apply(report(booking, IntentStatus.PROCESSING, 3))
    await other.apply(report(booking, PAID, 4))
    row = await stage.row(booking)
    assert (row["status"], row["payment_version"], row["version"]) == ("confirmed", 4, 5)
    assert await stage.seats(show) == [(0, 1)]


async def test_two_actors_at_once_apply_the_newest_report(stage: Stage) -> None:
    show = await stage.show(40)
    stages = [stage, Stage.build(stage.database, stage.redis)]
    bookings = await stage.book(*(show.order() for _ in range(40)))
    for version, status in enumerate((AWAITING, IntentStatus.REQUIRES_ACTION, IntentStatus.PROCESSING, PAID), 1):
        reports = [report(each, status, version) for each in bookings]
        await asyncio.gather(stages[0].give(*reports), stages[1].give(*reversed(reports)))
    rows = await stage.rows("SELECT status, payment_version, version FROM bookings")
    assert {tuple(row) for row in rows} == {("confirmed", 4, 5)}
    assert await stage.seats(show) == [(0, 40)]


async def test_a_repeated_key_takes_the_locked_path_and_the_others_one_statement(stage: Stage) -> None:
    """One key has its booking already, and one comes twice in the batch: both are answered as before."""
    show = await stage.show(1000)
    there = show.order()
    await stage.book(there)
    orders = [show.order() for _ in range(254)]
    batch = [*orders[:100], there, *orders[100:], orders[7]]
    with ways() as found:
        replies = await stage.call(*batch)
    assert found == ["statement", "locks"]
    assert all(reply.error is None for reply in replies)
    assert sum(reply.result["created"] for reply in replies) == 254
    answered = sorted(reply.result["booking"]["id"] for reply in replies)
    assert answered == sorted(str(order.booking_id) for order in batch)
    assert await stage.seats(show) == [(255, 0)]


async def test_a_key_of_another_process_sends_its_batch_alone_to_the_locked_path(stage: Stage) -> None:
    """This process does not know that the booking exists: the statement makes none of the others."""
    show = await stage.show(1000)
    await stage.book(show.order())
    there = show.order()
    await Stage.build(stage.database, stage.redis).book(there)
    with ways() as found:
        replies = await stage.call(show.order(), there, show.order())
        assert found == ["statement", "locks", "statement"]
        assert [reply.result["created"] for reply in replies] == [True, False, True]
        await stage.book(show.order())
        assert found[3:] == ["statement"]
    assert await stage.seats(show) == [(5, 0)]


async def test_processes_that_get_the_same_requests_at_once_make_each_booking_once(stage: Stage) -> None:
    show = await stage.show(1000)
    stages = [stage, Stage.build(stage.database, stage.redis)]
    orders = [show.order() for _ in range(20)]
    for number in range(0, 20, 2):
        batch = orders[number : number + 2]
        one, two = await asyncio.gather(*(each.call(*batch) for each in stages))
        assert [reply.error for reply in (*one, *two)] == [None] * 4
        created = [reply.result["created"] for reply in one], [reply.result["created"] for reply in two]
        assert sorted(created) == [[False, False], [True, True]]
    assert await stage.seats(show) == [(20, 0)]


@pytest.mark.parametrize("own", [True, False], ids=["of this process", "of another one"])
@pytest.mark.parametrize("again", [2, 1])
async def test_seats_that_a_repeated_key_does_not_take_are_there_for_the_next(
    stage: Stage, again: int, own: bool
) -> None:
    """The request comes again, or its key with another content: it is counted before the next one is refused."""
    show = await stage.show(4)
    first, following = show.order(2), show.order(2 - again + 1)
    await (stage if own else Stage.build(stage.database, stage.redis)).book(first)
    await stage.call(show.order(again, id=first.booking_id), following)
    (row,) = await stage.rows("SELECT status FROM bookings WHERE id = $1", following.booking_id)
    assert row["status"] == "pending"
    assert await stage.seats(show) == [(2 + 2 - again + 1, 0)]


async def test_a_key_that_comes_with_another_content_is_refused_and_the_others_are_not(stage: Stage) -> None:
    show = await stage.show(10)
    key = uuid4()
    await stage.book(show.order(id=key))
    replies = await stage.call(show.order(), show.order(2, id=key))
    assert [reply.error for reply in replies] == [None, "idempotency_key_reused"]
    assert await stage.seats(show) == [(2, 0)]


async def test_memory_is_dropped_when_the_result_of_a_transaction_is_unknown(stage: Stage) -> None:
    show = await stage.show(10)
    (booking,) = await stage.book(show.order())
    assert stage.store.bookings.find([booking.id]).keys() == {booking.id}
    with pytest.raises(DatabaseOutage):
        async with stage.store.statement():
            raise DatabaseOutage("lost")
    assert stage.store.bookings.find([booking.id]) == {}
    assert stage.store.events.find([show.id]) == {}


async def test_a_booking_that_waits_for_nothing_is_not_kept_in_memory(stage: Stage) -> None:
    booking = await stage.confirmed(await stage.show(10))
    assert stage.store.bookings.find([booking.id]) == {}


async def test_without_memory_the_locked_path_decides(stage: Stage) -> None:
    without_memory = Stage.build(stage.database, stage.redis, memory_max=0)
    show = await without_memory.show(10)
    with ways() as found:
        booking = await without_memory.confirmed(show)
    assert found == ["locks", "statement"]
    assert booking.status == "confirmed"
    assert await without_memory.seats(show) == [(0, 1)]
