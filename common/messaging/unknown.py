"""Unknown messages: of a type that a process does not know, kept beside their mailbox for a process that does.

The first messages of a type that a release adds may reach processes of the previous release. They are moved to
`unknown:{mailbox}` unchanged, where they are no work, no claim and no failure. Each process puts back only what it
knows, so that old and new processes can run side by side as long as needed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis

from common.messaging.redis import Script

# How many entries one step checks.
PAGE = 100

# Moves the known ones of a page that begins at `begin`, or only counts them. Returns how many there are; the last
# entry that was checked, or nothing at the end; and what is left: its number, its first entry, and the time.
_PUT_BACK = Script[tuple[int, bytes, int, list[Any], tuple[bytes, bytes]]](
    """
local known = {}
for _, type in ipairs(types) do known[type] = true end
local found = 0
local page = redis.call('XRANGE', unknown, begin, '+', 'COUNT', size)
for _, entry in ipairs(page) do
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == 'type' and known[fields[i + 1]] then
      if move == '1' then
        redis.call('XADD', mailbox, '*', unpack(fields))
        redis.call('XDEL', unknown, entry[1])
      end
      found = found + 1
      break
    end
  end
end
local last_checked = #page == tonumber(size) and page[#page][1] or ''
local first = redis.call('XRANGE', unknown, '-', '+', 'COUNT', 1)
return {found, last_checked, redis.call('XLEN', unknown), first, redis.call('TIME')}
""",
    keys="mailbox unknown",
    args="begin size move *types",
)


def unknown_messages(stream: str) -> str:
    """The stream of the mailbox `stream`'s unknown messages."""
    return f"unknown:{stream}"


class Waiting(NamedTuple):
    """How many there are, and the age of the first in seconds."""

    messages: int
    oldest_s: float


class PutBack(NamedTuple):
    """`found` messages are known; `last_checked` is the last that was checked, empty when there are no more."""

    found: int
    last_checked: bytes
    left: Waiting


async def put_back(
    redis: Redis, stream: str, types: Collection[str], after: bytes = b"", *, move: bool = True
) -> PutBack:
    """Move messages of `types` to the end of their mailbox, in one step that checks PAGE of them, from `after` on.
    Without `move` they are only counted."""
    found, last_checked, length, first, now = await _PUT_BACK(
        redis,
        mailbox=stream,
        unknown=unknown_messages(stream),
        begin=b"(" + after if after else b"-",
        size=PAGE,
        move=int(move),
        types=types,
    )
    return PutBack(found, last_checked, _waiting(length, first, now))


def _waiting(length: int, first: Sequence[Any], now: tuple[Any, Any]) -> Waiting:
    """From the first entry, if any, and Redis' time."""
    seconds = int(now[0]) + int(now[1]) / 1e6
    return Waiting(length, max(0.0, seconds - int(first[0][0].split(b"-")[0]) / 1000) if first else 0.0)


async def waiting(redis: Redis, streams: Sequence[str]) -> Mapping[str, Waiting]:
    """The unknown messages of each of these mailboxes, by Redis' clock."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.time()
        for stream in streams:
            pipe.xlen(unknown_messages(stream))
            pipe.xrange(unknown_messages(stream), count=1)
        now, *found = await pipe.execute()
    return {
        stream: _waiting(length, first, now)
        for stream, length, first in zip(streams, found[::2], found[1::2], strict=True)
    }
