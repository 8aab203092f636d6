"""Starts Holdfast's processes and commands without importing their modules each time.

The imports take more CPU than all that most tests do with a process.

One further process imports everything and forks: one for all pytest processes when all tests run (`workers.py`),
else one for each. Each child runs `python -m gateway`, `python -m ops audit` and the like, with its own
environment, output and session, like a real process. A `holdfast up` that tests/acceptance/test_up.py keeps
running, and what it starts, is started without this.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import Any, NoReturn, Protocol
from unittest.mock import patch

from ops.actor import CHECKOUT, ActorProcess
from ops.child import PR_SET_PDEATHSIG, _Run
from ops.private import UMASK, open_private

MODULES = (
    *("gateway.app", "booking.app", "payment.app", "sandbox.app"),
    *("ops.cli", "ops.audit.command", "ops.repair.command"),
)
REQUEST_MAX = 1024 * 1024
FILES_MAX = 3
FDS_MAX = 4096


class Open(Protocol):
    """An open file or socket."""

    def fileno(self) -> int: ...


class Forked:
    """The part of `subprocess.Popen` that `ops.child` uses."""

    def __init__(self, ends: socket.socket) -> None:
        self._ends = ends
        pid = ends.recv(64)
        if not pid:
            raise RuntimeError("the process that forks has ended")
        self.pid = int(pid)

    def wait(self) -> int:
        """The exit code of the process once it has ended (negative: the number of the signal)."""
        with self._ends:
            return int(self._ends.recv(64) or -signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


class ForkServer:
    """A process that forks, as its requesters see it. It ends when the last of them has closed `requests`."""

    def __init__(self, requests: socket.socket, process: subprocess.Popen[bytes] | None = None) -> None:
        self._requests = requests
        self._process = process

    @classmethod
    def start(cls, module: str = "tests.forked") -> ForkServer:
        ours, theirs = requests_socket()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno())],
                cwd=CHECKOUT,
                pass_fds=[theirs.fileno()],
                stdout=subprocess.DEVNULL,
            )
        return cls(ours, process)

    def spawn(self, actor: ActorProcess) -> _Run:
        launch = actor.launch()
        actor.log.parent.mkdir(parents=True, exist_ok=True)
        with open(actor.log, "ab", opener=open_private) as log:
            log_start = log.tell()
            forked = self.fork([launch.command[-1]], launch.environment, log, log, actor.at_once_signal)
        return _Run(forked, log_start)  # type: ignore[arg-type]

    def fork(
        self, command: list[str], environment: Mapping[str, str], out: Open, err: Open, leave_by: int
    ) -> Forked:
        """Fork a process that runs `python -m` with this module and its arguments."""
        task = {"command": command, "environment": dict(environment), "leave_by": int(leave_by)}
        return self.request(task, out, err)

    def request(self, task: Mapping[str, Any], *files: Open) -> Forked:
        """Fork a process that does `task` with these files."""
        ours, theirs = requests_socket()
        with theirs:
            fds = [file.fileno() for file in (theirs, *files)]
            socket.send_fds(self._requests, [json.dumps(task).encode()], fds)
        return Forked(ours)

    def close(self) -> None:
        self._requests.close()
        if self._process is not None:
            self._process.wait()


def requests_socket() -> tuple[socket.socket, socket.socket]:
    """Both ends: the requester's, and the server's."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


# The fork server of this pytest process, started when it is first needed unless there is one for all of them.
_servers: list[ForkServer] = []


def _server() -> ForkServer:
    if not _servers:
        _servers.append(ForkServer.start())
    return _servers[0]


def share(requests: socket.socket) -> None:
    """Use the fork server at the other end, which others use, too."""
    _servers.append(ForkServer(requests))


@contextmanager
def forked_actors() -> Iterator[None]:
    """Inside this context, actors that this process starts are forked."""
    try:
        with patch.object(ActorProcess, "_spawn", lambda actor: _server().spawn(actor)):
            yield
    finally:
        while _servers:
            _servers.pop().close()


@dataclass(frozen=True)
class CommandResult:
    """What a command has printed, and its exit code."""

    code: int
    out: str
    error: str

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.out)
        return body


async def holdfast(*arguments: str, environment: Mapping[str, str] = MappingProxyType({})) -> CommandResult:
    """Run the `holdfast` command with these arguments, with `environment`, PATH and HOME as its environment."""
    return await run("ops", *arguments, environment=environment)


async def run(*command: str, environment: Mapping[str, str] = MappingProxyType({})) -> CommandResult:
    """Run `python -m` with this module and its arguments, with `environment`, PATH and HOME as its environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with TemporaryFile() as out, TemporaryFile() as err:
        forked = _server().fork([*command], {**kept, **environment}, out, err, signal.SIGTERM)
        try:
            code = await asyncio.to_thread(forked.wait)
        except asyncio.CancelledError:
            forked.send_signal(signal.SIGKILL)
            raise
        for file in (out, err):
            file.seek(0)
        return CommandResult(code, out.read().decode(), err.read().decode())


@dataclass(frozen=True)
class Program:
    """A process that runs. `output`: what it prints. `ended`: its exit code, once it has ended."""

    forked: Forked
    output: asyncio.StreamReader
    ended: asyncio.Task[int]


@asynccontextmanager
async def running(module: str, environment: Mapping[str, str]) -> AsyncIterator[Program]:
    """Start `python -m` with this module and `environment`. It is killed at the end, unless it has ended."""
    ours, theirs = socket.socketpair()
    with theirs:
        forked = _server().fork([module], environment, theirs, theirs, signal.SIGKILL)
    ended = asyncio.create_task(asyncio.to_thread(forked.wait))
    output, unused = await asyncio.open_connection(sock=ours)
    try:
        yield Program(forked, output, ended)
    finally:
        if not ended.done():
            forked.send_signal(signal.SIGKILL)
        await ended
        unused.close()


# --- in the process that forks ------------------------------------------------------------------------------


Become = Callable[[dict[str, Any], list[int]], object]


def import_code() -> None:
    """Import all that a process of Holdfast needs."""
    gc.disable()
    for module in MODULES:
        importlib.import_module(module)
    gc.enable()
    gc.freeze()


def serve(requests: socket.socket, become: Become) -> None:
    """Fork a child for each request, which calls `become` with the task and its files. Report its exit code, until
    every requester has closed the socket."""
    children: dict[int, socket.socket] = {}
    wakes, wake = socket.socketpair()
    wakes.setblocking(False)
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for pytest
    signal.set_wakeup_fd(wake.fileno())
    while True:
        ready, _, _ = select.select([requests, wakes], [], [])
        if wakes in ready:
            wakes.recv(REQUEST_MAX)
            _tell_of_ends(children)
        if requests not in ready:
            continue
        message, received, _, _ = socket.recv_fds(requests, REQUEST_MAX, FILES_MAX)
        if not message:
            return
        ends, *files = received
        if (pid := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            random.seed()
            become(json.loads(message), files)
            return
        for file in files:
            os.close(file)
        children[pid] = socket.socket(fileno=ends)
        children[pid].send(str(pid).encode())


def _tell_of_ends(children: dict[int, socket.socket]) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            if pid not in children:
                continue
            with children.pop(pid) as ends, suppress(OSError):
                ends.send(str(os.waitstatus_to_exitcode(status)).encode())


def become_program(task: dict[str, Any], files: list[int]) -> NoReturn:
    """Run `python -m` with the task's command and environment, and end. When the process that forks ends, the
    kernel sends this one its `leave_by` signal."""
    out, err = files
    code: Any = 1
    try:
        os.setsid()
        os.umask(UMASK)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, task["leave_by"])
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, fd in enumerate((nothing, out, err)):
            os.dup2(fd, number)
        os.closerange(3, FDS_MAX)
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
        os.environ.clear()
        os.environ.update(task["environment"])
        module, *arguments = task["command"]
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)  # noqa: T201
    except BaseException:
        traceback.print_exc()
    with suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    import_code()
    serve(socket.socket(fileno=int(sys.argv[1])), become_program)
