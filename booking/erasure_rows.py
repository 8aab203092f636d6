"""The SQL of erasures: who wants to be forgotten, until nothing is left of them."""

# Statements are put together from a condition of ours, and never from data.

from __future__ import annotations

from datetime import datetime

import asyncpg

from booking.cancellation_rows import WANTED
from common.contracts.messages import EraseCustomers

# One begins at a time, so that a request under the same key as another finds its answer.
LOCK = "LOCK TABLE erasures IN SHARE ROW EXCLUSIVE MODE"
INSERT = """
INSERT INTO erasures (id, email, subject, asked_at, by, settle_after) VALUES ($1, $2, $3, $4, $5, $4)
ON CONFLICT (id) DO NOTHING
"""
COUNT = f"SELECT count(*) FROM bookings WHERE {WANTED['erasures']}"


class ErasureRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def lock(self) -> None:
        """Until the transaction ends no other one begins an erasure."""
        await self._connection.execute(LOCK)

    async def add(self, wanted: EraseCustomers, now: datetime, by: str | None) -> int:
        """Begin an erasure, which `by` wants; returns how many bookings have such a customer."""
        await self._connection.execute(INSERT, wanted.erasure_id, wanted.email, wanted.subject, now, by)
        count: int = await self._connection.fetchval(COUNT, wanted.erasure_id)
        return count
