"""The customers: each books, then does one of the things that customers do, and waits until the booking ends."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from common.contracts.ids import booking_id
from tests.acceptance.client import Json
from tests.acceptance.stripe_side import AUTHENTICATED, BANK_DEBIT, DECLINED, VISA
from tests.chaos.browser import Browser, Paid
from tests.chaos.codes import QUOTED, USED_UP, misquoted
from tests.chaos.screen import Screen
from tests.chaos.visitor import Visitor

# After this many seconds without a notification a careful client asks for the booking.
SILENCE_S = 4.0
# Longer than a hold, its grace time and any fault, in seconds: an order that takes longer breaks a promise.
JOURNEY_S = 120.0
# The last moment to pay: seconds from the end of the hold, a little before or after it.
LAST_MOMENT_S = (-0.8, 0.4)

FINAL_MONEY = ("none", "paid", "refunded", "partially_refunded", "refund_failed", "disputed")

Wanted = Callable[[Json], bool]


def ended(booking: Json) -> bool:
    """Whether it has ended, and no money is on its way."""
    return booking["status"] != "pending" and booking["payment"]["status"] in FINAL_MONEY


def payable(booking: Json) -> bool:
    return booking["status"] == "pending" and booking["payment"]["client_secret"] is not None


@dataclass(frozen=True)
class Order:
    """What a customer wants: `quantity` seats, and then what `wish` names. `key` is the Idempotency-Key; `email`:
    to whom mails about it go, None if nobody has said; `code`: a promo code, `row`: which of the event's ticket
    types."""

    event: Json
    quantity: int
    wish: str
    key: str
    email: str | None = None
    code: str | None = None
    row: int = 0

    @property
    def seats(self) -> Json:
        return {"ticket_type_id": self.event["ticket_types"][self.row]["id"], "quantity": self.quantity}

    @property
    def customer(self) -> Json:
        """Whom it is for, as a part of a request's body."""
        if self.email is None:
            return {}
        return {"customer": {"name": "A customer", "email": self.email, "locale": "en"}}


# Error codes of a booking that ended before its client got an answer: it waited in a mailbox, or for its intent.
ENDED = ("hold_expired", "payment_canceled", "payment_rejected", "event_cancelled", "booking_cancelled")
# Error codes by which seats may be refused.
REFUSED = ("sold_out", "not_on_sale", *ENDED)


class Shopper:
    """One customer with one socket, who may have several bookings at once."""

    def __init__(self, subject: str, visitor: Visitor, screen: Screen, browser: Browser, cashier: Visitor) -> None:
        self.subject = subject
        self.visitor = visitor
        self.screen = screen
        self._browser = browser
        self._cashier = cashier
        # The order of each booking, by the booking's id.
        self.ordered: dict[str, Order] = {}
        self._began: dict[str, float] = {}
        # How many orders, by their promo code or else their wish, and by how they ended.
        self.endings: Counter[tuple[str, str]] = Counter()

    async def go(self, order: Order, offer: str | None = None) -> None:
        """Do all of one order to its end, from the booking, or from the `offer`, which is one, by its id."""
        id = offer or str(booking_id(self.subject, order.key))
        self.ordered[id] = order
        self._began[id] = self.visitor.judge.now
        await self.screen.open(id)
        ending = "left"
        try:
            async with asyncio.timeout(JOURNEY_S):
                refused = await self._book(id, order) if offer is None else None
                ending = refused or await self._go(id, order)
        except TimeoutError:
            self.visitor.judge.breaks("a client comes to an end", f"{order.wish} {id}: {self._known(id)}")
        finally:
            self.endings[order.code or order.wish, ending] += 1
        await self.screen.close(id)

    async def _go(self, id: str, order: Order) -> str:
        await WISHES[order.wish](self, id)
        booking = await self._until(id, ended)
        self._judge_end(order, booking)
        return f"{booking['status']} {booking['reason'] or ''}".strip()

    def _known(self, id: str) -> Json | None:
        return self.visitor.witness.newest.get(id)

    # --- booking --------------------------------------------------------------------------------------------

    async def _book(self, id: str, order: Order) -> str | None:
        """Book, until there is a booking (returns None) or it is refused (returns the reason). Who has a promo code
        asks what the seats cost, and pays no other price."""
        body: Json = {"event_id": order.event["id"], "items": [order.seats]}
        quote: Json | None = None
        if order.code is not None:
            body["code"] = order.code
            answer = await self.visitor.insist("POST", "/quotes", json=body)
            assert answer is not None
            if answer.code in (*USED_UP, *REFUSED):
                return answer.code
            quote = answer.ok()
            body["expected_amount"] = quote["amount"]
        tries = [self._book_once(id, order, body) for _ in range(2 if order.wish == TWICE else 1)]
        (refused, *_) = await asyncio.gather(*tries)
        booking = self._known(id)
        if quote is not None and booking is not None and (text := misquoted(quote, booking)) is not None:
            self.visitor.judge.breaks(QUOTED, f"{id}: {text}")
        return refused

    async def _book_once(self, id: str, order: Order, body: Json) -> str | None:
        judge = self.visitor.judge
        while self._known(id) is None:
            answer = await self.visitor.insist(
                "POST", "/bookings", json=body | order.customer, headers={"Idempotency-Key": order.key}
            )
            assert answer is not None
            answered_id = answer.body.get("id", answer.body.get("booking_id", id))
            if answered_id != id:
                judge.breaks("one key is one booking", f"{order.key} is {id}, and was {answered_id}")
            if answer.status == 409 and answer.code in (*USED_UP, *REFUSED):
                return answer.code
            if answer.status not in (200, 201, 202):
                judge.breaks("a valid request succeeds", f"POST /bookings: {answer.status} {answer.body}")
                return str(answer.code)
            if self._known(id) is None:
                # Still in its mailbox. Without a notification it may be lost: then the same request is sent again.
                await self.screen.wait_for_notification(id, SILENCE_S)
        booking = self._known(id)
        return "sold_out" if booking is not None and booking["status"] == "failed" else None

    # --- waiting --------------------------------------------------------------------------------------------

    async def _until(self, id: str, wanted: Wanted) -> Json:
        """Wait until the booking is as `wanted`, and return it."""
        while True:
            booking = self._known(id)
            if booking is not None and wanted(booking):
                return booking
            if not await self.screen.wait_for_notification(id, SILENCE_S):
                await self.visitor.read(id)

    async def _payable(self, id: str) -> bool:
        """Wait until it can be paid. Returns False when it has ended before, or is about to."""
        booking = await self._until(id, lambda now: payable(now) or now["status"] != "pending" or now["closing"])
        return payable(booking)

    def _pending(self, id: str) -> bool:
        booking = self._known(id)
        return booking is None or booking["status"] == "pending"

    # --- what customers do ----------------------------------------------------------------------------------

    async def _pay(self, id: str, method: str = VISA) -> Paid:
        if not await self._payable(id):
            return Paid.LEFT
        booking = self._known(id)
        assert booking is not None
        return await self._browser.pay(booking["payment"], method, lambda: self._pending(id))

    async def buy(self, id: str) -> None:
        await self._pay(id)

    async def buy_by_request(self, id: str) -> None:
        """Pay with the answer of POST /payment/create-intent."""
        # If booking's request for the intent is lost, it is sent again after about 15 s: until then nothing can be
        # paid.
        answer = await self.visitor.insist(
            "POST",
            "/payment/create-intent",
            json={"booking_id": id},
            wanted=lambda: self._pending(id),
            since=self._began[id],
        )
        if answer is None or answer.code in ("nothing_to_pay", *ENDED):
            return
        if answer.status != 200:
            self.visitor.judge.breaks("a valid request succeeds", f"create-intent: {answer.status} {answer.body}")
            return
        await self._browser.pay(answer.body, VISA, lambda: self._pending(id))

    async def buy_with_proof(self, id: str) -> None:
        await self._pay(id, AUTHENTICATED)

    async def buy_by_debit(self, id: str) -> None:
        await self._pay(id, BANK_DEBIT)

    async def be_declined(self, id: str) -> None:
        await self._pay(id, DECLINED)

    async def be_declined_then_buy(self, id: str) -> None:
        if await self._pay(id, DECLINED) is Paid.DECLINED:
            await self._pay(id)

    async def buy_at_the_last_moment(self, id: str) -> None:
        """Pay when the hold is about to end, or has just ended: the page still has the client secret."""
        if not await self._payable(id):
            return
        booking = self.visitor.witness.newest[id]
        payment, offset_s = booking["payment"], random.Random(id).uniform(*LAST_MOMENT_S)
        left = datetime.fromisoformat(booking["expires_at"]) - datetime.now(UTC)
        await asyncio.sleep(max(0.0, left.total_seconds() + offset_s))
        await self._browser.pay(payment, VISA, lambda: self._pending(id))

    async def abandon(self, id: str) -> None:
        """Never pay: the hold expires."""

    async def cancel(self, id: str) -> None:
        answer = await self.visitor.insist("POST", f"/bookings/{id}/cancel")
        if answer is not None and answer.status not in (200, 202):
            self.visitor.judge.breaks("a valid request succeeds", f"cancel {id}: {answer.status} {answer.body}")

    async def cancel_unpaid(self, id: str) -> None:
        await self.cancel(id)

    async def buy_then_cancel(self, id: str) -> None:
        await self._pay(id)
        await self._until(id, lambda now: now["status"] != "pending")
        await self.cancel(id)

    async def pay_while_cancelling(self, id: str) -> None:
        await self._payable(id)
        await asyncio.gather(self._pay(id), self.cancel(id))

    async def be_refunded(self, id: str) -> None:
        """An operator refunds all of it."""
        await self._refunded(id)

    async def be_refunded_a_part(self, id: str) -> None:
        await self._refunded(id, 100)

    async def be_refunded_by_hand(self, id: str) -> None:
        """Somebody refunds all of it in Stripe's dashboard."""
        await self._pay(id)
        booking = await self._until(id, lambda now: now["status"] != "pending")
        if booking["status"] == "confirmed" and await self._browser.refund(booking["payment"]["intent_id"]):
            await self._until(id, lambda now: now["status"] == "cancelled")

    async def _refunded(self, id: str, amount: int | None = None) -> None:
        await self._pay(id)
        booking = await self._until(id, lambda now: now["status"] != "pending")
        if booking["status"] != "confirmed":
            return
        answer = await self._cashier.insist(
            "POST",
            f"/admin/bookings/{id}/refund",
            json={} if amount is None else {"amount": amount},
            headers={"Idempotency-Key": f"refund-{id}"},
        )
        # If the event is cancelled meanwhile, all of the money goes back without this request.
        if answer is not None and answer.status not in (200, 202) and answer.code != "conflict":
            self.visitor.judge.breaks("a valid request succeeds", f"refund {id}: {answer.status} {answer.body}")
            return
        done = ("partially_refunded", "refunded", "refund_failed")
        await self._until(id, lambda now: now["payment"]["status"] in done)

    async def be_thrown_out(self, id: str) -> None:
        """Pay; then an operator cancels the booking."""
        await self._pay(id)
        answer = await self._cashier.insist("POST", f"/bookings/{id}/cancel")
        if answer is not None and answer.status not in (200, 202):
            self.visitor.judge.breaks("a valid request succeeds", f"cancel {id}: {answer.status} {answer.body}")
        await self._until(id, lambda now: now["status"] not in ("pending", "confirmed"))

    # --- how it ended ---------------------------------------------------------------------------------------

    def _judge_end(self, order: Order, booking: Json) -> None:
        """A booking ends as its customer wanted, unless its hold expired or its event was cancelled."""
        end = (booking["status"], booking["reason"])
        always = {("cancelled", "hold_expired"), ("cancelled", "event_cancelled")}
        if end not in ENDS.get(order.wish, CONFIRMED) | always:
            self.visitor.judge.breaks("bookings end as wanted", f"{order.wish} {booking['id']}: {end}")


Wish = Callable[[Shopper, str], Awaitable[None]]
TWICE = "buys, requested twice at once"
BY_HAND = "is refunded by hand"

# How many of a hundred customers have each wish, and what they do.
SHARES: dict[str, int] = {}
WISHES: dict[str, Wish] = {}


def _wish(name: str, share: int, wish: Wish) -> None:
    SHARES[name], WISHES[name] = share, wish


_wish("buys", 24, Shopper.buy)
_wish(TWICE, 6, Shopper.buy)
_wish("buys by create-intent", 8, Shopper.buy_by_request)
_wish("buys with 3D Secure", 5, Shopper.buy_with_proof)
_wish("buys by bank debit", 4, Shopper.buy_by_debit)
_wish("is declined", 3, Shopper.be_declined)
_wish("is declined, then buys", 8, Shopper.be_declined_then_buy)
_wish("buys at the last moment", 5, Shopper.buy_at_the_last_moment)
_wish("abandons", 5, Shopper.abandon)
_wish("cancels unpaid", 7, Shopper.cancel_unpaid)
_wish("buys, then cancels", 8, Shopper.buy_then_cancel)
_wish("pays while cancelling", 5, Shopper.pay_while_cancelling)
_wish("is refunded", 4, Shopper.be_refunded)
_wish("is refunded a part", 3, Shopper.be_refunded_a_part)
_wish(BY_HAND, 2, Shopper.be_refunded_by_hand)
_wish("is thrown out", 3, Shopper.be_thrown_out)

CONFIRMED: set[tuple[str, str | None]] = {("confirmed", None)}
BY_CUSTOMER: set[tuple[str, str | None]] = {("cancelled", "by_customer")}
REFUNDED: set[tuple[str, str | None]] = {("cancelled", "refunded")}
ENDS: dict[str, set[tuple[str, str | None]]] = {
    "is declined": set(),
    "abandons": set(),
    "cancels unpaid": BY_CUSTOMER,
    "buys, then cancels": BY_CUSTOMER,
    "pays while cancelling": BY_CUSTOMER,
    "is refunded": REFUNDED,
    BY_HAND: REFUNDED,
    "is thrown out": {("cancelled", "by_operator")},
}
