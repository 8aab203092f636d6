"""What must hold of waiting lists, by the rows of booking's database at any moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from ops.audit.databases import OFFERS, SEATS
from ops.audit.records import Offer
from ops.audit.rules import judge_offer

# In the order of the lines. `offer` numbers the offers of a ticket type in the order of the transactions that wrote
# them, each of which locks it; those of one transaction (`together`) have no order.
ENTRIES = """
SELECT w.id, w.ticket_type_id, w.number, w.status, t.id AS offer, t.xmin::text AS together
FROM waiting_entries w LEFT JOIN booking_transitions t ON t.booking_id = w.booking_id AND t.version = 1
ORDER BY w.number
"""
# The first entry of each ticket type, with the seats that no booking has.
FIRST = """
SELECT DISTINCT ON (w.ticket_type_id) w.id, w.quantity, e.on_sale,
    t.capacity - (t.held - t.reserved) - t.sold AS free
FROM waiting_entries w JOIN ticket_types t ON t.id = w.ticket_type_id JOIN events e ON e.id = w.event_id
WHERE w.status = 'waiting' ORDER BY w.ticket_type_id, w.number
"""

Row = Mapping[str, Any]


async def line_findings(raw: asyncpg.Connection) -> list[str]:
    """What is wrong with the lines."""
    offers = [Offer(**row) for row in await raw.fetch(OFFERS.format(part="true"))]
    return [
        *judge_order(await raw.fetch(ENTRIES)),
        *judge_reserved(await raw.fetch(SEATS.format(part="true"))),
        *(f"{finding.id}: {finding.text}" for each in offers for finding in judge_offer(each)),
    ]


async def offers_due(raw: asyncpg.Connection) -> set[UUID]:
    """The entries that are to have their offers soon, where all events are on sale until they are cancelled."""
    return due(await raw.fetch(FIRST))


def judge_order(entries: Sequence[Row]) -> Iterator[str]:
    """Nobody got an offer while somebody waited who had joined before. The entries come in their order."""
    waits: dict[UUID, int] = {}
    latest: dict[UUID, Row] = {}
    for each in entries:
        line, number = each["ticket_type_id"], each["number"]
        if each["status"] == "waiting":
            waits.setdefault(line, number)
        if each["offer"] is None:
            continue
        if line in waits:
            yield f"number {number} got an offer before number {waits[line]}, who waits"
        before = latest.setdefault(line, each)
        if before["offer"] <= each["offer"]:
            latest[line] = each
        elif before["together"] != each["together"]:
            yield f"number {number} got an offer before number {before['number']}"


def judge_reserved(seats: Sequence[Row]) -> Iterator[str]:
    """No seat is free that somebody waits for. The rows are those of SEATS."""
    for each in seats:
        if each["capacity"] is None:
            continue
        wanted = min(each["waiting"], each["capacity"] - each["booked_held"] - each["booked_sold"])
        if each["reserved"] != wanted:
            yield f"{each['id']}: {each['reserved']} reserved, and not {wanted}"


def due(first: Sequence[Row]) -> set[UUID]:
    """Of the first entries of lines those that need not wait: their seats are there, or never will be."""
    return {each["id"] for each in first if not each["on_sale"] or each["quantity"] <= each["free"]}
