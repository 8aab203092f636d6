"""One run: sends the parts one after the other to one stack, then audits it."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from bench.progress import Steps
from tests.acceptance.command import audit
from tests.acceptance.holdfast import running
from tests.fuzz import connections, webhook, websocket
from tests.fuzz.examples import Progress
from tests.fuzz.harness import OPERATOR, PROMO_CODE, READER, Harness
from tests.fuzz.safe import Kept, at_rest, everything, nothing, of_victims, unchanged
from tests.fuzz.tally import Tally

# No hold ends within a run; a socket reaches its limits soon; an entry that fails is a dead letter at once.
SETTINGS = {"HOLD_SECONDS": "86400", "WS_SUBSCRIPTIONS_MAX": "4", "ATTEMPTS_MAX": "1", **connections.SETTINGS}
MIB = 2**20
# How much memory the gateway and payment may gain in a run: their caches have bounds (10,000 tokens, 1,000 versions
# a socket), and the allocator keeps what a rush of connections needed once.
GROWTH_MAX_MIB = 128


@dataclass(frozen=True)
class Part:
    """One part of a run: `send` sends `share` of all requests; `kept` selects the rows that must not change."""

    name: str
    share: float
    send: Callable[[Harness, int, int, Tally, Progress], Awaitable[None]]
    kept: Kept = everything


@dataclass
class Result:
    """What a run found. `before` and `after`: memory in MiB, by process."""

    requests: int
    seed: int
    tally: Tally
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    audit: str = ""


async def _rest(
    caller: str, document: dict[str, Any], harness: Harness, requests: int, seed: int, tally: Tally, show: Progress
) -> None:
    from tests.fuzz import rest  # Schemathesis takes a second to import

    ids = {"bookings": harness.bookings, "events": harness.event_ids, "types": harness.types}
    ids |= {
        "tickets": [each["id"] for each in harness.tickets],
        "codes": [PROMO_CODE, *(each["code"] for each in harness.tickets)],
        "promo_codes": [each["id"] for each in harness.promo_codes],
        "written": [PROMO_CODE],
    }
    target = rest.Target(harness.holdfast.stack.gateway_url, ids, harness.learn)
    await asyncio.to_thread(rest.fuzz, target, document, harness.callers[caller], requests, seed, tally, show)


def parts(document: dict[str, Any]) -> list[Part]:
    """All parts: first those that may change nothing, then those that book."""

    def of(caller: str, share: float, kept: Kept) -> Part:
        return Part(f"rest: {caller}", share, partial(_rest, caller, document), kept)

    return [
        of("nobody", 0.05, everything),
        of("bad token", 0.05, everything),
        Part(connections.RAW, 0.11, connections.raw),
        Part(connections.SLOW, 0.004, connections.slow),
        Part(connections.IDLE, 0.08, connections.idle),
        Part(connections.FLOOD, 0.08, connections.flood),
        Part(websocket.PART, 0.14, websocket.fuzz),
        Part(webhook.REFUSED, 0.10, webhook.refused),
        Part(webhook.STRANGE, 0.05, webhook.strange, of_victims),
        of("guest", 0.08, of_victims),
        of("user", 0.10, of_victims),
        of(READER, 0.04, of_victims),
        of(OPERATOR, 0.12, nothing),
    ]


async def run(folder: Path, requests: int, seed: int, steps: Steps, only: Collection[str] = ()) -> Result:
    """Send about `requests` requests to a new stack under `folder`; only the parts `only`, if any are named."""
    result = Result(requests, seed, Tally())
    steps.begin("starting")
    async with running(folder, settings=SETTINGS) as holdfast:
        harness = Harness(holdfast)
        await harness.prepare()
        document = (await holdfast.anybody.request("GET", "/openapi.json")).ok()
        result.before = memory(harness)
        try:
            for number, part in enumerate(parts(document)):
                if part.name in only or not only:
                    await _send(part, harness, round(requests * part.share), seed + number, result.tally, steps)
        finally:
            result.tally.stop.set()
        result.after = memory(harness)
        _check_growth(result)
        steps.begin("checking the databases")
        await at_rest(harness, result.tally)
        report = await audit(folder)
        result.audit = report.out.strip() or report.error.strip()
        if report.code != 0:
            result.tally.wrong("at the end", "holdfast audit finds mismatches", result.audit)
    return result


async def _send(part: Part, harness: Harness, requests: int, seed: int, tally: Tally, steps: Steps) -> None:
    steps.begin(f"{part.name}: {requests:,}", part.share)

    def progress(done: int) -> None:
        steps.part(min(1.0, done / max(requests, 1)))

    try:
        async with unchanged(harness, part.name, part.kept, tally):
            await part.send(harness, requests, seed, tally, progress)
    except Exception as error:  # the other parts still run
        tally.wrong(part.name, f"broke off: {type(error).__name__}: {error}", traceback.format_exc())


def memory(harness: Harness) -> dict[str, float]:
    """The resident memory in MiB of the processes that can be reached from outside."""
    return {
        server.name: psutil.Process(server.pid).memory_info().rss / MIB for server in connections.servers(harness)
    }


def _check_growth(result: Result) -> None:
    for name, before in result.before.items():
        if (growth := result.after[name] - before) > GROWTH_MAX_MIB:
            result.tally.wrong("memory", f"{name} has grown by more than {GROWTH_MAX_MIB} MiB", f"{growth:.0f} MiB")
