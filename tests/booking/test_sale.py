"""The dates of an event over real Postgres: when seats are sold and cancelled, what is refused, what is listed."""

from __future__ import annotations

from datetime import datetime, timedelta
from importlib import import_module
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from common.contracts.messages import (
    EventChanges,
    GetEvent,
    ListEvents,
    RefundBooking,
    Reply,
    TicketTypeChange,
    UpdateEvent,
)
from common.contracts.statuses import CancelReason, IntentStatus
from tests.booking.stage import Stage, new_event, of, report

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def seen(stage: Stage, id: Any) -> dict[str, Any]:
    (reply,) = await stage.call(GetEvent(event_id=id))
    result: dict[str, Any] = reply.result
    return result


async def refused(stage: Stage, message: Any) -> list[tuple[list[Any], str]]:
    """(location, rule) of each error of a request that is refused as invalid."""
    (reply,) = await stage.call(message)
    assert reply.error == "invalid_request", reply
    return [(error["loc"][1:], error["type"]) for error in reply.extra["errors"]]


async def test_nothing_is_sold_after_the_start(stage: Stage) -> None:
    """A booking from before is not affected: its request is answered as before."""
    show = await stage.show(10, starts_at=stage.clock() + HOUR)
    order = show.order(2)
    (booking,) = await stage.book(order)
    stage.clock.ahead = 2 * HOUR
    late, again = await stage.call(show.order(), order)

    assert (late.error, late.extra["sales_end"]) == ("sales_ended", (await seen(stage, show.id))["starts_at"])
    assert (again.error, again.result["booking"]["id"]) == (None, str(booking.id))
    assert await stage.seats(show) == [(2, 0)]


async def test_an_event_that_sells_after_its_start_does(stage: Stage) -> None:
    """It sells until its sale ends."""
    start = stage.clock() + HOUR
    show = await stage.show(10, starts_at=start, sell_after_start=True, sales_end=start + HOUR)
    stage.clock.ahead = HOUR + HOUR / 2
    await stage.book(show.order())
    stage.clock.ahead = 3 * HOUR
    (late,) = await stage.call(show.order())

    assert late.error == "sales_ended"
    assert await stage.seats(show) == [(1, 0)]


async def test_nothing_is_sold_before_the_sale_begins(stage: Stage) -> None:
    show = await stage.show(10, sales_start=stage.clock() + HOUR)
    (early,) = await stage.call(show.order())
    stage.clock.ahead = 2 * HOUR
    await stage.book(show.order())

    assert early.error == "sales_not_started"
    assert await stage.seats(show) == [(1, 0)]


async def test_a_hold_from_before_the_start_is_paid_after_it(stage: Stage) -> None:
    """To pay for a hold is no new sale: money that was in time at Stripe wins."""
    show = await stage.show(10, starts_at=stage.clock() + timedelta(minutes=5))
    booking = await stage.pending(show, 2)
    stage.clock.ahead = timedelta(minutes=10)
    (confirmed,) = await stage.apply(report(booking, IntentStatus.SUCCEEDED, 2))

    assert confirmed.status == "confirmed"
    assert await stage.seats(show) == [(0, 2)]


@pytest.mark.parametrize(
    ("flag", "status", "payment"), [(False, "cancelled", "refund_pending"), (True, "confirmed", "paid")]
)
async def test_money_for_a_hold_that_has_ended_buys_no_seats_of_an_event_that_has_begun(
    stage: Stage, flag: bool, status: str, payment: str
) -> None:
    """The seats would be sold anew: the money goes back, unless the event sells after its start."""
    show = await stage.show(10, starts_at=stage.clock() + 2 * HOUR, sell_after_start=flag)
    booking = await stage.pending(show, 2)
    await stage.reconcile(timedelta(minutes=20))
    await stage.apply(report(booking, IntentStatus.CANCELED, 2))
    stage.clock.ahead = 3 * HOUR
    (late,) = await stage.apply(report(booking, IntentStatus.SUCCEEDED, 3))

    assert (late.status, late.payment.status) == (status, payment)
    assert await stage.seats(show) == [(0, 2 if flag else 0)]


@pytest.mark.parametrize("flag", [False, True])
async def test_a_customer_cancels_after_the_start_only_where_the_event_allows_it(stage: Stage, flag: bool) -> None:
    """An operator cancels at any time."""
    start = stage.clock() + HOUR
    until = start + DAY if flag else start
    show = await stage.show(10, starts_at=start, cancel_after_start=flag, cancel_until=until)
    booking, other = await stage.confirmed(show), await stage.confirmed(show)
    stage.clock.ahead = 2 * HOUR
    (customers,) = of(await stage.cancel(booking), Reply)
    (operators,) = of(await stage.cancel(other, CancelReason.BY_OPERATOR), Reply)

    assert customers.error == (None if flag else "cancellation_closed")
    assert operators.error is None
    assert await stage.seats(show) == [(0, 0 if flag else 1)]


async def test_a_default_follows_a_moved_start_and_a_date_that_was_set_does_not(stage: Stage) -> None:
    """The default is stored as NULL, and answered as the time that it stands for."""
    start = stage.clock() + 30 * DAY
    free, fixed = (
        await stage.show(10, starts_at=start),
        await stage.show(10, starts_at=start, sales_end=start - DAY),
    )
    for show in (free, fixed):
        (reply,) = await stage.call(UpdateEvent(event_id=show.id, changes=EventChanges(starts_at=start + 7 * DAY)))
        assert reply.error is None
    ends = [datetime.fromisoformat((await seen(stage, show.id))["sales_end"]) for show in (free, fixed)]
    stored = await stage.rows("SELECT sales_end FROM events WHERE id = ANY($1)", [free.id, fixed.id])

    assert ends == [start + 7 * DAY, start - DAY]
    assert {row["sales_end"] for row in stored} == {None, start - DAY}


async def test_all_dates_zone_and_flags_are_kept_and_answered(stage: Stage) -> None:
    start = stage.clock().replace(microsecond=0) + 30 * DAY
    dates = {"sales_start": start - 9 * DAY, "sales_end": start + HOUR, "cancel_until": start + DAY}
    flags = {"sell_after_start": True, "cancel_after_start": True, "time_zone": "Pacific/Chatham"}
    show = await stage.show(10, starts_at=start, **dates, **flags)
    event = await seen(stage, show.id)
    assert {name: datetime.fromisoformat(event[name]) for name in dates} == dates
    assert {name: event[name] for name in flags} == flags

    changes = EventChanges(
        time_zone="Asia/Tokyo", sell_after_start=False, cancel_after_start=False, sales_start=None, sales_end=None,
        cancel_until=None,
    )  # fmt: skip
    (reply,) = await stage.call(UpdateEvent(event_id=show.id, changes=changes))
    event = await seen(stage, show.id)
    assert reply.result == event
    assert (event["time_zone"], event["sell_after_start"], event["cancel_after_start"]) == (
        "Asia/Tokyo",
        False,
        False,
    )
    assert (event["sales_start"], event["sales_end"], event["cancel_until"]) == (None, event["starts_at"], None)


async def test_an_invalid_new_event_is_refused_and_not_created(stage: Stage) -> None:
    """Every error is answered, with its location in the body."""
    now = stage.clock()
    bad = new_event(10, 10, unit_amount=10, starts_at=now - DAY, cancel_until=now + DAY)
    assert await refused(stage, bad) == [
        (["starts_at"], "date_in_past"),
        (["cancel_until"], "date_after_start"),
        (["ticket_types", 0, "unit_amount"], "amount_under_limit"),
        (["ticket_types", 1, "unit_amount"], "amount_under_limit"),
    ]
    assert await refused(stage, new_event(10, currency="eru")) == [(["currency"], "currency_unknown")]
    assert await stage.rows("SELECT 1 FROM events") == []


async def test_an_invalid_change_is_refused_and_changes_nothing(stage: Stage) -> None:
    show = await stage.show(10, 10)
    before = await seen(stage, show.id)
    changes = EventChanges(name="Opera", cancel_until=datetime.fromisoformat(before["starts_at"]) + DAY)
    cheaper = TicketTypeChange(id=show.types[1], unit_amount=49)
    added = TicketTypeChange(id=uuid4(), name="Box", unit_amount=100_000_000, capacity=1)
    message = UpdateEvent(event_id=show.id, changes=changes, ticket_types=(cheaper, added))

    assert await refused(stage, message) == [
        (["cancel_until"], "date_after_start"),
        (["ticket_types", 0, "unit_amount"], "amount_under_limit"),
        (["ticket_types", 1, "unit_amount"], "amount_over_limit"),
    ]
    assert await seen(stage, show.id) == before


async def test_an_event_is_created_once_also_when_it_has_begun_since(stage: Stage) -> None:
    """The repeated request is answered like the first."""
    message = new_event(10, starts_at=stage.clock() + HOUR)
    (first,) = await stage.call(message)
    stage.clock.ahead = 2 * HOUR
    (again,) = await stage.call(message)

    assert (first.error, again.error) == (None, None)
    assert again.result == first.result


async def test_rupiahs_have_twelve_digits(stage: Stage) -> None:
    """Each currency has its own exponent."""
    show = await stage.show(10, unit_amount=100_000_000, currency="idr")
    (booking,) = await stage.book(show.order(3))
    isk, old = await stage.show(10, unit_amount=500, currency="isk"), await stage.show(10)
    await stage.rows("UPDATE events SET currency = 'bgn' WHERE id = $1", old.id)

    assert (booking.amount, booking.currency, booking.currency_exponent) == (300_000_000, "idr", 2)
    assert (await seen(stage, isk.id))["currency_exponent"] == 2
    assert (await seen(stage, old.id))["currency_exponent"] is None
    # Stripe decides on a currency that is not in the table: the event can still be booked.
    (other,) = await stage.book(old.order())
    assert (other.currency, other.currency_exponent, other.status) == ("bgn", None, "pending")


async def test_a_total_outside_the_currencys_limits_is_refused(stage: Stage) -> None:
    dear = await stage.show(10, unit_amount=60_000_000)
    cheap = await stage.show(10)
    await stage.rows("UPDATE ticket_types SET unit_amount = 10 WHERE event_id = $1", cheap.id)
    over, under = await stage.call(dear.order(2), cheap.order(4))

    assert (over.error, over.extra) == ("amount_over_limit", {"limit": 99_999_999})
    assert (under.error, under.extra) == ("amount_under_limit", {"limit": 50})
    assert [await stage.seats(show) for show in (dear, cheap)] == [[(0, 0)], [(0, 0)]]
    await stage.book(cheap.order(5))


async def test_a_part_of_a_refund_is_a_multiple_of_the_currencys_step(stage: Stage) -> None:
    """What is refused changes nothing, and the error has the limit."""
    booking = await stage.confirmed(await stage.show(10, unit_amount=100_000, currency="isk"))
    part, step = (RefundBooking(booking_id=booking.id, refund_id=uuid4(), amount=amount) for amount in (150, 100))
    (refused_part,) = of(await stage.give(part), Reply)
    (accepted,) = of(await stage.give(step), Reply)

    assert (refused_part.error, refused_part.extra) == ("amount_off_step", {"limit": 100})
    assert (accepted.error, (await stage.row(booking))["refund_amount"]) == (None, 100)


REFUSED = [
    ("sales_end = starts_at + interval '1 s'", "events_sales_end"),
    ("sales_start = starts_at", "events_sales_start"),
    ("sales_end = starts_at - interval '1 h', sales_start = starts_at - interval '1 h'", "events_sales_start"),
    ("cancel_until = starts_at + interval '1 s'", "events_cancel_until"),
]


@pytest.mark.parametrize(("assignment", "check"), REFUSED)
async def test_the_database_refuses_dates_that_bind_nothing(stage: Stage, assignment: str, check: str) -> None:
    show = await stage.show(10)
    with pytest.raises(asyncpg.CheckViolationError, match=check):
        await stage.rows(f"UPDATE events SET {assignment} WHERE id = $1", show.id)


async def test_events_of_an_earlier_release_keep_what_they_promised(stage: Stage) -> None:
    """A customer who was promised that they may cancel after the start may still do so."""
    migration = import_module("booking.migrations.0005_event_dates")
    kept, late = await stage.show(10, name="kept"), await stage.show(10, name="late")
    async with stage.database.connection() as connection:
        before = connection.transaction()
        await before.start()
        await connection.execute("ALTER TABLE events DROP CONSTRAINT events_cancel_until")
        await connection.execute(
            "UPDATE events SET cancel_until = starts_at + interval '1 y' WHERE id = $1", late.id
        )
        await connection.execute("UPDATE events SET cancel_until = starts_at WHERE id = $1", kept.id)
        await connection.execute(migration.KEEP_PROMISES)
        await connection.execute("ALTER TABLE events ADD CHECK (cancel_after_start OR cancel_until <= starts_at)")
        flags = await connection.fetch("SELECT name, cancel_after_start FROM events ORDER BY name")
        await before.rollback()

    assert [tuple(row) for row in flags] == [("kept", False), ("late", True)]


async def listed(stage: Stage, **values: Any) -> list[str]:
    """The names of the events on all pages."""
    found, query = [], ListEvents(limit=2, **values)
    while True:
        (reply,) = await stage.call(query)
        found += [item["name"] for item in reply.result["items"]]
        if reply.result["next"] is None:
            return found
        time, id = reply.result["next"]
        query = query.model_copy(update={"after": (datetime.fromisoformat(time), id)})


async def test_coming_events_are_listed_and_past_ones_on_request(stage: Stage) -> None:
    """Operators also see the events of the last day. The next page continues where the one before ended, also in a
    list of past events."""
    now = stage.clock()
    starts = {"now": HOUR, "tonight": 3 * HOUR, "tomorrow": 26 * HOUR, "soon": 60 * DAY, "later": 90 * DAY}
    for name, after in starts.items():
        await stage.show(1, name=name, starts_at=now + after)
    stage.clock.ahead = 2 * HOUR
    assert await listed(stage) == ["tonight", "tomorrow", "soon", "later"]
    stage.clock.ahead = 26 * HOUR
    assert await listed(stage) == ["soon", "later"]
    assert await listed(stage, operator=True) == ["tonight", "tomorrow", "soon", "later"]
    for operator in (False, True):
        assert await listed(stage, operator=operator, starts_from=now) == list(starts)
        assert await listed(stage, operator=operator, starts_from=now + 60 * DAY) == ["soon", "later"]
