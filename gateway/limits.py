"""Limits on what is under way: load shedding by the mailboxes' lengths, and slots for requests."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from aiohttp import web

from common.contracts.errors import HoldfastError, Unavailable
from common.contracts.messages import (
    BOOKING_COMMANDS,
    BOOKING_DOOR,
    BOOKING_QUERIES,
    PAYMENT_INTENTS,
    PAYMENT_QUERIES,
)
from common.messaging.publisher import Publisher
from common.runtime.background import repeat
from common.runtime.health import Gate
from gateway.settings import GatewaySettings

WATCHED = (BOOKING_COMMANDS, BOOKING_QUERIES, BOOKING_DOOR, PAYMENT_INTENTS, PAYMENT_QUERIES)
# The longest pause before an unreachable Redis is tried again: requests are refused meanwhile.
RESAMPLE_MAX_SECONDS = 1.0
# Retry-After of a refused request is drawn from this range, in seconds, so that clients do not all return at once.
RETRY_AFTER_SECONDS = (1, 5)


def overloaded() -> HoldfastError:
    """The error for a request that finds too many others waiting."""
    return Unavailable("Too many requests are waiting already", retry_after=random.randint(*RETRY_AFTER_SECONDS))


class LoadShedder:
    """Refuses requests while Redis is unavailable or a mailbox is over its limit."""

    def __init__(
        self, bus: Publisher, listening: Gate, sampling: Gate, awaited: Mapping[str, int], settings: GatewaySettings
    ) -> None:
        """`listening` is open while this process receives replies, `sampling` while the mailboxes' lengths are
        known. `awaited`: this process' own calls without a reply, by mailbox; no sample is needed for them."""
        self.listening = listening
        self._bus = bus
        self._sampling = sampling
        self._awaited = awaited
        self._limit = settings.mailbox_limit
        self._sample_seconds = settings.mailbox_sample_ms / 1000
        self._lengths: Mapping[str, int] = {}

    def check(self, mailboxes: Sequence[str], share: float = 1.0) -> None:
        """Raises Unavailable, with Retry-After, unless a request may add to `mailboxes` now. `share`: the part of
        the limit up to which this kind of client may fill them."""
        if self.listening.reason is not None or self._sampling.reason is not None:
            raise Unavailable("The message bus cannot be reached")
        for mailbox in mailboxes:
            if max(self._lengths.get(mailbox, 0), self._awaited.get(mailbox, 0)) > self._limit * share:
                raise overloaded()

    async def run(self) -> None:
        """Sample the mailboxes' lengths until cancelled."""
        await repeat(self.sample, self._sampling, first_s=self._sample_seconds, most_s=RESAMPLE_MAX_SECONDS)

    async def sample(self) -> float:
        lengths = await self._bus.enqueue([("XLEN", mailbox) for mailbox in WATCHED])
        self._lengths = dict(zip(WATCHED, lengths, strict=True))
        return self._sample_seconds


class RequestSlots:
    """At most `most` requests are under way at once; the others wait for a slot in the order in which they came.

    Without slots all of them would be late: in a rush each would wait for the work of the others, be published a
    second time, and then time out. A request that waits here costs almost nothing.
    """

    def __init__(self, most: int, max_wait_seconds: float) -> None:
        self._free = asyncio.Semaphore(most)
        self._max_wait_seconds = max_wait_seconds
        self.waiting = 0  # requests without a slot

    async def __aenter__(self) -> None:
        """Raises Unavailable, with Retry-After, when no slot is free within `max_wait_seconds`."""
        if not self._free.locked():
            await self._free.acquire()
            return
        self.waiting += 1
        try:
            async with asyncio.timeout(self._max_wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise overloaded() from None
        finally:
            self.waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._free.release()


class SubjectSlots:
    """RequestSlots of which one subject has at most `each`.

    When thousands of sockets come back at once, only some read their snapshots at a time, and the sockets of one
    client do not keep those of another waiting.
    """

    def __init__(self, most: int, each: int, max_wait_seconds: float) -> None:
        self._all = RequestSlots(most, max_wait_seconds)
        self._each = each
        self._max_wait_seconds = max_wait_seconds
        # The slots of each subject that has a request under way or waiting.
        self._subjects: WeakValueDictionary[str, RequestSlots] = WeakValueDictionary()

    @asynccontextmanager
    async def slot(self, subject: str) -> AsyncIterator[None]:
        """Raises Unavailable, with Retry-After, when no slot is free within `max_wait_seconds`."""
        own = self._subjects.setdefault(subject, RequestSlots(self._each, self._max_wait_seconds))
        async with own, self._all:
            yield


BOOKING_SLOTS = web.AppKey("booking_slots", RequestSlots)
SNAPSHOT_SLOTS = web.AppKey("snapshot_slots", SubjectSlots)
LOAD_SHEDDER = web.AppKey("load_shedder", LoadShedder)
