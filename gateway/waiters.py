"""Requests that wait for news of a booking: by events alone, without polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from uuid import UUID

from aiohttp import web

from common.contracts.resources import Booking


class Heard:
    """A booking as its owner may see it, and its JSON, made once for all who are told."""

    def __init__(self, booking: Booking) -> None:
        self.booking = booking

    @cached_property
    def json(self) -> bytes:
        return self.booking.as_json()


def known(heard: Heard | None) -> bool:
    return heard is not None


def decided(heard: Heard | None) -> bool:
    """The client can go on: there is something to pay, or nothing more to wait for."""
    return heard is not None and not heard.booking.undecided


class Watch:
    """The newest that was heard of one booking."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.heard: Heard | None = None
        self._failure: Exception | None = None
        self._refusal: Exception | None = None
        self._news = asyncio.Event()

    def tell(self, heard: Heard) -> None:
        if self.heard is None or heard.booking.version >= self.heard.booking.version:
            self.heard = heard
            self._news.set()

    def fail(self, error: Exception) -> None:
        """There will be no booking: `until` raises `error`, unless there is one after all."""
        self._failure = error
        self._news.set()

    def refuse(self, error: Exception) -> None:
        """Another request has asked for what is heard of: `until` and `check` raise `error`, whatever is heard."""
        self._refusal = error
        self._news.set()

    def check(self) -> None:
        """Raises what the request was refused with."""
        if self._refusal is not None:
            raise self._refusal

    async def until(self, wanted: Callable[[Heard | None], bool], deadline: float) -> bool:
        """Wait for `wanted`, up to `deadline` (the loop's time); says whether it came true."""
        self.check()
        if wanted(self.heard):
            return True
        try:
            async with asyncio.timeout_at(deadline):
                while not wanted(self.heard):
                    if self._failure is not None and self.heard is None:
                        raise self._failure
                    self._news.clear()
                    await self._news.wait()
                    self.check()
        except TimeoutError:
            return wanted(self.heard)
        return True


class Waiters:
    """Who waits for which booking."""

    def __init__(self) -> None:
        self._watches: dict[UUID, set[Watch]] = {}

    @contextmanager
    def watch(self, booking_id: UUID, owner: str) -> Iterator[Watch]:
        """Hear of every change of the booking from now on, as long as it is `owner`'s."""
        watch = Watch(owner)
        self._watches.setdefault(booking_id, set()).add(watch)
        try:
            yield watch
        finally:
            self._watches[booking_id].discard(watch)
            if not self._watches[booking_id]:
                del self._watches[booking_id]

    def tell(self, owner: str, heard: Heard) -> None:
        for watch in self._watches.get(heard.booking.id, ()):
            if watch.owner == owner:
                watch.tell(heard)


WAITERS = web.AppKey("waiters", Waiters)
