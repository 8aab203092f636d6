"""`publish` tells; `ask` publishes and awaits the reply. All that a handler or a view needs to talk."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson
import structlog
from redis.asyncio import Redis

from common.contracts.errors import Timeout, Unavailable, error_for
from common.contracts.ids import uuid7
from common.contracts.messages import NOTIFICATIONS, TYPES, Message, Reply
from common.messaging.envelope import Envelope, tell
from common.messaging.redis import ANSWER_TIMEOUT_S, Command
from common.messaging.streams import Fields, Tail
from common.runtime.backoff import Backoff
from common.runtime.health import Gate
from common.runtime.outages import RedisAway, log_away, said
from common.runtime.supervisor import heed_cancel

# Notifications and replies are hints about what is in the database: these only bound Redis' memory.
NOTIFICATIONS_MAXLEN = 100_000
REPLIES_MAXLEN = 50_000
REPLIES_TTL_S = 120
# Entries in one pipeline: more would only hold up whoever waits for the first of them.
PIPELINE_MAX = 500
# Read, and worked off, at once: more would keep requests waiting meanwhile.
READ_MAX = 250
# How long patient messages are kept, so that many of them leave, and are handled, together.
PATIENT_S = 0.25
# How often a listener looks whether something was lost that it should have heard.
LOOK_S = 1.0

log = structlog.get_logger()


def replies_stream(instance: str) -> str:
    return f"replies:{instance}"


@dataclass(frozen=True, slots=True)
class _Sending:
    """One publisher's commands. `together`: all of them or none."""

    commands: list[Command]
    together: bool
    done: asyncio.Future[None]


class Bus:
    """Sends messages; what is published while a pipeline is under way leaves together in the next one."""

    def __init__(self, redis: Redis, *, source: str, instance: str) -> None:
        self._redis = redis
        self._source = source
        self._replies = replies_stream(instance)
        self._waiting: deque[_Sending] = deque()
        self._flushing: asyncio.Task[None] | None = None
        self._asked: dict[str, asyncio.Future[Any]] = {}
        # Questions that await their reply, by mailbox.
        self.awaited: Counter[str] = Counter()
        self._patient: list[Command] = []
        self._leaving: asyncio.TimerHandle | None = None

    async def publish(self, envelopes: Iterable[Envelope], finishing: Sequence[Command] = ()) -> None:
        """Returns when Redis has all of them. Raises RedisAway: some may be there then.

        With `finishing` (see Mailbox) the messages that have caused these leave their mailbox in the same step:
        both is done, or neither. Patient ones leave a little later, and are lost when they cannot.
        """
        # Here and not in the pipeline: who has something that cannot be written fails alone.
        commands: list[Command] = []
        replies: set[str] = set()
        for envelope in envelopes:
            if envelope.message.patient:
                self._patient.append(self._addition(envelope))
                continue
            commands.append(self._addition(envelope))
            if isinstance(envelope.message, Reply):
                replies.add(envelope.stream)
        # A gateway that is gone leaves nothing behind for long.
        commands += (("EXPIRE", stream, REPLIES_TTL_S) for stream in replies)
        commands += finishing
        if self._patient and self._leaving is None:
            self._leaving = asyncio.get_running_loop().call_later(PATIENT_S, self._let_leave)
        if commands:
            await self._enqueue(commands, together=bool(finishing) and len(commands) > 1)

    def _enqueue(self, commands: list[Command], *, together: bool = False) -> asyncio.Future[None]:
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(_Sending(commands, together, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="publish")
        return done

    def _let_leave(self) -> asyncio.Future[None]:
        self._leaving = None
        commands, self._patient = self._patient, []
        done = self._enqueue(commands)
        done.add_done_callback(_lost)
        return done

    async def flush(self) -> None:
        """Let patient messages leave now."""
        if self._leaving is not None:
            self._leaving.cancel()
            await asyncio.wait([self._let_leave()], timeout=ANSWER_TIMEOUT_S)

    async def _flush(self) -> None:
        while self._waiting:
            sending: list[_Sending] = []
            size = 0
            while self._waiting and size < PIPELINE_MAX:
                one = self._waiting.popleft()
                if not one.done.done():  # its publisher has not given up
                    sending.append(one)
                    size += len(one.commands)
            try:
                await self._send(sending)
            except asyncio.CancelledError:
                for one in (*sending, *self._waiting):
                    one.done.cancel()
                raise
            except Exception as error:
                for one in sending:
                    if not one.done.done():
                        one.done.set_exception(error)
            else:
                for one in sending:
                    if not one.done.done():
                        one.done.set_result(None)

    def _addition(self, envelope: Envelope) -> Command:
        fields = envelope.fields(self._source)
        bound: Command = ()
        if envelope.stream == NOTIFICATIONS:
            bound = ("MAXLEN", "~", NOTIFICATIONS_MAXLEN)
        elif isinstance(envelope.message, Reply):
            bound = ("MAXLEN", "~", REPLIES_MAXLEN)
        return ("XADD", envelope.stream, *bound, "*", *chain.from_iterable(fields.items()))

    async def _send(self, sending: list[_Sending]) -> None:
        if not sending:
            return
        async with self._redis.pipeline(transaction=any(one.together for one in sending)) as pipe:
            for command in chain.from_iterable(one.commands for one in sending):
                pipe.execute_command(*command)
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await pipe.execute()
            except TimeoutError:
                raise RedisAway(f"no answer within {ANSWER_TIMEOUT_S} s") from None

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


def _lost(sent: asyncio.Future[None]) -> None:
    if not sent.cancelled() and (error := sent.exception()) is not None:
        log.debug("patient messages lost", error=said(error))
