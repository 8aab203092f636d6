"""`python -m bench.rush`: a rush to watch. Leaves its figures and charts in bench/results/."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import uvloop
from rich.console import Console

from bench.attacking import Kind
from bench.errors import BenchError
from bench.machine import described
from bench.progress import stoppable
from bench.report import Report
from bench.rush.attackers import USUAL
from bench.rush.findings import Compared, compared, findings
from bench.rush.sale import Plan, Rush, play
from bench.rush.screen import shown
from ops.errors import StartError
from ops.layout import Scale

INTERRUPTED = 130
# A rush asks for more than a machine can carry: its latency says what the machine is. Attackers are compared
# at a load that it carries: clients come evenly, attackers were there before them, and nobody is sold out.
COMPARED: dict[str, Any] = {"clients": 480, "seats": 480, "within": 12.0, "office": 0, "attacked_before": 3.0}
# How often each of the sales is played that are compared.
ROUNDS = 5


def arguments(words: Sequence[str] | None = None) -> Plan:
    usual = Plan()
    parser = argparse.ArgumentParser(prog="python -m bench.rush", description="Many clients come for few seats.")
    parser.add_argument("--clients", type=int, default=usual.clients, help=f"how many come ({usual.clients})")
    parser.add_argument("--seats", type=int, default=usual.seats, help=f"how many there are ({usual.seats})")
    parser.add_argument("--within", type=float, default=usual.within, help=f"seconds ({usual.within:g})")
    parser.add_argument("--connections", type=int, default=usual.connections, help=f"at most ({usual.connections})")
    for name in ("gateway", "booking", "payment"):
        parser.add_argument(f"--{name}", type=int, default=1, help=f"how many {name} processes (1)")
    parser.add_argument("--office", type=int, help=f"how many share an address (up to {usual.office})")
    parser.add_argument(
        "--attack",
        action="append",
        choices=[*Kind, "all"],
        default=[],
        help="come beside them; then quiet sales without and with them are compared; may be repeated",
    )
    parser.add_argument("--seed", type=int, default=usual.seed, help=f"of when each comes ({usual.seed})")
    given = parser.parse_args(words)
    if not (1 <= given.clients <= 200_000 and 1 <= given.seats <= 1_000_000):
        parser.error("--clients: from 1 to 200000; --seats: from 1 to 1000000")
    if not 0 <= given.within <= 600:
        parser.error("--within: from 0 to 600 seconds")
    if min(given.connections, given.gateway, given.booking, given.payment) < 1:
        parser.error("at least one connection, and one process of each kind")
    office = min(usual.office, given.clients) if given.office is None else given.office
    if not 0 <= office <= given.clients:
        parser.error("--office: at most as many as come")
    scale = Scale(given.gateway, given.booking, given.payment)
    kinds = Kind if "all" in given.attack else dict.fromkeys(Kind(kind) for kind in given.attack)
    return Plan(
        given.clients,
        given.seats,
        given.within,
        given.connections,
        scale,
        given.seed,
        office,
        tuple(USUAL[kind] for kind in kinds),
    )


async def run(plan: Plan, console: Console) -> Report:
    with stoppable():
        started = time.monotonic()
        machine = await described()

        async def watched(plan: Plan) -> Rush:
            with shown(console) as screen:
                return await play(plan, screen.sampled, screen.began)

        found = {"rush": findings(await watched(plan))}
        if plan.attacks:
            here = replace(plan, **COMPARED)
            plans = (replace(here, attacks=()), replace(here, elsewhere=True), here)
            rounds = []
            for number in range(ROUNDS):
                # Another first each time, so that a trend of the machine adds to none.
                order = [(number + place) % len(plans) for place in range(len(plans))]
                played = {which: await watched(plans[which]) for which in order}
                rounds.append(Compared(*(played[which] for which in range(len(plans)))))
            found["attack"] = compared(rounds)
        return Report(machine, time.monotonic() - started, found)


def main() -> int:
    plan = arguments()
    console = Console()
    try:
        report = uvloop.run(run(plan, console))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("rush: interrupted, everything was stopped")
        return INTERRUPTED
    except (BenchError, StartError) as error:
        console.print(f"rush: {error}", highlight=False, markup=False)
        return 1
    report.show(console)
    kept = report.keep(f"rush-{report.measured_at}")
    console.print(f"\nkept as {kept}.json, .txt and .svg", highlight=False)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
