"""Time and chance, which tests replace; and where something is kept beyond this process."""

from __future__ import annotations

import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

# The n-th pause is drawn between 0 and FIRST_PAUSE_S times 2 to the n, or LONGEST_PAUSE_S.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 20.0


@dataclass(frozen=True)
class Platform:
    """`now`: Unix seconds. `sleep`: waits so many seconds. `random`: draws between 0 and 1."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random

    def pause_s(self, tries: int, at_least_s: float = 0.0) -> float:
        """The pause before try number `tries` (from 0): full jitter, and at least `at_least_s`.
        https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/"""
        longest_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**tries)
        return at_least_s + self.random() * longest_s


class Storage(Protocol):
    """Keeps the guest's token, and the keys of unfinished requests."""

    def get(self, name: str) -> str | None: ...

    def set(self, name: str, value: str) -> None: ...

    def remove(self, name: str) -> None: ...


class MemoryStorage:
    """As long as the process lives."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        return self._kept.get(name)

    def set(self, name: str, value: str) -> None:
        self._kept[name] = value
        self._write()

    def remove(self, name: str) -> None:
        if self._kept.pop(name, None) is not None:
            self._write()

    def _write(self) -> None:
        pass


class FileStorage(MemoryStorage):
    """In a file of JSON that its user alone may read; for one process at a time."""

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        self._path = Path(path)
        with suppress(FileNotFoundError):
            self._kept.update(parsed(self._path.read_text(encoding="utf-8")) or {})

    def _write(self) -> None:
        """The whole file anew, so that it is never half written."""
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(self._kept, file)
        os.replace(name, self._path)


def parsed(text: str | bytes | None) -> Any:
    """None for what is no JSON."""
    with suppress(ValueError):
        return json.loads(text or "")
    return None
