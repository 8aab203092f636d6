"""A server or actor as a child process: started until it is ready, stopped, killed, paused, resumed."""

from __future__ import annotations

import asyncio
import ctypes
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from common.runtime.backoff import Backoff
from ops.errors import StartError
from ops.layout import HOST as HOST
from ops.private import UMASK, open_private

PROBE_TIMEOUT_S = 3.0  # longer than /health/ready, whose checks may take 2 s (CHECK_TIMEOUT_SECONDS)
# A process that has not ended this long after the signal to end at once has missed it, and gets it again.
AT_ONCE_SECONDS = 5.0
PR_SET_PDEATHSIG = 1  # prctl(2)
# Below the ports that systems give to outgoing connections: one of those could take the port before the server.
FREE_PORTS = range(15_000, 32_000)


def free_port() -> int:
    """A TCP port of the loopback interface on which no process listens now, and which for the next minute only a
    server can use that is told which one it is: nobody else gets it from here."""
    while True:
        port = random.choice(FREE_PORTS)
        with closing(socket.socket()) as server:
            try:
                server.bind((HOST, port))
            except OSError:
                continue
            # The side that closes a connection first keeps the port for a minute (TIME_WAIT): it can then be bound
            # with SO_REUSEADDR alone, which servers use and this function does not.
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.listen(1)
            with closing(socket.create_connection((HOST, port))):
                accepted, _ = server.accept()
                accepted.close()
        return port


def can_bind(port: int) -> bool:
    """Whether no process listens on this TCP port of the loopback interface now."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def ensure_free(port: int, name: str, setting: str) -> None:
    """Raises StartError when `port` is in use; `setting` is the variable that chooses another."""
    if not can_bind(port):
        raise StartError(f"port {port} for {name} is in use: free it, or set {setting} to another port")


@dataclass(frozen=True)
class Launch:
    """What to execute. `user` and `group` are ids, for a server that refuses to run as root."""

    command: Sequence[str]
    environment: Mapping[str, str]
    cwd: Path
    user: int | None = None
    group: int | None = None


@dataclass
class _Run:
    """One run of the process. A thread of its own waits for its end, so that no event loop is needed to reap it,
    and every loop can await it."""

    process: subprocess.Popen[bytes]
    log_start: int
    exited: Future[int] = field(default_factory=Future)

    def __post_init__(self) -> None:
        self.exited.set_running_or_notify_cancel()  # a cancelled waiter does not cancel the others
        threading.Thread(target=self._reap, name=f"reap-{self.process.pid}", daemon=True).start()

    def _reap(self) -> None:
        self.exited.set_result(self.process.wait())


class Child(ABC):
    """One process that Holdfast starts. `name` is for people; `log` gets all that the process prints; `wanted` says
    that it should run, so that it may be started again if it has ended."""

    ready_seconds = 30.0
    stop_seconds = 30.0
    stop_signal = signal.SIGTERM
    # For `stop(at_once=True)`.
    at_once_signal = signal.SIGTERM

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.wanted = False
        self._run: _Run | None = None

    @abstractmethod
    def launch(self) -> Launch:
        """What to execute."""

    @abstractmethod
    async def problem(self) -> str | None:
        """Why it cannot serve yet; None when it can. Does not raise while the process still starts."""

    @property
    def running(self) -> bool:
        return self._run is not None and not self._run.exited.done()

    @property
    def pid(self) -> int:
        """The process id of the present or last run. Raises StartError before the first."""
        return self._last_run().process.pid

    @property
    def exit_code(self) -> int | None:
        """How the last run ended (negative: the signal); None while the process runs or before it did."""
        return self._run.exited.result() if self._run and self._run.exited.done() else None

    async def start(self) -> None:
        """Start it and wait until it serves. Raises StartError when it ends first or takes too long."""
        if self.running:
            raise StartError(f"{self.name} is running already")
        self.wanted = True
        self._run = self._spawn()
        try:
            await self._until_ready()
        except BaseException:
            await self._end()
            raise

    async def stop(self, *, at_once: bool = False) -> None:
        """Ask it to end, and wait; kill it when that takes longer than `stop_seconds`. `at_once`: no other process
        replaces it, so that it need not serve until clients have moved to another."""
        self.wanted = False
        await self._end(at_once=at_once)

    async def _end(self, *, at_once: bool = True) -> None:
        if self._run is None:
            return
        number = self.at_once_signal if at_once else self.stop_signal
        self._signal(number)
        self._signal(signal.SIGCONT)  # a paused process would not get the signal
        if at_once and not await self._ends_within(AT_ONCE_SECONDS):
            # Python may lose a KeyboardInterrupt while it imports; by now the process has its own handler.
            self._signal(number)
        if not await self._ends_within(self.stop_seconds):
            self._signal(signal.SIGKILL)
            await self.wait()

    async def _ends_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wait()
        return not self.running

    async def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.wanted = False
        if self._run is not None:
            self._signal(signal.SIGKILL)
            await self.wait()

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        return await asyncio.wrap_future(self._last_run().exited)

    def pause(self) -> None:
        """SIGSTOP to it and all its descendants: their connections stay open, and they do not answer."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def last_line(self) -> str:
        """The last line that this run printed."""
        run = self._last_run()
        with self.log.open("rb") as log:
            log.seek(run.log_start)
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "it printed nothing"

    def _last_run(self) -> _Run:
        if self._run is None:
            raise StartError(f"{self.name} was never started")
        return self._run

    def _spawn(self) -> _Run:
        launch = self.launch()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab", opener=open_private) as log:
            log_start = log.tell()
            process = subprocess.Popen(
                launch.command,
                env=dict(launch.environment),
                cwd=launch.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=launch.user,
                group=launch.group,
                extra_groups=None if launch.user is None else [],
                umask=UMASK,
                # Ctrl-C goes to the terminal's whole process group: ours are in another, and are stopped in order.
                start_new_session=True,
                preexec_fn=_in_child(self.at_once_signal),  # noqa: PLW1509  only system calls, no locks
            )
            return _Run(process, log_start)

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + self.ready_seconds
        pauses = Backoff(first=0.02, most=0.1)
        while True:
            reason = await self._probe()
            if self.exit_code is not None:
                raise StartError(f"{self.name} ended with {self.exit_code}: {self.last_line()} ({self.log})")
            if reason is None:
                return
            if time.monotonic() > deadline:
                raise StartError(
                    f"{self.name} is not ready after {self.ready_seconds:.0f} s: {reason} ({self.log})"
                )
            with suppress(TimeoutError):
                async with asyncio.timeout(pauses.next()):
                    await self.wait()

    async def _probe(self) -> str | None:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                return await self.problem()
        except TimeoutError:
            return "no answer"

    def _signal(self, number: int) -> None:
        if self.running:
            self._last_run().process.send_signal(number)

    def _signal_all(self, number: int) -> None:
        try:
            process = psutil.Process(self.pid)
            for one in (process, *process.children(recursive=True)):
                one.send_signal(number)
        except psutil.NoSuchProcess:
            return


def _in_child(number: int) -> Callable[[], None]:
    """What the child does before it executes its program. It lets the signals that end it do so again: a shell that
    runs a command in the background makes it, and its children, ignore SIGINT. On Linux the child gets the signal
    `number` when the thread that started it has ended, so that even a killed `holdfast up` leaves no process; other
    systems have no such call."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def prepare() -> None:
        for ending in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ending, signal.SIG_DFL)
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, number)

    return prepare
