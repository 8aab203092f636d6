"""What a GET of events costs the gateway, beside a bare aiohttp server that sends the same bytes.

Clients over open connections, first here, then there, in short slices that alternate: only the server's CPU counts.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench import stage as stages
from bench.cpu import spent
from bench.errors import BenchError
from bench.findings import Findings, Goal, Table, cell
from bench.measures import middle
from bench.progress import Steps
from bench.raw import process
from ops.actor import ActorProcess

SECONDS = 40.0
EVENTS = 50
CLIENTS = 16
PAIRS = 4
# The share of the phase's time in which requests are sent, over all slices.
LOAD_SHARE = 0.7
WARM_UP_SECONDS = 1.0
# The most that a GET may cost, as a multiple of the bare server's.
MULTIPLE_MAX = 1.2
ONE, PAGE = "GET /events/{id}", "GET /events, 50 events"
GATEWAY, BARE = "gateway", "bare aiohttp"


@dataclass(frozen=True)
class Slice:
    """`requests` answered in `seconds`, for `cpu` seconds of the server's CPU."""

    requests: int
    seconds: float
    cpu: float

    @property
    def cpu_us(self) -> float:
        return self.cpu / self.requests * 1_000_000


async def run(seconds: float, steps: Steps) -> Findings:
    steps.begin("starting the stack", 0.2)
    async with AsyncExitStack() as stack:
        # As it is delivered: at this level every request is logged, but for answers from memory.
        stage = await stack.enter_async_context(stages.running(LOG_LEVEL="info"))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-bench-")))
        events = await stage.events(EVENTS, 100, "Evening")
        paths = {ONE: ("/events/{id}", f"/events/{events[0]['id']}"), PAGE: ("/events", "/events")}
        found: dict[str, dict[str, list[Slice]]] = {}
        bodies: dict[str, bytes] = {}
        for number, (name, (route, path)) in enumerate(paths.items()):
            steps.begin(name, 0.35)
            body = bodies[name] = await _body(stage, path)
            file = folder / f"body-{number}"
            file.write_bytes(body)
            bare = await stack.enter_async_context(
                process(f"bare-{number}", "bench.bare_get", folder, BODY=str(file), ROUTE=route)
            )
            servers = {GATEWAY: stage.actor("gateway-1"), BARE: bare}
            found[name] = await _alternating(servers, path, body, seconds * LOAD_SHARE / len(paths))
        steps.begin("stopping the stack", 0.1)
    return _findings(found, bodies)


async def _body(stage: stages.Stage, path: str) -> bytes:
    async with stage.session.get(f"{stage.gateway_url}{path}") as response:
        if response.status != 200 or "ETag" not in response.headers:
            raise BenchError(f"GET {path}: {response.status}")
        return await response.read()


async def _alternating(
    servers: Mapping[str, ActorProcess], path: str, body: bytes, seconds: float
) -> dict[str, list[Slice]]:
    each_s = seconds / (PAIRS * len(servers) + 1)
    found: dict[str, list[Slice]] = {name: [] for name in servers}
    for server in servers.values():
        await _load(server, path, body, min(WARM_UP_SECONDS, each_s / 2))
    for number in range(PAIRS):
        for name in sorted(servers, reverse=number % 2 == 1):
            found[name].append(await _load(servers[name], path, body, each_s))
    return found


async def _load(server: ActorProcess, path: str, body: bytes, seconds: float) -> Slice:
    before, started = spent(server.pid), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        clients = [group.create_task(_client(server.url, path, body, started + seconds)) for _ in range(CLIENTS)]
    requests = sum(client.result() for client in clients)
    return Slice(requests, time.perf_counter() - started, spent(server.pid) - before)


async def _client(url: str, path: str, body: bytes, until: float) -> int:
    """Requests one after the other over one connection; returns how many."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    request = f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAccept: application/json\r\n\r\n".encode()
    done = 0
    try:
        while time.perf_counter() < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 ") or await reader.readexactly(len(body)) != body:
                raise BenchError(f"GET {path} has another answer than before")
            done += 1
    finally:
        writer.close()
    return done


def _findings(found: Mapping[str, Mapping[str, list[Slice]]], bodies: Mapping[str, bytes]) -> Findings:
    multiples = {
        name: middle([here.cpu_us / there.cpu_us for here, there in zip(by[GATEWAY], by[BARE], strict=True)])
        for name, by in found.items()
    }
    rows = [
        (
            name,
            f"{len(bodies[name]):,}",
            *(cell(middle([each.cpu_us for each in by[side]]), 0) for side in (GATEWAY, BARE)),
            cell(multiples[name], 2),
            cell(middle([each.requests / each.seconds for each in by[GATEWAY]]), 0),
        )
        for name, by in found.items()
    ]
    return Findings(
        figures={
            "multiples": multiples,
            "slices": {
                name: {side: [asdict(each) for each in slices] for side, slices in by.items()}
                for name, by in found.items()
            },
        },
        tables=[
            Table(
                "CPU of a GET of events, in µs",
                ("", "bytes", GATEWAY, BARE, "multiple", "a second"),
                rows,
            )
        ],
        goals=[
            Goal(f"CPU of {name}", multiple, MULTIPLE_MAX, False, "times a bare GET of the same bytes")
            for name, multiple in multiples.items()
        ],
    )
