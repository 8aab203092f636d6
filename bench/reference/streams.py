"""Redis Streams, one message at a time: webhooks that wait for their transaction, and what sockets are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

WEBHOOKS = "reference.webhooks"
NOTIFICATIONS = "reference.notifications"
GROUP = "reference"
# No reader of notifications is ever this far behind.
ENTRIES_MAX = 10_000
BLOCK_MS = 1000
# Longer than any transaction: an entry that has been pending for longer has lost its consumer.
CLAIM_IDLE_MS = 25_000
PAUSE_SECONDS = 1.0

Handle = Callable[[bytes], Awaitable[None]]

log = structlog.get_logger()


class Streams:
    """`redis` has a connection for each blocking read."""

    def __init__(self, redis: Redis, instance: str) -> None:
        self._redis = redis
        self._instance = instance

    async def open(self) -> None:
        """Make the consumer group, unless it exists."""
        try:
            await self._redis.xgroup_create(WEBHOOKS, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def put_webhook(self, payload: str) -> None:
        await self._redis.xadd(WEBHOOKS, {"payload": payload})

    async def put_notification(self, owner: str, text: str) -> None:
        await self._redis.xadd(NOTIFICATIONS, {"owner": owner, "text": text}, maxlen=ENTRIES_MAX, approximate=True)

    async def work(self, number: int, handle: Handle) -> None:
        """Read webhooks one by one: handle each, then acknowledge it."""
        consumer = f"{self._instance}-{number}"
        while True:
            try:
                found: Any = await self._redis.xreadgroup(GROUP, consumer, {WEBHOOKS: ">"}, count=1, block=BLOCK_MS)
                for _, entries in found or ():
                    await self._each(entries, handle)
            except (RedisError, OSError) as error:
                log.warning("redis is unavailable", error=str(error))
                await asyncio.sleep(PAUSE_SECONDS)

    async def take_over(self, handle: Handle) -> None:
        """Handle the entries that other consumers have had for too long, and those that have failed."""
        while True:
            await asyncio.sleep(CLAIM_IDLE_MS / 1000)
            try:
                found: Any = await self._redis.xautoclaim(WEBHOOKS, GROUP, self._instance, CLAIM_IDLE_MS, count=1)
                await self._each(found[1], handle)
            except (RedisError, OSError) as error:
                log.warning("redis is unavailable", error=str(error))

    async def _each(self, entries: Any, handle: Handle) -> None:
        for id, fields in entries:
            try:
                await handle(fields[b"payload"])
            except Exception:
                log.exception("webhook failed", id=id)  # it stays in the stream, and is handled again
                continue
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.xack(WEBHOOKS, GROUP, id)
                pipe.xdel(WEBHOOKS, id)
                await pipe.execute()

    async def listen(self, notify: Callable[[str, str], Awaitable[None]]) -> None:
        """Call `notify` with every notification from now on, one by one."""
        last: Any = "$"
        while True:
            try:
                found: Any = await self._redis.xread({NOTIFICATIONS: last}, count=1, block=BLOCK_MS)
                for _, entries in found or ():
                    for id, fields in entries:
                        last = id
                        await notify(fields[b"owner"].decode(), fields[b"text"].decode())
            except (RedisError, OSError) as error:
                log.warning("redis is unavailable", error=str(error))
                await asyncio.sleep(PAUSE_SECONDS)
