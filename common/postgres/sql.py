"""Pieces of set-based statements, made from column names of ours and never from data."""

# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints
from uuid import UUID

import orjson

FIRST, LAST = UUID(int=0), UUID(int=2**128 - 1)
# The first that fits: a bool is an int, and an enum of texts is a text. Postgres takes a bigint for an int.
_KINDS = {UUID: "uuid", bool: "bool", int: "bigint", str: "varchar", datetime: "timestamptz"}


def columns(row: type, *without: str) -> dict[str, str]:
    """Column and type of each field of `row`, named as its column is, in their order; but for `without`."""
    return {name: _kind(hint) for name, hint in get_type_hints(row).items() if name not in without}


def _kind(hint: Any) -> str:
    """Of what may be missing as of what may not; what is of several parts is JSON."""
    (kind,) = [each for each in (get_args(hint) if isinstance(hint, UnionType) else [hint]) if each is not NoneType]
    simple = [sql for python, sql in _KINDS.items() if isinstance(kind, type) and issubclass(kind, python)]
    return simple[0] if simple else "jsonb"


def unnest(columns: Mapping[str, str], first: int = 1) -> str:
    """`$1::uuid[], $2::text[]` …: one array parameter for each column of `columns` (name to type)."""
    return ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(columns.values(), first))


def assignments(columns: Iterable[str], source: str) -> str:
    """`a = source.a, b = source.b` …"""
    return ", ".join(f"{column} = {source}.{column}" for column in columns)


def source(name: str, columns: Mapping[str, str], first: int = 1, *, one: bool = False) -> str:
    """A table `name` of parameters from the place `first` on: an array for each column. Or, for `one` row alone,
    its values: they cost the client and the server about half."""
    values = ", ".join(f"${place}::{kind}" for place, kind in enumerate(columns.values(), first))
    rows = f"(VALUES ({values}))" if one else f"unnest({unnest(columns, first)})"
    return f"{rows} AS {name} ({', '.join(columns)})"


def recordset(name: str, columns: Mapping[str, str], place: int = 1, *, sought: str = "") -> str:
    """A table `name` of the parameter at `place`, which is `as_json` of its rows: one parameter for a whole batch
    costs a client that reads and writes arrays of each column half as much, and what is NULL need not be there.

    With `sought`, a column of ids, another table's rows are to be found by it. Postgres takes such a table for a
    hundred rows, for which it would read all of another one that was nearly empty when the statement was planned. A
    range, of which it knows nothing, it takes for a two-hundredth: this one has all ids."""
    typed = ", ".join(f"{column} {kind}" for column, kind in columns.items())
    table = f"json_to_recordset(${place}::json) AS {name} ({typed})"
    return f"(SELECT * FROM {table} WHERE {sought} BETWEEN '{FIRST}' AND '{LAST}') AS {name}" if sought else table


def as_json(rows: Sequence[Any]) -> str:
    """For `recordset`: rows by the names of their columns, or as NamedTuples."""
    return orjson.dumps(rows, _plain).decode()


def _plain(value: Any) -> Any:
    """A NamedTuple, or a UUID of asyncpg's own class."""
    return str(value) if isinstance(value, UUID) else value._asdict()


def is_one(*tables: Sequence[object]) -> bool:
    """Whether the first table has one row, and each other at most one: in its place there is a row of nulls."""
    return len(tables[0]) == 1 and all(len(table) <= 1 for table in tables)


def parameters(one: bool, *tables: tuple[Sequence[tuple[Any, ...]], Mapping[str, str]]) -> list[Any]:
    """The values of `source` for these tables, (rows, columns), in their order."""
    if one:
        return [value for rows, columns in tables for value in (rows[0] if rows else (None,) * len(columns))]
    return [
        list(column)
        for rows, columns in tables
        for column in (zip(*rows, strict=True) if rows else [()] * len(columns))
    ]


def revision(table: str) -> str:
    """What changes with each write of a row of `table` (or its alias), by any process: `xmin`, the transaction that
    wrote it last, and the server's start, as a standby that takes over may use a number again.

    https://www.postgresql.org/docs/current/ddl-system-columns.html
    """
    return f"({table}.xmin::text || '@' || extract(epoch FROM pg_postmaster_start_time()))"
