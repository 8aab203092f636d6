"""The rows in a process' memory, and the revision by which Postgres checks whether they are current."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any
from unittest.mock import Mock

import pytest

from common.postgres.database import Database
from common.postgres.memory import BaseStore, Memory
from common.postgres.sql import revision
from common.runtime.outages import DatabaseOutage, RedisOutage
from common.runtime.telemetry import Metrics


def memory(entries_max: int = 3, metrics: Metrics | None = None) -> Memory[str, int]:
    return Memory("thing", entries_max, metrics or Metrics())


def store(*memories: Memory[str, int]) -> BaseStore[None]:
    """The store of a database that does nothing."""
    database = Mock(spec=Database, statement=nullcontext)
    return BaseStore(database, lambda _: None, *memories)


def test_what_was_kept_last_is_found() -> None:
    things = memory()
    things.keep({"a": 1, "b": 2})
    things.keep({"a": 3})
    assert things.find(["a", "b", "c"]) == {"a": 3, "b": 2}


def test_a_process_that_has_just_started_remembers_nothing() -> None:
    assert memory().find(["a"]) == {}


def test_the_least_recently_used_go_first() -> None:
    things = memory(entries_max=3)
    things.keep({"a": 1, "b": 2, "c": 3})
    things.find(["a"])
    things.keep({"b": 4})
    things.keep({"d": 5})
    assert things.find(["a", "b", "c", "d"]) == {"a": 1, "b": 4, "d": 5}


def test_keeping_more_than_the_limit_leaves_the_last_ones() -> None:
    things = memory(entries_max=2)
    things.keep({"a": 1, "b": 2, "c": 3})
    assert things.find(["a", "b", "c"]) == {"b": 2, "c": 3}


def test_with_a_limit_of_0_nothing_is_kept() -> None:
    things = memory(entries_max=0)
    things.keep({"a": 1})
    assert things.find(["a"]) == {}


def test_only_the_given_rows_are_dropped() -> None:
    things = memory()
    things.keep({"a": 1, "b": 2})
    things.drop(["a", "never there"])
    assert things.find(["a", "b"]) == {"b": 2}


@pytest.mark.parametrize(
    "error", [DatabaseOutage("lost"), RedisOutage("lost"), TimeoutError(), asyncio.CancelledError()]
)
async def test_all_memory_is_dropped_when_a_result_is_unknown(error: BaseException) -> None:
    things, others = memory(), memory()
    things.keep({"a": 1})
    others.keep({"b": 2})
    with pytest.raises(type(error)):
        async with store(things, others).statement():
            raise error
    assert things.find(["a"]) == others.find(["b"]) == {}


async def test_an_error_of_the_data_drops_no_memory() -> None:
    things = memory()
    things.keep({"a": 1})
    with pytest.raises(ValueError, match="refused"):
        async with store(things).statement():
            raise ValueError("refused")
    assert things.find(["a"]) == {"a": 1}


def test_metrics_say_how_much_is_remembered_and_found() -> None:
    metrics = Metrics()
    things = memory(2, metrics)
    things.keep({"a": 1, "b": 2, "c": 3})
    things.find(["a", "b", "c"])

    def sample(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"kind": "thing", **labels})

    assert sample("holdfast_memory_entries") == 2
    assert sample("holdfast_memory_reads_total", outcome="found") == 2
    assert sample("holdfast_memory_reads_total", outcome="missing") == 1


async def test_each_write_of_a_row_is_another_revision_and_a_lock_is_none(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("CREATE TABLE revised (id int PRIMARY KEY, note text)")
        try:
            await connection.execute("INSERT INTO revised VALUES (1, 'a'), (2, 'b')")
            read = f"SELECT {revision('revised')} FROM revised WHERE id = 1"
            first = await connection.fetchval(read)
            await connection.execute("SELECT * FROM revised WHERE id = 1 FOR NO KEY UPDATE")
            await connection.execute("UPDATE revised SET note = 'c' WHERE id = 2")
            assert await connection.fetchval(read) == first
            again = "UPDATE revised r SET note = note WHERE id = 1 RETURNING "
            second = await connection.fetchval(again + revision("r"))
            assert second != first
            assert await connection.fetchval(read) == second
        finally:
            await connection.execute("DROP TABLE revised")


async def test_another_server_never_has_the_revisions_of_this_one(database: Database) -> None:
    """A standby that takes over continues with transaction numbers that the lost primary may have used already."""
    async with database.connection() as connection:
        row: Any = await connection.fetchrow(
            f"SELECT xmin::text AS number, {revision('pg_class')} AS revision, "
            "extract(epoch FROM pg_postmaster_start_time()) AS started FROM pg_class LIMIT 1"
        )
    assert row["revision"] == f"{row['number']}@{row['started']}"
