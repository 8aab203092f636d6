"""Two running stacks for all acceptance tests: one that nobody harms, and one that everything befalls."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator

import pytest

from tests.acceptance.holdfast import Holdfast, complaints, running

# Entries of a killed process are taken over soon. Payment's calls of Stripe forbid a shorter handler's time, and
# the idle time of a claim has to outlast two of those.
IMPATIENT = {"HANDLER_TIMEOUT_MS": "6000", "CLAIM_IDLE_MS": "12100", "ANSWER_SECONDS": "1"}
# One failure on its own is enough: no test has to wait for another claim of what fails always.
STRICT = {"ATTEMPTS_MAX": "1"}
# Banks decide when a test says so, and not before.
SLOW_BANKS = {"SANDBOX_SETTLE_SECONDS": "86400"}


@pytest.fixture(scope="session")
async def holdfast(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Holdfast]:
    """For tests that harm nobody but themselves: in its logs there is no error at the end."""
    async with running(tmp_path_factory.mktemp("shared")) as shared:
        yield shared
    assert complaints(shared.stack) == []


@pytest.fixture(scope="session")
async def battered(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Holdfast]:
    """For tests that kill and stop: each leaves it running, at rest and right."""
    async with running(tmp_path_factory.mktemp("battered"), settings=IMPATIENT | STRICT | SLOW_BANKS) as stack:
        yield stack


@pytest.fixture
def moments() -> random.Random:
    """Chance for one test; a failed one shows the seed, and HOLDFAST_SEED repeats it."""
    seed = os.environ.get("HOLDFAST_SEED") or str(random.randrange(2**32))
    print(f"HOLDFAST_SEED={seed}")  # noqa: T201
    return random.Random(seed)
