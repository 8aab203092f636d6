"""How many entries wait, are dead letters, or are of unknown types: printed with the audit, never a mismatch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from common.contracts.messages import MAILBOXES
from common.messaging.redis import connect
from common.messaging.streams import dead_letters, lengths
from common.messaging.unknown import unknown_messages
from common.runtime.outages import RedisOutage


@dataclass(frozen=True)
class Mailboxes:
    """Numbers of entries by mailbox; `problem` says why they are not known."""

    lengths: Mapping[str, int] = field(default_factory=dict)
    dead: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    problem: str | None = None


async def read_mailboxes(redis_url: str) -> Mailboxes:
    try:
        redis = connect(redis_url)
    except ValueError as error:
        return Mailboxes(problem=str(error))
    try:
        found = await lengths(redis, (*MAILBOXES, *map(dead_letters, MAILBOXES), *map(unknown_messages, MAILBOXES)))
    except RedisOutage as error:
        return Mailboxes(problem=f"Redis does not answer: {error}")
    finally:
        await redis.aclose()
    return Mailboxes(
        lengths={name: found[name] for name in MAILBOXES},
        dead={name: found[dead_letters(name)] for name in MAILBOXES},
        unknown={name: found[unknown_messages(name)] for name in MAILBOXES},
    )
