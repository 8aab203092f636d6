"""Columns of payment's tables whose field has another name. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from common.postgres import sql

_COLUMNS = {
    "retry_at": "drive_after",
    "retry_count": "drive_attempts",
    "report_retry_at": "report_after",
    "report_retry_count": "report_attempts",
    "check_at": "look_after",
    "check_count": "look_attempts",
    "conflicts": "doubts",
}
_FIELDS = {column: field for field, column in _COLUMNS.items()}


def columns(row: type, *without: str) -> dict[str, str]:
    """Column and type of each field of `row`, in their order, except `without`."""
    return sql.columns(row, *without, older=_COLUMNS)


def fields(columns: Iterable[str]) -> tuple[str, ...]:
    """The field of each column, in their order."""
    return tuple(_FIELDS.get(column, column) for column in columns)
