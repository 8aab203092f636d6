"""The payments that one transaction has in hand: changed in memory by the rules, written back at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Self, TypeVar
from uuid import UUID

import structlog

from common.messaging.envelope import Delivery, Envelope
from payment import domain
from payment.asking import Whole
from payment.disputes import Dispute, DisputePicture, taken_in
from payment.domain import Attempt, Doubt, Payment, Picture
from payment.refunds import DoesNotFit, Refund, RefundPicture, RefundStatus, failures, take_in
from payment.reports import report
from payment.repository import Work

log = structlog.get_logger()

T = TypeVar("T")


class Books:
    """Locked payments by booking, with their refunds and disputes."""

    def __init__(
        self,
        payments: dict[UUID, Payment],
        refunds: dict[UUID, tuple[Refund, ...]],
        disputes: dict[UUID, tuple[Dispute, ...]],
    ) -> None:
        self.payments = payments
        self._refunds = refunds
        self._disputes = disputes
        self._disputes_before = {dispute.id: dispute for each in disputes.values() for dispute in each}
        self._before = dict(payments)
        self._refunds_before = {refund.id: refund for each in refunds.values() for refund in each}
        self._attempts: dict[str, tuple[UUID, Attempt]] = {}
        self._known_attempts: frozenset[str] = frozenset()
        # Those that failed in this transaction, for a person to see to.
        self.failed_refunds: list[Refund] = []

    @classmethod
    async def open(
        cls, work: Work, ids: Sequence[UUID], intents: Sequence[str] = (), pictures: Iterable[object] = ()
    ) -> Self:
        """Lock the payments of these bookings and intents; those that are not there are left out. `pictures` are
        going to be taken: which of their attempts are known stays so while the payments are locked."""
        payments = await (work.lock_for_events(ids, intents) if intents else work.lock(ids))
        captured = [id for id, payment in payments.items() if payment.amount_captured]
        disputed = [id for id, payment in payments.items() if payment.dispute_status is not None]
        books = cls(payments, await work.refunds_of(captured), await work.disputes_of(disputed))
        told = [each.attempt.id for each in pictures if isinstance(each, Picture) and each.attempt is not None]
        books._known_attempts = await work.known_attempts(told)
        return books

    def refunds(self, booking_id: UUID) -> tuple[Refund, ...]:
        return self._refunds.get(booking_id, ())

    def disputes(self, booking_id: UUID) -> tuple[Dispute, ...]:
        return self._disputes.get(booking_id, ())

    def answered(self, asked: Sequence[Payment], answers: Sequence[T]) -> list[tuple[Payment, T]]:
        """Each payment as it was when Stripe was asked, with the answer; without those whose row has gone since, as
        the database has come back older than it was: Stripe is asked of them again when they are wanted again."""
        pairs = zip(asked, answers, strict=True)
        return [(payment, answer) for payment, answer in pairs if payment.booking_id in self.payments]

    def put(self, payment: Payment) -> None:
        self.payments[payment.booking_id] = payment

    def take(self, old: Payment, picture: Picture, now: datetime) -> Doubt | None:
        """Take a picture of the payment's intent over by rule, and keep the attempt that it tells of, once."""
        attempt = picture.attempt
        if attempt is not None and (attempt.id in self._known_attempts or attempt.id in self._attempts):
            picture = replace(picture, attempt=None)
        outcome = domain.take_over(old, picture, now)
        self.put(outcome.payment)
        if outcome.doubt is Doubt.STRAY:
            log.error("stray intent", booking=str(old.booking_id), intent=picture.intent_id, status=picture.status)
        elif picture.attempt is not None and outcome.payment.failed_attempts != old.failed_attempts:
            self._attempts[picture.attempt.id] = (old.booking_id, picture.attempt)
        return outcome.doubt

    def take_refunds(
        self, old: Payment, pictures: Sequence[RefundPicture], now: datetime, *, complete: bool = False
    ) -> bool:
        """Take pictures of refunds over; False when they fit only together with others not seen yet. `complete`:
        they are all that Stripe has."""
        known = self.refunds(old.booking_id)
        try:
            refunds = take_in(old.booking_id, old.amount_captured, known, pictures, now, complete=complete)
        except DoesNotFit:
            return False
        self.put_refunds(old, refunds, now)
        return True

    def take_whole(self, id: UUID, whole: Whole, now: datetime) -> None:
        """Take everything over that Stripe has of the payment."""
        if self.take(self.payments[id], whole.picture, now) is Doubt.STRAY:
            return  # the row has another intent by now: what was fetched is not its own
        if whole.refunds is not None and not self.take_refunds(
            self.payments[id], whole.refunds, now, complete=True
        ):
            log.error("refunds over what was captured", booking=str(id))
        if whole.disputes is not None:
            self.take_disputes(self.payments[id], whole.disputes, now)

    def put_refunds(self, old: Payment, refunds: tuple[Refund, ...], now: datetime) -> None:
        """The payment's refunds are now these. One that failed is loud where somebody has to see to it: not where
        the money went back another way."""
        before = self.refunds(old.booking_id)
        if refunds == before:
            return
        known = {refund.id: refund for refund in before}
        loud = failures(old.amount_captured, refunds)
        for refund in refunds:
            was = known.get(refund.id)
            if refund.status is RefundStatus.FAILED and (was is None or was.status is not RefundStatus.FAILED):
                tell = log.error if refund in loud else log.warning
                if refund in loud:
                    self.failed_refunds.append(refund)
                tell(
                    "refund failed",
                    booking=str(old.booking_id),
                    refund=str(refund.id),
                    stripe_refund=refund.stripe_refund_id,
                    amount=refund.amount,
                    reason=refund.reason,
                )
        self._refunds[old.booking_id] = refunds
        if _shown(refunds) != _shown(before):
            self.put(domain.take_refunds(old, refunds, now))

    def take_disputes(self, old: Payment, pictures: Sequence[DisputePicture], now: datetime) -> None:
        """Take pictures of disputes over, each by itself."""
        before = self.disputes(old.booking_id)
        disputes = taken_in(old.booking_id, before, pictures)
        if disputes != before:
            self._disputes[old.booking_id] = disputes
            self.put(domain.take_disputes(old, disputes, now))

    def changes(self) -> list[tuple[Payment, Payment]]:
        """The payments that are not as they were, (old, new)."""
        return [(self._before[id], new) for id, new in self.payments.items() if new != self._before[id]]

    async def save(self, work: Work) -> None:
        await work.save(self.changes())
        await work.add_attempts(tuple(self._attempts.values()))
        await work.save_refunds(
            [
                refund
                for refunds in self._refunds.values()
                for refund in refunds
                if self._refunds_before.get(refund.id) != refund
            ]
        )
        await work.save_disputes(
            [
                dispute
                for disputes in self._disputes.values()
                for dispute in disputes
                if self._disputes_before.get(dispute.id) != dispute
            ]
        )

    def changed(self) -> set[UUID]:
        """The bookings whose payment has a new version."""
        return {id for id, new in self.payments.items() if new.version != self._before[id].version}

    def now_to_cancel(self) -> set[UUID]:
        """The bookings whose intent has come to be there, and is not wanted any more."""
        return {
            id
            for id, new in self.payments.items()
            if new.must_be_canceled and not self._before[id].must_be_canceled
        }

    def reports(self, ids: Iterable[UUID], causes: dict[UUID, Delivery]) -> list[Envelope]:
        return [
            envelope
            for id in ids
            if id in self.payments
            for envelope in report(self.payments[id], self.refunds(id), self.disputes(id), causes.get(id))
        ]


def _shown(refunds: Sequence[Refund]) -> list[tuple[object, ...]]:
    """What the booking is told of them."""
    return [(each.id, each.status, each.amount, each.pending_reason, each.reason) for each in refunds]
