"""The real databases, one connection each: one transaction at a time, with a gate before and after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from common.postgres.database import Database
from common.runtime.outages import DatabaseOutage
from tests.simulation.faults import Fault, Point
from tests.simulation.gates import Gates, die
from tests.simulation.process import Process, current

# Raised when the answer to a commit is lost, and when Postgres cannot be reached.
LOST: type[Exception] = DatabaseOutage
TABLES = {
    "booking": "events, ticket_types, event_changes, bookings, booking_transitions, operator_requests, "
    "refund_retries, buyers, promo_codes, promo_code_owners, check_ins, door_changes, erasures, mails, "
    "webhook_endpoints, webhook_deliveries",
    "payment": "payments, payment_attempts, refunds, disputes, stripe_events, event_cursor, stray_intents",
}
# Query plans, and so the order of rows, must not depend on what ran before; no data here has to survive a crash.
SESSION = {"plan_cache_mode": "force_generic_plan", "synchronous_commit": "off", "jit": "off"}


async def _connect(url: str) -> asyncpg.Connection:
    # Prepared statements are kept without limit, because asyncpg else sets timers of its own.
    return await asyncpg.connect(url, server_settings=SESSION, max_cached_statement_lifetime=0)


async def open_gated(app: str, url: str) -> GatedDatabase:
    return GatedDatabase(app, await _connect(url), await _connect(url))


class _Killed(BaseException):
    """The process dies in a transaction, which is rolled back first: killing cancels what the process waits for."""

    def __init__(self, process: Process) -> None:
        self.process = process


class GatedDatabase(Database):
    """`app`'s database as its actors use it. `changed` is set by each commit."""

    def __init__(self, app: str, connection: asyncpg.Connection, holder: asyncpg.Connection) -> None:
        self.app = app
        self.raw = connection
        self._holder = holder
        self.changed = False
        # Stripe events that this transaction has counted as new, and that all transactions before it have.
        self.counting: set[str] = set()
        self.counted: set[str] = set()
        self._gates: Gates
        self._outage: Fault

    async def begin_schedule(self, gates: Gates, seed: int) -> None:
        """Empty the database, so that nothing of the schedule before is left."""
        self._gates = gates
        self._outage = Fault.BOOKING_DATABASE_OUTAGE if self.app == "booking" else Fault.PAYMENT_DATABASE_OUTAGE
        self.changed = False
        self.counted.clear()
        await self._holder.execute("ROLLBACK")
        await self.raw.execute(f"TRUNCATE {TABLES[self.app]}; SELECT setseed({(seed % 1000) / 1000})")
        # While this snapshot is held, Postgres removes no old row: else it would at a time that no seed decides,
        # which would change the order of rows.
        await self._holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")

    async def copy(self) -> dict[str, bytes]:
        """All rows as they are now, by table."""
        return {table: await self._copy_of(table) for table in TABLES[self.app].split(", ")}

    async def _copy_of(self, table: str) -> bytes:
        rows = bytearray()

        async def keep(part: bytes) -> None:
            rows.extend(part)

        await self.raw.copy_from_table(table, output=keep, format="binary")
        return bytes(rows)

    async def put_back(self, copy: dict[str, bytes]) -> None:
        """Restore `copy`, in one transaction. Sequences keep their values, because no story shows them."""

        async def parts(rows: bytes) -> AsyncIterator[bytes]:
            yield rows

        async with self.raw.transaction():
            await self.raw.execute(f"TRUNCATE {TABLES[self.app]}")
            for table, rows in copy.items():
                await self.raw.copy_to_table(table, source=parts(rows), format="binary")
        self.changed = True
        if self.app == "payment":
            # Stripe events that this loses may be counted again.
            self.counted = {row["id"] for row in await self.raw.fetch("SELECT id FROM stripe_events")}

    async def close(self) -> None:
        for connection in (self._holder, self.raw):
            await connection.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        await self._reach()
        async with self._gates.io():
            yield self.raw

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[asyncpg.Connection]:
        """A statement with a commit of its own, and with all that can happen at a commit."""
        async with self.transaction() as connection:
            yield connection

    async def _reach(self) -> None:
        await self._gates.reach(Point.BEFORE_BEGIN, self.app)
        if self._gates.strikes(Fault.DATABASE_OUTAGE, self._outage):
            raise LOST("made up: the database is unavailable")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        await self._reach()
        async with self._gates.io():
            transaction = self.raw.transaction()
            await transaction.start()
            self.counting = set()
            try:
                yield self.raw
                if undone := self._undone():
                    raise undone
            except BaseException as error:
                await transaction.rollback()
                if isinstance(error, _Killed):
                    self._gates.crash(error.process, Point.BEFORE_COMMIT)
                    die()
                raise
            await transaction.commit()
            self.changed = True
            self._gates.note(f"commits in {self.app}")
            if twice := self.counting & self.counted:
                self._gates.violated(f"counted twice: {' '.join(sorted(twice))}")
            self.counted |= self.counting
        if self._gates.strikes(Fault.COMMIT_UNKNOWN):
            raise LOST("made up: no answer to the commit")
        await self._gates.reach(Point.AFTER_COMMIT, self.app)

    def _undone(self) -> BaseException | None:
        """Nothing waits here: the transaction is committed (None), fails, or its process dies before the commit."""
        process = current()
        if process is not None and self._gates.dies_here():
            return _Killed(process)
        if self._gates.strikes(Fault.COMMIT_FAILED):
            return LOST("made up: the commit failed")
        return None

    async def ping(self) -> None:
        if self._outage in self._gates.outages:
            raise LOST("made up: the database is unavailable")
