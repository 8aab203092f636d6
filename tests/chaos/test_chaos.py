"""A short run with every kind of fault: all promises are kept. `make chaos` is the long one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops.layout import Scale
from tests.chaos.codes import TERMS
from tests.chaos.plan import Kind, short
from tests.chaos.run import Run, chaos

SEED = 11
SCALE = Scale(gateway=1, booking=2, payment=2)
# Short holds, because the run is over when the last one has ended.
SHORT_HOLDS = {
    "HOLD_SECONDS": "6",
    "OFFER_SECONDS": "6",
    "HOLD_EXTENSION_SECONDS": "4",
    "GRACE_SECONDS": "5",
    "DRAIN_SECONDS": "0.5",
}
ENDS = ("confirmed; payment paid", "cancelled, by_customer", "cancelled, refunded", "failed, sold_out")

pytestmark = pytest.mark.timeout(280)


async def test_promises_are_kept_whatever_fails(tmp_path: Path) -> None:
    seed = int(os.environ.get("HOLDFAST_SEED", SEED))
    print(f"HOLDFAST_SEED={seed}")  # noqa: T201
    run = Run(
        seed=seed,
        seconds=3600,  # the plan ends sooner
        rate=7,
        shoppers=12,
        scale=SCALE,
        calm_s=1.0,
        heal_max_s=100.0,
        plan=short(seed, SCALE),
        settings=SHORT_HOLDS,
    )
    report = await chaos(run, tmp_path)
    print(report.markdown())  # noqa: T201
    assert report.kept, report.broken
    struck = {fault.kind: fault.struck for fault in report.faults}
    assert {kind for kind in Kind if not struck[kind]} == set()
    for end in ENDS:
        assert any(ending.startswith(end) for ending in report.endings), end
    assert {"at once: ok", "at once: used", "undo: undone"} <= report.door.keys()
    assert {"later: ok", "later: used"} & report.door.keys()
    assert {f"{code}: confirmed" for code in TERMS} & report.journeys.keys()
    assert report.journeys["waits: offered"]
    assert report.notified["mails"]
    assert report.notified["webhooks"]
    assert report.audit_code == 0
