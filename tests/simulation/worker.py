"""Plays seeds in a process of its own: it reads a seed from a pipe, and writes the result to it."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import structlog

from tests.simulation import watch
from tests.simulation.clockwork import VirtualLoop
from tests.simulation.faults import Lure
from tests.simulation.planted import HARMLESS, LURES, PLANTED
from tests.simulation.schedule import Schedule
from tests.simulation.story import Coverage, drop_into
from tests.simulation.world import Lasting


@dataclass(frozen=True)
class Task:
    """The databases, the number of steps, the planted mistake, and whether to return all stories."""

    booking_url: str
    payment_url: str
    steps: int
    planted: str
    all_stories: bool


_playing: Schedule | None = None


def _into_the_story(_: Any, __: str, event: Any) -> NoReturn:
    if _playing is not None:
        drop_into(_playing.world.story, _playing.world.coverage, event)
    raise structlog.DropEvent


def play(
    seed: int, steps: int, loop: VirtualLoop, lasting: Lasting, lure: Lure, *, all_stories: bool = False
) -> dict[str, Any]:
    """Play one schedule. The result has its story when a promise was broken, or with `all_stories`."""
    global _playing
    started = time.perf_counter()
    schedule = _playing = Schedule(seed, loop, lasting, Coverage(), lure)
    story = schedule.world.story
    watch.watch(schedule)
    try:
        loop.run_until_complete(schedule.run(steps))
    finally:
        _playing = None
        watch.watch(None)
    return {
        "seed": seed,
        "violations": story.violations,
        "digest": story.digest(),
        "story": story.text() if story.violations or all_stories else "",
        "coverage": schedule.world.coverage.as_json(),
        "virtual_s": loop.at,
        "seconds": time.perf_counter() - started,
    }


def work(seeds: Connection, task: Task) -> None:
    """Play each seed that `seeds` brings, and answer with its result, until the other end closes the pipe."""
    if task.planted:
        (PLANTED | HARMLESS)[task.planted]()
    watch.install()
    structlog.configure(
        processors=[_into_the_story], wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING)
    )
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    lasting = loop.run_until_complete(Lasting.open(task.booking_url, task.payment_url))
    lure = LURES.get(task.planted, Lure())
    with suppress(EOFError):
        while True:
            seed = seeds.recv()
            seeds.send(play(seed, task.steps, loop, lasting, lure, all_stories=task.all_stories))
    loop.run_until_complete(lasting.close())
    loop.close()
