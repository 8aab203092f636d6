"""What each message does: load, decide by the rules, ask Stripe outside any transaction, save, report.

Every handler is correct when its message comes late, twice or never. A request that Stripe does not answer stays in
the database with a retry time (`reconciler.py`); the message has not failed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from common.contracts.messages import (
    CancelPaymentIntent,
    CreatePaymentIntent,
    PaymentReportApplied,
    PaymentReportsApplied,
    RefundPayment,
    StripeEventReceived,
    SyncPayment,
)
from common.contracts.values import Rejection
from common.messaging.batch import Handler, Handlers
from common.messaging.envelope import Delivery, Envelope
from payment import domain, stripe_calls
from payment.domain import REFUSED_PAUSES, RETRY_PAUSES
from payment.intent_commands import retry_command, wanted
from payment.lost import LostRows, lost_ones
from payment.rate_limiter import Priority
from payment.refund_commands import RefundCommands
from payment.reports import report
from payment.repository import Store
from payment.state import CANCELED, CREATING, IntentSnapshot, Payment
from payment.stripe_api import StripeApi
from payment.stripe_calls import FetchedPayment, NoAnswer, side_by_side
from payment.stripe_events import StripeEvents
from payment.unit_of_work import UnitOfWork

# The result of a request for a payment's intent, or to cancel it.
Answer = IntentSnapshot | Rejection | NoAnswer

log = structlog.get_logger()


class PaymentHandlers:
    """The payment actor's handlers. They wait `*_calls_seconds` for Stripe, then the retry time takes over."""

    def __init__(
        self,
        store: Store,
        stripe: StripeApi,
        clock: Callable[[], datetime],
        lost: LostRows,
        *,
        intent_calls_seconds: float,
        command_calls_seconds: float,
        deferred_calls_seconds: float,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._clock = clock
        self._lost = lost
        self._intent_calls_seconds = intent_calls_seconds
        self._command_calls_seconds = command_calls_seconds
        self._deferred_calls_seconds = deferred_calls_seconds
        self._walks: stripe_calls.Walks = {}
        self._refunds = RefundCommands(store, stripe, clock, lost)
        self.events = StripeEvents(store, stripe.metrics, clock, lost)
        self.intents: Handlers = {CreatePaymentIntent: self.create_intents}
        # The same for what owners ask beyond their share: each of its Stripe calls waits behind all others.
        self.deferred: Handlers = {
            CreatePaymentIntent: partial(self._defer, self.create_intents),
            CancelPaymentIntent: partial(self._defer, self.cancel_intents),
        }
        self.webhooks: Handlers = {StripeEventReceived: self.events.apply_messages}
        self.commands: Handlers = {
            CancelPaymentIntent: self.cancel_intents,
            SyncPayment: self.sync,
            RefundPayment: self.refund,
            PaymentReportApplied: self.reports_applied,
            PaymentReportsApplied: self.reports_applied,
            **lost.commands,
        }

    def _unit(self, causes: Mapping[UUID, Delivery]) -> UnitOfWork:
        return UnitOfWork(self._store, self._stripe.metrics, causes)

    async def _defer(self, handle: Any, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        answered: Iterable[Envelope] = await handle(deliveries, deferred=True)
        return answered

    async def create_intents(self, deliveries: Sequence[Delivery], *, deferred: bool = False) -> Iterable[Envelope]:
        """Save payments, ask Stripe to create their intents, save the results: for new ones, one statement each."""
        causes = _by_booking(deliveries)
        installation = await self._store.installation()
        now = self._clock()
        deadline = _in(self._deferred_calls_seconds if deferred else self._intent_calls_seconds)
        priority = Priority.DEFERRED if deferred else Priority.INTENTS
        asked = {id: wanted(cause.message, now, deferred=deferred) for id, cause in causes.items()}
        async with self._store.statement() as rows:
            new = await rows.insert(list(asked.values()))
        unmade = [asked[id]._replace(revision=revision) for id, revision in new.items()]
        known: dict[UUID, Payment] = {}
        if len(new) < len(causes):
            async with self._store.reading() as rows:
                known = await rows.load(list(causes.keys() - new.keys()))
        unmade += [payment for payment in known.values() if payment.status is CREATING]
        reports = [
            each for id, payment in known.items() for each in report(payment, causes[id].envelope.traceparent)
        ]
        if not unmade:
            return reports
        answers = await side_by_side(
            stripe_calls.make_intent(self._stripe, payment, installation, now, deadline, self._walks, priority)
            for payment in unmade
        )
        return [*reports, *await self._apply_answers(unmade, answers, causes, _apply_intent)]

    async def _apply_answers(
        self,
        asked: Sequence[Payment],
        answers: Sequence[Answer],
        causes: dict[UUID, Delivery],
        apply: Callable[[UnitOfWork, Payment, Answer, datetime, datetime], None],
    ) -> list[Envelope]:
        """Apply Stripe's answer to each payment: in one statement if no other process has written its row since it
        was read, else by the locked path. A request without an answer gets a retry time."""
        now, stripe_now = self._clock(), self._stripe.clock.now()
        answered = {payment.booking_id: answer for payment, answer in zip(asked, answers, strict=True)}

        def apply_all(unit: UnitOfWork) -> None:
            for id, payment in tuple(unit.payments.items()):
                apply(unit, payment, answered[id], now, stripe_now)

        unit = self._unit(causes)
        if self._store.payments.entries_max:
            # An attempt is counted once, and only the database knows whether it was counted already.
            unit.add({each.booking_id: each for each in asked if not _shows_attempt(answered[each.booking_id])})
            apply_all(unit)
            await unit.save()
        envelopes = unit.follow_ups()
        if not (rest := answered.keys() - unit.payments.keys()):
            return envelopes
        unit = self._unit(causes)
        async with unit.locked(list(rest), snapshots=[answered[id] for id in rest]):
            # A row is missing if the database was restored to an earlier state: booking will ask for it again.
            apply_all(unit)
        return [*envelopes, *unit.follow_ups()]

    async def cancel_intents(self, deliveries: Sequence[Delivery], *, deferred: bool = False) -> Iterable[Envelope]:
        """Cancel the intents of these payments. If one was paid before, that is reported."""
        causes = _by_booking(deliveries)
        now = self._clock()
        deadline = _in(self._deferred_calls_seconds if deferred else self._command_calls_seconds)
        priority = Priority.DEFERRED if deferred else Priority.MONEY
        unit = self._unit(causes)
        async with unit.locked(list(causes)) as rows:
            lost = lost_ones(deliveries, unit.payments)
            if never := causes.keys() - unit.payments.keys() - _bookings(lost):
                # There is no row, and the booking names no intent: none was ever asked for.
                await rows.insert([domain.never_wanted(id, now) for id in never])
                # Lock again: another process may have inserted one in between.
                unit.add(await rows.lock(list(causes)))
            for id, payment in tuple(unit.payments.items()):
                unit.change(domain.cancel(payment, now, deferred=deferred))
                if payment.terminal and id not in _bookings(lost):
                    unit.report(id)
        envelopes = unit.reports()
        live = [payment for payment in unit.payments.values() if payment.must_be_canceled]
        if live:
            answers = await side_by_side(
                stripe_calls.cancel_intent(self._stripe, each, deadline, priority) for each in live
            )
            envelopes += await self._apply_answers(live, answers, causes, _apply_cancel)
        return [*envelopes, *await self._retry_recovered(lost, self.cancel_intents)]

    async def _retry_recovered(self, lost: Sequence[Delivery], handle: Handler) -> Iterable[Envelope]:
        """Handle the messages whose lost rows could be restored; the others are published again later."""
        recovered = await self._lost.recover(lost) if lost else ()
        return await handle(recovered) if recovered else ()

    async def sync(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Compare with Stripe's own objects, and report in any case, because booking asked."""
        causes = _by_booking(deliveries)
        deadline = _in(self._command_calls_seconds)
        async with self._store.reading() as rows:
            payments = await rows.load(list(causes))
        lost = lost_ones(deliveries, payments)
        for id in causes.keys() - payments.keys() - _bookings(lost):
            log.warning("sync of an unknown payment", booking=str(id))
        await self._lost.decide(deliveries)
        known = [p for p in payments.values() if p.intent_id is not None and p.status is not CANCELED]
        all_fetched = await side_by_side(stripe_calls.fetch(self._stripe, payment, deadline) for payment in known)
        now = self._clock()
        unit = self._unit(causes)
        snapshots = [each.intent for each in all_fetched if isinstance(each, FetchedPayment)]
        async with unit.locked(list(payments), snapshots=snapshots):
            for payment, fetched in zip(known, all_fetched, strict=True):
                id = payment.booking_id
                if id not in unit.payments:
                    continue  # the database was restored to an earlier state
                if isinstance(fetched, FetchedPayment):
                    unit.apply_fetched(id, fetched, now)
                if fetched is not NoAnswer.OUTCOME_UNKNOWN:
                    unit.change(domain.checked(unit.payments[id], payment.conflicts))
            for payment in tuple(unit.payments.values()):
                if payment.terminal and not payment.amount_captured:
                    unit.change(domain.checked(payment, payment.conflicts))  # nothing was paid: nothing to fetch
        # A payment without an intent has nothing to compare: its intent is asked for again.
        creating = [p for p in unit.payments.values() if p.status is CREATING]
        unit.report(*(causes.keys() - _bookings(lost)))
        return [
            *unit.follow_ups(),
            *await self._retry_recovered(lost, self.sync),
            *(retry_command(payment, causes.get(payment.booking_id)) for payment in creating),
        ]

    async def refund(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Save the refunds with their ids, ask Stripe to make them, save the results."""
        return await self._refunds.refund(deliveries, _by_booking(deliveries), _in(self._command_calls_seconds))

    async def reports_applied(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """Booking has applied these versions: the newest version of a payment need not be reported again."""
        reports: list[PaymentReportApplied] = []
        for each in deliveries:
            reports += each.message.reports if isinstance(each.message, PaymentReportsApplied) else [each.message]
        versions = [(report.booking_id, report.version, report.conflict) for report in reports]
        for id in await self._store.applied(versions, self._clock()):
            log.error("payment is behind its booking: reported under a higher version", booking=str(id))
        return ()


def _shows_attempt(answer: Answer) -> bool:
    return isinstance(answer, IntentSnapshot) and answer.attempt is not None


def _apply_intent(unit: UnitOfWork, old: Payment, answer: Answer, now: datetime, stripe_now: datetime) -> None:
    if isinstance(answer, IntentSnapshot):
        unit.apply(old, answer, now)
        unit.report(old.booking_id)
        if domain.found_again(old, answer, stripe_now, now):
            # Fetch Stripe's own object with its refunds and disputes.
            unit.change(domain.conflicting(unit.payments[old.booking_id], now))
    elif isinstance(answer, Rejection):
        unit.change(domain.refused(old, answer, now))
    elif answer is NoAnswer.NEW_KEY:
        unit.change(domain.with_new_key(old, now))
    else:
        # Retry much later if Stripe refuses even to show the object.
        pauses = REFUSED_PAUSES if answer is NoAnswer.REFUSED else RETRY_PAUSES
        unit.change(domain.unanswered(old, now, pauses.pause(old.retry_count, random.random())))


def _apply_cancel(unit: UnitOfWork, old: Payment, answer: Answer, now: datetime, stripe_now: datetime) -> None:
    _apply_intent(unit, old, answer, now, stripe_now)
    if isinstance(answer, IntentSnapshot):
        # If Stripe did not cancel it (a payment is in progress), booking asks again.
        unit.change(domain.not_canceled(unit.payments[old.booking_id], now))


def _in(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def _bookings(deliveries: Sequence[Delivery]) -> set[UUID]:
    return {delivery.message.booking_id for delivery in deliveries}


def _by_booking(deliveries: Sequence[Delivery]) -> dict[UUID, Delivery]:
    """The first delivery for each booking: a second one in the same batch asks for the same thing."""
    found: dict[UUID, Delivery] = {}
    for delivery in deliveries:
        found.setdefault(delivery.message.booking_id, delivery)
    return found
