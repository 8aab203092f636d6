"""Rows that a database has lost are restored from Stripe's objects. The rules are in `orphans.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import structlog

from common.contracts.messages import (
    BookingUnknown,
    CancelPaymentIntent,
    CloseStrayIntent,
    PaymentCommand,
    RefundPayment,
    SyncPayment,
)
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, envelope_for
from payment import orphans, stripe_calls
from payment.orphans import Match, Origin, Stray, match_of, origin_of
from payment.payment_rows import PaymentRows
from payment.state import IntentSnapshot, Payment
from payment.strays import Strays
from payment.stripe_calls import FetchedPayment, side_by_side
from payment.stripe_objects import StripeEvent
from payment.unit_of_work import UnitOfWork

# The most intents of others that are remembered as logged, so that memory is bounded.
LOGGED_MAX = 10_000

log = structlog.get_logger()


class LostRows:
    """Adopts intents whose row is lost, and closes payments and intents that belong to no booking."""

    def __init__(self, strays: Strays) -> None:
        self._strays, self._store, self._stripe, self._clock = strays, strays.store, strays.stripe, strays.clock
        self._logged: dict[str, None] = {}
        self.commands: Handlers = {BookingUnknown: self.booking_unknown, CloseStrayIntent: strays.close}

    # --- Stripe events without a row

    def judge(self, event: StripeEvent, payment: Payment | None, installation: UUID) -> Match:
        """Where a Stripe event belongs. If it is not ours, or its origin is unknown, that is logged."""
        origin = origin_of(event, installation)
        match = orphans.match_of_event(event, payment, origin)
        if match is not Match.NOWHERE:
            return match
        if origin is Origin.FOREIGN:
            self._log_once("foreign", "intent of another installation", event)
        elif origin is Origin.UNMARKED and not orphans.harmless(event.snapshot):
            # Created before installations had ids: if it is ours, a message of its booking names it.
            self._log_once("unmarked", "intent that no row knows", event)
        else:
            log.info("event of another's payment", id=event.id, type=event.type, object=event.object_id)
        return match

    def _log_once(self, kind: str, text: str, event: StripeEvent) -> None:
        """Log each intent once: with a shared account, many Stripe events of it arrive."""
        intent = event.intent_id or event.object_id or event.id
        if intent in self._logged:
            return
        self._logged[intent] = None
        if len(self._logged) > LOGGED_MAX:
            del self._logged[next(iter(self._logged))]
        self._strays.found.labels(kind).inc()
        log.error(
            text,
            intent=intent,
            booking=str(event.booking_id),
            installation=event.installation,
            id=event.id,
            type=event.type,
        )

    async def foreign_accounts(self, events: Sequence[StripeEvent]) -> set[str]:
        """The ids of the Stripe events of another account: https://docs.stripe.com/connect/webhooks. They prove
        nothing, whatever their metadata says."""
        named = [event for event in events if event.account is not None]
        own = await self._store.stripe_account() if named else None
        foreign = [event for event in named if event.account != own]
        for event in foreign:
            self._strays.found.labels("foreign_account").inc()
            log.error("event of another account", id=event.id, type=event.type, account=event.account, own=own)
        return {event.id for event in foreign}

    async def record(
        self, transaction: PaymentRows, events: Sequence[tuple[StripeEvent, Match]], now: datetime
    ) -> None:
        """Save intents that no row has, in the transaction of their Stripe events: they have retry times until the
        row is restored or, if the booking has another intent, until they are closed."""
        found: dict[Match, dict[str, Stray]] = {Match.LOST: {}, Match.STRAY: {}}
        for event, match in events:
            if event.intent_id is not None and event.booking_id is not None:
                shown = event.snapshot if isinstance(event.snapshot, IntentSnapshot) else None
                found[match][event.intent_id] = self._strays.new(event.intent_id, event.booking_id, shown, now)
        await transaction.strays.add(list(found[Match.LOST].values()))
        await self._strays.add(transaction, list(found[Match.STRAY].values()))

    # --- adoption

    async def recover(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Restore rows from the intents that these messages name, with all that Stripe has of such an intent.
        Returns the messages whose row now has the intent that they name."""
        # The first for each booking.
        messages = {each.message.booking_id: each.message for each in reversed(deliveries)}
        now, deadline = self._clock(), asyncio.get_running_loop().time() + self._strays.calls_seconds
        asked = [orphans.asked_for(id, str(message.intent_id), now) for id, message in messages.items()]
        all_fetched = await side_by_side(stripe_calls.fetch(self._stripe, payment, deadline) for payment in asked)
        installation = await self._store.installation()
        found = [
            (message, fetched)
            for message, fetched in zip(messages.values(), all_fetched, strict=True)
            if isinstance(fetched, FetchedPayment) and _is_of(message, fetched.intent, installation)
        ]
        back = await self._adopt(found) if found else set()
        return [each for each in deliveries if (each.message.booking_id, each.message.intent_id) in back]

    async def _adopt(self, found: Sequence[tuple[PaymentCommand, FetchedPayment]]) -> set[tuple[UUID, str | None]]:
        now = self._clock()
        ids = [message.booking_id for message, _ in found]
        unit = UnitOfWork(self._store, self._stripe.metrics)
        async with unit.locked(ids) as transaction:
            new = [
                orphans.lost_payment(message, fetched.intent, now)
                for message, fetched in found
                if message.booking_id not in unit.payments
            ]
            if new:
                await transaction.insert(new)
                unit.add(await transaction.lock(ids))
            strays = [
                stray for message, fetched in found for stray in self._adopt_intent(unit, message, fetched, now)
            ]
            await self._strays.add(transaction, strays)
            await transaction.strays.drop([each.intent_id for each in unit.payments.values() if each.intent_id])
        return {(id, payment.intent_id) for id, payment in unit.payments.items()}

    def _adopt_intent(
        self, unit: UnitOfWork, message: PaymentCommand, fetched: FetchedPayment, now: datetime
    ) -> list[Stray]:
        """Put the intent into the row; returns the intent that is then a stray, if there is one."""
        old = unit.payments[message.booking_id]
        intent = fetched.intent._replace(of_version=None)
        if old.intent_id == intent.intent_id:
            return []  # another process was faster
        strays = []
        if old.intent_id is not None:
            if not _named_by_booking(message):
                decided = isinstance(message, SyncPayment) and message.decided
                stray = self._strays.new(intent.intent_id, old.booking_id, intent, now)
                by = message.requester if decided else None
                stray = replace(stray, return_decided=decided, return_decided_by=by)
                return [] if orphans.harmless(intent) else [stray]
            if old.refunds:
                log.error(
                    "payment of another intent has refunds", booking=str(old.booking_id), intent=old.intent_id
                )
                return []
            if old.live or old.amount_captured:
                strays = [self._strays.new(old.intent_id, old.booking_id, old, now)]
        if old.intent_id is not None or old.terminal:
            unit.change(orphans.reopened(old, intent))
        unit.apply_fetched(old.booking_id, replace(fetched, intent=intent), now)
        self._strays.found.labels("adopted").inc()
        log.error(
            "lost payment adopted",
            booking=str(old.booking_id),
            intent=intent.intent_id,
            status=intent.status,
            captured=intent.amount_captured,
        )
        return strays

    async def decide(self, deliveries: Sequence[Delivery]) -> None:
        """An operator has decided that money without a booking is refunded now: save that."""
        decided = {each.message.booking_id: each.message.by for each in deliveries if each.message.decided}
        if not decided:
            return
        now = self._clock()
        unit = UnitOfWork(self._store, self._stripe.metrics)
        async with unit.locked(list(decided)) as transaction:
            for id, payment in tuple(unit.payments.items()):
                unit.change(payment._replace(return_decided=True, return_decided_by=decided[id]))
            await transaction.strays.decide(decided, now)

    # --- payments without a booking

    async def booking_unknown(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Booking has no such bookings: their intents are canceled, their money is refunded after a grace time."""
        causes: dict[UUID, Delivery] = {each.message.booking_id: each for each in deliveries}
        now = self._clock()
        unit = UnitOfWork(self._store, self._stripe.metrics)
        async with unit.locked(list(causes)) as transaction:
            new = [payment for payment in unit.payments.values() if payment.orphaned_at is None]
            held_back = await self._strays.too_many(transaction, len(new))
            commands: list[PaymentCommand] = []
            for payment in tuple(unit.payments.values()):
                orphan = orphans.handled_orphan(payment, now, self._strays.terms.grace, held_back=held_back)
                unit.change(orphan)
                commands += _stripe_commands(orphan, before=payment)
        for payment in new:
            log.error(
                "payment of an unknown booking",
                booking=str(payment.booking_id),
                intent=payment.intent_id,
                status=payment.status,
                captured=payment.amount_captured,
            )
        return [envelope_for(command, command.booking_id, cause=causes[command.booking_id]) for command in commands]

    async def held_back(self) -> str | None:
        """A notice for operators if there are too many orphans to act without an operator; else None."""
        async with self._store.reading() as rows:
            count = await rows.strays.count(self._clock() - self._strays.terms.grace)
        most = self._strays.terms.most
        return f"{count} orphans, more than {most}: holdfast repair" if count > most else None


def _stripe_commands(orphan: Payment, before: Payment) -> list[PaymentCommand]:
    """The commands for what Stripe must now do about an orphan. Its row has retry times in case they are lost."""
    id = orphan.booking_id
    new = [refund for refund in orphan.refunds if before.refund(refund.id) is None]
    for refund in new:
        log.error(
            "money of an unknown booking goes back",
            booking=str(id),
            intent=orphan.intent_id,
            amount=refund.amount,
            by=refund.by,
        )
    cancels = [CancelPaymentIntent(booking_id=id)] if orphan.must_be_canceled > before.must_be_canceled else []
    refunds = [RefundPayment(booking_id=id, refund_id=each.id, amount=each.amount, by=each.by) for each in new]
    return [*cancels, *refunds]


def _named_by_booking(message: PaymentCommand) -> bool:
    """The message is from booking: those of payment itself and of `holdfast repair` have no amount."""
    return message.booking_amount is not None


def lost_ones(deliveries: Sequence[Delivery], payments: Mapping[UUID, Payment]) -> list[Delivery]:
    """The messages that name an intent which their booking's row does not have and does not wait for."""
    return [
        each
        for each in deliveries
        if (intent_id := each.message.intent_id) is not None
        and match_of(intent_id, payments.get(each.message.booking_id)) is not Match.ROW
    ]


def _is_of(message: PaymentCommand, intent: IntentSnapshot, installation: UUID) -> bool:
    """We have created this intent for this booking."""
    origin = origin_of(intent, installation)
    decided = isinstance(message, SyncPayment) and message.decided
    known = origin is Origin.UNMARKED and (decided or _named_by_booking(message))
    if intent.booking_id == message.booking_id and (origin is Origin.OURS or known):
        return True
    log.error("intent not adopted", booking=str(message.booking_id), intent=intent.intent_id, origin=origin.value)
    return False
