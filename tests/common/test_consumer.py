"""An actor handles batches; one poison entry harms no other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from common.contracts.messages import CancelPaymentIntent, SyncPayment
from common.messaging import batch
from common.messaging.batch import in_order
from common.messaging.envelope import Delivery, Envelope, envelope_for
from common.messaging.streams import Entry, dead_letters
from common.runtime.outages import DatabaseOutage
from tests.common.stage import (
    STREAM,
    Recorder,
    Stage,
    cancel,
    failing,
    read_entries,
    subjects,
    sync,
    until,
    unwritable,
)

# Claims come soon, and a handler still has enough time on two busy cores.
QUICK = {"claim_idle_ms": 700, "handler_timeout_ms": 300}


async def test_what_waits_is_handled_as_one_batch(stage: Stage) -> None:
    sent = [sync() for _ in range(50)]
    await stage.bus.publish(sent)
    handler = Recorder()
    async with stage.acting({SyncPayment: handler}):
        await until(stage.idle)
    assert handler.batches == [subjects(sent)]
    assert stage.count(SyncPayment, "done") == 50


async def test_a_batch_is_no_larger_than_its_limit(stage: Stage) -> None:
    sent = [sync() for _ in range(7)]
    await stage.bus.publish(sent)
    handler = Recorder()
    async with stage.acting({SyncPayment: handler}, batch_max=3):
        await until(stage.idle)
    assert [len(batch) for batch in handler.batches] == [3, 3, 1]
    assert handler.handled == subjects(sent)


async def test_each_kind_of_message_goes_to_its_handler(stage: Stage) -> None:
    syncs, cancels = [sync(), sync()], [cancel(), cancel()]
    await stage.bus.publish([syncs[0], cancels[0], syncs[1], cancels[1]])
    syncing, cancelling = Recorder(), Recorder()
    async with stage.acting({SyncPayment: syncing, CancelPaymentIntent: cancelling}):
        await until(stage.idle)
    assert (syncing.batches, cancelling.batches) == ([subjects(syncs)], [subjects(cancels)])


async def test_what_follows_is_published_before_the_entry_is_acknowledged(stage: Stage) -> None:
    follow = sync()
    seen: list[int] = []

    async def act(deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        seen.append(await stage.left())
        return [follow] if deliveries[0].envelope.subject == cause.subject else []

    cause = sync()
    await stage.bus.publish([cause])
    handler = Recorder(act)
    async with stage.acting({SyncPayment: handler}):
        await until(lambda: len(handler.batches) == 2)
        await until(stage.idle)
    assert handler.handled == subjects([cause, follow])
    assert seen == [1, 1]


async def test_a_poison_entry_harms_no_other_entry(stage: Stage) -> None:
    sent = [sync() for _ in range(6)]
    poison = sent[2].subject
    await stage.bus.publish(sent)
    handler = Recorder(failing(poison))
    async with stage.acting({SyncPayment: handler}):
        await until(lambda: len(handler.batches) == 7)
        await until(lambda: stage.count(SyncPayment, "failed") == 1)
    assert handler.batches == [subjects(sent), *([subject] for subject in subjects(sent))]
    assert stage.count(SyncPayment, "done") == 5
    assert await stage.pending() == {"one": 1}
    assert await stage.dead() == []


async def test_a_poison_entry_ends_as_a_dead_letter(stage: Stage) -> None:
    sent = [sync() for _ in range(3)]
    poison = sent[1].subject
    await stage.bus.publish(sent)
    handler = Recorder(failing(poison, ValueError("cannot be right")))
    with capture_logs() as logs:
        async with stage.acting({SyncPayment: handler}, attempts_max=3, **QUICK):
            await until(stage.idle)
    (letter,) = await stage.dead()
    assert (letter["subject"], letter["dead_attempts"]) == (poison, "3")
    assert letter["dead_error"] == "ValueError: cannot be right"
    assert (stage.count(SyncPayment, "failed"), stage.count(SyncPayment, "dead")) == (2, 1)
    logged = [(line["outcome"], line["attempt"]) for line in logs if line.get("subject") == poison]
    assert logged == [("failed", 1), ("failed", 2), ("dead", 3)]
    assert all(isinstance(line["exc_info"], ValueError) for line in logs if line.get("subject") == poison)


async def test_an_entry_that_fails_at_first_and_then_works_is_done(stage: Stage) -> None:
    async def act(_: Sequence[Delivery]) -> None:
        if len(handler.batches) == 1:
            raise RuntimeError("once")

    await stage.bus.publish([sync()])
    handler = Recorder(act)
    async with stage.acting({SyncPayment: handler}, **QUICK):
        await until(stage.idle)
    assert len(handler.batches) == 2
    assert await stage.redis.keys("attempts:*") == []


async def test_a_handler_over_its_time_limit_is_cancelled(stage: Stage) -> None:
    stuck, fine = sync(), sync()

    async def act(deliveries: Sequence[Delivery]) -> None:
        if stuck.subject in subjects(deliveries):
            await asyncio.Event().wait()

    await stage.bus.publish([stuck, fine])
    handler = Recorder(act)
    async with stage.acting({SyncPayment: handler}, handler_timeout_ms=200, claim_idle_ms=1000, attempts_max=1):
        await until(stage.idle)
    (letter,) = await stage.dead()
    assert (letter["subject"], letter["dead_error"]) == (stuck.subject, "TimeoutError: ")
    assert stage.count(SyncPayment, "done") == 1


GARBAGE = {
    "no message": {"hello": "world"},
    "no JSON": {"type": "payment.sync", "data": "{", "subject": "x", "id": "1"},
    "wrong data": {"type": "payment.sync", "data": '{"booking_id": 7}', "subject": "x", "id": "1"},
    "no UTF-8": {"type": b"\xff", "data": "{}", "subject": "x", "id": "1"},
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_an_undecodable_entry_is_dead_lettered_at_once(stage: Stage, garbage: dict[str, str | bytes]) -> None:
    good = sync()
    await stage.redis.xadd(STREAM, garbage)  # type: ignore[arg-type]
    await stage.bus.publish([good])
    handler = Recorder()
    async with stage.acting({SyncPayment: handler}):
        await until(stage.idle)
    assert handler.batches == [[good.subject]]
    (letter,) = await stage.entries(dead_letters(STREAM))
    assert letter.fields[b"dead_error"].startswith(b"undecodable: ")
    assert letter.fields[b"dead_attempts"] == b"1"
    assert stage.count(None, "undecodable") == 1


async def test_an_undecodable_entry_is_dead_lettered_once_though_its_batch_fails(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "BROKEN_MAX", 1)
    sent = [sync() for _ in range(3)]
    await stage.redis.xadd(STREAM, {"hello": "world"})
    await stage.bus.publish(sent)
    handler = Recorder(failing(sent[0].subject, DatabaseOutage("for a moment")))
    async with stage.acting({SyncPayment: handler}):
        await until(lambda: stage.count(SyncPayment, "failed") == 1)
        await until(lambda: stage.count(SyncPayment, "done") == 2)
    assert len(await stage.dead()) == 1


async def test_abandoned_entries_are_claimed(stage: Stage) -> None:
    sent = [sync(), sync()]
    gone = stage.mailbox("gone")
    await gone.create()
    await stage.bus.publish(sent)
    await stage.abandon(await read_entries(gone, 10, 10), "gone")
    handler = Recorder()
    with capture_logs() as logs:
        async with stage.acting({SyncPayment: handler}):
            await until(stage.idle)
    assert handler.handled == subjects(sent)
    assert [line["reclaimed"] for line in logs if line["event"] == "message"] == [True, True]


async def test_a_mailbox_that_is_lost_while_the_actor_reads_is_created_again(stage: Stage) -> None:
    handler = Recorder()
    async with stage.acting({SyncPayment: handler}):
        await until(lambda: stage.reason() is None)
        await stage.redis.flushdb()
        await stage.bus.publish([late := sync()])
        await until(lambda: handler.handled == [late.subject])
        await until(stage.idle)


def delivered(envelope: Envelope) -> Delivery:
    return Delivery(Entry(b"1-1", {}), envelope)


async def first(_: Sequence[Delivery]) -> Iterable[Envelope]:
    return ()


async def second(_: Sequence[Delivery]) -> Iterable[Envelope]:
    return ()


A, B = uuid4(), uuid4()


@pytest.mark.parametrize(
    ("batch", "groups"),
    [
        ([], []),
        ([sync(A), sync(B), sync(A)], [("sync", 3)]),
        ([sync(A), cancel(B), sync(B)], [("sync", 1), ("cancel", 1), ("sync", 1)]),
        ([sync(A), cancel(B), sync(A)], [("sync", 2), ("cancel", 1)]),
        ([sync(A), cancel(A), sync(A)], [("sync", 1), ("cancel", 1), ("sync", 1)]),
        ([cancel(A), sync(B), sync(A), cancel(B)], [("cancel", 1), ("sync", 2), ("cancel", 1)]),
    ],
)
def test_messages_about_one_subject_keep_their_order(batch: list[Envelope], groups: list[tuple[str, int]]) -> None:
    names = {first: "sync", second: "cancel"}
    grouped = in_order([delivered(each) for each in batch], {SyncPayment: first, CancelPaymentIntent: second})
    assert [(names[handler], len(group)) for handler, group in grouped] == groups  # type: ignore[index]
    for subject in {each.subject for each in batch}:
        handled = [each.envelope for _, group in grouped for each in group if each.envelope.subject == subject]
        assert handled == [each for each in batch if each.subject == subject]


async def test_batches_run_side_by_side_up_to_the_concurrency(stage: Stage) -> None:
    running, most = 0, 0
    release = asyncio.Event()

    async def act(deliveries: Sequence[Delivery]) -> None:
        nonlocal running, most
        running += len(deliveries)
        most = max(most, running)
        await release.wait()
        running -= len(deliveries)

    sent = [sync() for _ in range(10)]
    handler = Recorder(act)
    async with stage.acting({SyncPayment: handler}, concurrency=4, batch_max=2):
        await stage.bus.publish(sent)
        await until(lambda: len(handler.batches) == 2)
        assert running == 4
        assert sum((await stage.pending()).values()) == 4
        release.set()
        await until(stage.idle)
    assert most == 4
    assert sorted(handler.handled) == sorted(subjects(sent))


async def test_a_slow_entry_occupies_one_slot(stage: Stage) -> None:
    slow = sync()
    release = asyncio.Event()

    async def act(deliveries: Sequence[Delivery]) -> None:
        if slow.subject in subjects(deliveries):
            await release.wait()

    handler = Recorder(act)
    async with stage.acting({SyncPayment: handler}, concurrency=2):
        await stage.bus.publish([slow])
        await until(lambda: handler.handled == [slow.subject])
        quick = [sync() for _ in range(5)]
        await stage.bus.publish(quick)
        await until(lambda: len(handler.handled) == 6)
        release.set()
        await until(stage.idle)


async def test_each_message_has_one_line_in_the_log(stage: Stage) -> None:
    sent = [sync(), sync()]
    await stage.bus.publish(sent)
    with capture_logs() as logs:
        async with stage.acting({SyncPayment: Recorder()}):
            await until(stage.idle)
    lines = [line for line in logs if line["event"] == "message"]
    assert [(line["subject"], line["id"], line["trace"]) for line in lines] == [
        (each.subject, each.id, each.traceparent[3:35]) for each in sent
    ]
    for line in lines:
        assert (line["type"], line["outcome"], line["mailbox"], line["batch"]) == (
            *("payment.sync", "done", STREAM),
            2,
        )
        assert line["ms"] >= 0


async def test_a_line_in_the_log_names_who_asked(stage: Stage) -> None:
    """Where nobody did, it has no such field."""
    ids = [uuid4(), uuid4()]
    asked = SyncPayment(booking_id=ids[0], decided=True, by="root"), SyncPayment(booking_id=ids[1])
    await stage.bus.publish([envelope_for(each, each.booking_id) for each in asked])
    with capture_logs() as logs:
        async with stage.acting({SyncPayment: Recorder()}):
            await until(stage.idle)
    found = {line["subject"]: line.get("by", "nobody") for line in logs if line["event"] == "message"}
    assert found == {str(ids[0]): "root", str(ids[1]): "nobody"}


async def test_what_follows_from_a_full_batch_does_not_wait_for_the_next_one(stage: Stage) -> None:
    sent = [sync(), sync()]

    async def first_is_gone() -> bool:
        return await stage.left() == 1

    async def act(deliveries: Sequence[Delivery]) -> None:
        if deliveries[0].envelope.subject == sent[1].subject:
            await until(first_is_gone)

    await stage.bus.publish(sent)
    handler = Recorder(act)
    async with stage.acting({SyncPayment: handler}, batch_max=1):
        await until(stage.idle)
    assert handler.handled == subjects(sent)


@pytest.mark.parametrize("batch_max", [1, 10])
async def test_a_reply_that_cannot_be_written_is_the_fault_of_its_entry_only(stage: Stage, batch_max: int) -> None:
    """The entry is poison: all other messages are published, alone or in its batch."""

    async def act(deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        return [envelope_for(unwritable(), "x") for each in deliveries if each.envelope.subject == poison]

    sent = [sync() for _ in range(3)]
    poison = sent[1].subject
    await stage.bus.publish(sent)
    async with stage.acting({SyncPayment: Recorder(act)}, attempts_max=1, batch_max=batch_max):
        await until(stage.idle)
    assert [letter["subject"] for letter in await stage.dead()] == [poison]
    assert stage.count(SyncPayment, "done") == 2
