"""The end of a run: all work is finished, and the databases are compared with all that clients were shown."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import asyncpg

from ops.audit.databases import CannotLook
from tests.acceptance.books import unrest
from tests.acceptance.command import audit
from tests.acceptance.holdfast import complaints
from tests.chaos.load import Load
from tests.chaos.place import Place
from tests.chaos.shopper import BY_HAND
from tests.chaos.witness import SHOWN, Fact, Witness
from tests.forked import Said

# The longest wait in seconds for the last orders: a hold, its grace time, a claim, and what clients do in between.
SETTLE_MAX_S = 120.0
LOOK_S = 0.5

OPEN = "SELECT count(*) FROM bookings WHERE status = 'pending' OR refund_amount IS NOT NULL"
OUTCOMES = "SELECT status, reason, payment, count(*) AS number FROM bookings GROUP BY 1, 2, 3"
LEFT = "SELECT count(*) FROM bookings WHERE event_id = ANY($1::uuid[]) AND status NOT IN ('cancelled', 'failed')"
CHANGES = "SELECT booking_id, version, to_status, payment_status FROM booking_transitions"


@dataclass
class Verdict:
    """What was found at the end. `outcomes`: the bookings in the database by status, reason and payment."""

    outcomes: dict[str, int] = field(default_factory=dict)
    audit: Said | None = None
    buried: int = 0
    settled_s: float = 0.0
    # What the processes logged, by level and event.
    logged: Counter[str] = field(default_factory=Counter)


async def settle(place: Place, load: Load) -> Verdict:
    """After the last fault, without new orders: wait until all orders and all work are done, then judge."""
    verdict, judge = Verdict(), place.judge
    load.gate.clear()
    began = judge.now
    if load.under_way:
        await asyncio.wait(set(load.under_way), timeout=SETTLE_MAX_S)
    left = await _rest(place)
    while left and judge.now - began < 2 * SETTLE_MAX_S:
        await asyncio.sleep(LOOK_S)
        left = await _rest(place)
    verdict.settled_s = judge.now - began
    if left:
        judge.breaks("every booking ends", f"{verdict.settled_s:.0f} s after the last fault: {left[:5]}")
    await _compare(place, load)
    await _called_off(place, load)
    await _last_looks(load)
    verdict.outcomes = await _outcomes(place)
    await _letters(place, verdict)
    verdict.audit = await audit(place.holdfast.stack.data_dir, "--json")
    if verdict.audit.code != 0:
        judge.breaks("the audit is clean", f"exit {verdict.audit.code}: {verdict.audit.error or verdict.audit.out}")
    _read_logs(place, load, verdict)
    return verdict


async def _rest(place: Place) -> list[str]:
    """The work that is left. Holds count too."""
    try:
        still_open = (await _rows(place, OPEN))[0][0]
        if still_open:
            return [f"{still_open} bookings without an end"]
        return await unrest(place.holdfast, dead_letters=False)
    except (CannotLook, AssertionError, aiohttp.ClientError, OSError, asyncpg.PostgresError) as away:
        return [f"cannot look: {away}"]


async def _rows(place: Place, query: str, *values: object) -> list[Any]:
    connection = await asyncpg.connect(place.holdfast.stack.booking_database_url)
    try:
        return list(await connection.fetch(query, *values))
    finally:
        await connection.close()


async def _compare(place: Place, load: Load) -> None:
    """The history has all that any client was shown, and a client has requested each booking in it."""
    history = {
        (str(row["booking_id"]), row["version"]): Fact(row["to_status"], row["payment_status"])
        for row in await _rows(place, CHANGES)
    }
    for witness in _witnesses(load):
        for key, fact in witness.facts.items():
            if history.get(key) != fact:
                place.judge.breaks(SHOWN, f"booking {key[0]} version {key[1]}: {fact}, and is {history.get(key)}")
    asked = {id for shopper in load.shoppers for id in shopper.asked}
    if unknown := {id for id, _ in history} - asked:
        place.judge.breaks(
            "one key is one booking", f"nobody asked for {len(unknown)} bookings: {list(unknown)[:5]}"
        )


def _witnesses(load: Load) -> Iterable[Witness]:
    yield load.cashier.witness
    yield from (shopper.visitor.witness for shopper in load.shoppers)


async def _called_off(place: Place, load: Load) -> None:
    """A cancelled event has no booking that is pending or confirmed."""
    if left := (await _rows(place, LEFT, load.called_off))[0][0]:
        place.judge.breaks("an event that is called off has no bookings", f"{left} are left")


async def _last_looks(load: Load) -> None:
    """Each client reads once more the last booking that it was shown."""
    for shopper in load.shoppers:
        if newest := shopper.visitor.witness.newest:
            await shopper.visitor.look(next(reversed(newest)))


async def _outcomes(place: Place) -> dict[str, int]:
    rows = await _rows(place, OUTCOMES)
    named = {
        f"{row['status']}{', ' + row['reason'] if row['reason'] else ''}; payment {row['payment']}": row["number"]
        for row in rows
    }
    return dict(sorted(named.items(), key=lambda each: -each[1]))


async def _letters(place: Place, verdict: Verdict) -> None:
    """The dead letters are all the poison since Redis last lost its data, and no other entry."""
    marks, others = await place.poison.buried()
    verdict.buried = len(marks)
    if missing := place.poison.put.keys() - marks:
        place.judge.breaks("poison is buried", f"{len(missing)} of {len(place.poison.put)} entries are nowhere")
    for letter in others:
        place.judge.breaks("only poison is buried", letter)


def _read_logs(place: Place, load: Load, verdict: Verdict) -> None:
    """No process logged an error that no fault explains, and none printed a traceback."""
    for path in place.holdfast.stack.logs.glob("*-*.log"):
        for line in path.read_text(errors="replace").splitlines():
            verdict.logged[_event(line)] += 1
    by_hand = {id for each in load.shoppers for id, order in each.asked.items() if order.wish == BY_HAND}
    for line in complaints(place.holdfast.stack):
        if not expected(line, by_hand):
            place.judge.breaks("no unexpected error is logged", line)


def expected(line: str, by_hand: set[str]) -> bool:
    """Whether a fault explains this error: it is about poison; about an entry whose process was frozen while it
    handled it, and which is handled again; about a refund of ours for a booking that was refunded `by_hand`. A line
    that is no log line was cut off by a kill, unless it is a traceback."""
    try:
        told = json.loads(line)
    except ValueError:
        return "Traceback" not in line
    late = told.get("outcome") == "failed" and str(told.get("exception")).rstrip().endswith("TimeoutError")
    too_late = told.get("event") == "refund failed" and told.get("booking") in by_hand
    return late or too_late or told.get("outcome") == "undecodable"


def _event(line: str) -> str:
    try:
        told = json.loads(line)
        return f"{told['level']}: {told.get('process', '')} {told['event']}"
    except (ValueError, KeyError, TypeError):
        return "no log line"
