"""Reads of what the booking actor has, again and again, beside the notifications that bring its changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import structlog

from common.contracts.errors import HoldfastError
from common.contracts.messages import Message
from common.runtime.backoff import Backoff
from common.runtime.outages import Outage
from common.runtime.supervisor import raise_if_cancelled, wait_at_most
from gateway.bookings import Json

# The most that one message lists.
PAGE = 200
# Each page of a read delays the next read by this many seconds, so that much to read does not mean many queries.
PAGE_PAUSE_SECONDS = 0.5

log = structlog.get_logger()


async def read_again(what: str, read: Callable[[], Awaitable[float]], sooner: asyncio.Event) -> None:
    """Call `read` until cancelled; it returns after how many seconds to call it again, which is at once when
    `sooner` is set. What cannot be read now is read later."""
    backoff = Backoff()
    while True:
        raise_if_cancelled()
        sooner.clear()
        try:
            pause = await read()
            backoff.reset()
        except (HoldfastError, Outage, KeyError, TypeError, ValueError) as error:  # also for a strange reply
            log.debug("not read", what=what, error=type(error).__name__)
            pause = backoff.next()
        await wait_at_most(sooner, pause)


async def pages(
    call: Callable[[Message], Awaitable[Json]], message: Callable[[Any], Message]
) -> AsyncIterator[Json]:
    """The replies to `message` of each page, which is made from the position where the page before ended."""
    position = None
    while True:
        answer = await call(message(position))
        yield answer
        if (position := answer.get("next")) is None:
            return
