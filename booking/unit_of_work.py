"""The bookings that a batch has in hand: changed in memory by the rules, saved at once, with what follows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from booking import domain
from booking.announcements import is_announced
from booking.availability import Availability
from booking.booking_rows import Interfered, expect
from booking.buyers import BuyerBound
from booking.fair_share import FairShare
from booking.presenters import booking_changed, command_for, shown
from booking.promo_codes import CodeBound
from booking.queue import Queue, queued
from booking.repository import Store, Transaction
from booking.rules import Decision
from booking.schedule import waits_for
from booking.state import Booking, Bound, Cause, FollowUp, SeatMove
from common.contracts import resources
from common.contracts.statuses import Reason
from common.messaging.envelope import Delivery, Envelope


def cause_of(delivery: Delivery | None, by: str | None = None) -> Cause:
    """`by`: whose request time carries out, where no message is at hand."""
    if delivery is None:
        return Cause(by=by)
    message = delivery.envelope.message
    return Cause(message.type, delivery.envelope.id, message.requester)


class UnitOfWork:
    """Bookings by id, saved in one of two ways: by `locked`, in the transaction that has locked them, or by
    `save`, in one statement that writes only what nobody else has written since it was read. After the commit it
    updates memory, availability and the queue, and has what is to be published."""

    def __init__(
        self,
        store: Store,
        availability: Availability,
        queue: Queue,
        share: FairShare,
        announces: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._asks = share.asks()
        # Whether changes are to be announced by mail or webhook.
        self._announces = announces
        self._availability = availability
        self._queue = queue
        self.bookings: dict[UUID, Booking] = {}
        # The bookings as they were read; new ones are not here.
        self._before: dict[UUID, Booking] = {}
        self._follow_ups: list[tuple[UUID, FollowUp, Delivery | None]] = []
        # What caused the bookings' notifications, and the new bookings whose notifications the queue holds back.
        self._causes: dict[UUID, Delivery | None] = {}
        # Who asked for changes that no message of this batch has caused.
        self._requesters: dict[UUID, str] = {}
        self._held: dict[UUID, Delivery] = {}
        self._shown: dict[UUID, resources.Booking] = {}
        # Events whose availability may not have been published, and cancelled ones whose bookings have changed.
        self._events: set[UUID] = set()
        # What the new bookings add to their buyers' rows.
        self.buyers: Sequence[BuyerBound] = ()
        # What they add to the uses of their promo codes.
        self.codes: Sequence[CodeBound] = ()
        # The bookings that the commit has written.
        self.written: frozenset[UUID] = frozenset()

    # --- what is in hand

    def take(self, bookings: Mapping[UUID, Booking]) -> None:
        """Add bookings as they were read."""
        self.bookings.update(bookings)
        self._before.update(bookings)

    def add(self, booking: Booking, delivery: Delivery) -> None:
        """Add a booking that is not in the database yet."""
        follow_up = waits_for(booking)
        booking = self._marked(None, booking)
        self.bookings[booking.id] = booking if follow_up is None else self._asks.new(booking)
        if follow_up is None:
            self._causes[booking.id] = delivery
        else:
            self._held[booking.id] = delivery
            self._follow_ups.append((booking.id, follow_up, delivery))

    def change(self, decision: Decision, delivery: Delivery | None = None, by: str | None = None) -> None:
        """Apply a decision, and keep what follows from it. `by`: who asked for it, where no message says so. Raises
        Interfered if it is the booking's second change in this batch: each change of a row is one transition. The
        messages are then handled one by one."""
        before = self.bookings[decision.booking.id]
        if decision.booking.version != before.version:
            decision = self._asks.changed(decision, before)
            decision = decision._replace(booking=self._marked(before, decision.booking))
        after = self.bookings[before.id] = decision.booking
        if after.version != before.version:
            if before.version != self._before[after.id].version:
                raise Interfered(f"a second change of booking {after.id} in one batch")
            self._causes[after.id] = delivery
            if by is not None:
                self._requesters[after.id] = by
            if Reason.EVENT_CANCELLED in (after.reason, after.closing):
                self._events.add(after.event_id)
        self._follow_ups += [(after.id, follow_up, delivery) for follow_up in decision.follow_ups]

    def _marked(self, before: Booking | None, after: Booking) -> Booking:
        """`after`, with its change to be announced, if it is one that others are told of."""
        if after.announce_from is not None or not self._announces() or not is_announced(before, after):
            return after
        return after._replace(announce_from=after.version)

    def notify_again(self, id: UUID, delivery: Delivery | None = None) -> None:
        """Nothing changes now, but the process that made the change may have ended between its commit and its
        notification, so it is published again. Sockets that know this version already send nothing."""
        self._causes.setdefault(id, delivery)
        self._events.add(self.bookings[id].event_id)

    def defers(self, booking: Booking) -> bool:
        """Whether what the booking waits for is asked for in the deferred mailbox."""
        follow_up = waits_for(booking)
        return follow_up is not None and self._asks.deferred(booking, follow_up)

    # --- saving

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[Transaction]:
        """The locked path: a transaction in which to lock, load and decide; saved and committed at the end of the
        block. Raises Interfered if a row is not as it was read, which its lock does not allow."""
        async with self._store.transaction() as transaction:
            yield transaction
            changed = self._changed()
            written, moves = await self._write(transaction, changed, ())
            expect(len(written), len(changed))
        self._committed(written, moves)

    async def save(self, bounds: Sequence[Bound] = ()) -> None:
        """Write the changes in one statement. Those that no longer fit are dropped, here and from memory; new ones,
        unless `bounds` and those of `buyers` and `codes` hold."""
        if changed := self._changed():
            written, moves = await self._write_at_once(changed, bounds)
            if len(written) < len(changed):
                self._drop(changed.keys() - written)
                moves = [each for each in moves if each.booking_id in written]
            self._committed(written, moves)

    async def _write_at_once(
        self, changed: Mapping[UUID, Booking], bounds: Sequence[Bound]
    ) -> tuple[Mapping[UUID, str], list[SeatMove]]:
        try:
            async with self._store.statement() as transaction:
                return await self._write(transaction, changed, bounds)
        except Interfered:
            return {}, []

    def _changed(self) -> dict[UUID, Booking]:
        return {id: booking for id, booking in self.bookings.items() if booking != self._before.get(id)}

    async def _write(
        self,
        transaction: Transaction,
        changed: Mapping[UUID, Booking],
        bounds: Sequence[Bound],
    ) -> tuple[dict[UUID, str], list[SeatMove]]:
        """Write bookings, transitions and seats; the new revisions of what was written, and all moves."""
        causes = self._held | self._causes
        changes = [
            (self._before.get(id), booking, cause_of(causes.get(id), self._requesters.get(id)))
            for id, booking in changed.items()
        ]
        moves = domain.moves((before, after) for before, after, _ in changes)
        pause = self._store.buyers.pause
        return await transaction.bookings.save(changes, moves, bounds, self.buyers, pause, self.codes), moves

    def _drop(self, ids: Iterable[UUID]) -> None:
        self._store.bookings.drop(ids)
        for id in ids:
            for by_id in (self.bookings, self._before, self._causes, self._held):
                by_id.pop(id, None)
        self._follow_ups = [each for each in self._follow_ups if each[0] in self.bookings]

    def _committed(self, written: Mapping[UUID, str], moves: Iterable[SeatMove]) -> None:
        new = ((id, booking) for id, booking in self.bookings.items() if id in written)
        waiting = {id: booking for id, booking in new if booking.retry_at is not None}
        self._store.bookings.drop(self.bookings)
        self._store.bookings.keep({id: each._replace(revision=written[id]) for id, each in waiting.items()})
        self.written = frozenset(written)
        self._asks.committed(self.written)
        moved = self._store.count((self.bookings[each.booking_id].event_id, each) for each in moves)
        self._availability.touched(moved | self._events)
        self._queue.hold([(self.bookings[id], cause) for id, cause in self._held.items()])
        self._queue.drop(self._causes)
        if any(queued(each) for id, each in waiting.items() if id not in self._held):
            self._queue.request_sample()

    # --- what follows

    def shown(self, id: UUID) -> resources.Booking:
        """The booking as its owner may see it now; made once for its answer and its notification."""
        booking = self.bookings[id]
        known = self._shown.get(id)
        if known is None or known.version != booking.version:
            known = self._shown[id] = shown(booking)
        return known

    def envelopes(self) -> Iterator[Envelope]:
        """What is to be published after the commit: what payment is asked for first, then the notifications."""
        for id, follow_up, cause in self._follow_ups:
            booking = self.bookings[id]
            deferred = self._asks.deferred(booking, follow_up)
            if not (deferred and self._asks.full):
                yield command_for(booking, follow_up, cause, deferred=deferred)
        for id, cause in self._causes.items():
            yield booking_changed(self.bookings[id], cause, self.shown(id))
