"""Pieces of set-based statements, made from column names of ours and never from data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def unnest(columns: Mapping[str, str], first: int = 1) -> str:
    """`$1::uuid[], $2::text[]` …: one array parameter for each column of `columns` (name to type)."""
    return ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(columns.values(), first))


def assignments(columns: Iterable[str], source: str) -> str:
    """`a = source.a, b = source.b` …"""
    return ", ".join(f"{column} = {source}.{column}" for column in columns)
