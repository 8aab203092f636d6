"""Holdfast's processes without their imports, which take more CPU than all that most tests do with them.

One process of each pytest process has imported everything, and forks: what comes out runs `python -m gateway` and
the like from there on, with its own environment, log and session, as a real process. What `holdfast up` starts in a
process of its own (tests/acceptance/test_up.py) is started in the real way.
"""

from __future__ import annotations

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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn
from unittest.mock import patch

from ops.actor import CHECKOUT, ActorProcess
from ops.child import PR_SET_PDEATHSIG, _Run

MODULES = ("gateway", "booking", "payment", "sandbox")
REQUEST_MAX = 1024 * 1024
FDS_MAX = 4096


class Forked:
    """What `ops.child` needs of `subprocess.Popen`."""

    def __init__(self, ends: socket.socket) -> None:
        self._ends = ends
        self.pid = int(ends.recv(64))

    def wait(self) -> int:
        """Its exit code (negative: the signal), once it has ended."""
        with self._ends:
            return int(self._ends.recv(64) or -signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


class ForkServer:
    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forked", str(theirs.fileno())],
                cwd=CHECKOUT,
                pass_fds=[theirs.fileno()],
            )

    def spawn(self, actor: ActorProcess) -> _Run:
        launch = actor.launch()
        actor.log.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        task = {
            "module": launch.command[-1],
            "environment": dict(launch.environment),
            "leave_by": int(actor.at_once_signal),
        }
        with theirs, actor.log.open("ab") as log:
            log_start = log.tell()
            socket.send_fds(self._requests, [json.dumps(task).encode()], [log.fileno(), theirs.fileno()])
        return _Run(Forked(ours), log_start)  # type: ignore[arg-type]

    def close(self) -> None:
        self._requests.close()
        self._process.wait()


@contextmanager
def forked_actors() -> Iterator[None]:
    """Actors that are started in this process meanwhile are forked. The server is started with the first."""
    servers: list[ForkServer] = []

    def spawn(self: ActorProcess) -> _Run:
        if not servers:
            servers.append(ForkServer())
        return servers[0].spawn(self)

    try:
        with patch.object(ActorProcess, "_spawn", spawn):
            yield
    finally:
        for server in servers:
            server.close()


# --- in the process that forks ------------------------------------------------------------------------------


def serve(requests: socket.socket) -> None:
    """Fork what is asked for, and tell of each end, until nobody can ask any more. Those who live then are told to
    leave by the kernel."""
    for module in MODULES:
        importlib.import_module(f"{module}.app")
    gc.freeze()
    children: dict[int, socket.socket] = {}
    wakes, wake = socket.socketpair()
    wakes.setblocking(False)
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person's Ctrl-C is for pytest
    signal.set_wakeup_fd(wake.fileno())
    while True:
        ready, _, _ = select.select([requests, wakes], [], [])
        if wakes in ready:
            wakes.recv(REQUEST_MAX)
            _tell_of_ends(children)
        if requests not in ready:
            continue
        message, fds, _, _ = socket.recv_fds(requests, REQUEST_MAX, 2)
        if not message:
            return
        log, ends = fds
        if (pid := os.fork()) == 0:
            _become(json.loads(message), log)
        os.close(log)
        children[pid] = socket.socket(fileno=ends)
        children[pid].send(str(pid).encode())


def _tell_of_ends(children: dict[int, socket.socket]) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            with children.pop(pid) as ends, suppress(OSError):
                ends.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(task: dict[str, Any], log: int) -> NoReturn:
    code: Any = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, task["leave_by"])
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, fd in enumerate((nothing, log, log)):
            os.dup2(fd, number)
        os.closerange(3, FDS_MAX)
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
        os.environ.clear()
        os.environ.update(task["environment"])
        random.seed()
        sys.argv = [task["module"]]
        runpy.run_module(task["module"], run_name="__main__", alter_sys=True)
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
    serve(socket.socket(fileno=int(sys.argv[1])))
