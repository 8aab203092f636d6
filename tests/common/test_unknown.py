"""A message of a type that a process does not know waits for one that does, and delays nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from common.contracts.messages import CancelPaymentIntent, GetEvent, SyncPayment
from common.messaging import consumer as module
from common.messaging.envelope import Envelope
from common.messaging.streams import Entry
from common.messaging.unknown import PAGE, unknown_messages, waiting
from common.runtime import supervisor
from common.runtime.outages import RedisOutage
from ops.redis import RedisServer
from tests.common.stage import (
    BLOCK_MS,
    STREAM,
    Recorder,
    Stage,
    cancel,
    fields_of,
    finish,
    read_entries,
    sync,
    until,
)

UNKNOWN = unknown_messages(STREAM)
NEWER: Mapping[bytes, bytes] = {
    b"specversion": b"1.0",
    b"type": b"payment.of_a_newer_release",
    b"subject": b"s",
    b"id": b"1",
    b"data": b"\xff what nobody here can read",
    b"extension": b"of the newer release",
}


async def add(stage: Stage, fields: Mapping[bytes, bytes], stream: str = STREAM) -> None:
    await stage.redis.xadd(stream, dict(fields))  # type: ignore[arg-type]


async def unknown(stage: Stage) -> list[Mapping[bytes, bytes]]:
    return [entry.fields for entry in await stage.entries(UNKNOWN)]


async def nobody_reads(stage: Stage) -> bool:
    return not await stage.a_read_waits()


async def some_unknown(stage: Stage) -> bool:
    return bool(await unknown(stage))


async def test_an_unknown_type_is_set_aside_as_it_is(stage: Stage) -> None:
    """It is no work, no claim, no failure and no dead letter, and delays no other message."""
    await add(stage, NEWER)
    await stage.bus.publish([good := sync()])
    handler = Recorder()
    with capture_logs() as logs:
        async with stage.acting({SyncPayment: handler}):
            await until(stage.idle)
            await until(lambda: some_unknown(stage))
    assert await unknown(stage) == [NEWER]
    assert handler.handled == [good.subject]
    assert (await stage.left(), await stage.pending(), await stage.dead()) == (0, {}, [])
    assert await stage.redis.keys("attempts:*") == []
    assert (stage.count(None, "unknown"), stage.count(None, "undecodable")) == (1, 0)
    (line,) = [line for line in logs if line.get("outcome") == "unknown"]
    assert (line["log_level"], line["type"]) == ("warning", "payment.of_a_newer_release")


async def test_a_known_type_in_a_mailbox_where_it_is_new_is_set_aside(stage: Stage) -> None:
    """A newer release may have moved it there."""
    moved = GetEvent(event_id="01a2230e-2059-7434-96c4-26128727ef69")
    await stage.redis.xadd(STREAM, fields_of(Envelope(moved, STREAM, "x", "1", "", "")))
    async with stage.acting({SyncPayment: Recorder()}):
        await until(lambda: some_unknown(stage))
    assert await stage.dead() == []


@pytest.mark.parametrize("newer_first", [True, False])
async def test_a_process_that_knows_a_type_puts_it_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, newer_first: bool
) -> None:
    """Beside a process of the previous release, started before the messages or after; each is handled once."""
    monkeypatch.setattr(module, "HOUSEKEEPING_SECONDS", 0.05)
    old, new = Recorder(), Recorder()
    sent, known = [sync(), sync()], cancel()
    newer: dict[Any, Any] = {SyncPayment: new, CancelPaymentIntent: new}
    async with stage.acting({CancelPaymentIntent: old}, name="old", shared=True):
        if newer_first:
            async with stage.acting(newer, name="new", shared=True):
                await stage.bus.publish([*sent, known])
                await until(lambda: len(new.handled) + len(old.handled) == 3)
        else:
            await stage.bus.publish([*sent, known])
            await until(lambda: len(old.handled) == 1)
            await until(lambda: some_unknown(stage))
            async with stage.acting(newer, name="new", shared=True):
                await until(lambda: len(new.handled) + len(old.handled) == 3)
        await until(stage.idle)
    assert sorted(new.handled + old.handled) == sorted([known.subject, *(each.subject for each in sent)])
    assert {each.subject for each in sent} <= set(new.handled)
    assert (await unknown(stage), await stage.dead()) == ([], [])


async def test_a_process_puts_back_only_what_it_knows(stage: Stage) -> None:
    """However many others there are before them, one page at a time."""
    mailbox = stage.mailbox()
    await mailbox.create()
    for number in range(2 * PAGE + 10):
        await add(stage, NEWER if number % 3 else {**NEWER, b"type": b"payment.sync"}, UNKNOWN)
    backs = [await mailbox.put_back(["payment.sync"]) for _ in range(3)]
    assert [bool(back.last_checked) for back in backs] == [True, True, False]
    assert (sum(back.found for back in backs), await stage.left()) == (70, 70)
    assert await unknown(stage) == [NEWER] * (2 * PAGE + 10 - 70)
    assert backs[-1].left.messages == 2 * PAGE + 10 - 70
    assert (await mailbox.put_back(["payment.sync"])).found == 0


async def test_two_processes_that_put_back_at_once_make_no_copies(stage: Stage) -> None:
    one, two = stage.mailbox("one"), stage.mailbox("two")
    await one.create()
    for _ in range(PAGE):
        await add(stage, {**NEWER, b"type": b"payment.sync"}, UNKNOWN)
    results = await asyncio.gather(*(each.put_back(["payment.sync"]) for each in (one, two) * 2))
    assert (sum(each.found for each in results), await stage.left()) == (PAGE, PAGE)


@pytest.mark.parametrize("at_its_start", [True, False])
async def test_a_process_that_puts_messages_back_reads_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, at_its_start: bool
) -> None:
    """Otherwise the lease's holder, which does not know the message, would move it aside again and again."""
    monkeypatch.setattr("common.messaging.lease.LEASE_MS", 60_000)  # so that a slow machine does not lose it
    old, new = stage.mailbox("old", shared=True), stage.mailbox("new", shared=True)
    await old.create()
    assert await read_entries(old, 1, BLOCK_MS) == []
    if not at_its_start:
        assert await read_entries(new, 1, BLOCK_MS) == []
    await add(stage, NEWER, UNKNOWN)
    await old.put_back(["payment.cancel_intent"])
    read: list[Entry] = []

    async def read_on() -> None:
        while True:
            read.extend(await read_entries(old, 1, BLOCK_MS))

    reading = asyncio.create_task(read_on())
    assert (await new.put_back(["payment.of_a_newer_release"])).found == 1
    (entry,) = await read_entries(new, 1, BLOCK_MS)
    await supervisor.cancel(reading)
    assert (entry.fields, read) == (NEWER, [])
    # Otherwise its read, which may still wait at Redis, takes what the next test adds.
    await until(lambda: nobody_reads(stage))


async def test_an_entry_that_another_has_finished_is_not_set_aside(stage: Stage) -> None:
    slow, quick = stage.mailbox("slow"), stage.mailbox("quick")
    await slow.create()
    await add(stage, NEWER)
    (entry,) = await read_entries(slow, 1, BLOCK_MS)
    await slow.set_aside(entry)
    await quick.set_aside(Entry(entry.id, entry.fields))
    assert len(await unknown(stage)) == 1
    await add(stage, NEWER)
    (entry,) = await read_entries(slow, 1, BLOCK_MS)
    await finish(quick, [entry])
    await slow.set_aside(entry)
    assert len(await unknown(stage)) == 1


async def test_nothing_is_lost_where_redis_is_full(own_stage: Stage, own_redis: RedisServer) -> None:
    mailbox = own_stage.mailbox()
    await mailbox.create()
    await add(own_stage, NEWER)
    (entry,) = await read_entries(mailbox, 1, BLOCK_MS)
    await own_stage.redis.config_set("maxmemory", "1")
    for move in (mailbox.set_aside(entry), mailbox.dead_letter(entry, "error", 1)):
        with pytest.raises(RedisOutage, match="OOM"):
            await move
    assert (await own_stage.left(), await own_stage.pending()) == (1, {"one": 1})
    await own_stage.redis.config_set("maxmemory", "0")
    await mailbox.set_aside(entry)
    assert await unknown(own_stage) == [NEWER]


async def test_an_old_unknown_message_is_logged_as_an_error(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOUSEKEEPING_SECONDS", 0.01)
    seconds, _ = await stage.redis.time()
    await stage.redis.xadd(UNKNOWN, dict(NEWER), id=f"{(seconds - 700) * 1000}-0")  # type: ignore[arg-type]
    found = await waiting(stage.redis, [STREAM, "another"])
    assert found[STREAM].messages == 1
    assert 700 <= found[STREAM].oldest_s < 720
    assert found["another"] == (0, 0.0)
    with capture_logs() as logs:

        def loud() -> list[Any]:
            return [line for line in logs if line["event"] == "messages that nobody knows"]

        async with stage.acting({SyncPayment: Recorder()}):
            await until(lambda: len(loud()) > 1)
    assert {line["log_level"] for line in loud()} == {"error"}
    assert loud()[0]["messages"] == 1
