"""What needs a person now, read from rows: each kind by one query, which an index of these few rows answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from common.contracts.attention import COUNT_MAX, EXAMPLES_MAX, AttentionExample, AttentionItem, AttentionKind
from common.contracts.codes import reference_of


class Watched(NamedTuple):
    """`found`: a query of rows with `id`, `since` and what else an example has, the oldest first, by an index of
    them alone. `to_do`: what a person does about them."""

    found: str
    to_do: str

    @property
    def query(self) -> str:
        """The oldest rows, each with how many there are: no more than are counted are read."""
        return f"""
WITH found AS MATERIALIZED ({self.found} LIMIT {COUNT_MAX})
SELECT *, count(*) OVER () AS count FROM found ORDER BY since, id LIMIT {EXAMPLES_MAX}
"""


class AttentionRows:
    def __init__(self, connection: asyncpg.Connection, watched: Mapping[AttentionKind, Watched]) -> None:
        self._connection = connection
        self._watched = watched

    async def items(self, since: datetime) -> list[AttentionItem]:
        """An item for each kind of which there are rows; of what nobody can end, only what has happened since then:
        it is parameter 1 of each query that takes one."""
        items = []
        for kind, each in self._watched.items():
            rows = await self._connection.fetch(each.query, *((since,) if "$1" in each.found else ()))
            if rows:
                items.append(
                    AttentionItem(
                        kind=kind,
                        count=rows[0]["count"],
                        since=rows[0]["since"],
                        to_do=each.to_do,
                        examples=tuple(map(_example, rows)),
                    )
                )
        return items


def _example(row: Any) -> AttentionExample:
    values = {name: value for name, value in row.items() if name != "count"}
    booking_id = values.get("booking_id")
    return AttentionExample(reference=None if booking_id is None else reference_of(booking_id), **values)
