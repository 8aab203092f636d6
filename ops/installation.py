"""The installation id: which Holdfast the two databases belong to, and which objects at Stripe are its own.

Payment writes the id into the metadata of what it makes at Stripe. So the id must survive the loss of a database,
and a copy of the databases that runs beside the original needs another id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal
from uuid import UUID, uuid4

import asyncpg

from common.runtime.urls import postgres_options
from ops.errors import StartError

READ = "SELECT id FROM installation"
WRITE = """
INSERT INTO installation (name, id) VALUES ('holdfast', $1) ON CONFLICT (name) DO UPDATE SET id = excluded.id
"""
FORGET_ACCOUNT = "UPDATE installation SET stripe_account = NULL WHERE stripe_account IS NOT NULL RETURNING id"
# Lets only one command at a time choose the id. It is a transaction's lock, which also works through a pooler.
LOCK = "SELECT pg_advisory_xact_lock(hashtext('holdfast installation'))"
CONNECT_TIMEOUT_S = 10

Database = Literal["booking", "payment"]


@dataclass(frozen=True)
class Choice:
    """What an operator has decided: which database's id both get if they differ; that this is a new installation;
    that it continues with another account at Stripe."""

    keep_id_of: Database | None = None
    new_id: bool = False
    new_account: bool = False


AS_IT_IS = Choice()


async def agree_on_installation(
    booking_url: str | None, payment_url: str | None, choice: Choice = AS_IT_IS
) -> list[str]:
    """Give both databases the same id; returns what was written. Raises StartError if their ids differ.

    If only one database is given, an id is made for payment only, which writes it at Stripe: otherwise databases
    that are migrated separately would get two ids. Booking gets its copy from the first migration of both.
    """
    if payment_url is None:
        if choice != AS_IT_IS:
            raise StartError("set PAYMENT_DATABASE_URL, too: the installation id is decided in both databases")
        return []
    try:
        async with _connected(payment_url) as payment, payment.transaction():
            await payment.execute(LOCK)
            if booking_url is None:
                return await _write_chosen_id({"payment": payment}, choice)
            async with _connected(booking_url) as booking:
                # Booking's is written first: if payment's write is then lost, `chosen` copies it from there.
                return await _write_chosen_id({"booking": booking, "payment": payment}, choice)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        raise StartError(f"the installation id cannot be kept: {error or type(error).__name__}") from error


async def _write_chosen_id(databases: dict[str, asyncpg.Connection], choice: Choice) -> list[str]:
    known = {name: await connection.fetchval(READ) for name, connection in databases.items()}
    wanted = chosen(known, choice)
    written = []
    for name, connection in databases.items():
        if known[name] != wanted:
            await connection.execute(WRITE, wanted)
            written.append(f"{name}.installation {wanted}")
    if choice.new_account and await databases["payment"].fetchval(FORGET_ACCOUNT) is not None:
        written.append("payment.installation without Stripe's account: the next start takes the key's")
    return written


def chosen(known: dict[str, UUID | None], choice: Choice = AS_IT_IS) -> UUID:
    """The id that all of these databases get. Raises StartError when an operator must decide."""
    if choice.new_id:
        return uuid4()
    if choice.keep_id_of is not None:
        if (kept := known.get(choice.keep_id_of)) is None:
            raise StartError(f"database {choice.keep_id_of} has no installation id that could be kept")
        return kept
    ids = {id for id in known.values() if id is not None}
    if len(ids) > 1:
        found = ", ".join(f"{name} is of installation {id}" for name, id in known.items())
        raise StartError(
            f"the databases do not belong together ({found}): mend their addresses, or say whose id both get by"
            " holdfast migrate --keep-id-of booking or payment"
        )
    return ids.pop() if ids else uuid4()


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    options = postgres_options(url) | {"timeout": CONNECT_TIMEOUT_S, "statement_cache_size": 0}
    connection = await asyncpg.connect(**options)
    try:
        yield connection
    finally:
        with suppress(asyncpg.InterfaceError, OSError):
            await connection.close()
