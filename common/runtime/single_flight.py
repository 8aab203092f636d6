"""Callers at the same time share one call: however many there are, the resource is asked once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class SingleFlight(Generic[P, T]):
    """Calls `call` for the first caller; those who call it for the same key before it has ended get the same
    result, or its error."""

    def __init__(self, call: Callable[P, Awaitable[T]], key: Callable[..., object] | None = None) -> None:
        """`key` makes a key of the arguments, which is hashable. Without it there is one for all."""
        self._call = call
        self._key = key
        self._under_way: dict[object, asyncio.Future[T]] = {}

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        key = None if self._key is None else self._key(*args, **kwargs)
        if (flight := self._under_way.get(key)) is None:
            flight = self._under_way[key] = asyncio.ensure_future(self._call(*args, **kwargs))
            flight.add_done_callback(partial(self._ended, key))
        # A caller that is cancelled does not cancel it for the others.
        return await asyncio.shield(flight)

    def _ended(self, key: object, _: asyncio.Future[T]) -> None:
        del self._under_way[key]
