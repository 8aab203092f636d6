"""Customers with one booking each, for tests in which many customers do different things."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.acceptance.client import MAX_WAIT_SECONDS, Answer, Client, Json
from tests.acceptance.holdfast import Holdfast
from tests.acceptance.stripe_side import VISA

# For an event whose customers may cancel a paid booking.
CANCELLABLE = {"cancel_until": "2090-05-01T00:00:00Z"}

# When a client has waited this long for a notification, it asks for the booking.
SILENCE_SECONDS = 5.0


@dataclass
class Customer:
    """One client and their booking, as they last saw it. `payment` is what their browser pays with, even when the
    booking needs no payment any more."""

    holdfast: Holdfast
    client: Client
    booking: Json
    payment: Json = field(init=False)

    def __post_init__(self) -> None:
        self._note(self.booking)

    def _note(self, booking: Json) -> Json:
        self.booking = booking
        if booking["payment"]["client_secret"] is not None:
            self.payment = booking["payment"]
        return booking

    @property
    def id(self) -> str:
        id: str = self.booking["id"]
        return id

    @property
    def intent_id(self) -> str:
        id: str = self.payment["intent_id"]
        return id

    async def tries(self, method: str = VISA) -> Answer:
        """Try to pay. Returns Stripe's answer."""
        return await self.holdfast.stripe.confirm(self.payment, method)

    async def pays(self, method: str = VISA) -> Json:
        return (await self.tries(method)).ok()

    async def cancels(self) -> Answer:
        return await self.client.request("POST", f"/bookings/{self.id}/cancel")

    async def sees(self) -> Json:
        return self._note(await self.client.booking(self.id))

    async def receives(self, wanted: str | Callable[[Json], bool]) -> Json:
        """The booking, once a new socket shows it as `wanted`. When the socket stays silent, the customer asks
        again, as clients should, because Redis may have lost the notification or the request."""
        async with self.client.live() as live:
            until = asyncio.get_running_loop().time() + MAX_WAIT_SECONDS
            while asyncio.get_running_loop().time() < until:
                if (await live.snapshot(booking_id=self.id))["type"] == "snapshot":
                    with suppress(TimeoutError):
                        return self._note(await live.until(self.id, wanted, seconds=SILENCE_SECONDS))
        raise AssertionError(f"received {live.received} after {MAX_WAIT_SECONDS} s")

    async def receives_payment(self, status: str) -> Json:
        return await self.receives(lambda now: bool(now["payment"]["status"] == status))

    async def buys(self) -> Json:
        """Pay and be confirmed."""
        await self.pays()
        return await self.receives("confirmed")


async def customer(holdfast: Holdfast, event: Json, prefer: str = "wait=30") -> Customer:
    """A new customer with one seat, which can be paid if that is so within the time that `prefer` says."""
    client = holdfast.client()
    answer = await client.book(event, 1, prefer=prefer)
    assert answer.status in (201, 202), answer.body
    return Customer(holdfast, client, answer.body)


async def customers(holdfast: Holdfast, event: Json, count: int) -> list[Customer]:
    """`count` new customers, each of whom can pay."""
    found = await asyncio.gather(*(customer(holdfast, event) for _ in range(count)))
    for each in found:
        was = each.booking["payment"]
        assert was["client_secret"] is not None, f"{each.id} was {was}, and is {await each.client.booking(each.id)}"
    return found


async def operator_refunds(holdfast: Holdfast, who: Customer, key: str, amount: int | None = None) -> Answer:
    """Refund as always the same operator, so that `key` names one refund."""
    operator = holdfast.client("cashier", operator=True)
    body = {} if amount is None else {"amount": amount}
    headers = {"Idempotency-Key": key}
    return await operator.request("POST", f"/admin/bookings/{who.id}/refund", json=body, headers=headers)


async def operator_cancels(holdfast: Holdfast, who: Customer) -> Answer:
    return await holdfast.client(operator=True).request("POST", f"/bookings/{who.id}/cancel")


async def seats(holdfast: Holdfast, event: Json) -> int:
    """How many seats of the event's first ticket type are free."""
    free: int = (await holdfast.event_now(event))["ticket_types"][0]["available"]
    return free
