"""A rush: many clients for few seats, as a phase of the benchmark and, by `python -m bench.rush`, to watch."""

from __future__ import annotations

from bench.findings import Findings
from bench.progress import Steps
from bench.rush.findings import findings
from bench.rush.sale import STEPS, Plan, play

# Enough for the goal's clients and seats; with more time the rush is no longer.
SECONDS = 45.0


async def run(seconds: float, steps: Steps) -> Findings:
    plan = Plan()
    rush = await play(plan, lambda tally: None, lambda text: steps.begin(text, 1 / STEPS))
    return findings(rush)
