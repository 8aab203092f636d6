"""Buys a ticket on the local stack (`make up`), and pays as Stripe.js does, at the stand-in for Stripe:

PYTHONPATH=clients/python .venv/bin/python clients/python/examples/buy.py
"""

from __future__ import annotations

import asyncio
import sys
from typing import TextIO

import aiohttp

from holdfast_client import Holdfast, is_decided, is_payable
from holdfast_client.types import PaymentIntent


async def pay(stripe: str, intent: PaymentIntent) -> str:
    """As Stripe.js does it in a browser; returns the intent's status."""
    url = f"{stripe}/v1/payment_intents/{intent['payment_intent_id']}/confirm"
    headers = {"Authorization": f"Bearer {intent['publishable_key']}"}
    form = {"client_secret": intent["client_secret"], "payment_method": "pm_card_visa", "use_stripe_sdk": "true"}
    async with aiohttp.ClientSession() as session, session.post(url, headers=headers, data=form) as answer:
        return str((await answer.json())["status"])


async def buy(gateway: str, stripe: str, out: TextIO) -> None:
    async with Holdfast(gateway) as holdfast:
        await holdfast.guest()
        event = (await holdfast.events({"on_sale": True}))["items"][0]
        row = event["ticket_types"][0]
        held = await holdfast.book(
            {
                "event_id": event["id"],
                "items": [{"ticket_type_id": row["id"], "quantity": 2}],
                "customer": {"name": "Ada Lovelace", "email": "ada@example.com", "locale": "en"},
            }
        )
        out.write(f"booked: {held['id']} {held['amount']} {held['currency']}\n")

        booking = await holdfast.wait_until(held, lambda now: is_payable(now) or is_decided(now))
        if is_payable(booking):
            out.write(f"paid: {await pay(stripe, await holdfast.payment_intent(booking['id']))}\n")
        async with holdfast.watch(booking) as changes:
            async for now in changes:
                out.write(f"booking: {now['status']} {now['payment']['status']}\n")
                if is_decided(now):
                    return


if __name__ == "__main__":
    local = ["http://127.0.0.1:8080", "http://127.0.0.1:12111"]
    gateway, stripe = sys.argv[1:] + local[len(sys.argv) - 1 :]
    asyncio.run(buy(gateway, stripe, sys.stdout))
