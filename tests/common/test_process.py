"""A process serves until it is asked to stop, finishes what it has begun, and logs every failure."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from ops.child import free_port
from tests import forked


class Program:
    """The process, its log so far, and its address."""

    def __init__(self, process: forked.Program, port: int) -> None:
        self._process = process
        self.url = f"http://127.0.0.1:{port}"
        self.lines: list[dict[str, Any]] = []
        # Known once it listens.
        self.admin_url = ""

    async def until(self, event: str) -> dict[str, Any]:
        """Read its log up to this event."""
        while True:
            line = await self._process.output.readline()
            assert line, f"no {event}: {self.lines}"
            self.lines.append(orjson.loads(line))
            if self.lines[-1]["event"] == "listening":
                self.admin_url = f"http://127.0.0.1:{self.lines[-1]['admin_port']}"
            if self.lines[-1]["event"] == event:
                return self.lines[-1]

    def send_signal(self, number: int) -> None:
        self._process.forked.send_signal(number)

    async def output(self) -> str:
        """All that it writes until its end."""
        return (await self._process.output.read()).decode()

    async def end(self) -> int:
        async with asyncio.timeout(15):
            return await self._process.ended


@asynccontextmanager
async def running(**environment: str) -> AsyncIterator[Program]:
    port = int(environment.pop("PORT", free_port()))
    async with forked.running("tests.common.program", {"PORT": str(port), **environment}) as process:
        yield Program(process, port)


@pytest.mark.parametrize(("number", "drain"), [(signal.SIGTERM, "0"), (signal.SIGINT, "60")])
async def test_a_process_serves_until_it_is_asked_to_stop(number: signal.Signals, drain: str) -> None:
    """A person's Ctrl-C does not drain: no other process takes over."""
    async with running(INSTANCE="here", DRAIN_SECONDS=drain) as program, aiohttp.ClientSession() as client:
        line = await program.until("listening")
        assert (line["process"], line["instance"], line["level"]) == ("program", "here", "info")
        async with client.get(f"{program.url}/health/ready") as response:
            assert response.status == 200
        program.send_signal(number)
        await program.until("stopped")
        assert await program.end() == 0


async def test_a_draining_process_is_not_ready_and_finishes_its_requests() -> None:
    """A second signal ends the draining."""
    async with running(DRAIN_SECONDS="60") as program, aiohttp.ClientSession() as client:
        await program.until("listening")
        async with client.get(f"{program.url}/slow") as slow:
            assert await slow.content.readline() == b"begun\n"
            program.send_signal(signal.SIGTERM)
            await program.until("stopping")
            async with client.get(f"{program.admin_url}/health/ready") as response:
                assert (response.status, (await response.json())["problems"]) == (503, {"process": "draining"})
            assert await slow.content.readline() == b"finished\n"
        program.send_signal(signal.SIGTERM)
        await program.until("stopped")
        assert await program.end() == 0


async def test_a_process_that_shares_its_port_listens_once_it_can_serve() -> None:
    """Until then others serve the clients."""
    async with running(GATED="true", REUSE_PORT="true") as program, aiohttp.ClientSession() as client:
        await program.until("gated")
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(f"{program.url}/health/ready")
        program.send_signal(signal.SIGUSR1)
        await program.until("listening")
        assert [line["event"] for line in program.lines] == ["gated", "opened", "listening"]
        async with client.get(f"{program.url}/health/ready") as response:
            assert response.status == 200


@pytest.mark.parametrize("shared", ["true", "false"])
async def test_a_process_that_cannot_serve_says_so_in_the_end(shared: str) -> None:
    """One that shares its port after some seconds: there may be nobody else who does."""
    async with running(GATED="true", REUSE_PORT=shared) as program, aiohttp.ClientSession() as client:
        await program.until("listening")
        async with client.get(f"{program.url}/health/ready") as response:
            assert response.status == 503


async def test_a_process_can_be_stopped_before_it_listens() -> None:
    async with running(GATED="true", REUSE_PORT="true", DRAIN_SECONDS="0") as program:
        await program.until("gated")
        program.send_signal(signal.SIGTERM)
        assert await program.end() == 0


@pytest.mark.parametrize(("ends", "error"), [("dying", "the worker is broken"), ("cancelled", "CancelledError")])
async def test_a_background_task_that_fails_ends_the_process_with_code_1(ends: str, error: str) -> None:
    async with running(ENDS=ends, DRAIN_SECONDS="60") as program:
        line = await program.until("task died")
        assert (line["level"], line["task"]) == ("critical", "worker")
        assert error in line["exception"]
        assert await program.end() == 1


async def test_a_wrong_setting_is_reported_in_one_line() -> None:
    async with running(A_SECRET="hunter2") as program:
        output = await program.output()
        assert await program.end() == 2
    assert output.splitlines() == [
        "program: A_SECRET: Input should be a valid integer, unable to parse string as an integer"
    ]


async def test_operators_have_a_port_of_their_own_which_only_this_machine_reaches() -> None:
    async with running() as one, running(HOST="0.0.0.0") as other, aiohttp.ClientSession() as client:
        lines = [await program.until("listening") for program in (one, other)]
        assert len({port for line in lines for port in (line["port"], line["admin_port"])}) == 4
        for program, line in zip((one, other), lines, strict=True):
            assert line["admin_host"] == "127.0.0.1"
            async with client.get(f"{program.admin_url}/metrics") as shown:
                assert (shown.status, "holdfast_http_requests" in await shown.text()) == (200, True)
            async with client.get(f"{program.url}/metrics") as hidden:
                assert hidden.status == 404


async def test_no_answer_names_the_server() -> None:
    async with running() as program, aiohttp.ClientSession() as client:
        line = await program.until("listening")
        for url in (program.url, program.admin_url):
            for path in ("/health/live", "/health/ready", "/metrics", "/nowhere"):
                async with client.get(url + path) as response:
                    assert "Server" not in response.headers
        for port in (line["port"], line["admin_port"]):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"no HTTP at all\r\n\r\n")
            answer = await reader.read()
            writer.close()
            assert answer.split()[1] == b"400"
            assert b"\r\nserver:" not in answer.lower()


@pytest.mark.parametrize("name", ["PORT", "ADMIN_PORT"])
async def test_a_busy_port_is_reported_in_one_line(name: str) -> None:
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        async with running(**{name: str(port)}) as program:
            output = await program.output()
            assert await program.end() == 1
    finally:
        listener.close()
        await listener.wait_closed()
    assert f"cannot listen on 127.0.0.1:{port}" in output.splitlines()[0]
