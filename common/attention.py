"""What needs a person, as far as one actor knows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from redis.asyncio import Redis

from common.contracts.attention import RECENT, KnownAttention
from common.messaging.dead_letters import dead_letter_items
from common.messaging.envelope import Delivery, Envelope, answers
from common.postgres.attention import AttentionRows


class Rows(Protocol):
    """The rows of an actor's database."""

    @property
    def attention(self) -> AttentionRows: ...


class AttentionHandlers:
    """`reading`: opens the actor's database. `mailboxes`: those whose dead letters it knows."""

    def __init__(
        self,
        reading: Callable[[], AbstractAsyncContextManager[Rows]],
        redis: Redis,
        mailboxes: Sequence[str],
        clock: Callable[[], datetime],
    ) -> None:
        self._reading = reading
        self._redis = redis
        self._mailboxes = mailboxes
        self._clock = clock

    async def get_attention(self, deliveries: Sequence[Delivery]) -> list[Envelope]:
        """It is the same for all who ask at once."""
        now = self._clock()
        async with self._reading() as rows:
            items = await rows.attention.items(now - RECENT)
        items += await dead_letter_items(self._redis, self._mailboxes, now)
        known = KnownAttention(items=tuple(items))
        return answers((delivery, known) for delivery in deliveries)
