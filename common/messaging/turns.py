"""Whose turn it is to read a mailbox while one of its consumers suffices.

Redis gives each entry to the consumer that has waited longest: eight that wait take one entry each where one would
take eight, and eight transactions cost about eight times as much as one. So one has the turn, and the others look
now and then: they help when more waits than a good batch, and take the turn over when its holder is not heard of.

Only a hint. Two that read at once are as right as ever, and whoever dies with the turn in hand loses it in TURN_MS.
"""

from __future__ import annotations

import random

from common.messaging.redis import Script

# The holder says so with each read. Longer than it waits for news, short enough to be missed by nobody.
TURN_MS = 1500
WAIT_MAX_MS = 500
# How often the others look, on average.
LOOK_S = 0.4
# Entries that nobody has read yet from which on all read: about half of the largest batch.
HELP_FROM = 128

MINE = -1

# Takes the turn, or keeps it; else says how many entries nobody has read yet. Acknowledged entries are deleted, so
# these are all but the pending ones. Without a group there is nothing to help with.
_TAKE = Script[int](
    """
local current = redis.call('GET', holder)
if not current or current == consumer then
  redis.call('SET', holder, consumer, 'PX', lease_ms)
  return -1
end
local pending = redis.pcall('XPENDING', stream, group)
if pending.err then return 0 end
return redis.call('XLEN', stream) - pending[1]
""",
    keys="stream holder",
    args="group consumer lease_ms",
)
_LEAVE = Script[int](
    "if redis.call('GET', holder) == consumer then return redis.call('DEL', holder) end return 0",
    keys="holder",
    args="consumer",
)


class Turn:
    """One consumer's view of the turn at `stream`."""

    def __init__(self, stream: str, group: str, consumer: str) -> None:
        key = f"turn:{stream}"
        # Commands: take or keep it (answers MINE, or how much waits), and let others have it.
        self.take = _TAKE.command(stream=stream, holder=key, group=group, consumer=consumer, lease_ms=TURN_MS)
        self.leave = _LEAVE.command(holder=key, consumer=consumer)
        # Takes it from whoever has it.
        self.seize = ("SET", key, consumer, "PX", TURN_MS)
        self.mine = True

    def pause_s(self) -> float:
        """Until the next look of one that has not got it; not all look at once."""
        return LOOK_S * (0.5 + random.random())
