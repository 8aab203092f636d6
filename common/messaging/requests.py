"""Messages whose replies a gateway waits for."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import orjson
import structlog

from common.contracts.errors import Timeout, Unavailable, error_for
from common.contracts.ids import uuid7
from common.contracts.messages import Message
from common.messaging.envelope import tell
from common.messaging.publisher import Publisher
from common.messaging.streams import Fields, inbox_stream
from common.runtime.outages import RedisAway

log = structlog.get_logger()


class Requests:
    """Asks, and hands replies to those who asked."""

    def __init__(self, publisher: Publisher, gateway: str) -> None:
        """Replies come to the inbox of `gateway`, see listener.py."""
        self._publisher = publisher
        self._inbox = inbox_stream(gateway)
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
        question = question._replace(replyto=self._inbox, correlationid=correlation)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[correlation] = future
        self.awaited[question.stream] += 1
        sent = False
        try:
            async with asyncio.timeout(timeout_s):
                await self._publisher.publish([question])
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

    def resolve(self, fields: Fields) -> None:
        """Hand a reply to its asker. Its `result` is JSON, which is passed on or read there."""
        future = self._asked.get(fields.get(b"correlationid", b"").decode())
        if future is None or future.done():
            return  # the asker gave up
        try:
            reply = dict(orjson.loads(fields[b"data"]))
        except (KeyError, TypeError, ValueError):
            log.warning("undecodable", stream=self._inbox)
            return
        if (error := reply.get("error")) is not None:
            future.set_exception(error_for(error, reply.get("detail", ""), reply.get("extra", {})))
        else:
            future.set_result(reply.get("result"))
