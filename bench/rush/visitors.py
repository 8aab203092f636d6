"""The clients of a rush: each comes once, asks for a seat until there is an answer, and pays if it has one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlencode

import orjson

from bench.clients import CARD, FORM, JSON, RETURN_URL
from bench.rush.tally import Tally
from bench.wire import Reply, Wires, request

# A client that was turned away this often gives up, which is a problem of the run.
TRIES_MAX = 30
BROKEN_MAX = 5
# What a page that polls does: GET /bookings/{id} until something has changed.
POLL_SECONDS = 1.0
SOLD_OUT = "sold_out"
COME_AGAIN = (409, 429, 503)

Booking = dict[str, Any]


class GaveUp(Exception):
    """This client gets no answer; the message says why."""


@dataclass(frozen=True)
class Targets:
    """Where the rush is: the two servers that a browser sends requests to, and what each is sent."""

    gateway: Wires
    stripe: Wires
    publishable_key: str
    order: bytes


class Visitor:
    """One client with a token of its own, at an address of this machine."""

    def __init__(
        self, targets: Targets, tally: Tally, token: str, chance: Random, address: str | None = None
    ) -> None:
        self._targets = targets
        self._address = address
        self._tally = tally
        self._token = token
        self._chance = chance

    async def visit(self) -> None:
        """Come, and stay until there is nothing more to wait for."""
        tally = self._tally
        tally.came += 1
        started = time.perf_counter()
        try:
            booking = await self._book()
            # With version 0 the request is still queued: it is no booking yet, and may still find no seats left.
            if booking["version"] == 0:
                booking = await self._until(booking["id"], lambda booking: True)
            tally.verdicts.append(time.perf_counter() - started)
            if refused(booking):
                tally.refused += 1
                return
            tally.seated += 1
            await self._buy(booking)
            tally.sales.append(time.perf_counter() - started)
            tally.confirmed.append(booking["id"])
        except GaveUp as why:
            tally.unanswered += 1
            tally.problems.append(f"a client has no answer: {why}")

    async def _book(self) -> Booking:
        headers = {"Authorization": f"Bearer {self._token}", "Idempotency-Key": "rush", **JSON}
        targets = self._targets
        reply = await self._insist(request("POST", targets.gateway.host, "/bookings", headers, targets.order))
        body: Booking = orjson.loads(reply.body)
        if reply.status == 409 and body["code"] == SOLD_OUT:
            return {"version": 1, "status": "failed", "reason": SOLD_OUT}
        if reply.status not in (200, 201, 202):
            raise GaveUp(f"POST /bookings: {reply.status} {reply.body[:200]!r}")
        return body

    async def _buy(self, booking: Booking) -> None:
        if not payable(booking):
            booking = await self._until(booking["id"], payable)
        await self._pay(booking["payment"])
        await self._until(booking["id"], lambda booking: bool(booking["status"] == "confirmed"))

    async def _pay(self, payment: dict[str, Any]) -> None:
        """Send what Stripe.js sends for a card that works."""
        form = {"payment_method": CARD, "client_secret": payment["client_secret"], "return_url": RETURN_URL}
        path = f"/v1/payment_intents/{payment['intent_id']}/confirm"
        headers = {"Authorization": f"Bearer {self._targets.publishable_key}", **FORM}
        stripe = self._targets.stripe
        reply = await stripe.send(request("POST", stripe.host, path, headers, urlencode(form).encode()))
        if reply.status != 200:
            raise GaveUp(f"the payment: {reply.status} {reply.body[:200]!r}")

    async def _until(self, booking_id: str, enough: Callable[[Booking], bool]) -> Booking:
        """Get the booking again and again, until it is `enough` or has failed."""
        headers = {"Authorization": f"Bearer {self._token}"}
        request_bytes = request("GET", self._targets.gateway.host, f"/bookings/{booking_id}", headers)
        while True:
            await asyncio.sleep(POLL_SECONDS * self._chance.uniform(0.8, 1.2))
            reply = await self._insist(request_bytes)
            if reply.status == 404:  # still queued
                continue
            if reply.status != 200:
                raise GaveUp(f"GET /bookings/…: {reply.status} {reply.body[:200]!r}")
            booking: Booking = orjson.loads(reply.body)
            if enough(booking) or booking["status"] in ("failed", "cancelled"):
                return booking

    async def _insist(self, request_bytes: bytes) -> Reply:
        """Send the request; if the answer says when to come again, repeat it then."""
        broken = 0
        for _ in range(TRIES_MAX):
            started = time.perf_counter()
            try:
                reply = await self._targets.gateway.send(request_bytes, self._address)
            except OSError as error:
                broken += 1
                self._tally.problems.append(f"a connection broke: {error}")
                if broken == BROKEN_MAX:
                    raise GaveUp(str(error)) from None
                await asyncio.sleep(POLL_SECONDS)
                continue
            come_again = reply.status in COME_AGAIN and reply.retry_after is not None
            self._tally.answered(reply.status, time.perf_counter() - started, come_again=come_again)
            if not come_again:
                return reply
            assert reply.retry_after is not None
            # Clocks differ, so each client comes at its own time within the second after.
            await asyncio.sleep(reply.retry_after + self._chance.random())
        raise GaveUp(f"turned away {TRIES_MAX} times")


def refused(booking: Booking) -> bool:
    return bool(booking["status"] == "failed" and booking["reason"] == SOLD_OUT)


def payable(booking: Booking) -> bool:
    return bool(booking["status"] == "pending" and booking["payment"].get("client_secret"))
