"""One virtual clock and one seed for all that asks for the time or for chance."""

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
from tests.simulation.process import owner_of

EPOCH = datetime(2030, 1, 1, 12, tzinfo=UTC)
EPOCH_S = int(EPOCH.timestamp())
# All modules in these packages that ask `time` or `secrets` are given what stands in for it, and one of Stripe's.
OURS = ("booking", "common", "payment", "sandbox")
SIGNS = stripe._webhook.__name__


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time stands still until it is put forward."""

    def __init__(self) -> None:
        self.at = 0.0
        super().__init__()
        self.set_task_factory(cast(Any, _owned))

    def time(self) -> float:
        return self.at

    @property
    def busy(self) -> bool:
        """Something can run now, beside whoever asks."""
        return bool(self._ready)  # type: ignore[attr-defined]

    def next_timer(self) -> float | None:
        """When the next timer is due; None when there is none."""
        return min((each.when() for each in self._timers() if not each.cancelled()), default=None)

    def _timers(self) -> list[asyncio.TimerHandle]:
        return self._scheduled  # type: ignore[attr-defined,no-any-return]


def _owned(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
    """A new task, known to the process that it belongs to: who kills the process ends it."""
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
    process = owner_of(options.get("context"))
    if process is not None:
        process.tasks[task] = None
        task.add_done_callback(lambda task: process.tasks.pop(task, None))
    return task


class Clock:
    """What stands in for the module `time`, and for `now()`. No two moments of one world are the same."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._told = 0

    def now(self) -> datetime:
        self._told += 1
        return EPOCH + timedelta(seconds=self._loop.at, microseconds=self._told)

    def time(self) -> float:
        return EPOCH_S + self._loop.at

    def time_ns(self) -> int:
        return int(self.time() * 1_000_000_000)

    def monotonic(self) -> float:
        return self._loop.at

    perf_counter = monotonic


class Secrets:
    """What stands in for the module `secrets`."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def token_hex(self, size: int) -> str:
        return self._chance.randbytes(size).hex()


def install(clock: Clock, seed: int) -> None:
    """All that was left to the system's clock and to chance follows from `clock` and `seed` from here on."""
    _stand_in(time, clock)
    _stand_in(secrets, Secrets(random.Random(f"objects {seed}")))
    common.contracts.ids._random = random.Random(f"ids {seed}")
    random.seed(f"jitter {seed}")


def _stand_in(real: ModuleType, made: Clock | Secrets) -> None:
    """Wherever a module of ours has imported `real`, or has been given what stood in for it before."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in OURS or name == SIGNS:
            there = getattr(module, real.__name__, None)
            if there is real or isinstance(there, type(made)):
                setattr(module, real.__name__, made)
