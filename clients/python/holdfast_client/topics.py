"""What is watched, and who watches it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from holdfast_client.errors import HoldfastError

T = TypeVar("T")
# What can be watched, by the member of messages that has it.
Kind = Literal["booking", "event", "waiting_entry"]
KINDS: tuple[Kind, ...] = ("booking", "event", "waiting_entry")


class Topic:
    """What is watched, with the newest state that is known of it."""

    def __init__(self, kind: Kind, id: str) -> None:
        self.kind: Kind = kind
        self.id = id
        self.value: Any = None
        # Grows with each change of `value`, so that a watcher sees that there is something new.
        self.changes = 0
        # Whether this connection has sent a snapshot.
        self.answered = False
        self.watchers = 0
        # How watching ends: by an error, or because the client was closed.
        self.ended = False
        self.error: BaseException | None = None
        self._changed = asyncio.Event()

    @property
    def target(self) -> dict[str, str]:
        """As messages name it."""
        return {f"{self.kind}_id": self.id}

    def receive(self, value: Any, *, snapshot: bool) -> None:
        """The first snapshot of a connection replaces what is known, also with a lower version: a database may have
        come back older than it was. Otherwise what is no newer is dropped; but two states of an event may have one
        version."""
        replaces = self.value is None or (snapshot and not self.answered)
        self.answered = self.answered or snapshot
        if replaces or value["version"] >= self.value["version"] + (self.kind != "event"):
            self.change(value)

    def change(self, value: Any) -> None:
        self.value = value
        self.changes += 1
        self._wake()

    def end(self, error: BaseException | None) -> None:
        self.ended, self.error = True, error
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Returns with the next change or the end."""
        await self._changed.wait()


class Watch(Generic[T]):
    """The states of what is watched: as it is now, then with each change. Of states that follow each other
    at once only the last may come. `async with` subscribes and unsubscribes; within it use `async for`."""

    def __init__(self, join: Callable[[], Topic], leave: Callable[[Topic], None]) -> None:
        self._join = join
        self._leave = leave
        self._topic: Topic | None = None
        self._seen = 0

    async def __aenter__(self) -> Self:
        self._topic = self._join()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._topic is not None:
            self._leave(self._topic)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """Raises HoldfastError where it cannot be watched."""
        topic = self._topic
        if topic is None:
            raise HoldfastError("closed", "Use it in `async with`")
        if topic.changes == self._seen and not topic.ended:
            await topic.changed()
        if topic.error is not None:
            raise topic.error
        if topic.ended:
            raise StopAsyncIteration
        self._seen = topic.changes
        value: T = topic.value
        return value
