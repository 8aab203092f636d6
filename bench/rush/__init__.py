"""A rush: many clients for few seats, as a phase of the benchmark and, with `python -m bench.rush`, to watch."""

from __future__ import annotations

from bench.findings import Findings
from bench.progress import Steps
from bench.rush.findings import findings
from bench.rush.sale import STEPS, Plan, play

# For the goal's clients and seats; more time does not make it longer.
SECONDS = 45.0


async def run(seconds: float, steps: Steps) -> Findings:
    plan = Plan()
    rush = await play(plan, lambda tally: None, lambda text: steps.begin(text, 1 / STEPS))
    return findings(rush)
