"""Who has asked to be forgotten is erased from all bookings: here it begins, and the reconciler does it, some at a
time. The payment actor has nothing to erase: it drops an email address with Stripe's answer to the request that has
it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from booking.repository import Store
from common.contracts.messages import EraseCustomers
from common.contracts.resources import Erasure
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, answer_each


class ErasureHandlers:
    """Erasures are rare: each has a transaction of its own."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self.commands: Handlers = {EraseCustomers: self.erase}

    async def erase(self, deliveries: Sequence[Delivery]) -> list[Envelope]:
        return await answer_each(deliveries, self._once)

    async def _once(self, delivery: Delivery) -> Any:
        """A repeated request gets the answer of the first one. Raises the error that refuses it."""
        message: EraseCustomers = delivery.message
        async with self._store.transaction() as rows:
            await rows.erasures.lock()
            now, by = self._clock(), message.requester
            await rows.requests.open([delivery], now)
            if (answered := rows.requests.answer_to(delivery)) is not None:
                return answered
            # These are few, and nothing else is to be done for them.
            await rows.waiting.erase(message.subject, message.email)
            begun = Erasure(asked_at=now, by=by, bookings=await rows.erasures.add(message, now, by))
            rows.requests.keep(delivery, begun)
            await rows.requests.save()
        return begun
