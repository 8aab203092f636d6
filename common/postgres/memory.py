"""Rows as this process wrote or read them last, so that it can decide without asking for them.

Memory proposes, Postgres decides: what was decided from it is saved by a statement that compares each row's
revision (`sql.revision`), and what does not fit is dropped here and handled again from what the database holds.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from common.runtime.outages import Away
from common.runtime.telemetry import Metrics

K = TypeVar("K")
V = TypeVar("V")


class Memory(Generic[K, V]):
    """At most `entries_max` rows of one kind; the least recently used go first. With 0 nothing is remembered."""

    def __init__(self, kind: str, entries_max: int, metrics: Metrics) -> None:
        self.entries_max = entries_max
        # The least recently used first.
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._found = metrics.memory_reads.labels(kind, "found")
        self._missing = metrics.memory_reads.labels(kind, "missing")
        metrics.memory_entries.labels(kind).set_function(self._entries.__len__)

    def find(self, keys: Iterable[K]) -> dict[K, V]:
        """What is remembered of these; the others are left out."""
        found: dict[K, V] = {}
        missing = 0
        for key in keys:
            if (value := self._entries.get(key)) is None:
                missing += 1
            else:
                self._entries.move_to_end(key)
                found[key] = value
        self._found.inc(len(found))
        self._missing.inc(missing)
        return found

    def keep(self, values: Mapping[K, V]) -> None:
        """Remember these as they are now: after the commit, or as they were read."""
        if not self.entries_max:
            return
        for key, value in values.items():
            self._entries[key] = value
            self._entries.move_to_end(key)
        while len(self._entries) > self.entries_max:
            self._entries.popitem(last=False)

    def drop(self, keys: Iterable[K]) -> None:
        """Forget these: they are not what the database holds, or are no longer needed."""
        for key in keys:
            self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries.clear()


@contextmanager
def dropped_in_doubt(*memories: Memory[Any, Any]) -> Iterator[None]:
    """Drop all of these memories when the block ends without an answer: a lost connection, time that ran out, or a
    cancellation leave it open what the database holds, or which database it is."""
    try:
        yield
    except (Away, TimeoutError, asyncio.CancelledError):
        for memory in memories:
            memory.clear()
        raise
