"""Which gateways listen for what: a notification is written to the inboxes of those gateways only.

A gateway renews itself, not each of its registrations: those of an expired gateway are removed when they are found.
When a gateway registers again, it learns which registrations were lost, and with them perhaps notifications.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from functools import partial
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis

from common.contracts.messages import NOTIFICATIONS
from common.messaging.publisher import Publisher
from common.messaging.redis import Command, Script
from common.messaging.streams import LISTENERS, LISTENING, ROUTED_LAST, ROUTED_NOT, UNREGISTERED, inbox_stream

# A gateway that has not renewed itself for this many milliseconds is expired: longer than a pause nobody notices.
LISTENING_MS = 15_000
# How many registrations one step renews or removes.
PAGE = 500
# How many milliseconds gateways of the previous release have to read `notifications`.
NOTIFICATIONS_KEPT_MS = 60_000

# Renews a gateway, and deletes what it has read of its inbox: messages may have customers in them, and images, and
# would stay until many thousands of others have come. (A user of an earlier release may not trim, which is no
# error.) Returns whether it was known, the end of its inbox, the end of `notifications`, and whether a process of
# the previous release has published there, which reaches no inbox.
_RENEW = Script[tuple[int, bytes, bytes, int]](
    """
local function ends(stream)
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  return newest[1] and newest[1][1] or '0-0'
end
local known = redis.call('GET', listening) == token and 1 or 0
redis.call('SET', listening, token, 'PX', lasts_ms)
redis.call('PEXPIRE', inbox, 8 * lasts_ms)
redis.pcall('XTRIM', inbox, 'MINID', read)
redis.pcall('XTRIM', notifications, 'MINID', redis.call('TIME')[1] * 1000 - kept_ms)
local newest = ends(notifications)
local unrouted = redis.call('EXISTS', not_routed)
if newest ~= '0-0' and newest ~= redis.call('GET', routed_last) then unrouted = 1 end
return {known, ends(inbox), newest, unrouted}
""",
    keys="listening inbox notifications routed_last not_routed",
    args="token lasts_ms read kept_ms",
)
# Registers for each topic; returns those for which the gateway was not registered.
_REGISTER = Script[list[bytes]](
    """
local added = {}
for _, topic in ipairs(topics) do
  if redis.call('SADD', prefix .. topic, gateway) == 1 then added[#added + 1] = topic end
end
return added
""",
    keys="prefix",
    args="gateway *topics",
)
# Counts the gateways that listen for each topic, and removes registrations of expired gateways.
_COUNT = Script[list[int]](
    """
local counts = {}
for number, topic in ipairs(topics) do
  counts[number] = redis.call('EXISTS', unregistered)
  for _, gateway in ipairs(redis.call('SMEMBERS', prefix .. topic)) do
    if redis.call('EXISTS', listening .. gateway) == 1 then
      counts[number] = counts[number] + 1
    else
      redis.call('SREM', prefix .. topic, gateway)
    end
  end
end
return counts
""",
    keys="prefix listening unregistered",
    args="*topics",
)


class Registry:
    """What this gateway listens for."""

    def __init__(self, redis: Redis, publisher: Publisher, gateway: str) -> None:
        self._redis = redis
        self._publisher = publisher
        self._gateway = gateway
        # Different after a restart under the same name.
        self._token = str(uuid4())
        # How many listeners in this process want each topic.
        self._wanted: Counter[str] = Counter()
        self._removed: set[str] = set()
        # Whether some registration may not have arrived.
        self.uncertain = False

    def add(self, topic: str) -> asyncio.Future[list[Any]] | None:
        """Listen for `topic`. The future is done when Redis has the registration; None where it has it already, or
        it is on its way. What the same publisher publishes after this call arrives after it."""
        self._wanted[topic] += 1
        self._removed.discard(topic)
        if self._wanted[topic] > 1:
            return None
        return self._send(("SADD", LISTENERS + topic, self._gateway))

    def _send(self, command: Command) -> asyncio.Future[list[Any]]:
        """Send `command`, and before it the removals: notifications of those topics would be read for nothing."""
        removed = {self._removed.pop() for _ in range(min(PAGE, len(self._removed)))}
        sent = self._publisher.enqueue(
            [*(("SREM", LISTENERS + topic, self._gateway) for topic in removed), command]
        )
        sent.add_done_callback(partial(self._on_sent, removed))
        return sent

    def _on_sent(self, removed: set[str], sent: asyncio.Future[list[Any]]) -> None:
        if sent.cancelled() or sent.exception() is not None:
            self.uncertain = True
            self._removed |= removed - self._wanted.keys()

    def has(self, topic: str) -> bool:
        """Whether this gateway listens for `topic`."""
        return topic in self._wanted

    def remove(self, topic: str) -> None:
        """One listener fewer wants `topic`; the removal is sent with the next addition or renewal."""
        self._wanted[topic] -= 1
        if self._wanted[topic] <= 0:
            del self._wanted[topic]
            self._removed.add(topic)

    async def renew(self, read: bytes = b"0-0") -> tuple[bool, bytes, bytes, bool]:
        """Renew this gateway, which has read its inbox up to the entry `read`. Returns whether the registry has had
        it all the time, the ends of its inbox and of `notifications`, and whether a process of the previous release
        publishes only there. Raises RedisOutage."""
        renewal = _RENEW.command(
            listening=LISTENING + self._gateway,
            inbox=inbox_stream(self._gateway),
            notifications=NOTIFICATIONS,
            routed_last=ROUTED_LAST,
            not_routed=ROUTED_NOT,
            token=self._token,
            lasts_ms=LISTENING_MS,
            read=read,
            kept_ms=NOTIFICATIONS_KEPT_MS,
        )
        known, inbox_end, notifications_end, unrouted = (await self._send(renewal))[-1]
        return bool(known), inbox_end, notifications_end, bool(unrouted)

    async def restore(self) -> set[str]:
        """Register for all topics again; returns those for which this gateway was not registered, whose
        notifications it may have missed. Raises RedisOutage."""
        self.uncertain = False
        lost: set[str] = set()
        topics = list(self._wanted)
        for begin in range(0, len(topics), PAGE):
            page = topics[begin : begin + PAGE]
            added = await _REGISTER(self._redis, prefix=LISTENERS, gateway=self._gateway, topics=page)
            lost.update(topic.decode() for topic in added)
        return lost

    async def leave(self) -> None:
        """Stop listening, and delete the inbox."""
        await self._redis.delete(LISTENING + self._gateway, inbox_stream(self._gateway))


async def listeners(redis: Redis, topics: Collection[str]) -> dict[str, int]:
    """How many gateways listen for each of these topics; topics without any are left out."""
    if not topics:
        return {}
    counts = await _COUNT(
        redis, prefix=LISTENERS, listening=LISTENING, unregistered=UNREGISTERED, topics=list(topics)
    )
    return {topic: number for topic, number in zip(topics, counts, strict=True) if number}
