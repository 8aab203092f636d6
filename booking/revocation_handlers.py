"""Revoked tokens: operators revoke them, gateways read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from booking.faults import Fault, refuse
from booking.query_handlers import by_time, page_of
from booking.repository import Store
from booking.revocation_rows import Revoked
from common.contracts.errors import HoldfastError
from common.contracts.messages import ListRevocations, RevokeTokens, TokensRevoked
from common.contracts.resources import Revocation
from common.messaging.batch import Handlers
from common.messaging.envelope import Delivery, Envelope, answer, answer_each, envelope_for


class RevocationHandlers:
    """Revocations are rare: each has a transaction of its own."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self.commands: Handlers = {RevokeTokens: self.revoke}
        self.queries: Handlers = {ListRevocations: self.list}

    async def revoke(self, deliveries: Sequence[Delivery]) -> list[Envelope]:
        """Answer with the revocation, and notify all gateways of it, also when the request was carried out before:
        the process that did may have ended between its commit and its notification."""
        following: list[Envelope] = []
        for delivery in deliveries:
            try:
                revocation = await self._once(delivery)
            except HoldfastError as refused:
                following += answer(delivery, refused)
            else:
                following.append(envelope_for(TokensRevoked(revocation=revocation), "tokens", cause=delivery))
                following += answer(delivery, revocation)
        return following

    async def _once(self, delivery: Delivery) -> Revocation:
        """A repeated request gets the answer of the first one. Raises the error that refuses it."""
        message: RevokeTokens = delivery.message
        async with self._store.transaction() as rows:
            await rows.revocations.lock()
            now = self._clock()
            await rows.requests.open([delivery], now)
            if (answered := rows.requests.answer_to(delivery)) is not None:
                return Revocation.model_validate(answered)
            if message.expires_at <= now:
                refuse([Fault(("expires_at",), "date_in_past", "tokens that have ended need not be revoked", now)])
            revocation = (await rows.revocations.revoke(message, now)).shown()
            if message.claim == "sub":  # who had the subject's token may have made a code to come back by
                await rows.recovery.delete(message.value)
            rows.requests.keep(delivery, revocation)
            await rows.requests.save()
        return revocation

    async def list(self, deliveries: Sequence[Delivery]) -> list[Envelope]:
        async with self._store.reading() as rows:

            async def page(delivery: Delivery) -> Any:
                message: ListRevocations = delivery.message
                found = await rows.revocations.page(message.before, message.limit + 1)
                return page_of(found, message.limit, Revoked.shown, by_time("revoked_at"))

            return await answer_each(deliveries, page)
