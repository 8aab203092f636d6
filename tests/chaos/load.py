"""Many customers order at several events, at a steady rate, and from time to time an event is cancelled."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from common.contracts.scopes import Scope
from tests.acceptance.client import Json
from tests.acceptance.customers import CANCELLABLE
from tests.acceptance.holdfast import STARTS_AT
from tests.chaos.browser import Browser
from tests.chaos.codes import TERMS, UNLOCKS
from tests.chaos.door import SCANNERS, Door
from tests.chaos.harness import Harness
from tests.chaos.judge import Judge
from tests.chaos.notified import ADDRESSED
from tests.chaos.screen import Screen
from tests.chaos.shopper import SHARES, Order, Shopper
from tests.chaos.visitor import Visitor
from tests.chaos.waiting import WAITING_S, Line

PRICE = 1500
SEATS, SCARCE_SEATS = 1_000_000, 30
# How many seats an event begins with that some wait for, and with each so many orders gets more.
MORE_SEATS, MORE_EVERY = 3, 4
QUANTITY_MAX = 3
# How many orders may be under way at once, so that a long fault does not collect more and more customers.
ORDERS_MAX = 400
# How many visits to the door come with an order.
VISITS = 0.5


@dataclass(frozen=True)
class Role:
    """A kind of event: which share (in percent) of the orders it gets, and after how many orders a new event
    replaces it. `cancelled`: the old one is cancelled then; `coded`: seats are ordered by promo codes; `waited`: by
    those who wait for them, and operators add some."""

    name: str
    share: int
    seats: int
    orders_max: int
    cancelled: bool = False
    coded: bool = False
    waited: bool = False


ROLES = (
    Role("plain", 25, SEATS, 1_000_000),
    Role("other", 20, SEATS, 1_000_000),
    Role("scarce", 20, SCARCE_SEATS, 250),
    Role("doomed", 15, SEATS, 40, cancelled=True),
)
NEW_ROLES = (
    Role("coded", 10, SEATS, 30, coded=True),
    Role("waited", 10, MORE_SEATS, 100, cancelled=True, waited=True),
)


@dataclass
class _Playing:
    """The event that has a role now, and the orders that it has got."""

    event: Json
    orders: int = 0


@dataclass
class Load:
    """Made by `async with crowd(...)`. New orders come only while `gate` is set. `rate`: orders a second; `door`:
    None where a release takes part that knows nothing of tickets, customers and webhooks, and then `roles` are
    without those that it does not know."""

    harness: Harness
    seed: int
    rate: float
    shoppers: list[Shopper]
    cashier: Visitor
    closes: Counter[str]
    roles: Sequence[Role]
    line: Line
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: set[asyncio.Task[None]] = field(default_factory=set)
    cancelled_events: list[str] = field(default_factory=list)
    orders: int = 0
    door: Door | None = None
    _playing: dict[str, _Playing] = field(default_factory=dict)

    @property
    def judge(self) -> Judge:
        return self.harness.judge

    async def prepare(self) -> None:
        for role in self.roles:
            await self._cast(role)

    def open_door(self, visitors: Sequence[Visitor]) -> None:
        """From now on tickets are checked. The scanners follow the event that lasts for the whole run."""
        self.door = Door(self.judge, self.seed, visitors, self._playing[ROLES[0].name].event)

    async def run(self) -> None:
        """Order at a steady rate, until cancelled."""
        loop = asyncio.get_running_loop()
        at = loop.time()
        while True:
            await self.gate.wait()
            # Orders that were left out, because the gate was closed or ORDERS_MAX reached, are not made later.
            at = max(at + 1 / self.rate, loop.time() - 0.1)
            await asyncio.sleep(at - loop.time())
            if self.gate.is_set() and len(self.under_way) < ORDERS_MAX:
                await self._order()

    async def _order(self) -> None:
        chance = random.Random(f"{self.seed}/{self.orders}")
        role = chance.choices(self.roles, [role.share for role in self.roles])[0]
        wish = chance.choices(list(SHARES), list(SHARES.values()))[0]
        shopper = self.shoppers[self.orders % len(self.shoppers)]
        playing = self._playing[role.name]
        key = f"order-{self.orders}"
        email = f"{key}@example.com" if self.orders % ADDRESSED == 0 and self.door is not None else None
        order = Order(playing.event, chance.randint(1, QUANTITY_MAX), wish, key, email)
        self.orders += 1
        playing.orders += 1
        if role.coded:
            code = chance.choice(list(TERMS))
            order = replace(order, code=code, row=int(code == UNLOCKS))
        wait = self.line.wait(shopper, order, chance.uniform(*WAITING_S)) if role.waited else None
        self._spawn(wait or shopper.go(order), order.key)
        if self.door is not None and chance.random() < VISITS:
            self._spawn(self.door.visit(self.shoppers), f"door after {order.key}")
        if role.waited and playing.orders % MORE_EVERY == 0:
            self._spawn(self._add_seats(playing), f"more seats after {order.key}")
        if playing.orders == role.orders_max:
            self._spawn(self._replace(role, playing), f"another {role.name}")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self.under_way.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.judge.breaks("answers as documented", f"{task.get_name()}: {type(error).__name__}: {error}")

    async def _replace(self, role: Role, playing: _Playing) -> None:
        await self._cast(role)
        if not role.cancelled:
            return
        id = playing.event["id"]
        answer = await self.cashier.insist("POST", f"/admin/events/{id}/cancel")
        assert answer is not None
        answer.ok(202)
        self.cancelled_events.append(id)

    async def _add_seats(self, playing: _Playing) -> None:
        """An operator adds seats to an event. It may be cancelled by then, or have more already."""
        (row,) = playing.event["ticket_types"]
        body = {"ticket_types": [{"id": row["id"], "capacity": (1 + playing.orders // MORE_EVERY) * MORE_SEATS}]}
        answer = await self.cashier.insist("PATCH", f"/admin/events/{playing.event['id']}", json=body)
        assert answer is not None
        if answer.code not in ("event_cancelled", "capacity_below_sold"):
            answer.ok()

    async def _cast(self, role: Role) -> None:
        """Make a new event for the role: one event, however often the request is sent."""
        number = len(self.cancelled_events) + self.orders
        rows = [{"name": "Row 1", "unit_amount": PRICE, "capacity": role.seats}]
        if role.coded:
            rows.append({"name": "Backstage", "unit_amount": 2 * PRICE, "capacity": role.seats, "hidden": True})
        body = {
            "name": f"{role.name} {number}",
            "starts_at": STARTS_AT,
            "currency": "eur",
            "ticket_types": rows,
            "payment_methods": "all",  # some pay by bank debit
            **CANCELLABLE,
        }
        headers = {"Idempotency-Key": f"{role.name}-{number}"}
        answer = await self.cashier.insist("POST", "/admin/events", json=body, headers=headers)
        assert answer is not None
        event = answer.ok(201)
        if role.coded:
            await self._make_codes(event)
        self._playing[role.name] = _Playing(event)

    async def _make_codes(self, event: Json) -> None:
        for code, terms in TERMS.items():
            unlocks = [event["ticket_types"][1]["id"]] if code == UNLOCKS else []
            body = {"code": code, "unlocks": unlocks, **terms}
            path, key = f"/admin/events/{event['id']}/codes", {"Idempotency-Key": f"{event['id']}-{code}"}
            answer = await self.cashier.insist("POST", path, json=body, headers=key)
            assert answer is not None
            answer.ok(201)


@asynccontextmanager
async def crowd(
    harness: Harness, seed: int, rate: float, shoppers: int, *, former: bool = False
) -> AsyncIterator[Load]:
    """A load with `shoppers` customers, who have open sockets, with the events, their door, and a receiver of
    webhooks. `former`: a release takes part that knows nothing of these. No customer orders yet; at the end all
    orders and sockets end."""
    holdfast, judge = harness.holdfast, harness.judge
    closes: Counter[str] = Counter()
    cashier = Visitor(holdfast.client("cashier", operator=True), judge)
    browser = Browser(holdfast.stripe)
    made = []
    for number in range(shoppers):
        subject = f"shopper-{number}"
        visitor = Visitor(holdfast.client(subject), judge)
        screen = Screen(visitor, holdfast.session, closes, in_message=number % 2 == 0)
        made.append(Shopper(subject, visitor, screen, browser, cashier))
    roles = ROLES if former else (*ROLES, *NEW_ROLES)
    load = Load(harness, seed, rate, made, cashier, closes, roles, Line(judge))
    if not former:
        await harness.notified.receiver.register(cashier)
    await load.prepare()
    if not former:
        clients = [holdfast.client(f"scanner-{number}", scopes=[Scope.DOOR]) for number in range(SCANNERS)]
        load.open_door([Visitor(each, judge) for each in clients])
    watching = [asyncio.create_task(each.screen.run(), name=f"screen of {each.subject}") for each in made]
    for task in watching:
        task.add_done_callback(load._done)
    try:
        yield load
    finally:
        for task in (*load.under_way, *watching):
            task.cancel()
        await asyncio.gather(*load.under_way, *watching, return_exceptions=True)
