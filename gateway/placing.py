"""POST /bookings: ask for the booking, then wait for it to become payable, by events alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from aiohttp import web

from common.contracts.errors import IdempotencyKeyReused, Timeout
from common.contracts.ids import booking_id
from common.contracts.messages import CreateBooking, ItemRequest
from common.contracts.resources import Booking
from common.messaging.bus import Bus
from common.runtime.web import TRACEPARENT
from common.wiring import BUS
from gateway.auth import Identity
from gateway.bodies import NewBooking, QueuedBooking, QueuedItem
from gateway.door import TURNS
from gateway.ends import refuse_ended
from gateway.guard import IDENTITY, SETTINGS
from gateway.params import Preference, idempotency_key, preference, read
from gateway.queue import QUEUE, Queue
from gateway.waiters import WAITERS, Heard, Watch, decided, known

# The seats' transaction is quick: even who does not want to wait is shown a true booking when there is one.
SEATS_SECONDS = 1.0
# An answer that has not come so long after news of the booking is lost.
ANSWER_SECONDS = 1.0


class Outcome(NamedTuple):
    """`heard` is None when nothing came in time; `created` is False for a repeated key."""

    heard: Heard | None
    created: bool


class Placing:
    """One client's CreateBooking on its way, and what comes back."""

    def __init__(self, bus: Bus, watch: Watch, command: CreateBooking, traceparent: str) -> None:
        self._bus = bus
        self._watch = watch
        self._command = command
        self._traceparent = traceparent
        self._created = True
        self._answered = asyncio.Event()
        self._asking: list[asyncio.Task[None]] = []

    async def run(self, wait_s: float, republish_s: float, over: Callable[[], None]) -> Outcome:
        """Wait up to `wait_s` seconds for something to pay. Raises what the booking actor answers.

        `over` is called once there is a booking, or nothing was heard in `republish_s`.
        """
        now = asyncio.get_running_loop().time()
        payable_by = now + wait_s
        seats_by = now + max(wait_s, SEATS_SECONDS)
        watch = self._watch
        try:
            self._ask(seats_by)
            answered = await watch.until(known, min(now + republish_s, seats_by))
            over()
            if not answered and now + republish_s < seats_by:
                # Redis may have lost it. Both are answered alike, and the first answer is still good.
                self._ask(seats_by)
                await watch.until(known, seats_by)
            await watch.until(decided, payable_by)
            if watch.heard is not None:
                await self._until_answered()
            watch.check()
        finally:
            for task in self._asking:
                task.cancel()
        return Outcome(watch.heard, self._created)

    def _ask(self, deadline: float) -> None:
        first = not self._asking
        self._asking.append(asyncio.create_task(self._answer(deadline, first), name="create booking"))

    async def _until_answered(self) -> None:
        """News of the booking may come first; whether it was there before, and is what this request asked for, only
        the answer says."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._answered.wait()

    async def _answer(self, deadline: float, first: bool) -> None:
        try:
            result = await self._bus.ask(
                self._command,
                self._command.booking_id,
                timeout_s=deadline - asyncio.get_running_loop().time(),
                traceparent=self._traceparent,
            )
            if first:
                # That a repeat finds the booking there does not make the client's request a repeated one.
                self._created = result["created"]
            self._watch.tell(Heard(Booking.model_validate(result["booking"])))
        except Timeout:
            return  # whoever waits has the same deadline
        except IdempotencyKeyReused as error:
            self._watch.refuse(error)
        except Exception as error:
            self._watch.fail(error)
        self._answered.set()


async def create_booking(request: web.Request) -> web.Response:
    identity = request[IDENTITY]
    settings = request.app[SETTINGS]
    key = idempotency_key(request)
    prefer = preference(request, settings.wait_seconds, settings.wait_max_seconds)
    command = _command(identity, key, await read(request, NewBooking))
    async with request.app[TURNS].turn() as over:
        with request.app[WAITERS].watch(command.booking_id, identity.subject) as watch:
            placing = Placing(request.app[BUS], watch, command, request[TRACEPARENT])
            outcome = await placing.run(prefer.wait_s, settings.republish_ms / 1000, over)
    return _answer(command, outcome, prefer, request.app[QUEUE])


def _command(identity: Identity, key: str | None, body: NewBooking) -> CreateBooking:
    if body.items is not None:
        items = tuple(
            ItemRequest(ticket_type_id=item.ticket_type_id, quantity=item.quantity) for item in body.items
        )
    else:
        assert body.quantity is not None
        items = (ItemRequest(quantity=body.quantity),)
    return CreateBooking(
        booking_id=booking_id(identity.subject, key), owner=identity.subject, event_id=body.event_id, items=items
    )


def _answer(command: CreateBooking, outcome: Outcome, prefer: Preference, queue: Queue) -> web.Response:
    headers = {"Location": f"/bookings/{command.booking_id}"}
    if prefer.applied is not None:
        headers["Preference-Applied"] = prefer.applied
    if outcome.heard is None:
        body, status = _queued(command).model_dump_json().encode(), 202
    else:
        booking = outcome.heard.booking
        refuse_ended(booking, created=outcome.created)
        place = queue.place(booking)
        body = outcome.heard.json if place is None else Heard(booking.at_place(place)).json
        status = 202 if booking.undecided else 201 if outcome.created else 200
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def _queued(command: CreateBooking) -> QueuedBooking:
    return QueuedBooking(
        id=command.booking_id,
        event_id=command.event_id,
        items=tuple(
            QueuedItem(ticket_type_id=item.ticket_type_id, quantity=item.quantity) for item in command.items
        ),
    )
