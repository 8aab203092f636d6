"""Pytest's processes are forked from one that has imported all tests.

Without this each of them spends seconds of CPU on its imports before its first test, and as much again for a server
that forks Holdfast's processes (`forked.py`): here they share one.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
from execnet import gateway_io
from execnet.gateway_base import Popen2IO

from ops.actor import CHECKOUT
from ops.child import PR_SET_PDEATHSIG
from tests.forked import ForkServer, become_program, import_code, requests_socket, serve, share


@contextmanager
def forked_workers() -> Iterator[None]:
    """Inside this context, the processes that xdist starts are forked."""
    server = ForkServer.start("tests.workers")

    class Worker(Popen2IO):
        """The pipes to one of them. `execnet` sends the program that it runs."""

        def __init__(self, _: list[str], execmodel: Any) -> None:
            (program, to), (answers, of) = os.pipe(), os.pipe()
            with open(program, "rb") as stdin, open(of, "wb") as stdout:
                self._forked = server.request({}, stdin, stdout)
            super().__init__(os.fdopen(to, "wb"), os.fdopen(answers, "rb"), execmodel)

        def wait(self) -> int:
            return self._forked.wait()

        def kill(self) -> None:
            self._forked.send_signal(signal.SIGKILL)

    try:
        with patch.object(gateway_io, "Popen2IOMaster", Worker):
            yield
    finally:
        server.close()


# --- in the process that forks ------------------------------------------------------------------------------


class ImportsAlone:
    """Collects no test: it imports their files, with their asserts rewritten."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> bool:
        files = sorted(CHECKOUT.joinpath("tests").rglob("test_*.py"))
        # Where no run before has left its bytecode, rewriting takes longer than all the rest: two share it.
        if (half := os.fork()) == 0:
            files.reverse()
        for file in files:
            with suppress(Exception):  # the collection reports it
                importlib.import_module(".".join(file.relative_to(CHECKOUT).with_suffix("").parts))
        if half == 0:
            os._exit(0)
        os.waitpid(half, 0)
        return True


def become_worker(requests: socket.socket, _: dict[str, Any], files: list[int]) -> None:
    """Run the program that comes on the first of the files, as `python -c` does for `execnet`. `requests` is for
    forks of Holdfast's processes."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for number, fd in enumerate(files):
        os.dup2(fd, number)
        os.close(fd)
    share(requests)
    main = sys.modules["__main__"] = ModuleType("__main__")
    exec(eval(sys.stdin.readline()), vars(main))


def main(asked: socket.socket) -> None:
    ours, theirs = requests_socket()
    if os.fork() == 0:
        ours.close()
        asked.close()
        import_code()
        serve(theirs, become_program)
        return
    theirs.close()
    pytest.main(["-n0", "-pno:cacheprovider", "--capture=no"], plugins=[ImportsAlone()])
    serve(asked, partial(become_worker, ours))


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
