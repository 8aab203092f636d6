"""An actor is stopped for longer than its entries' idle time, at every dangerous point, and continues when another
actor has done its work: it changes nothing, and nothing counts twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any, cast
from uuid import uuid4

import pytest

from common.contracts.messages import (
    BOOKING_COMMANDS,
    PAYMENT_COMMANDS,
    PAYMENT_INTENTS,
    CancelBooking,
    CreateBooking,
    CreateEvent,
    ItemRequest,
)
from common.contracts.resources import Booking
from common.contracts.statuses import CancelReason
from common.messaging.calls import Calls
from ops.audit.command import examine
from tests.booking.stage import new_event
from tests.common.stage import until
from tests.races.fleet import InProcess
from tests.races.harness import BOOKINGS, SEATS
from tests.races.lives import Gate, Life, Point
from tests.races.run import open_bus
from tests.sandbox.stand import CONTROL

ANSWER_S = 20.0
BOOKING_POINTS = (Point.READ, Point.LOCKED, Point.COMMITTED)
AT_STRIPE = (Point.BEFORE_STRIPE, Point.AFTER_STRIPE)
PAYMENT_POINTS = (Point.READ, Point.LOCKED, Point.BEFORE_STRIPE, Point.AFTER_STRIPE, Point.COMMITTED)

_numbers = count(1)


@dataclass
class Scene:
    """One event with one seat, and what customers do with it."""

    fleet: InProcess
    bus: Calls
    event: CreateEvent
    started: datetime

    def order(self) -> CreateBooking:
        items = (ItemRequest(ticket_type_id=self.event.ticket_types[0].id, quantity=1),)
        owner = f"customer-{next(_numbers)}"
        return CreateBooking(booking_id=uuid4(), owner=owner, event_id=self.event.event_id, items=items)

    async def book(self, order: CreateBooking) -> Booking:
        """The answer to a request that is sent once only."""
        result = await self.bus.call(order, order.booking_id, timeout_s=ANSWER_S)
        return Booking.model_validate(result["booking"])

    async def row(self, order: CreateBooking) -> Any:
        rows = await self.fleet.harness.booking.fetch(BOOKINGS, self.event.event_id)
        return next(row for row in rows if row["id"] == order.booking_id)

    async def until_row(self, order: CreateBooking, **wanted: str) -> Any:
        async def fits() -> bool:
            row = await self.row(order)
            return all(row[name] == value for name, value in wanted.items())

        await self.fleet.harness.until(self.event.event_id, fits)
        return await self.row(order)

    async def payment(self, order: CreateBooking) -> Any:
        return await self.fleet.harness.payment.fetchrow(
            "SELECT * FROM payments WHERE booking_id = $1", order.booking_id
        )

    async def pay(self, order: CreateBooking) -> None:
        row = await self.until_row(order, payment="awaiting")
        assert await self.fleet.harness.confirm(row["intent_id"])
        await self.until_row(order, status="confirmed")

    async def at_stripe(self, kind: str, order: CreateBooking) -> list[dict[str, Any]]:
        """The objects that Stripe has for `order`. `kind`: `payment_intents` or `refunds`."""
        where = self.fleet.harness.where
        auth = {"Authorization": f"Bearer {where.stripe_key}"}
        url = f"{where.stripe_base}/v1/{kind}?limit=100"
        async with self.fleet.harness.session.get(url, headers=auth) as answer:
            found = (await answer.json())["data"]
        return [each for each in found if each["metadata"].get("booking_id") == str(order.booking_id)]

    @asynccontextmanager
    async def without_webhooks(self) -> AsyncIterator[None]:
        """Webhooks wait, so that no actor learns from one what the stopped actor has made at Stripe."""
        url = f"{self.fleet.harness.where.stripe_base}/_sandbox/webhooks"
        async with self.fleet.harness.session.post(f"{url}/pause", headers=CONTROL):
            yield
        async with self.fleet.harness.session.post(f"{url}/resume", headers=CONTROL):
            pass

    async def comes_back(self, gate: Gate) -> None:
        """Let the stopped actor continue, and wait until it has acknowledged its entry."""
        life = gate.stopped
        assert life is not None
        assert not gate.open.is_set()
        done = life.reached[Point.ACKNOWLEDGED]
        gate.open.set()
        await until(lambda: life.reached[Point.ACKNOWLEDGED] > done)
        assert not life.dead.is_set()

    async def at_rest(self) -> None:
        """Wait until no work is left. The audit must find nothing."""
        await self.fleet.harness.at_rest(self.event.event_id)
        audited = await examine(self.fleet.harness.where, self.started, wait_seconds=0)
        assert audited.clean, audited.mismatches


@pytest.fixture
async def scene(fleet: InProcess) -> AsyncIterator[Scene]:
    started = datetime.now(UTC)
    url = fleet.harness.where.redis_url
    assert url is not None
    async with open_bus(url) as bus:
        event = new_event(1, cancel_until=datetime(2030, 12, 31, tzinfo=UTC))
        await bus.call(event, event.event_id, timeout_s=ANSWER_S)
        yield Scene(fleet, bus, event, started)
    fleet.open_gates()
    await fleet.spare()


def stopped(gate: Gate) -> Life:
    assert gate.stopped is not None
    return gate.stopped


@pytest.mark.parametrize("point", BOOKING_POINTS)
async def test_a_seat_is_given_once_though_a_stopped_actor_continues_late(scene: Scene, point: Point) -> None:
    """The client gets its answer from another actor while the first one is stopped, even when that one has locked
    the rows. Other clients are refused, before and after it continues."""
    gate = scene.fleet.gate("booking", point, BOOKING_COMMANDS)
    first, second, third = scene.order(), scene.order(), scene.order()
    booking = asyncio.create_task(scene.book(first))
    await gate.reached.wait()
    assert (await booking).reason is None
    assert (await scene.book(second)).reason == "sold_out"
    before = await scene.until_row(first, payment="awaiting")
    await scene.comes_back(gate)
    assert (await scene.book(third)).reason == "sold_out"
    assert dict(await scene.row(first)) == dict(before)
    (seats,) = await scene.fleet.harness.booking.fetch(SEATS, scene.event.event_id)
    assert (seats["held"], seats["sold"]) == (1, 0)
    assert len(await scene.at_stripe("payment_intents", first)) == 1
    await scene.at_rest()


@pytest.mark.parametrize("point", PAYMENT_POINTS)
async def test_an_intent_is_made_once_though_a_stopped_actor_continues_late(scene: Scene, point: Point) -> None:
    """The customer has paid by then: what the late actor knows is older, and changes nothing."""
    gate = scene.fleet.gate("payment", point, "create_intent" if point in AT_STRIPE else PAYMENT_INTENTS)
    order = scene.order()
    async with scene.without_webhooks():
        await scene.book(order)
        await gate.reached.wait()
        await scene.until_row(order, payment="awaiting")
    await scene.pay(order)
    booking, payment = await scene.row(order), await scene.payment(order)
    await scene.comes_back(gate)
    await scene.at_rest()
    assert dict(await scene.row(order)) == dict(booking)
    now = await scene.payment(order)
    assert (now["status"], now["version"]) == (payment["status"], payment["version"])
    assert [intent["status"] for intent in await scene.at_stripe("payment_intents", order)] == ["succeeded"]


@pytest.mark.parametrize("point", PAYMENT_POINTS)
async def test_money_goes_back_once_though_a_stopped_actor_continues_late(scene: Scene, point: Point) -> None:
    order = scene.order()
    await scene.book(order)
    await scene.pay(order)
    await scene.at_rest()
    gate = scene.fleet.gate("payment", point, "create_refund" if point in AT_STRIPE else PAYMENT_COMMANDS)
    cancel = CancelBooking(booking_id=order.booking_id, owner=order.owner, reason=CancelReason.BY_CUSTOMER)
    await scene.bus.call(cancel, order.booking_id, timeout_s=ANSWER_S)
    await gate.reached.wait()
    row = await scene.until_row(order, status="cancelled", payment="refunded")
    await scene.comes_back(gate)
    await scene.at_rest()
    (refund,) = await scene.at_stripe("refunds", order)
    assert refund["amount"] == row["amount"]


async def test_a_late_acknowledgement_is_of_its_own_entry_only(scene: Scene) -> None:
    """An entry that another actor is handling by then stays pending for it."""
    late = scene.fleet.gate("booking", Point.COMMITTED, BOOKING_COMMANDS)
    assert (await scene.book(scene.order())).reason is None
    await late.reached.wait()
    assert (await scene.book(scene.order())).reason == "sold_out"
    gate = Gate(Point.READ, BOOKING_COMMANDS, long=False)
    for actor in scene.fleet.actors["booking"]:
        if actor.life is not late.stopped:
            actor.life.gate = gate
    refused = asyncio.create_task(scene.book(scene.order()))
    await gate.reached.wait()
    await scene.comes_back(late)
    held = cast(Any, await scene.fleet.harness.redis.xpending_range(BOOKING_COMMANDS, "booking", "-", "+", 10))
    assert [each["consumer"].decode() for each in held] == [stopped(gate).name]
    gate.open.set()
    assert (await refused).reason == "sold_out"
    await scene.at_rest()


@pytest.mark.parametrize("point", BOOKING_POINTS)
async def test_a_stopped_actor_finishes_what_its_killed_successor_did_not(scene: Scene, point: Point) -> None:
    """The actor that claims the entry is killed before it is done; the client still gets one answer."""
    gate = scene.fleet.gate("booking", point, BOOKING_COMMANDS)
    order = scene.order()
    booking = asyncio.create_task(scene.book(order))
    await gate.reached.wait()
    successors = [each.life for each in scene.fleet.actors["booking"] if each.life is not gate.stopped]
    for life in successors:
        life.doom = (Point.READ, life.reached[Point.READ] + 1)
    await until(lambda: any(life.dead.is_set() for life in successors))
    await scene.comes_back(gate)
    assert (await booking).reason is None
    await scene.until_row(order, payment="awaiting")
    await scene.at_rest()
