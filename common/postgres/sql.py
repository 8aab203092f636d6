"""Pieces of set-based statements, made from column names of ours and never from data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


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


def is_one(*tables: Sequence[object]) -> bool:
    """Whether the first table has one row, and each other at most one: in its place there is a row of nulls."""
    return len(tables[0]) == 1 and all(len(table) <= 1 for table in tables)


def parameters(one: bool, *tables: tuple[Sequence[tuple[Any, ...]], Mapping[str, str]]) -> list[Any]:
    """The values of `source` for these tables, (rows, columns), in their order."""
    if one:
        return [value for rows, columns in tables for value in (rows[0] if rows else (None,) * len(columns))]
    return [[row[place] for row in rows] for rows, columns in tables for place in range(len(columns))]


def revision(table: str) -> str:
    """What changes with each write of a row of `table` (or its alias), by any process: `xmin`, the transaction that
    wrote it last, and the server's start, as a standby that takes over may use a number again.

    https://www.postgresql.org/docs/current/ddl-system-columns.html
    """
    return f"({table}.xmin::text || '@' || extract(epoch FROM pg_postmaster_start_time()))"
