"""The handlers of waiting lists: who joins, who leaves, and who asks how it stands. Offers are made by the
reconciler (`offers.py`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from booking.availability import Availability
from booking.buyers import Buyers, owner_key
from booking.presenters import entry_changed, operators_entry, shown_entry
from booking.query_handlers import page_of
from booking.repository import Store, Transaction
from booking.state import Event, HoldPolicy, WaitingEntry
from booking.waiting_list import SeenEntry, asked_for, joined, left
from common.contracts.errors import (
    AlreadyWaiting,
    EventNotFound,
    HoldfastError,
    IdempotencyKeyReused,
    NotFound,
    TooManyWaiting,
)
from common.contracts.messages import GetWaitingEntry, JoinWaitingList, LeaveWaitingList, ListWaitingEntries
from common.contracts.statuses import WaitingStatus
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, answer_each, answers


class WaitingHandlers:
    def __init__(
        self, store: Store, availability: Availability, clock: Callable[[], datetime], policy: HoldPolicy
    ) -> None:
        self._store = store
        self._availability = availability
        self._clock = clock
        self._policy = policy
        self.commands: Handlers = {JoinWaitingList: self.join, LeaveWaitingList: self.leave}
        self.queries: Handlers = {GetWaitingEntry: self.get, ListWaitingEntries: self.list}

    # --- commands

    async def join(self, deliveries: Sequence[Delivery]) -> list[Envelope]:
        """Add the entries, in the order of their requests. A repeated request gets its entry as it is now."""
        messages, now = [each.message for each in deliveries], self._clock()
        async with self._store.transaction() as rows:
            sales = await rows.events.lock_sales(sorted({each.event_id for each in messages}))
            known = await rows.waiting.find({each.entry_id for each in messages})
            line = await _Line.read(rows, messages, self._store, sales)
            results = [(each, self._join(each.message, known, line, now)) for each in deliveries]
            await rows.waiting.add(line.added)
            seen = await rows.waiting.find({each.entry_id for each in messages})
        self._store.metrics.waiting_entries.labels(WaitingStatus.WAITING).inc(len(line.added))
        return self._done(results, seen, {each.event_id for each in line.added})

    def _join(
        self, request: JoinWaitingList, known: dict[UUID, SeenEntry], line: _Line, now: datetime
    ) -> UUID | HoldfastError:
        """The id of the entry, or the error that refuses it."""
        if request.entry_id in line.ids:
            return request.entry_id  # twice in this batch
        if (seen := known.get(request.entry_id)) is not None:
            return request.entry_id if asked_for(seen.entry, request) else IdempotencyKeyReused()
        entry = joined(request, line.sales.get(request.event_id), line.buyers(), now, self._policy)
        return line.add(entry) if isinstance(entry, WaitingEntry) else entry

    async def leave(self, deliveries: Sequence[Delivery]) -> list[Envelope]:
        """End these entries: what was reserved for them alone is free again. One that has ended stays as it is."""
        ids, now = {each.message.entry_id for each in deliveries}, self._clock()
        results: list[tuple[Delivery, Any]] = []
        async with self._store.transaction() as rows:
            # Ticket types are locked first, and then the entries are read again.
            types = {each.entry.ticket_type_id for each in (await rows.waiting.find(ids)).values()}
            await rows.bookings.lock_seats(types, now)
            known, ended = await rows.waiting.find(ids), dict[UUID, WaitingEntry]()
            for each in deliveries:
                seen = known.get(each.message.entry_id)
                try:
                    if seen is None or seen.entry.owner != each.message.owner:
                        raise NotFound
                    if (after := left(seen.entry, now)) != seen.entry:
                        ended[after.id] = after
                    results.append((each, seen.entry.id))
                except HoldfastError as refused:
                    results.append((each, refused))
            await rows.waiting.end(list(ended.values()))
            seen_then = await rows.waiting.find(ids)
        self._store.metrics.waiting_entries.labels(WaitingStatus.LEFT).inc(len(ended))
        return self._done(results, seen_then, {each.event_id for each in ended.values()})

    def _done(
        self, results: Iterable[tuple[Delivery, Any]], seen: dict[UUID, SeenEntry], event_ids: set[UUID]
    ) -> list[Envelope]:
        """Replies and notifications. A repeated request is notified of again: the process that did it may have
        ended before its notification."""
        self._store.events.drop(event_ids)
        self._availability.touched(event_ids)
        done = [(each, seen[result] if isinstance(result, UUID) else result) for each, result in results]
        shown = [(each, shown_entry(it) if isinstance(it, SeenEntry) else it) for each, it in done]
        changed = [entry_changed(it, each) for each, it in done if isinstance(it, SeenEntry)]
        return [*changed, *answers(shown)]

    # --- queries

    async def get(self, deliveries: Sequence[Delivery]) -> list[Envelope]:
        async with self._store.reading() as rows:
            seen = await rows.waiting.find({each.message.entry_id for each in deliveries})

        def found(message: GetWaitingEntry) -> Any:
            entry = seen.get(message.entry_id)
            if entry is None or message.owner not in (None, entry.entry.owner):
                return NotFound()
            return operators_entry(entry) if message.owner is None else shown_entry(entry)

        return answers((each, found(each.message)) for each in deliveries)

    async def list(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        async with self._store.reading() as rows:

            async def page(delivery: Delivery) -> Any:
                asked: ListWaitingEntries = delivery.message
                if asked.event_id is not None and not await rows.events.find([asked.event_id]):
                    raise EventNotFound
                found = await rows.waiting.page(
                    asked.limit + 1, asked.behind, owner=asked.owner, event_id=asked.event_id
                )
                show = shown_entry if asked.event_id is None else operators_entry
                return page_of(found, asked.limit, show, _by_number)

            return await answer_each(deliveries, page)


def _by_number(seen: SeenEntry) -> list[int]:
    return [seen.entry.number]


class _Line:
    """Who waits already, and who joins with this batch."""

    def __init__(
        self,
        store: Store,
        sales: dict[UUID, Event],
        taken: dict[str, Any],
        waits: set[tuple[str, UUID]],
        of_addresses: dict[tuple[str, UUID], int],
    ) -> None:
        self.sales = sales
        self._store = store
        self._taken = taken
        self._waits = waits
        self._of_addresses = Counter(of_addresses)
        self.added: list[WaitingEntry] = []
        self.ids: set[UUID] = set()

    @classmethod
    async def read(
        cls, rows: Transaction, messages: Sequence[JoinWaitingList], store: Store, sales: dict[UUID, Event]
    ) -> _Line:
        taken = await rows.buyers.lock({owner_key(each.event_id, each.owner) for each in messages})
        waits = await rows.waiting.open_of({each.owner for each in messages})
        addresses = {each.address for each in messages if each.address is not None}
        return cls(store, sales, taken, waits, await rows.waiting.of_addresses(addresses) if addresses else {})

    def buyers(self) -> Buyers:
        """What one owner may have: entries hold nothing, so that each request is compared by itself."""
        return Buyers(self._store.buyers, self._taken)

    def add(self, entry: WaitingEntry) -> UUID | HoldfastError:
        waits = (entry.owner, entry.ticket_type_id)
        if waits in self._waits:
            return AlreadyWaiting()
        most = self._store.buyers.address_holds
        if entry.address is not None:
            of_address = (entry.address, entry.event_id)
            if most and self._of_addresses[of_address] >= most:
                return TooManyWaiting(limit=most)
            self._of_addresses[of_address] += 1
        self._waits.add(waits)
        self.ids.add(entry.id)
        self.added.append(entry)
        return entry.id
