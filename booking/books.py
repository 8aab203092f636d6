"""The bookings that one transaction has in hand: changed in memory by the rules, written back at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self
from uuid import UUID

import structlog

from booking import domain
from booking.notices import asked, shown
from booking.repository import Work
from booking.rules import Decision
from booking.schedule import waits_for
from booking.state import TIME, Booking, Cause, Follow, Reason, Transition
from common.contracts import resources
from common.contracts.messages import BookingChanged
from common.messaging.envelope import Delivery, Envelope, tell

log = structlog.get_logger()


def cause_of(delivery: Delivery | None) -> Cause:
    return TIME if delivery is None else Cause(delivery.envelope.message.type, delivery.envelope.id)


class Books:
    """Locked or new bookings by id, with what is to be published when they are saved and committed."""

    def __init__(self, bookings: dict[UUID, Booking]) -> None:
        self.bookings = bookings
        self._before = dict(bookings)
        self._created: list[Transition] = []
        self._transitions: list[Transition] = []
        self._follows: list[tuple[UUID, Follow, Delivery | None]] = []
        self._causes: dict[UUID, Delivery | None] = {}
        self._shown: dict[UUID, resources.Booking] = {}
        self._told_again: set[UUID] = set()

    @classmethod
    async def open(cls, work: Work, ids: Sequence[UUID]) -> Self:
        """Lock the bookings; those that are not there are left out."""
        return cls(await work.lock(ids))

    def add(self, booking: Booking, delivery: Delivery) -> None:
        """A booking that is not in the database yet."""
        self.bookings[booking.id] = booking
        self._causes[booking.id] = delivery
        self._created.append(Transition(None, booking, cause_of(delivery)))
        follow = waits_for(booking)
        if follow is not None:
            self._follows.append((booking.id, follow, delivery))

    def take(self, decision: Decision, delivery: Delivery | None = None) -> None:
        """What became of a booking, and what follows from it."""
        after = decision.booking
        before = self.bookings[after.id]
        self.bookings[after.id] = after
        if after.version != before.version:
            self._causes[after.id] = delivery
            self._transitions.append(Transition(before.status, after, cause_of(delivery)))
        self._follows += [(after.id, follow, delivery) for follow in decision.follow]

    def tell_again(self, id: UUID, delivery: Delivery | None = None) -> None:
        """Nothing is changed now: it was before, and a process may have ended between the commit of that and the
        news of it. Sockets that know this version already send nothing."""
        self._causes.setdefault(id, delivery)
        self._told_again.add(id)

    async def save(self, work: Work) -> None:
        """Write what has changed: bookings, transitions and seats, in one transaction."""
        pairs = [(old, self.bookings[id]) for id, old in self._before.items() if self.bookings[id] != old]
        await work.insert(self._created)
        await work.save(pairs)
        await work.record(self._transitions)
        new = ((None, each.after) for each in self._created)
        await work.move_seats(domain.moves([*new, *pairs]))

    def shown(self, id: UUID) -> resources.Booking:
        """The booking as its owner may see it now; made once for all who are told."""
        booking = self.bookings[id]
        known = self._shown.get(id)
        if known is None or known.version != booking.version:
            known = self._shown[id] = shown(booking)
        return known

    def events_moved(self) -> set[UUID]:
        """The events whose availability is another than before, or may not have been told, and those whose calling
        off goes on."""
        return {
            booking.event_id
            for id, booking in self.bookings.items()
            if domain.takes(booking.status) != domain.takes(self._before[id].status if id in self._before else None)
            or id in self._told_again
            or Reason.EVENT_CANCELLED in (booking.reason, booking.closing)
        }

    def envelopes(self) -> list[Envelope]:
        """What is to be published after the commit: what payment is asked for first, then what has changed."""
        requests = [asked(self.bookings[id], follow, cause) for id, follow, cause in self._follows]
        news = [
            tell(BookingChanged(owner=self.bookings[id].owner, booking=self.shown(id)), id, cause=cause)
            for id, cause in self._causes.items()
        ]
        return [*requests, *news]
