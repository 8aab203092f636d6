"""Where the databases keep subjects, by what `docs/operations.md` says and by what is there."""

from __future__ import annotations

import re
from pathlib import Path

from common.postgres.database import Database

PAGE = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
SECTION = PAGE.partition("### Where subjects are kept")[2].partition("\n## ")[0]
TEXTS = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = 'public' AND data_type IN ('character varying', 'text', 'jsonb')
"""


def documented(database: str) -> set[tuple[str, str]]:
    """The columns, with their tables, that the page names for this database."""
    found = set()
    for tables, columns in re.findall(r"^\| (`(?:booking|payment)\.[^|]*) \| ([^|]*) \|", SECTION, re.MULTILINE):
        for table in re.findall(rf"`{database}\.(\w+)`", tables):
            found |= {(table, column) for column in re.findall(r"`(\w+)`", columns)}
    return found


async def holding(database: Database, subject: str) -> set[tuple[str, str]]:
    """The columns that have this text anywhere in them."""
    async with database.connection() as connection:
        columns = [tuple(row) for row in await connection.fetch(TEXTS)]
        found = set()
        for table, column in columns:
            query = f"SELECT count(*) FROM {table} WHERE position($1 IN {column}::text) > 0"  # names of ours
            if await connection.fetchval(query, subject):
                found.add((table, column))
        return found


async def forget(database: Database, name: str, old: str, new: str) -> None:
    """Do what the page says to forget a subject: the statements for the database of this name."""
    text = SECTION.partition(f"n `{name}`:\n\n```sql\n")[2].partition("```")[0]
    assert "UPDATE" in text
    for variable, value in (("old", old), ("new", new)):
        text = text.replace(f":'{variable}'", f"'{value}'")
    async with database.connection() as connection:
        await connection.execute(text)
