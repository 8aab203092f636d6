"""Callers at the same time share one call: however many there are, the resource is asked once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Calls `call` for the first caller; those who call before it has ended get the same result, or its error."""

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._under_way: asyncio.Future[T] | None = None

    async def __call__(self) -> T:
        if self._under_way is None:
            self._under_way = asyncio.ensure_future(self._call())
            self._under_way.add_done_callback(self._ended)
        # A caller that is cancelled does not cancel it for the others.
        return await asyncio.shield(self._under_way)

    def _ended(self, _: asyncio.Future[T]) -> None:
        self._under_way = None
