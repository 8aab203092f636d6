"""The payments of one batch: changed in memory by the rules, saved together, with the messages that follow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import structlog

from common.contracts.messages import CancelPaymentIntent, PaymentCommand, SyncPayment
from common.messaging.envelope import Delivery, Envelope, tell
from payment import domain
from payment.asking import Whole
from payment.payment_rows import PaymentRows
from payment.pictures import StripeEvent
from payment.refunds import DoesNotFit, Refund, RefundPicture, RefundStatus
from payment.reports import failures, report
from payment.repository import Store
from payment.state import Attempt, Doubt, Payment, Picture
from payment.stripe_api import StripeMetrics

log = structlog.get_logger()


class UnitOfWork:
    """Payments by booking, saved in one of two ways: `careful`, the locked path, in the transaction that has locked
    them; or `save`, one statement that writes only rows that no other process has written since. After the commit
    it updates the memory, logs refunds that failed, and returns the messages to publish."""

    def __init__(self, store: Store, metrics: StripeMetrics, causes: Mapping[UUID, Delivery] | None = None) -> None:
        self._store = store
        self._metrics = metrics
        self.payments: dict[UUID, Payment] = {}
        # The payments as they were read.
        self._before: dict[UUID, Payment] = {}
        self._attempts: dict[str, tuple[UUID, Attempt]] = {}
        self._known_attempts: frozenset[str] = frozenset()
        # By booking, the trace (`traceparent`) of the message that is its cause.
        self.traces = {id: cause.envelope.traceparent for id, cause in (causes or {}).items()}
        # Bookings whose payments are reported whether or not anything has changed.
        self._asked: set[UUID] = set()
        # Payments to compare with Stripe's own objects; with the id of the intent if their row has lost it.
        self._looks: dict[UUID, str | None] = {}
        # Refunds that failed in this unit and that an operator must handle.
        self.failed_refunds: list[Refund] = []

    # --- the payments

    def take(self, payments: Mapping[UUID, Payment]) -> None:
        """Add payments as they were read."""
        self.payments.update(payments)
        self._before.update(payments)

    async def remember(self, ids: Collection[UUID]) -> None:
        """Add these payments from memory; read the others in one statement, and add those that are unpaid."""
        self.take(self._store.payments.find(ids))
        if missing := [id for id in ids if id not in self.payments]:
            async with self._store.reading() as rows:
                read = await rows.load(missing)
            self.take({id: payment for id, payment in read.items() if payment.unpaid})

    def change(self, payment: Payment) -> None:
        self.payments[payment.booking_id] = payment

    def report(self, *ids: UUID) -> None:
        """Report these even if nothing changes now: a process may have changed them and ended before its report."""
        self._asked.update(ids)

    def look(self, id: UUID, intent_id: str | None = None) -> None:
        """Publish a SyncPayment after the commit, to compare the payment with Stripe's own objects."""
        self._looks[id] = intent_id or self._looks.get(id)

    def see(self, old: Payment, picture: Picture, now: datetime) -> Doubt | None:
        """Apply a snapshot of the payment's intent by the rules, and save the attempt in it, once."""
        attempt = picture.attempt
        if attempt is not None and (attempt.id in self._known_attempts or attempt.id in self._attempts):
            picture = picture._replace(attempt=None)
        new, doubt = domain.take_over(old, picture, now)
        self.change(new)
        if doubt is Doubt.STRAY:
            log.error("stray intent", booking=str(old.booking_id), intent=picture.intent_id, status=picture.status)
        elif picture.attempt is not None and new.failed_attempts != old.failed_attempts:
            self._attempts[picture.attempt.id] = (old.booking_id, picture.attempt)
        return doubt

    def see_refunds(
        self, old: Payment, pictures: Sequence[RefundPicture], now: datetime, *, complete: bool = False
    ) -> bool:
        """Apply snapshots of refunds; False if more would be refunded than was captured, so that all must be
        fetched. `complete`: they are all that Stripe has."""
        try:
            self.change(domain.take_refunds(old, pictures, now, complete=complete))
        except DoesNotFit:
            return False
        return True

    def see_whole(self, id: UUID, whole: Whole, now: datetime) -> None:
        """Apply everything that Stripe has of the payment."""
        if self.see(self.payments[id], whole.picture, now) is Doubt.STRAY:
            return  # the row has another intent by now than the one that was fetched
        if whole.refunds is not None and not self.see_refunds(self.payments[id], whole.refunds, now, complete=True):
            log.error("refunds over what was captured", booking=str(id))
        if whole.disputes is not None:
            self.change(domain.take_disputes(self.payments[id], whole.disputes, now))

    # --- saving

    @asynccontextmanager
    async def careful(
        self, ids: Sequence[UUID], intents: Sequence[str] = (), pictures: Iterable[object] = ()
    ) -> AsyncIterator[PaymentRows]:
        """The locked path: a transaction that locks the payments of these bookings and intents, if they exist, and
        saves and commits them at the end of the block. `pictures` are the snapshots that the block will apply:
        which of their attempts are saved already cannot change while the payments are locked."""
        async with self._store.transaction() as rows:
            self.take(await rows.lock(ids, intents))
            told = [each.attempt.id for each in pictures if isinstance(each, Picture) and each.attempt is not None]
            self._known_attempts = await rows.known_attempts(told)
            yield rows
            changes = [(old, self.payments[id]) for id, old in self._before.items() if self.payments[id] != old]
            revisions = await rows.save(changes)
            if len(revisions) != len(changes):
                raise RuntimeError(f"{len(revisions)} of {len(changes)} locked payments")
            await rows.add_attempts(self._attempts.values())
        self._committed(revisions)

    async def save(self, events: Sequence[tuple[UUID, StripeEvent]] = (), now: datetime | None = None) -> None:
        """Save in one statement the payments that have changed, and `events`, each with the booking of its payment.
        A payment whose row has changed meanwhile is not saved, and is removed here and from memory. None of these
        payments may have refunds, disputes or new attempts."""
        wanted = {id for id, old in self._before.items() if self.payments[id] != old}.union(id for id, _ in events)
        revisions: dict[UUID, str] = {}
        if wanted:
            changes = [(self._before[id], self.payments[id]) for id in wanted]
            async with self._store.statement() as rows:
                revisions = await rows.save(changes, events, now)
        self._store.payments.drop(self.payments)
        for id in self.payments.keys() - revisions.keys():
            del self.payments[id], self._before[id]
            self._looks.pop(id, None)
        self._committed(revisions)

    def _committed(self, revisions: Mapping[UUID, str]) -> None:
        for id, revision in revisions.items():
            self.change(self.payments[id]._replace(revision=revision))
        self._store.remember(self.payments.values())
        self.failed_refunds = [
            each for id, payment in self.payments.items() if payment.refunds for each in self._failed(id)
        ]
        self._metrics.count_failed(self.failed_refunds)

    def _failed(self, id: UUID) -> list[Refund]:
        """The refunds that have just failed and that an operator must handle. The others are only logged as
        warnings: their money went back by another refund."""
        payment, before = self.payments[id], self._before[id].refunds
        known = {refund.id for refund in before if refund.status is RefundStatus.FAILED}
        new = [each for each in payment.refunds if each.status is RefundStatus.FAILED and each.id not in known]
        loud = failures(payment.amount_captured, payment.refunds) if new else ()
        for refund in new:
            write = log.error if refund in loud else log.warning
            write(
                "refund failed",
                booking=str(id),
                refund=str(refund.id),
                stripe_refund=refund.stripe_refund_id,
                amount=refund.amount,
                reason=refund.reason,
            )
        return [refund for refund in new if refund in loud]

    # --- what follows

    def follow(self) -> list[Envelope]:
        """The messages to publish after the commit: reports, cancels of intents that must not be paid, and
        SyncPayment for payments to compare with Stripe."""
        unwanted = [
            id
            for id, new in self.payments.items()
            if new.must_be_canceled and not self._before[id].must_be_canceled
        ]
        messages: list[PaymentCommand] = [CancelPaymentIntent(booking_id=id) for id in unwanted]
        messages += [
            SyncPayment(booking_id=id, **({"intent_id": intent} if intent else {}))
            for id, intent in self._looks.items()
        ]
        return [
            *self.reports(),
            *(tell(each, each.booking_id, traceparent=self.traces.get(each.booking_id, "")) for each in messages),
        ]

    def reports(self) -> list[Envelope]:
        """The reports of payments with a new version, and of those that are reported in any case."""
        return [
            envelope
            for id, new in self.payments.items()
            if new.version != self._before[id].version or id in self._asked
            for envelope in report(new, self.traces.get(id, ""))
        ]
