"""Redis streams from the outside: what one entry is, how much waits in a mailbox, and its dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis

Fields = dict[bytes, bytes]

# What gateways listen for (see registry.py): by topic, the gateways; by gateway, that it is there.
LISTENERS = "listeners:"
LISTENING = "listening:"
# The last entry of `notifications` that a process has added which routes news, and, for a while, that there were
# others in between.
ROUTED_LAST = "notifications:routed"
ROUTED_NOT = "notifications:unrouted"
# For a while after a gateway of the release before has asked: it listens to `notifications`, and is not registered.
# The next release drops these three with that stream.
UNREGISTERED = "notifications:read"


class Entry(NamedTuple):
    """One stream entry as Redis gave it. `reclaimed`: another consumer had it before."""

    id: bytes
    fields: Fields
    reclaimed: bool = False


def dead_letters(stream: str) -> str:
    """The stream that keeps what `stream`'s consumers could not handle."""
    return f"dead:{stream}"


def inbox_stream(gateway: str) -> str:
    """Where a gateway reads its replies and its news."""
    return f"inbox:{gateway}"


async def replay(redis: Redis, stream: str, ids: Sequence[bytes | str]) -> int:
    """Put dead letters of `stream` back at its end as they were; says how many there were."""
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
    """How many entries each stream has: for a mailbox, its outstanding work."""
    async with redis.pipeline(transaction=False) as pipe:
        for stream in streams:
            pipe.xlen(stream)
        return dict(zip(streams, await pipe.execute(), strict=True))


async def oldest(redis: Redis, stream: str, now: datetime) -> datetime | None:
    """When, by the clock that says `now`, the first of the entries that are left in `stream` was added; None when
    it is empty. Entries are dated by Redis' clock: how old one is, is asked of that clock, too."""
    first = cast(Any, await redis.xrange(stream, count=1))
    if not first:
        return None
    seconds, microseconds = cast(Any, await redis.time())
    age_ms = seconds * 1000 + microseconds // 1000 - int(first[0][0].split(b"-")[0])
    return now - timedelta(milliseconds=max(age_ms, 0))
