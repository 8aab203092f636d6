"""How long Holdfast takes to be ready, and how much an idle process costs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import psutil

from bench.cpu import spent
from bench.errors import BenchError
from bench.findings import Findings, Goal, Table
from bench.progress import Steps
from bench.stage import remove, temporary_folder
from ops.actor import CHECKOUT
from ops.child import Child
from ops.layout import Ports
from ops.stack import Stack

SECONDS = 24.0
# The line that `holdfast up` prints when all processes serve.
READY = "Up after"
UP_TIMEOUT_SECONDS = 60.0
# The second start and those after it are alike: the figure is their median.
LATER_STARTS = 2
ACTORS = ("gateway", "booking", "payment")
# After this time all work that a start leaves is done.
REST_SECONDS = 1.0
IDLE_SECONDS = 4.0
MIB = 1 << 20
UP_SECONDS, UP_SECONDS_BEFORE = 4.0, 2.5
# No worse than the release before on the reference machine, to the precision of its figures.
READY_SECONDS, IDLE_MB = 0.96, 81.0


@dataclass(frozen=True)
class Idle:
    """A process that has nothing to do. Memory in bytes: all that is resident, and the part that is its own or its
    share of what is shared (None if the system does not report it). `cpu` in seconds of CPU a second."""

    resident: int
    proportional: int | None
    cpu: float


async def run(seconds: float, steps: Steps) -> Findings:
    folder = temporary_folder()
    stack = Stack(folder, ports=Ports.free(), settings=_environment())
    try:
        steps.begin("`make up` for the first time", 0.2)
        first = await _up(folder)
        later = []
        for number in range(LATER_STARTS):
            steps.begin(f"`make up` again, {number + 1} of {LATER_STARTS}", 0.15)
            later.append(await _up(folder))
        steps.begin("each process on its own, and all at once", 0.3)
        await stack.start()
        actors = [child for name, child in stack.processes.items() if name.partition("-")[0] in ACTORS]
        alone = {child.name: await _restarted(child) for child in (stack.processes["sandbox"], *actors)}
        together = await _restarted_together(actors)
        steps.begin("doing nothing", 0.2)
        await asyncio.sleep(REST_SECONDS)
        idle = await _idle(stack.processes)
        steps.begin("stopping")
    finally:
        await remove(stack, folder)
    return _findings(first, later, alone, together, idle)


def _environment() -> dict[str, str]:
    """Nothing in the environment points it at servers that are in use, and all ports are free ones."""
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return base | {f"{name.upper()}_PORT": "0" for name in vars(Ports())}


async def _up(folder: Path) -> float:
    """Seconds from the start of `holdfast up` until it says that all processes serve; it is stopped again."""
    started = time.perf_counter()
    async with _holdfast_up(folder) as lines:
        async for line in lines:
            if line.startswith(READY):
                return time.perf_counter() - started
    raise BenchError("holdfast up has ended before it was up")


@asynccontextmanager
async def _holdfast_up(folder: Path) -> AsyncIterator[AsyncIterator[str]]:
    """What `make up` runs; yields the lines that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops", "up",
        env={**_environment(), "HOLDFAST_DATA": str(folder), "PYTHONUNBUFFERED": "1"},
        cwd=CHECKOUT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(UP_TIMEOUT_SECONDS):
            yield _lines(process.stdout)
    except TimeoutError:
        raise BenchError(f"holdfast up was not up after {UP_TIMEOUT_SECONDS:.0f} s") from None
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.communicate()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    async for line in stream:
        yield line.decode(errors="replace").strip()


async def _restarted(child: Child) -> float:
    """Seconds from its start until it is ready."""
    await child.stop()
    return await _started(child)


async def _started(child: Child) -> float:
    started = time.perf_counter()
    await child.start()
    return time.perf_counter() - started


async def _restarted_together(children: Sequence[Child]) -> dict[str, float]:
    await asyncio.gather(*(child.stop() for child in children))
    seconds = await asyncio.gather(*(_started(child) for child in children))
    return dict(zip([child.name for child in children], seconds, strict=True))


async def _idle(children: Mapping[str, Child]) -> dict[str, Idle]:
    """All of them, observed over IDLE_SECONDS."""
    before = {name: spent(child.pid) for name, child in children.items()}
    started = time.perf_counter()
    await asyncio.sleep(IDLE_SECONDS)
    elapsed = time.perf_counter() - started
    return {
        name: Idle(*memory(child.pid), (spent(child.pid) - before[name]) / elapsed)
        for name, child in children.items()
    }


def memory(pid: int) -> tuple[int, int | None]:
    """Resident memory and, if the system reports it, the proportional share, of a process and its children."""
    process = psutil.Process(pid)
    found = [process.memory_full_info()]
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a backend that has ended meanwhile
            found.append(child.memory_full_info())
    shares = [getattr(each, "pss", None) for each in found]
    known = [share for share in shares if share is not None]
    return sum(each.rss for each in found), sum(known) if len(known) == len(shares) else None


def _findings(
    first: float,
    later: Sequence[float],
    alone: Mapping[str, float],
    together: Mapping[str, float],
    idle: Mapping[str, Idle],
) -> Findings:
    return Findings(
        figures={
            "up_first_s": first,
            "up_later_s": later,
            "ready_alone_s": alone,
            "ready_together_s": together,
            "idle": {name: asdict(each) for name, each in idle.items()},
        },
        tables=[
            Table(
                "`make up`: from the command until all of it serves",
                ("", "seconds"),
                [("first time (with initdb)", f"{first:.2f}"), *(("again", f"{each:.2f}") for each in later)],
            ),
            Table(
                "Processes: from the start until ready, then idle",
                ("", "alone s", "all at once s", "resident MB", "proportional MB", "CPU %"),
                [_row(name, alone.get(name), together.get(name), each) for name, each in idle.items()],
            ),
        ],
        goals=_goals(median(later), max(alone.values()), max(idle[name].resident for name in alone)),
    )


def _goals(up: float, slowest: float, largest: int) -> list[Goal]:
    """Each start in seconds, the largest process in bytes."""
    return [
        Goal("`make up` again until ready", up, UP_SECONDS, False, "s", UP_SECONDS_BEFORE),
        # Started alone, as a process that is restarted or added; `make up` is judged by starting all at once.
        Goal("a process until ready: the slowest", round(slowest, 2), READY_SECONDS, False, "s", READY_SECONDS),
        Goal("an idle process: the largest", round(largest / MIB), IDLE_MB, False, "MB", IDLE_MB),
    ]


def _row(name: str, alone: float | None, together: float | None, idle: Idle) -> tuple[str, ...]:
    seconds = ("–" if each is None else f"{each:.2f}" for each in (alone, together))
    share = "–" if idle.proportional is None else f"{idle.proportional / MIB:.0f}"
    return (name, *seconds, f"{idle.resident / MIB:.0f}", share, f"{idle.cpu * 100:.1f}")
