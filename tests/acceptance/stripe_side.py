"""Stripe's side: what the customer's browser does there, what its objects are, and which faults it has."""

from __future__ import annotations

from typing import Any

import aiohttp

from ops.stack import Stack
from tests.acceptance.client import Answer, Json, send

VISA = "pm_card_visa"
DECLINED = "pm_card_visa_chargeDeclined"
AUTHENTICATED = "pm_card_threeDSecure2Required"
BANK_DEBIT = "pm_sepaDebit_success"
REFUND_FAILS = "pm_card_refundFail"
PAGE = 100


class StripeSide:
    """The sandbox of a stack."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession, control: aiohttp.ClientSession) -> None:
        assert stack.sandbox_url is not None
        self.url = stack.sandbox_url
        self._session = session
        # A session of its own, so that a test can end a fault while customers wait for a slow Stripe.
        self._control = control
        self._secret = {"Authorization": f"Bearer {stack.secrets.stripe_secret_key}"}
        self._operator = {"Authorization": f"Bearer {stack.secrets.sandbox_control_key}"}
        self._public = {"Authorization": f"Bearer {stack.secrets.stripe_publishable_key}"}

    async def confirm(self, payment: Json, method: str = VISA) -> Answer:
        """Pay as Stripe.js does: with the publishable key and the intent's client secret. `payment` is a
        booking's payment, or the answer of POST /payment/create-intent."""
        intent_id = payment.get("intent_id") or payment["payment_intent_id"]
        form = {
            "payment_method": method,
            "client_secret": payment["client_secret"],
            "use_stripe_sdk": "true",
        }
        url = f"{self.url}/v1/payment_intents/{intent_id}/confirm"
        return await send(self._session, "POST", url, data=form, headers=self._public)

    async def pay(self, booking: Json) -> Json:
        """Pay `booking` with a card that works."""
        return (await self.confirm(booking["payment"])).ok()

    async def authenticate(self, intent: Json) -> Answer:
        """Pass the 3D Secure challenge that `intent` asks for."""
        url = intent["next_action"]["use_stripe_sdk"]["stripe_js"]
        return await send(self._session, "POST", url, data={"outcome": "passed"})

    async def cancel(self, intent_id: str) -> Json:
        """Cancel an intent by hand, as in the dashboard."""
        url = f"{self.url}/v1/payment_intents/{intent_id}/cancel"
        return (await send(self._session, "POST", url, headers=self._secret)).ok()

    async def intent(self, intent_id: str) -> Json:
        url = f"{self.url}/v1/payment_intents/{intent_id}"
        return (await send(self._session, "GET", url, headers=self._secret)).ok()

    async def all(self, kind: str) -> list[Json]:
        """Every object of `kind` (`payment_intents`, `refunds`, `charges`, `events`), newest first."""
        found: list[Json] = []
        more = True
        while more:
            query: dict[str, Any] = {"limit": PAGE}
            if found:
                query["starting_after"] = found[-1]["id"]
            url = f"{self.url}/v1/{kind}"
            page = (await send(self._session, "GET", url, params=query, headers=self._secret)).ok()
            found += page["data"]
            more = page["has_more"]
        return found

    async def tries_control(self, path: str, **body: Any) -> Answer:
        """Try to change the sandbox, beside Stripe's API. Returns its answer."""
        return await send(self._control, "POST", f"{self.url}/_sandbox{path}", json=body, headers=self._operator)

    async def control(self, path: str, **body: Any) -> Json:
        """Change the sandbox, beside Stripe's API."""
        return (await self.tries_control(path, **body)).ok()

    async def faults(self, **switches: Any) -> None:
        """Make the sandbox have these faults and no others; without arguments, none."""
        await self.control("/faults", **switches)

    async def undelivered(self) -> int:
        """How many webhooks the sandbox has still to send, or to send again."""
        shown = await self._shown("/webhooks")
        pending: int = shown["deliveries"].get("pending", 0)
        return pending

    async def struck(self) -> dict[str, int]:
        """How often each fault has struck since faults were last changed."""
        done: dict[str, int] = (await self._shown("/faults"))["done"]
        return done

    async def _shown(self, path: str) -> Json:
        return (await send(self._control, "GET", f"{self.url}/_sandbox{path}", headers=self._operator)).ok()
