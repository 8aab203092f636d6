"""The SQL of `operator_requests`: what operators have asked for under which key, and what they were answered."""

# Statements are put together from the column names below and never from data.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from common.postgres.sql import unnest

COLUMNS = {
    "subject": "varchar",
    "operation": "varchar",
    "key": "varchar",
    "content_hash": "varchar",
    "answer": "text",
    "answered_at": "timestamptz",
}
ID = {column: COLUMNS[column] for column in ("subject", "operation", "key")}
FIND = f"""
SELECT {", ".join(COLUMNS)} FROM operator_requests
JOIN unnest({unnest(ID)}) AS wanted ({", ".join(ID)}) USING ({", ".join(ID)})
"""
# Never over one that is there: a second one of the same id is refused, and its transaction with it.
INSERT = f"""
INSERT INTO operator_requests ({", ".join(COLUMNS)}) SELECT * FROM unnest({unnest(COLUMNS)})
"""
# A part of a plan that locks what it finds finds other rows when it is run again: it stands by itself, run once.
FORGET = """
WITH old AS MATERIALIZED (
    SELECT id FROM operator_requests WHERE answered_at < $1 ORDER BY answered_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM operator_requests r USING old WHERE r.id = old.id
"""


class RequestId(NamedTuple):
    """What makes two requests the same one, whatever their content."""

    subject: str
    operation: str
    key: str


class AnsweredRequest(NamedTuple):
    """One row. `answer` is JSON, as it was answered."""

    id: RequestId
    content_hash: str
    answer: str
    answered_at: datetime


class RequestRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find(self, ids: Iterable[RequestId]) -> dict[RequestId, AnsweredRequest]:
        """Those of these requests that have been answered."""
        wanted = list(ids)
        if not wanted:
            return {}
        rows = await self._connection.fetch(FIND, *map(list, zip(*wanted, strict=True)))
        found = (
            AnsweredRequest(RequestId(*(row[column] for column in ID)), *tuple(row)[len(ID) :]) for row in rows
        )
        return {each.id: each for each in found}

    async def insert(self, answered: Sequence[AnsweredRequest]) -> None:
        """Raises UniqueViolationError when one of them has been answered meanwhile."""
        if answered:
            rows = [(*each.id, *each[1:]) for each in answered]
            await self._connection.execute(INSERT, *map(list, zip(*rows, strict=True)))

    async def forget(self, before: datetime, limit: int) -> int:
        """Delete the oldest of those that were answered before this, at most `limit`; says how many there were."""
        answer: str = await self._connection.execute(FORGET, before, limit)
        return int(answer.removeprefix("DELETE "))
