"""A short run of `make fuzz`: nothing is found, and every part that is chosen has sent requests."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from bench.progress import Steps
from tests.fuzz.run import parts, run

pytestmark = pytest.mark.timeout(180)

REQUESTS = 250


class Silent(Steps):
    def _show(self, text: str, done: float) -> None:
        """Show nothing."""

    def _move(self, done: float) -> None:
        """Show nothing."""


async def test_bad_input_changes_no_row_and_leaks_no_text(tmp_path: Path) -> None:
    seed = int(os.environ.get("HOLDFAST_SEED") or random.randrange(2**32))
    print(f"HOLDFAST_SEED={seed}")  # noqa: T201
    names = {part.name for part in parts({})}
    chance = random.Random(seed)
    names -= {chance.choice(["rest: nobody", "rest: bad token"]), chance.choice(["rest: guest", "rest: user"])}
    result = await run(tmp_path, REQUESTS, seed, Silent(), names)
    assert result.tally.findings == []
    assert result.tally.results.keys() == names
    assert {"400", "401", "408"} <= result.tally.statuses().keys()
