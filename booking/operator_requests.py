"""An operator's request is carried out once: its answer is kept in the transaction that carried it out.

The same request again (subject, operation, key) gets that answer; other content under its key is refused. A refusal
is not kept: nothing was done, and the same key is decided on anew.
"""

# Statements are put together from the column names below and never from data.

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from booking.state import Booking
from common.contracts import resources
from common.contracts.errors import IdempotencyKeyReused, PreconditionFailed
from common.contracts.messages import OperatorCommand, OwnersCommand
from common.contracts.resources import Resource, entity_tag
from common.messaging.envelope import Delivery
from common.postgres.sql import as_json, count_of, old_deleted, recordset

# Two requests with the same values here are the same one, whatever their content.
ID = {"subject": "varchar", "operation": "varchar", "key": "varchar"}
COLUMNS = ID | {"content_hash": "varchar", "answer": "text", "answered_at": "timestamptz"}
# LIMIT makes each use the index, even if the statement was planned while the table was nearly empty.
FIND = f"""
SELECT found.* FROM {recordset("wanted", ID)} CROSS JOIN LATERAL (
    SELECT {", ".join(COLUMNS)} FROM operator_requests r
    WHERE {" AND ".join(f"r.{name} = wanted.{name}" for name in ID)} LIMIT 1
) AS found
"""
# Overwrites no row: a second one of the same id fails, and its transaction with it.
INSERT = f"""
INSERT INTO operator_requests ({", ".join(COLUMNS)}) SELECT * FROM {recordset("new", COLUMNS)}
"""
# A subquery that locks what it finds would find other rows when run again: MATERIALIZED runs it once.
FORGET = old_deleted("operator_requests", "id", "answered_at")

RequestId = tuple[str, str, str]


def by_operator(message: object) -> bool:
    if isinstance(message, OwnersCommand):
        return message.owner is None
    return isinstance(message, OperatorCommand)


def id_of(delivery: Delivery) -> RequestId:
    """Without an Idempotency-Key the message's id, in a form that no key has: it is known when delivered again."""
    envelope, request = delivery.envelope, delivery.message.request
    own = f"message {envelope.id}"
    if request is None:
        return "", f"{envelope.message.type} {envelope.subject}", own
    return request.subject, request.operation, own if request.key is None else request.key


class OperatorRequests:
    """The operators' requests that one transaction has in hand."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._now: datetime
        # By request: the hash of its content, and its answer. And the rows to insert for new requests.
        self._answered: dict[RequestId, tuple[str, str]] = {}
        self._new: list[dict[str, str | datetime]] = []

    async def open(self, deliveries: Iterable[Delivery], now: datetime) -> None:
        """Read the answers of these. Call it when the rows that they change are locked: a transaction that carried
        out the same request at the same time has committed by then, and its answer is found."""
        self._now = now
        ids = {id_of(delivery) for delivery in deliveries if by_operator(delivery.message)}
        if ids:
            wanted = as_json([dict(zip(ID, id, strict=True)) for id in ids])
            rows = await self._connection.fetch(FIND, wanted)
            self._answered |= {tuple(row)[: len(ID)]: (row["content_hash"], row["answer"]) for row in rows}

    def answer_to(self, delivery: Delivery) -> Any:
        """What was answered before; None for a request that is new. Raises IdempotencyKeyReused."""
        content_hash, answer = self._answered.get(id_of(delivery), ("", None))
        if answer is None:
            return None
        if content_hash != _content_hash(delivery):
            raise IdempotencyKeyReused
        return orjson.loads(answer)

    def keep(self, delivery: Delivery, answer: Resource) -> None:
        """Keep `answer` as the answer to `delivery` and to its repetitions."""
        id, kept = id_of(delivery), (_content_hash(delivery), answer.as_json().decode())
        self._answered[id] = kept
        self._new.append(dict(zip(COLUMNS, (*id, *kept, self._now), strict=True)))

    def keep_booking(self, delivery: Delivery, answer: resources.Booking) -> None:
        """Keep it without its customer, who is in one place alone, where they can be erased."""
        self.keep(delivery, answer.model_copy(update={"customer": None}))

    async def save(self) -> None:
        """Raises UniqueViolationError if one of them has been answered in the meantime."""
        if self._new:
            await self._connection.execute(INSERT, as_json(self._new))

    async def forget(self, before: datetime, limit: int) -> int:
        """Delete the requests that were answered before this, oldest first, at most `limit`; returns how many."""
        return count_of(await self._connection.execute(FORGET, before, limit))


def _content_hash(delivery: Delivery) -> str:
    request = delivery.message.request
    return "" if request is None else request.content_hash


def with_customer(answered: dict[str, Any], booking: Booking) -> dict[str, Any]:
    """A booking that was answered before, with its customer as it is now."""
    return answered | {"customer": booking.customer}


def check_version(command: OperatorCommand, version: int) -> None:
    """Raises PreconditionFailed if `command` is meant for another version."""
    if command.if_match is not None and version not in command.if_match:
        raise PreconditionFailed(etag=entity_tag(version))
