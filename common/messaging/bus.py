"""A publisher that also asks, and listens for replies and notifications."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
import structlog
from redis.asyncio import Redis

from common.contracts.errors import Timeout, Unavailable, error_for
from common.contracts.ids import uuid7
from common.contracts.messages import NOTIFICATIONS, TYPES, Message, Reply
from common.messaging.envelope import tell
from common.messaging.publisher import Publisher
from common.messaging.streams import Fields
from common.messaging.tail import Tail
from common.runtime.backoff import Backoff
from common.runtime.health import Gate
from common.runtime.outages import RedisAway, log_away, said
from common.runtime.supervisor import heed_cancel

# Read, and worked off, at once: more would keep requests waiting meanwhile.
READ_MAX = 250
# How often a listener checks whether it has missed notifications.
LOOK_S = 1.0

log = structlog.get_logger()


def replies_stream(instance: str) -> str:
    return f"replies:{instance}"


class Bus(Publisher):
    """Also asks and listens."""

    def __init__(self, redis: Redis, *, source: str, instance: str) -> None:
        super().__init__(redis, source=source)
        self._replies = replies_stream(instance)
        self._asked: dict[str, asyncio.Future[Any]] = {}
        # Questions that await their reply, by mailbox.
        self.awaited: Counter[str] = Counter()

    async def ask(self, message: Message, subject: object, *, timeout_s: float, traceparent: str = "") -> Any:
        """The reply's result.

        Raises the HoldfastError that the reply stands for, Timeout when none comes within `timeout_s` seconds
        (the work may still be done), Unavailable when the question cannot be sent, or not within that time.
        """
        correlation = str(uuid7())
        question = tell(message, subject, traceparent=traceparent)
        question = question._replace(replyto=self._replies, correlationid=correlation)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[correlation] = future
        self.awaited[question.stream] += 1
        sent = False
        try:
            async with asyncio.timeout(timeout_s):
                await self.publish([question])
                sent = True
                return await future
        except TimeoutError:
            if sent:
                raise Timeout from None
            raise Unavailable("The message bus cannot be reached") from None
        except RedisAway as away:
            raise Unavailable("The message bus cannot be reached") from away
        finally:
            del self._asked[correlation]
            self.awaited[question.stream] -= 1

    def _resolve(self, fields: Fields) -> None:
        """Hand a reply to its asker. Its `result` is JSON, which is passed on or read there."""
        future = self._asked.get(fields.get(b"correlationid", b"").decode())
        if future is None or future.done():
            return  # the asker gave up
        try:
            reply = dict(orjson.loads(fields[b"data"]))
        except (KeyError, TypeError, ValueError):
            log.warning("undecodable", stream=self._replies)
            return
        if (error := reply.get("error")) is not None:
            future.set_exception(error_for(error, reply.get("detail", ""), reply.get("extra", {})))
        else:
            future.set_result(reply.get("result"))

    async def listen(
        self,
        blocking: Redis,
        on_news: Callable[[type[Message], bytes], None],
        on_missed: Callable[[], None],
        *,
        block_ms: int,
        gate: Gate,
    ) -> None:
        """Take in replies and notifications until cancelled; goes on where it was when Redis comes back.

        `on_news` is called with the class and the data, JSON, of each notification: most of it is only passed on.
        `on_missed` is called soon after notifications may have been lost.
        """
        tail = Tail(blocking, (NOTIFICATIONS, self._replies))
        backoff = Backoff()
        next_look = 0.0
        while True:
            heed_cancel()
            try:
                await tail.start()
                # Not heard of for now, it is asked without waiting whether all is well again.
                for _, entry in await tail.read(READ_MAX, block_ms if gate.reason is None else 1):
                    self._take(entry.fields, on_news)
                if gate.reason is not None or time.monotonic() >= next_look:
                    if await tail.missed():
                        on_missed()
                    next_look = time.monotonic() + LOOK_S
                gate.open()
                backoff.reset()
            except RedisAway as away:
                if gate.reason is None:
                    log_away("notifications paused", away)
                gate.close(said(away))
                await asyncio.sleep(backoff.next())

    def _take(self, fields: Fields, on_news: Callable[[type[Message], bytes], None]) -> None:
        kind = TYPES.get(fields.get(b"type", b"").decode(errors="replace"))
        if kind is Reply:
            self._resolve(fields)
        elif kind is not None:  # else news of a newer release, for those that know it
            on_news(kind, fields.get(b"data", b""))
