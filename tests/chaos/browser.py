"""What customers and operators do at Stripe, which may be slow, failing or unavailable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from tests.acceptance.client import Json
from tests.acceptance.stripe_side import StripeSide
from tests.chaos.visitor import NO_ANSWER

# Seconds after which Stripe.js gives up a request, and after which it retries.
ANSWER_MAX_S = 8.0
AGAIN_S = 0.5


class Paid(Enum):
    """The result of an attempt to pay."""

    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    REFUSED = "refused"
    """Stripe refuses: the intent needs no payment any more, perhaps because it is paid."""
    LEFT = "left"
    """The customer no longer wants to pay."""


class Browser:
    """Pays as Stripe.js does, and refunds as a person in the dashboard does."""

    def __init__(self, stripe: StripeSide) -> None:
        self._stripe = stripe

    async def pay(self, payment: Json, method: str, wanted: Callable[[], bool]) -> Paid:
        """Try until Stripe answers with a result, while it is `wanted`."""
        while wanted():
            try:
                async with asyncio.timeout(ANSWER_MAX_S):
                    answer = await self._stripe.confirm(payment, method)
                    if answer.status == 200 and answer.body["status"] == "requires_action":
                        answer = await self._stripe.authenticate(answer.body)
            except NO_ANSWER:
                await asyncio.sleep(AGAIN_S)
                continue
            if answer.status < 300:
                return Paid.SUCCEEDED
            if answer.status == 402:
                return Paid.DECLINED
            if 400 <= answer.status < 500 and answer.status not in (409, 429):
                return Paid.REFUSED
            await asyncio.sleep(AGAIN_S)
        return Paid.LEFT

    async def refund(self, intent_id: str) -> bool:
        """Refund all that is left by hand. Returns False when nothing is left."""
        try:
            await self._stripe.control(f"/payment_intents/{intent_id}/refund")
        except AssertionError:
            return False
        return True
