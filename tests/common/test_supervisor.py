"""Background tasks do not fail without a log line, and end when they are asked to."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from common.runtime import supervisor as module
from common.runtime.supervisor import Supervisor, cancel, raise_if_cancelled


async def broken() -> None:
    raise RuntimeError("broken")


async def cancelled_by_nobody() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def cancelled_by_a_task_group() -> None:
    """Before Python 3.13 the group leaves its task counted as one that is being cancelled."""

    async def broken_later() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("broken")

    with suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(broken_later())
    raise asyncio.CancelledError


async def endless() -> None:
    await asyncio.Event().wait()


async def done() -> None:
    return


@pytest.mark.parametrize("work", [broken, cancelled_by_nobody, cancelled_by_a_task_group])
async def test_a_task_that_fails_stops_the_process(work: object) -> None:
    supervisor = Supervisor()
    with capture_logs() as logs:
        task = supervisor.spawn("worker", work())  # type: ignore[operator]
        await asyncio.wait({task})
        async with asyncio.timeout(5):
            await supervisor.stop.wait()
    assert supervisor.failed
    assert [(line["event"], line["task"], line["log_level"]) for line in logs] == [
        ("task died", "worker", "critical")
    ]


async def test_a_task_that_ends_or_is_cancelled_is_no_failure() -> None:
    supervisor = Supervisor()
    await supervisor.spawn("short", done())
    await cancel(supervisor.spawn("long", endless()))
    assert not supervisor.failed
    assert not supervisor.stop.is_set()


async def test_a_task_that_finishes_in_time_is_not_cancelled() -> None:
    task = asyncio.create_task(done())
    await Supervisor().finish(task, 5)
    assert not task.cancelled()


async def test_a_task_that_does_not_finish_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_SECONDS", 0.01)
    task = asyncio.create_task(endless())
    with capture_logs() as logs:
        await Supervisor().finish(task, 0.01)
    assert task.cancelled()
    assert logs[0]["event"] == "cancelled at stop"


async def test_a_stop_has_one_end_for_all_that_ends_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that is asked when the time is over still has a last moment."""
    monkeypatch.setattr(module, "LAST_SECONDS", 0.01)
    supervisor = Supervisor()
    slow, next = (asyncio.create_task(endless()) for _ in range(2))
    started = asyncio.get_running_loop().time()
    await supervisor.finish(slow, 0.2)
    await supervisor.finish(next, 10)
    assert slow.cancelled()
    assert next.cancelled()
    assert asyncio.get_running_loop().time() - started < 5
    assert supervisor.seconds_left() == 0


async def test_a_task_that_swallows_the_first_cancellation_gets_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CANCEL_AGAIN_SECONDS", 0.01)
    missed = 0

    async def deaf() -> None:
        nonlocal missed
        try:
            await endless()
        except asyncio.CancelledError:
            missed += 1
        await endless()

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await cancel(task)
    assert (missed, task.cancelled()) == (1, True)


async def test_a_loop_raises_a_swallowed_cancellation() -> None:
    rounds = 0

    async def loop() -> None:
        nonlocal rounds
        while True:
            raise_if_cancelled()
            rounds += 1
            try:
                await endless()
            except asyncio.CancelledError:
                continue  # as a library swallows it

    task = asyncio.create_task(loop())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    assert (rounds, task.cancelled()) == (1, True)
