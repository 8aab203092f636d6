"""What heals lost messages: payments and refunds that still wait for something are driven again when due.

With nothing due a pass is one look at the first entry of three partial indexes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from common.bus import Bus
from common.envelope import Envelope, tell
from common.messages import RefundPayment
from common.settler import Settler
from payment.handlers import drive
from payment.reports import report
from payment.repository import Repository

# Rows of one kind taken in one pass: about what is published in one pipeline.
PASS_MAX = 200
# Rows may become due sooner than the ones that were there at the last look: so long that may go unseen.
LOOK_S = 2.0
# Between passes while there is more than one pass can take.
BUSY_S = 0.05

log = structlog.get_logger()


class PaymentSettler(Settler):
    def __init__(self, repository: Repository, bus: Bus, clock: Callable[[], datetime]) -> None:
        super().__init__()
        self._repository = repository
        self._bus = bus
        self._clock = clock

    async def run_once(self) -> float:
        """Drive what is due; says after how many seconds to look again."""
        now = self._clock()
        due = await self._repository.next_due()
        if due is None:
            return LOOK_S
        if due > now:
            return min(LOOK_S, (due - now).total_seconds())
        reports = await self._repository.due_reports(now, PASS_MAX)
        payments = await self._repository.due_payments(now, PASS_MAX)
        refunds = await self._repository.due_refunds(now, PASS_MAX)
        envelopes: list[Envelope] = [envelope for payment, of in reports for envelope in report(payment, of)]
        envelopes += [drive(payment) for payment in payments]
        envelopes += [
            tell(
                RefundPayment(booking_id=refund.booking_id, refund_id=refund.id, amount=refund.amount),
                refund.booking_id,
            )
            for refund in refunds
        ]
        # The next times are committed: what is lost from here on comes again then.
        await self._bus.publish(envelopes)
        log.info("settled", reports=len(reports), payments=len(payments), refunds=len(refunds))
        return BUSY_S
