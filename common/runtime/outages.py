"""What every error of Redis and of Postgres means: the one classification of them.

An error is one of three things. Away: the server cannot serve now, though the request was right; wait and ask
again. Refused: the data or a constraint does not allow it; the error stays asyncpg's, for the caller to judge. A
bug: all else, which stays what it is. The clients in redis.py and database.py translate where an error comes in:
their users catch RedisAway, DatabaseAway, or Away for both, and never a driver's own classes.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import asyncpg
import structlog
from redis.exceptions import AuthenticationError, InvalidResponse, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

log = structlog.get_logger()


class Away(Exception):
    """A dependency cannot serve now: wait and ask again.

    `stated`: the server says so itself, so that no request can be the cause; else a connection broke, which the
    request may have caused. `slow`: time ran out, and the request may be what takes too long. `elsewhere`: another
    server may be the primary now, at the same address. `by_hand`: it does not pass by itself, a person must change
    a password, a permission, a setting or the schema.
    """

    def __init__(
        self,
        reason: str,
        *,
        stated: bool = False,
        slow: bool = False,
        elsewhere: bool = False,
        by_hand: bool = False,
    ) -> None:
        super().__init__(reason)
        self.stated = stated
        self.slow = slow
        self.elsewhere = elsewhere
        self.by_hand = by_hand


class RedisAway(Away, ResponseError):
    """Of Redis. A ResponseError for redis-py alone, which would else not read a pipeline's other answers."""


class DatabaseAway(Away):
    """Of Postgres."""


def log_away(event: str, error: BaseException, **fields: Any) -> None:
    """One line about an outage: an error where a person has to end it, else a warning."""
    level = logging.ERROR if isinstance(error, Away) and error.by_hand else logging.WARNING
    log.log(level, event, error=said(error), **fields)


def said(error: BaseException) -> str:
    """The error as logs and readiness show it."""
    return f"{type(error).__name__}: {error}"


# --- Redis ------------------------------------------------------------------------------------------------

# An answer begins with its code. What a script has met stands inside of the script's own error (Redis 6.2) or
# before it (7 and newer, Valkey), what EXEC has met inside of EXEC's. Only the beginning is looked at: behind it
# there may be arguments, which are anybody's words.
_AROUND = (
    r"(?:EXECABORT Transaction discarded because of: )?"
    r"(?:ERR Error running script \(call to \w+\): @user_script:\d+: )?"
    r"(?:@user_script: ?\d+: )?-?(?:ERR )?"
)
# Another server may be the primary. A stream that was deleted under its readers is no outage (see Mailbox.entries).
_ELSEWHERE = r"(?:READONLY|MASTERDOWN|UNBLOCKED(?! the stream key no longer exists))\b"
_FOR_NOW = (
    r"(?:LOADING|OOM|MISCONF|NOREPLICAS|BUSY|CLUSTERDOWN|TRYAGAIN|INPROG)\b"
    r"|max number of clients|max daily request limit|max requests limit"
    r"|no upstream host|upstream failure"  # Envoy's, of the server behind it
)
_BY_HAND = (
    r"(?:NOPERM|NOAUTH|WRONGPASS|DENIED|MOVED|ASK)\b"
    r"|ACL failure in script|The user executing the script can't"  # since 7.2; before
    r"|invalid password|Client sent AUTH|AUTH <password> called"
    r"|DB index is out of range|invalid DB index"
    r"|[Uu]nknown command|Unknown \w+ command called from"  # renamed away, or newer than the server
)
# https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors
_REDIS_AWAY = re.compile(f"{_AROUND}(?:(?P<elsewhere>{_ELSEWHERE})|(?:{_FOR_NOW})|(?P<by_hand>{_BY_HAND}))")


def redis_answer(text: str) -> RedisAway | None:
    """What an error that Redis has answered says of Redis, by its text as it came; None for any other error."""
    found = _REDIS_AWAY.match(text)
    if found is None:
        return None
    return RedisAway(
        text, stated=True, elsewhere=found["elsewhere"] is not None, by_hand=found["by_hand"] is not None
    )


def redis_away(error: BaseException) -> RedisAway | None:
    """An error of redis-py as an outage; None for what is none."""
    if isinstance(error, RedisAway):
        return error
    if isinstance(error, AuthenticationError):
        return RedisAway(said(error), stated=True, by_hand=True)
    if isinstance(error, (RedisConnectionError, RedisTimeoutError, InvalidResponse, OSError)):
        return RedisAway(said(error))
    return None


# --- Postgres ---------------------------------------------------------------------------------------------

# By SQLSTATE, or its class of two characters, since poolers use them too (PgBouncer mostly 08P01, others 58000 or
# XX000): https://www.postgresql.org/docs/current/errcodes-appendix.html.
_STATES: tuple[tuple[dict[str, bool], str], ...] = (
    ({"stated": True, "elsewhere": True}, "25006"),  # read only: a standby, after a failover
    # The disk is full, too many connections, another limit of the server's; it starts or stops; the database is
    # gone.
    ({"stated": True}, "53100 53300 53400 57P03 57P04"),
    # Who we are, which database; a permission is missing. The schema is not this release's: `holdfast migrate` has
    # still to run. Every statement of ours is fixed.
    ({"stated": True, "by_hand": True}, "28 3D 42501 3F 42P01 42703 42883"),
    ({"slow": True}, "57014 55P03 25P04"),  # a statement's, a lock's and a transaction's time ran out
    # It broke. The connection, or the server under it, ended; a transaction was left idle for too long.
    ({}, "08 57P01 57P02 57P05 25P03"),
    ({}, "26 42P05"),  # a pooler has put us on another connection than the one that has our statements
    # A deadlock, of which one must give way; out of memory; the disk or the system; its files; the server itself.
    ({}, "40 53 58 F0 XX"),
)
_OF_STATE = {state: means for means, states in _STATES for state in states.split()}


def database_away(error: BaseException) -> DatabaseAway | None:
    """An error of asyncpg as an outage; None for what is none: the data's, a constraint's, a bug's."""
    if isinstance(error, DatabaseAway):
        return error
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        means = _OF_STATE.get(state, _OF_STATE.get(state[:2]))
        if means is None and isinstance(error, asyncpg.InvalidCachedStatementError):
            means = {}  # of class 0A only this one: a migration has run, and the statement is prepared anew
        return None if means is None else DatabaseAway(f"{said(error)} ({state})", **means)
    if isinstance(error, TimeoutError):
        return DatabaseAway(said(error), slow=True)
    # InterfaceError: the connection was lost before this statement. InternalClientError: the same, while asyncpg
    # has heard that it ends and not yet that it has ended; or the statement was planned for an older schema.
    if isinstance(error, (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
        return DatabaseAway(said(error))
    return None
