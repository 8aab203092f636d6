"""Lists with Stripe's cursors: newest first, `starting_after`, `ending_before`, `has_more`.

https://docs.stripe.com/api/pagination
"""

from typing import Any, Literal

import orjson

from sandbox import objects
from sandbox.errors import ParameterError, missing_object
from sandbox.objects import Object
from sandbox.schema import Reader, Schema, array, either, hash_of, integer, string
from sandbox.work import Work

LIMIT_MAX = 100
LIMIT_ELSE = 10

BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}

PAGE_READERS: dict[str, Reader] = {
    "limit": integer(least=1, most=LIMIT_MAX),
    "starting_after": string(),
    "ending_before": string(),
    "expand": array(string()),
    "created": either(integer(), hash_of(Schema({name: integer() for name in BOUNDS}))),
}


class Query:
    """The conditions of a list, collected one by one."""

    def __init__(self, table: Literal["objects", "events"], noun: str, url: str) -> None:
        self._table, self._noun, self._url = table, noun, url
        self._conditions: list[str] = []
        self._values: list[Any] = []

    def where(self, condition: str, *values: Any) -> None:
        """Keep the rows for which this SQL condition holds."""
        self._conditions.append(condition)
        self._values.extend(values)

    def page(self, work: Work, params: dict[str, Any]) -> Object:
        """The page that the cursor parameters ask for.

        Raises:
            ParameterError: both cursors were given.
            ApiError: 400, there is no object with the cursor's id.
        """
        self._created(params.get("created", {}))
        backwards = self._cursor(work, params)
        limit = params.get("limit", LIMIT_ELSE)
        direction = "ASC" if backwards else "DESC"
        rows = work.ledger.read(
            f"SELECT body FROM {self._table} WHERE {' AND '.join(self._conditions) or 'TRUE'} "  # noqa: S608 - fixed words only
            f"ORDER BY created {direction}, seq {direction} LIMIT ?",
            (*self._values, limit + 1),
        ).fetchall()
        data = [orjson.loads(body) for (body,) in rows[:limit]]
        return objects.page(data[::-1] if backwards else data, self._url, len(rows) > limit)

    def _created(self, created: int | dict[str, int]) -> None:
        if isinstance(created, int):
            self.where("created = ?", created)
            return
        for name, value in created.items():
            self.where(f"created {BOUNDS[name]} ?", value)

    def _cursor(self, work: Work, params: dict[str, Any]) -> bool:
        after, before = params.get("starting_after"), params.get("ending_before")
        if after and before:
            message = "You may only specify one of these parameters: starting_after, ending_before."
            raise ParameterError(message, "ending_before")
        cursor = after or before
        if cursor is None:
            return False
        row = work.ledger.read(f"SELECT created, seq FROM {self._table} WHERE id = ?", (cursor,)).fetchone()  # noqa: S608
        if row is None:
            param = "starting_after" if after else "ending_before"
            raise missing_object(self._noun, cursor, param, status=400)
        self.where(f"(created, seq) {'<' if after else '>'} (?, ?)", *row)
        return before is not None


def list_of(kind: str, url: str, params: dict[str, Any]) -> Query:
    """A list of the objects of one kind; with such a parameter, only those of one intent or charge."""
    query = Query("objects", kind, url)
    # The plus makes SQLite use the index of the intent or charge, and not read all objects of the kind.
    narrowed = "payment_intent" in params or "charge" in params
    query.where("+kind = ?" if narrowed else "kind = ?", kind)
    if "payment_intent" in params:
        query.where("intent = ?", params["payment_intent"])
    if "charge" in params:
        query.where("charge = ?", params["charge"])
    return query
