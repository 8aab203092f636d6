"""Rows as this process wrote or read them last, so that it can decide without reading them again.

Memory proposes, Postgres decides: a decision from memory is saved by a statement that compares each row's revision
(`sql.revision`). A row whose revision differs is dropped here and handled again from what the database holds.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, TypeVar

import asyncpg

from common.postgres.database import Database
from common.runtime.outages import Outage
from common.runtime.telemetry import Metrics

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")


class Memory(Generic[K, V]):
    """At most `entries_max` rows of one kind; the least recently used are dropped first. With 0 none is kept."""

    def __init__(self, kind: str, entries_max: int, metrics: Metrics) -> None:
        self.entries_max = entries_max
        # The least recently used first.
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._found = metrics.memory_reads.labels(kind, "found")
        self._missing = metrics.memory_reads.labels(kind, "missing")
        metrics.memory_entries.labels(kind).set_function(self._entries.__len__)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def find(self, keys: Iterable[K]) -> dict[K, V]:
        """Those of `keys` that are in memory; the others are left out."""
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
        """Keep these as they are now: after the commit, or as they were read."""
        if not self.entries_max:
            return
        for key, value in values.items():
            self._entries[key] = value
            self._entries.move_to_end(key)
        while len(self._entries) > self.entries_max:
            self._entries.popitem(last=False)

    def drop(self, keys: Iterable[K]) -> None:
        """Drop these: they differ from what the database holds, or are no longer needed."""
        for key in keys:
            self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries.clear()


class BaseStore(Generic[R]):
    """A database, read and written by `rows` of a connection, with this process' memory of it. Raises
    DatabaseOutage during an outage."""

    def __init__(
        self, database: Database, rows: Callable[[asyncpg.Connection], R], *memories: Memory[Any, Any]
    ) -> None:
        self._database = database
        self._rows = rows
        self._memories = memories

    def transaction(self) -> AbstractAsyncContextManager[R]:
        """One transaction, committed at the end of the block. No network call belongs inside."""
        return self._opened(self._database.transaction())

    def statement(self) -> AbstractAsyncContextManager[R]:
        """For one statement that writes, in autocommit: it is committed when it returns."""
        return self._opened(self._database.statement())

    def reading(self) -> AbstractAsyncContextManager[R]:
        """For queries: each statement sees what is committed when it runs."""
        return self._opened(self._database.connection())

    @asynccontextmanager
    async def _opened(self, opening: AbstractAsyncContextManager[asyncpg.Connection]) -> AsyncIterator[R]:
        """Drops all memory when the block ends without an answer: after a lost connection, a time limit or a
        cancellation it is unknown what the database holds, or which database it is."""
        try:
            async with opening as connection:
                yield self._rows(connection)
        except (Outage, TimeoutError, asyncio.CancelledError):
            for memory in self._memories:
                memory.clear()
            raise
