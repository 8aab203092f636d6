"""Slow clients, and clients that send no HTTP, get an error or are cut off, and nothing they sent is logged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, cast

import pytest
import structlog
import uvloop
from aiohttp import web

from common.runtime.server import ADMITS, USER_TIMEOUT, Runner, Site
from common.runtime.settings import ProcessSettings
from common.runtime.web import new_app
from tests.common.stage import until
from tests.common.test_process import Program, running

SECRET = "eyJhbGciOi-somebodys-token"
GIVES_UP_SECONDS = 15
POST = b"POST /size HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\n"


@pytest.fixture(scope="module")
async def program() -> AsyncIterator[Program]:
    async with running(IDLE_SECONDS="0.3", BODY_SECONDS="0.2", DRAIN_SECONDS="0") as program:
        await program.until("listening")
        yield program
        program.send_signal(signal.SIGTERM)
        await program.until("stopped")
        assert [line for line in program.lines if line["level"] in ("warning", "error", "critical")] == []
        assert SECRET not in str(program.lines)


async def exchange(program: Program, content: bytes) -> bytes:
    """All that the server sends before it closes the connection."""
    host, _, port = program.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(GIVES_UP_SECONDS):
            writer.write(content)
            return await reader.read()
    finally:
        writer.close()


def problem(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: application/problem+json" in head
    found: dict[str, Any] = json.loads(body)
    assert head.split()[1] == str(found["status"]).encode()
    return found


@pytest.mark.parametrize("content", [b"", b"GET /health/live HTTP/1.1\r\nHost: here\r\nX-Slow: "])
async def test_connection_without_a_request_is_closed(program: Program, content: bytes) -> None:
    assert await exchange(program, content) == b""


async def test_connection_is_kept_for_the_next_request_and_then_closed(program: Program) -> None:
    answers = await exchange(program, b"GET /health/live HTTP/1.1\r\nHost: here\r\n\r\n" * 2)
    assert answers.count(b"HTTP/1.1 200 ") == 2


async def test_body_that_does_not_arrive_is_not_waited_for(program: Program) -> None:
    assert problem(await exchange(program, POST + b"12345"))["code"] == "request_timeout"


@pytest.mark.parametrize(
    "content",
    [
        f"GET / HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {SECRET}\0\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {SECRET * 500}\r\n\r\n".encode(),
        f"GET /{'x' * 10_000} HTTP/1.1\r\nHost: here\r\n\r\n".encode(),
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        POST.replace(b"10", b"-1"),
    ],
    ids=["NUL", "long header", "long path", "TLS", "negative length"],
)
async def test_what_is_no_http_is_a_problem_document(program: Program, content: bytes) -> None:
    """aiohttp would answer in plain text, and log a traceback with the header in it."""
    assert problem(await exchange(program, content))["code"] == "malformed_request"


async def test_unknown_expectation_is_a_problem_document(program: Program) -> None:
    lines = b"Expect: miracles\r\nConnection: close\r\n\r\n"
    answer = await exchange(program, b"GET /health/live HTTP/1.1\r\nHost: here\r\n" + lines)
    assert problem(answer)["code"] == "malformed_request"


@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD", b"PUT"])
@pytest.mark.parametrize("path", [b"/size", b"/health/live", b"/nowhere"])
async def test_no_body_is_decompressed(program: Program, method: bytes, path: bytes) -> None:
    """If it were, this body would be broken, and the request behind it would get no answer."""
    head = method + b" " + path + b" HTTP/1.1\r\nHost: here\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n"
    answers = await exchange(program, head + b"no gzip.." + b"GET /health/live HTTP/1.1\r\nHost: here\r\n\r\n")
    assert answers.startswith(b"HTTP/1.1 415 ")
    assert b"HTTP/1.1 200 OK" in answers


@pytest.mark.parametrize("coding", [b"br", b"Zstd", b"identity, deflate", b"x-unheard-of"])
async def test_each_coding_but_identity_is_refused(program: Program, coding: bytes) -> None:
    head = b"POST /size HTTP/1.1\r\nHost: here\r\nContent-Encoding: " + coding + b"\r\nContent-Length: 2\r\n\r\n"
    answer = await exchange(program, head + b"{}")
    assert b"\r\nAccept-Encoding: identity\r\n" in answer
    assert problem(answer)["code"] == "unsupported_media_type"


async def test_body_with_the_coding_identity_is_accepted(program: Program) -> None:
    head = b"POST /size HTTP/1.1\r\nHost: here\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\n"
    assert (await exchange(program, head + b"{}")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.skipif(USER_TIMEOUT is None, reason="the system has no TCP_USER_TIMEOUT")
async def test_a_client_that_reads_no_answers_is_disconnected(program: Program) -> None:
    """The receive window is full; once the server has given up, it refuses what the client still sends."""
    host, _, port = program.url.removeprefix("http://").partition(":")
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(client, (host, int(port)))

        async def ask_on() -> None:
            while True:
                await loop.sock_sendall(client, b"GET /nowhere HTTP/1.1\r\nHost: here\r\n\r\n" * 100)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(ask_on(), GIVES_UP_SECONDS)


RUSH = 300


async def _iterations_until_accepted() -> int:
    """How many iterations the event loop needs to accept RUSH connections that arrived at once."""
    loop = asyncio.get_running_loop()
    runner = Runner(new_app(), ProcessSettings())
    await runner.setup()
    site = Site(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.server is not None
    iterations = 0
    with contextlib.ExitStack() as clients:
        for _ in range(RUSH):
            clients.enter_context(socket.create_connection(runner.addresses[0], timeout=GIVES_UP_SECONDS))
        deadline = loop.time() + GIVES_UP_SECONDS
        while len(runner.server.connections) < RUSH and loop.time() < deadline:
            iterations += 1
            await asyncio.sleep(0)
        assert len(runner.server.connections) == RUSH
    await runner.cleanup()
    return iterations


async def _answers_to(refused: Iterable[str]) -> list[bytes]:
    """What a client at each of these addresses of this machine reads, from a process that refuses some of them."""
    app, asked = new_app(), []

    def admits(peer: str) -> bool:
        asked.append(peer)
        return peer not in refused

    app[ADMITS] = admits
    runner = Runner(app, ProcessSettings())
    await runner.setup()
    await Site(runner, "127.0.0.1", 0).start()
    found = []
    for _ in range(3):
        for address in ("127.0.0.1", "127.0.7.7"):
            try:
                reader, writer = await asyncio.open_connection(*runner.addresses[0], local_addr=(address, 0))
                writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                found.append((await reader.read())[:12])
                writer.close()
            except ConnectionError:
                found.append(b"")
    await runner.cleanup()
    assert len(asked) == len(found)  # once for each: they are counted
    return found


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
async def test_connections_of_refused_addresses_are_closed_without_an_answer(run: Callable[..., Any]) -> None:
    answers = await asyncio.to_thread(run, _answers_to({"127.0.7.7"}))
    assert answers == [b"HTTP/1.1 200", b""] * 3


async def _attempts_while_no_file_can_be_opened() -> int:
    """How often connections that wait are tried to be accepted; they are accepted once files can be opened."""
    runner = Runner(new_app(), ProcessSettings())
    await runner.setup()
    await Site(runner, "127.0.0.1", 0).start()
    assert runner.server is not None
    with contextlib.ExitStack() as clients, structlog.testing.capture_logs() as attempts:
        some = [clients.enter_context(socket.socket()) for _ in range(RUSH)]
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), limits[1]))
        try:
            for each in some:
                each.connect(runner.addresses[0])
            await until(lambda: attempts)
            for _ in range(RUSH):
                await asyncio.sleep(0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await until(lambda: len(cast(web.Server, runner.server).connections) == RUSH)
    await runner.cleanup()
    return len(attempts)


async def test_connections_wait_while_no_file_can_be_opened() -> None:
    """And the process does not try all the time meanwhile."""
    assert await asyncio.to_thread(uvloop.run, _attempts_while_no_file_can_be_opened()) == 1


async def test_connections_that_arrive_together_are_accepted_together() -> None:
    """Not one per iteration of uvloop's loop: under load more than that arrive."""
    assert await asyncio.to_thread(uvloop.run, _iterations_until_accepted()) < RUSH / 5
