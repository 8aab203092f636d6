"""The points of real actors: functions that they call are wrapped, so that a life can end or be stopped there."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any
from unittest.mock import patch

from common.messaging.envelope import Envelope
from common.messaging.mailbox import Mailbox
from common.messaging.publisher import Publisher
from common.messaging.streams import Entry
from common.postgres.database import Database
from common.runtime import reconciler
from payment.stripe_api import StripeApi
from tests.races.lives import Point, current, reach

# Seconds between two scans of a reconciler, so that it soon finds rows that a test has made due.
SCAN_S = 0.05
# Seconds between two scans of a consumer for entries of dead actors.
CLAIM_S = 0.05


@contextmanager
def pointed() -> Iterator[None]:
    """Inside, every actor with a life reaches its points."""
    begin, finish, entries = Mailbox.begin, Mailbox.finish, Mailbox.entries
    publish, send = Publisher.publish, Publisher.send
    transaction, call = Database.transaction, StripeApi.call

    async def pointed_begin(self: Mailbox, *args: Any) -> None:
        self._next_claim = min(self._next_claim, time.monotonic() + CLAIM_S)
        await begin(self, *args)

    async def pointed_finish(self: Mailbox) -> None:
        await finish(self)
        await reach(Point.ACKNOWLEDGED)

    async def pointed_entries(self: Mailbox) -> list[Entry]:
        found = await entries(self)
        if found:
            await reach(Point.READ)
        return found

    async def pointed_publish(self: Publisher, envelopes: Iterable[Envelope]) -> None:
        envelopes = list(envelopes)
        life = current()
        if life is not None and len(envelopes) > 1:
            if life.doomed(Point.HALF_PUBLISHED):
                await publish(self, envelopes[: len(envelopes) // 2])
            await reach(Point.HALF_PUBLISHED)
        await publish(self, envelopes)
        await reach(Point.PUBLISHED)

    async def pointed_send(self: Publisher, *args: Any) -> None:
        await send(self, *args)
        await reach(Point.ACKNOWLEDGED)

    @asynccontextmanager
    async def pointed_transaction(self: Database) -> AsyncIterator[Any]:
        async with transaction(self) as connection:
            yield connection
            await reach(Point.LOCKED)
        await reach(Point.COMMITTED)

    def pointed_statement(self: Database) -> AbstractAsyncContextManager[Any]:
        """A statement with a commit of its own: an actor killed there may or may not have committed it."""
        return self.transaction()

    async def pointed_call(self: StripeApi, operation: str, *args: Any, **options: Any) -> Any:
        await reach(Point.BEFORE_STRIPE, operation)
        answer = await call(self, operation, *args, **options)
        await reach(Point.AFTER_STRIPE, operation)
        return answer

    with (
        patch.object(Mailbox, "begin", pointed_begin),
        patch.object(Mailbox, "finish", pointed_finish),
        patch.object(Mailbox, "entries", pointed_entries),
        patch.object(Publisher, "publish", pointed_publish),
        patch.object(Publisher, "send", pointed_send),
        patch.object(Database, "transaction", pointed_transaction),
        patch.object(Database, "statement", pointed_statement),
        patch.object(StripeApi, "call", pointed_call),
        patch.object(reconciler, "POLL_SECONDS", SCAN_S),
    ):
        yield
