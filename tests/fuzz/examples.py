"""Tries examples from Hypothesis against the stack, and makes failing ones small."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.tally import Tally

T = TypeVar("T")
Progress = Callable[[int], None]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=12,
)


async def tried(
    part: str,
    examples: st.SearchStrategy[T],
    attempt: Callable[[T], Coroutine[Any, Any, None]],
    requests: int,
    number: int,
    tally: Tally,
    progress: Progress,
) -> None:
    """`attempt` one example after the other until `requests` are counted. An error of `attempt` is a finding, and
    ends this.

    `number` is the seed: the same seed gives the same examples.
    """
    loop = asyncio.get_running_loop()
    failed: list[str] = []
    start = tally.count(part)

    def one(example: T) -> None:
        if tally.stop.is_set() or (tally.count(part) - start >= requests and not failed):
            return
        try:
            asyncio.run_coroutine_threadsafe(attempt(example), loop).result()
        except Exception as error:
            failed[:] = [f"{type(error).__name__}: {error}", f"example: {example!r}"]
            raise
        progress(tally.count(part) - start)

    test = settings(
        max_examples=max(requests, 1),
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )(seed(number)(given(examples)(one)))
    while tally.count(part) - start < requests and not tally.stop.is_set():
        before = tally.count(part)
        try:
            await asyncio.to_thread(test)
        except Exception:
            tally.wrong(part, *failed)
            return
        if tally.count(part) == before:
            tally.wrong(part, "nothing was sent", "the examples have come to an end")
            return
