"""Dead letters as operators are told of them: how many each mailbox has, and what the oldest are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from redis.asyncio import Redis

from common.contracts.attention import COUNT_MAX, EXAMPLES_MAX, AttentionExample, AttentionItem, AttentionKind
from common.contracts.codes import reference_of
from common.contracts.messages import TYPES, OfBooking
from common.messaging.streams import Fields, dead_letters

TO_DO = (
    "Read why they failed (`dead_error`), correct the cause, and replay or delete them: docs/operations.md, Dead "
    "letters. What they were about waits in the database, and is asked for again"
)


async def dead_letter_items(redis: Redis, mailboxes: Sequence[str], now: datetime) -> list[AttentionItem]:
    """An item for each of these mailboxes that has dead letters. They are dated by Redis' clock, so their age is
    computed by that clock; `now` is by another."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.time()
        for mailbox in mailboxes:
            pipe.xlen(dead_letters(mailbox))
            pipe.xrange(dead_letters(mailbox), count=EXAMPLES_MAX)
        (seconds, microseconds), *found = await cast(Any, pipe).execute()
    now_ms = seconds * 1000 + microseconds // 1000

    def example(id: bytes, fields: Fields) -> AttentionExample:
        age_ms = max(now_ms - int(id.split(b"-")[0]), 0)
        return AttentionExample(id=id.decode(), since=now - timedelta(milliseconds=age_ms), **_about(fields))

    items = []
    for mailbox, length, letters in zip(mailboxes, found[::2], found[1::2], strict=True):
        examples = tuple(example(id, fields) for id, fields in letters)
        if examples:
            items.append(
                AttentionItem(
                    kind=AttentionKind.DEAD_LETTERS,
                    mailbox=mailbox,
                    count=min(length, COUNT_MAX),
                    since=examples[0].since,
                    to_do=TO_DO,
                    examples=examples,
                )
            )
    return items


def _about(fields: Fields) -> Mapping[str, Any]:
    """What a letter is about. Its error and its contents may have what customers wrote; so may all that it says of
    itself, unless it is a message that we know."""
    kind = TYPES.get(type := fields.get(b"type", b"").decode(errors="replace"))
    if kind is None:
        return {"text": "no message that is known here"}
    attempts = int(fields.get(b"dead_attempts", b"0"))
    about: dict[str, Any] = {
        "text": f"{type}, which failed {attempts} times" if attempts else f"{type}, unreadable"
    }
    if issubclass(kind, OfBooking):
        try:
            about["booking_id"] = id = UUID(fields.get(b"subject", b"").decode(errors="replace"))
        except ValueError:
            return about
        about["reference"] = reference_of(id)
    return about
