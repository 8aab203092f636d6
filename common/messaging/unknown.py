"""Messages of a type that a process does not know: kept beside their mailbox for a process that does.

The first messages of a type that a release adds may reach processes of the release before. They are moved to
`unknown:{mailbox}` as they are, where they are in nobody's way: no work, no claim, no failure. Each process puts
back what it knows, and nothing else, so that old and new processes bear each other for as long as both run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis

# Entries that one step looks at.
PAGE = 100

# KEYS: the mailbox, its unknown messages. ARGV: where to begin, how many to look at, whether to move them, the
# types that are known. Answers how many of these there are, and the last that was looked at, or nothing at the end.
_PUT_BACK = """
local known = {}
for i = 4, #ARGV do known[ARGV[i]] = true end
local found = 0
local page = redis.call('XRANGE', KEYS[2], ARGV[1], '+', 'COUNT', ARGV[2])
for _, entry in ipairs(page) do
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == 'type' and known[fields[i + 1]] then
      if ARGV[3] == '1' then
        redis.call('XADD', KEYS[1], '*', unpack(fields))
        redis.call('XDEL', KEYS[2], entry[1])
      end
      found = found + 1
      break
    end
  end
end
return {found, #page == tonumber(ARGV[2]) and page[#page][1] or ''}
"""


def unknown_messages(stream: str) -> str:
    """The stream that keeps those of the mailbox `stream`."""
    return f"unknown:{stream}"


class Page(NamedTuple):
    """`found` entries are known; `end` is the last that was looked at, empty when there are no more."""

    found: int
    end: bytes


async def put_back(
    redis: Redis, stream: str, types: Collection[str], after: bytes = b"", *, move: bool = True
) -> Page:
    """Move entries of `types` to the end of their mailbox, in one step; looks at PAGE of them, those `after`.
    Without `move` they are only counted."""
    begin = b"(" + after if after else b"-"
    keys = (stream, unknown_messages(stream))
    args = cast(Any, (begin, PAGE, int(move), *types))
    found, end = cast(Any, await cast(Any, redis.eval(_PUT_BACK, 2, *keys, *args)))
    return Page(int(found), end)


class Waiting(NamedTuple):
    """How many there are, and since how many seconds the first of them."""

    messages: int
    oldest_s: float


async def waiting(redis: Redis, streams: Sequence[str]) -> Mapping[str, Waiting]:
    """The unknown messages of each of these mailboxes, by Redis' clock."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.time()
        for stream in streams:
            pipe.xlen(unknown_messages(stream))
            pipe.xrange(unknown_messages(stream), count=1)
        (seconds, microseconds), *found = await pipe.execute()
    now = seconds + microseconds / 1e6
    lengths, firsts = found[::2], found[1::2]
    return {
        stream: Waiting(length, max(0.0, now - int(first[0][0].split(b"-")[0]) / 1000) if first else 0.0)
        for stream, length, first in zip(streams, lengths, firsts, strict=True)
    }
