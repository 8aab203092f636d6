"""Those who wait for seats of sold-out ticket types, and what must hold of their line."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from booking.repository import Transaction
from common.contracts.ids import offer_id, waiting_entry_id
from common.contracts.messages import (
    CancelBooking,
    EventChanges,
    JoinWaitingList,
    LeaveWaitingList,
    Message,
    TicketTypeChange,
    UpdateEvent,
)
from common.contracts.statuses import CancelReason
from tests.simulation.people import BY_OPERATOR, CUSTOMERS, OPERATOR, OWNERS, People
from tests.simulation.story import Story
from tests.waiting_lists import line_findings

# More than an event begins with, so that seats are added.
MORE = (4, 5, 22)
ENTRIES_MAX = 16
# How often the same ticket type is waited for: one line that is long shows more than many short ones.
SAME = 0.8
ENTRIES = "SELECT id FROM waiting_entries"
PROMISE = "nobody is passed over"

T = TypeVar("T")


class InLine:
    """Some owners wait, leave, and decline offers; an operator adds seats."""

    def __init__(self, chance: random.Random, people: People, story: Story, share: float) -> None:
        """In `share` of the schedules somebody waits."""
        self.opens = chance.random() < share
        self._chance = chance
        self._people = people
        self._story = story
        # By entry its owner: those that were asked for, and those that were answered.
        self._asked: dict[UUID, JoinWaitingList] = {}
        self._answered: set[UUID] = set()
        people.in_line = self.answered
        people.scarce = self.opens

    # --- what is sent

    @property
    def joins(self) -> bool:
        return self.opens and len(self._asked) < ENTRIES_MAX

    @property
    def waits(self) -> bool:
        return self.opens and bool(self._asked)

    def join(self) -> None:
        """Somebody waits, or repeats that request."""
        if self._asked and self._chance.random() < 0.2:
            message = self._any()
        else:
            owner, show = self._chance.choice(OWNERS), self._one_of(self._people.shows)
            message = JoinWaitingList(
                entry_id=waiting_entry_id(owner, f"key {len(self._asked)}"),
                owner=owner,
                event_id=show.id,
                ticket_type_id=self._one_of(show.types),
                quantity=self._chance.randint(1, 2),
                customer=CUSTOMERS.get(owner),
            )
            self._asked[message.entry_id] = message
            self._story.name(message.entry_id, "W")
            self._story.name(offer_id(message.entry_id), "O")
            self._people.offers.add(offer_id(message.entry_id))
        self._people.send(message, message.entry_id, message.owner)

    def _one_of(self, choices: Sequence[T]) -> T:
        """Mostly the first."""
        return choices[0] if self._chance.random() < SAME else self._chance.choice(choices)

    def leave(self) -> None:
        asked = self._any()
        self._people.send(LeaveWaitingList(entry_id=asked.entry_id, owner=asked.owner), asked.entry_id, asked.owner)

    def decline(self) -> None:
        asked = self._any()
        id, reason = offer_id(asked.entry_id), CancelReason.BY_CUSTOMER
        self._people.send(CancelBooking(booking_id=id, owner=asked.owner, reason=reason), id, asked.owner)

    def add_seats(self) -> None:
        show = self._chance.choice(self._people.shows)
        more = TicketTypeChange(id=self._chance.choice(show.types), capacity=self._chance.choice(MORE))
        message = UpdateEvent(event_id=show.id, changes=EventChanges(), ticket_types=(more,), request=BY_OPERATOR)
        self._people.send(message, show.id, OPERATOR)

    def _any(self) -> JoinWaitingList:
        return self._chance.choice(list(self._asked.values()))

    def answered(self, message: Message, _: Any) -> None:
        """Once the database has lost something, an answer may be of what it has lost."""
        if isinstance(message, JoinWaitingList) and not self._people.shown_is_lost:
            self._answered.add(message.entry_id)

    # --- what must hold

    def forget(self) -> None:
        """The database has lost what it has answered."""
        self._answered.clear()

    async def check(self, raw: asyncpg.Connection) -> None:
        """Offers follow the line, no seat is free that somebody waits for, and what was answered is there."""
        if not self.opens:
            return
        if missing := self._answered - {row["id"] for row in await raw.fetch(ENTRIES)}:
            self._story.violate("6 nothing lost", f"entries {missing}")
        for finding in await line_findings(raw):
            self._story.violate(PROMISE, finding)

    async def check_finished(self, raw: asyncpg.Connection, now: Any) -> None:
        """Nobody waits for an offer that could be made."""
        if self.opens:
            for each in await Transaction(raw).waiting.waited_for(now):
                if each.due:
                    self._story.violate(PROMISE, f"{each.event_id}: an offer is still due")
