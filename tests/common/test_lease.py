"""One of a mailbox's consumers reads while it keeps up; the others help, or acquire its lease."""

from __future__ import annotations

import pytest

from common.messaging import lease
from common.messaging.lease import HELP_FROM
from common.messaging.mailbox import Mailbox
from common.messaging.streams import Entry
from tests.common.stage import BLOCK_MS, STREAM, Stage, finish, read_entries, until

KEY = f"turn:{STREAM}"


async def add(stage: Stage, count: int) -> None:
    for number in range(count):
        await stage.redis.xadd(STREAM, {"value": str(number)})


async def values(mailbox: Mailbox, count: int = 500) -> list[str]:
    return [entry.fields[b"value"].decode() for entry in await read_entries(mailbox, count, BLOCK_MS)]


@pytest.fixture
async def two(stage: Stage) -> tuple[Mailbox, Mailbox]:
    """The first has the lease, and the second knows it."""
    first, second = stage.mailbox("first", shared=True), stage.mailbox("second", shared=True)
    await first.create()
    assert (await read_entries(first, 1, BLOCK_MS), await read_entries(second, 1, BLOCK_MS)) == ([], [])
    return first, second


async def test_one_consumer_reads_alone_while_it_keeps_up(stage: Stage, two: tuple[Mailbox, Mailbox]) -> None:
    first, second = two
    await add(stage, HELP_FROM - 1)
    assert await values(second) == []
    assert len(await values(first)) == HELP_FROM - 1


async def test_entries_that_the_holder_has_read_do_not_count_as_unread(
    stage: Stage, two: tuple[Mailbox, Mailbox]
) -> None:
    first, second = two
    await add(stage, 2 * HELP_FROM)
    assert len(await values(first, HELP_FROM + 1)) == HELP_FROM + 1
    assert await values(second) == []


async def test_other_consumers_help_when_more_entries_wait(stage: Stage, two: tuple[Mailbox, Mailbox]) -> None:
    _, second = two
    await add(stage, HELP_FROM)
    assert len(await values(second)) == HELP_FROM


async def test_a_holder_that_does_not_renew_loses_the_lease(
    stage: Stage, two: tuple[Mailbox, Mailbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.0)
    first, second = two
    await add(stage, 2)
    await stage.redis.pexpire(KEY, 1)
    await until(lambda: _gone(stage))
    assert await values(second) == []  # acquires the lease
    assert await values(second, 1) == ["0"]
    assert await values(first, 1) == ["1"]  # it does not know yet: two readers at once harm nothing
    await add(stage, 1)
    assert await values(first) == []


async def test_a_consumer_that_leaves_releases_the_lease(stage: Stage, two: tuple[Mailbox, Mailbox]) -> None:
    first, second = two
    await second.leave()  # the lease is not its own to release
    assert await stage.redis.get(KEY) == b"first"
    await first.leave()
    await add(stage, 1)
    assert await values(second) == []  # acquires the lease
    assert await values(second) == ["0"]


async def test_a_lost_mailbox_is_created_again_and_read(stage: Stage, two: tuple[Mailbox, Mailbox]) -> None:
    first, second = two
    await stage.redis.flushdb()
    await add(stage, 1)
    await stage.redis.set(KEY, "first")
    assert await values(second) == []  # without a group there is nothing to help with
    assert await values(first) == []  # creates the group
    entries: list[Entry] = await read_entries(first, 10, BLOCK_MS)
    assert len(entries) == 1
    await finish(first, entries)
    assert await stage.redis.xlen(STREAM) == 0


async def _gone(stage: Stage) -> bool:
    return not await stage.redis.exists(KEY)
