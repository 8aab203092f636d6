"""A Redis connection with one user: between it and the socket there is no pool, pipeline, retry or timer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn, cast

import hiredis
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.asyncio import Redis

from common.messaging.redis import ANSWER_TIMEOUT_SECONDS, Command
from common.runtime.outages import RedisOutage, redis_outage


def transaction(commands: Sequence[Command]) -> Sequence[Command]:
    """These commands so that Redis runs all of them or none: https://redis.io/docs/latest/commands/multi/."""
    return commands if len(commands) < 2 else (("MULTI",), *commands, ("EXEC",))


def check(answers: list[Any]) -> list[Any]:
    """Returns `answers`. Raises the first error among them, or within the answer of a transaction."""
    for answer in answers:
        for each in answer if type(answer) is list else (answer,):
            if isinstance(each, Exception):
                raise each
    return answers


class _Link(asyncio.Protocol):
    """redis-py opens the connection; after that commands are written to its transport, and data goes straight to
    its parser. redis-py's own reading and writing, over asyncio streams, takes several times as long."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.ended: Exception | None = None
        self._more = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        await self.connection.connect()
        self._reader = self.connection._parser._reader
        self.transport = self.connection._writer.transport
        self.transport.set_protocol(self)

    def write(self, commands: Sequence[Command]) -> None:
        """Does not wait until the commands are sent: the caller waits for their answers."""
        self.transport.write(b"".join([hiredis.pack_command(cast(Any, command)) for command in commands]))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        if not self._more.done():
            self._more.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = self.ended or RedisOutage(str(error or "Connection closed by the server"))
        self.data_received(b"")

    async def answers(self, number: int) -> list[Any]:
        """The next `number` answers as they came, with errors among them."""
        answers: list[Any] = []
        while len(answers) < number:
            if (answer := self._reader.gets()) is not NOT_ENOUGH_DATA:
                answers.append(answer)
            elif self.ended is not None:
                raise self.ended
            else:
                self._more = self._more.get_loop().create_future()
                await self._more
        return answers


class Connection:
    """Sends commands together; their answers come in the same order. A lost connection is replaced by the next
    `send`, and so is one whose user has not read all answers: the next user would get them."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._link: _Link | None = None
        self._answers_left = 0
        # The error by which the last connection was lost.
        self._lost: Exception = RedisOutage("there was none yet")
        # When answers that have not come are given up, and the timer that checks it: one for many sends.
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._late = False

    async def send(self, commands: Sequence[Command], *, block_s: float = 0.0) -> None:
        """Raises nothing: `answers` raises the errors. A command may wait up to `block_s` seconds at the server."""
        try:
            if self._answers_left or (self._link is not None and self._link.ended):
                await self.close()
            if self._link is None:
                self._link = _Link(self._redis.connection_pool.make_connection())
                await self._link.open()
            self._answers_left = len(commands)
            self._due = time.monotonic() + ANSWER_TIMEOUT_SECONDS + block_s
            if self._timer is None:
                self._give_up()
            self._link.write(commands)
        except BaseException as error:
            with suppress(Exception):
                await self._lose(error)

    async def answers(self, number: int) -> list[Any]:
        """The next `number` answers, with the errors that Redis answered among them. Raises the error of `send`,
        and RedisOutage when the connection is lost with answers outstanding."""
        if self._link is None:
            raise self._lost
        try:
            answers = await self._link.answers(number)
        except BaseException as error:
            await self._lose(error)
        self._answers_left -= number
        for answer in answers:
            if isinstance(answer, RedisOutage) and answer.primary_moved:  # another server may be the primary now
                self._lost = answer
                await self.close()
        return answers

    async def close(self) -> None:
        """Close the connection; outstanding answers are given up."""
        link, self._link = self._link, None
        self._answers_left = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if link is not None:
            await link.connection.disconnect(nowait=True)

    async def _lose(self, error: BaseException) -> NoReturn:
        late, self._late = self._late, False
        await self.close()
        outage = RedisOutage(f"no answer within {ANSWER_TIMEOUT_SECONDS} s") if late else redis_outage(error)
        if isinstance(error, Exception):
            self._lost = outage or error
        raise error if outage is None else outage from error

    def _give_up(self) -> None:
        """Close the connection when its answers are overdue; otherwise check again when they would be."""
        left_s, self._timer = self._due - time.monotonic(), None
        if left_s > 0 and self._answers_left:
            self._timer = asyncio.get_running_loop().call_later(left_s, self._give_up)
        elif self._link is not None and self._answers_left:
            self._late = True
            self._link.transport.abort()
