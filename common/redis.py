"""Connections to Redis, and what it looks like when Redis is away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, Connection, DefaultParser, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, OutOfMemoryError, ReadOnlyError, ResponseError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 5.0


class RedisRefuses(ResponseError):
    """Redis takes no writes for now: it cannot persist them, lacks replicas, or a script is running."""


# Redis cannot serve now, though the command was right: wait and ask again.
REDIS_AWAY: tuple[type[BaseException], ...] = (
    RedisConnectionError,  # also LOADING and NOAUTH
    RedisTimeoutError,
    ReadOnlyError,
    OutOfMemoryError,
    ClusterDownError,  # also MASTERDOWN
    TryAgainError,
    RedisRefuses,
)
# redis-py knows these answers by their text only.
_REFUSALS = dict.fromkeys(("MISCONF", "NOREPLICAS", "BUSY"), RedisRefuses)
_Parser = type("_Parser", (DefaultParser,), {"EXCEPTION_CLASSES": DefaultParser.EXCEPTION_CLASSES | _REFUSALS})


class _Sending(AbstractConnection):
    """A connection that was lost a moment ago, and does not know it yet, is lost like any other: uvloop has an
    error of its own for it."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as closed:
            raise RedisConnectionError(str(closed)) from closed


class _TlsConnection(_Sending, SSLConnection):
    pass


class _Connection(_Sending, Connection):
    """Commands are written by hiredis, as answers are read by it: redis-py's own way takes ten times as long."""

    def pack_command(self, *args: Any) -> list[bytes]:
        # A name of two words is sent as two.
        return [hiredis.pack_command((*args[0].split(), *args[1:]))]

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        return [b"".join([hiredis.pack_command((*name.split(), *rest)) for name, *rest in commands])]


def connect(url: str, *, blocking_ms: int = 0, timed: bool = True) -> Redis:
    """A client for `url`; with `blocking_ms`, one whose reads may wait that long for news.

    Not `timed`: its user bounds what it awaits. redis-py sets a timer for each answer, which in a pipeline costs
    more than the answer.

    redis-py's own retries are off: a lost answer would double an XADD, or hide what XREADGROUP took.
    """
    client = Redis.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S + blocking_ms / 1000 if timed else None,
        socket_keepalive=True,
        health_check_interval=0,
        parser_class=_Parser,
        connection_class=_Connection,
    )
    if client.connection_pool.connection_class is SSLConnection:  # rediss:// has its own
        client.connection_pool.connection_class = _TlsConnection
    return client


async def writable(redis: Redis) -> None:
    """Raises what is in REDIS_AWAY unless Redis answers and takes writes: one that is full or a replica answers a
    PING all the same. Changes nothing: there is no such stream, and NOMKSTREAM makes none."""
    await redis.xadd("probe", {"": ""}, nomkstream=True)
