"""What Stripe's events do: each counts once, and moves its payment in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import orjson

from common.contracts.messages import SyncPayment
from common.messaging.envelope import Delivery, Envelope, tell
from payment import domain
from payment.disputes import DisputePicture
from payment.domain import Doubt, Payment, Picture
from payment.lost import LostRows
from payment.orphans import Place
from payment.pictures import ChargeRefunded, Json, StripeEvent, read_event
from payment.refunds import RefundPicture
from payment.repository import Store
from payment.stripe_api import StripeMetrics
from payment.unit_of_work import UnitOfWork


class Received(NamedTuple):
    """An event with the message that brought it."""

    event: StripeEvent
    delivery: Delivery


class StripeEvents:
    """Takes Stripe's events in, from the mailbox and from where webhooks arrive. An event of a payment that is not
    paid yet moves it in one statement, decided from memory; everything else goes the careful way."""

    def __init__(self, store: Store, metrics: StripeMetrics, clock: Callable[[], datetime], lost: LostRows) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._lost = lost

    async def take_messages(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """The handler of the mailbox `payment.webhooks`."""
        return await self.take([(orjson.loads(each.message.payload), each) for each in deliveries])

    async def take(self, events: Sequence[tuple[Json, Delivery]]) -> list[Envelope]:
        """Store events, move their payments; says what is to be published then. Raises KeyError, ValueError for
        what is no event."""
        read = [Received(read_event(json), delivery) for json, delivery in events]
        foreign = await self._lost.foreign_accounts([each.event for each in read])
        received = {each.event.id: each for each in read if each.event.id not in foreign}
        installation = await self._store.installation()
        told = await self._take_from_memory(received) if self._store.payments.entries_max else []
        return [*told, *await self._take_carefully(list(received.values()), installation)] if received else told

    async def _take_from_memory(self, received: dict[str, Received]) -> list[Envelope]:
        """Those that move payments which are not paid yet, where all events of a payment are of that kind. They are
        taken out of `received`."""
        groups: dict[UUID | None, list[Received]] = {}
        for each in received.values():
            groups.setdefault(each.event.booking_id, []).append(each)
        simple = {id: group for id, group in groups.items() if id is not None and all(map(_is_simple, group))}
        if not simple:
            return []
        batch, now = _Batch(UnitOfWork(self._store, self._metrics)), self._clock()
        await batch.unit.remember(simple.keys())
        taken: list[tuple[UUID, Received]] = []
        for id, payment in tuple(batch.unit.payments.items()):
            if all(each.event.intent_id == payment.intent_id for each in simple[id]):
                taken += [(id, each) for each in _oldest_first(simple[id])]
        for id, each in taken:
            batch.take(id, each, now)
        await batch.unit.save([(id, each.event) for id, each in taken], now)
        for id, each in taken:
            if id in batch.unit.payments:
                del received[each.event.id]
        return batch.envelopes()

    async def _take_carefully(self, received: Sequence[Received], installation: UUID) -> list[Envelope]:
        now = self._clock()
        events = [each.event for each in received]
        ids = [event.booking_id for event in events if event.booking_id is not None]
        intents = [event.intent_id for event in events if event.intent_id is not None]
        batch = _Batch(UnitOfWork(self._store, self._metrics))
        lost: list[StripeEvent] = []
        strays: list[StripeEvent] = []
        unit = batch.unit
        # Payments are locked before events are stored, as the one statement does.
        async with unit.careful(ids, intents, [event.shows for event in events]) as transaction:
            fresh = await transaction.store_events(events, now)
            of_intent = {p.intent_id: id for id, p in unit.payments.items() if p.intent_id}
            for each in _oldest_first(received):
                event = each.event
                if event.id not in fresh or event.shows is None:
                    continue
                id = of_intent.get(event.intent_id or "") or event.booking_id
                place = self._lost.judge(event, unit.payments.get(id) if id else None, installation)
                if place is Place.NOWHERE or id is None:
                    continue
                if place is Place.STRAY:
                    strays.append(event)
                elif place is Place.LOST:
                    lost.append(event)
                    batch.look(id, each, event.intent_id)
                else:
                    batch.take(id, each, now)
            await self._lost.note(transaction, lost, strays, now)
        return batch.envelopes()


class _Batch:
    """Events that are taken together, and what follows from them."""

    def __init__(self, unit: UnitOfWork) -> None:
        self.unit = unit
        self._causes: dict[UUID, Delivery] = {}
        # Payments that are to be compared with Stripe's own objects, by the intent where their row has lost it.
        self._looks: dict[UUID, str | None] = {}

    def take(self, id: UUID, received: Received, now: datetime) -> None:
        """Move the payment by its event. Where that does not say enough, Stripe's own object decides: never in a
        webhook's way."""
        before = self.unit.payments[id]
        self._causes[id] = received.delivery
        enough = _take_event(self.unit, before, received.event, now)
        after = self.unit.payments[id]
        # A row that has forgotten its intent, as nobody pays what was not told: disputes, which name no booking,
        # may have come before it was known whose they were.
        first_heard_paid = before.intent_id is None and after.amount_captured > 0
        if not enough or first_heard_paid:
            self.look(id, received)
            # The request to look may be lost: it is made again until Stripe's own object was seen.
            self.unit.change(domain.doubted(after, now))

    def look(self, id: UUID, received: Received, intent_id: str | None = None) -> None:
        """Have Stripe's own object looked at."""
        self._causes[id] = received.delivery
        self._looks.setdefault(id, None)
        if intent_id is not None:
            self._looks[id] = intent_id

    def envelopes(self) -> list[Envelope]:
        syncs = [
            tell(
                SyncPayment(booking_id=id, **({"intent_id": intent} if intent else {})), id, cause=self._causes[id]
            )
            for id, intent in self._looks.items()
        ]
        return [*self.unit.follow(self.unit.changed(), self._causes), *syncs]


def _is_simple(received: Received) -> bool:
    """It shows an intent and tells of no attempt, which counts once: that only the database knows."""
    shows = received.event.shows
    return isinstance(shows, Picture) and shows.attempt is None


def _oldest_first(received: Iterable[Received]) -> list[Received]:
    return sorted(received, key=lambda each: each.event.created)


def _take_event(unit: UnitOfWork, payment: Payment, event: StripeEvent, now: datetime) -> bool:
    """False where Stripe's own object has to be looked at."""
    shows = event.shows
    if isinstance(shows, Picture):
        return unit.see(payment, shows, now) is not Doubt.AMBIGUOUS
    if payment.terminal and not payment.amount_captured:
        return True  # none of it was ever captured: money that was only held, or of a stray intent
    if payment.intent_id is not None and event.intent_id not in (None, payment.intent_id):
        return True  # of a stray intent
    if isinstance(shows, RefundPicture):
        # Of a payment that is not known to be paid, refunds are not known either: an older picture, of one that has
        # failed since, would be taken for news.
        return bool(payment.amount_captured) and unit.see_refunds(payment, [shows], now)
    if isinstance(shows, DisputePicture):
        unit.see_disputes(payment, [shows], now)
        return True
    if isinstance(shows, ChargeRefunded):
        # The refund's own event says more; without it the sum would not be explained. Less is an older sum.
        made = sum(refund.amount for refund in payment.refunds if refund.stripe_refund_id is not None)
        return shows.amount_refunded <= made or shows.amount_refunded == payment.amount_captured - payment.left
    return True
