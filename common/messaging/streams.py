"""Redis streams from the outside: one entry, the length of a mailbox, and its dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis

Fields = dict[bytes, bytes]

# The keys of the registry (see registry.py): a set of gateways for each topic, and a key for each living gateway.
LISTENERS = "listeners:"
LISTENING = "listening:"
# The last entry of `notifications` added by a process that also writes to inboxes; and a key that exists for a
# while after other processes have added entries.
ROUTED_LAST = "notifications:routed"
ROUTED_NOT = "notifications:unrouted"
# Exists for a while after a call of a gateway of the previous release, which reads `notifications` and is not
# registered. The next release drops these three keys together with that stream.
UNREGISTERED = "notifications:read"


class Entry(NamedTuple):
    """One stream entry as Redis returned it. `reclaimed`: another consumer had it before."""

    id: bytes
    fields: Fields
    reclaimed: bool = False


def dead_letters(stream: str) -> str:
    """The stream that keeps the entries that `stream`'s consumers could not handle."""
    return f"dead:{stream}"


def inbox_stream(gateway: str) -> str:
    """The stream from which a gateway reads its replies and notifications."""
    return f"inbox:{gateway}"


async def replay(redis: Redis, stream: str, ids: Sequence[bytes | str]) -> int:
    """Put dead letters of `stream` back at its end unchanged; returns how many were found."""
    replayed = 0
    for id in ids:
        for found, letter in cast(Any, await redis.xrange(dead_letters(stream), id, id)):
            fields = {key: value for key, value in letter.items() if not key.startswith(b"dead_")}
            async with redis.pipeline(transaction=True) as pipe:
                pipe.xadd(stream, fields)
                pipe.xdel(dead_letters(stream), found)
                await pipe.execute()
            replayed += 1
    return replayed


async def lengths(redis: Redis, streams: Sequence[str]) -> Mapping[str, int]:
    """How many entries each stream has: for a mailbox, its unfinished work."""
    async with redis.pipeline(transaction=False) as pipe:
        for stream in streams:
            pipe.xlen(stream)
        return dict(zip(streams, await pipe.execute(), strict=True))


async def oldest(redis: Redis, stream: str, now: datetime) -> datetime | None:
    """When the first entry left in `stream` was added, by the clock that says `now`; None when it is empty. Entries
    are dated by Redis' clock, so their age is computed by that clock too."""
    first = cast(Any, await redis.xrange(stream, count=1))
    if not first:
        return None
    seconds, microseconds = cast(Any, await redis.time())
    age_ms = seconds * 1000 + microseconds // 1000 - int(first[0][0].split(b"-")[0])
    return now - timedelta(milliseconds=max(age_ms, 0))
