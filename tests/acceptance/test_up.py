"""`holdfast up` as a person runs it, from a checkout and with a data folder whose paths have a space."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Any
from urllib.request import Request, urlopen

import psutil
import pytest

from ops.child import free_port
from tests.forked import holdfast

ROOT = Path(__file__).parent.parent.parent
CODE = ("common", "booking", "payment", "gateway", "sandbox", "ops")
STARTED_S = 60
STOPPED_S = 40

pytestmark = pytest.mark.timeout(180)


class Checkout:
    """A copy of the code under a path with a space, with ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in CODE:
            shutil.copytree(ROOT / name, folder / name)  # with the bytecode, because compiling all takes seconds
        kinds = ("GATEWAY", "BOOKING", "PAYMENT", "SANDBOX", "POSTGRES", "REDIS")
        self.ports = {f"{kind}_PORT": str(free_port()) for kind in kinds}
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        # The copy runs, not the checkout: its folder comes before that of an editable install.
        self.environment = {**inherited, **self.ports, "PYTHONUNBUFFERED": "1"}

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.ports['GATEWAY_PORT']}"

    def command(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "ops", *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    async def up_fails(self, data: str = ".holdfast", **environment: str) -> str:
        """`holdfast up` must fail. Returns the one line that it prints. It is forked, as it ends before it starts
        anything."""
        folder = {"HOLDFAST_DATA": str(self.folder / data)}
        up = await holdfast("up", environment=self.ports | folder | environment)
        assert up.code == 1
        assert len(up.error.splitlines()) == 1, up.error
        return up.error.strip()

    def get(self, path: str) -> dict[str, Any]:
        with urlopen(self.gateway + path, timeout=10) as answer:
            body: dict[str, Any] = json.load(answer)
            return body


class Running:
    """One `holdfast up`, and the lines that it prints, as they come."""

    def __init__(self, checkout: Checkout, *arguments: str) -> None:
        self.process = checkout.command("up", *arguments)
        self.lines: list[str] = []
        self._queue: Queue[str] = Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.until(lambda line: line.startswith("Up after"), STARTED_S)
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.rstrip("\n"))
        self._queue.put("")

    def until(self, wanted: Callable[[str], bool], seconds: float) -> str:
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            try:
                line = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                break
            self.lines.append(line)
            if wanted(line):
                return line
        self.process.kill()
        raise AssertionError(f"it did not say that: {self.lines} {self.process.communicate()[1]}")

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOPPED_S)

    def child(self, module: str) -> psutil.Process:
        return next(one for one in self.children if one.cmdline()[-2:] == ["-m", module])


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path_factory.mktemp("up") / "a checkout")
    yield checkout
    # When root runs this, the cluster is in a folder that Postgres' account can reach.
    cluster = checkout.folder / ".holdfast" / "postgres" / "cluster"
    if cluster.is_symlink():
        shutil.rmtree(cluster.resolve().parent)


@contextmanager
def up(checkout: Checkout, *arguments: str) -> Iterator[Running]:
    """`holdfast up`, stopped at the end unless the test has stopped it."""
    running = Running(checkout, *arguments)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop(signal.SIGTERM)


@pytest.fixture(scope="module")
def running(checkout: Checkout) -> Iterator[Running]:
    """With two booking processes. Only the last tests of this file use it: before them, only what a test starts
    itself is up. For `make test` it is the first one in its folder, in `make tools` the next after a killed one."""
    with up(checkout, "--scale", "booking=2") as running:
        yield running


def listens(port: str) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


@pytest.mark.parametrize("name", ["GATEWAY_PORT", "PAYMENT_PORT", "POSTGRES_PORT", "REDIS_PORT"])
async def test_busy_port_is_reported_in_one_line(checkout: Checkout, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        printed = await checkout.up_fails(**{name: port})
    assert f"port {port}" in printed
    assert name in printed


def test_ctrl_c_while_it_starts_leaves_nothing_behind(checkout: Checkout) -> None:
    command = checkout.command("up")
    up = psutil.Process(command.pid)
    while not (children := up.children(recursive=True)):
        with suppress(subprocess.TimeoutExpired):
            command.wait(0.02)
        assert command.poll() is None
    command.send_signal(signal.SIGINT)
    printed, _ = command.communicate(timeout=STOPPED_S)
    assert (command.returncode, printed.splitlines()) == (0, ["Stopped."])
    assert [child for child in children if child.is_running()] == []


async def test_real_stripe_needs_its_other_keys(checkout: Checkout) -> None:
    printed = await checkout.up_fails(STRIPE_SECRET_KEY="sk_test_1")
    assert "STRIPE_WEBHOOK_SECRETS" in printed
    assert "STRIPE_PUBLISHABLE_KEY" in printed


async def test_data_folder_that_cannot_be_made_is_reported_in_one_line(checkout: Checkout) -> None:
    checkout.folder.joinpath("a file").touch()
    assert "a file" in await checkout.up_fails("a file/data")


def assert_gone(checkout: Checkout, running: Running) -> None:
    assert [child for child in running.children if child.is_running()] == []
    assert not any(listens(port) for port in checkout.ports.values())


@pytest.fixture(scope="module")
def events(checkout: Checkout) -> list[Any]:
    """The events that the first `up` shows. It is killed at the end."""
    with up(checkout) as first:
        events = checkout.get("/events")["items"]
        # A process whose admin port another stack has taken since it was chosen is started once more.
        deadline = time.monotonic() + STARTED_S
        while deaf := [name for name, port in checkout.ports.items() if not listens(port)]:
            assert time.monotonic() < deadline, deaf
            time.sleep(0.05)
        first.process.kill()
        first.process.wait()
        psutil.wait_procs(first.children, timeout=STOPPED_S)
        assert_gone(checkout, first)
    return list(events)


def test_the_next_up_after_a_killed_one_finds_its_data_again(
    checkout: Checkout, events: list[Any], running: Running
) -> None:
    assert checkout.get("/events")["items"] == events
    assert not any(line.startswith("migrated") for line in running.lines)


def test_it_shows_an_event_and_where_it_is_and_no_secret(checkout: Checkout, running: Running) -> None:
    assert [len(event["ticket_types"]) for event in checkout.get("/events")["items"]] == [2]
    assert any(checkout.gateway in line for line in running.lines)
    kept = json.loads((checkout.folder / ".holdfast" / "secrets.json").read_text())
    hidden = {value for name, value in kept.items() if name != "stripe_publishable_key"}
    hidden.add((checkout.folder / ".holdfast" / "postgres" / "password").read_text())
    assert not [line for line in running.lines if any(value in line for value in hidden)]


def test_as_many_processes_run_as_were_asked_for(running: Running) -> None:
    modules = [one.cmdline()[-1] for one in running.children if one.cmdline()[-2:-1] == ["-m"]]
    wanted = {"booking": 2, "payment": 1, "gateway": 1, "sandbox": 1}
    assert {name: modules.count(name) for name in wanted} == wanted


async def test_second_up_at_the_same_time_is_refused(checkout: Checkout, running: Running) -> None:
    said = f"already up in {checkout.folder / '.holdfast'} (process {running.process.pid})"
    assert said in await checkout.up_fails()


def test_operator_token_opens_the_admin_interface(checkout: Checkout, running: Running) -> None:
    token, _ = checkout.command("token", "--operator").communicate(timeout=30)
    (event,) = checkout.get("/events")["items"]
    request = Request(
        f"{checkout.gateway}/admin/events/{event['id']}",
        method="PATCH",
        data=json.dumps({"name": event["name"]}).encode(),
        headers={"Authorization": f"Bearer {token.strip()}", "Content-Type": "application/json"},
    )
    with urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_process_that_dies_is_started_again(checkout: Checkout, running: Running) -> None:
    running.child("booking").kill()
    running.until(lambda line: line.startswith("booking-1 ended with -9"), STARTED_S)
    running.until(lambda line: line == "booking-1 is up again", STARTED_S)


def test_ctrl_c_leaves_nothing_behind(checkout: Checkout, running: Running) -> None:
    assert running.stop(signal.SIGINT) == 0
    assert_gone(checkout, running)
