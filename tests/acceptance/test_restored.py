"""A database comes back older than it was: Holdfast by itself, or `holdfast repair`, matches all money again."""

from __future__ import annotations

from uuid import UUID

import asyncpg
import pytest

from tests.acceptance.customers import CANCELLABLE, Customer, customers
from tests.acceptance.database_rows import assert_clean
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.polling import eventually
from tests.forked import CommandResult
from tests.forked import holdfast as command

pytestmark = pytest.mark.timeout(180)

KEPT = ("tortoise_migrations", "installation")


class Dump:
    """A copy of a database at one moment, kept in a schema of its own."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def take(self) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute("DROP SCHEMA IF EXISTS dump CASCADE; CREATE SCHEMA dump")
            async with connection.transaction(isolation="repeatable_read"):
                for table in await self._tables(connection):
                    await connection.execute(f"CREATE TABLE dump.{table} AS TABLE public.{table}")
        finally:
            await connection.close()

    async def restore(self) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            tables = await self._tables(connection)
            async with connection.transaction():
                await connection.execute("SET LOCAL session_replication_role = replica")
                await connection.execute(f"TRUNCATE {', '.join(f'public.{table}' for table in tables)}")
                for table in tables:
                    await connection.execute(
                        f"INSERT INTO public.{table} OVERRIDING SYSTEM VALUE SELECT * FROM dump.{table}"
                    )
            await connection.execute("DROP SCHEMA dump CASCADE")
        finally:
            await connection.close()

    async def _tables(self, connection: asyncpg.Connection) -> list[str]:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        return [row["tablename"] for row in rows if row["tablename"] not in KEPT]


def dumps(holdfast: Holdfast) -> dict[str, Dump]:
    return {
        "booking": Dump(holdfast.stack.booking_database_url),
        "payment": Dump(holdfast.stack.payment_database_url),
    }


async def repair(holdfast: Holdfast, *arguments: str) -> CommandResult:
    """Run `holdfast repair` as an operator does."""
    return await command("repair", "--data", str(holdfast.stack.data_dir), *arguments)


async def statuses(who: list[Customer]) -> list[str]:
    return [(await each.sees())["status"] for each in who]


async def test_a_payment_whose_row_is_lost_is_confirmed_when_it_is_paid(battered: Holdfast) -> None:
    """No operator does anything."""
    await assert_clean(battered)
    (buyer,) = await customers(battered, await battered.event((1500, 10), **CANCELLABLE), 1)
    connection = await asyncpg.connect(battered.stack.payment_database_url)
    try:
        await connection.execute("DELETE FROM payments WHERE booking_id = $1", UUID(buyer.id))
    finally:
        await connection.close()
    await buyer.pays()
    await eventually(lambda: statuses([buyer]), lambda found: found == ["confirmed"])
    await assert_clean(battered)


@pytest.mark.parametrize("older", ["booking", "payment", "both"])
async def test_dumps_of_different_ages(battered: Holdfast, older: str) -> None:
    """Seats are sold, cancelled and booked after the dump of one database, or of both, which then comes back, as
    when a standby that lags takes over. After a repair the audit is clean, and nobody has paid for nothing."""
    event = await battered.event((1500, 50), **CANCELLABLE)
    before, cancelled = await customers(battered, event, 2)
    await before.buys()
    await cancelled.buys()
    await assert_clean(battered)
    restored = [dump for name, dump in dumps(battered).items() if older in (name, "both")]
    for dump in restored:
        await dump.take()
    (await cancelled.cancels()).ok(202)
    after, open_ = await customers(battered, event, 2)
    await after.buys()
    await assert_clean(battered)
    for dump in restored:
        await dump.restore()
    done = await repair(battered, "--dry-run")
    assert (done.code, "nothing was done" in done.out) == (1, True), done
    done = await repair(battered, "--yes")
    assert done.code == 0, done
    await assert_clean(battered)
    assert (await statuses([before, cancelled])) == ["confirmed", "cancelled"]
    if older == "payment":
        assert (await statuses([after, open_])) == ["confirmed", "pending"]
    refunds = [each["metadata"].get("booking_id") for each in await battered.stripe.all("refunds")]
    assert refunds.count(cancelled.id) == 1
    assert refunds.count(after.id) == (0 if older == "payment" else 1)
