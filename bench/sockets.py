"""Ten thousand idle sockets of one gateway: how much memory each takes, and how soon all are notified."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from bench import raw, stage
from bench.errors import BenchError
from bench.findings import Chart, Findings, Goal, Series, Table
from bench.listeners import REST_PER_SECOND, SOCKETS, Customers, Delivered, Listeners, in_ms, listening
from bench.progress import Steps
from ops.actor import ActorProcess

SECONDS = 45.0
# A process needs some files for itself.
FILES_MIN = SOCKETS + 500
# The share of the time for each kind of notification; the rest is for starting, opening and stopping.
NOTIFY_SHARE = 0.2
NOTIFY_SECONDS_MIN = 3.0

OWN, EVERYBODY = "own booking", "one event"
IDLE_SOCKET = "an idle authenticated socket, beyond the gateway's base"
PER_SECOND_MIN = 10_000.0
# The limits, and the release before's figures on the reference machine: memory of a socket, and XADD to socket.
KB_MAX = 6.1
P99_MAX_MS = {OWN: (60.0, 157.8), EVERYBODY: (250.0, 176.1)}
PERCENTILES = (1, 10, 25, 50, 75, 90, 95, 99, 99.9, 100)


@dataclass(frozen=True)
class Memory:
    """Of a process with `SOCKETS` sockets, beyond what it has without any: KB for each socket."""

    resident: float
    proportional: float


async def run(seconds: float, steps: Steps) -> Findings:
    _allow_files()
    notify_seconds = max(seconds * NOTIFY_SHARE, NOTIFY_SECONDS_MIN)
    steps.begin("sockets: starting Holdfast", 0.1)
    async with stage.running() as holdfast:
        steps.begin(f"sockets: {SOCKETS} of a bare server", 0.1)
        async with raw.process("bare", "bench.bare", holdfast.stack.data_dir) as bare, listening() as listeners:
            bare_memory = await _memory(bare, listeners, Customers(holdfast, listeners).tokens)
        async with listening() as listeners:
            steps.begin(f"sockets: {SOCKETS} of a gateway", 0.2)
            crowd = Customers(holdfast, listeners)
            rest = await crowd.warm_up()
            memory = await _memory(holdfast.actor("gateway-1"), listeners, crowd.tokens)
            steps.begin("sockets: each is notified of its own booking", 0.2)
            own = await crowd.notify_each(notify_seconds, rest())
            steps.begin("sockets: all subscribe to one event", 0.2)
            await crowd.subscribe()
            steps.begin("sockets: all are notified of one event", 0.2)
            everybody = await crowd.notify_all(notify_seconds, rest())
        steps.begin("sockets: stopping")
    return _findings(bare_memory, memory, own, everybody)


def _allow_files() -> None:
    """Allows them for this process and for those that it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < FILES_MIN:
        raise BenchError(f"{SOCKETS} sockets need {FILES_MIN} open files, and only {most} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _memory(server: ActorProcess, listeners: Listeners, tokens: Sequence[str]) -> Memory:
    before = psutil.Process(server.pid).memory_full_info()
    await listeners.do("open", host="127.0.0.1", port=server.port, tokens=tokens)
    after = psutil.Process(server.pid).memory_full_info()
    return Memory((after.rss - before.rss) / 1024 / SOCKETS, (after.pss - before.pss) / 1024 / SOCKETS)


def _findings(bare: Memory, memory: Memory, own: Delivered, everybody: Delivered) -> Findings:
    ways = {OWN: own, EVERYBODY: everybody}
    return Findings(
        figures={
            "sockets": SOCKETS,
            "kb_per_socket": memory.resident,
            "kb_per_socket_proportional": memory.proportional,
            "bare_kb_per_socket": bare.resident,
            "ratio_to_bare": memory.resident / bare.resident,
            "ways": {name: _figures(delivered) for name, delivered in ways.items()},
        },
        tables=(_memory_table(bare, memory), _delivery_table(ways)),
        goals=(
            Goal(
                IDLE_SOCKET,
                round(memory.resident, 1),
                KB_MAX,
                False,
                "KB",
                KB_MAX,
            ),
            *(goal for name, delivered in ways.items() for goal in _goals(name, delivered)),
        ),
        charts=(
            Chart(
                f"From XADD to one of {SOCKETS} sockets",
                "percentile",
                "ms",
                [
                    Series(name, [(at, in_ms(delivered.delays, at / 100) or 0.0) for at in PERCENTILES])
                    for name, delivered in ways.items()
                ],
            ),
        ),
        problems=[f"{name}: {problem}" for name, delivered in ways.items() for problem in delivered.problems],
    )


def _goals(name: str, delivered: Delivered) -> tuple[Goal, Goal]:
    p99_ms, before = P99_MAX_MS[name]
    return (
        Goal(f"notifications delivered a second, {name}", delivered.per_second, PER_SECOND_MIN, True, "/s"),
        Goal(f"XADD to socket p99 meanwhile, {name}", delivered.p99_ms, p99_ms, False, "ms", before),
    )


def _figures(delivered: Delivered) -> dict[str, Any]:
    return {
        "sent": delivered.sent,
        "per_second": delivered.per_second,
        "p50_ms": in_ms(delivered.delays, 0.5),
        "p99_ms": delivered.p99_ms,
        "gateway_cpu_us": delivered.cpu * 1e6,
        "rest_p50_ms": in_ms(delivered.rest, 0.5),
        "rest_p99_ms": in_ms(delivered.rest, 0.99),
        "driver_late_p99_ms": delivered.late * 1000,
    }


def _memory_table(bare: Memory, memory: Memory) -> Table:
    rows = [
        (name, f"{each.resident:.1f}", f"{each.proportional:.1f}", f"{each.resident / bare.resident:.2f}")
        for name, each in (("bare aiohttp", bare), ("gateway", memory))
    ]
    return Table(f"Memory of one of {SOCKETS} idle sockets", ("", "RSS KB", "PSS KB", "of bare"), rows)


def _delivery_table(ways: dict[str, Delivered]) -> Table:
    columns = ("", "a second", "p50 ms", "p99 ms", "gateway µs", "REST p50 ms", "REST p99 ms", "driver late ms")
    rows = []
    for name, delivered in ways.items():
        figures = _figures(delivered)
        rows.append((name, *(f"{figures[key]:.1f}" for key in list(figures)[1:])))
    return Table(
        f"Notifications to {SOCKETS} sockets, {REST_PER_SECOND} REST requests a second beside", columns, rows
    )
