"""One virtual clock and one seed for all that asks for the time or for chance."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import stripe._webhook

import booking.availability
import common.contracts.ids
import common.messaging.consumer
import common.messaging.dependencies
import common.messaging.lease
import common.messaging.mailbox
import common.messaging.worker
import payment.stripe_api
import payment.webhook_batches
import sandbox.errors
import sandbox.identifiers
from tests.simulation.process import owner_of

EPOCH = datetime(2030, 1, 1, 12, tzinfo=UTC)
EPOCH_S = int(EPOCH.timestamp())
# Modules that ask `time` by themselves, for what is no business of a booking's: deadlines, ids, housekeeping.
ASK_THE_TIME: tuple[Any, ...] = (
    booking.availability,
    common.contracts.ids,
    common.messaging.consumer,
    common.messaging.dependencies,
    common.messaging.lease,
    common.messaging.mailbox,
    common.messaging.worker,
    payment.stripe_api,
    payment.webhook_batches,
    sandbox.errors,
    sandbox.identifiers,
    stripe._webhook,
)
ASK_FOR_SECRETS: tuple[Any, ...] = (common.contracts.ids, sandbox.identifiers)


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
    for module in ASK_THE_TIME:
        module.time = clock
    common.contracts.ids._random = random.Random(f"ids {seed}")
    secrets = Secrets(random.Random(f"objects {seed}"))
    for module in ASK_FOR_SECRETS:
        module.secrets = secrets
    random.seed(f"jitter {seed}")
