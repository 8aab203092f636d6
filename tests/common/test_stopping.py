"""To stop means: read no more, finish what was read, acknowledge it, end. A failure never ends an actor
silently."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from redis.exceptions import ResponseError

from common.contracts.messages import SyncPayment
from common.messaging.consumer import Consumer, run_all
from common.messaging.envelope import Delivery
from tests.common.stage import STREAM, WAIT_MAX_SECONDS, Recorder, Stage, subjects, sync, until


class Held:
    """A handler that works until the test lets it end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = 0

    async def __call__(self, _: Sequence[Delivery]) -> None:
        self.begun.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def ended(task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(WAIT_MAX_SECONDS):
        await task


@pytest.mark.parametrize("concurrency", [None, 1, 4])
async def test_a_stopped_actor_finishes_what_it_read_and_reads_no_more(
    stage: Stage, concurrency: int | None
) -> None:
    held = Held()
    handler = Recorder(held)
    read, late = sync(), sync()
    await stage.bus.publish([read])
    actor = stage.consumer({SyncPayment: handler}, concurrency=concurrency)
    running = asyncio.create_task(actor.run())
    await held.begun.wait()
    actor.stop()
    await stage.bus.publish([late])
    held.release.set()
    await ended(running)
    assert handler.handled[0] == read.subject
    if concurrency != 4:  # with slots free, a read was under way when the stop came
        assert handler.handled == [read.subject]
        assert await stage.left() == 1
    assert await stage.pending() == {}


async def test_a_stopped_actor_is_not_ready(stage: Stage) -> None:
    actor = stage.consumer({SyncPayment: Recorder()})
    running = asyncio.create_task(actor.run())
    await until(lambda: stage.reason() is None)
    assert await stage.health.problems() == {}
    actor.stop()
    await ended(running)
    assert await stage.health.problems() == {STREAM: "stopped"}


async def test_the_other_entries_of_a_failed_batch_are_finished_at_a_stop(stage: Stage) -> None:
    sent = [sync() for _ in range(4)]
    handler = Recorder()

    async def act(deliveries: Sequence[Delivery]) -> None:
        actor.stop()
        if sent[0].subject in subjects(deliveries):
            raise RuntimeError("poison")

    handler.act = act
    await stage.bus.publish(sent)
    actor = stage.consumer({SyncPayment: handler})
    await ended(asyncio.create_task(actor.run()))
    assert stage.count(SyncPayment, "done") == 3
    assert await stage.left() == 1


async def test_a_stop_does_not_wait_for_the_end_of_an_outage(stage: Stage) -> None:
    async def act(_: Sequence[Delivery]) -> None:
        stage.database.unavailable = True
        stage.database.check()

    await stage.bus.publish([sync(), sync()])
    actor = stage.consumer({SyncPayment: Recorder(act)})
    running = asyncio.create_task(actor.run())
    await until(lambda: "unavailable" in str(stage.reason()))
    actor.stop()
    async with asyncio.timeout(5):
        await running
    assert await stage.pending() == {"one": 2}
    assert stage.count(SyncPayment, "failed") == 0


async def test_a_short_outage_at_a_stop_leaves_no_work_pending(stage: Stage) -> None:
    async def act(_: Sequence[Delivery]) -> None:
        actor.stop()
        if len(handler.batches) == 1:
            raise ConnectionRefusedError("for a moment")

    handler = Recorder(act)
    await stage.bus.publish([sync(), sync()])
    actor = stage.consumer({SyncPayment: handler})
    await ended(asyncio.create_task(actor.run()))
    assert await stage.left() == 0


async def test_a_cancelled_actor_drops_what_is_in_hand(stage: Stage) -> None:
    held = Held()
    await stage.bus.publish([sync()])
    running = asyncio.create_task(stage.consumer({SyncPayment: Recorder(held)}, concurrency=2).run())
    await held.begun.wait()
    running.cancel()
    # Sooner than the handler's own time limit.
    done, _ = await asyncio.wait([running], timeout=5)
    assert running in done
    assert held.cancelled == 1
    assert await stage.pending() == {"one": 1}


async def run_to_its_error(consumer: Consumer) -> BaseException:
    with pytest.raises(BaseExceptionGroup) as raised:
        async with asyncio.timeout(WAIT_MAX_SECONDS):
            await run_all([consumer])
    error: BaseException = raised.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error


async def test_an_unexpected_error_ends_the_actor(stage: Stage) -> None:
    await stage.redis.set(STREAM, "this is no stream")
    assert isinstance(await run_to_its_error(stage.consumer({SyncPayment: Recorder()})), ResponseError)


async def test_a_loop_cancelled_from_inside_ends_the_actor(stage: Stage) -> None:
    async def act(_: Sequence[Delivery]) -> None:
        cancelled = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        await cancelled

    await stage.bus.publish([sync()])
    error = await run_to_its_error(stage.consumer({SyncPayment: Recorder(act)}))
    assert str(error) == "what a consumer awaited was cancelled"
