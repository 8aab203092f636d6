"""Calls: messages whose sender, a gateway, waits for the reply."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import orjson
import structlog

from common.contracts.errors import ERRORS, HoldfastError, Timeout, Unavailable
from common.contracts.messages import Message
from common.messaging.envelope import envelope_for
from common.messaging.publisher import Publisher
from common.messaging.streams import Fields, inbox_stream
from common.runtime.outages import RedisOutage

UNREACHABLE = "The message bus cannot be reached"

log = structlog.get_logger()


class Calls:
    """Sends calls, and passes each reply to its caller."""

    def __init__(self, publisher: Publisher, gateway: str) -> None:
        """Replies arrive in the inbox of `gateway`, see listener.py."""
        self._publisher = publisher
        self._inbox = inbox_stream(gateway)
        self._pending: dict[str, asyncio.Future[Any]] = {}
        # How many calls wait for their reply, by mailbox.
        self.awaited: Counter[str] = Counter()

    def call(
        self, message: Message, subject: object, *, timeout_s: float | None = None, traceparent: str = ""
    ) -> asyncio.Future[Any]:
        """A future of the reply's result; cancel it to give up.

        Raises the HoldfastError that the reply names, Timeout when no reply comes within `timeout_s` seconds (the
        work may still be done), Unavailable when the call cannot be sent, or not within that time.
        """
        loop = asyncio.get_running_loop()
        envelope = envelope_for(message, subject, traceparent=traceparent)
        envelope = envelope._replace(replyto=self._inbox, correlationid=envelope.id)
        commands, _ = self._publisher.commands([envelope])
        reply = self._pending[envelope.id] = loop.create_future()
        self.awaited[envelope.stream] += 1

        def give_up() -> None:
            if not reply.done():
                reply.set_exception(Timeout() if sent.done() else Unavailable(UNREACHABLE))

        def refuse(sent: asyncio.Future[Any]) -> None:
            if sent.cancelled():
                reply.cancel()
            elif (error := sent.exception()) is not None and not reply.done():
                reply.set_exception(Unavailable(UNREACHABLE) if isinstance(error, RedisOutage) else error)

        def forget(reply: asyncio.Future[Any]) -> None:
            del self._pending[envelope.id]
            self.awaited[envelope.stream] -= 1
            sent.cancel()
            if timer is not None:
                timer.cancel()
            if not reply.cancelled():
                reply.exception()  # marks the error as retrieved, also when nobody waits for it any more

        timer = None if timeout_s is None else loop.call_later(timeout_s, give_up)
        sent = self._publisher.enqueue(commands)
        sent.add_done_callback(refuse)
        reply.add_done_callback(forget)
        return reply

    def resolve(self, fields: Fields) -> None:
        """Pass a reply to its caller. Its `result` is a JSON value, which the caller passes on or validates."""
        future = self._pending.get(fields.get(b"correlationid", b"").decode())
        if future is None or future.done():
            return  # the caller gave up
        try:
            reply = dict(orjson.loads(fields[b"data"]))
        except (KeyError, TypeError, ValueError):
            log.warning("undecodable", stream=self._inbox)
            return
        if (error := reply.get("error")) is not None:
            kind = ERRORS.get(error, HoldfastError)  # the code of a newer release may be unknown here
            future.set_exception(kind(reply.get("detail", ""), **reply.get("extra", {})))
        else:
            future.set_result(reply.get("result"))
