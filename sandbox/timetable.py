"""Items that become due at a time."""

import asyncio
import contextlib
import heapq
import time
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Timetable(Generic[Item]):
    """A heap by due time. A task that waits is woken by each change; nothing polls."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Item]] = []
        self._added = 0
        self._changed = asyncio.Event()
        self._paused = False

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due: float, item: Item) -> None:
        """Add an item that is due at `due`, in seconds since the epoch."""
        self._added += 1
        heapq.heappush(self._heap, (due, self._added, item))
        self._changed.set()

    def pause(self, paused: bool) -> None:
        """Return no item while paused."""
        self._paused = paused
        self._changed.set()

    async def take(self) -> Item:
        """Wait for the next item that is due, remove it and return it."""
        while True:
            wait = None
            if self._heap and not self._paused:
                wait = self._heap[0][0] - time.time()
                if wait <= 0:
                    return heapq.heappop(self._heap)[2]
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()
