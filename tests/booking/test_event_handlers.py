"""Events: created once, changed while they are sold, cancelled."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from common.contracts.messages import (
    CancelEvent,
    CreateEvent,
    EventChanges,
    GetEvent,
    TicketTypeChange,
    UpdateEvent,
)
from common.contracts.resources import Event
from common.contracts.statuses import IntentStatus
from tests.booking.stage import Stage, new_event, report


async def seen(stage: Stage, message: CreateEvent | UpdateEvent | CancelEvent | GetEvent) -> Event:
    (reply,) = await stage.call(message)
    assert reply.error is None, reply
    return Event.model_validate(reply.result)


async def test_event_is_created_as_requested(stage: Stage) -> None:
    message = new_event(10, 20, cancel_until=datetime(2030, 12, 31, tzinfo=UTC))
    event = await seen(stage, message)
    assert (event.id, event.name, event.starts_at, event.cancel_until) == (
        message.event_id, "Concert", message.starts_at, message.cancel_until,
    )  # fmt: skip
    assert [(each.id, each.name, each.capacity, each.available) for each in event.ticket_types] == [
        (message.ticket_types[0].id, "Type 0", 10, 10),
        (message.ticket_types[1].id, "Type 1", 20, 20),
    ]
    assert await seen(stage, GetEvent(event_id=event.id)) == event


async def test_event_is_created_once(stage: Stage) -> None:
    message = new_event(10)
    first = await seen(stage, message)
    changed = await seen(stage, UpdateEvent(event_id=first.id, changes=EventChanges(name="Other")))
    assert await seen(stage, message) == changed
    (reused,) = await stage.call(message.model_copy(update={"max_per_booking": 3}))
    assert reused.error == "idempotency_key_reused"
    assert await seen(stage, GetEvent(event_id=first.id)) == changed


async def test_only_the_fields_that_are_sent_change(stage: Stage) -> None:
    show = await stage.show(10, 10, cancel_until=datetime(2030, 1, 1, tzinfo=UTC))
    before = await seen(stage, GetEvent(event_id=show.id))
    after = await seen(
        stage,
        UpdateEvent(
            event_id=show.id,
            changes=EventChanges(cancel_until=None, max_per_booking=4),
            ticket_types=(TicketTypeChange(id=show.types[1], capacity=30),),
        ),
    )
    assert (after.cancel_until, after.max_per_booking, after.name) == (None, 4, before.name)
    assert [each.available for each in after.ticket_types] == [10, 30]
    assert after.version > before.version
    assert await seen(stage, GetEvent(event_id=show.id)) == after


async def test_change_without_effect_makes_no_version(stage: Stage) -> None:
    show = await stage.show(10)
    before = await seen(stage, GetEvent(event_id=show.id))
    assert await seen(stage, UpdateEvent(event_id=show.id, changes=EventChanges(name="Concert"))) == before


async def test_ticket_type_is_added_at_the_end(stage: Stage) -> None:
    show = await stage.show(10)
    new = TicketTypeChange(id=uuid4(), name="Box", unit_amount=9000, capacity=4)
    event = await seen(stage, UpdateEvent(event_id=show.id, changes=EventChanges(), ticket_types=(new,)))
    assert [each.name for each in event.ticket_types] == ["Type 0", "Box"]
    (booking,) = await stage.book(show.order(2, type=new.id))
    assert booking.amount == 18_000


async def test_capacity_cannot_fall_below_what_is_held_and_sold(stage: Stage) -> None:
    show = await stage.show(10)
    await stage.book(show.order(3))
    await stage.confirmed(show, 2)

    def shrink(capacity: int) -> UpdateEvent:
        change = TicketTypeChange(id=show.types[0], capacity=capacity)
        return UpdateEvent(event_id=show.id, changes=EventChanges(), ticket_types=(change,))

    (refused,) = await stage.call(shrink(4))
    assert refused.error == "capacity_below_sold"
    assert (await seen(stage, shrink(5))).ticket_types[0].available == 0


async def test_an_unknown_event_or_ticket_type_cannot_be_changed(stage: Stage) -> None:
    show = await stage.show(10)
    (nowhere,) = await stage.call(UpdateEvent(event_id=uuid4(), changes=EventChanges(name="x")))
    partial = TicketTypeChange(id=uuid4(), capacity=3)
    (unknown,) = await stage.call(UpdateEvent(event_id=show.id, changes=EventChanges(), ticket_types=(partial,)))
    (gone,) = await stage.call(CancelEvent(event_id=uuid4()))
    assert [nowhere.error, unknown.error, gone.error] == [
        "event_not_found", "ticket_type_not_found", "event_not_found",
    ]  # fmt: skip


async def test_changes_race_with_sales_without_harm(stage: Stage) -> None:
    """Capacity falls and rises while seats are sold: no statement breaks a check of the database."""
    show = await stage.show(50)

    async def resize(capacity: int) -> None:
        change = TicketTypeChange(id=show.types[0], capacity=capacity)
        await stage.call(UpdateEvent(event_id=show.id, changes=EventChanges(), ticket_types=(change,)))

    await asyncio.gather(
        *(stage.book(*(show.order() for _ in range(5))) for _ in range(10)),
        *(resize(capacity) for capacity in (10, 40, 20, 60, 15)),
    )
    await stage.audit()


async def test_cancelling_an_event_refunds_everything(stage: Stage) -> None:
    show = await stage.show(10)
    (waiting,) = await stage.book(show.order())
    payable, paid = await stage.pending(show), await stage.confirmed(show, 2)
    event = await seen(stage, CancelEvent(event_id=show.id))
    assert event.on_sale is False
    assert await seen(stage, CancelEvent(event_id=show.id)) == event
    (refused,) = await stage.call(show.order())
    assert refused.error == "not_on_sale"
    (fixed,) = await stage.call(UpdateEvent(event_id=show.id, changes=EventChanges(on_sale=True)))
    assert fixed.error == "conflict"
    for _ in range(2):
        await stage.reconcile(timedelta(seconds=1))
    asked_for = await stage.published("payment.commands")
    assert sorted(asked_for) == sorted(
        [
            ("payment.cancel_intent", str(waiting.id)),
            ("payment.cancel_intent", str(payable.id)),
            ("payment.refund", str(paid.id)),
        ]
    )
    await stage.apply(*(report(each, IntentStatus.CANCELED, 2) for each in (waiting, payable)))
    rows = [await stage.row(each) for each in (waiting, payable, paid)]
    assert {(row["status"], row["reason"]) for row in rows} == {("cancelled", "event_cancelled")}
    assert await stage.seats(show) == [(0, 0)]
    (row,) = await stage.rows("SELECT settle_after FROM events")
    assert row["settle_after"] is None
