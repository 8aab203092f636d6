"""What could not be handled is kept with its reason, delays nothing else, and can be replayed."""

from __future__ import annotations

import time

from common.messaging.streams import dead_letters, replay
from tests.common.stage import BLOCK_MS, STREAM, Stage, finish, read_entries

FIELDS = {"type": "some.thing", "data": '{"a": 1}'}


async def dead_lettered(stage: Stage, error: str = "ValueError: no") -> None:
    mailbox = stage.mailbox()
    await mailbox.create()
    await stage.redis.xadd(STREAM, FIELDS)  # type: ignore[arg-type]
    (entry,) = await read_entries(mailbox, 1, BLOCK_MS)
    await mailbox.count_failure(entry)
    await mailbox.dead_letter(entry, error, attempts=5)


async def test_a_dead_letter_has_the_entry_and_the_reason(stage: Stage) -> None:
    await dead_lettered(stage)
    (letter,) = await stage.dead()
    assert letter.items() >= FIELDS.items()
    assert (letter["dead_error"], letter["dead_attempts"]) == ("ValueError: no", "5")
    assert abs(int(letter["dead_time"]) / 1000 - time.time()) < 60
    assert letter["dead_entry"].partition("-")[2].isdigit()


async def test_a_dead_lettered_entry_leaves_nothing_in_its_mailbox(stage: Stage) -> None:
    await dead_lettered(stage)
    assert await stage.left() == 0
    assert await stage.pending() == {}
    assert await stage.redis.keys("attempts:*") == []


async def test_any_error_can_be_the_reason_of_a_dead_letter(stage: Stage) -> None:
    """An error's text quotes its input: longer than anybody reads, and with characters that UTF-8 cannot encode."""
    await dead_lettered(stage, "\ud800" + "ü" * 100_000)
    (letter,) = await stage.dead()
    assert letter["dead_error"].startswith("?üüü")
    assert len(letter["dead_error"]) == 2000


async def test_a_replayed_letter_is_unchanged_and_has_no_failures(stage: Stage) -> None:
    await dead_lettered(stage)
    (letter,) = await stage.entries(dead_letters(STREAM))
    assert await replay(stage.redis, STREAM, [letter.id]) == 1
    assert await stage.dead() == []
    (entry,) = await read_entries(stage.mailbox(), 10, BLOCK_MS)
    assert {key.decode(): value.decode() for key, value in entry.fields.items()} == FIELDS
    assert await stage.mailbox().count_failure(entry) == 1


async def test_only_the_letters_that_were_named_are_replayed(stage: Stage) -> None:
    await dead_lettered(stage)
    await dead_lettered(stage)
    first, second = await stage.entries(dead_letters(STREAM))
    assert await replay(stage.redis, STREAM, [first.id.decode(), "1-1"]) == 1
    assert await stage.entries(dead_letters(STREAM)) == [second]


async def test_an_entry_that_another_has_finished_does_not_fail_and_is_not_dead_lettered(stage: Stage) -> None:
    """A consumer that was paused for long still has an entry that another has claimed and finished meanwhile."""
    slow, quick = stage.mailbox("slow"), stage.mailbox("quick")
    await slow.create()
    await stage.redis.xadd(STREAM, FIELDS)  # type: ignore[arg-type]
    (entry,) = await read_entries(slow, 1, BLOCK_MS)
    await stage.abandon([entry], "slow")
    await finish(quick, await read_entries(quick, 1, BLOCK_MS))
    assert await slow.count_failure(entry) == 0
    await slow.dead_letter(entry, "too late", attempts=5)
    assert await stage.dead() == []
    assert await stage.redis.keys("attempts:*") == []


async def test_an_entry_that_another_has_dead_lettered_makes_no_second_letter(stage: Stage) -> None:
    one, two = stage.mailbox("one"), stage.mailbox("two")
    await one.create()
    await stage.redis.xadd(STREAM, FIELDS)  # type: ignore[arg-type]
    (entry,) = await read_entries(one, 1, BLOCK_MS)
    await one.dead_letter(entry, "first", attempts=5)
    await two.dead_letter(entry, "second", attempts=6)
    assert [letter["dead_error"] for letter in await stage.dead()] == ["first"]
