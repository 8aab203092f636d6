"""One process of the fleet publishes an event's availability, and no change is lost."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any, cast
from uuid import UUID

import pytest

from booking.availability import Availability
from booking.cancellation_rows import CancellationRows, EventCancellation
from booking.repository import Store
from common.contracts.messages import CancelEvent, EventChanged, GetEvent
from common.messaging.publisher import Publisher
from common.runtime.outages import RedisOutage
from tests.booking.stage import Stage
from tests.common.stage import until

LONG_MS, SHORT_MS = 60_000, 20


PROCESSES = count()


def process(stage: Stage, interval_ms: int, most_ms: int = LONG_MS) -> Availability:
    """The availability loop of another booking process."""
    return Availability(stage.store, stage.bus, stage.redis, f"booking-{next(PROCESSES)}", interval_ms, most_ms)


async def seats_published(stage: Stage) -> list[int]:
    """The seats left, from the notifications that were published."""
    entries: Any = await stage.redis.xrange("notifications")
    found = [fields[b"data"] for _, fields in entries if fields[b"type"] == b"event.changed"]
    return [EventChanged.model_validate_json(data).event.ticket_types[0].available for data in found]


async def test_only_one_of_many_processes_publishes_an_event(stage: Stage) -> None:
    show = await stage.show(10)
    await stage.listen(show)
    fleet = [process(stage, LONG_MS) for _ in range(8)]
    for each in fleet:
        each.touched([show.id])
        await each.run_once()
    assert await seats_published(stage) == [10]


async def test_an_event_is_published_while_another_process_publishes_another_one(stage: Stage) -> None:
    one, other = await stage.show(10), await stage.show(20)
    await stage.listen(one, other)
    first, second = process(stage, LONG_MS), process(stage, LONG_MS)
    first.touched([one.id])
    await first.run_once()
    second.touched([one.id, other.id])
    await second.run_once()
    assert await seats_published(stage) == [10, 20]


async def test_a_change_that_the_holder_has_not_read_is_published_when_its_lease_has_expired(stage: Stage) -> None:
    show = await stage.show(10)
    await stage.listen(show)
    holder, changed = process(stage, SHORT_MS), process(stage, SHORT_MS)
    holder.touched([show.id])
    await holder.run_once()
    await stage.book(show.order(3))
    changed.touched([show.id])

    async def published() -> bool:
        await changed.run_once()
        return await seats_published(stage) == [10, 7]

    await until(published)


async def test_an_event_that_could_not_be_published_is_published_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = await stage.show(10)
    await stage.listen(show)
    dies = process(stage, SHORT_MS)
    dies.touched([show.id])
    with monkeypatch.context() as broken:

        async def refuse(*_: object) -> None:
            raise RedisOutage("made up")

        broken.setattr(Publisher, "publish", refuse)
        with pytest.raises(RedisOutage):
            await dies.run_once()

    async def published() -> bool:
        await dies.run_once()
        return await seats_published(stage) == [10]

    await until(published)


async def test_an_event_that_no_gateway_listens_for_costs_one_query(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is not read and no process takes its lease. A gateway that listens from now on reads it first."""
    alone, gone = await stage.show(10), await stage.show(10)
    await stage.listen(gone)
    await stage.redis.delete("listening:0")  # its gateway no longer renews its registration
    lone = process(stage, LONG_MS)
    lone.touched([alone.id, gone.id])
    monkeypatch.setattr(Store, "reading", None)
    assert await lone.run_once() == LONG_MS / 1000
    assert await seats_published(stage) == []
    assert await stage.redis.keys("availability:*") == []
    assert await stage.redis.exists(f"listeners:event:{gone.id}") == 0
    monkeypatch.undo()
    await stage.listen(alone, gone)
    await lone.run_once()
    assert await seats_published(stage) == []


async def test_the_more_gateways_listen_the_more_seldom_an_event_is_published(stage: Stage) -> None:
    shows = [await stage.show(10) for _ in range(3)]
    lone = process(stage, 250, most_ms=2000)
    for show, gateways, pause_s in zip(shows, (1, 5, 100), (0.25, 1.25, 2), strict=True):
        await stage.listen(show, gateways=gateways)
        lone.touched([show.id])
        assert await lone.run_once() == pause_s
    lone.touched([show.id for show in shows])
    assert await lone.run_once() == 2


async def test_a_gateway_of_the_release_before_gets_it_too(stage: Stage) -> None:
    """That gateway is not registered: booking knows from its query that it listens."""
    show = await stage.show(10)
    await stage.bus.publish(await stage.give(GetEvent(event_id=show.id)))
    lone = process(stage, LONG_MS)
    lone.touched([show.id])
    await lone.run_once()
    assert await seats_published(stage) == [10]


async def listen_for_all(stage: Stage, gateways: int = 1) -> None:
    """From now on `gateways` gateways keep a catalogue of all events."""
    for gateway in range(gateways):
        await stage.redis.set(f"listening:{gateway}", "here")
        await cast(Any, stage.redis.sadd("listeners:events", gateway))


async def test_an_event_that_only_catalogues_listen_for_is_published_more_seldom(stage: Stage) -> None:
    """And keeps no other event waiting: the pause between two runs is that of the events that sockets follow."""
    alone, followed = await stage.show(10), await stage.show(20)
    await listen_for_all(stage)
    await stage.listen(followed)
    lone = process(stage, SHORT_MS)
    lone.touched([alone.id, followed.id])
    assert await lone.run_once() == SHORT_MS / 1000
    assert sorted(await seats_published(stage)) == [10, 20]
    await stage.book(alone.order(3))
    lone.touched([alone.id, followed.id])
    assert await lone.run_once() == SHORT_MS / 1000
    assert sorted(await seats_published(stage)) == [10, 20, 20]  # too soon for the one

    async def published() -> bool:
        await lone.run_once()
        return sorted(await seats_published(stage)) == [7, 10, 20, 20]

    await until(published)


async def test_of_many_events_those_are_published_to_catalogues_first_that_have_waited_longest(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that another process publishes keeps no other waiting."""
    monkeypatch.setattr("booking.availability.CATALOGUE_EVENTS", 2)
    await listen_for_all(stage)
    shows = [await stage.show(seats) for seats in (1, 2, 3, 4, 5)]
    lone, other = process(stage, SHORT_MS), process(stage, LONG_MS)
    other.touched([shows[0].id])
    await other.run_once()
    for show in (*shows, shows[1]):  # marked again it waits no longer
        lone.touched([show.id])
    for published in ([1, 2], [1, 2, 3, 4], [1, 2, 3, 4, 5]):
        lone._catalogues_at = 0.0
        await lone.run_once()
        assert sorted(await seats_published(stage)) == published


async def test_a_cancelled_event_that_only_catalogues_listen_for_is_published_without_counting(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its progress is counted over all its bookings, and nobody would see it."""
    show = await stage.show(10)
    await stage.call(CancelEvent(event_id=show.id))
    await listen_for_all(stage)

    async def counts(_: CancellationRows, ids: Iterable[UUID]) -> dict[UUID, EventCancellation]:
        assert not set(ids)
        return {}

    monkeypatch.setattr(CancellationRows, "progress", counts)
    lone = process(stage, SHORT_MS)
    lone.touched([show.id])
    await lone.run_once()
    assert await seats_published(stage) == [10]
