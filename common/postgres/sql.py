"""Pieces of set-based statements, made from column names of ours and never from data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType, NoneType, UnionType
from typing import Any, get_args, get_type_hints
from uuid import UUID

import orjson

from common.contracts.resources import plain

# The first that matches: a bool is also an int, and a StrEnum also a str. An int is a bigint in Postgres.
_KINDS = {UUID: "uuid", bool: "bool", int: "bigint", str: "varchar", datetime: "timestamptz"}

# No column has an older name than its field.
NONE_OLDER: Mapping[str, str] = MappingProxyType({})


def columns(row: type, *without: str, older: Mapping[str, str] = NONE_OLDER) -> dict[str, str]:
    """Column and type of each field of `row`, in their order, except `without`. A column has its field's name, or
    the one that `older` says."""
    hints = get_type_hints(row).items()
    return {older.get(name, name): _kind(hint) for name, hint in hints if name not in without}


def _kind(hint: Any) -> str:
    """The type of an optional field is that of the field without None; a type with several parts is JSON."""
    (kind,) = [each for each in (get_args(hint) if isinstance(hint, UnionType) else [hint]) if each is not NoneType]
    simple = [sql for python, sql in _KINDS.items() if isinstance(kind, type) and issubclass(kind, python)]
    return simple[0] if simple else "jsonb"


def assignments(columns: Iterable[str], source: str) -> str:
    """`a = source.a, b = source.b` …"""
    return ", ".join(f"{column} = {source}.{column}" for column in columns)


def values(name: str, columns: Mapping[str, str], first: int = 1) -> str:
    """A table `name` of one row, whose values are the parameters from number `first` on. For one row JSON would add
    a sixth to the cost of the whole statement; from four rows on it is cheaper."""
    typed = ", ".join(f"${number}::{kind}" for number, kind in enumerate(columns.values(), first))
    return f"(VALUES ({typed})) AS {name} ({', '.join(columns)})"


def recordset(name: str, columns: Mapping[str, str], number: int = 1, *, sought: str = "") -> str:
    """A table `name` of parameter `number`, which is `as_json` of its rows: one parameter for a whole batch
    costs the client half as much as an array for each column, and NULLs need not be sent. With `sought`, rows of
    another table are to be found by this column: see `few`."""
    typed = ", ".join(f"{column} {kind}" for column, kind in columns.items())
    table = f"json_to_recordset(${number}::json) AS {name} ({typed})"
    return f"(SELECT * FROM {table} WHERE {few(sought)}) AS {name}" if sought else table


def few(column: str) -> str:
    """A condition that is always true, from which Postgres expects few rows. Without it Postgres estimates a
    hundred rows for a batch, and would scan another table that was nearly empty when the statement was planned; of
    a range condition on an unknown value it estimates that one row in two hundred fulfils it."""
    return f"num_nulls({column}) BETWEEN 0 AND 1"


def one_of(column: str, values: Iterable[str]) -> str:
    """The condition of a CHECK that a column has one of these values. Postgres reads the checks of a table anew for
    each statement that writes it, and a list after IN costs it three times as much as this array."""
    return f"{column} = ANY ('{{{','.join(values)}}}'::text[])"


def as_json(rows: Iterable[Any], columns: Iterable[str] = ()) -> str:
    """For `recordset`: rows as mappings from column to value, dataclasses or NamedTuples; with `columns`, rows as
    their values in that order. NULLs are left out."""
    if columns:
        rows = [{n: each for n, each in zip(columns, row, strict=True) if each is not None} for row in rows]
    return orjson.dumps(rows, plain).decode()


def old_deleted(table: str, key: str, time: str) -> str:
    """A statement that deletes at most $2 rows of `table` whose column `time` is before $1, the oldest first,
    without those that another transaction has locked. `key` tells its rows apart."""
    return f"""
WITH old AS MATERIALIZED (
    SELECT {key} FROM {table} WHERE {time} < $1 ORDER BY {time} LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM {table} r USING old WHERE r.{key} = old.{key}
"""


def count_of(tag: str) -> int:
    """How many rows a statement has written, from its command tag, such as `UPDATE 3`:
    https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-COMMANDCOMPLETE"""
    return int(tag.rpartition(" ")[2])


def revision(table: str) -> str:
    """What changes with each write of a row of `table` (or its alias), by any process: `xmin`, the transaction that
    wrote it last, and the server's start time, because a standby that takes over may use a number again.

    https://www.postgresql.org/docs/current/ddl-system-columns.html
    """
    return f"({table}.xmin::text || '@' || extract(epoch FROM pg_postmaster_start_time()))"
