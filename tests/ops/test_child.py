"""How a child process is stopped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ops.child import Child, Launch

MISSES_FIRST = """
import signal, time
received = []
def receive(*_):
    received.append(1)
    if len(received) > 1:
        exit(3)
signal.signal(signal.SIGINT, receive)
print("here", flush=True)
time.sleep(60)
"""


class Sleeper(Child):
    """Handles no signal, so each signal has its default effect."""

    at_once_signal = signal.SIGINT
    stop_seconds = 5.0
    command: Sequence[str] = ("sleep", "60")

    def launch(self) -> Launch:
        return Launch(self.command, {"PATH": os.defpath}, Path("/"))

    async def problem(self) -> str | None:
        return None


class MissesFirst(Sleeper):
    """Misses the first SIGINT, as Python does when KeyboardInterrupt is raised where exceptions are ignored."""

    command = (sys.executable, "-c", MISSES_FIRST)

    async def problem(self) -> str | None:
        return None if self.log.read_text() else "it does not run yet"


@pytest.fixture
def signals_ignored() -> Iterator[None]:
    """As in a program that a shell without job control has started in the background."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals_ignored")
@pytest.mark.parametrize("at_once", [True, False])
async def test_child_ends_by_signals_that_its_parent_ignores(tmp_path: Path, at_once: bool) -> None:
    child = Sleeper("sleeper", tmp_path / "log")
    await child.start()
    await child.stop(at_once=at_once)
    assert child.exit_code == -(signal.SIGINT if at_once else signal.SIGTERM)


async def test_child_that_misses_the_signal_is_sent_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.child.AT_ONCE_SECONDS", 1.0)
    child = MissesFirst("misses-first", tmp_path / "log")
    await child.start()
    await child.stop(at_once=True)
    assert child.exit_code == 3
