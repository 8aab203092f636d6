"""Two running stacks for all acceptance tests: one that no test harms, and one whose processes tests kill.

Each ends with the last test of this folder that its process runs: a stack costs CPU also while nobody uses it.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator

import pytest

from tests.acceptance.holdfast import SHORT_TIMES, SLOW_BANKS, STRICT, Holdfast, complaints, running
from tests.clients.buyers import BUYERS, Start
from tests.clients.node import needs_node

# To receivers on this machine.
WEBHOOKS = dict.fromkeys(("WEBHOOKS", "WEBHOOK_HTTP", "WEBHOOK_PRIVATE_ADDRESSES"), "true")


@pytest.fixture(scope="package")
async def holdfast(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Holdfast]:
    """For tests that stop no process and make no fault that lasts. At the end its logs must have no error."""
    async with running(tmp_path_factory.mktemp("shared"), settings=WEBHOOKS) as shared:
        yield shared
    assert complaints(shared.stack) == []


@pytest.fixture(scope="package")
async def battered(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Holdfast]:
    """For tests that kill and stop processes. Each test leaves it running, at rest, and with a clean audit."""
    async with running(tmp_path_factory.mktemp("battered"), settings=SHORT_TIMES | STRICT | SLOW_BANKS) as stack:
        yield stack


@pytest.fixture
def chance() -> random.Random:
    """The random numbers of one test. A failed test shows the seed, and HOLDFAST_SEED repeats it."""
    seed = os.environ.get("HOLDFAST_SEED") or str(random.randrange(2**32))
    print(f"HOLDFAST_SEED={seed}")  # noqa: T201
    return random.Random(seed)


@pytest.fixture(params=BUYERS)
async def start_client(request: pytest.FixtureRequest) -> Start:
    """Starts one of the clients, in JavaScript and in Python."""
    if request.param == "javascript":
        await needs_node()
    return BUYERS[request.param]
