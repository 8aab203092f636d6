"""Plays seeds in one process, with lasting of its own: a seed a line comes in, what came of it in JSON goes out.

It is started with PYTHONHASHSEED=0: the order of a set of names must follow from the seed, too.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from typing import Any, NoReturn

import orjson
import structlog

from tests.simulation import watch
from tests.simulation.clockwork import VirtualLoop
from tests.simulation.faults import Lure
from tests.simulation.planted import LURES, PLANTED
from tests.simulation.schedule import Schedule
from tests.simulation.story import Coverage, drop_into
from tests.simulation.world import Lasting

_playing: Schedule | None = None


def _into_the_story(_: Any, __: str, event: Any) -> NoReturn:
    if _playing is not None:
        drop_into(_playing.world.story, _playing.world.coverage, event)
    raise structlog.DropEvent


def play(
    seed: int, steps: int, loop: VirtualLoop, lasting: Lasting, lure: Lure, *, tell_all: bool = False
) -> dict[str, Any]:
    """One schedule; with its story when a promise was broken."""
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
        "story": story.text() if story.violations or tell_all else "",
        "coverage": schedule.world.coverage.as_json(),
        "virtual_s": loop.at,
        "seconds": time.perf_counter() - started,
    }


def main() -> None:
    booking_url, payment_url, steps, planted, tell_all = sys.argv[1:]
    if planted:
        PLANTED[planted]()
    watch.install()
    structlog.configure(
        processors=[_into_the_story], wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING)
    )
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    lasting = loop.run_until_complete(Lasting.open(booking_url, payment_url))
    lure = LURES.get(planted, Lure())
    for line in sys.stdin:
        result = orjson.dumps(play(int(line), int(steps), loop, lasting, lure, tell_all=bool(tell_all)))
        sys.stdout.buffer.write(result + b"\n")
        sys.stdout.buffer.flush()
    loop.run_until_complete(lasting.close())
    loop.close()


if __name__ == "__main__":
    main()
