"""Background tasks end when they are cancelled."""

from __future__ import annotations

import asyncio

import pytest

from common.runtime import supervisor


async def test_a_swallowed_cancellation_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Python 3.12 `asyncio.wait_for` swallows a cancellation if its awaitable completes at that moment."""
    monkeypatch.setattr(supervisor, "CANCEL_AGAIN_S", 0.01)
    swallowed = asyncio.Event()

    async def deaf() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await supervisor.cancel(task)
    assert swallowed.is_set()
    assert task.cancelled()
