"""What a handler or a view needs to tell others something: `publish` returns when Redis has it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import structlog
from redis.asyncio import Redis

from common.contracts.messages import NOTIFICATIONS, Reply
from common.messaging.connection import Connection, check, transaction
from common.messaging.envelope import Envelope
from common.messaging.redis import ANSWER_TIMEOUT_S, Command
from common.runtime.outages import said

# Notifications and replies are hints about what is in the database: these only bound Redis' memory.
NOTIFICATIONS_MAXLEN = 100_000
REPLIES_MAXLEN = 50_000
REPLIES_TTL_S = 120
# Commands that are sent together: more would only hold up the publisher of the first of them.
SEND_MAX = 500
# How long deferrable messages are kept, so that many of them leave, and are handled, together.
DEFER_S = 0.25

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Sending:
    """One publisher's commands."""

    commands: Sequence[Command]
    done: asyncio.Future[None]


class Publisher:
    """Sends messages, over a connection of its own; what is published while others are under way leaves together
    after them."""

    def __init__(self, redis: Redis, *, source: str) -> None:
        """`source` is this process, as messages name it."""
        self._connection = Connection(redis)
        self._source = source
        self._waiting: deque[_Sending] = deque()
        self._flushing: asyncio.Task[None] | None = None
        self._deferred: list[Command] = []
        self._leaving: asyncio.TimerHandle | None = None

    async def publish(self, envelopes: Iterable[Envelope]) -> None:
        """Returns when Redis has all of them. Raises RedisAway: some may be there then. Deferrable ones leave a
        little later, and are lost when they cannot."""
        commands = self.commands(envelopes)
        if commands:
            await self._enqueue(commands)

    def commands(self, envelopes: Iterable[Envelope]) -> list[Command]:
        """What publishes these messages, but for those that leave a little later."""
        commands: list[Command] = []
        replies: set[str] = set()
        for envelope in envelopes:
            # Encoded here, so that an unencodable message fails only its own publisher.
            addition = self._addition(envelope)
            if envelope.message.patient:
                self._deferred.append(addition)
                continue
            commands.append(addition)
            if isinstance(envelope.message, Reply):
                replies.add(envelope.stream)
        # A gateway that is gone leaves nothing behind for long.
        commands += (("EXPIRE", stream, REPLIES_TTL_S) for stream in replies)
        if self._deferred and self._leaving is None:
            self._leaving = asyncio.get_running_loop().call_later(DEFER_S, self._let_leave)
        return commands

    async def send(self, step: Sequence[Command]) -> None:
        """Returns when all of `step` is done, in one transaction. Raises the error with which it was refused, or
        RedisAway when it is not known whether it was done."""
        if step:
            await self._enqueue(transaction(step))

    def _enqueue(self, commands: Sequence[Command]) -> asyncio.Future[None]:
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(_Sending(commands, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="publish")
        return done

    def _let_leave(self) -> asyncio.Future[None]:
        self._leaving = None
        commands, self._deferred = self._deferred, []
        done = self._enqueue(commands)
        done.add_done_callback(_lost)
        return done

    async def flush(self) -> None:
        """Let deferred messages leave now."""
        if self._leaving is not None:
            self._leaving.cancel()
            await asyncio.wait([self._let_leave()], timeout=ANSWER_TIMEOUT_S)

    async def close(self) -> None:
        await self.flush()
        await self._connection.close()

    async def _flush(self) -> None:
        while self._waiting:
            sending: list[_Sending] = []
            size = 0
            while self._waiting and size < SEND_MAX:
                one = self._waiting.popleft()
                if not one.done.done():  # its publisher has not given up
                    sending.append(one)
                    size += len(one.commands)
            try:
                await self._send(sending)
            except BaseException as error:
                for one in sending:
                    _resolve(one.done, error)
                if not isinstance(error, Exception):
                    for one in self._waiting:
                        one.done.cancel()
                    raise

    async def _send(self, sending: Sequence[_Sending]) -> None:
        if not sending:
            return
        await self._connection.send(list(chain.from_iterable(one.commands for one in sending)))
        for one in sending:
            answers = await self._connection.answers(len(one.commands))
            try:
                check(answers)
            except Exception as error:
                _resolve(one.done, error)
            else:
                _resolve(one.done)

    def _addition(self, envelope: Envelope) -> Command:
        fields = envelope.fields(self._source)
        bound: Command = ()
        if envelope.stream == NOTIFICATIONS:
            bound = ("MAXLEN", "~", NOTIFICATIONS_MAXLEN)
        elif isinstance(envelope.message, Reply):
            bound = ("MAXLEN", "~", REPLIES_MAXLEN)
        return ("XADD", envelope.stream, *bound, "*", *chain.from_iterable(fields.items()))


def _resolve(done: asyncio.Future[None], error: BaseException | None = None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    elif isinstance(error, Exception):
        done.set_exception(error)
    else:
        done.cancel()


def _lost(sent: asyncio.Future[None]) -> None:
    if not sent.cancelled() and (error := sent.exception()) is not None:
        log.debug("deferred messages lost", error=said(error))
