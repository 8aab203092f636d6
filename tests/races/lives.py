"""An actor's life inside the test's own process: its tasks and connections, and its sudden end.

A killed actor is as after SIGKILL: its connections break at once, and it sends, rolls back, publishes and
acknowledges nothing more. The servers still do all that it had sent before.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from enum import Enum
from typing import Any, TypeVar, cast
from weakref import WeakSet

_CURRENT: ContextVar[Life | None] = ContextVar("life", default=None)
# Seconds between two cancellations of a killed task; before Python 3.12 a task can swallow one.
AGAIN_S = 0.02

T = TypeVar("T")


class Point(Enum):
    """Where an actor may be killed, or stopped as by SIGSTOP."""

    READ = "after reading"
    LOCKED = "in a transaction, before its commit"
    COMMITTED = "after a commit"
    BEFORE_STRIPE = "before a Stripe call"
    AFTER_STRIPE = "after a Stripe call"
    HALF_PUBLISHED = "in the middle of publishing"
    PUBLISHED = "after publishing what nothing is acknowledged with"
    ACKNOWLEDGED = "after publishing and acknowledging"


class Gate:
    """Stops the first actor that reaches it, as by SIGSTOP, until `open`. Several actors may share one gate.
    `long`: for longer than an entry's idle time, so that other actors may claim its entries."""

    def __init__(self, point: Point, work: str, *, long: bool = True) -> None:
        """`work` is the mailbox that is handled there or, at a call to Stripe, the operation."""
        self.point = point
        self.long = long
        self._work = work
        self.stopped: Life | None = None
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    def stops(self, life: Life, point: Point, operation: str) -> bool:
        if self.stopped is not None:
            return self.stopped is life and not self.open.is_set()
        task = asyncio.current_task()
        # Calls to Stripe are made at the same time, in tasks of their own.
        here = operation == self._work or (task is not None and task.get_name().endswith(self._work))
        if point is self.point and here:
            self.stopped = life
            self.reached.set()
        return self.stopped is life


class Life:
    """All tasks and connections made in its context belong to it, whatever started them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = asyncio.Event()
        self.reached: Counter[Point] = Counter()
        # It is killed when it reaches this point for the n-th time since its beginning.
        self.doom: tuple[Point, int] | None = None
        self.died_at: Point | None = None
        self.gate: Gate | None = None
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.transports: set[asyncio.BaseTransport] = set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        context = copy_context()
        context.run(_CURRENT.set, self)
        return await asyncio.get_running_loop().create_task(work, context=context)

    def kill(self, at: Point | None = None) -> None:
        """From now on nothing that it does has any effect."""
        if self.dead.is_set():
            return
        self.dead.set()
        self.died_at = at
        for transport in self.transports:
            cast(asyncio.WriteTransport, transport).abort()
        for task in list(self.tasks):
            task.cancel()

    async def ended(self) -> None:
        """Wait until none of its tasks is left."""
        while left := [task for task in list(self.tasks) if not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=AGAIN_S)

    def doomed(self, point: Point) -> bool:
        return self.doom == (point, self.reached[point] + 1)

    async def reach(self, point: Point, operation: str = "") -> None:
        """Continue, wait until a test opens the gate, or die here."""
        if self.doomed(point):
            self.kill(point)
        if self.dead.is_set():
            raise asyncio.CancelledError
        self.reached[point] += 1
        if self.gate is not None and self.gate.stops(self, point, operation):
            await self.gate.open.wait()

    @property
    def gone(self) -> bool:
        """Whether it is dead, or stopped for longer than its entries' idle time."""
        gate = self.gate
        stopped = gate is not None and gate.stopped is self and not gate.open.is_set()
        return self.dead.is_set() or (gate is not None and gate.long and stopped)


def current() -> Life | None:
    """The life that the current task belongs to; None for the test itself."""
    return _CURRENT.get()


async def reach(point: Point, operation: str = "") -> None:
    life = _CURRENT.get()
    if life is not None:
        await life.reach(point, operation)


@contextmanager
def living() -> Iterator[None]:
    """Inside, each task and connection that the loop makes belongs to the life in whose context it is made."""
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    def make_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
        context = options.get("context")
        life = _CURRENT.get() if context is None else context.get(_CURRENT)
        if life is not None:
            life.tasks.add(task)
        return task

    async def create_connection(*args: Any, **options: Any) -> Any:
        life = _CURRENT.get()
        if life is not None and life.dead.is_set():
            raise asyncio.CancelledError
        transport, protocol = await connect(*args, **options)
        if life is not None:
            life.transports.add(transport)
        return transport, protocol

    loop.set_task_factory(cast(Any, make_task))
    loop.create_connection = create_connection  # type: ignore[method-assign]
    try:
        yield
    finally:
        loop.set_task_factory(None)
        del loop.create_connection
