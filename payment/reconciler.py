"""What heals lost messages: payments and refunds that still wait for something are driven again when due.

With nothing due a pass is one look at the first entry of four partial indexes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from common.contracts.messages import CloseStrayIntent, RefundPayment, SyncPayment
from common.messaging.envelope import Envelope, tell
from common.messaging.publisher import Publisher
from common.runtime.reconciler import Reconciler
from payment.handlers import drive
from payment.reports import report
from payment.repository import Store

# Rows of one kind taken in one pass: about what is published in one pipeline.
PASS_MAX = 200

log = structlog.get_logger()


class PaymentReconciler(Reconciler):
    def __init__(self, store: Store, publisher: Publisher, clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self._store = store
        self._publisher = publisher

    async def next_due(self) -> datetime | None:
        return await self._store.next_due()

    async def drive_due(self, now: datetime) -> None:
        reports = await self._store.due_reports(now, PASS_MAX)
        payments = await self._store.due_payments(now, PASS_MAX)
        refunds = await self._store.due_refunds(now, PASS_MAX)
        looks = await self._store.due_looks(now, PASS_MAX)
        envelopes: list[Envelope] = [envelope for each in reports for envelope in report(each)]
        envelopes += [drive(payment) for payment in payments]
        envelopes += [tell(SyncPayment(booking_id=id), id) for id in looks]
        envelopes += [
            tell(
                RefundPayment(
                    booking_id=refund.booking_id, refund_id=refund.id, amount=refund.amount, whole=refund.whole
                ),
                refund.booking_id,
            )
            for refund in refunds
        ]
        strays = await self._store.due_strays(now, PASS_MAX)
        envelopes += [
            tell(CloseStrayIntent(booking_id=stray.booking_id, intent_id=stray.intent_id), stray.booking_id)
            for stray in strays
        ]
        # The next times are committed: what is lost from here on comes again then.
        await self._publisher.publish(envelopes)
        log.info(
            "settled",
            reports=len(reports),
            payments=len(payments),
            refunds=len(refunds),
            looks=len(looks),
            strays=len(strays),
        )
