"""Pieces of set-based statements, made from column names of ours and never from data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints
from uuid import UUID

import orjson

from common.contracts.resources import plain

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


def assignments(columns: Iterable[str], source: str) -> str:
    """`a = source.a, b = source.b` …"""
    return ", ".join(f"{column} = {source}.{column}" for column in columns)


def values(name: str, columns: Mapping[str, str], first: int = 1) -> str:
    """A table `name` of one row, whose values are the parameters from the place `first` on. Of one row alone JSON
    costs a sixth of the whole statement more; of four it is already cheaper."""
    typed = ", ".join(f"${place}::{kind}" for place, kind in enumerate(columns.values(), first))
    return f"(VALUES ({typed})) AS {name} ({', '.join(columns)})"


def recordset(name: str, columns: Mapping[str, str], place: int = 1, *, sought: str = "") -> str:
    """A table `name` of the parameter at `place`, which is `as_json` of its rows: one parameter for a whole batch
    costs a client that reads and writes arrays of each column half as much, and what is NULL need not be there.
    With `sought`, another table's rows are to be found by this column: see `few`."""
    typed = ", ".join(f"{column} {kind}" for column, kind in columns.items())
    table = f"json_to_recordset(${place}::json) AS {name} ({typed})"
    return f"(SELECT * FROM {table} WHERE {few(sought)}) AS {name}" if sought else table


def few(column: str) -> str:
    """True, and lets Postgres expect few rows. It takes a batch for a hundred rows, for which it would read
    all of another table that was nearly empty when the statement was planned; a range of what it knows nothing of
    it takes for a two-hundredth."""
    return f"num_nulls({column}) BETWEEN 0 AND 1"


def as_json(rows: Iterable[Any], columns: Iterable[str] = ()) -> str:
    """For `recordset`: rows by the names of their columns, or as dataclasses or NamedTuples. With `columns`, rows
    of their values; NULLs are left out."""
    if columns:
        rows = [{n: each for n, each in zip(columns, row, strict=True) if each is not None} for row in rows]
    return orjson.dumps(rows, plain).decode()


def revision(table: str) -> str:
    """What changes with each write of a row of `table` (or its alias), by any process: `xmin`, the transaction that
    wrote it last, and the server's start, as a standby that takes over may use a number again.

    https://www.postgresql.org/docs/current/ddl-system-columns.html
    """
    return f"({table}.xmin::text || '@' || extract(epoch FROM pg_postmaster_start_time()))"
