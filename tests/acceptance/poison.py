"""Entries that no actor can handle, and the dead letters that they become."""

from __future__ import annotations

import json
from typing import Any, cast
from uuid import uuid4

from redis.asyncio import Redis

from common.contracts.messages import TYPES
from common.messaging.streams import dead_letters
from tests.acceptance.client import Json

Fields = dict[str, str | bytes]


def entry(type: str, data: Json | str, subject: str = "nobody") -> Fields:
    body = data if isinstance(data, str) else json.dumps(data)
    return {"specversion": "1.0", "id": str(uuid4()), "type": type, "subject": subject, "data": body}


def foreign_to(mailbox: str) -> str:
    """A message type of another mailbox."""
    return "payment.report_applied" if mailbox.startswith("booking") else "event.get"


def undecodable(mailbox: str) -> dict[str, Fields]:
    (own, *_) = [name for name, kind in TYPES.items() if mailbox in kind.streams]
    return {
        "no message at all": {b"\xff\x00".decode("latin-1"): b"\xff\xfe"},
        "data that is no JSON": entry(own, "{"),
        "data that lacks everything": entry(own, {} if TYPES[own].model_fields else "[]"),
        "a type without a subject": {"type": own, "data": "{}"},
    }


def unknown(mailbox: str) -> dict[str, Fields]:
    """Entries whose type a newer release may know."""
    return {
        "a type of the future": entry("from.the.future", {}),
        "a type of another mailbox": entry(
            foreign_to(mailbox), {"event_id": str(uuid4()), "booking_id": str(uuid4()), "version": 1}
        ),
    }


async def put(redis: Redis, mailbox: str, fields: Fields) -> bytes:
    return cast(bytes, await redis.xadd(mailbox, cast(Any, fields)))


async def letters(redis: Redis, mailbox: str) -> dict[bytes, dict[bytes, bytes]]:
    """The dead letters of `mailbox`, by the id that the entry had."""
    found = cast(Any, await redis.xrange(dead_letters(mailbox)))
    return {fields[b"dead_entry"]: fields for _, fields in found}
