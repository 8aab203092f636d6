"""The plan by which Postgres would execute a statement, whatever its parameters are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from common.postgres.database import Database


def parts(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of the plan: this one and all below it."""
    return [plan, *(part for below in plan.get("Plans", []) for part in parts(below))]


async def planned(database: Database, query: str, *, new: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The plan's steps for this statement, which is not executed. The tables `new` are emptied first, in the same
    transaction: afterwards the server might look into them, and know that they are empty."""
    # Postgres plans a statement with parameters generically only where no value can be bound.
    explained = f"""
    CREATE OR REPLACE FUNCTION pg_temp.plan() RETURNS json LANGUAGE plpgsql AS $f$ DECLARE found json; BEGIN
        EXECUTE $q$EXPLAIN (GENERIC_PLAN, FORMAT JSON) {query}$q$ INTO found; RETURN found;
    END $f$"""
    async with database.connection() as connection, connection.transaction():
        for table in new:
            await connection.execute(f"TRUNCATE {table} CASCADE")
        await connection.execute(explained)
        return parts(orjson.loads(await connection.fetchval("SELECT pg_temp.plan()"))[0]["Plan"])


def read_tables(steps: list[dict[str, Any]]) -> set[str]:
    """The tables whose rows are read."""
    return {step["Relation Name"] for step in _scans(steps)}


def read_whole(steps: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """The steps that read a whole table, or a whole index, instead of finding a row by its `key`."""
    return [step for step in _scans(steps) if f"{key} = " not in step.get("Index Cond", "")]


def _scans(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [step for step in steps if "Relation Name" in step and "Scan" in step["Node Type"]]
