"""A mailbox keeps unfinished work, delivers each entry to one consumer, and loses none."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from common.messaging.mailbox import Mailbox
from common.messaging.streams import lengths
from tests.common.stage import BLOCK_MS, GROUP, STREAM, Stage, finish, read_entries, until


async def add(stage: Stage, *values: str) -> list[bytes]:
    return [cast(bytes, await stage.redis.xadd(STREAM, {"value": value})) for value in values]


async def read(mailbox: Mailbox, count: int = 10) -> list[str]:
    return [entry.fields[b"value"].decode() for entry in await read_entries(mailbox, count, BLOCK_MS)]


async def test_entries_from_before_the_group_are_read(stage: Stage) -> None:
    await add(stage, "a", "b")
    mailbox = stage.mailbox()
    await mailbox.create()
    assert await read(mailbox) == ["a", "b"]


async def test_creating_again_changes_nothing(stage: Stage) -> None:
    mailbox = stage.mailbox()
    await mailbox.create()
    await add(stage, "a")
    assert await read(mailbox) == ["a"]
    await mailbox.create()
    assert await read(mailbox) == []
    assert await stage.pending() == {"one": 1}


async def test_a_read_of_an_empty_mailbox_waits_for_an_entry(stage: Stage) -> None:
    mailbox = stage.mailbox()
    await mailbox.create()
    reading = asyncio.create_task(read_entries(mailbox, 10, 10_000))
    await stage.redis.xadd(STREAM, {"value": "late"})
    assert [entry.fields for entry in await reading] == [{b"value": b"late"}]


async def test_a_lost_group_is_created_again_from_the_first_entry(stage: Stage) -> None:
    mailbox = stage.mailbox()
    await mailbox.create()
    await stage.redis.flushdb()
    await add(stage, "after the loss")
    assert await read(mailbox) == []
    assert await read(mailbox) == ["after the loss"]


async def test_a_group_lost_while_a_read_waits_is_created_again(stage: Stage) -> None:
    mailbox = stage.mailbox()
    await mailbox.create()
    reading = asyncio.create_task(read_entries(mailbox, 10, 1000))
    await until(stage.a_read_waits)
    await stage.redis.flushdb()
    await add(stage, "after the loss")
    assert await reading == []
    assert await read(mailbox) == ["after the loss"]


async def test_abandoned_entries_come_before_new_ones(stage: Stage) -> None:
    dead, living = stage.mailbox("dead"), stage.mailbox("living")
    await dead.create()
    await add(stage, "abandoned")
    await stage.abandon(await read_entries(dead, 10, BLOCK_MS), "dead")
    await add(stage, "new")
    entries = await read_entries(living, 10, BLOCK_MS)
    assert [(entry.fields, entry.reclaimed) for entry in entries] == [({b"value": b"abandoned"}, True)]
    entries = await read_entries(living, 10, BLOCK_MS)
    assert [(entry.fields, entry.reclaimed) for entry in entries] == [({b"value": b"new"}, False)]
    assert await stage.pending() == {"living": 2}


async def test_entries_in_hand_are_not_claimed_before_claim_idle_ms(stage: Stage) -> None:
    busy, other = stage.mailbox("busy"), stage.mailbox("other")
    await busy.create()
    await add(stage, "in hand")
    await read_entries(busy, 10, BLOCK_MS)
    assert await read(other) == []
    assert await stage.pending() == {"busy": 1}


async def test_more_abandoned_entries_than_fit_come_one_batch_after_the_other(stage: Stage) -> None:
    dead, living = stage.mailbox("dead"), stage.mailbox("living")
    await dead.create()
    values = [f"{number:02}" for number in range(25)]
    await add(stage, *values)
    await stage.abandon(await read_entries(dead, 25, BLOCK_MS), "dead")
    assert [value for _ in range(3) for value in await read(living, 10)] == values


async def test_an_entry_deleted_while_pending_is_ignored(stage: Stage) -> None:
    dead, living = stage.mailbox("dead"), stage.mailbox("living")
    await dead.create()
    gone, _ = await add(stage, "gone", "there")
    await stage.abandon(await read_entries(dead, 10, BLOCK_MS), "dead")
    await stage.redis.xdel(STREAM, gone)
    assert await read(living) == ["there"]


async def test_consumers_share_a_mailbox(stage: Stage) -> None:
    one, two = stage.mailbox("one"), stage.mailbox("two")
    await one.create()
    await add(stage, *"abcdef")
    assert (await read(one, 2), await read(two, 3), await read(one, 2)) == (["a", "b"], ["c", "d", "e"], ["f"])


async def test_an_acknowledged_entry_is_deleted(stage: Stage) -> None:
    mailbox = stage.mailbox()
    await mailbox.create()
    await add(stage, "a", "b", "c")
    entries = await read_entries(mailbox, 10, BLOCK_MS)
    await finish(mailbox, entries[:2])
    assert await lengths(stage.redis, [STREAM, "no.such"]) == {STREAM: 1, "no.such": 0}
    assert await stage.pending() == {"one": 1}
    await finish(mailbox, entries)  # once more: entries that no longer exist are ignored
    assert await stage.left() == 0
    assert await stage.pending() == {}


async def test_acknowledging_nothing_sends_no_command(stage: Stage) -> None:
    await finish(stage.mailbox(), [])


async def test_a_success_resets_the_failure_count(stage: Stage) -> None:
    dead, living = stage.mailbox("dead"), stage.mailbox("living")
    await dead.create()
    await add(stage, "a")
    entries = await read_entries(dead, 10, BLOCK_MS)
    assert [await dead.count_failure(entries[0]), await living.count_failure(entries[0])] == [1, 2]
    await stage.abandon(entries, "dead")
    await finish(living, await read_entries(living, 10, BLOCK_MS))
    assert await stage.redis.keys("attempts:*") == []


async def consumers(stage: Stage) -> set[str]:
    return {each["name"].decode() for each in cast(Any, await stage.redis.xinfo_consumers(STREAM, GROUP))}


async def test_only_idle_consumers_with_nothing_pending_are_removed(stage: Stage) -> None:
    mailboxes = {name: stage.mailbox(name) for name in ("holding", "gone", "me")}
    await mailboxes["me"].create()
    await add(stage, "a", "b", "c")
    await read_entries(mailboxes["holding"], 1, BLOCK_MS)
    for name in ("gone", "me"):
        await finish(mailboxes[name], await read_entries(mailboxes[name], 1, BLOCK_MS))
    assert await consumers(stage) == {"holding", "gone", "me"}
    assert await mailboxes["me"].remove_idle_consumers(3_600_000) == 0
    assert await mailboxes["me"].remove_idle_consumers(-1) == 1
    assert await consumers(stage) == {"holding", "me"}
    assert await stage.pending() == {"holding": 1}


async def test_a_consumer_that_was_removed_continues_to_read(stage: Stage) -> None:
    one, two = stage.mailbox("one"), stage.mailbox("two")
    await one.create()
    await add(stage, "a")
    await finish(two, await read_entries(two, 1, BLOCK_MS))
    assert await one.remove_idle_consumers(-1) == 1
    await add(stage, "b")
    assert await read(two) == ["b"]


async def test_a_missing_mailbox_has_no_consumers_to_remove(stage: Stage) -> None:
    assert await stage.mailbox().remove_idle_consumers(-1) == 0
    await stage.redis.xadd(STREAM, {"value": "no group"})
    assert await stage.mailbox().remove_idle_consumers(-1) == 0
