"""The one place where a test looks again and again, for what gives no sign of its own.

Most things do: a response, a message on a socket, the end of a process. That a fleet is ready again after its
servers came back, or that mailboxes have run empty, is nowhere announced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

# Longer than the slowest healing: a claim's idle time, the settler's first wait, a webhook sent again.
MOST_SECONDS = 40.0
EVERY_SECONDS = 0.05

T = TypeVar("T")


async def eventually(
    look: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], *, seconds: float = MOST_SECONDS
) -> T:
    """What `look` gives once it is `wanted`. Raises AssertionError with the last look after `seconds`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = await look()
        if wanted(found):
            return found
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"still not so after {seconds} s: {found}")
        await asyncio.sleep(EVERY_SECONDS)
