"""Prints the children's log files on the console: each line with the name of the process before it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ops.child import Child

# How often the files are checked for new lines; a person notices no delay.
CHECK_SECONDS = 0.2
LOUD = {"warning": "yellow", "error": "red", "critical": "bold red"}
# Fields that are not printed as `name=value`: the console shows them in another way, or need not show them.
HIDDEN = frozenset({"event", "level", "timestamp", "process", "instance"})


class LogFollower:
    """Prints the lines that are added to the logs: all of them, or only warnings and worse."""

    def __init__(self, console: Console, children: Iterable[Child], *, everything: bool) -> None:
        self._console = console
        self._everything = everything
        self._ends = {child.name: (child.log, _size(child.log)) for child in children}

    async def run(self) -> None:
        while True:
            self.print_new()
            await asyncio.sleep(CHECK_SECONDS)

    def print_new(self) -> None:
        """Print the lines that are new since the last call."""
        for name, (log, end) in self._ends.items():
            if _size(log) <= end:
                continue
            with log.open("rb") as file:
                file.seek(end)
                new = file.read()
            complete = new.rfind(b"\n") + 1  # the rest of a line is still to come
            self._ends[name] = (log, end + complete)
            for line in new[:complete].decode(errors="replace").splitlines():
                self._print(name, line)

    def _print(self, name: str, line: str) -> None:
        text, loud = readable(line)
        if loud or self._everything:
            self._console.print(Text(f"{name:<10} ", "cyan") + text, soft_wrap=True)


def readable(line: str) -> tuple[Text, bool]:
    """A log line for a person, and whether it is a warning or worse. A line that is not structured (a traceback)
    counts as one: a process that is well does not print it."""
    try:
        record = json.loads(line)
        level = str(record["level"]).lower()
    except (ValueError, KeyError, TypeError):
        return Text(line), True
    rest = " ".join(f"{name}={value}" for name, value in record.items() if name not in HIDDEN)
    return Text(f"{record.get('event', '')} {rest}".strip(), LOUD.get(level, "")), level in LOUD


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0
