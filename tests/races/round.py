"""One round: customers want few seats while actors are killed; then everything must add up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from common.contracts.errors import HoldfastError, IdempotencyKeyReused, Timeout, Unavailable
from common.contracts.ids import booking_id
from common.contracts.messages import CancelBooking, CreateBooking, CreateEvent, ItemRequest, Message
from common.contracts.resources import Booking
from common.contracts.statuses import CancelReason
from common.messaging.calls import Calls
from ops.audit.command import examine
from tests.booking.stage import new_event
from tests.races.fleet import Fleet
from tests.races.harness import BOOKINGS, SEATS, UNEXPLAINED
from tests.races.plan import Action, Plan, Wish

CHECK_S = 0.02
# Seconds between two times at which all retry times are made due: then a message that a killed actor has not sent
# is sent again.
TIME_PASSES_S = 0.15
# Longer than anything here takes, in seconds: what takes longer would never end.
TIMEOUT_S = 45.0
ENDS = ("confirmed", "cancelled", "failed")


@dataclass
class Round:
    """One round of `plan`. `totals` counts over all rounds."""

    plan: Plan
    fleet: Fleet
    bus: Calls
    totals: Counter[str]
    event: CreateEvent = field(init=False)
    rows: dict[UUID, Any] = field(default_factory=dict)
    answers: dict[Wish, Booking] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.harness = self.fleet.harness
        self._rows_read = asyncio.Event()
        self._all_answered = asyncio.Barrier(len(self.plan.wishes))
        cancel_until = datetime(2030, 12, 31, tzinfo=UTC)
        self.event = new_event(*self.plan.capacities, unit_amount=self.plan.unit_amount, cancel_until=cancel_until)

    async def play(self) -> None:
        """Play the round. Raises AssertionError when a promise is broken."""
        started = datetime.now(UTC)
        await self._send(self.event, self.event.event_id, TIMEOUT_S)
        for kill in self.plan.kills:
            self.fleet.harm(kill)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(), name="watch")
            await self._scenes()
            watching.cancel()
        await self._adds_up(started)

    async def _scenes(self) -> None:
        async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as customers:
            for wish in self.plan.wishes:
                customers.create_task(self._customer(wish), name=wish.owner)
        await self._come_to_rest()
        await self.fleet.spare()
        await self._send_again()
        await self._come_to_rest()

    # --- requests

    async def _send(self, message: Message, subject: object, timeout_s: float) -> Any:
        """The answer. Without one in time, the request is sent again, as by a client whose connection broke, and
        the time doubles."""
        while True:
            try:
                return await self.bus.call(message, subject, timeout_s=timeout_s)
            except (Timeout, Unavailable):
                self.totals["retries"] += 1
                timeout_s *= 2

    async def _book(self, wish: Wish, *, more: int = 0) -> tuple[Booking, bool]:
        types = self.event.ticket_types
        message = CreateBooking(
            booking_id=booking_id(wish.owner, "key"),
            owner=wish.owner,
            event_id=self.event.event_id,
            items=tuple(ItemRequest(ticket_type_id=types[at].id, quantity=n + more) for at, n in wish.items),
        )
        result = await self._send(message, message.booking_id, wish.timeout_ms / 1000)
        return Booking.model_validate(result["booking"]), result["created"]

    async def _customer(self, wish: Wish) -> None:
        await asyncio.sleep(wish.delay_ms / 1000)
        results = await asyncio.gather(*(self._book(wish) for _ in range(wish.copies)))
        bookings = [booking for booking, _ in results]
        assert len({(each.id, each.items, each.amount, each.created_at) for each in bookings}) == 1, bookings
        assert sum(created for _, created in results) <= 1, results
        booking = self.answers[wish] = bookings[0]
        if self.plan.calm:
            if await self._all_answered.wait() == 0:
                await self._who_must_get_some()
            await self._all_answered.wait()
        if booking.reason == "sold_out":
            self.totals["refused"] += 1
            return
        self.totals["granted"] += 1
        await ACTIONS[wish.action](self, booking)

    async def _who_must_get_some(self) -> None:
        """No customer has given seats back yet, so the seats left must be too few for each that was refused."""
        rows = await self.harness.booking.fetch(SEATS, self.event.event_id)
        free = [row["capacity"] - row["held"] - row["sold"] for row in rows]
        refused = [wish for wish, booking in self.answers.items() if booking.reason == "sold_out"]
        for wish in refused:
            fits = all(wish.wants(at) <= free[at] for at, _ in wish.items)
            assert not fits, f"{wish} was refused, and {free} are free"
        if all(len(wish.items) == 1 and wish.items[0][1] == 1 for wish in self.plan.wishes):
            for at, capacity in enumerate(self.plan.capacities):
                demand = sum(wish.wants(at) for wish in self.plan.wishes)
                assert capacity - free[at] == min(demand, capacity)

    # --- what customers do

    async def _payable(self, booking: Booking) -> str | None:
        """Wait for the booking's intent. Returns its id, or None when the booking has ended without one."""
        while True:
            row = self.rows.get(booking.id)
            if row is not None and row["intent_id"] is not None:
                return str(row["intent_id"])
            if row is not None and row["status"] in ENDS:
                return None
            await self._rows_read.wait()

    async def _pay(self, booking: Booking, card: str = "pm_card_visa") -> None:
        intent_id = await self._payable(booking)
        if intent_id is not None and await self.harness.confirm(intent_id, card):
            self.totals["payments"] += 1

    async def _pay_twice(self, booking: Booking) -> None:
        await asyncio.gather(self._pay(booking), self._pay(booking))

    async def _declined_first(self, booking: Booking) -> None:
        await self._pay(booking, "pm_card_visa_chargeDeclined")
        await self._pay(booking)

    async def _cancel(self, booking: Booking) -> None:
        owner = next(wish.owner for wish in self.answers if booking_id(wish.owner, "key") == booking.id)
        message = CancelBooking(booking_id=booking.id, owner=owner, reason=CancelReason.BY_CUSTOMER)
        with suppress(HoldfastError):  # it may have ended already
            await self._send(message, booking.id, 0.5)
        self.totals["cancels"] += 1

    async def _expire(self, booking: Booking) -> None:
        await self.harness.end_holds(self.event.event_id, booking.id)
        self.totals["expired"] += 1

    async def _pay_and_cancel(self, booking: Booking) -> None:
        await self._payable(booking)
        await asyncio.gather(self._pay(booking), self._cancel(booking))

    async def _pay_and_expire(self, booking: Booking) -> None:
        await self._payable(booking)
        await asyncio.gather(self._pay(booking), self._expire(booking))

    async def _buy_and_cancel(self, booking: Booking) -> None:
        await self._pay(booking)
        while self.rows.get(booking.id, {}).get("status", "pending") not in ENDS:
            await self._rows_read.wait()
        await self._cancel(booking)

    async def _leave(self, booking: Booking) -> None:
        """Its hold ends with the round."""

    # --- checks

    async def _watch(self) -> None:
        """Read the rows all the time: at every moment the seats add up. In between, let time pass."""
        clock = asyncio.get_running_loop().time
        passes = clock() + TIME_PASSES_S
        while True:
            await self._seats_add_up()
            self.rows = {row["id"]: row for row in await self.harness.booking.fetch(BOOKINGS, self.event.event_id)}
            self._rows_read.set()
            self._rows_read.clear()
            if clock() > passes:
                await self.harness.let_time_pass(self.event.event_id)
                passes = clock() + TIME_PASSES_S
            await asyncio.sleep(CHECK_S)

    async def _seats_add_up(self) -> None:
        for row in await self.harness.booking.fetch(SEATS, self.event.event_id):
            assert (row["held"], row["sold"]) == (row["held_is"], row["sold_is"]), dict(row)
            assert row["held"] + row["sold"] <= row["capacity"], dict(row)

    async def _come_to_rest(self) -> None:
        """Make all holds expire, and wait until no work is left, neither in rows nor in mailboxes."""
        deadline = asyncio.get_running_loop().time() + TIMEOUT_S
        while left := await self.harness.waits(self.event.event_id):
            # Each time, because a hold begins only when its intent exists.
            await self.harness.end_holds(self.event.event_id)
            assert asyncio.get_running_loop().time() < deadline, f"never at rest: {left}"
            await asyncio.sleep(CHECK_S)

    # --- afterwards

    async def _send_again(self) -> None:
        """The same key gives the same booking, and other content under it an error. The seats that are free can be
        booked, and no more."""
        again = await asyncio.gather(*(self._book(wish) for wish in self.plan.wishes))
        for wish, (booking, created) in zip(self.plan.wishes, again, strict=True):
            before = self.answers[wish]
            assert not created
            assert (booking.id, booking.items, booking.amount) == (before.id, before.items, before.amount)
            assert booking.version >= before.version
        with suppress(IdempotencyKeyReused):
            await self._book(self.plan.wishes[0], more=1)
            raise AssertionError("another wish under the same key was accepted")
        (first, *_) = await self.harness.booking.fetch(SEATS, self.event.event_id)
        free = first["capacity"] - first["held"] - first["sold"]
        new = [Wish(f"late-{self.plan.number}-{n}", ((0, n),), 0, 1, 1500, Action.LEAVES) for n in (free + 1, free)]
        for wish in new:
            if wish.items[0][1]:
                booking, _ = await self._book(wish)
                fits = wish.items[0][1] <= free
                assert (booking.reason != "sold_out") is fits, f"{free} are free, asked for {wish.items}: {booking}"

    async def _adds_up(self, started: datetime) -> None:
        await self._seats_add_up()
        rows = await self.harness.booking.fetch(BOOKINGS, self.event.event_id)
        assert all(row["status"] in ENDS for row in rows), [dict(row) for row in rows]
        known = {row["id"] for row in rows}
        assert {booking.id for booking in self.answers.values()} <= known
        assert not await self.harness.booking.fetch(UNEXPLAINED, self.event.event_id)
        self.totals.update(row["status"] for row in rows)
        audited = await examine(self.harness.where, started, wait_seconds=0)
        assert audited.clean, audited.mismatches


ACTIONS: dict[Action, Callable[[Round, Booking], Awaitable[None]]] = {
    Action.PAYS: Round._pay,
    Action.PAYS_TWICE: Round._pay_twice,
    Action.PAYS_AND_CANCELS: Round._pay_and_cancel,
    Action.PAYS_AND_EXPIRES: Round._pay_and_expire,
    Action.IS_DECLINED_FIRST: Round._declined_first,
    Action.BUYS_AND_CANCELS: Round._buy_and_cancel,
    Action.CANCELS: Round._cancel,
    Action.EXPIRES: Round._expire,
    Action.LEAVES: Round._leave,
}
