"""Availability is published once by the whole fleet, and never forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from booking.availability import Availability
from common.contracts.messages import EventChanged
from common.messaging.publisher import Publisher
from common.runtime.outages import RedisAway
from tests.booking.stage import Stage
from tests.common.stage import until

LONG_MS, SHORT_MS = 60_000, 20


def process(stage: Stage, interval_ms: int) -> Availability:
    """Another booking process."""
    return Availability(stage.store, stage.bus, stage.redis, interval_ms)


async def told(stage: Stage) -> list[int]:
    """The seats left, as they were published."""
    entries: Any = await stage.redis.xrange("notifications")
    found = [fields[b"data"] for _, fields in entries if fields[b"type"] == b"event.changed"]
    return [EventChanged.model_validate_json(data).event.ticket_types[0].available for data in found]


async def test_of_many_processes_one_publishes_an_event(stage: Stage) -> None:
    show = await stage.show(10)
    fleet = [process(stage, LONG_MS) for _ in range(8)]
    for each in fleet:
        each.touched([show.id])
        await each.run_once()
    assert await told(stage) == [10]


async def test_another_event_is_published_beside_one_that_is_claimed(stage: Stage) -> None:
    one, other = await stage.show(10), await stage.show(20)
    first, second = process(stage, LONG_MS), process(stage, LONG_MS)
    first.touched([one.id])
    await first.run_once()
    second.touched([one.id, other.id])
    await second.run_once()
    assert await told(stage) == [10, 20]


async def test_a_change_after_the_claim_is_published_when_the_claim_has_expired(stage: Stage) -> None:
    """The holder of the claim may have read before it."""
    show = await stage.show(10)
    holder, changed = process(stage, SHORT_MS), process(stage, SHORT_MS)
    holder.touched([show.id])
    await holder.run_once()
    await stage.book(show.order(3))
    changed.touched([show.id])

    async def published() -> bool:
        await changed.run_once()
        return await told(stage) == [10, 7]

    await until(published)


async def test_what_was_claimed_and_not_published_is_published_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = await stage.show(10)
    dies = process(stage, SHORT_MS)
    dies.touched([show.id])
    with monkeypatch.context() as broken:

        async def refuse(*_: object) -> None:
            raise RedisAway("made up")

        broken.setattr(Publisher, "publish", refuse)
        with pytest.raises(RedisAway):
            await dies.run_once()

    async def published() -> bool:
        await dies.run_once()
        return await told(stage) == [10]

    await until(published)
