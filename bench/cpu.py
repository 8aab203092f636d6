"""CPU time of processes and of all processes that they started, by kind of process."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress

import psutil

# The processes whose CPU counts for a booking; the sandbox and the load driver stand for the world outside.
CHARGED = ("gateway", "booking", "payment", "postgres", "redis")

DRIVER = "driver"

Usage = dict[str, float]


def spent(pid: int) -> float:
    """CPU seconds of a process, of its living descendants and of those that ended and were waited for.

    The system adds an ended child's CPU to its parent's, so that Postgres' backends stay counted when they end.
    """
    try:
        process = psutil.Process(pid)
        descendants = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return 0.0
    return sum(_own(each) for each in (*descendants, process))


def _own(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


class Others:
    """What part of the machine's cores others use, beside this process and those that it started: other programs,
    and other machines on the same hardware."""

    def __init__(self) -> None:
        self._since = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        times = psutil.cpu_times()
        taken = times.user + times.system + getattr(times, "nice", 0.0) + getattr(times, "steal", 0.0)
        return time.monotonic(), taken - spent(os.getpid())

    def share(self) -> float:
        """Since this was made."""
        (since, before), (now, after) = self._since, self._now()
        return (after - before) / ((now - since) * (psutil.cpu_count() or 1))


def give_way(pid: int | None = None) -> None:
    """This process, or another, and its descendants run from now on only while nobody else wants their cores."""
    process = psutil.Process(pid)
    for each in (process, *process.children(recursive=True)):
        with suppress(ProcessLookupError):
            os.sched_setscheduler(each.pid, os.SCHED_IDLE, os.sched_param(0))


class Meter:
    """Reads the CPU time of each kind of process; `pids` are by the names of the stack (`booking-1`, …)."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)

    def read(self) -> Usage:
        """CPU seconds up to now by kind, with the load driver's own. Exact to one clock tick for each process,
        mostly 10 ms."""
        usage: defaultdict[str, float] = defaultdict(float)
        for name, pid in self._pids.items():
            usage[name.partition("-")[0]] += spent(pid)
        own = os.times()
        usage[DRIVER] = own.user + own.system  # without its children, which are all the other processes
        return dict(usage)


def difference(before: Usage, after: Usage) -> Usage:
    return {kind: after[kind] - before.get(kind, 0.0) for kind in after}


def total(usages: list[Usage]) -> Usage:
    """The sum of several usages by kind."""
    sums: defaultdict[str, float] = defaultdict(float)
    for usage in usages:
        for kind, seconds in usage.items():
            sums[kind] += seconds
    return dict(sums)


def charged(usage: Usage) -> float:
    """CPU seconds of Holdfast's own processes, Postgres and Redis."""
    return sum(usage.get(kind, 0.0) for kind in CHARGED)
