"""How far the run has come, on stderr: a bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import asyncio
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn


class Steps(ABC):
    """The steps of a run one after the other; each takes a share (0 to 1) of the whole."""

    def __init__(self) -> None:
        self._done = 0.0
        self._share = 0.0

    def begin(self, text: str, share: float = 0.0) -> None:
        """The step before is over; `text` says what happens now."""
        self._done = min(self._done + self._share, 1.0)
        self._share = share
        self._show(text, self._done)

    def part(self, done: float) -> None:
        """`done` (0 to 1) of the present step is finished."""
        self._move(min(self._done + self._share * done, 1.0))

    def within(self, name: str, share: float) -> Steps:
        """The steps inside of one of these steps, which has `share` of the whole."""
        self.begin(name, share)
        return _Within(self, name)

    @abstractmethod
    def _show(self, text: str, done: float) -> None: ...

    @abstractmethod
    def _move(self, done: float) -> None: ...


class _Within(Steps):
    def __init__(self, outer: Steps, name: str) -> None:
        super().__init__()
        self._outer = outer
        self._name = name

    def _show(self, text: str, done: float) -> None:
        outer = self._outer
        outer._show(f"{self._name}: {text}", min(outer._done + outer._share * done, 1.0))

    def _move(self, done: float) -> None:
        self._outer.part(done)


class _Lines(Steps):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def _show(self, text: str, done: float) -> None:
        print(f"{self._name}: {done * 100:3.0f} %  {text}", file=sys.stderr, flush=True)

    def _move(self, done: float) -> None:
        """Nothing: a line for each step is enough."""


class _Bar(Steps):
    def __init__(self, progress: Progress, task: TaskID) -> None:
        super().__init__()
        self._progress = progress
        self._task = task

    def _show(self, text: str, done: float) -> None:
        self._progress.update(self._task, description=text, completed=done)

    def _move(self, done: float) -> None:
        self._progress.update(self._task, completed=done)


@contextmanager
def shown(name: str = "bench") -> Iterator[Steps]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(name)
        return
    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress, progress.add_task("", total=1.0))


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM cancels the running task, as asyncio does with Ctrl-C."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
