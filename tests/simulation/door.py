"""People at the door of an event: they show tickets, some of them twice, and some check-ins are a mistake."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any, cast
from uuid import UUID

import asyncpg

from booking.door_handlers import DoorHandlers
from booking.repository import Transaction
from booking.ticket_codes import TicketCodes
from booking.tickets import Ticket, state_of, tickets_of
from common.contracts.messages import CheckInEntry, CheckInTickets, GetDoor, Message, RefundTickets, UndoCheckIn
from common.contracts.statuses import CheckInOutcome
from common.contracts.tickets import CheckInResults, Door
from ops.audit.databases import CHECK_INS
from ops.audit.records import CheckIn
from ops.audit.rules import judge_check_in
from tests.simulation.people import BY_OPERATOR, OPERATOR, People
from tests.simulation.story import Story

SIGNING_KEY = "a-private-key-of-the-simulation-of-32-bytes"
CODES = TicketCodes((SIGNING_KEY,))
# How likely a scanner sends once more what it has sent, as if the answer was lost. And how likely a ticket is found
# by its ids, and a code is forged.
REPEATED, BY_HAND, FORGED = 0.2, 0.1, 0.05
# How many changes a scanner reads at a time: few, so that it needs several pages.
PAGE = 2
# How often, each 10 ms, transactions of other databases on the server are waited for, which hold changes back.
WAITS_MAX = 1000
CHECKED_IN = "SELECT id, undone_at IS NULL AS counts FROM check_ins"
# By which the state of each ticket follows that scanners must know.
USED = "SELECT ticket_id FROM check_ins WHERE undone_at IS NULL"
WERE_CONFIRMED = "SELECT DISTINCT booking_id FROM booking_transitions WHERE to_status = 'confirmed'"


class AtTheDoor:
    """Some scanners; one of them also follows what changes."""

    def __init__(self, chance: random.Random, people: People, story: Story, share: float) -> None:
        """In `share` of the schedules there is a door."""
        self.opens = chance.random() < share
        self._chance = chance
        self._people = people
        self._story = story
        # The tickets that customers were shown, and what was sent.
        self._tickets: dict[Ticket, None] = {}
        self._sent: list[CheckInTickets] = []
        # By ticket, the check-ins that let somebody in.
        self._let_in: defaultdict[UUID, set[UUID]] = defaultdict(set)
        # By check-in that is not forged, its ticket; and the tickets that scanners were answered to be none.
        self._genuine: dict[UUID, Ticket] = {}
        self._unknown: set[Ticket] = set()
        # What the scanner that follows knows of each event.
        self._marks: dict[UUID, tuple[str, int, int]] = {}
        self._known: dict[UUID, str] = {}
        people.at_the_door = self.answered

    # --- what is sent

    @property
    def ready(self) -> bool:
        return self.opens and bool(self._tickets or self._people.sold())

    @property
    def shown(self) -> bool:
        return self.opens and bool(self._tickets)

    @property
    def busy(self) -> bool:
        return self.opens and bool(self._let_in)

    def show(self) -> None:
        """A ticket is shown, or a scanner asks again what became of one."""
        for booking in self._people.sold():
            for item in booking.items:
                for number in range(1, item.quantity + 1):
                    self._tickets[Ticket(booking.event_id, booking.id, item.ticket_type_id, number)] = None
        if self._sent and self._chance.random() < REPEATED:
            message = self._chance.choice(self._sent)
        else:
            entries = tuple(self._entry() for _ in range(self._chance.choice((1, 1, 3))))
            message = CheckInTickets(by=OPERATOR, entries=entries)
            self._sent.append(message)
        self._people.send(message, message.entries[0].id, OPERATOR)

    def _entry(self) -> CheckInEntry:
        ticket, id = self._chance.choice(list(self._tickets)), UUID(int=self._chance.getrandbits(128), version=4)
        drawn, code = self._chance.random(), CODES.sign(ticket)
        self._genuine[id] = ticket
        if drawn < BY_HAND:
            return CheckInEntry(id=id, booking_id=ticket.booking_id, ticket_id=ticket.id)
        if drawn < BY_HAND + FORGED:
            del self._genuine[id]
            code = TicketCodes(("another-private-key-of-some-32-bytes-abcdef",)).sign(ticket)
        return CheckInEntry(id=id, code=code, gate=self._chance.choice(("north", "south")))

    def undo(self) -> None:
        ids = [id for each in self._let_in.values() for id in sorted(each)]
        id = self._chance.choice(ids)
        self._people.send(UndoCheckIn(by=OPERATOR, check_in_id=id), id, OPERATOR)

    def refund(self) -> None:
        """An operator refunds a ticket of a booking that has several."""
        ticket = self._chance.choice(list(self._tickets))
        id = UUID(int=self._chance.getrandbits(128), version=4)
        message = RefundTickets(
            booking_id=ticket.booking_id, refund_id=id, ticket_ids=(ticket.id,), request=BY_OPERATOR
        )
        self._story.name(id, "R")
        self._people.send(message, ticket.booking_id, OPERATOR)

    def follow(self) -> None:
        show = self._chance.choice(self._people.shows)
        message = GetDoor(event_id=show.id, since=self._marks.get(show.id), limit=PAGE)
        self._people.send(message, show.id, OPERATOR)

    # --- what is answered

    def answered(self, message: Message, result: Any) -> None:
        if isinstance(message, CheckInTickets):
            for entry, each in zip(message.entries, CheckInResults.model_validate(result).items, strict=True):
                if each.outcome == CheckInOutcome.INVALID and entry.id in self._genuine:
                    self._unknown.add(self._genuine[entry.id])
                if each.outcome == CheckInOutcome.OK:
                    assert each.ticket_id is not None
                    assert each.check_in is not None
                    self._let_in[each.ticket_id].add(each.check_in.id)
        elif isinstance(message, GetDoor) and message.since == self._marks.get(message.event_id):
            self._receive(message.event_id, result)

    def _receive(self, event_id: UUID, result: Any) -> bool:
        """Returns whether there is more."""
        door = Door.model_validate(result | {"mark": ""})
        if door.reset:
            self._story.violate("scanners miss nothing", f"{event_id}: a reset on the same server")
        self._known |= {each.ticket_id: each.state for each in door.items}
        self._marks[event_id] = tuple(result["mark"])
        return door.more

    # --- what must hold

    def forget(self) -> None:
        """The database has lost what it has answered."""
        self._let_in.clear()

    async def check(self, raw: asyncpg.Connection) -> None:
        """Nobody is let in twice, nor by a seat that was not sold; and what was answered is there."""
        if not self.opens:
            return
        counts = {row["id"]: row["counts"] for row in await raw.fetch(CHECKED_IN)}
        for ticket_id, ids in self._let_in.items():
            if missing := ids - counts.keys():
                self._story.violate("6 nothing lost", f"check-ins {missing} of ticket {ticket_id}")
            if len(twice := [id for id in ids if counts.get(id)]) > 1:
                self._story.violate("nobody twice", f"ticket {ticket_id}: {twice}")
        for row in await raw.fetch(CHECK_INS.format(part="true")):
            for finding in judge_check_in(CheckIn(**row)):
                self._story.violate("nobody without a seat", f"{finding.id}: {finding.text}")

    async def check_finished(self, raw: asyncpg.Connection) -> None:
        """Who has a seat was let in, and the scanner that follows knows every ticket that was used or has
        ended."""
        if not self.opens:
            return
        for ticket in self._unknown:
            self._story.violate("who has a seat is let in", f"{ticket} is none")
        for show in self._people.shows:
            await self._receive_the_rest(raw, show.id)
        rows, used = Transaction(raw), {row["ticket_id"] for row in await raw.fetch(USED)}
        bookings = await rows.bookings.load([row["booking_id"] for row in await raw.fetch(WERE_CONFIRMED)])
        events = await rows.events.find({each.event_id for each in bookings.values()})
        shows = {show.id for show in self._people.shows}
        for booking in [each for each in bookings.values() if each.event_id in shows]:
            for ticket in tickets_of(booking):
                state = state_of(ticket, booking, events[booking.event_id], used=ticket.id in used)
                if (known := self._known.get(ticket.id, "valid")) != state:
                    self._story.violate(
                        "scanners miss nothing", f"{ticket.id} of {booking.id} is {state}, known as {known}"
                    )

    async def _receive_the_rest(self, raw: asyncpg.Connection, event_id: UUID) -> None:
        handlers = DoorHandlers(cast(Any, None), CODES, cast(Any, None))
        last = await raw.fetchval("SELECT max(id) FROM door_changes WHERE event_id = $1", event_id)
        for _ in range(WAITS_MAX):
            since = self._marks.get(event_id)
            message = GetDoor(event_id=event_id, since=since, limit=1000)
            if (found := await handlers._door(Transaction(raw), message)) is None:
                return  # the request to create it was lost
            more = self._receive(event_id, found)
            if not more and (last is None or self._marks[event_id][2] >= last):
                return
            await raw.execute("SELECT pg_sleep(0.01)")
