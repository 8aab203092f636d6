"""Each change of an event leaves one row: what has another value since, and who made it so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from booking.event_rows import TICKET_TYPE_TERMS
from booking.events import SHOWN_OF_TYPE
from common.contracts.history import EventChange
from common.contracts.messages import (
    CancelEvent,
    CreateEvent,
    EventChanges,
    GetEventHistory,
    OperatorCommand,
    OperatorRequest,
    Reply,
    TicketTypeChange,
    UpdateEvent,
)
from common.contracts.statuses import EventStatus, PaymentMethods
from common.contracts.values import Venue
from tests.booking.stage import Show, Stage, new_event

# Another value of each field of an event that can change.
OTHERS: dict[str, Any] = {
    "name": "Opera",
    "on_sale": False,
    "max_per_booking": 4,
    "max_per_owner": 8,
    "time_zone": "Europe/Vienna",
    "sell_after_start": True,
    "cancel_after_start": True,
    "payment_methods": PaymentMethods.ALL,
    "status": EventStatus.ARCHIVED,
    "description": "Three acts",
    "category": "Theatre",
    "venue": Venue(name="Hall", city="Graz"),
}
# What is shown of them, where that is another value.
FLAT: dict[str, dict[str, Any]] = {"venue": {"venue.name": (None, "Hall"), "venue.city": (None, "Graz")}}
DATES = {"starts_at": 3, "cancel_until": 1, "sales_start": 1, "sales_end": 2, "slow_payments_until": 1}


def by(subject: str, **values: Any) -> dict[str, Any]:
    return {"request": OperatorRequest(subject=subject, operation=f"PATCH {uuid4()}", content_hash="", **values)}


def update(show: Show, *types: TicketTypeChange, subject: str = "root", **values: Any) -> UpdateEvent:
    return UpdateEvent(event_id=show.id, changes=EventChanges(**values), ticket_types=types, **by(subject))


async def done(stage: Stage, message: OperatorCommand) -> Reply:
    (reply,) = await stage.call(message)
    assert reply.error is None, reply
    return reply


async def history(stage: Stage, event_id: UUID, **values: Any) -> list[EventChange]:
    (reply,) = await stage.call(GetEventHistory(event_id=event_id, **({"limit": 50} | values)))
    assert reply.error is None, reply
    return [EventChange.model_validate(each) for each in reply.result["items"]]


def seen(change: EventChange) -> dict[str, tuple[Any, Any]]:
    """The old and the new value of each field, with the position of its ticket type's id among those."""
    assert change.changes is not None
    ids = list(dict.fromkeys(each.ticket_type_id for each in change.changes if each.ticket_type_id))
    return {
        each.field if each.ticket_type_id is None else f"{each.field} {ids.index(each.ticket_type_id)}": (
            each.old,
            each.new,
        )
        for each in change.changes
    }


async def test_the_first_change_has_all_that_the_event_began_with(stage: Stage) -> None:
    message = new_event(10, 5).model_copy(update=by("root"))
    await done(stage, message)
    (created,) = await history(stage, message.event_id)
    assert (created.version, created.what, created.by) == (1, "created", "root")
    values = seen(created)
    assert values["starts_at"] == (None, "2031-01-01T20:00:00Z")
    assert {name: new for name, (_, new) in values.items() if name != "starts_at"} == {
        "name": "Concert", "currency": "eur", "on_sale": True, "max_per_booking": 10, "payment_methods": "instant",
        "time_zone": "UTC", "sell_after_start": False, "cancel_after_start": False, "status": "published",
        "name 0": "Type 0", "unit_amount 0": 2500, "capacity 0": 10, "hidden 0": False,
        "name 1": "Type 1", "unit_amount 1": 2500, "capacity 1": 5, "hidden 1": False,
    }  # fmt: skip


def test_the_changes_have_every_field() -> None:
    assert OTHERS.keys() | DATES.keys() == EventChanges.model_fields.keys()
    assert set(SHOWN_OF_TYPE) == set(TICKET_TYPE_TERMS) - {"version", "version_when_hidden"}
    assert set(SHOWN_OF_TYPE) == TicketTypeChange.model_fields.keys() - {"id", "new"}


@pytest.mark.parametrize("field", [*OTHERS, *DATES])
async def test_a_change_shows_the_old_and_the_new_value(stage: Stage, field: str) -> None:
    show = await stage.show(10)
    begins = (await stage.rows("SELECT starts_at FROM events"))[0]["starts_at"]
    after = OTHERS[field] if field in OTHERS else begins - timedelta(weeks=6) + timedelta(weeks=DATES[field])
    before = seen((await history(stage, show.id))[0]).get(field, (None, None))[1]
    await done(stage, update(show, **{field: after}))
    _, changed = await history(stage, show.id)
    assert (changed.version, changed.what, changed.by) == (2, "changed", "root")
    text = after if field in OTHERS else f"{after:%Y-%m-%dT%H:%M:%SZ}"
    assert seen(changed) == FLAT.get(field, {field: (before, text)})


async def test_changes_of_ticket_types_name_them(stage: Stage) -> None:
    """Also one that is added. Several changes of one request are one change."""
    show = await stage.show(10, 5)
    changed = TicketTypeChange(id=show.types[1], unit_amount=3000, capacity=6)
    added = TicketTypeChange(id=uuid4(), new=True, name="Box", unit_amount=9000, capacity=2)
    await done(stage, update(show, changed, added, on_sale=False))
    _, change = await history(stage, show.id)
    assert change.changes is not None
    assert [(each.field, each.ticket_type_id, each.old, each.new) for each in change.changes] == [
        ("on_sale", None, True, False),
        ("unit_amount", show.types[1], 2500, 3000),
        ("capacity", show.types[1], 5, 6),
        ("name", added.id, None, "Box"),
        ("unit_amount", added.id, None, 9000),
        ("capacity", added.id, None, 2),
        ("hidden", added.id, None, False),
    ]


async def test_a_cancelled_event_ends_its_history(stage: Stage) -> None:
    show = await stage.show(10)
    for _ in range(2):
        await done(stage, CancelEvent(event_id=show.id, **by("director")))
    _, cancelled = await history(stage, show.id)
    assert (cancelled.what, cancelled.by) == ("cancelled", "director")
    values = seen(cancelled)
    assert values.keys() == {"on_sale", "called_off_at"}
    assert values["called_off_at"][0] is None


async def test_what_changes_nothing_leaves_nothing(stage: Stage) -> None:
    """The same values, a request that is repeated, and one that is refused; nor do seats that are sold."""
    show = await stage.show(10)
    first = update(show, name="Opera").model_copy(update=by("root", key="k-1"))
    for _ in range(2):
        await done(stage, first)
    await done(stage, update(show, name="Opera"))
    (refused,) = await stage.call(update(show, TicketTypeChange(id=uuid4(), new=False, capacity=1)))
    assert refused.error == "ticket_type_not_found"
    await stage.confirmed(show)
    assert [each.what for each in await history(stage, show.id)] == ["created", "changed"]


async def test_each_operator_is_named_with_what_they_did(stage: Stage) -> None:
    show = await stage.show(10)
    for number, subject in enumerate(("ann", "ben", "ann")):
        await done(stage, update(show, name=f"Name {number}", subject=subject))
    found = await history(stage, show.id)
    assert [(each.version, each.by) for each in found] == [(1, None), (2, "ann"), (3, "ben"), (4, "ann")]
    assert [each.at for each in found] == sorted(each.at for each in found)


async def test_a_history_is_read_in_pages(stage: Stage) -> None:
    show = await stage.show(10)
    for number in range(4):
        await done(stage, update(show, name=f"Name {number}"))
    found, after = [], None
    while True:
        (reply,) = await stage.call(GetEventHistory(event_id=show.id, after=after, limit=2))
        found.append([each["version"] for each in reply.result["items"]])
        if reply.result["next"] is None:
            break
        (after,) = reply.result["next"]
    assert found == [[1, 2], [3, 4], [5]]
    (missing,) = await stage.call(GetEventHistory(event_id=uuid4(), limit=2))
    assert missing.error == "event_not_found"


CHANGES = {
    "changed": "UPDATE events SET name = 'Opera', version = version + 1",
    "cancelled": "UPDATE events SET on_sale = false, called_off_at = now(), version = version + 1",
}


@pytest.mark.parametrize("what", CHANGES)
async def test_a_change_by_the_release_before_has_its_row(stage: Stage, what: str) -> None:
    """And one by hand: nobody knows what has changed and by whom, but that it has, and when."""
    show = await stage.show(10)
    await stage.rows(CHANGES[what])
    _, change = await history(stage, show.id)
    assert (change.version, change.what, change.changes, change.by) == (2, what, None, None)
    # What is no change of the event leaves none.
    await stage.rows("UPDATE events SET settle_after = now()")
    assert len(await history(stage, show.id)) == 2


async def test_an_event_made_by_the_release_before_has_a_history_from_the_beginning(stage: Stage) -> None:
    await stage.rows(
        "INSERT INTO events (id, name, starts_at, currency, on_sale, max_per_booking, content_hash, created_at)"
        " VALUES ($1, 'Concert', now(), 'eur', true, 10, '', now())",
        id := uuid4(),
    )
    assert [(each.version, each.what, each.by) for each in await history(stage, id)] == [(1, "created", None)]


async def test_an_event_from_before_there_were_histories_has_none_until_it_changes(stage: Stage) -> None:
    show = await stage.show(10)
    await stage.rows("DELETE FROM event_changes")
    assert await history(stage, show.id) == []
    await done(stage, update(show, name="Opera"))
    assert [each.version for each in await history(stage, show.id)] == [2]


async def test_a_request_without_a_subject_names_nobody(stage: Stage) -> None:
    """From a gateway that is two releases older."""
    message: CreateEvent = new_event(10)
    await done(stage, message)
    assert [each.by for each in await history(stage, message.event_id)] == [None]
