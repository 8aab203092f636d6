"""What every error of Redis and of Postgres means: the one classification of them.

An error is one of three things. An outage: the server cannot serve now, though the request was right; wait and
retry. A refusal: the data or a constraint does not allow it; the error stays asyncpg's, and the caller judges it. A
bug: all else, raised as it is. The clients in redis.py and database.py translate each error where it occurs: their
callers catch RedisOutage, DatabaseOutage, or Outage for both, and never a driver's own classes.
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


class Outage(Exception):
    """An outage: a server that Holdfast needs cannot serve now; wait and retry.

    `reported`: the server itself reports it, so that no request can be the cause; otherwise a connection broke,
    which the request may have caused. `slow`: a time limit passed, and the request may be what takes too long.
    `primary_moved`: another server may be the primary now, at the same address. `needs_operator`: it does not end
    by itself; a person must change a password, a permission, a setting or the schema.
    """

    def __init__(
        self,
        reason: str,
        *,
        reported: bool = False,
        slow: bool = False,
        primary_moved: bool = False,
        needs_operator: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reported = reported
        self.slow = slow
        self.primary_moved = primary_moved
        self.needs_operator = needs_operator


class RedisOutage(Outage, ResponseError):
    """An outage of Redis. A ResponseError because redis-py otherwise would not read a pipeline's other answers."""


class DatabaseOutage(Outage):
    """An outage of Postgres."""


def log_outage(event: str, error: BaseException, **fields: Any) -> None:
    """Log one line about an outage: an error where a person has to end it, otherwise a warning."""
    level = logging.ERROR if isinstance(error, Outage) and error.needs_operator else logging.WARNING
    log.log(level, event, error=error_text(error), **fields)


def error_text(error: BaseException) -> str:
    """The error as logs and readiness show it: its class and text."""
    return f"{type(error).__name__}: {error}"


# --- Redis ------------------------------------------------------------------------------------------------

# An answer begins with its code. An error inside a script stands within the script's own error (Redis 6.2) or
# before it (7 and newer, Valkey), an error inside EXEC within EXEC's. Only the beginning is compared: after it
# there may be arguments, which can contain any text.
_AROUND = (
    r"(?:EXECABORT Transaction discarded because of: )?"
    r"(?:ERR Error running script \(call to \w+\): @user_script:\d+: )?"
    r"(?:@user_script: ?\d+: )?-?(?:ERR )?"
)
# Another server may be the primary. A stream deleted while it is read is no outage (see Mailbox.entries).
_PRIMARY_MOVED = r"(?:READONLY|MASTERDOWN|UNBLOCKED(?! the stream key no longer exists))\b"
_FOR_NOW = (
    r"(?:LOADING|OOM|MISCONF|NOREPLICAS|BUSY|CLUSTERDOWN|TRYAGAIN|INPROG)\b"
    r"|max number of clients|max daily request limit|max requests limit"
    r"|no upstream host|upstream failure"  # Envoy's, about the server behind it
)
_NEEDS_OPERATOR = (
    r"(?:NOPERM|NOAUTH|WRONGPASS|DENIED|MOVED|ASK)\b"
    r"|ACL failure in script|The user executing the script can't"  # from 7.2 on; before it
    r"|invalid password|Client sent AUTH|AUTH <password> called"
    r"|DB index is out of range|invalid DB index"
    r"|[Uu]nknown command|Unknown \w+ command called from"  # the command was renamed, or is newer than the server
)
# https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors
_REDIS_OUTAGE = re.compile(
    f"{_AROUND}(?:(?P<primary_moved>{_PRIMARY_MOVED})|(?:{_FOR_NOW})|(?P<needs_operator>{_NEEDS_OPERATOR}))"
)


def answered_outage(text: str) -> RedisOutage | None:
    """The outage that an error answer of Redis means, by its unchanged text; None for any other error."""
    found = _REDIS_OUTAGE.match(text)
    if found is None:
        return None
    return RedisOutage(
        text,
        reported=True,
        primary_moved=found["primary_moved"] is not None,
        needs_operator=found["needs_operator"] is not None,
    )


def redis_outage(error: BaseException) -> RedisOutage | None:
    """The outage that an error of redis-py means; None when it is no outage."""
    if isinstance(error, RedisOutage):
        return error
    if isinstance(error, AuthenticationError):
        return RedisOutage(error_text(error), reported=True, needs_operator=True)
    if isinstance(error, (RedisConnectionError, RedisTimeoutError, InvalidResponse, OSError)):
        return RedisOutage(error_text(error))
    return None


# --- Postgres ---------------------------------------------------------------------------------------------

# By SQLSTATE, or its class of two characters. Poolers use them too (PgBouncer mostly 08P01, others 58000 or XX000):
# https://www.postgresql.org/docs/current/errcodes-appendix.html.
_STATES: tuple[tuple[dict[str, bool], str], ...] = (
    ({"reported": True, "primary_moved": True}, "25006"),  # read only: a standby, after a failover
    # The disk is full, there are too many connections, or another limit of the server is reached; it starts or
    # stops; the database was dropped.
    ({"reported": True}, "53100 53300 53400 57P03 57P04"),
    # The user or database is wrong; a permission is missing. The schema is not this release's: `holdfast migrate`
    # has not run yet (every statement of ours is fixed, so no input can cause this).
    ({"reported": True, "needs_operator": True}, "28 3D 42501 3F 42P01 42703 42883"),
    ({"slow": True}, "57014 55P03 25P04"),  # the time limit of a statement, a lock or a transaction
    # The connection, or the server under it, ended; a transaction was idle for too long.
    ({}, "08 57P01 57P02 57P05 25P03"),
    ({}, "26 42P05"),  # a pooler has given us another connection than the one that has our prepared statements
    # A deadlock, in which one side must give way; out of memory; an error of the disk, the system or the server.
    ({}, "40 53 58 F0 XX"),
)
_OF_STATE = {state: means for means, states in _STATES for state in states.split()}


def database_outage(error: BaseException) -> DatabaseOutage | None:
    """The outage that an error of asyncpg means; None when it is no outage: the data's, a constraint's, a bug's."""
    if isinstance(error, DatabaseOutage):
        return error
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        means = _OF_STATE.get(state, _OF_STATE.get(state[:2]))
        if means is None and isinstance(error, asyncpg.InvalidCachedStatementError):
            means = {}  # in class 0A only this one: after a migration the statement is prepared again
        return None if means is None else DatabaseOutage(f"{error_text(error)} ({state})", **means)
    if isinstance(error, TimeoutError):
        return DatabaseOutage(error_text(error), slow=True)
    # InterfaceError: the connection was lost before this statement. InternalClientError: the same, when asyncpg
    # knows that it is ending, but not yet that it has ended; or the statement was planned for an older schema.
    if isinstance(error, (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
        return DatabaseOutage(error_text(error))
    return None
