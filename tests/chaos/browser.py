"""What is done at Stripe by others than Holdfast; it may be slow, failing or away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from tests.acceptance.client import Json
from tests.acceptance.stripe_side import StripeSide
from tests.chaos.visitor import NO_ANSWER

# Stripe.js gives up a request after a while, and tries again.
PATIENCE_S = 8.0
AGAIN_S = 0.5


class Paid(Enum):
    """What became of an attempt to pay."""

    TAKEN = "taken"
    DECLINED = "declined"
    REFUSED = "refused"
    """There is nothing to pay at Stripe any more, be it that the money was taken."""
    LEFT = "left"
    """The customer no longer wants to."""


class Browser:
    """Pays as Stripe.js does, and refunds as the dashboard does."""

    def __init__(self, stripe: StripeSide) -> None:
        self._stripe = stripe

    async def pay(self, payment: Json, method: str, wanted: Callable[[], bool]) -> Paid:
        """Try until Stripe says what became of it, as long as it is `wanted`."""
        while wanted():
            try:
                async with asyncio.timeout(PATIENCE_S):
                    answer = await self._stripe.confirm(payment, method)
                    if answer.status == 200 and answer.body["status"] == "requires_action":
                        answer = await self._stripe.authenticate(answer.body)
            except NO_ANSWER:
                await asyncio.sleep(AGAIN_S)
                continue
            if answer.status < 300:
                return Paid.TAKEN
            if answer.status == 402:
                return Paid.DECLINED
            if 400 <= answer.status < 500 and answer.status not in (409, 429):
                return Paid.REFUSED
            await asyncio.sleep(AGAIN_S)
        return Paid.LEFT

    async def refund(self, intent_id: str) -> bool:
        """Give all that is left back by hand; False when nothing is."""
        try:
            await self._stripe.control(f"/payment_intents/{intent_id}/refund")
        except AssertionError:
            return False
        return True
