"""What makes the tests' Postgres quick, and takes nothing from what they show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from ops.postgres import OPTIONS

# As `holdfast up` starts it.
SHIPPED = dict(OPTIONS)


@contextmanager
def without_fsync() -> Iterator[None]:
    """Clusters that are started here lose nothing when they are killed; no test pulls the machine's plug."""
    with patch.dict(OPTIONS, fsync="off"):
        yield


async def empty(connection: Any, tables: str) -> None:
    """Delete all rows of `tables`, each named after those that it refers to.

    TRUNCATE makes new files for each table and index, which takes a hundred times as long for a few rows.
    """
    await connection.execute(";".join(f"DELETE FROM {table}" for table in reversed(tables.split(", "))))
