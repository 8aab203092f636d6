"""Connections to Redis. During an outage they raise RedisOutage (see outages.py), whatever redis-py raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool, DefaultParser, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as RedisConnectionError

from common.runtime.clock import Bounds
from common.runtime.outages import answered_outage, redis_outage

CONNECT_TIMEOUT_SECONDS = 3.0
ANSWER_TIMEOUT_SECONDS = 5.0
# What a connection tells the server about its client: redis-py would read its version from the disk for each one.
DRIVER = DriverInfo()

Argument = str | bytes | int | float
# A Redis command with its arguments.
Command = tuple[Argument, ...]
R = TypeVar("R")


def _parse_error(text: str) -> Exception:
    """Classified by the unchanged answer: a pipeline changes an error's text, and quotes the command in it."""
    return answered_outage(text) or cast(Any, DefaultParser).parse_error(text)


_Parser = type("_Parser", (DefaultParser,), {"parse_error": staticmethod(_parse_error)})


class _Sending(AbstractConnection):
    """When a connection was just lost and this is not known yet, uvloop raises an error of its own: here it becomes
    a ConnectionError like any other."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as closed:
            raise RedisConnectionError(str(closed)) from closed


class _TlsConnection(_Sending, SSLConnection):
    pass


class _Connection(_Sending, Connection):
    pass


async def _raise_translated(error: Exception, pool: ConnectionPool) -> None:
    """Raises RedisOutage for an outage. When another server may be the primary now, idle connections are closed."""
    outage = redis_outage(error)
    if outage is None:
        return
    if outage.primary_moved:
        await pool.disconnect(inuse_connections=False)
    raise outage from (None if outage is error else error)


class _Pipeline(Pipeline):
    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        try:
            return await super().execute(raise_on_error)
        except Exception as error:
            await _raise_translated(error, self.connection_pool)
            raise


class _Client(Redis):
    """A client that raises RedisOutage for every outage."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return await cast(Any, super()).execute_command(*args, **options)
        except Exception as error:
            await _raise_translated(error, self.connection_pool)
            raise

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class Script(Generic[R]):
    """A Lua script as a function: its keys and arguments have names, in the source and in the call, and its result
    is an R. The last argument may be `*name`: any number of values, a table in the source.

    The whole source is sent: a server caches what it has compiled, and after a failover it may be another server.
    """

    def __init__(self, source: str, *, keys: str, args: str = "") -> None:
        self._keys, self._args = keys.split(), [name.removeprefix("*") for name in args.split()]
        self._rest = "*" in args
        values = [f"KEYS[{number}]" for number, _ in enumerate(self._keys, 1)]
        values += [f"ARGV[{number}]" for number, _ in enumerate(self._args, 1)]
        if self._rest:
            # Not by unpack, which is limited to some thousands of values.
            before, values[-1] = len(self._args) - 1, "{}"
            source = (
                f"for each = 1, #ARGV - {before} do {self._args[-1]}[each] = ARGV[each + {before}] end\n{source}"
            )
        self._source = f"local {', '.join((*self._keys, *self._args))} = {', '.join(values)}\n{source}"

    def command(self, **values: Argument | Iterable[Argument]) -> Command:
        """The script as one command among others."""
        given: list[Any] = [values.pop(name) for name in (*self._keys, *self._args)]
        if values:
            raise TypeError(f"no parameters of this script: {', '.join(values)}")
        if self._rest:
            given.extend(given.pop())
        return ("EVAL", self._source, len(self._keys), *given)

    async def __call__(self, redis: Redis, **values: Argument | Iterable[Argument]) -> R:
        """Runs the script and returns its result."""
        _, *parameters = self.command(**values)
        return cast(R, await cast(Any, redis).eval(*parameters))


def connect(url: str) -> Redis:
    """A client for `url`.

    redis-py's own retries are off: after a lost answer they would double an XADD, or hide what XREADGROUP has read.
    """
    client = _Client.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        socket_timeout=ANSWER_TIMEOUT_SECONDS,
        socket_keepalive=True,
        health_check_interval=0,
        driver_info=DRIVER,
        parser_class=_Parser,
        connection_class=_Connection,
    )
    if client.connection_pool.connection_class is SSLConnection:  # rediss:// sets its own class
        client.connection_pool.connection_class = _TlsConnection
    return client


async def read_clock(redis: Redis, monotonic: Callable[[], float]) -> Bounds:
    """How many seconds the server's clock is ahead of the monotonic one:
    https://redis.io/docs/latest/commands/time/. Raises RedisOutage."""
    sent = monotonic()
    seconds, microseconds = await cast(Any, redis).time()
    server = seconds + microseconds / 1e6
    return Bounds(server - monotonic(), server - sent)


async def writable(redis: Redis) -> None:
    """Raises RedisOutage unless Redis answers and accepts writes: one that is full, or a replica, still answers a
    PING. Changes nothing: the stream does not exist, and NOMKSTREAM does not create it."""
    await redis.xadd("probe", {"": ""}, nomkstream=True)
