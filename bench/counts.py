"""What a stack's servers count: SQL statements, WAL syncs, Redis' reads and commands, and wake-ups of processes.

Nothing is put in between: Postgres logs each statement and counts its own syncs; Redis counts its reads and
commands; the system counts how often each process has waited.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from bench.cpu import CHARGED
from bench.stage import Stage

# One log entry for each executed statement, with its database; a transaction's begin and end are statements, too.
LOGGED = {"log_statement": "all", "log_line_prefix": "counted %d ", "log_parameter_max_length": "0"}
# Its further lines begin with a tab.
STATEMENT = re.compile(
    rb"^counted (booking|payment) LOG:  (?:statement|execute [^:]+): ?(.*(?:\n\t.*)*)", re.MULTILINE
)
STATEMENT_SHOWN = 100
# A backend that has become idle reports its counters after this many seconds at the latest (pgstat.c).
REPORTED_SECONDS = 10.5
SYNCS = """
SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal' AND backend_type = 'client backend'
"""
# Before PostgreSQL 18 all kinds of backends have one figure together.
SYNCS_17 = "SELECT wal_sync FROM pg_stat_wal"
# How much reading Redis' counters adds to them.
OWN_READS = 2


@dataclass(frozen=True)
class Counts:
    """What was counted up to one time, or between two."""

    statements: Mapping[str, float]
    wal_syncs: float
    redis_reads: float
    redis_commands: Mapping[str, float]
    # By kind of process: how often its processes waited and were woken.
    wakeups: Mapping[str, float]

    def since(self, before: Counts) -> Counts:
        return self._with(before, -1.0)

    def without(self, background: Counts, share: float) -> Counts:
        """These counts less `share` of what was counted while no request came."""
        return self._with(background, -share)

    def each(self, number: int) -> Counts:
        """The counts divided by `number`."""
        return Counts(
            {name: count / number for name, count in self.statements.items()},
            self.wal_syncs / number,
            self.redis_reads / number,
            {name: count / number for name, count in self.redis_commands.items()},
            {name: count / number for name, count in self.wakeups.items()},
        )

    def _with(self, other: Counts, factor: float) -> Counts:
        return Counts(
            _sum(self.statements, other.statements, factor),
            self.wal_syncs + factor * other.wal_syncs,
            self.redis_reads + factor * other.redis_reads,
            _sum(self.redis_commands, other.redis_commands, factor),
            _sum(self.wakeups, other.wakeups, factor),
        )


def _sum(one: Mapping[str, float], other: Mapping[str, float], factor: float) -> dict[str, float]:
    return {name: one.get(name, 0.0) + factor * other.get(name, 0.0) for name in {**one, **other}}


class Counting:
    """Counts at `stage`. From `begin` on statements are logged, which slows them: nothing is timed meanwhile."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._log: Path = stage.stack.logs / "postgres.log"
        self._from = 0

    async def begin(self) -> None:
        connection = await asyncpg.connect(self._stage.stack.booking_database_url)
        try:
            for name, value in LOGGED.items():
                await connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            await connection.execute("SELECT pg_reload_conf()")
        finally:
            await connection.close()
        self._from = self._log.stat().st_size

    async def syncs(self) -> float:
        """WAL syncs of Holdfast's sessions as reported up to now: see REPORTED_SECONDS."""
        connection = await asyncpg.connect(self._stage.stack.booking_database_url.replace("/booking", "/postgres"))
        try:
            later = connection.get_server_version().major >= 18
            return float(await connection.fetchval(SYNCS if later else SYNCS_17))
        finally:
            await connection.close()

    async def read(self) -> Counts:
        """All counts but the syncs, at once."""
        redis = self._stage.redis
        wakeups = self._wakeups()
        stats: dict[str, Any] = await redis.info("stats")
        commands: dict[str, Any] = await redis.info("commandstats")
        called = {
            name.removeprefix("cmdstat_"): float(each["calls"])
            for name, each in commands.items()
            if name != "cmdstat_info"
        }
        return Counts(self.statements(), 0.0, float(stats["total_reads_processed"]), called, wakeups)

    def statements(self) -> dict[str, float]:
        """How often each was executed since `begin`, by database and text."""
        with self._log.open("rb") as log:
            log.seek(self._from)
            lines = STATEMENT.findall(log.read())
        names = (f"{database.decode()}: {_shortened(text.decode(errors='replace'))}" for database, text in lines)
        return {name: float(count) for name, count in Counter(names).items()}

    def _wakeups(self) -> dict[str, float]:
        found: Counter[str] = Counter()
        for name, pid in self._stage.pids(*CHARGED).items():
            found[name.partition("-")[0]] += sum(_waits(each) for each in _family(pid))
        return {name: float(count) for name, count in found.items()}


def _shortened(text: str) -> str:
    return " ".join(text.split())[:STATEMENT_SHOWN].rstrip("; ")


def _family(pid: int) -> list[int]:
    try:
        process = psutil.Process(pid)
        return [pid, *(each.pid for each in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _waits(pid: int) -> int:
    """Voluntary context switches of all threads of a process; none of one that has ended."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        total += int(text.partition("voluntary_ctxt_switches:")[2].split(maxsplit=1)[0])
    return total
