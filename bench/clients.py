"""Virtual clients: each books, pays as a browser does, and is notified of it on a socket that stays open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson

from bench.errors import BenchError
from bench.stage import Stage

CARD = "pm_card_visa"
RETURN_URL = "https://tickets.example/paid"
# Longer than anything here may take: after this time no answer will come.
NOTIFIED_SECONDS_MAX = 20.0
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Sale:
    """One booking that a socket was notified of as confirmed. Times in seconds.

    `payable`: from POST /bookings to its 201 with a client secret. `notified`: from the payment's request to the
    notification on the socket, with the stand-in's own work in between.
    """

    booking_id: str
    payable: float
    notified: float


def order(event_id: str) -> bytes:
    """The body of POST /bookings: one seat of an event with one ticket type."""
    return orjson.dumps({"event_id": event_id, "quantity": 1})


class Client:
    """One customer with a token of their own, who buys one seat at a time."""

    def __init__(self, stage: Stage, subject: str) -> None:
        self._session = stage.session
        self._gateway = stage.gateway_url
        self._sandbox = stage.sandbox_url
        self._subject = subject
        self._bearer = {"Authorization": f"Bearer {stage.token(subject)}"}
        self._stripe = {"Authorization": f"Bearer {stage.stack.secrets.stripe_publishable_key}"} | FORM
        self._bookings = 0
        self._waiters: dict[str, asyncio.Future[float]] = {}
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._listening: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        url = self._gateway.replace("http", "ws", 1) + "/ws"
        self._socket = await self._session.ws_connect(url, headers=self._bearer)
        self._listening = asyncio.create_task(self._listen(self._socket), name=f"listen {self._subject}")

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening})
        if self._socket is not None:
            await self._socket.close()

    async def buy(self, body: bytes) -> Sale:
        """Book, pay, and wait for the notification. Raises BenchError if any answer is wrong."""
        started = time.perf_counter()
        booking = await self._book(body)
        payable = time.perf_counter() - started
        notified: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiters[booking["id"]] = notified
        try:
            paying = time.perf_counter()
            await self._pay(booking["payment"])
            async with asyncio.timeout(NOTIFIED_SECONDS_MAX):
                at = await notified
        except TimeoutError:
            raise BenchError(f"not notified of a confirmed booking within {NOTIFIED_SECONDS_MAX:.0f} s") from None
        finally:
            del self._waiters[booking["id"]]
        return Sale(booking["id"], payable, at - paying)

    async def _book(self, body: bytes) -> dict[str, Any]:
        self._bookings += 1
        headers = {**self._bearer, **JSON, "Idempotency-Key": f"{self._subject}-{self._bookings}"}
        url = f"{self._gateway}/bookings"
        async with self._session.post(url, data=body, headers=headers) as response:
            raw = await response.read()
        if response.status != 201:
            raise BenchError(f"POST /bookings: {response.status} {raw[:300]!r}")
        booking: dict[str, Any] = orjson.loads(raw)
        if not booking["payment"]["client_secret"]:
            raise BenchError("POST /bookings: 201 without a client secret")
        return booking

    async def _pay(self, payment: dict[str, Any]) -> None:
        """Send what Stripe.js sends for a card that works."""
        form = {"payment_method": CARD, "client_secret": payment["client_secret"], "return_url": RETURN_URL}
        url = f"{self._sandbox}/v1/payment_intents/{payment['intent_id']}/confirm"
        async with self._session.post(url, data=urlencode(form), headers=self._stripe) as response:
            raw = await response.read()
        if response.status != 200 or orjson.loads(raw)["status"] != "succeeded":
            raise BenchError(f"the payment: {response.status} {raw[:300]!r}")

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT or '"confirmed"' not in message.data:
                continue
            now = time.perf_counter()
            booking = orjson.loads(message.data)["booking"]
            waiter = self._waiters.get(booking["id"])
            if booking["status"] == "confirmed" and waiter is not None and not waiter.done():
                waiter.set_result(now)
        for waiter in self._waiters.values():
            if not waiter.done():
                waiter.set_exception(BenchError(f"the socket was closed with {socket.close_code}"))


@asynccontextmanager
async def connected(stage: Stage, count: int, name: str = "bench-client") -> AsyncIterator[list[Client]]:
    """`count` clients with open sockets; clients of another `name` are other customers."""
    clients = [Client(stage, f"{name}-{number}") for number in range(1, count + 1)]
    try:
        await asyncio.gather(*(client.connect() for client in clients))
        yield clients
    finally:
        await asyncio.gather(*(client.close() for client in clients), return_exceptions=True)
