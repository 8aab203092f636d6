"""The door: tickets let people in once, check-ins are undone, and scanners hear of what changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from booking.door_rows import Asked, Met, Undo
from booking.presenters import door_event
from booking.repository import Store, Transaction
from booking.state import Booking, Event
from booking.ticket_codes import TicketCodes
from booking.tickets import Ticket, refused, state_of, tickets_of
from common.contracts.errors import EventNotFound, NotFound
from common.contracts.messages import CheckInEntry, CheckInTickets, GetDoor, UndoCheckIn
from common.contracts.statuses import CheckInOutcome
from common.contracts.tickets import CheckIn, CheckInResult, CheckInResults, Door, DoorTicket, DoorTicketType
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, answer_each, answers

# Check-ins of one statement; before the next ones others have their turn, as checking a code takes 0.1 ms.
PART_MAX = 100


class _Shown(NamedTuple):
    """A ticket that is shown at a door, and by whom; the ticket is None if there is none."""

    message: CheckInTickets
    entry: CheckInEntry
    ticket: Ticket | None

    @property
    def ticket_id(self) -> UUID:
        assert self.ticket is not None
        return self.ticket.id

    @property
    def id(self) -> UUID:
        """Of the check-in: one scanner's id never names two tickets."""
        return uuid5(self.entry.id, str(self.ticket_id))

    @property
    def refused(self) -> CheckInOutcome | None:
        """Why the ticket lets nobody in, whatever there is in the database."""
        if self.ticket is None:
            return CheckInOutcome.INVALID
        door = self.message.event_id
        return CheckInOutcome.OTHER_EVENT if door not in (None, self.ticket.event_id) else None


class DoorHandlers:
    def __init__(self, store: Store, codes: TicketCodes, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._codes = codes
        self._clock = clock
        self.door: Handlers = {
            CheckInTickets: self.check_in,
            UndoCheckIn: self.undo,
            GetDoor: self.get_door,
        }

    async def check_in(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Answer with what each ticket has met. A repeated check-in meets itself, and changes nothing."""
        entries = ((delivery.message, entry) for delivery in deliveries for entry in delivery.message.entries)
        results: list[CheckInResult] = []
        while part := list(islice(entries, PART_MAX)):
            results += await self._part(part)
            await asyncio.sleep(0)
        following = iter(results)
        listed = (tuple(islice(following, len(each.message.entries))) for each in deliveries)
        shown = (CheckInResults(items=items).model_dump(mode="json") for items in listed)
        return answers(zip(deliveries, shown, strict=True))

    async def _part(self, part: Sequence[tuple[CheckInTickets, CheckInEntry]]) -> list[CheckInResult]:
        by_hand = {entry.booking_id for _, entry in part if entry.code is None and entry.booking_id is not None}
        bookings: Mapping[UUID, Booking] = {}
        if by_hand:
            async with self._store.reading() as rows:
                bookings = await rows.bookings.load(list(by_hand))
        shown = [_Shown(message, entry, self._ticket(entry, bookings)) for message, entry in part]
        met = await self._met([each for each in shown if each.refused is None])
        return [_result(each, met) for each in shown]

    async def _met(self, shown: Sequence[_Shown]) -> dict[UUID, Met]:
        """What each check-in has met, by its id. Several with one ticket come one after the other."""
        now, met = self._clock(), dict[UUID, Met]()
        while shown:
            asked: dict[UUID, Asked] = {}
            for each in shown:
                asked.setdefault(each.ticket_id, _asked(each, now))
            async with self._store.statement() as rows:
                found = await rows.door.check_in(list(asked.values()))
            met |= {wanted.id: found[wanted.ticket_id] for wanted in asked.values()}
            shown = [each for each in shown if each.id not in met]
        return met

    def _ticket(self, entry: CheckInEntry, bookings: Mapping[UUID, Booking]) -> Ticket | None:
        if entry.code is not None:
            return self._codes.read(entry.code)
        booking = None if entry.booking_id is None else bookings.get(entry.booking_id)
        tickets: Iterable[Ticket] = () if booking is None else tickets_of(booking)
        return next((each for each in tickets if each.id == entry.ticket_id), None)

    async def undo(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Answer with the check-in as it is then; one that is undone already stays so."""
        asked = {each.message.check_in_id: Undo(each.message.check_in_id, each.message.by) for each in deliveries}
        async with self._store.statement() as rows:
            undone = await rows.door.undo(list(asked.values()), self._clock())
        return answers((each, undone.get(each.message.check_in_id) or NotFound()) for each in deliveries)

    async def get_door(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        async with self._store.reading() as rows:
            return await answer_each(deliveries, lambda delivery: self._door(rows, delivery.message))

    async def _door(self, rows: Transaction, message: GetDoor) -> dict[str, Any]:
        event = (await rows.events.find({message.event_id})).get(message.event_id)
        if event is None:
            raise EventNotFound
        begin, changes = await rows.door.changes(event.id, message.since, message.limit + 1)
        ids = list({each.booking_id for each in changes})
        # Read after the changes, so that they are at least as new.
        bookings, check_ins = await rows.bookings.load(ids), await rows.door.of_bookings(ids)
        counts = await rows.door.counts(event.id)
        tickets: dict[UUID, dict[UUID, DoorTicket]] = {}
        items: list[DoorTicket] = []
        end = begin
        more = False
        for change in changes:
            if more := len(items) >= message.limit:
                break
            if (of_booking := tickets.get(change.booking_id)) is None:
                of_booking = _door_tickets(bookings[change.booking_id], event, check_ins)
                tickets[change.booking_id] = of_booking
            items += of_booking.values() if change.ticket_id is None else (of_booking[change.ticket_id],)
            end = (begin[0], change.transaction, change.id)
        door = Door(
            event=door_event(event),
            keys=self._codes.public.keys,
            ticket_types=tuple(
                DoorTicketType(id=each.id, name=each.name, sold=each.sold, checked_in=counts.get(each.id, 0))
                for each in event.ticket_types.values()
            ),
            reset=message.since is not None and message.since[0] != begin[0],
            items=tuple(items),
            mark="",
            more=more,
        )
        # What the mark looks like is the gateway's.
        return {**door.model_dump(mode="json"), "mark": list(end)}


def _asked(shown: _Shown, now: datetime) -> Asked:
    ticket, entry = shown.ticket, shown.entry
    assert ticket is not None
    at = now if entry.at is None else min(entry.at, now)
    return Asked(
        id=shown.id,
        ticket_id=ticket.id,
        booking_id=ticket.booking_id,
        event_id=ticket.event_id,
        ticket_type_id=ticket.ticket_type_id,
        number=ticket.number,
        at=at,
        recorded_at=now,
        gate=entry.gate,
        device=entry.device,
        by=shown.message.by,
    )


def _undone(met: Met) -> bool:
    return met.check_in is not None and met.check_in.undone_at is not None


def _result(shown: _Shown, met: Mapping[UUID, Met]) -> CheckInResult:
    """What it has met: first itself, then the end of its booking, then who came before."""
    id = shown.entry.id
    if shown.ticket is None:
        return CheckInResult(id=id, outcome=CheckInOutcome.INVALID)
    if (outcome := shown.refused) is not None:
        return CheckInResult(id=id, outcome=outcome, ticket_id=shown.ticket_id)
    status, seat, check_in = met[shown.id]
    if check_in is not None and check_in.id == shown.id:
        outcome = CheckInOutcome.UNDONE if _undone(met[shown.id]) else CheckInOutcome.OK
    elif (outcome := refused(status, seat=seat)) is not None:
        check_in = None  # who came before does not matter
    else:
        outcome = CheckInOutcome.USED
    return CheckInResult(id=id, outcome=outcome, ticket_id=shown.ticket_id, check_in=check_in)


def _door_tickets(booking: Booking, event: Event, check_ins: Mapping[UUID, CheckIn]) -> dict[UUID, DoorTicket]:
    """The booking's tickets as they are now, by their ids."""
    found = {}
    for ticket in tickets_of(booking):
        id, check_in = ticket.id, check_ins.get(ticket.id)
        state = state_of(ticket, booking, event, used=check_in is not None)
        found[id] = DoorTicket(
            ticket_id=id,
            state=state,
            used_at=None if check_in is None else check_in.at,
            gate=None if check_in is None else check_in.gate,
        )
    return found
