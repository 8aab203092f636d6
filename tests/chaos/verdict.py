"""The end of a run: all work is finished, and the databases are compared with all that clients were shown."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg

from common.contracts.ids import ticket_id
from ops.audit.databases import SourceUnavailable
from tests.acceptance.command import audit
from tests.acceptance.database_rows import unfinished_work
from tests.acceptance.holdfast import complaints
from tests.announced import mail_findings, webhook_findings
from tests.chaos.check_ins import Kept
from tests.chaos.codes import ALL_CODES, BY_CODE, CODES, judge_codes
from tests.chaos.door import Door, Scanner
from tests.chaos.harness import Harness
from tests.chaos.load import Load
from tests.chaos.notified import DOMAIN
from tests.chaos.shopper import BY_HAND
from tests.chaos.waiting import PASSED_OVER, Place
from tests.chaos.witness import SHOWN, Fact, Witness
from tests.forked import CommandResult
from tests.waiting_lists import line_findings

# The longest wait in seconds for the last orders: a hold, its grace time, a claim, and what clients do in between.
FINISH_MAX_S = 120.0
CHECK_S = 0.5
# The longest wait in seconds until scanners hear of the last change.
FOLLOW_MAX_S = 20.0

OPEN = "SELECT count(*) FROM bookings WHERE status = 'pending' OR refund_amount IS NOT NULL"
ENDINGS = "SELECT status, reason, payment, count(*) AS number FROM bookings GROUP BY 1, 2, 3"
LEFT = "SELECT count(*) FROM bookings WHERE event_id = ANY($1::uuid[]) AND status NOT IN ('cancelled', 'failed')"
CHECK_INS = "SELECT id, ticket_id, device, undone_at IS NOT NULL AS undone FROM check_ins"
CONFIRMED = "SELECT id FROM bookings WHERE status = 'confirmed' AND id = ANY($1::uuid[])"
# Of an event: the tickets by which somebody is in, and the bookings whose tickets have ended.
USED = """
SELECT c.ticket_id FROM check_ins c JOIN bookings b ON b.id = c.booking_id
WHERE c.event_id = $1 AND c.undone_at IS NULL AND b.status = 'confirmed'
"""
HAD_TICKETS = """
SELECT id, reason, items FROM bookings b WHERE event_id = $1 AND status = 'cancelled'
    AND EXISTS (SELECT FROM booking_transitions t WHERE t.booking_id = b.id AND t.to_status = 'confirmed')
"""
# What is still to be announced or sent. It waits for a retry time, which may be hours away, or was claimed by a
# process that was killed: DUE_NOW makes it due.
NOT_ANNOUNCED = """
SELECT (SELECT count(*) FROM bookings WHERE announce_from IS NOT NULL)
    + (SELECT count(*) FROM event_changes WHERE to_announce)
    + (SELECT count(*) FROM mails WHERE send_after IS NOT NULL)
    + (SELECT count(*) FROM webhook_deliveries WHERE due_at IS NOT NULL)
"""
DUE_NOW = (
    """UPDATE mails SET send_after = now()
    WHERE send_after > now() AND coalesce(tried_at, made_at) < now() - interval '5 seconds'""",
    """UPDATE webhook_deliveries SET due_at = now()
    WHERE due_at > now() AND coalesce(last_attempt_at, made_at) < now() - interval '5 seconds'""",
)
PLACES = "SELECT id, status, booking_id FROM waiting_entries"
WRITTEN = "SELECT id, booking_id FROM mails"
CHANGES = "SELECT booking_id, version, to_status, payment_status FROM booking_transitions"


@dataclass
class Verdict:
    """What was found at the end. `endings`: the bookings in the database by status, reason and payment."""

    endings: dict[str, int] = field(default_factory=dict)
    audit: CommandResult | None = None
    dead_letters: int = 0
    finished_s: float = 0.0
    # What the processes logged, by level and event.
    logged: Counter[str] = field(default_factory=Counter)
    # How many mails and webhooks there were, and how often they were taken.
    notified: dict[str, int] = field(default_factory=dict)


async def finish(harness: Harness, load: Load) -> Verdict:
    """After the last fault, without new orders: wait until all orders and all work are done, then judge."""
    verdict, judge = Verdict(), harness.judge
    load.gate.clear()
    load.line.over = True
    began = judge.now
    if load.under_way:
        await asyncio.wait(set(load.under_way), timeout=FINISH_MAX_S)
    left = await _rest(harness)
    while left and judge.now - began < 2 * FINISH_MAX_S:
        await asyncio.sleep(CHECK_S)
        left = await _rest(harness)
    verdict.finished_s = judge.now - began
    if left:
        judge.breaks("every booking ends", f"{verdict.finished_s:.0f} s after the last fault: {left[:5]}")
    await _compare(harness, load)
    await _check_cancelled_events(harness, load)
    if load.door is not None:
        await _compare_door(harness, load.door)
        await _compare_lines(harness, load)
        for finding in judge_codes(await _rows(harness, ALL_CODES), await _rows(harness, BY_CODE)):
            judge.breaks(CODES, finding)
        verdict.notified = await _compare_notified(harness, load)
    await _read_once_more(load)
    verdict.endings = await _endings(harness)
    await _letters(harness, verdict)
    verdict.audit = await audit(harness.holdfast.stack.data_dir, "--json")
    if verdict.audit.code != 0:
        judge.breaks("the audit is clean", f"exit {verdict.audit.code}: {verdict.audit.error or verdict.audit.out}")
    _read_logs(harness, load, verdict)
    return verdict


async def _rest(harness: Harness) -> list[str]:
    """The work that is left. Holds count too."""
    try:
        still_open = (await _rows(harness, OPEN))[0][0]
        if still_open:
            return [f"{still_open} bookings without an end"]
        return await unfinished_work(harness.holdfast, dead_letters=False)
    except (SourceUnavailable, AssertionError, aiohttp.ClientError, OSError, asyncpg.PostgresError) as error:
        return [f"cannot check: {error}"]


async def _rows(harness: Harness, query: str, *values: object) -> list[Any]:
    connection = await asyncpg.connect(harness.holdfast.stack.booking_database_url)
    try:
        return list(await connection.fetch(query, *values))
    finally:
        await connection.close()


async def _compare(harness: Harness, load: Load) -> None:
    """The history has all that any client was shown, and a client has requested each booking in it."""
    history = {
        (str(row["booking_id"]), row["version"]): Fact(row["to_status"], row["payment_status"])
        for row in await _rows(harness, CHANGES)
    }
    for witness in _witnesses(load):
        for key, fact in witness.facts.items():
            if history.get(key) != fact:
                harness.judge.breaks(SHOWN, f"booking {key[0]} version {key[1]}: {fact}, and is {history.get(key)}")
    ordered = {id for shopper in load.shoppers for id in shopper.ordered}
    if unknown := {id for id, _ in history} - ordered:
        harness.judge.breaks(
            "one key is one booking", f"nobody requested {len(unknown)} bookings: {list(unknown)[:5]}"
        )


def _witnesses(load: Load) -> Iterable[Witness]:
    yield load.cashier.witness
    yield from (shopper.visitor.witness for shopper in load.shoppers)


async def _check_cancelled_events(harness: Harness, load: Load) -> None:
    """A cancelled event has no booking that is pending or confirmed."""
    if left := (await _rows(harness, LEFT, load.cancelled_events))[0][0]:
        harness.judge.breaks("a cancelled event has no bookings", f"{left} are left")


async def _compare_door(harness: Harness, door: Door) -> None:
    """The database has each check-in as scanners were answered, and each scanner learns which tickets were used or
    have ended: soon, because changes are held back while any transaction is under way."""
    kept = {
        str(row["id"]): Kept(str(row["ticket_id"]), row["device"], row["undone"])
        for row in await _rows(harness, CHECK_INS)
    }
    confirmed = await _rows(harness, CONFIRMED, list(door.check_ins.ended))
    door.check_ins.compare(kept, [str(row["id"]) for row in confirmed])
    for scanner in door.scanners:
        states = await _ticket_states(harness, scanner.known.event_id)
        until = harness.judge.now + FOLLOW_MAX_S
        wrong = await _wrongly_known(scanner, states)
        while wrong and harness.judge.now < until:
            await asyncio.sleep(CHECK_S)
            wrong = await _wrongly_known(scanner, states)
        if wrong:
            harness.judge.breaks("scanners miss no change", f"by ticket, what is and what is known: {wrong[:5]}")


async def _ticket_states(harness: Harness, event_id: str) -> dict[str, str]:
    """The tickets of the event that are not valid."""
    states = {str(row["ticket_id"]): "used" for row in await _rows(harness, USED, event_id)}
    for row in await _rows(harness, HAD_TICKETS, event_id):
        state = "refunded" if row["reason"] == "refunded" else "cancelled"
        for item in json.loads(row["items"]):
            for number in range(1, item["quantity"] + 1):
                states[str(ticket_id(row["id"], UUID(item["ticket_type_id"]), number))] = state
    return states


async def _wrongly_known(scanner: Scanner, states: dict[str, str]) -> list[tuple[str, str, str]]:
    await scanner.follow()
    known = scanner.known.states
    both = {id: (states.get(id, "valid"), known.get(id, "valid")) for id in {*states, *known}}
    return [(id, *pair) for id, pair in both.items() if pair[0] != pair[1]]


async def _compare_lines(harness: Harness, load: Load) -> None:
    """The database has each entry as its client was answered, and offers were made in the order of the lines."""
    places = {
        str(row["id"]): Place(row["status"], row["booking_id"] and str(row["booking_id"]))
        for row in await _rows(harness, PLACES)
    }
    load.line.compare(places)
    connection = await asyncpg.connect(harness.holdfast.stack.booking_database_url)
    try:
        for finding in await line_findings(connection):
            harness.judge.breaks(PASSED_OVER, finding)
    finally:
        await connection.close()


async def _compare_notified(harness: Harness, load: Load) -> dict[str, int]:
    """Each change was mailed to its customer and delivered to the receiver, under one id, and nothing else was."""
    judge, notified = harness.judge, harness.notified
    until = judge.now + FINISH_MAX_S
    while (left := (await _rows(harness, NOT_ANNOUNCED))[0][0]) and judge.now < until:
        for statement in DUE_NOW:
            await _rows(harness, statement)
        await asyncio.sleep(CHECK_S)
    if left:
        judge.breaks("all is announced and sent in time", f"{left} announcements, mails or webhooks are left")
    taken, received = notified.mails.taken, notified.receiver.received
    written = {f"<{row['id']}@{DOMAIN}>": str(row["booking_id"]) for row in await _rows(harness, WRITTEN)}
    emails = {id: order.email for each in load.shoppers for id, order in each.ordered.items()}
    for message_id, copies in taken.items():
        wanted = emails.get(written.get(message_id, ""))
        if wrong := [copy["To"] for copy in copies if wanted is None or wanted not in copy["To"]]:
            judge.breaks("mails go to their customers", f"{message_id} for {wanted} went to {wrong}")
    connection = await asyncpg.connect(harness.holdfast.stack.booking_database_url)
    try:
        for finding in await mail_findings(connection, taken, DOMAIN):
            judge.breaks("each change is mailed once", finding)
        for finding in await webhook_findings(connection, received):
            judge.breaks("each change is delivered once", finding)
    finally:
        await connection.close()
    return {
        "mails": len(taken),
        "mails, with copies": sum(map(len, taken.values())),
        "webhooks": len(received),
        "webhooks, with copies": notified.receiver.requests,
    }


async def _read_once_more(load: Load) -> None:
    """Each client reads once more the last booking that it was shown."""
    for shopper in load.shoppers:
        if newest := shopper.visitor.witness.newest:
            await shopper.visitor.read(next(reversed(newest)))


async def _endings(harness: Harness) -> dict[str, int]:
    rows = await _rows(harness, ENDINGS)
    named = {
        f"{row['status']}{', ' + row['reason'] if row['reason'] else ''}; payment {row['payment']}": row["number"]
        for row in rows
    }
    return dict(sorted(named.items(), key=lambda each: -each[1]))


async def _letters(harness: Harness, verdict: Verdict) -> None:
    """The dead letters are all the poison since Redis last lost its data, and no other entry."""
    marks, others = await harness.poison.dead_letters()
    verdict.dead_letters = len(marks)
    put = harness.poison.put
    if missing := put.keys() - marks:
        harness.judge.breaks("poison becomes a dead letter", f"{len(missing)} of {len(put)} entries are nowhere")
    for letter in others:
        harness.judge.breaks("only poison becomes a dead letter", letter)


def _read_logs(harness: Harness, load: Load, verdict: Verdict) -> None:
    """No process logged an error that no fault explains, and none printed a traceback."""
    for path in harness.holdfast.stack.logs.glob("*-*.log"):
        for line in path.read_text(errors="replace").splitlines():
            verdict.logged[_event(line)] += 1
    by_hand = {id for each in load.shoppers for id, order in each.ordered.items() if order.wish == BY_HAND}
    for line in complaints(harness.holdfast.stack):
        if not expected(line, by_hand):
            harness.judge.breaks("no unexpected error is logged", line)


def expected(line: str, by_hand: set[str]) -> bool:
    """Whether a fault explains this error: it is about poison; about an entry whose process was frozen while it
    handled it, and which is handled again; about a refund of ours for a booking that was refunded `by_hand`. A line
    that is no log line was cut off by a kill, unless it is a traceback."""
    try:
        entry = json.loads(line)
    except ValueError:
        return "Traceback" not in line
    late = entry.get("outcome") == "failed" and str(entry.get("exception")).rstrip().endswith("TimeoutError")
    too_late = entry.get("event") == "refund failed" and entry.get("booking") in by_hand
    return late or too_late or entry.get("outcome") == "undecodable"


def _event(line: str) -> str:
    try:
        entry = json.loads(line)
        return f"{entry['level']}: {entry.get('process', '')} {entry['event']}"
    except (ValueError, KeyError, TypeError):
        return "no log line"
