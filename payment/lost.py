"""What is done about rows that a database has lost, by what Stripe has of them. The rules are in `orphans.py`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter

from common.contracts.messages import (
    BookingUnknown,
    CancelPaymentIntent,
    CloseStrayIntent,
    PaymentCommand,
    RefundPayment,
    SyncPayment,
)
from common.contracts.statuses import IntentStatus
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, tell
from common.runtime.backoff import Retry
from payment import asking, orphans
from payment.asking import Nothing, Whole, side_by_side
from payment.domain import DRIVE_PAUSES
from payment.orphans import OrphanTerms, Owner, Place, Step, Stray, owner_of
from payment.payment_rows import PaymentRows
from payment.pictures import BOOKING_ID, INSTALLATION, REFUND_ID, StripeEvent, read_refund
from payment.refunds import FOR_PEOPLE, RefundPicture, RefundStatus
from payment.repository import Store
from payment.state import CREATING, Payment, Picture, Source, numbered_key
from payment.stripe_api import KeySpent, Refused, StripeApi, Unanswered
from payment.unit_of_work import UnitOfWork

# Of so many intents of others it is remembered that they were told of.
TOLD_MAX = 10_000

log = structlog.get_logger()


class LostRows:
    """Adopts intents whose row is gone, and ends what belongs to no booking."""

    def __init__(
        self,
        store: Store,
        stripe: StripeApi,
        clock: Callable[[], datetime],
        found: Counter,
        terms: OrphanTerms,
        asking_seconds: float,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._clock = clock
        self._found = found
        self._terms = terms
        self._asking_seconds = asking_seconds
        self._told: dict[str, None] = {}
        self.commands: Handlers = {BookingUnknown: self.take_unknown, CloseStrayIntent: self.close_strays}

    # --- events of what no row knows

    def judge(self, event: StripeEvent, payment: Payment | None, installation: UUID) -> Place:
        """Where an event belongs. What is another installation's, or cannot be told whose it is, is told aloud."""
        if payment is not None and event.intent_id is not None and event.intent_id == payment.intent_id:
            return Place.ROW
        owner = owner_of(event, installation)
        if owner is Owner.FOREIGN:
            self._tell_of("foreign", "intent of another installation", event)
            return Place.NOWHERE
        place = orphans.place_of(event, payment, owner)
        harmless = isinstance(event.shows, Picture) and orphans.harmless(event.shows)
        if place is Place.NOWHERE and owner is Owner.UNMARKED and not harmless:
            # Made before installations had ids: the booking names it where it is ours.
            self._tell_of("unmarked", "intent that no row knows", event)
        elif place is Place.NOWHERE:
            log.info("event of another's payment", id=event.id, type=event.type, object=event.object_id)
        return place

    def _tell_of(self, kind: str, what: str, event: StripeEvent) -> None:
        """Each intent once: an account that is shared has many events of each."""
        intent = event.intent_id or event.object_id or event.id
        if intent in self._told:
            return
        self._told[intent] = None
        if len(self._told) > TOLD_MAX:
            del self._told[next(iter(self._told))]
        self._found.labels(kind).inc()
        log.error(
            what,
            intent=intent,
            booking=str(event.booking_id),
            installation=event.installation,
            id=event.id,
            type=event.type,
        )

    async def foreign_accounts(self, events: Sequence[StripeEvent]) -> set[str]:
        """The ids of the events that are of another account: https://docs.stripe.com/connect/webhooks. Such a one
        proves nothing, whatever its metadata says."""
        named = [event for event in events if event.account is not None]
        if not named:
            return set()
        own = await self._store.stripe_account()
        foreign = [event for event in named if event.account != own]
        for event in foreign:
            self._found.labels("foreign_account").inc()
            log.error("event of another account", id=event.id, type=event.type, account=event.account, own=own)
        return {event.id for event in foreign}

    async def note(
        self, transaction: PaymentRows, lost: Sequence[StripeEvent], strays: Sequence[StripeEvent], now: datetime
    ) -> None:
        """Remember intents that no row has, in the transaction of their events: they are driven from there, until
        the row is back (`lost`) or, where the booking is paid by another one, they have ended (`strays`)."""
        pictures = {each.intent_id: each for each in strays if isinstance(each.shows, Picture)}
        found = [self._found_by(event, now) for event in pictures.values()]
        await self._add_strays(transaction, found)
        without_row = {event.intent_id: self._found_by(event, now) for event in lost}
        await transaction.strays.add(sorted(without_row.values(), key=lambda stray: stray.intent_id))
        others = {event.intent_id for event in strays if event.intent_id is not None} - pictures.keys()
        await transaction.strays.again(sorted(others), now)

    def _found_by(self, event: StripeEvent, now: datetime) -> Stray:
        assert event.intent_id is not None
        assert event.booking_id is not None
        shows = event.shows
        status, received = IntentStatus.REQUIRES_PAYMENT_METHOD, 0  # a refund does not say
        if isinstance(shows, Picture):
            status, received = shows.status, shows.amount_captured
        return orphans.found_stray(event.intent_id, event.booking_id, status, received, now, self._terms)

    def _stray(self, booking_id: UUID, picture: Picture, now: datetime) -> Stray:
        return orphans.found_stray(
            picture.intent_id, booking_id, picture.status, picture.amount_captured, now, self._terms
        )

    async def _add_strays(self, transaction: PaymentRows, strays: Sequence[Stray]) -> None:
        new = await transaction.strays.add(sorted(strays, key=lambda stray: stray.intent_id))
        for stray in strays:
            if stray.intent_id in new:
                self._found.labels("stray").inc()
                log.error(
                    "stray intent",
                    booking=str(stray.booking_id),
                    intent=stray.intent_id,
                    status=stray.status,
                    received=stray.amount_received,
                )

    # --- adoption

    async def recover(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Bring rows back from the intents that these messages name; says of which messages the row has that intent
        now. Everything that Stripe has of such an intent is taken over at once."""
        messages: dict[UUID, PaymentCommand] = {}
        for delivery in deliveries:
            messages.setdefault(delivery.message.booking_id, delivery.message)
        deadline = _in(self._asking_seconds)
        wholes = await side_by_side(self._fetch(message, deadline) for message in messages.values())
        installation = await self._store.installation()
        found = [
            (message, whole)
            for message, whole in zip(messages.values(), wholes, strict=True)
            if whole is not None and _is_of(message, whole.picture, installation)
        ]
        back = await self._adopt(found) if found else set()
        return [each for each in deliveries if (each.message.booking_id, each.message.intent_id) in back]

    async def _fetch(self, message: PaymentCommand, deadline: float) -> Whole | None:
        now = self._clock()
        assert message.intent_id is not None
        whole = await asking.fetch(self._stripe, _asked_for(message.booking_id, message.intent_id, now), deadline)
        return whole if isinstance(whole, Whole) else None

    async def _adopt(self, found: Sequence[tuple[PaymentCommand, Whole]]) -> set[tuple[UUID, str | None]]:
        now = self._clock()
        ids = [message.booking_id for message, _ in found]
        unit = self._unit()
        async with unit.careful(ids) as transaction:
            new = [
                orphans.lost_payment(
                    message.booking_id, whole.picture, message.booking_amount, message.booking_currency, now
                )
                for message, whole in found
                if message.booking_id not in unit.payments
            ]
            if new:
                await transaction.insert(new)
                unit.take(await transaction.lock(ids))
            strays: list[Stray] = []
            for message, whole in found:
                strays += self._take(unit, message, whole, now)
            await self._add_strays(transaction, strays)
            known = [payment.intent_id for payment in unit.payments.values()]
            await transaction.strays.drop([intent for intent in known if intent is not None])
        return {(id, payment.intent_id) for id, payment in unit.payments.items()}

    def _unit(self) -> UnitOfWork:
        return UnitOfWork(self._store, self._stripe.metrics)

    def _take(self, unit: UnitOfWork, message: PaymentCommand, whole: Whole, now: datetime) -> list[Stray]:
        """Give the row its intent (back); says which intent is a stray then."""
        old = unit.payments[message.booking_id]
        picture = replace(whole.picture, of_version=None)
        if old.intent_id == picture.intent_id:
            return []  # somebody else was faster
        strays = []
        if old.intent_id is not None:
            if not _named_by_booking(message):
                stray = self._stray(message.booking_id, picture, now)
                return [] if orphans.harmless(picture) else [_decided(stray, message)]
            if old.refunds:
                log.error(
                    "payment of another intent has refunds", booking=str(old.booking_id), intent=old.intent_id
                )
                return []
            if old.live or old.amount_captured:
                strays = [_stray_of(old, now, self._terms)]
        if old.intent_id is not None or old.terminal:
            unit.change(orphans.reopened(old, picture))
        unit.see_whole(old.booking_id, replace(whole, picture=picture), now)
        self._found.labels("adopted").inc()
        log.error(
            "lost payment adopted",
            booking=str(old.booking_id),
            intent=picture.intent_id,
            status=picture.status,
            captured=picture.amount_captured,
        )
        return strays

    async def decide(self, deliveries: Sequence[Delivery]) -> None:
        """An operator has decided: what belongs to no booking goes back."""
        ids = [each.message.booking_id for each in deliveries if each.message.decided]
        if not ids:
            return
        now = self._clock()
        unit = self._unit()
        async with unit.careful(ids) as transaction:
            for payment in tuple(unit.payments.values()):
                unit.change(payment._replace(return_decided=True))
            await transaction.strays.decide(sorted(ids), now)

    # --- payments without a booking

    async def take_unknown(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Booking has no such bookings: their intents are canceled, their money goes back after a grace time."""
        causes: dict[UUID, Delivery] = {each.message.booking_id: each for each in deliveries}
        now = self._clock()
        unit = self._unit()
        async with unit.careful(list(causes)) as transaction:
            before = dict(unit.payments)
            new = [payment for payment in before.values() if payment.orphaned_at is None]
            held_back = await self._too_many(transaction, len(new), now)
            for payment in before.values():
                orphan = orphans.orphaned(payment, now, self._terms)
                unit.change(orphans.settled_orphan(orphan, now, held_back=held_back))
        for payment in new:
            log.error(
                "payment of an unknown booking",
                booking=str(payment.booking_id),
                intent=payment.intent_id,
                status=payment.status,
                captured=payment.amount_captured,
            )
        return _follow(unit.payments, before, causes)

    async def _too_many(self, transaction: PaymentRows, more: int, now: datetime) -> bool:
        count = await transaction.strays.count(now - self._terms.grace) + more
        if count <= self._terms.most:
            return False
        log.error("too many orphans: nothing is done by itself", orphans=count, most=self._terms.most)
        return True

    async def held_back(self) -> str | None:
        """For operators: there are too many orphans for anything to be done by itself. None when all is well."""
        async with self._store.reading() as rows:
            count = await rows.strays.count(self._clock() - self._terms.grace)
        return (
            f"{count} orphans, more than {self._terms.most}: holdfast repair" if count > self._terms.most else None
        )

    # --- strays

    async def close_strays(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """One step for each: cancel it, or give back what it has brought."""
        now, deadline = self._clock(), _in(self._asking_seconds)
        causes = {each.message.intent_id: each for each in deliveries}
        async with self._store.transaction() as transaction:
            known = await transaction.strays.lock(sorted(causes))
            open = [stray for stray in known.values() if stray.drive_after is not None]
            payments = await transaction.load([stray.booking_id for stray in open])
            rows = {stray.intent_id: payments.get(stray.booking_id) for stray in open}
            await transaction.strays.drop(
                [id for id, payment in rows.items() if payment and payment.intent_id == id]
            )
            lost = [stray for stray in open if orphans.without_intent(rows[stray.intent_id])]
            strays = [stray for stray in open if _is_beside(stray, rows[stray.intent_id])]
            if strays and await self._too_many(transaction, 0, now):
                held = [stray for stray in strays if not stray.return_decided]
                await transaction.strays.save(
                    [replace(stray, drive_after=now + orphans.HELD_BACK) for stray in held]
                )
                strays = [stray for stray in strays if stray.return_decided]
        await side_by_side(self._close(stray, now, deadline) for stray in strays)
        return [tell(_adoption(stray), stray.booking_id, cause=causes[stray.intent_id]) for stray in lost]

    async def _close(self, stray: Stray, now: datetime, deadline: float) -> None:
        asked = _asked_for(stray.booking_id, stray.intent_id, now)
        whole = await asking.fetch(self._stripe, asked, deadline)
        if not isinstance(whole, Whole):
            if whole is Nothing.REFUSED:
                await self._save_stray(stray, _later(stray, now))
            return  # it is driven again
        refunds = whole.refunds or ()
        seen = replace(stray, status=whole.picture.status, amount_received=whole.picture.amount_captured)
        step = orphans.step_of(seen, refunds, now)
        if step is Step.CANCEL:
            picture = await asking.cancel_intent(self._stripe, asked, deadline)
            if isinstance(picture, Picture):
                seen = replace(seen, status=picture.status, amount_received=picture.amount_captured)
            # Canceled or paid after all: the next look decides. Else it lives on, as while money is on its way.
            await self._save_stray(stray, _again(seen, now) if orphans.has_ended(seen) else _later(seen, now))
        elif step is Step.TIME:
            await self._save_stray(stray, replace(seen, drive_after=stray.return_after, drive_attempts=0))
        elif step is Step.REFUND:
            await self._return(stray, seen, refunds, now, deadline)
        else:
            if step is Step.PERSON:
                own = orphans.own_refund(stray, refunds)
                self._refund_failed(stray, own.reason if own else None)
            await self._save_stray(stray, _with_refund(replace(seen, drive_after=None, drive_attempts=0), refunds))

    async def _return(
        self, stray: Stray, seen: Stray, refunds: Sequence[RefundPicture], now: datetime, deadline: float
    ) -> None:
        """Give back what is left of it. The refund and its id are in the row before Stripe is asked."""
        amount = orphans.rest_of(seen, refunds)
        refund_id = orphans.refund_id_of(seen)
        asked = replace(
            seen, refund_id=refund_id, refund_amount=amount, refund_status=RefundStatus.REQUESTED,
            drive_after=stray.drive_after,
        )  # fmt: skip
        if not await self._save_stray(stray, asked):
            return  # another has it in hand
        if stray.refund_id is None:
            _log_error("money of a stray intent goes back", stray, amount=amount)
        installation = await self._store.installation()
        try:
            answer = await self._stripe.create_refund(
                intent_id=stray.intent_id,
                amount=amount,
                metadata={
                    BOOKING_ID: str(stray.booking_id),
                    REFUND_ID: str(refund_id),
                    INSTALLATION: str(installation),
                },
                key=numbered_key(refund_id, asked.key_number),
                deadline=deadline,
            )
        except Refused as refusal:
            # A first answer is kept under its key, refusals too: the next look decides by Stripe's list.
            after = replace(_later(asked, now), key_number=asked.key_number + 1)
            if refusal.code in FOR_PEOPLE:
                self._refund_failed(stray, refusal.code)
                after = replace(after, refund_status=RefundStatus.FAILED, drive_after=None, drive_attempts=0)
            else:
                _log_error("refund refused", stray, code=refusal.code)
            await self._save_stray(asked, after)
        except KeySpent:
            await self._save_stray(asked, replace(_again(asked, now), key_number=asked.key_number + 1))
        except Unanswered:
            return  # driven again, under the same key
        else:
            await self._save_stray(asked, _with_refund(_again(asked, now), [read_refund(answer.body)]))

    def _refund_failed(self, stray: Stray, code: str | None) -> None:
        """It is a person's now."""
        self._stripe.metrics.failed_refunds.labels(code or "unknown").inc()
        _log_error("refund failed", stray, code=code, stray=True)

    async def _save_stray(self, before: Stray, after: Stray) -> bool:
        """False when the row is not any more as it was before: somebody else has gone on with it, or has news of it
        that has to be looked at."""
        async with self._store.transaction() as transaction:
            now = (await transaction.strays.lock([before.intent_id])).get(before.intent_id)
            if now is None or replace(now, return_decided=before.return_decided) != before:
                return False
            await transaction.strays.save([replace(after, return_decided=now.return_decided)])
            return True


def _log_error(event: str, stray: Stray, /, **more: Any) -> None:
    log.error(event, booking=str(stray.booking_id), intent=stray.intent_id, **more)


def _in(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def _named_by_booking(message: PaymentCommand) -> bool:
    """Only the booking says what it costs; what payment has seen at Stripe, and repair, name the intent alone."""
    return message.booking_amount is not None


def lost_ones(deliveries: Sequence[Delivery], payments: Mapping[UUID, Payment]) -> list[Delivery]:
    """The messages that name an intent which is not their row's, where that is not just about to get one."""
    return [each for each in deliveries if _is_lost(each.message, payments.get(each.message.booking_id))]


def _is_lost(message: PaymentCommand, payment: Payment | None) -> bool:
    if message.intent_id is None:
        return False
    if payment is None or orphans.without_intent(payment):
        return True
    return payment.intent_id is not None and payment.intent_id != message.intent_id


def _is_of(message: PaymentCommand, picture: Picture, installation: UUID) -> bool:
    """The intent is the one that was made for this booking, by us."""
    owner = owner_of(picture, installation)
    decided = isinstance(message, SyncPayment) and message.decided
    known = owner is Owner.UNMARKED and (decided or _named_by_booking(message))
    if picture.booking_id == message.booking_id and (owner is Owner.OURS or known):
        return True
    log.error("intent not adopted", booking=str(message.booking_id), intent=picture.intent_id, owner=owner.value)
    return False


def _asked_for(booking_id: UUID, intent_id: str, now: datetime) -> Payment:
    """As much of a payment as is needed to ask Stripe for its intent."""
    empty = orphans.lost_payment(booking_id, _NO_PICTURE, 0, None, now)
    return empty._replace(intent_id=intent_id)


_NO_PICTURE = Picture("", CREATING, Source.FETCHED, None)


def _decided(stray: Stray, message: PaymentCommand) -> Stray:
    return replace(stray, return_decided=isinstance(message, SyncPayment) and message.decided)


def _stray_of(payment: Payment, now: datetime, terms: OrphanTerms) -> Stray:
    assert payment.intent_id is not None
    return orphans.found_stray(
        payment.intent_id, payment.booking_id, payment.status, payment.amount_captured, now, terms
    )


def _is_beside(stray: Stray, payment: Payment | None) -> bool:
    """The booking is paid by another intent. A row that is about to get one may get this one."""
    return payment is not None and payment.intent_id not in (None, stray.intent_id)


def _adoption(stray: Stray) -> SyncPayment:
    return SyncPayment(booking_id=stray.booking_id, intent_id=stray.intent_id)


def _with_refund(stray: Stray, refunds: Sequence[RefundPicture]) -> Stray:
    own = orphans.own_refund(stray, refunds)
    return stray if own is None else replace(stray, refund_status=own.status)


def _again(stray: Stray, now: datetime) -> Stray:
    """At once: something has changed at Stripe."""
    return replace(stray, drive_after=now, drive_attempts=0)


def _later(stray: Stray, now: datetime) -> Stray:
    pause = Retry(DRIVE_PAUSES.most, orphans.HELD_BACK).pause(stray.drive_attempts, random.random())
    return replace(stray, drive_after=now + pause, drive_attempts=stray.drive_attempts + 1)


def _follow(
    after: Mapping[UUID, Payment], before: Mapping[UUID, Payment], causes: Mapping[UUID, Delivery]
) -> list[Envelope]:
    """What orphans are to be asked of Stripe: each is in its row, and driven from there if this is lost."""
    envelopes = []
    for id, payment in after.items():
        if payment.cancel_requested and not before[id].cancel_requested:
            envelopes.append(tell(CancelPaymentIntent(booking_id=id), id, cause=causes[id]))
        for refund in payment.refunds:
            if before[id].refund(refund.id) is None:
                log.error(
                    "money of an unknown booking goes back",
                    booking=str(id),
                    intent=payment.intent_id,
                    amount=refund.amount,
                )
            if refund.unmade:
                message = RefundPayment(booking_id=id, refund_id=refund.id, amount=refund.amount)
                envelopes.append(tell(message, id, cause=causes[id]))
    return envelopes
