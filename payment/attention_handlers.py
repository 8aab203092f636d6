"""What needs a person, as far as payment knows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from redis.asyncio import Redis

from common.contracts.attention import KnownAttention
from common.contracts.messages import GetPaymentAttention
from common.messaging.batch import Handlers
from common.messaging.dead_letters import dead_letter_items
from common.messaging.envelope import Delivery, Envelope, answers
from payment.repository import Store


class AttentionHandlers:
    """`mailboxes`: those whose dead letters payment knows."""

    def __init__(self, store: Store, redis: Redis, mailboxes: Sequence[str], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._redis = redis
        self._mailboxes = mailboxes
        self._clock = clock
        self.queries: Handlers = {GetPaymentAttention: self.get_attention}

    async def get_attention(self, deliveries: Sequence[Delivery]) -> list[Envelope]:
        """It is the same for all who ask at once."""
        now = self._clock()
        async with self._store.reading() as rows:
            items = await rows.attention.items()
        items += await dead_letter_items(self._redis, self._mailboxes, now)
        known = KnownAttention(items=tuple(items))
        return answers((delivery, known) for delivery in deliveries)
