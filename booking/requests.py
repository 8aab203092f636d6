"""An operator's request is carried out once: what was answered is kept in the transaction that did it.

The same request again (subject, operation, key) is answered from there; another content under its key is refused. A
refusal is not kept: nothing was done, and the same key is judged anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self

import orjson

from booking.repository import Transaction
from booking.request_rows import AnsweredRequest, RequestId
from common.contracts.errors import IdempotencyKeyReused, PreconditionFailed
from common.contracts.messages import CancelBooking, OperatorCommand
from common.contracts.resources import Resource, entity_tag
from common.contracts.statuses import CancelReason
from common.messaging.envelope import Delivery


def by_operator(message: object) -> bool:
    if isinstance(message, CancelBooking):
        return message.reason is not CancelReason.BY_CUSTOMER
    return isinstance(message, OperatorCommand)


def id_of(delivery: Delivery) -> RequestId:
    """Without a key of the client's the message's own id, which no key can be: what is delivered again is known."""
    envelope, request = delivery.envelope, delivery.message.request
    own = f"message {envelope.id}"
    if request is None:
        return RequestId("", f"{envelope.message.type} {envelope.subject}", own)
    return RequestId(request.subject, request.operation, own if request.key is None else request.key)


class Requests:
    """The operators' requests that one transaction has in hand. Open it when what they change is locked: whoever
    carries out the same request at the same time has committed by then, and is found."""

    def __init__(self, answered: dict[RequestId, AnsweredRequest], now: datetime) -> None:
        self._answered = answered
        self._now = now
        self._new: list[AnsweredRequest] = []

    @classmethod
    async def open(cls, rows: Transaction, deliveries: Iterable[Delivery], now: datetime) -> Self:
        ids = {id_of(delivery) for delivery in deliveries if by_operator(delivery.message)}
        return cls(await rows.requests.find(ids), now)

    def answer_to(self, delivery: Delivery) -> Any:
        """What was answered before; None for a request that is new. Raises IdempotencyKeyReused."""
        known = self._answered.get(id_of(delivery))
        if known is None:
            return None
        if known.content_hash != _content_hash(delivery):
            raise IdempotencyKeyReused
        return orjson.loads(known.answer)

    def keep(self, delivery: Delivery, answer: Resource) -> None:
        """This is what `delivery` is answered, now and again."""
        id = id_of(delivery)
        row = AnsweredRequest(id, _content_hash(delivery), answer.as_json().decode(), self._now)
        self._answered[id] = row
        self._new.append(row)

    async def save(self, rows: Transaction) -> None:
        await rows.requests.insert(self._new)


def _content_hash(delivery: Delivery) -> str:
    request = delivery.message.request
    return "" if request is None else request.content_hash


def check_version(command: OperatorCommand, version: int) -> None:
    """Raises PreconditionFailed when `command` is meant for another version than the one that is there."""
    if command.if_match is not None and version not in command.if_match:
        raise PreconditionFailed(etag=entity_tag(version))
