"""What errors of Redis and Postgres mean, by the texts and codes of all supported servers and poolers."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, DataError, InvalidResponse, NoScriptError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from common.messaging.redis import Script
from common.runtime.outages import (
    DatabaseOutage,
    Outage,
    RedisOutage,
    answered_outage,
    database_outage,
    redis_outage,
)
from tests.common.stage import STREAM

SCRIPT_62 = "ERR Error running script (call to f_a8e045687019c1230c01d4717e0579b12b1a1b50): @user_script:1: "
SCRIPT_7 = " script: a8e045687019c1230c01d4717e0579b12b1a1b50, on @user_script:1."
ABORTED = "EXECABORT Transaction discarded because of: "
NOW, PRIMARY_MOVED, NEEDS_OPERATOR = "for now", "primary moved", "needs operator"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("READONLY You can't write against a read only replica.", PRIMARY_MOVED),
        (f"READONLY You can't write against a read only replica.{SCRIPT_7}", PRIMARY_MOVED),
        (f"{SCRIPT_62}@user_script: 1: -READONLY You can't write against a read only replica.", PRIMARY_MOVED),
        ("@user_script: 2: -READONLY You can't write against a read only replica.", PRIMARY_MOVED),
        (f"{ABORTED}READONLY You can't write against a read only replica.", PRIMARY_MOVED),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", PRIMARY_MOVED),
        (
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
            PRIMARY_MOVED,
        ),
        ("UNBLOCKED client unblocked via CLIENT UNBLOCK", PRIMARY_MOVED),
        ("LOADING Redis is loading the dataset in memory", NOW),
        ("LOADING Valkey is loading the dataset in memory", NOW),
        ("OOM command not allowed when used memory > 'maxmemory'.", NOW),
        (f"{SCRIPT_62}@user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.", NOW),
        (f"OOM command not allowed when used memory > 'maxmemory'.{SCRIPT_7}", NOW),
        (f"{ABORTED}OOM command not allowed when used memory > 'maxmemory'.", NOW),
        ("MISCONF Errors writing to the AOF file: No space left on device", NOW),
        ("MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk.", NOW),
        ("NOREPLICAS Not enough good replicas to write.", NOW),
        (f"{SCRIPT_62}@user_script: 1: -NOREPLICAS Not enough good replicas to write.", NOW),
        ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", NOW),
        ("CLUSTERDOWN The cluster is down", NOW),
        ("TRYAGAIN Multiple keys request during rehashing of slot", NOW),
        ("INPROG Failover already in progress", NOW),
        ("ERR max number of clients reached", NOW),
        ("ERR max number of clients + cluster connections reached", NOW),
        ("no upstream host", NOW),
        ("NOPERM this user has no permissions to run the 'xadd' command or its subcommand", NEEDS_OPERATOR),
        ("NOPERM User app has no permissions to run the 'xadd' command", NEEDS_OPERATOR),
        (f"{SCRIPT_62}@user_script: 1: The user executing the script can't run this command", NEEDS_OPERATOR),
        (f"ERR The user executing the script can't run this command or subcommand{SCRIPT_7}", NEEDS_OPERATOR),
        (
            f"ERR ACL failure in script: User app has no permissions to run the 'set' command{SCRIPT_7}",
            NEEDS_OPERATOR,
        ),
        ("NOAUTH Authentication required.", NEEDS_OPERATOR),
        ("WRONGPASS invalid username-password pair or user is disabled.", NEEDS_OPERATOR),
        ("DENIED Redis is running in protected mode because protected mode is enabled", NEEDS_OPERATOR),
        ("MOVED 3999 127.0.0.1:6381", NEEDS_OPERATOR),
        ("ERR DB index is out of range", NEEDS_OPERATOR),
        ("ERR unknown command `XAUTOCLAIM`, with args beginning with: `a`, ", NEEDS_OPERATOR),
        ("ERR unknown command 'EVAL', with args beginning with: ", NEEDS_OPERATOR),
        (f"{SCRIPT_62}@user_script: 1: Unknown Redis command called from Lua script", NEEDS_OPERATOR),
        (f"ERR Unknown Redis command called from script{SCRIPT_7}", NEEDS_OPERATOR),
    ],
)  # fmt: skip
def test_an_answer_that_the_server_cannot_serve_is_an_outage(text: str, meaning: str) -> None:
    outage = answered_outage(text)
    assert isinstance(outage, RedisOutage)
    assert outage.reported
    assert (outage.primary_moved, outage.needs_operator) == (meaning == PRIMARY_MOVED, meaning == NEEDS_OPERATOR)


@pytest.mark.parametrize(
    "text",
    [
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        f"{SCRIPT_62}@user_script: 1: WRONGTYPE Operation against a key holding the wrong kind of value",
        "NOGROUP No such key 'READONLY' or consumer group 'booking'",
        "NOSCRIPT No matching script. Please use EVAL.",
        "BUSYGROUP Consumer Group name already exists",
        "BUSYKEY Target key name already exists.",
        "UNBLOCKED the stream key no longer exists",
        "EXECABORT Transaction discarded because of previous errors.",
        "ERR value is not an integer or out of range",
        "ERR wrong number of arguments for 'xadd' command",
        # Some errors quote what a client has sent.
        "ERR Invalid stream ID specified: OOM command not allowed",
        "ERR syntax error near 'READONLY You can't write'",
        f"{SCRIPT_62}@user_script: 1: user_script:1: READONLY is not a field",
    ],
)
def test_any_other_answer_is_no_outage(text: str) -> None:
    assert answered_outage(text) is None
    assert redis_outage(ResponseError(text)) is None


@pytest.mark.parametrize(
    "error",
    [
        RedisConnectionError("Connection closed by server."),
        RedisTimeoutError("Timeout reading"),
        InvalidResponse("Protocol error"),
        ConnectionResetError("reset"),
        ssl.SSLError("handshake"),
    ],
)
def test_a_failed_connection_is_an_outage_that_the_request_may_have_caused(error: Exception) -> None:
    outage = redis_outage(error)
    assert outage is not None
    assert not outage.reported
    assert not outage.needs_operator


def test_a_failed_login_needs_an_operator() -> None:
    outage = redis_outage(AuthenticationError("invalid username-password pair"))
    assert outage is not None
    assert outage.needs_operator


@pytest.mark.parametrize("error", [DataError("wrong"), NoScriptError("No matching script"), RuntimeError()])
def test_an_error_of_our_own_is_no_outage(error: Exception) -> None:
    assert redis_outage(error) is None


def postgres_error(state: str, message: str = "said by the server") -> Exception:
    error: Exception = asyncpg.PostgresError.new({"C": state, "M": message, "S": "FATAL"})
    return error


@pytest.mark.parametrize(
    ("state", "flags"),
    [
        ("25006", {"reported", "primary_moved"}),  # read only
        ("53100", {"reported"}),  # the disk is full
        ("53300", {"reported"}),  # too many connections
        ("53400", {"reported"}),
        ("57P03", {"reported"}),  # starting up, shutting down, in recovery
        ("57P04", {"reported"}),
        ("28000", {"reported", "needs_operator"}),
        ("28P01", {"reported", "needs_operator"}),
        ("3D000", {"reported", "needs_operator"}),
        ("42501", {"reported", "needs_operator"}),
        ("42P01", {"reported", "needs_operator"}),
        ("42703", {"reported", "needs_operator"}),
        ("57P01", set()),
        ("57P02", set()),
        ("57P05", set()),
        ("53000", set()),
        ("53200", set()),  # the statement may be what uses the memory
        ("08000", set()),
        ("08003", set()),
        ("08006", set()),
        ("08P01", set()),  # PgBouncer: query_wait_timeout, server login failed, …
        ("25P03", set()),
        ("26000", set()),  # a pooler has changed the server connection
        ("40001", set()),
        ("40P01", set()),
        ("58000", set()),
        ("58030", set()),
        ("XX000", set()),
        ("57014", {"slow"}),
        ("55P03", {"slow"}),
        ("25P04", {"slow"}),
    ],
)
def test_a_postgres_that_cannot_serve_is_an_outage(state: str, flags: set[str]) -> None:
    outage = database_outage(postgres_error(state))
    assert isinstance(outage, DatabaseOutage)
    assert {
        flag for flag in ("reported", "slow", "primary_moved", "needs_operator") if getattr(outage, flag)
    } == flags
    assert state in str(outage)


@pytest.mark.parametrize("state", ["22003", "22P02", "23505", "23514", "23503", "42601", "42804", "54000", "0A000"])
def test_what_the_data_or_a_constraint_refuses_is_no_outage(state: str) -> None:
    assert database_outage(postgres_error(state)) is None


@pytest.mark.parametrize(
    ("error", "slow"),
    [
        (ConnectionRefusedError("refused"), False),
        (ssl.SSLError("handshake"), False),
        (asyncpg.InterfaceError("connection is closed"), False),
        (asyncpg.InternalClientError("unexpected"), False),
        (TimeoutError(), True),
    ],
)
def test_a_failed_connection_to_postgres_is_an_outage(error: Exception, slow: bool) -> None:
    outage = database_outage(error)
    assert outage is not None
    assert outage.slow is slow
    assert not outage.reported


def test_outages_of_redis_and_postgres_are_caught_as_one() -> None:
    assert issubclass(RedisOutage, Outage)
    assert issubclass(DatabaseOutage, Outage)


async def test_the_text_of_a_message_is_not_read_as_an_answer_of_the_server(redis: Redis) -> None:
    """A pipeline quotes the command in its errors."""
    await redis.set(STREAM, "no stream")
    pipe = redis.pipeline(transaction=True)
    pipe.execute_command("XADD", STREAM, "*", "name", "READONLY OOM command not allowed")
    with pytest.raises(ResponseError) as raised:
        await pipe.execute()
    assert not isinstance(raised.value, Outage)


@pytest.mark.parametrize("transaction", [True, False])
async def test_an_outage_is_seen_inside_of_a_pipeline(redis: Redis, transaction: bool) -> None:
    await redis.config_set("min-replicas-to-write", "1")
    try:
        pipe = redis.pipeline(transaction=transaction)
        pipe.xlen(STREAM)
        pipe.xadd(STREAM, {"a": "b"})
        with pytest.raises(RedisOutage, match="NOREPLICAS"):
            await pipe.execute()
        pipe.xlen(STREAM)
        pipe.eval("return redis.call('SET', KEYS[1], '1')", 1, "key")
        with pytest.raises(RedisOutage, match="NOREPLICAS"):
            await pipe.execute()
    finally:
        await redis.config_set("min-replicas-to-write", "0")
    assert await redis.xlen(STREAM) == 0


async def test_a_script_is_sent_whole_whether_the_server_knows_it_or_not(redis: Redis) -> None:
    script = Script[list[bytes]]("return {key, first, rest[1], rest[2]}", keys="key", args="first *rest")

    async def run() -> list[bytes]:
        return await script(redis, key="key", first="1", rest=(2, "3"))

    await redis.script_flush()
    assert list(await asyncio.gather(run(), run(), run())) == [[b"key", b"1", b"2", b"3"]] * 3
    await redis.script_flush()
    assert await run() == [b"key", b"1", b"2", b"3"]
    command: Any = script.command(key="key", first="1", rest=(2, "3"))
    assert await cast(Any, redis).execute_command(*command) == [b"key", b"1", b"2", b"3"]


def test_a_script_accepts_its_own_parameters_and_no_others() -> None:
    script = Script[None]("return nil", keys="key", args="one")
    with pytest.raises(KeyError, match="one"):
        script.command(key="key")
    with pytest.raises(TypeError, match="two"):
        script.command(key="key", one=1, two=2)
