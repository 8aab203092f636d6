"""The payments of one batch: changed in memory by the rules, saved together, with the messages that follow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import structlog

from common.contracts.messages import CancelPaymentIntent, PaymentCommand, SyncPayment
from common.messaging.envelope import Delivery, Envelope, envelope_for
from payment import domain
from payment.payment_rows import PaymentRows
from payment.refunds import DoesNotFit, Refund, RefundSnapshot, RefundStatus
from payment.reports import failures, report
from payment.repository import Store
from payment.state import Attempt, IntentSnapshot, Payment, SnapshotConflict
from payment.stripe_api import StripeMetrics
from payment.stripe_calls import FetchedPayment
from payment.stripe_objects import StripeEvent

log = structlog.get_logger()


class UnitOfWork:
    """Payments by booking, saved in one of two ways: `locked`, the locked path, in the transaction that has locked
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
        self._checks: dict[UUID, str | None] = {}
        # Refunds that failed in this unit and that an operator must handle.
        self.failed_refunds: list[Refund] = []

    # --- the payments

    def add(self, payments: Mapping[UUID, Payment]) -> None:
        """Add payments as they were read."""
        self.payments.update(payments)
        self._before.update(payments)

    async def remember(self, ids: Collection[UUID]) -> None:
        """Add these payments from memory; read the others in one statement, and add those that are unpaid."""
        self.add(self._store.payments.find(ids))
        if missing := [id for id in ids if id not in self.payments]:
            async with self._store.reading() as rows:
                read = await rows.load(missing)
            self.add({id: payment for id, payment in read.items() if payment.unpaid})

    def change(self, payment: Payment) -> None:
        self.payments[payment.booking_id] = payment

    def report(self, *ids: UUID) -> None:
        """Report these even if nothing changes now: a process may have changed them and ended before its report."""
        self._asked.update(ids)

    def check(self, id: UUID, intent_id: str | None = None) -> None:
        """Publish a SyncPayment after the commit, to compare the payment with Stripe's own objects."""
        self._checks[id] = intent_id or self._checks.get(id)

    def apply(self, old: Payment, snapshot: IntentSnapshot, now: datetime) -> SnapshotConflict | None:
        """Apply a snapshot of the payment's intent by the rules, and save the attempt in it, once."""
        attempt = snapshot.attempt
        if attempt is not None and (attempt.id in self._known_attempts or attempt.id in self._attempts):
            snapshot = snapshot._replace(attempt=None)
        new, conflict = domain.apply_snapshot(old, snapshot, now)
        self.change(new)
        if conflict is SnapshotConflict.STRAY:
            log.error(
                "stray intent", booking=str(old.booking_id), intent=snapshot.intent_id, status=snapshot.status
            )
        elif snapshot.attempt is not None and new.failed_attempts != old.failed_attempts:
            self._attempts[snapshot.attempt.id] = (old.booking_id, snapshot.attempt)
        return conflict

    def apply_refunds(
        self, old: Payment, snapshots: Sequence[RefundSnapshot], now: datetime, *, complete: bool = False
    ) -> bool:
        """Apply snapshots of refunds; False if more would be refunded than was captured, so that all must be
        fetched. `complete`: they are all that Stripe has."""
        try:
            self.change(domain.apply_refunds(old, snapshots, now, complete=complete))
        except DoesNotFit:
            return False
        return True

    def apply_fetched(self, id: UUID, fetched: FetchedPayment, now: datetime) -> None:
        """Apply everything that Stripe has of the payment."""
        if self.apply(self.payments[id], fetched.intent, now) is SnapshotConflict.STRAY:
            return  # the row has another intent by now than the one that was fetched
        refunds = fetched.refunds
        if refunds is not None and not self.apply_refunds(self.payments[id], refunds, now, complete=True):
            log.error("refunds over what was captured", booking=str(id))
        if fetched.disputes is not None:
            self.change(domain.apply_disputes(self.payments[id], fetched.disputes, now))

    # --- saving

    @asynccontextmanager
    async def locked(
        self, ids: Sequence[UUID], intents: Sequence[str] = (), snapshots: Iterable[object] = ()
    ) -> AsyncIterator[PaymentRows]:
        """The locked path: a transaction that locks the payments of these bookings and intents, if they exist, and
        saves and commits them at the end of the block. `snapshots` are the snapshots that the block will apply:
        which of their attempts are saved already cannot change while the payments are locked."""
        async with self._store.transaction() as rows:
            self.add(await rows.lock(ids, intents))
            attempts = [
                each.attempt.id
                for each in snapshots
                if isinstance(each, IntentSnapshot) and each.attempt is not None
            ]
            self._known_attempts = await rows.known_attempts(attempts)
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
            self._checks.pop(id, None)
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
        unresolved = failures(payment.amount_captured, payment.refunds) if new else ()
        for refund in new:
            log_failure = log.error if refund in unresolved else log.warning
            log_failure(
                "refund failed",
                booking=str(id),
                refund=str(refund.id),
                stripe_refund=refund.stripe_refund_id,
                amount=refund.amount,
                reason=refund.reason,
                by=refund.by,
            )
        return [refund for refund in new if refund in unresolved]

    # --- what follows

    def follow_ups(self) -> list[Envelope]:
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
            for id, intent in self._checks.items()
        ]
        return [
            *self.reports(),
            *(
                envelope_for(each, each.booking_id, traceparent=self.traces.get(each.booking_id, ""))
                for each in messages
            ),
        ]

    def reports(self) -> list[Envelope]:
        """The reports of payments with a new version, and of those that are reported in any case."""
        return [
            envelope
            for id, new in self.payments.items()
            if new.version != self._before[id].version or id in self._asked
            for envelope in report(new, self.traces.get(id, ""))
        ]
