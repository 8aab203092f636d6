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
from common.runtime.outages import Away, DatabaseAway, RedisAway, database_away, redis_answer, redis_away
from tests.common.stage import STREAM

SCRIPT_62 = "ERR Error running script (call to f_a8e045687019c1230c01d4717e0579b12b1a1b50): @user_script:1: "
SCRIPT_7 = " script: a8e045687019c1230c01d4717e0579b12b1a1b50, on @user_script:1."
ABORTED = "EXECABORT Transaction discarded because of: "
NOW, ELSEWHERE, BY_HAND = "for now", "elsewhere", "by hand"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("READONLY You can't write against a read only replica.", ELSEWHERE),
        (f"READONLY You can't write against a read only replica.{SCRIPT_7}", ELSEWHERE),
        (f"{SCRIPT_62}@user_script: 1: -READONLY You can't write against a read only replica.", ELSEWHERE),
        ("@user_script: 2: -READONLY You can't write against a read only replica.", ELSEWHERE),
        (f"{ABORTED}READONLY You can't write against a read only replica.", ELSEWHERE),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", ELSEWHERE),
        ("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)", ELSEWHERE),
        ("UNBLOCKED client unblocked via CLIENT UNBLOCK", ELSEWHERE),
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
        ("NOPERM this user has no permissions to run the 'xadd' command or its subcommand", BY_HAND),
        ("NOPERM User app has no permissions to run the 'xadd' command", BY_HAND),
        (f"{SCRIPT_62}@user_script: 1: The user executing the script can't run this command", BY_HAND),
        (f"ERR The user executing the script can't run this command or subcommand{SCRIPT_7}", BY_HAND),
        (f"ERR ACL failure in script: User app has no permissions to run the 'set' command{SCRIPT_7}", BY_HAND),
        ("NOAUTH Authentication required.", BY_HAND),
        ("WRONGPASS invalid username-password pair or user is disabled.", BY_HAND),
        ("DENIED Redis is running in protected mode because protected mode is enabled", BY_HAND),
        ("MOVED 3999 127.0.0.1:6381", BY_HAND),
        ("ERR DB index is out of range", BY_HAND),
        ("ERR unknown command `XAUTOCLAIM`, with args beginning with: `a`, ", BY_HAND),
        ("ERR unknown command 'EVAL', with args beginning with: ", BY_HAND),
        (f"{SCRIPT_62}@user_script: 1: Unknown Redis command called from Lua script", BY_HAND),
        (f"ERR Unknown Redis command called from script{SCRIPT_7}", BY_HAND),
    ],
)  # fmt: skip
def test_a_server_that_says_that_it_cannot_serve_is_away(text: str, meaning: str) -> None:
    away = redis_answer(text)
    assert isinstance(away, RedisAway)
    assert away.stated
    assert (away.elsewhere, away.by_hand) == (meaning == ELSEWHERE, meaning == BY_HAND)


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
    assert redis_answer(text) is None
    assert redis_away(ResponseError(text)) is None


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
def test_a_connection_that_fails_is_away_and_may_be_the_requests_fault(error: Exception) -> None:
    away = redis_away(error)
    assert away is not None
    assert not away.stated
    assert not away.by_hand


def test_a_login_that_fails_is_for_a_person() -> None:
    away = redis_away(AuthenticationError("invalid username-password pair"))
    assert away is not None
    assert away.by_hand


@pytest.mark.parametrize("error", [DataError("wrong"), NoScriptError("No matching script"), RuntimeError()])
def test_an_error_of_our_own_is_no_outage(error: Exception) -> None:
    assert redis_away(error) is None


def postgres_error(state: str, message: str = "said by the server") -> Exception:
    error: Exception = asyncpg.PostgresError.new({"C": state, "M": message, "S": "FATAL"})
    return error


@pytest.mark.parametrize(
    ("state", "flags"),
    [
        ("25006", {"stated", "elsewhere"}),  # read only
        ("53100", {"stated"}),  # the disk is full
        ("53300", {"stated"}),  # too many connections
        ("53400", {"stated"}),
        ("57P03", {"stated"}),  # starting up, shutting down, in recovery
        ("57P04", {"stated"}),
        ("28000", {"stated", "by_hand"}),
        ("28P01", {"stated", "by_hand"}),
        ("3D000", {"stated", "by_hand"}),
        ("42501", {"stated", "by_hand"}),
        ("42P01", {"stated", "by_hand"}),
        ("42703", {"stated", "by_hand"}),
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
def test_a_postgres_that_cannot_serve_is_away(state: str, flags: set[str]) -> None:
    away = database_away(postgres_error(state))
    assert isinstance(away, DatabaseAway)
    assert {flag for flag in ("stated", "slow", "elsewhere", "by_hand") if getattr(away, flag)} == flags
    assert state in str(away)


@pytest.mark.parametrize("state", ["22003", "22P02", "23505", "23514", "23503", "42601", "42804", "54000", "0A000"])
def test_what_the_data_or_a_constraint_refuses_is_no_outage(state: str) -> None:
    assert database_away(postgres_error(state)) is None


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
def test_a_connection_to_postgres_that_fails_is_away(error: Exception, slow: bool) -> None:
    away = database_away(error)
    assert away is not None
    assert away.slow is slow
    assert not away.stated


def test_both_are_caught_as_one() -> None:
    assert issubclass(RedisAway, Away)
    assert issubclass(DatabaseAway, Away)


async def test_words_of_a_message_are_not_taken_for_the_servers(redis: Redis) -> None:
    """A pipeline quotes the command in its errors."""
    await redis.set(STREAM, "no stream")
    pipe = redis.pipeline(transaction=True)
    pipe.execute_command("XADD", STREAM, "*", "name", "READONLY OOM command not allowed")
    with pytest.raises(ResponseError) as raised:
        await pipe.execute()
    assert not isinstance(raised.value, Away)


@pytest.mark.parametrize("transaction", [True, False])
async def test_an_outage_is_seen_inside_of_a_pipeline(redis: Redis, transaction: bool) -> None:
    await redis.config_set("min-replicas-to-write", "1")
    try:
        pipe = redis.pipeline(transaction=transaction)
        pipe.xlen(STREAM)
        pipe.xadd(STREAM, {"a": "b"})
        with pytest.raises(RedisAway, match="NOREPLICAS"):
            await pipe.execute()
        pipe.xlen(STREAM)
        pipe.eval("return redis.call('SET', KEYS[1], '1')", 1, "key")
        with pytest.raises(RedisAway, match="NOREPLICAS"):
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


def test_a_script_takes_its_own_parameters_and_no_others() -> None:
    script = Script[None]("return nil", keys="key", args="one")
    with pytest.raises(KeyError, match="one"):
        script.command(key="key")
    with pytest.raises(TypeError, match="two"):
        script.command(key="key", one=1, two=2)
