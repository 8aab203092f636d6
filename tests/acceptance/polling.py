"""The one place where a test polls, for what no event announces.

Most things are announced: by a response, a message on a socket, the end of a process. That a fleet is ready again
after its servers came back, or that mailboxes are empty, is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

# Longer than the slowest recovery: a claim's idle time, the reconciler's first retry, or a webhook sent again.
MOST_SECONDS = 40.0
EVERY_SECONDS = 0.05

T = TypeVar("T")


async def eventually(
    read: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], *, seconds: float = MOST_SECONDS
) -> T:
    """Call `read` until its result is `wanted`, and return that. Raises AssertionError, with the last result, after
    `seconds`.

    When `read` takes long, the pauses are as long: the processes that it reads need the CPU for their work.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while True:
        began = clock()
        found = await read()
        if wanted(found):
            return found
        ended = clock()
        if ended > deadline:
            raise AssertionError(f"still not so after {seconds} s: {found}")
        await asyncio.sleep(max(EVERY_SECONDS, ended - began))
