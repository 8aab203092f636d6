"""One virtual clock and one seed for all code that reads the time or draws by chance."""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any, cast

import stripe._webhook

import common.contracts.ids
from tests.simulation.process import process_of

EPOCH = datetime(2030, 1, 1, 12, tzinfo=UTC)
EPOCH_S = int(EPOCH.timestamp())
# In all modules of these packages, and in one module of Stripe's SDK, stand-ins replace `time` and `secrets`.
OURS = ("booking", "common", "payment", "sandbox")
SIGNS = stripe._webhook.__name__


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still until `at` is raised."""

    def __init__(self) -> None:
        self.at = 0.0
        super().__init__()
        self.set_task_factory(cast(Any, _owned))

    def time(self) -> float:
        return self.at

    @property
    def busy(self) -> bool:
        """Whether another task than the caller can run now."""
        return bool(self._ready)  # type: ignore[attr-defined]

    def next_timer(self) -> float | None:
        """When the next timer is due, in seconds of this loop; None when there is none."""
        return min((each.when() for each in self._timers() if not each.cancelled()), default=None)

    def _timers(self) -> list[asyncio.TimerHandle]:
        return self._scheduled  # type: ignore[attr-defined,no-any-return]


def _owned(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
    """A new task, registered with the process that it belongs to, so that killing the process ends it."""
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
    process = process_of(options.get("context"))
    if process is not None:
        process.tasks[task] = None
        task.add_done_callback(lambda task: process.tasks.pop(task, None))
    return task


class Clock:
    """Stands in for the module `time`, and for `now()`, which never returns the same time twice in one world."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._readings = 0

    def now(self) -> datetime:
        self._readings += 1
        return EPOCH + timedelta(seconds=self._loop.at, microseconds=self._readings)

    def time(self) -> float:
        return EPOCH_S + self._loop.at

    def time_ns(self) -> int:
        return int(self.time() * 1_000_000_000)

    def monotonic(self) -> float:
        return self._loop.at

    perf_counter = monotonic


class Secrets:
    """Stands in for the module `secrets`."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def token_hex(self, size: int) -> str:
        return self._chance.randbytes(size).hex()


def install(clock: Clock, seed: int) -> None:
    """From now on `clock` and `seed` decide all that the system's clock and chance decided before."""
    _stand_in(time, clock)
    _stand_in(secrets, Secrets(random.Random(f"objects {seed}")))
    common.contracts.ids._random = random.Random(f"ids {seed}")
    random.seed(f"jitter {seed}")


def _stand_in(real: ModuleType, made: Clock | Secrets) -> None:
    """Put `made` into each module of ours that has imported `real`, or that has the stand-in of an earlier seed."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in OURS or name == SIGNS:
            there = getattr(module, real.__name__, None)
            if there is real or isinstance(there, type(made)):
                setattr(module, real.__name__, made)
