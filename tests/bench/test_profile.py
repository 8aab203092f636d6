"""A profiler's samples of a process are shown by the part of the program that they belong to."""

from __future__ import annotations

import pytest

from bench.profile import PARTS, REST, counted, part

RUNS = [
    "run (uvloop/__init__.py:96)",
    "task_step (_asynciomodule.c)",
    "Worker.handle (common/messaging/batch.py:150)",
]


@pytest.mark.parametrize(
    ("frames", "belongs"),
    [
        (RUNS, "messaging"),
        ([*RUNS, "BookingHandlers.apply_reports (booking/handlers.py:80)"], "the actor itself"),
        (
            [*RUNS, "BookingHandlers.apply_reports (booking/handlers.py:80)", "PyDict_New (dictobject.c)"],
            "the actor itself",
        ),
        (
            [*RUNS, "shown (booking/presenters.py:60)", "0x7f8a32412904 (pydantic_core/_pydantic_core.so)"],
            "pydantic",
        ),
        ([*RUNS, "Connection.fetch (asyncpg/connection.py:700)", "Codec_encode (protocol.c)"], "Postgres client"),
        ([*RUNS, "Connection.send (common/messaging/connection.py:60)"], "Redis client"),
        ([RUNS[0], "uv__io_poll (linux.c)", "epoll_pwait (libc.so.6)"], "system calls"),
        ([*RUNS, "malloc (libc.so.6)"], "messaging"),
        ([*RUNS, "gc_collect_main (gcmodule.c)"], "garbage collector"),
        (["_start (python3.11)"], REST),
    ],
)
def test_a_sample_counts_for_the_innermost_frame_of_a_known_part(frames: list[str], belongs: str) -> None:
    assert belongs in {*PARTS, REST}
    assert part(frames) == belongs


def test_samples_of_one_part_are_counted_together() -> None:
    stacks = "\n".join(
        (";".join(RUNS) + " 3", ";".join([*RUNS, "f (booking/rules.py:1)"]) + " 4", ";".join(RUNS[:1]) + " 2")
    )
    assert counted(stacks) == {"messaging": 3, "the actor itself": 4, "event loop": 2}
