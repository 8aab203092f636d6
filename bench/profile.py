"""What a process uses the CPU of a booking for: a sampling profiler watches the actors while they sell.

py-spy (https://github.com/benfred/py-spy) reads their stacks from outside, native frames among them, so that
nothing of theirs is changed. It stops them for each sample: shares are exact to a few hundredths, and no goal is
judged by them.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench import stage as stages
from bench.figures import SPREAD, Ways, ways
from bench.findings import Findings, Table, cell
from bench.progress import Steps
from bench.sides import Side, prepared
from bench.stage import ACTORS

SECONDS = 40.0
# How many seconds starting, warming up, auditing and stopping take.
AROUND_SECONDS = 10.0
CONCURRENCIES = (1, 64)
# The share of a level's time before the processes are profiled in turn: it measures what a booking costs.
UNWATCHED_SHARE = 0.25
SECONDS_MIN = 1.0
SAMPLES_PER_SECOND = 250
# How much longer than its samples the profiler may take to start and to end.
PROFILER_MARGIN_S = 30.0

# By what is in a frame, the first that fits: a sample belongs to the part of the innermost frame that fits any
# part. Frames of the interpreter itself fit none, and count for their callers.
PARTS: Mapping[str, Sequence[str]] = {
    "system calls": tuple(
        f"{name} (libc." for name in ("epoll_pwait", "write", "writev", "read", "sendmsg", "getpid", "getrandom")
    ),
    "pydantic": ("pydantic",),
    "JSON (orjson)": ("orjson",),
    "Stripe's SDK": ("(stripe/", "payment/sdk.py"),
    "HTTP client": ("aiohttp/client", "aiohttp/connector", "yarl/"),
    "HTTP server, WebSocket": ("aiohttp/", "_http_parser.c", "llhttp", "common/runtime/"),
    "Postgres client": ("asyncpg/", "protocol.c", "common/postgres/"),
    "Redis client": ("redis/", "hiredis", "pack.c", "reader.c", "messaging/redis.py", "messaging/connection.py"),
    "event loop": ("uvloop/", "loop.c", "asyncio/", "_asynciomodule.c", "linux.c", "stream.c"),
    "messaging": ("common/messaging/", "common/contracts/", "common/"),
    "the actor itself": ("booking/", "payment/", "gateway/"),
    "garbage collector": ("gc_collect_main",),
}
REST = "the rest"


async def run(seconds: float, steps: Steps) -> Findings:
    profiler = shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if profiler is None:
        return Findings({}, notes=["py-spy is not installed here"])
    steps.begin("starting Holdfast", 0.1)
    async with stages.running() as stage, prepared("profile", stage, max(CONCURRENCIES)) as side:
        each_s = max((seconds - AROUND_SECONDS) / len(CONCURRENCIES), SECONDS_MIN)
        shares: dict[int, dict[str, Counter[str]]] = {}
        notes: list[str] = []
        for concurrency in CONCURRENCIES:
            shares[concurrency] = await _level(side, profiler, concurrency, each_s, steps, notes)
        steps.begin("comparing with the database", 0.05)
        wrong = await side.problems()
        steps.begin("stopping")
    unwatched = [side.slices(SPREAD, concurrency)[0] for concurrency in CONCURRENCIES]
    return _findings(shares, ways(unwatched, None), wrong, notes)


async def _level(
    side: Side, profiler: str, concurrency: int, seconds: float, steps: Steps, notes: list[str]
) -> dict[str, Counter[str]]:
    """How many samples of each actor belong to which part."""
    steps.begin(f"{concurrency} at once", 0.4 * UNWATCHED_SHARE)
    await side.slice(SPREAD, seconds * UNWATCHED_SHARE, concurrency)
    watched: dict[str, Counter[str]] = {}
    each_s = seconds * (1 - UNWATCHED_SHARE) / len(ACTORS)
    for name, pid in side.stage.pids(*ACTORS).items():
        steps.begin(f"{concurrency} at once: profiling {name}", 0.4 * (1 - UNWATCHED_SHARE) / len(ACTORS))
        selling = asyncio.create_task(side.slice(SPREAD, each_s, concurrency))
        try:
            stacks = await _stacks(profiler, pid, each_s)
        except (OSError, TimeoutError, ValueError) as error:
            notes.append(f"{name} could not be profiled: {error}")
        else:
            watched[name.partition("-")[0]] = counted(stacks)
        await selling
    return watched


async def _stacks(profiler: str, pid: int, seconds: float) -> str:
    """One line for each stack: its frames from the outermost on, and how often it was seen. Raises OSError,
    TimeoutError, or ValueError with what the profiler says."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-profile-") as folder:
        kept = Path(folder) / "stacks"
        process = await asyncio.create_subprocess_exec(
            profiler, "record", "--native", "--format", "raw", "--output", str(kept), "--pid", str(pid),
            "--rate", str(SAMPLES_PER_SECOND), "--duration", str(max(1, round(seconds))),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(seconds + PROFILER_MARGIN_S):
                _, output = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode or not kept.exists():
            raise ValueError(output.decode(errors="replace").strip().splitlines()[-1:] or "it printed nothing")
        return await asyncio.to_thread(kept.read_text)


def counted(stacks: str) -> Counter[str]:
    """How many samples belong to which part."""
    found: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, times = line.rpartition(" ")
        found[part(stack.split(";"))] += int(times)
    return found


def part(frames: Sequence[str]) -> str:
    """The part that a sample belongs to; `frames` from the outermost on."""
    for frame in reversed(frames):
        for name, marks in PARTS.items():
            if any(mark in frame for mark in marks):
                return name
    return REST


def _findings(
    shares: Mapping[int, Mapping[str, Counter[str]]],
    unwatched: Iterable[Ways],
    wrong: Sequence[str],
    notes: Sequence[str],
) -> Findings:
    costs = {each.concurrency: each for each in unwatched}
    figures = {
        str(concurrency): {name: _shares(samples) for name, samples in watched.items()}
        for concurrency, watched in shares.items()
    }
    return Findings(
        figures={"shares": figures, "unwatched": [asdict(each) for each in costs.values()]},
        tables=[_table(concurrency, shares[concurrency], each) for concurrency, each in costs.items()],
        problems=wrong,
        notes=notes,
    )


def _shares(samples: Counter[str]) -> dict[str, float]:
    return {name: times / samples.total() for name, times in samples.most_common()}


def _table(concurrency: int, watched: Mapping[str, Counter[str]], cost: Ways) -> Table:
    """CPU of a booking in ms by part: the process' share of it, divided as its samples are."""
    ms = {
        name: {kind: share * cost.cpu[name] for kind, share in _shares(samples).items()}
        for name, samples in watched.items()
    }
    sums = {kind: sum(each.get(kind, 0.0) for each in ms.values()) for kind in (*PARTS, REST)}
    rows = [
        (kind, *(cell(each.get(kind, 0.0), 3) for each in ms.values()), cell(sums[kind], 3))
        for kind in sorted(sums, key=sums.__getitem__, reverse=True)
        if sums[kind]
    ]
    total = (*(cell(cost.cpu[name], 3) for name in ms), cell(sum(cost.cpu[name] for name in ms), 3))
    return Table(
        f"What the CPU of a booking goes to, {concurrency} at once: ms", ("", *ms, "sum"), [*rows, ("all", *total)]
    )
