"""What is counted for a single booking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from bench.counts import Counting, Counts
from bench.stage import Stage

LOG = """counted booking LOG:  statement: BEGIN;
counted booking LOG:  execute __asyncpg_stmt_1__:
\tSELECT id
\t  FROM bookings
\t WHERE id = $1
counted booking DETAIL:  parameters: $1 = '...'
counted payment LOG:  execute <unnamed>: SELECT 1
counted postgres LOG:  statement: SELECT 1
counted booking ERROR:  deadlock detected
counted booking LOG:  statement: BEGIN;
LOG:  checkpoint starting: time
"""
COUNTS = Counts({"booking: BEGIN": 6.0}, 6.0, 12.0, {"xadd": 4.0}, {"gateway": 8.0})


async def test_each_statement_is_counted_once_with_its_database(tmp_path: Path) -> None:
    """Errors, parameters and statements in other databases are not counted."""
    log = tmp_path / "postgres.log"
    log.write_text(LOG)
    counting = Counting(cast(Stage, SimpleNamespace(stack=SimpleNamespace(logs=tmp_path))))
    found = counting.statements()
    assert found == {
        "booking: BEGIN": 2,
        "booking: SELECT id FROM bookings WHERE id = $1": 1,
        "payment: SELECT 1": 1,
    }


def test_what_processes_do_on_their_own_is_subtracted() -> None:
    background = replace(COUNTS, statements={"payment: SELECT 1": 2.0}, wal_syncs=0.0, wakeups={"redis": 4.0})
    own = COUNTS.without(background, 0.5)
    assert own.statements == {"booking: BEGIN": 6.0, "payment: SELECT 1": -1.0}
    assert (own.wal_syncs, own.redis_reads, own.redis_commands) == (6.0, 6.0, {"xadd": 2.0})
    assert own.wakeups == {"gateway": 8.0, "redis": -2.0}


def test_counts_of_one_of_many() -> None:
    one = COUNTS.since(replace(COUNTS, statements={}, wal_syncs=2.0)).each(2)
    assert (one.statements, one.wal_syncs, one.redis_reads) == ({"booking: BEGIN": 3.0}, 2.0, 0.0)
