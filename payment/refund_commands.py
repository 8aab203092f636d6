"""RefundPayment: note refunds under their ids, have Stripe make them, note what came of it.

A refusal may only show that what is known is old. So after each refusal all refunds that Stripe has of the intent
are taken in, and what is left then decides (`refunds.py`); what Stripe may allow later is asked for again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import structlog

from common.contracts.messages import RefundPayment, SyncPayment
from common.messaging.envelope import Delivery, Envelope, tell
from payment import asking
from payment.asking import Nothing, NotMade, side_by_side
from payment.books import Books
from payment.domain import DRIVE_FIRST, DRIVE_PAUSES, REFUSED_PAUSES, Payment
from payment.lost import LostRows, lost_ones
from payment.refunds import Refund, RefundPicture, refused, request, with_new_key
from payment.repository import Repository
from payment.stripe_api import StripeApi

# How often Stripe is asked in one go: after a refusal once more for what is left, and again when that changed, too.
# After that the row is driven on.
ROUNDS_MAX = 3

log = structlog.get_logger()

Asked = tuple[Payment, Refund]
Answer = RefundPicture | NotMade | Nothing


class RefundCommands:
    """The handler of RefundPayment."""

    def __init__(
        self, repository: Repository, stripe: StripeApi, clock: Callable[[], datetime], lost: LostRows
    ) -> None:
        self._repository = repository
        self._stripe = stripe
        self._clock = clock
        self._lost = lost

    async def refund(
        self, deliveries: Sequence[Delivery], causes: dict[UUID, Delivery], deadline: float
    ) -> Iterable[Envelope]:
        """Reports of all payments that were asked about. `causes`: the first delivery about each booking."""
        now = self._clock()
        async with self._repository.work() as work:
            books = await Books.open(work, list(causes))
            lost = lost_ones(deliveries, books.payments)
            rest = [delivery for delivery in deliveries if delivery not in lost]
            for delivery in rest:
                _request_refund(books, delivery.message, now)
            await books.save(work)
        self._stripe.metrics.count_failed(books.failed_refunds)
        if lost:
            there = [*rest, *await self._lost.recover(lost)]
            ids = {delivery.message.booking_id for delivery in there}
            return await self.refund(there, {id: causes[id] for id in causes if id in ids}, deadline)
        named = {delivery.message.refund_id for delivery in deliveries}
        asked = _to_ask(books, named)
        installation = await self._repository.installation()
        in_doubt: set[UUID] = set()
        for _ in range(ROUNDS_MAX):
            if not asked:
                break
            answers = await side_by_side(
                asking.make_refund(self._stripe, payment, refund, installation, self._clock(), deadline)
                for payment, refund in asked
            )
            books, asked = await self._note(asked, answers, list(causes), in_doubt)
        # What Stripe refuses for good may have a cause that is not known yet, as a dispute has.
        syncs = [tell(SyncPayment(booking_id=id), id, cause=causes.get(id)) for id in in_doubt]
        return [*books.reports(causes.keys(), causes), *syncs]

    async def _note(
        self, asked: Sequence[Asked], answers: Sequence[Answer], ids: Sequence[UUID], in_doubt: set[UUID]
    ) -> tuple[Books, list[Asked]]:
        """Take over what Stripe answered; says which refunds are to be asked for again at once."""
        now = self._clock()
        again: set[UUID] = set()
        async with self._repository.work() as work:
            books = await Books.open(work, ids)
            for (payment, refund), answer in zip(asked, answers, strict=True):
                id = payment.booking_id
                if not any(each.id == refund.id for each in books.refunds(id)):
                    continue  # the database has come back older than it was: it is asked for again
                if not _take(books, id, refund, answer, now):
                    in_doubt.add(id)
                new = next(each for each in books.refunds(id) if each.id == refund.id)
                if new.unmade and new.key_number != refund.key_number and new.drive_after == now:
                    again.add(new.id)
            await books.save(work)
        in_doubt |= {refund.booking_id for refund in books.failed_refunds}
        self._stripe.metrics.count_failed(books.failed_refunds)
        return books, _to_ask(books, again, only_named=True)


def _to_ask(books: Books, named: set[UUID], *, only_named: bool = False) -> list[Asked]:
    """The refunds that Stripe has still to make: one that it has refused before only when it is named."""
    return [
        (payment, refund)
        for id, payment in books.payments.items()
        for refund in books.refunds(id)
        if refund.unmade and (refund.id in named or not (only_named or refund.refusals))
    ]


def _request_refund(books: Books, message: RefundPayment, now: datetime) -> None:
    payment = books.payments.get(message.booking_id)
    if payment is None or payment.amount_captured == 0:
        log.warning("refund of what was not paid", booking=str(message.booking_id))
        return
    refunds = books.refunds(payment.booking_id)
    if any(refund.id == message.refund_id for refund in refunds):
        return
    refund = request(
        message.refund_id,
        payment.booking_id,
        message.amount,
        payment.amount_captured,
        refunds,
        now,
        DRIVE_FIRST,
        message.whole,
    )
    books.put_refunds(payment, (*refunds, refund), now)


def _take(books: Books, id: UUID, asked: Refund, answer: Answer, now: datetime) -> bool:
    """Take over what Stripe answered of a refund; False where its payment should be looked at as a whole."""
    payment = books.payments[id]
    if isinstance(answer, RefundPicture):
        # It is ours whether its metadata says so or not.
        return books.take_refunds(payment, [replace(answer, refund_id=asked.id)], now)
    if isinstance(answer, NotMade) and answer.pictures is not None:
        if not books.take_refunds(payment, answer.pictures, now, complete=True):
            return False
        payment = books.payments[id]
    refunds = books.refunds(id)
    old = next(refund for refund in refunds if refund.id == asked.id)
    if not old.unmade or old.key_number != asked.key_number:
        return True  # a webhook was faster; or this is known, and the next key is in use
    if isinstance(answer, NotMade):
        new = _after_refusal(old, answer, payment, refunds, now)
    else:
        pause = DRIVE_PAUSES.pause(old.drive_attempts, random.random())
        new = replace(old, drive_after=now + pause, drive_attempts=old.drive_attempts + 1)
    books.put_refunds(payment, tuple(new if refund.id == new.id else refund for refund in refunds), now)
    return True


def _after_refusal(
    old: Refund, answer: NotMade, payment: Payment, refunds: Sequence[Refund], now: datetime
) -> Refund:
    """The refund that Stripe did not make, though by Stripe's list it fits."""
    if answer.code is None:
        return with_new_key(old, now)
    pause = REFUSED_PAUSES.pause(old.refusals, random.random())
    return refused(
        old, answer.code, payment.amount_captured, refunds, now, pause, listed=answer.pictures is not None
    )
