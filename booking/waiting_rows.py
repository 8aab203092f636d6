"""The SQL of waiting lists. A process that adds an entry or ends one has locked its ticket type: the order of the
entries is the order in which they were committed, and nobody takes what is reserved for the first.

Entries are locked after ticket types (docs/decisions/0008), and never before.
"""

# Statements are put together from the column names below and never from data.

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
from pydantic import TypeAdapter

from booking.booking_rows import expect
from booking.reserved import reserving
from booking.state import WaitingEntry
from booking.waiting_list import CounterChange, Offered, SeenEntry, counter_changes
from common.contracts.statuses import BookingStatus, WaitingStatus
from common.contracts.values import Customer
from common.postgres.sql import as_json, assignments, columns, count_of, recordset

CUSTOMER = TypeAdapter(Customer)
ADDED = columns(WaitingEntry, "number")
ENDED = {name: ADDED[name] for name in ("status", "reason", "booking_id", "version", "updated_at")}
ADD = f"""
INSERT INTO waiting_entries ({", ".join(ADDED)}) SELECT {", ".join(ADDED)} FROM {recordset("new", ADDED)}
"""
END = f"""
UPDATE waiting_entries w SET notify_after = $2, {assignments(ENDED, "new")}
FROM {recordset("new", {"id": "uuid", **ENDED}, sought="id")} WHERE w.id = new.id AND w.version = new.version - 1
"""
COUNT = f"""
UPDATE ticket_types t SET waiting = t.waiting + new.waiting, version = t.version + 1,
    {reserving(waiting="new.waiting", taken="new.taken")}
FROM {recordset("new", columns(CounterChange), sought="ticket_type_id")} WHERE t.id = new.ticket_type_id
"""
# What a process of the release before has given back is reserved later.
RESERVE = f"""
UPDATE ticket_types t SET version = t.version + 1, {reserving()}
WHERE t.event_id = $1 AND t.waiting > t.reserved AND t.held + t.sold < t.capacity
"""
# A booking is found by its key, and not by a join, for which Postgres might read all of them: as in `booking_rows`.
OFFERED = "LEFT JOIN LATERAL (SELECT * FROM bookings WHERE id = w.booking_id LIMIT 1) b ON true"
# The rows of `w`, with the position of those that wait, and with the bookings that were offered.
SEEN = f"""
SELECT {{position}} AS position, {", ".join(f"b.{name} AS booking_{name}" for name in Offered._fields)},
    {", ".join(f"w.{name}" for name in WaitingEntry._fields)}
FROM ({{found}}) w {OFFERED} ORDER BY w.number {{order}}
"""
POSITION = """CASE WHEN w.status = 'waiting' THEN (
    SELECT count(*) FROM waiting_entries o
    WHERE o.ticket_type_id = w.ticket_type_id AND o.status = 'waiting' AND o.number <= w.number
) END"""
BY_ID = SEEN.format(
    position=POSITION, found="SELECT * FROM waiting_entries WHERE id = ANY($1::uuid[])", order="ASC"
)
# The newest first.
OF_OWNER = SEEN.format(
    position=POSITION,
    found="""SELECT * FROM waiting_entries WHERE owner = $1 AND number < coalesce($2, 9223372036854775807)
    ORDER BY number DESC LIMIT $3""",
    order="DESC",
)
# In their order, and so without the positions, each of which is a count.
OF_EVENT = SEEN.format(
    position="NULL::bigint",
    found="""SELECT * FROM waiting_entries WHERE event_id = $1 AND number > coalesce($2, 0)
    ORDER BY number LIMIT $3""",
    order="ASC",
)
# Who waits for a ticket type, or has an offer of it that is not paid.
OPEN = f"""
SELECT w.owner, w.ticket_type_id FROM waiting_entries w {OFFERED}
WHERE w.owner = ANY($1::varchar[]) AND (w.status = 'waiting' OR b.status = 'pending')
"""
OF_ADDRESSES = """
SELECT address, event_id, count(*) FROM waiting_entries
WHERE address = ANY($1::varchar[]) AND status = 'waiting' GROUP BY address, event_id
"""
# The first $2 of each ticket type of an event, each in its order.
FIRST = f"""
SELECT {", ".join(f"w.{name}" for name in WaitingEntry._fields)} FROM ticket_types t CROSS JOIN LATERAL (
    SELECT * FROM waiting_entries WHERE ticket_type_id = t.id AND status = 'waiting' ORDER BY number LIMIT $2
) w WHERE t.event_id = $1 AND t.waiting > 0 ORDER BY w.number
"""
# The ticket types that somebody waits for. `due`: there is an entry to be offered its seats, or to be closed, or
# there are seats to be reserved. With its LIMIT the event is found by its key, and never by a scan of all.
WAITED_FOR = """
SELECT t.event_id, t.waiting, t.reserved, first.joined_at,
    e.called_off_at IS NOT NULL OR e.status = 'archived'
        OR coalesce(e.sales_end, CASE WHEN NOT e.sell_after_start THEN e.starts_at END) <= $1 IS TRUE
        OR (t.waiting > t.reserved AND t.held + t.sold < t.capacity)
        OR (e.on_sale AND e.status = 'published' AND (e.sales_start <= $1) IS NOT FALSE
            AND first.quantity <= least(t.waiting, t.capacity - t.held + t.reserved - t.sold)) AS due
FROM ticket_types t CROSS JOIN LATERAL (SELECT * FROM events WHERE id = t.event_id LIMIT 1) e CROSS JOIN LATERAL (
    SELECT quantity, joined_at FROM waiting_entries WHERE ticket_type_id = t.id AND status = 'waiting'
    ORDER BY number LIMIT 1
) first WHERE t.waiting > 0
"""
TAKE_UNNOTIFIED = """
UPDATE waiting_entries SET notify_after = NULL WHERE number IN (
    SELECT number FROM waiting_entries WHERE notify_after <= $1 ORDER BY notify_after LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
) RETURNING id
"""
FORGET_ADDRESSES = """
UPDATE waiting_entries SET address = NULL WHERE number IN (
    SELECT number FROM waiting_entries WHERE address IS NOT NULL AND joined_at < $1 LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
)
"""
ERASE = """
UPDATE waiting_entries SET customer = NULL
WHERE customer IS NOT NULL AND (owner = $1 OR lower(customer ->> 'email') = lower($2))
"""


class WaitedFor(NamedTuple):
    """A ticket type that somebody waits for, the first one since `joined_at`. `due`: a pass of the reconciler has
    something to do for it."""

    event_id: UUID
    waiting: int
    reserved: int
    joined_at: datetime
    due: bool


def _entry(values: dict[str, Any]) -> WaitingEntry:
    values["status"] = WaitingStatus(values["status"])
    if (customer := values["customer"]) is not None:
        values["customer"] = CUSTOMER.validate_json(customer)
    return WaitingEntry(**values)


def _seen(row: Any) -> SeenEntry:
    values = dict(row)
    position = values.pop("position")
    offered = Offered(**{name: values.pop(f"booking_{name}") for name in Offered._fields})
    if offered.status is None:
        return SeenEntry(_entry(values), position)
    return SeenEntry(_entry(values), position, offered._replace(status=BookingStatus(offered.status)))


class WaitingRows:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find(self, ids: Iterable[UUID]) -> dict[UUID, SeenEntry]:
        return {each.entry.id: each for each in map(_seen, await self._connection.fetch(BY_ID, list(ids)))}

    async def page(
        self, limit: int, behind: int | None, *, owner: str | None = None, event_id: UUID | None = None
    ) -> list[SeenEntry]:
        """The entries of an owner behind this number, newest first; or those of an event, in their order."""
        query, of = (OF_OWNER, owner) if event_id is None else (OF_EVENT, event_id)
        return [_seen(row) for row in await self._connection.fetch(query, of, behind, limit)]

    async def open_of(self, owners: Collection[str]) -> set[tuple[str, UUID]]:
        """For which ticket types these owners wait, or have an offer that they have not paid yet."""
        return {tuple(row) for row in await self._connection.fetch(OPEN, list(owners))}

    async def of_addresses(self, addresses: Collection[str]) -> dict[tuple[str, UUID], int]:
        """How many entries guests of these addresses have that wait, by address and event."""
        return {(a, e): n for a, e, n in await self._connection.fetch(OF_ADDRESSES, list(addresses))}

    async def waited_for(self, now: datetime) -> list[WaitedFor]:
        return [WaitedFor(*row) for row in await self._connection.fetch(WAITED_FOR, now)]

    async def reserve(self, event_id: UUID) -> None:
        """Reserve free seats of the event for those who wait. Its ticket types must be locked."""
        await self._connection.execute(RESERVE, event_id)

    async def first(self, event_id: UUID, limit: int) -> list[WaitingEntry]:
        """The first `limit` entries of each ticket type of the event, in their order."""
        return [_entry(dict(row)) for row in await self._connection.fetch(FIRST, event_id, limit)]

    async def add(self, entries: Sequence[WaitingEntry]) -> None:
        """Add new entries to their lists, in this order. Their ticket types must be locked."""
        if entries:
            await self._connection.execute(ADD, as_json(entries))
            await self._count(entries)

    async def end(self, entries: Sequence[WaitingEntry], notify_at: datetime | None = None) -> None:
        """Write entries that wait no longer. Their ticket types must be locked; the seats of those that are offered
        are free until the transaction writes the bookings. `notify_at`: when their owners are notified once more.
        Raises Interfered if one has ended before."""
        if entries:
            tag = await self._connection.execute(END, as_json(entries), notify_at)
            expect(count_of(tag), len(entries))
            await self._count(entries)

    async def _count(self, entries: Sequence[WaitingEntry]) -> None:
        changes = counter_changes(entries)
        tag = await self._connection.execute(COUNT, as_json(changes))
        expect(count_of(tag), len(changes))

    async def take_unnotified(self, now: datetime, limit: int) -> list[UUID]:
        """The entries whose owners are to be notified once more, and by no other process."""
        return [row["id"] for row in await self._connection.fetch(TAKE_UNNOTIFIED, now, limit)]

    async def forget_addresses(self, before: datetime, limit: int) -> int:
        """Forget the addresses of at most `limit` entries that were made before then; returns how many."""
        return count_of(await self._connection.execute(FORGET_ADDRESSES, before, limit))

    async def erase(self, subject: str | None, email: str | None) -> int:
        """Erase the customers of this owner's entries, or those with this email; returns how many."""
        return count_of(await self._connection.execute(ERASE, subject, email))
