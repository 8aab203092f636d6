"""The one place where a test looks again and again, for what gives no sign of its own.

Most things do: a response, a message on a socket, the end of a process. That a fleet is ready again after its
servers came back, or that mailboxes have run empty, is nowhere announced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

# Longer than the slowest healing: a claim's idle time, the reconciler's first wait, a webhook sent again.
MOST_SECONDS = 40.0
EVERY_SECONDS = 0.05

T = TypeVar("T")


async def eventually(
    look: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], *, seconds: float = MOST_SECONDS
) -> T:
    """What `look` gives once it is `wanted`. Raises AssertionError with the last look after `seconds`.

    Looks that take long are rarer: those that are looked at need the CPU for their work.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while True:
        began = clock()
        found = await look()
        if wanted(found):
            return found
        ended = clock()
        if ended > deadline:
            raise AssertionError(f"still not so after {seconds} s: {found}")
        await asyncio.sleep(max(EVERY_SECONDS, ended - began))
