"""Connections that are slow, idle, many, or not HTTP. Each is closed in bounded time, and others are served."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil
from hypothesis import strategies as st

from tests.acceptance.client import send
from tests.acceptance.polling import eventually
from tests.fuzz.answers import ONCE, Reply, check, read
from tests.fuzz.examples import Progress, tried
from tests.fuzz.frames import KEY
from tests.fuzz.harness import Harness
from tests.fuzz.tally import Tally

# How long the stack waits for slow clients: short times, so that a run is short.
SETTINGS = {"IDLE_SECONDS": "2", "BODY_SECONDS": "1"}
# Seconds after which all slow connections must be closed, even on a busy machine: longer than both limits and the
# time to read the rest of a body.
CLOSED_S = 40.0
# Seconds between two bytes of a slow client: too short for an idle connection.
DRIP_S = 0.1
# How many files this process needs beside its sockets.
FILES = 300
SLOW_MAX = 200
FLOOD_AT_ONCE = 100

RAW, SLOW, IDLE, FLOOD = "connections: no HTTP", "connections: slow", "connections: idle", "connections: flood"


@dataclass(frozen=True)
class Server:
    """One of the two servers that can be reached from outside."""

    name: str
    host: str
    port: int
    pid: int

    def count_sockets(self) -> int:
        """How many connections the server has."""
        found = psutil.Process(self.pid).net_connections("tcp")
        return sum(one.status != psutil.CONN_LISTEN and one.laddr.port == self.port for one in found)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port)


def servers(harness: Harness) -> list[Server]:
    stack = harness.holdfast.stack
    urls = {"gateway-1": stack.gateway_url, "payment-1": stack.webhook_url}
    parts = {name: urlsplit(url) for name, url in urls.items()}
    return [
        Server(name, url.hostname or "", url.port or 0, stack.processes[name].pid) for name, url in parts.items()
    ]


# --- what is no HTTP, or too much of it -------------------------------------------------------------------


def _bytes(harness: Harness) -> st.SearchStrategy[bytes]:
    """Requests with something wrong in them, and noise."""
    token = harness.callers["user"].client.token or ""
    right = (
        f"GET /bookings HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {token}\r\n\r\n",
        f"POST /bookings HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: k\r\n"
        "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        "POST /payment/webhook HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "GET /events HTTP/1.1\r\nHost: here\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    )
    lines = (
        "Content-Length: -1", "Content-Length: 1, 2", "Content-Length: 99999999999999999999", "Content-Length: 5",
        "Transfer-Encoding: gzip", "Transfer-Encoding: chunked", "Expect: 100-continue", "Expect: miracles",
        "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 99", "Sec-WebSocket-Protocol: ,", "Upgrade: WebSocket",
        "Content-Encoding: gzip", "Host:", "X: \0", "X : y", " folded", ":", "Cookie: " + "a=b; " * 1500,
        "Authorization: Bearer " + "x" * 9000, "\r\n".join(f"X-{number}: y" for number in range(200)),
    )  # fmt: skip
    requests = st.sampled_from([request.encode() for request in right])
    noise = st.binary(min_size=1, max_size=400)

    def with_line(request: bytes, line: str) -> bytes:
        head, end, rest = request.partition(b"\r\n")
        return head + end + line.encode() + end + rest

    def with_noise(request: bytes, at: int, something: bytes) -> bytes:
        at %= len(request)
        return request[:at] + something + request[at:]

    paths = st.text(min_size=1, max_size=9000).map(
        lambda path: f"GET /{path} HTTP/1.1\r\nHost: here\r\n\r\n".encode()
    )
    return (
        noise
        | paths
        | st.builds(with_line, requests, st.sampled_from(lines))
        | st.builds(with_noise, requests, st.integers(0, 10**4), noise)
    )


async def raw(harness: Harness, requests: int, seed: int, tally: Tally, progress: Progress) -> None:
    both = servers(harness)

    async def attempt(batch: list[bytes]) -> None:
        async with asyncio.timeout(CLOSED_S):
            replies = await asyncio.gather(
                *(_exchange(both[number % 2], content) for number, content in enumerate(batch))
            )
        for reply in replies:
            tally.sent(RAW, "no answer due" if reply is None else reply.status)
            if reply is not None:
                check(reply.status, reply.headers.get("content-type", ""), reply.body, reply.headers)

    await tried(RAW, st.lists(_bytes(harness), min_size=1, max_size=20), attempt, requests, seed, tally, progress)


async def _exchange(server: Server, content: bytes) -> Reply | None:
    """The first answer to these bytes; None when the server waits for more, or has closed the connection."""
    reader, writer = await server.open()
    try:
        writer.write(content)
        async with asyncio.timeout(DRIP_S):
            return await read(reader)
    except (TimeoutError, ConnectionError):
        return None
    finally:
        writer.transport.abort()


# --- slow ones --------------------------------------------------------------------------------------------


async def slow(harness: Harness, requests: int, seed: int, tally: Tally, progress: Progress) -> None:
    """Headers that never end, and bodies that come byte by byte."""
    token = harness.callers["user"].client.token or ""
    rest = "Host: here\r\nIdempotency-Key: slow\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    heads = {
        "header": b"GET /events HTTP/1.1\r\nHost: here\r\nX-Slow: ",
        "body": f"POST /bookings HTTP/1.1\r\nAuthorization: Bearer {token}\r\n{rest}".encode(),
        "webhook": f"POST /payment/webhook HTTP/1.1\r\n{rest}".encode(),
    }
    gateway, payment = servers(harness)
    kinds: list[tuple[Server, str, int | None]] = [
        (gateway, "header", None), (payment, "header", None), (gateway, "body", 408), (payment, "webhook", 408),
    ]  # fmt: skip
    count = max(len(kinds), min(requests, SLOW_MAX))
    wanted = [kinds[number % len(kinds)] for number in range(count)]
    async with _served_meanwhile(harness, tally, SLOW):
        replies = await asyncio.gather(*(_drip(server, heads[kind]) for server, kind, _ in wanted))
    for (server, kind, status), reply in zip(wanted, replies, strict=True):
        got = None if reply is None else reply.status
        tally.sent(SLOW, "closed" if got is None else got)
        if got != status:
            tally.wrong(SLOW, f"{server.name}, slow {kind}: {got} and not {status}", "a byte every 0.1 s")
        if reply is not None:
            check(reply.status, reply.headers.get("content-type", ""), reply.body, reply.headers)
    progress(count)


async def _drip(server: Server, head: bytes) -> Reply | None:
    """Send `head`, then single bytes until the server ends the connection. Raises TimeoutError if it does not."""
    reader, writer = await server.open()

    async def drip() -> None:
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(DRIP_S)

    writer.write(head)
    dripping = asyncio.create_task(drip())
    try:
        async with asyncio.timeout(CLOSED_S):
            reply = await read(reader)
            while await reader.read(1024):
                pass
            return reply
    except ConnectionError:
        return None
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.transport.abort()


# --- many -------------------------------------------------------------------------------------------------


def file_limit() -> int:
    """Raise this process' limit of open files as far as the system allows. Returns it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


async def idle(harness: Harness, requests: int, seed: int, tally: Tally, progress: Progress) -> None:
    """Connections that send nothing, and some that send requests and read no answer."""
    both = servers(harness)
    before = await _now(both)
    count = min(requests, file_limit() - FILES)
    opened: list[socket.socket] = []
    try:
        async with _served_meanwhile(harness, tally, IDLE):
            for number in range(count):
                opened.append(await _silent(both[number % 2], reads=number % 10 > 0))
                progress(number)
            await eventually(lambda: _now(both), lambda now: _all_closed(now, before), seconds=CLOSED_S)
        tally.sent(IDLE, "closed", count)
    except AssertionError as error:
        tally.sent(IDLE, "still open", count)
        tally.wrong(IDLE, "idle connections are not closed", str(error))
    finally:
        for one in opened:
            one.close()


async def _silent(server: Server, *, reads: bool) -> socket.socket:
    """A connection that sends nothing; or without `reads`, one that requests more than fits into its receive
    buffer, and reads none of it."""
    loop = asyncio.get_running_loop()
    made = socket.socket()
    made.setblocking(False)
    if not reads:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await loop.sock_connect(made, (server.host, server.port))
    if not reads:
        await loop.sock_sendall(made, b"GET /nowhere HTTP/1.1\r\nHost: here\r\n\r\n" * 500)
    return made


async def _now(both: Sequence[Server]) -> list[int]:
    return [await asyncio.to_thread(server.count_sockets) for server in both]


def _all_closed(now: Sequence[int], before: Sequence[int]) -> bool:
    """Whether all are closed, except two for each server, on which others are served."""
    return all(one <= other + 2 for one, other in zip(now, before, strict=True))


async def flood(harness: Harness, requests: int, seed: int, tally: Tally, progress: Progress) -> None:
    """Connections that are opened as fast as possible, and aborted at once or in the middle of a request."""
    both = servers(harness)
    slots = asyncio.Semaphore(FLOOD_AT_ONCE)

    async def one(number: int) -> None:
        async with slots:
            _, writer = await both[number % 2].open()
            if number % 3:
                writer.write(
                    b"POST /bookings HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n{"[: number % 70]
                )
            writer.transport.abort()
            tally.sent(FLOOD, "broken off")
            progress(number)

    async with _served_meanwhile(harness, tally, FLOOD):
        await asyncio.gather(*(one(number) for number in range(requests)))


@asynccontextmanager
async def _served_meanwhile(harness: Harness, tally: Tally, part: str) -> AsyncIterator[None]:
    """Check that others are answered all the time: a reader at the gateway, and a webhook at payment (400, because
    it has no signature)."""
    holdfast = harness.holdfast

    async def check_served() -> None:
        while True:
            async with asyncio.timeout(CLOSED_S):
                read = await holdfast.anybody.request("GET", f"/events/{harness.event_ids[0]}", headers=ONCE)
                webhook = await send(holdfast.session, "POST", holdfast.stack.webhook_url, data=b"{}", headers=ONCE)
            if (read.status, webhook.status) != (200, 400):
                tally.wrong(part, f"others are answered {read.status}, {webhook.status} meanwhile", "not 200, 400")
            await asyncio.sleep(DRIP_S)

    checking = asyncio.create_task(check_served())
    try:
        yield
        if checking.done():
            await checking
    finally:
        checking.cancel()
        await asyncio.gather(checking, return_exceptions=True)
