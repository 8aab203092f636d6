"""Recovery from lost messages: payments, refunds and strays whose retry time has come are handled again.

When nothing is due, a pass reads only the first entry of five partial indexes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime

import structlog

from common.contracts.messages import CloseStrayIntent, RefundPayment, SyncPayment
from common.messaging.envelope import Envelope, envelope_for
from common.messaging.publisher import Publisher
from common.runtime.reconciler import Reconciler
from payment import domain, orphans
from payment.domain import is_due
from payment.intent_commands import retry_command
from payment.reports import report
from payment.repository import Store
from payment.state import Payment

# The most rows of each kind in one pass: about as many as the messages that one Redis pipeline publishes.
PASS_MAX = 200

log = structlog.get_logger()


class PaymentReconciler(Reconciler):
    def __init__(self, store: Store, publisher: Publisher, clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self._store = store
        self._publisher = publisher

    async def next_due(self) -> datetime | None:
        return await self._store.next_due()

    async def retry_due(self, now: datetime) -> None:
        async with self._store.transaction() as rows:
            payments = await rows.take_due(now, PASS_MAX)
            await rows.save([(payment, domain.retried(payment, now, random.random())) for payment in payments])
            strays = await rows.strays.take_due(now, PASS_MAX)
            await rows.strays.save([orphans.retried(stray, now, random.random()) for stray in strays])
        # The next retry times are committed: a message that is lost from here on is published again then.
        self._store.payments.drop(payment.booking_id for payment in payments)
        messages = [
            *(envelope for payment in payments for envelope in _due_messages(payment, now)),
            *(
                envelope_for(
                    CloseStrayIntent(booking_id=each.booking_id, intent_id=each.intent_id), each.booking_id
                )
                for each in strays
            ),
        ]
        await self._publisher.publish(messages)
        log.info("reconciled", payments=len(payments), strays=len(strays), messages=len(messages))


def _due_messages(payment: Payment, now: datetime) -> Iterator[Envelope]:
    """The messages for everything that is due in a payment."""
    id = payment.booking_id
    if is_due(payment.report_retry_at, now):
        yield from report(payment)
    if is_due(payment.retry_at, now):
        yield retry_command(payment)
    if is_due(payment.check_at, now):
        yield envelope_for(SyncPayment(booking_id=id), id)
    for refund in payment.refunds:
        if is_due(refund.retry_at, now):
            values = {"refund_id": refund.id, "amount": refund.amount, "whole": refund.whole, "by": refund.by}
            yield envelope_for(RefundPayment(booking_id=id, **values), id)
