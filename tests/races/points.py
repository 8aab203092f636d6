"""The points of real actors: what they call is wrapped, so that a life can end or be held there."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any
from unittest.mock import patch

from common.messaging.bus import Bus
from common.messaging.envelope import Envelope
from common.messaging.redis import Command
from common.messaging.streams import Entry, Mailbox
from common.postgres.database import Database
from common.runtime import reconciler
from payment.stripe_api import StripeApi
from tests.races.lives import Point, current, reach

# Reconcilers look so often: what was put forward in the database is seen soon.
LOOK_S = 0.05
# What the dead have left is looked for so often.
CLAIM_S = 0.05


@contextmanager
def pointed() -> Iterator[None]:
    """Inside, every actor with a life comes by its points."""
    read, publish = Mailbox.read, Bus.publish
    transaction, ask = Database.transaction, StripeApi._ask

    async def pointed_read(self: Mailbox, count: int, block_ms: int) -> list[Entry]:
        self._next_claim = min(self._next_claim, time.monotonic() + CLAIM_S)
        entries = await read(self, count, block_ms)
        if entries:
            await reach(Point.READ)
        return entries

    async def pointed_publish(self: Bus, envelopes: Iterable[Envelope], finishing: Sequence[Command] = ()) -> None:
        envelopes = list(envelopes)
        life = current()
        if life is not None and len(envelopes) > 1 and not finishing:  # with it, all is one transaction
            if life.doomed(Point.HALF_PUBLISHED):
                await publish(self, envelopes[: len(envelopes) // 2])
            await reach(Point.HALF_PUBLISHED)
        await publish(self, envelopes, finishing)
        await reach(Point.ACKNOWLEDGED if finishing else Point.PUBLISHED)

    @asynccontextmanager
    async def pointed_transaction(self: Database) -> AsyncIterator[Any]:
        async with transaction(self) as connection:
            yield connection
            await reach(Point.LOCKED)
        await reach(Point.COMMITTED)

    def pointed_statement(self: Database) -> AbstractAsyncContextManager[Any]:
        """A commit of its own: who is killed there may have made it or not."""
        return self.transaction()

    async def pointed_ask(self: StripeApi, operation: str, *args: Any, **options: Any) -> Any:
        await reach(Point.ASKING, operation)
        answer = await ask(self, operation, *args, **options)
        await reach(Point.ASKED, operation)
        return answer

    with (
        patch.object(Mailbox, "read", pointed_read),
        patch.object(Bus, "publish", pointed_publish),
        patch.object(Database, "transaction", pointed_transaction),
        patch.object(Database, "statement", pointed_statement),
        patch.object(StripeApi, "_ask", pointed_ask),
        patch.object(reconciler, "LOOK_S", LOOK_S),
    ):
        yield
