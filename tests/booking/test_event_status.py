"""Drafts are there for operators alone; archived events are in no list and not sold, but can be read."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from booking.events import NEXT_STATUSES
from common.contracts.messages import (
    CancelEvent,
    EventWithdrawn,
    GetEvent,
    GetEventHistory,
    GetEventImage,
    ListEvents,
)
from common.contracts.resources import Event
from common.contracts.statuses import EventStatus
from tests.booking.stage import Show, Stage, of
from tests.booking.test_event_contents import change, done, events_published, image, webp
from tests.booking.test_memory import ways

DRAFT, PUBLISHED, ARCHIVED = EventStatus.DRAFT, EventStatus.PUBLISHED, EventStatus.ARCHIVED


async def listed(stage: Stage, **values: Any) -> list[str]:
    (reply,) = await stage.call(ListEvents(limit=50, **values))
    return [each["name"] for each in reply.result["items"]]


async def error(stage: Stage, message: Any) -> str | None:
    (reply,) = await stage.call(message)
    return reply.error


async def test_a_draft_is_not_there_for_anybody_but_operators(stage: Stage) -> None:
    show = await stage.show(10, status=DRAFT, description="Secret")
    await done(stage, image(show, webp()))
    for versions_only in (False, True):
        (reply,) = await stage.call(ListEvents(limit=50, versions_only=versions_only))
        assert reply.result["items"] == []
    for details in (False, True):
        assert await error(stage, GetEvent(event_id=show.id, details=details)) == "event_not_found"
        (reply,) = await stage.call(GetEvent(event_id=show.id, operator=True, details=details))
        assert reply.result["status"] == "draft"
    assert await error(stage, GetEventImage(event_id=show.id)) == "event_not_found"
    assert await error(stage, GetEventImage(event_id=show.id, operator=True)) is None
    assert await error(stage, show.order()) == "event_not_found"
    assert await error(stage, GetEventHistory(event_id=show.id, limit=5)) is None
    assert await stage.rows("SELECT 1 FROM bookings") == []


async def test_what_happens_to_a_draft_is_not_published(stage: Stage) -> None:
    """Neither to who listens for it, as an operator's socket may, nor to catalogues."""
    show, public = await stage.show(10, status=DRAFT), await stage.show(10)
    await stage.listen(show, public)
    await done(stage, change(show, name="Other"))
    envelopes = await stage.give(change(show, description="Text"))
    assert of(envelopes, EventWithdrawn) == []
    stage.availability.touched([show.id, public.id])
    await stage.availability.run_once()
    assert [each.event.id for each in await events_published(stage)] == [public.id]
    await done(stage, change(show, status=PUBLISHED))
    stage.availability.touched([show.id])
    await stage.availability.run_once()
    assert (await events_published(stage))[-1].event.id == show.id
    assert await listed(stage) == ["Concert", "Other"] or await listed(stage) == ["Other", "Concert"]
    (booking,) = await stage.book(show.order())
    assert booking.status == "pending"


async def test_an_archived_event_is_read_by_its_id_and_not_sold(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.confirmed(show, 2)
    await done(stage, change(show, status=ARCHIVED, description="It was fine"))
    await done(stage, image(show, webp()))
    assert await listed(stage) == []
    (reply,) = await stage.call(GetEvent(event_id=show.id))
    assert Event.model_validate(reply.result).status is ARCHIVED
    assert await error(stage, GetEventImage(event_id=show.id)) is None
    assert await error(stage, show.order()) == "not_on_sale"
    await stage.cancel(booking)
    assert await stage.seats(show) == [(0, 2)]  # customers may no longer cancel it, as before
    await done(stage, change(show, status=PUBLISHED))
    assert await listed(stage) == ["Concert"]
    await stage.book(show.order())


async def test_operators_list_all_events_or_those_of_one_status(stage: Stage) -> None:
    for status in EventStatus:
        show = await stage.show(10, name=status.value, status=PUBLISHED if status is ARCHIVED else status)
        if status is ARCHIVED:
            await done(stage, change(show, status=ARCHIVED))
    assert sorted(await listed(stage, operator=True)) == sorted(EventStatus)
    for status in EventStatus:
        assert await listed(stage, operator=True, status=status) == [status.value]
        assert await listed(stage, status=status) == ["published"]  # who is no operator cannot ask for others


@pytest.mark.parametrize("old", EventStatus)
@pytest.mark.parametrize("new", EventStatus)
async def test_a_status_follows_another_or_not(stage: Stage, old: EventStatus, new: EventStatus) -> None:
    show = await stage.show(10, status=DRAFT)
    for status in {DRAFT: (), PUBLISHED: (PUBLISHED,), ARCHIVED: (PUBLISHED, ARCHIVED)}[old]:
        await done(stage, change(show, status=status))
    (reply,) = await stage.call(change(show, status=new))
    assert reply.error == (None if new in (old, *NEXT_STATUSES[old]) else "conflict")


async def test_an_event_that_becomes_a_draft_is_withdrawn(stage: Stage) -> None:
    show = await stage.show(10)
    envelopes = await stage.give(change(show, status=DRAFT))
    assert of(envelopes, EventWithdrawn) == [EventWithdrawn(event_id=show.id, version=2)]
    assert await listed(stage) == []


async def test_an_event_with_bookings_stays_known(stage: Stage) -> None:
    """Also one whose only booking has failed, and whatever the code decides: the database refuses it."""
    show = await stage.show(1)
    await stage.book(show.order(2))
    envelopes = await stage.give(change(show, status=DRAFT))
    assert of(envelopes, EventWithdrawn) == []
    assert await error(stage, change(show, status=DRAFT)) == "conflict"
    with pytest.raises(asyncpg.CheckViolationError, match="has bookings"):
        await stage.rows("UPDATE events SET status = 'draft'")
    with pytest.raises(asyncpg.CheckViolationError):
        await stage.rows("UPDATE events SET status = 'secret'")
    await done(stage, change(show, status=ARCHIVED))
    await stage.rows("UPDATE events SET status = 'published'")


async def withdrawing(stage: Stage, show: Show, selling_first: bool) -> tuple[str | None, str | None]:
    """A booking and a change to a draft at the same time; returns their errors."""
    messages: dict[str, Any] = {"sale": show.order(), "draft": change(show, status=DRAFT)}
    order = list(messages) if selling_first else list(reversed(messages))
    async with stage.database.transaction() as other:
        await other.execute("SELECT FROM ticket_types FOR NO KEY UPDATE")
        tasks: dict[str, asyncio.Task[Any]] = {}
        for count, name in enumerate(order, 1):
            tasks[name] = asyncio.create_task(stage.call(messages[name]))
            await waiting(stage, count)
    replies = {name: (await task)[0].error for name, task in tasks.items()}
    return replies["sale"], replies["draft"]


async def waiting(stage: Stage, count: int) -> None:
    async with asyncio.timeout(10):
        while len(await stage.rows("SELECT 1 FROM pg_locks WHERE NOT granted")) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("remembered", [False, True], ids=["locks", "memory"])
@pytest.mark.parametrize("selling_first", [False, True], ids=["draft first", "sale first"])
async def test_a_sale_and_a_draft_exclude_each_other(stage: Stage, remembered: bool, selling_first: bool) -> None:
    """Whichever gets the locks first: there is never a draft with a booking."""
    show = await stage.show(10)
    if remembered:
        await stage.call(show.order(20))  # refused, and now the event is in memory
    else:
        stage = Stage.build(stage.database, stage.redis, memory_max=0)
    found = await withdrawing(stage, show, selling_first)
    assert found in ((None, "conflict"), ("event_not_found", None))
    drafts = await stage.rows(
        "SELECT 1 FROM events e JOIN bookings b ON b.event_id = e.id WHERE e.status = 'draft'"
    )
    assert drafts == []


@pytest.mark.parametrize("status", [ARCHIVED, DRAFT])
async def test_what_memory_knows_sells_nothing_when_the_status_has_changed(
    stage: Stage, status: EventStatus
) -> None:
    show = await stage.show(10)
    await stage.call(show.order(20))
    other = Stage.build(stage.database, stage.redis)
    await done(other, change(show, status=status))
    with ways() as found:
        refused = await error(stage, show.order())
    assert (found[0], refused) == ("statement", "not_on_sale" if status is ARCHIVED else "event_not_found")


async def test_a_draft_whose_start_has_passed_cannot_be_published(stage: Stage) -> None:
    show = await stage.show(10, status=DRAFT)
    await stage.rows("UPDATE events SET starts_at = now() - interval '1 h'")
    (reply,) = await stage.call(change(show, status=PUBLISHED))
    assert [each["type"] for each in reply.extra["errors"]] == ["date_in_past"]


async def test_an_archived_event_that_has_been_can_be_published_again(stage: Stage) -> None:
    show = await stage.show(10)
    await done(stage, change(show, status=ARCHIVED))
    await stage.rows("UPDATE events SET starts_at = now() - interval '1 h'")
    await done(stage, change(show, status=PUBLISHED))


async def test_an_event_of_the_release_before_is_published(stage: Stage) -> None:
    """Its insert names no status; its update leaves the one that there is."""
    show = await stage.show(10)
    await stage.rows("UPDATE events SET status = DEFAULT, content_version = DEFAULT")
    assert await listed(stage) == ["Concert"]
    await stage.rows("UPDATE events SET name = 'Opera', version = version + 1")
    (reply,) = await stage.call(GetEvent(event_id=show.id))
    assert (reply.result["status"], reply.result["content_version"]) == ("published", 0)


async def test_a_cancelled_draft_stays_one(stage: Stage) -> None:
    show = await stage.show(10, status=DRAFT)
    await done(stage, CancelEvent(event_id=show.id))
    assert await error(stage, GetEvent(event_id=show.id)) == "event_not_found"
