"""Stripe events are applied: each is stored once, and changes its payment in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from uuid import UUID

import orjson

from common.messaging.envelope import Delivery, Envelope
from payment import domain
from payment.disputes import Dispute
from payment.lost import LostRows
from payment.orphans import Match
from payment.refunds import RefundSnapshot
from payment.repository import Store
from payment.state import IntentSnapshot, Payment, SnapshotConflict
from payment.stripe_api import StripeMetrics
from payment.stripe_objects import ChargeRefunded, Json, StripeEvent, read_event
from payment.unit_of_work import UnitOfWork

# A Stripe event with the trace (`traceparent`) of the webhook or message that it came by.
Received = tuple[StripeEvent, str]


class StripeEvents:
    """Applies Stripe events from the mailbox and from webhooks. A Stripe event of a payment that is not paid yet is
    applied from memory, with one statement; every other one by the locked path."""

    def __init__(self, store: Store, metrics: StripeMetrics, clock: Callable[[], datetime], lost: LostRows) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._lost = lost

    async def apply_messages(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """The handler of the mailbox `payment.webhooks`."""
        return await self.apply(
            [(orjson.loads(each.message.payload), each.envelope.traceparent) for each in deliveries]
        )

    async def apply(self, events: Sequence[tuple[Json, str]]) -> list[Envelope]:
        """Store Stripe events and change their payments; returns what to publish. Raises KeyError, ValueError for
        anything that is not a Stripe event."""
        read = [(read_event(json), trace) for json, trace in events]
        foreign = await self._lost.foreign_accounts([event for event, _ in read])
        received = {each[0].id: each for each in read if each[0].id not in foreign}
        installation = await self._store.installation()
        envelopes = await self._apply_from_memory(received) if self._store.payments.entries_max else []
        if received:
            envelopes += await self._apply_under_lock(list(received.values()), installation)
        return envelopes

    async def _apply_from_memory(self, received: dict[str, Received]) -> list[Envelope]:
        """Apply the Stripe events of unpaid payments whose events are all simple; removes them from `received`."""
        groups: dict[UUID | None, list[Received]] = {}
        for each in received.values():
            groups.setdefault(each[0].booking_id, []).append(each)
        simple = {id: group for id, group in groups.items() if id is not None and all(map(_is_simple, group))}
        if not simple:
            return []
        unit, now = UnitOfWork(self._store, self._metrics), self._clock()
        await unit.remember(simple.keys())
        applied: list[tuple[UUID, StripeEvent]] = []
        for id, payment in tuple(unit.payments.items()):
            if all(event.intent_id == payment.intent_id for event, _ in simple[id]):
                for each in _oldest_first(simple[id]):
                    applied.append((id, each[0]))
                    _apply(unit, id, each, now)
        await unit.save(applied, now)
        for id, event in applied:
            if id in unit.payments:
                del received[event.id]
        return unit.follow_ups()

    async def _apply_under_lock(self, received: Sequence[Received], installation: UUID) -> list[Envelope]:
        now = self._clock()
        events = [event for event, _ in received]
        ids = [event.booking_id for event in events if event.booking_id is not None]
        intents = [event.intent_id for event in events if event.intent_id is not None]
        unit = UnitOfWork(self._store, self._metrics)
        without_row: list[tuple[StripeEvent, Match]] = []
        # Payments are locked before events are stored, in the same order as in the one statement (`_save`).
        async with unit.locked(ids, intents, [event.snapshot for event in events]) as rows:
            fresh = await rows.store_events(events, now)
            of_intent = {p.intent_id: id for id, p in unit.payments.items() if p.intent_id}
            for event, trace in _oldest_first(received):
                if event.id not in fresh or event.snapshot is None:
                    continue
                id = of_intent.get(event.intent_id or "") or event.booking_id
                match = self._lost.judge(event, unit.payments.get(id) if id else None, installation)
                if match is Match.NOWHERE or id is None:
                    continue
                if match is Match.ROW:
                    _apply(unit, id, (event, trace), now)
                    continue
                without_row.append((event, match))
                if match is Match.LOST:
                    unit.traces[id] = trace
                    unit.check(id, event.intent_id)
            await self._lost.record(rows, without_row, now)
        return unit.follow_ups()


def _apply(unit: UnitOfWork, id: UUID, received: Received, now: datetime) -> None:
    """Apply the Stripe event to the payment. If it does not contain enough, a SyncPayment is published to fetch
    Stripe's own object, so that the webhook does not wait for it."""
    event, unit.traces[id] = received
    before = unit.payments[id]
    enough = _apply_event(unit, before, event, now)
    after = unit.payments[id]
    # Nobody can pay an intent that was not reported yet, so the row has lost its intent. Disputes name no booking:
    # some may have come before and found no payment.
    intent_was_lost = before.intent_id is None and after.amount_captured > 0
    if not enough or intent_was_lost:
        unit.check(id)
        # The message may be lost: the retry time repeats it until Stripe's own object was fetched.
        unit.change(domain.conflicting(after, now))


def _is_simple(received: Received) -> bool:
    """It shows an intent and no failed attempt: only the database knows whether an attempt was counted already."""
    snapshot = received[0].snapshot
    return isinstance(snapshot, IntentSnapshot) and snapshot.attempt is None


def _oldest_first(received: Iterable[Received]) -> list[Received]:
    return sorted(received, key=lambda each: each[0].created)


def _apply_event(unit: UnitOfWork, payment: Payment, event: StripeEvent, now: datetime) -> bool:
    """False if Stripe's own object must be fetched."""
    snapshot = event.snapshot
    if isinstance(snapshot, IntentSnapshot):
        return unit.apply(payment, snapshot, now) is not SnapshotConflict.AMBIGUOUS
    if payment.terminal and not payment.amount_captured:
        return True  # nothing was captured: the money was only authorised, or belongs to a stray intent
    if payment.intent_id is not None and event.intent_id not in (None, payment.intent_id):
        return True  # of a stray intent
    if isinstance(snapshot, RefundSnapshot):
        # While the payment is not known to be paid, none of its refunds is known: an old snapshot, of a refund that
        # has failed since, would be applied as if it were new.
        return bool(payment.amount_captured) and unit.apply_refunds(payment, [snapshot], now)
    if isinstance(snapshot, Dispute):
        unit.change(domain.apply_disputes(payment, [snapshot], now))
        return True
    if isinstance(snapshot, ChargeRefunded):
        # The refund's own event shows more. If this sum is larger than the known refunds, one of them is missing.
        made = sum(refund.amount for refund in payment.refunds if refund.stripe_refund_id is not None)
        return (
            snapshot.amount_refunded <= made or snapshot.amount_refunded == payment.amount_captured - payment.left
        )
    return True
