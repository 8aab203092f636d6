"""Stray intents are closed: each is canceled, or its money is refunded. The rules are in `orphans.py`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter

from common.contracts.messages import SyncPayment
from common.contracts.statuses import IntentStatus
from common.messaging.envelope import Delivery, Envelope, envelope_for
from common.runtime.backoff import Retry
from payment import orphans, stripe_calls
from payment.domain import RETRY_PAUSES
from payment.orphans import Match, OrphanTerms, Stray, match_of
from payment.payment_rows import PaymentRows
from payment.refunds import FOR_PEOPLE, Refund, RefundSnapshot, RefundStatus, left
from payment.repository import Store
from payment.state import TERMINAL, IntentSnapshot, Payment
from payment.stripe_api import StripeApi
from payment.stripe_calls import FetchedPayment, NoAnswer, side_by_side

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Strays:
    """Saves stray intents, and closes them."""

    store: Store
    stripe: StripeApi
    clock: Callable[[], datetime]
    found: Counter
    terms: OrphanTerms
    calls_seconds: float

    def new(self, intent_id: str, booking_id: UUID, shown: IntentSnapshot | Payment | None, now: datetime) -> Stray:
        """A stray with the state that a snapshot or its row shows; a Stripe event of a refund shows none."""
        status = shown.status if shown else IntentStatus.REQUIRES_PAYMENT_METHOD
        received = shown.amount_captured if shown else 0
        return Stray(intent_id, booking_id, now, now + self.terms.grace, status, received, retry_at=now)

    async def add(self, transaction: PaymentRows, strays: Sequence[Stray]) -> None:
        """Save these; an error is logged for each new one."""
        new = await transaction.strays.add(strays)
        for stray in strays:
            if stray.intent_id in new:
                self.found.labels("stray").inc()
                _error("stray intent", stray, status=stray.status, received=stray.amount_received)

    async def too_many(self, transaction: PaymentRows, more: int = 0) -> bool:
        """There are, with `more` new ones, too many strays and orphans to act without an operator."""
        count = await transaction.strays.count(self.clock() - self.terms.grace) + more
        if count <= self.terms.most:
            return False
        log.error("too many orphans: nothing is done by itself", orphans=count, most=self.terms.most)
        return True

    async def close(self, deliveries: Sequence[Delivery]) -> Iterable[Envelope]:
        """The handler of CloseStrayIntent: one step for each. If the booking's payment row is lost, a SyncPayment
        is published, which restores it."""
        now, deadline = self.clock(), asyncio.get_running_loop().time() + self.calls_seconds
        causes = {each.message.intent_id: each for each in deliveries}
        async with self.store.transaction() as transaction:
            known = await transaction.strays.lock(sorted(causes))
            open = [stray for stray in known.values() if stray.retry_at is not None]
            rows = await transaction.load([stray.booking_id for stray in open])
            back = {row.intent_id for row in rows.values()}
            await transaction.strays.drop([stray.intent_id for stray in open if stray.intent_id in back])
            matches = {stray: match_of(stray.intent_id, rows.get(stray.booking_id)) for stray in open}
            lost = [stray for stray, match in matches.items() if match is Match.LOST]
            beside = [stray for stray, match in matches.items() if match is Match.STRAY]
            if beside and await self.too_many(transaction):
                held = [stray for stray in beside if not stray.return_decided]
                await transaction.strays.save([replace(s, retry_at=now + orphans.HELD_BACK) for s in held])
                beside = [stray for stray in beside if stray.return_decided]
        await side_by_side(self._close(stray, now, deadline) for stray in beside)
        syncs = [SyncPayment(booking_id=stray.booking_id, intent_id=stray.intent_id) for stray in lost]
        return [envelope_for(sync, sync.booking_id, cause=causes[sync.intent_id]) for sync in syncs]

    async def _close(self, stray: Stray, now: datetime, deadline: float) -> None:
        """The next step, decided by what Stripe has of the intent; if Stripe does not answer, it is retried."""
        asked = orphans.asked_for(stray.booking_id, stray.intent_id, now)
        fetched = await stripe_calls.fetch(self.stripe, asked, deadline)
        if not isinstance(fetched, FetchedPayment):
            if fetched is NoAnswer.REFUSED:
                await self._save(stray, _later(stray, now))
            return
        seen, refunds = orphans.seen_stray(stray, fetched.intent), fetched.refunds or ()
        rest = left(seen.amount_received, refunds)
        # Refunds made by hand have no id of ours.
        own = next((each for each in refunds if each.refund_id and each.refund_id == stray.refund_id), None)
        if seen.status not in TERMINAL:
            intent = await stripe_calls.cancel_intent(self.stripe, asked, deadline)
            seen = orphans.seen_stray(seen, intent) if isinstance(intent, IntentSnapshot) else seen
            # If it is now canceled or paid, the next step decides. Else a payment may be in progress: check later.
            await self._save(stray, _again(seen, now) if seen.status in TERMINAL else _later(seen, now))
        elif rest <= 0:
            # Nothing is left to do about a refund that had failed: the money went back by hand.
            status = own.status if own else stray.refund_status
            await self._save(stray, _closed(seen, None if status is RefundStatus.FAILED else status))
        elif own is not None and own.status is RefundStatus.FAILED:
            self._refund_failed(stray, own.reason)
            await self._save(stray, _closed(seen, own.status))
        elif now < stray.return_after and not stray.return_decided:
            await self._save(stray, replace(_again(seen, now), retry_at=stray.return_after))
        else:
            # The refund and its id are saved before Stripe is asked; a second refund gets a key of its own.
            refund = orphans.refund_of(stray, rest, stray.key_number + (own is not None), now)
            wanted = orphans.with_refund(seen, refund)
            if await self._save(stray, wanted):  # else another process is handling it
                await self._refund(wanted, asked, refund, now, deadline)

    async def _refund(self, stray: Stray, asked: Payment, refund: Refund, now: datetime, deadline: float) -> None:
        """Ask Stripe for the refund, and save the result."""
        installation = await self.store.installation()
        answer = await stripe_calls.make_refund(self.stripe, asked, refund, installation, now, deadline)
        if isinstance(answer, NoAnswer):
            return  # retried with the same key
        if isinstance(answer, RefundSnapshot):
            _error("money of a stray intent goes back", stray, amount=answer.amount, by=stray.return_decided_by)
            after = replace(_again(stray, now), refund_status=answer.status)
        elif answer.code in FOR_PEOPLE:
            self._refund_failed(stray, answer.code)
            after = _closed(stray, RefundStatus.FAILED)
        else:
            if answer.code is not None:
                _error("refund refused", stray, code=answer.code)
            # Stripe repeats a key's first answer, also a refusal: so the next step reads the list, with a new key.
            after = _later(stray, now) if answer.code else _again(stray, now)
            after = replace(after, key_number=stray.key_number + 1)
        await self._save(stray, after)

    def _refund_failed(self, stray: Stray, code: str | None) -> None:
        """Count and log it: an operator must act now."""
        self.stripe.metrics.failed_refunds.labels(code or "unknown").inc()
        _error("refund failed", stray, code=code, stray=True)

    async def _save(self, before: Stray, after: Stray) -> bool:
        """False if the row is not as `before`: another process was faster, or a Stripe event made it due."""
        async with self.store.transaction() as transaction:
            now = (await transaction.strays.lock([before.intent_id])).get(before.intent_id)
            if now is None or _decided_as(now, before) != before:
                return False
            await transaction.strays.save([_decided_as(after, now)])
            return True


def _error(event: str, stray: Stray, /, **more: Any) -> None:
    log.error(event, booking=str(stray.booking_id), intent=stray.intent_id, **more)


def _decided_as(stray: Stray, other: Stray) -> Stray:
    """`stray` with what operators have decided about `other`."""
    return replace(stray, return_decided=other.return_decided, return_decided_by=other.return_decided_by)


def _again(stray: Stray, now: datetime) -> Stray:
    """The stray, due at once: something has changed at Stripe."""
    return replace(stray, retry_at=now, retry_count=0)


def _later(stray: Stray, now: datetime) -> Stray:
    pause = Retry(RETRY_PAUSES.most, orphans.HELD_BACK).pause(stray.retry_count, random.random())
    return replace(stray, retry_at=now + pause, retry_count=stray.retry_count + 1)


def _closed(stray: Stray, refund_status: RefundStatus | None) -> Stray:
    return replace(stray, refund_status=refund_status, retry_at=None, retry_count=0)
