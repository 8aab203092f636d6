"""The door of an event: ten scanners, two thousand check-ins a minute, first alone and then while others buy.

An open loop: people come whether or not those before them were answered, so that a wait is counted from when a
ticket was shown. Each tenth is shown once more at another scanner, which must refuse it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import orjson

from bench.clients import connected, order
from bench.driver import Driver
from bench.errors import BenchError
from bench.findings import Findings, Goal, Table, cell
from bench.measures import percentile
from bench.progress import Steps
from bench.stage import Stage, running

SECONDS = 50.0
SCANNERS, PER_MINUTE = 10, 2000
# Of so many check-ins one is of a ticket that was used before.
REPEATED_EVERY = 10
SEATS_OF_A_BOOKING = 10
# How many seconds starting, selling the tickets, comparing and stopping take, and the least that is measured.
AROUND_SECONDS, MEASURED_SECONDS_MIN = 20.0, 3.0
BUYERS = 32
ALONE, BESIDE = "alone", "while others buy"
P99_MS_MAX = {ALONE: 100.0, BESIDE: 500.0}
USED = "SELECT count(*), count(DISTINCT ticket_id) FROM check_ins WHERE undone_at IS NULL"


@dataclass
class Shift:
    """What one shift at the door has met: how long each ticket waited, in seconds, and each answer's code."""

    waits: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def per_minute(self) -> float:
        return 60 * len(self.waits) / self.seconds


async def run(seconds: float, steps: Steps) -> Findings:
    measured = max((seconds - AROUND_SECONDS) / 2, MEASURED_SECONDS_MIN)
    count = int(measured * PER_MINUTE / 60)
    steps.begin("starting Holdfast", 0.2)
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(running())
        steps.begin(f"selling {2 * count} tickets", 0.1)
        codes = await _codes(stage, 2 * count)
        shifts = {}
        steps.begin(f"{SCANNERS} scanners", 0.3)
        shifts[ALONE] = await _shift(stage, codes[:count])
        steps.begin(f"{SCANNERS} scanners, {BUYERS} customers", 0.3)
        clients = await stack.enter_async_context(connected(stage, BUYERS))
        (event,) = await stage.events(1, 1_000_000, "bench door sale")
        buying = asyncio.create_task(Driver(stage).run(clients, [order(event["id"])], "door", measured))
        shifts[BESIDE] = await _shift(stage, codes[count:])
        sales = await buying
        steps.begin("comparing with the database")
        wrong = [*await _problems(stage, shifts, 2 * count), *sales.failures]
        steps.begin("stopping")
    return _findings(shifts, sales.per_second, wrong)


async def _codes(stage: Stage, count: int) -> list[str]:
    """The codes of so many tickets of one event that costs nothing."""
    operator = {"Authorization": f"Bearer {stage.token('bench-operator', operator=True)}"}
    event = await _sent(
        stage,
        "POST",
        "/admin/events",
        operator,
        {
            "name": "bench door",
            "starts_at": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
            "currency": "eur",
            "max_per_booking": SEATS_OF_A_BOOKING,
            "ticket_types": [{"name": "Free", "unit_amount": 0, "capacity": count + SEATS_OF_A_BOOKING}],
        },
    )
    found: list[str] = []
    number = 0
    while len(found) < count:
        number += 1
        headers = {"Authorization": f"Bearer {stage.token(f'guest-{number}')}", "Idempotency-Key": "one"}
        body = {"event_id": event["id"], "quantity": SEATS_OF_A_BOOKING}
        booking = await _sent(stage, "POST", "/bookings", headers, body)
        tickets = await _sent(stage, "GET", f"/bookings/{booking['id']}/tickets", headers)
        found += [each["code"] for each in tickets["items"]]
    return found[:count]


async def _sent(stage: Stage, method: str, path: str, headers: dict[str, str], body: Any = None) -> Any:
    async with stage.session.request(method, stage.gateway_url + path, json=body, headers=headers) as response:
        raw = await response.read()
    if response.status >= 300:
        raise BenchError(f"{method} {path}: {response.status} {raw[:300]!r}")
    return orjson.loads(raw)


async def _shift(stage: Stage, codes: Sequence[str]) -> Shift:
    """Show all of these in turn at the scanners, and each REPEATED_EVERYth again at the next one."""
    shift, interval = Shift(), 60 / PER_MINUTE
    shown: list[str] = []
    for number, code in enumerate(codes, 1):
        shown.append(code)
        if number % REPEATED_EVERY == 0:
            shown.append(code)
    started = time.perf_counter()

    async def scanner(first: int) -> None:
        headers = {"Authorization": f"Bearer {stage.token(f'scanner-{first}', operator=True)}"}
        for place in range(first, len(shown), SCANNERS):
            due = started + place * interval
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            shift.answers[await _check_in(stage, shown[place], f"scanner {first}", headers)] += 1
            shift.waits.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as group:
        for first in range(SCANNERS):
            group.create_task(scanner(first))
    shift.seconds = time.perf_counter() - started
    return shift


async def _check_in(stage: Stage, code: str, device: str, headers: dict[str, str]) -> str:
    body = {"id": str(uuid4()), "code": code, "device": device}
    url = f"{stage.gateway_url}/admin/tickets/check-in"
    try:
        async with stage.session.post(url, json=body, headers=headers) as response:
            answer = orjson.loads(await response.read())
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__
    return "let in" if response.status == 200 else str(answer["code"])


async def _problems(stage: Stage, shifts: dict[str, Shift], count: int) -> list[str]:
    """Everything that is wrong; empty if each ticket was let in once."""
    connection = await asyncpg.connect(stage.stack.booking_database_url)
    try:
        rows, tickets = await connection.fetchrow(USED)
    finally:
        await connection.close()
    answers = sum((shift.answers for shift in shifts.values()), Counter())
    found = [
        f"{number} answers: {code}" for code, number in answers.items() if code not in ("let in", "ticket_used")
    ]
    if not answers["let in"] == rows == tickets == count:
        found.append(f"{count} tickets: {answers['let in']} let in, {rows} check-ins of {tickets} tickets")
    return found


def _findings(shifts: dict[str, Shift], sold_per_second: float, wrong: Sequence[str]) -> Findings:
    ms = {
        name: {share: _ms(shift.waits, part) for share, part in (("p50", 0.5), ("p99", 0.99), ("most", 1.0))}
        for name, shift in shifts.items()
    }
    rows = [
        (
            name,
            cell(shift.per_minute, 0),
            *(cell(each) for each in ms[name].values()),
            str(shift.answers["ticket_used"]),
        )
        for name, shift in shifts.items()
    ]
    columns = ("", "check-ins a minute", "p50 ms", "p99 ms", "most ms", "shown twice, refused")
    return Findings(
        figures={
            "ms": ms,
            "per_minute": {name: shift.per_minute for name, shift in shifts.items()},
            "sold_per_second": sold_per_second,
        },
        tables=[Table(f"{SCANNERS} scanners at a door", columns, rows)],
        goals=[
            Goal(f"check-in, p99, {name}", ms[name]["p99"], limit, False, "ms")
            for name, limit in P99_MS_MAX.items()
        ],
        problems=wrong,
    )


def _ms(waits: Sequence[float], share: float) -> float | None:
    found = percentile(waits, share)
    return None if found is None else found * 1000
