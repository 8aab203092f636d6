"""What the children have to say, on the console: each line of their log files with the name before it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ops.child import Child

# How often the files are looked at; a person sees no delay.
LOOK_SECONDS = 0.2
LOUD = {"warning": "yellow", "error": "red", "critical": "bold red"}
# Of each line that is on the console by other means.
HIDDEN = frozenset({"event", "level", "timestamp", "process", "instance"})


class Follower:
    """Prints what is added to the logs: all of it, or what is a warning or worse."""

    def __init__(self, console: Console, children: Iterable[Child], *, everything: bool) -> None:
        self._console = console
        self._everything = everything
        self._ends = {child.name: (child.log, _size(child.log)) for child in children}

    async def run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Print what is new by now."""
        for name, (log, end) in self._ends.items():
            if _size(log) <= end:
                continue
            with log.open("rb") as file:
                file.seek(end)
                new = file.read()
            whole = new.rfind(b"\n") + 1  # the rest of a line is still to come
            self._ends[name] = (log, end + whole)
            for line in new[:whole].decode(errors="replace").splitlines():
                self._print(name, line)

    def _print(self, name: str, line: str) -> None:
        text, loud = readable(line)
        if loud or self._everything:
            self._console.print(Text(f"{name:<10} ", "cyan") + text, soft_wrap=True)


def readable(line: str) -> tuple[Text, bool]:
    """A log line for a person, and whether it is a warning or worse. What is no structured line (a traceback)
    is loud: nothing that is well prints that."""
    try:
        record = json.loads(line)
        level = str(record["level"]).lower()
    except (ValueError, KeyError, TypeError):
        return Text(line), True
    rest = " ".join(f"{name}={value}" for name, value in record.items() if name not in HIDDEN)
    return Text(f"{record.get('event', '')} {rest}".strip(), LOUD.get(level, "")), level in LOUD


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0
