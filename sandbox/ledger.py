"""Everything that the stand-in stores, in one SQLite file.

There is one connection, used only on the event loop: a piece of work is a few synchronous statements in a
savepoint, so no two interleave. One commit serves a group of requests, and a response is sent only after
`committed()`. The journal mode WAL with synchronous NORMAL survives a killed process.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

COMMIT_DELAY_SECONDS = 0.001
"""How long a transaction stays open for other requests: short compared to a request, long to a statement."""

WAL_PAGES = 8000
"""How many pages of 4 KiB the journal has before SQLite copies it back, which blocks the loop for milliseconds."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    created INTEGER NOT NULL,
    intent TEXT,
    charge TEXT,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_by_kind ON objects (kind, created, seq);
CREATE INDEX IF NOT EXISTS objects_by_intent ON objects (intent) WHERE intent IS NOT NULL;
CREATE INDEX IF NOT EXISTS objects_by_charge ON objects (charge) WHERE charge IS NOT NULL;

CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    created INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_by_time ON events (created, seq);

CREATE TABLE IF NOT EXISTS endpoints (
    position INTEGER PRIMARY KEY,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,
    enabled_events TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS deliveries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    endpoint INTEGER NOT NULL,
    status TEXT NOT NULL,
    due REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    last_status INTEGER,
    last_error TEXT
);
CREATE INDEX IF NOT EXISTS deliveries_by_event ON deliveries (event);
CREATE INDEX IF NOT EXISTS deliveries_pending ON deliveries (due) WHERE status = 'pending';

CREATE TABLE IF NOT EXISTS moves (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    object TEXT NOT NULL,
    due REAL NOT NULL
);

CREATE TABLE IF NOT EXISTS idempotency_keys (
    key TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    created INTEGER NOT NULL,
    request TEXT NOT NULL,
    status INTEGER NOT NULL,
    body BLOB NOT NULL
) WITHOUT ROWID;
"""


class Ledger:
    """The connection, the group commit, and the objects. Other tables belong to the modules that use them."""

    def __init__(self, path: str) -> None:
        """Open the file; create it and its folder if they do not exist.

        Raises:
            sqlite3.Error: the file is not a database or cannot be written.
        """
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        self._connection.executescript(SCHEMA)
        self._commit: asyncio.Future[None] | None = None

    def close(self) -> None:
        """Commit the open transaction and close the file."""
        self._end_transaction()
        self._connection.close()

    # --- transactions

    def write(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Run a statement that writes, in the shared transaction."""
        self._begin()
        return self._connection.execute(sql, values)

    def read(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Run a query; it sees changes that are not committed yet."""
        return self._connection.execute(sql, values)

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """A block whose changes are rolled back if it raises."""
        self._begin()
        self._connection.execute("SAVEPOINT work")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK TO work")
            raise
        finally:
            self._connection.execute("RELEASE work")

    async def committed(self) -> None:
        """Wait until everything written so far is committed."""
        if self._commit is not None:
            await asyncio.shield(self._commit)

    def _begin(self) -> None:
        if self._commit is None:
            self._connection.execute("BEGIN IMMEDIATE")
            loop = asyncio.get_running_loop()
            self._commit = loop.create_future()
            loop.call_later(COMMIT_DELAY_SECONDS, self._end_transaction)

    def _end_transaction(self) -> None:
        commit, self._commit = self._commit, None
        if commit is None:
            return
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._connection.execute("ROLLBACK")
            commit.set_exception(error)
        else:
            commit.set_result(None)

    # --- objects

    def insert(self, obj: dict[str, Any]) -> None:
        """Add a Stripe object; it is listed by its kind, its intent and its charge."""
        self.write(
            "INSERT INTO objects (id, kind, created, intent, charge, body) VALUES (?, ?, ?, ?, ?, ?)",
            (
                obj["id"],
                obj["object"],
                obj["created"],
                obj.get("payment_intent"),
                obj.get("charge"),
                orjson.dumps(obj).decode(),
            ),
        )

    def update(self, obj: dict[str, Any]) -> None:
        """Replace an object by its newer state."""
        self.write("UPDATE objects SET body = ? WHERE id = ?", (orjson.dumps(obj).decode(), obj["id"]))

    def find(self, kind: str, object_id: str) -> dict[str, Any] | None:
        """The object of this kind and id, or None."""
        row = self.read("SELECT body FROM objects WHERE id = ? AND kind = ?", (object_id, kind)).fetchone()
        return None if row is None else orjson.loads(row[0])

    def of_charge(self, kind: str, charge_id: str) -> list[dict[str, Any]]:
        """The refunds or disputes of a charge, newest first."""
        rows = self.read(
            "SELECT body FROM objects WHERE charge = ? AND kind = ? ORDER BY seq DESC", (charge_id, kind)
        )
        return [orjson.loads(body) for (body,) in rows]
