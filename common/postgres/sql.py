"""Pieces of set-based statements, made from column names of ours and never from data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def unnest(columns: Mapping[str, str], first: int = 1) -> str:
    """`$1::uuid[], $2::text[]` …: one array parameter for each column of `columns` (name to type)."""
    return ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(columns.values(), first))


def assignments(columns: Iterable[str], source: str) -> str:
    """`a = source.a, b = source.b` …"""
    return ", ".join(f"{column} = {source}.{column}" for column in columns)


def revision(table: str) -> str:
    """What changes with each write of a row of `table` (or its alias), by any process: `xmin`, the transaction that
    wrote it last, and the server's start, as a standby that takes over may use a number again.

    https://www.postgresql.org/docs/current/ddl-system-columns.html
    """
    return f"({table}.xmin::text || '@' || extract(epoch FROM pg_postmaster_start_time()))"
