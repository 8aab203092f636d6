"""RefundPayment: save the refunds with their ids, ask Stripe to make them, save the results.

A refusal may only mean that our rows are old. So after each refusal all refunds that Stripe has of the intent are
applied, and what is then left decides (`refunds.py`); a refund that Stripe may accept later is retried.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import structlog

from common.contracts.messages import RefundPayment
from common.messaging.envelope import Delivery, Envelope
from payment import domain, stripe_calls
from payment.domain import REFUSED_PAUSES, RETRY_PAUSES
from payment.lost import LostRows, lost_ones
from payment.refunds import Refund, RefundSnapshot, refused, unanswered, with_new_key
from payment.repository import Store
from payment.state import Payment
from payment.stripe_api import StripeApi
from payment.stripe_calls import NoAnswer, NotMade, side_by_side
from payment.unit_of_work import UnitOfWork

# Requests to Stripe for one refund in one batch: the first, one more for what is left after a refusal, and one in
# case that changed, too. After that the retry time in the row takes over.
ROUNDS_MAX = 3

log = structlog.get_logger()

Asked = tuple[Payment, Refund]
Answer = RefundSnapshot | NotMade | NoAnswer


class RefundCommands:
    """The handler of RefundPayment."""

    def __init__(self, store: Store, stripe: StripeApi, clock: Callable[[], datetime], lost: LostRows) -> None:
        self._store = store
        self._stripe = stripe
        self._clock = clock
        self._lost = lost

    async def refund(
        self, deliveries: Sequence[Delivery], causes: dict[UUID, Delivery], deadline: float
    ) -> Iterable[Envelope]:
        """The reports of all payments in the batch. `causes`: the first delivery for each booking."""
        now = self._clock()
        unit = UnitOfWork(self._store, self._stripe.metrics, causes)
        async with unit.locked(list(causes)):
            lost = lost_ones(deliveries, unit.payments)
            rest = [delivery for delivery in deliveries if delivery not in lost]
            for delivery in rest:
                _request_refund(unit, delivery.message, now)
        if lost:
            found = [*rest, *await self._lost.recover(lost)]
            ids = [delivery.message.booking_id for delivery in found]
            return await self.refund(found, {id: causes[id] for id in ids}, deadline)
        named = {delivery.message.refund_id for delivery in deliveries}
        asked = _unmade(unit, named)
        installation = await self._store.installation()
        to_check: set[UUID] = set()
        for _ in range(ROUNDS_MAX):
            if not asked:
                break
            answers = await side_by_side(
                stripe_calls.make_refund(self._stripe, payment, refund, installation, self._clock(), deadline)
                for payment, refund in asked
            )
            unit, asked = await self._apply_answers(asked, answers, causes, to_check)
        # A refusal for good may have a cause that is not known yet, such as a dispute.
        for id in to_check:
            unit.check(id)
        unit.report(*causes)
        return unit.follow_ups()

    async def _apply_answers(
        self, asked: Sequence[Asked], answers: Sequence[Answer], causes: dict[UUID, Delivery], to_check: set[UUID]
    ) -> tuple[UnitOfWork, list[Asked]]:
        """Apply Stripe's answers. Returns the refunds that Stripe must be asked for again at once."""
        now = self._clock()
        again: set[UUID] = set()
        unit = UnitOfWork(self._store, self._stripe.metrics, causes)
        async with unit.locked(list(causes)):
            for (payment, refund), answer in zip(asked, answers, strict=True):
                id = payment.booking_id
                if id not in unit.payments or unit.payments[id].refund(refund.id) is None:
                    continue  # the database was restored to an earlier state: the refund is requested again
                if not _apply(unit, id, refund, answer, now):
                    to_check.add(id)
                new = unit.payments[id].refund(refund.id)
                if new and new.unmade and new.key_number != refund.key_number and new.retry_at == now:
                    again.add(new.id)
        to_check |= {refund.booking_id for refund in unit.failed_refunds}
        return unit, _unmade(unit, again, only_named=True)


def _unmade(unit: UnitOfWork, named: set[UUID], *, only_named: bool = False) -> list[Asked]:
    """The refunds that Stripe has not made yet; one that it has refused before only if it is named."""
    return [
        (payment, refund)
        for payment in unit.payments.values()
        for refund in payment.refunds
        if refund.unmade and (refund.id in named or not (only_named or refund.refusals))
    ]


def _request_refund(unit: UnitOfWork, message: RefundPayment, now: datetime) -> None:
    payment = unit.payments.get(message.booking_id)
    if payment is None or payment.amount_captured == 0:
        log.warning("refund of what was not paid", booking=str(message.booking_id))
    elif payment.refund(message.refund_id) is None:
        id, amount = message.refund_id, message.amount
        unit.change(domain.with_request(payment, id, amount, now, message.whole, message.by))


def _apply(unit: UnitOfWork, id: UUID, asked: Refund, answer: Answer, now: datetime) -> bool:
    """Apply Stripe's answer about a refund; False if all that Stripe has of its payment must be fetched."""
    payment = unit.payments[id]
    if isinstance(answer, RefundSnapshot):
        # It is ours even if its metadata does not say so.
        return unit.apply_refunds(payment, [replace(answer, refund_id=asked.id)], now)
    if isinstance(answer, NotMade) and answer.snapshots is not None:
        if not unit.apply_refunds(payment, answer.snapshots, now, complete=True):
            return False
        payment = unit.payments[id]
    old = payment.refund(asked.id)
    if old is None or not old.unmade or old.key_number != asked.key_number:
        return True  # a webhook came first; or the answer is to an old key
    unit.change(domain.with_refund(payment, _after(old, answer, payment, now), now))
    return True


def _after(old: Refund, answer: NotMade | NoAnswer, payment: Payment, now: datetime) -> Refund:
    """The refund after an answer without a snapshot: Stripe did not make it although it fits, or did not answer."""
    if isinstance(answer, NoAnswer):
        return unanswered(old, now, RETRY_PAUSES.pause(old.retry_count, random.random()))
    if answer.code is None:
        return with_new_key(old, now)
    room = None if answer.snapshots is None else payment.left + old.amount
    return refused(old, answer.code, room, now, REFUSED_PAUSES.pause(old.refusals, random.random()))
