"""Requests that wait for a booking to exist and to become payable. They wait for notifications, and never poll."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

from aiohttp import web

from common.contracts.codes import reference_of
from common.contracts.currencies import exponent_of
from common.contracts.errors import IdempotencyKeyReused, NothingToPay, Timeout
from common.contracts.ids import booking_id
from common.contracts.messages import CreateBooking, CreateBookingWithCode, GetBooking, Message, RequestPayment
from common.messaging.calls import Calls
from common.messaging.registry import Registry
from common.runtime.web import TRACEPARENT, json_response
from gateway.addresses import ADDRESS_HASHES, NETWORK
from gateway.auth import IDENTITY
from gateway.bookings import BookingView
from gateway.hub import booking_topic, owner_topic
from gateway.limiter import LIMITER
from gateway.limits import BOOKING_SLOTS
from gateway.queue_positions import QUEUE_POSITIONS
from gateway.requests import Preference, preference, read, required_key
from gateway.schemas import NewBooking, NewPaymentIntent, PaymentIntent, QueuedBooking
from gateway.settings import SETTINGS

# Seats are held quickly: a client that asked not to wait gets the real booking, too, if it exists by then.
SEATS_SECONDS = 1.0
# A reply that has not come this long after a notification of the booking is lost.
REPLY_SECONDS = 1.0


class Waiter:
    """One request that waits for notifications of its booking, and the newest that it has received."""

    def __init__(self, owner: str, topic: str) -> None:
        """`topic`: that under which this process receives notifications of the booking."""
        self.owner = owner
        self.topic = topic
        # The newest version received.
        self.booking: BookingView | None = None
        # Whether the booking actor has replied, and whether this request created the booking.
        self.replied = False
        self.created = True
        self._error: BaseException | None = None
        # What the request waits for now, the future that ends the wait, and the replies to its calls.
        self._condition: Callable[[Waiter], bool] = known
        self._done: asyncio.Future[None] | None = None
        self._replies: list[asyncio.Future[Any]] = []

    def receive(self, booking: BookingView) -> None:
        if self.booking is None or booking.version >= self.booking.version:
            self.booking = booking
            self._check()

    def _check(self) -> None:
        if self._refusal is not None or self._condition(self):
            self._wake()

    def _wake(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def until(self, condition: Callable[[Waiter], bool], deadline: float) -> None:
        """Wait for `condition` until `deadline`, in the loop's time. Raises the error that the call ended
        with: IdempotencyKeyReused always, any other one only while no booking is known."""
        loop = asyncio.get_running_loop()
        if self._refusal is None and not condition(self) and loop.time() < deadline:
            self._condition, self._done = condition, loop.create_future()
            timer = loop.call_at(deadline, self._wake)
            try:
                await self._done
            finally:
                timer.cancel()
        if (refusal := self._refusal) is not None:
            raise refusal

    @property
    def _refusal(self) -> BaseException | None:
        final = self.booking is None or isinstance(self._error, IdempotencyKeyReused)
        return self._error if final else None

    def send(self, calls: Calls, command: CreateBooking, traceparent: str) -> None:
        """Publish `command` and return: the reply is handled like a notification when it comes."""
        reply = calls.call(command, command.booking_id, traceparent=traceparent)
        # Only the first reply says whether the client's request created the booking: a repetition finds it there.
        reply.add_done_callback(partial(self._on_reply, first=not self._replies))
        self._replies.append(reply)

    def _on_reply(self, reply: asyncio.Future[Any], *, first: bool) -> None:
        if reply.cancelled():
            return
        if (error := reply.exception()) is not None:
            self._error = error
        else:
            answer = reply.result()
            if first:
                self.created = answer["created"]
            self.receive(BookingView(answer["booking"]))
        self.replied = True
        self._check()

    def fetch_state(self, calls: Calls, booking_id: UUID) -> None:
        """Ask for the booking's state and return: the reply is handled like a notification when it comes."""
        state = calls.call(GetBooking(booking_id=booking_id, owner=self.owner), booking_id)
        state.add_done_callback(self._on_state)
        self._replies.append(state)

    def _on_state(self, state: asyncio.Future[Any]) -> None:
        # If the booking does not exist yet, the reply to the command that creates it will bring it.
        if not state.cancelled() and state.exception() is None:
            self.receive(BookingView(state.result()))

    def close(self) -> None:
        for reply in self._replies:
            reply.cancel()


def known(waiter: Waiter) -> bool:
    return waiter.booking is not None


def decided(waiter: Waiter) -> bool:
    """The client can act: there is an intent to pay, or the booking does not wait for one."""
    return waiter.booking is not None and not waiter.booking.undecided


def replied(waiter: Waiter) -> bool:
    return waiter.replied


class Waiters:
    """The waiting requests of this process, by booking."""

    def __init__(self, registry: Registry, calls: Calls) -> None:
        self._registry = registry
        self._calls = calls
        self._waiters: dict[str, set[Waiter]] = {}

    @contextmanager
    def waiter(self, booking_id: str, owner: str) -> Iterator[Waiter]:
        """A waiter that receives every later change of the booking, if `owner` owns it."""
        # If the owner has a socket here, this process already listens for all bookings of the owner.
        topic = owner_topic(owner)
        if not self._registry.has(topic):
            topic = booking_topic(booking_id)
        waiter = Waiter(owner, topic)
        self._registry.add(topic)
        self._waiters.setdefault(booking_id, set()).add(waiter)
        try:
            yield waiter
        finally:
            waiter.close()
            self._registry.remove(topic)
            self._waiters[booking_id].discard(waiter)
            if not self._waiters[booking_id]:
                del self._waiters[booking_id]

    def receive(self, owner: str, booking: BookingView) -> None:
        for waiter in self._waiters.get(booking.id, ()):
            if waiter.owner == owner:
                waiter.receive(booking)

    def refetch(self, missed: Collection[str] | None) -> None:
        """Ask for the bookings of these topics, or of all: their last notification may have been missed."""
        for id, waiters in self._waiters.items():
            for waiter in waiters:
                if missed is None or waiter.topic in missed:
                    waiter.fetch_state(self._calls, UUID(id))


CALLS = web.AppKey("requests", Calls)
WAITERS = web.AppKey("waiters", Waiters)


async def call(request: web.Request, message: Message, subject: object) -> Any:
    """The result of the call `message`, as decoded JSON. Raises the error in the reply, Timeout, or Unavailable."""
    timeout_s = request.app[SETTINGS].answer_seconds
    return await request.app[CALLS].call(message, subject, timeout_s=timeout_s, traceparent=request[TRACEPARENT])


# --- POST /bookings ---------------------------------------------------------------------------------------


async def create_booking(request: web.Request) -> web.Response:
    """Wait in a booking slot until there is a booking, up to republish_ms; then without one until it is payable."""
    app, identity = request.app, request[IDENTITY]
    owner = identity.subject
    settings = app[SETTINGS]
    limiter, client = app[LIMITER], request[NETWORK]
    key = required_key(request)
    prefer = preference(request, settings.wait_seconds, settings.wait_max_seconds)
    # Before the body is read: a short one costs a fifth of a refusal, a long one more. And again once it is there:
    # who sends many bodies slowly would otherwise have many bookings made at once.
    await limiter.check_wasted(identity, client)
    body = await read(request, NewBooking)
    id = booking_id(owner, key)
    command = CreateBooking(
        booking_id=id,
        owner=owner,
        event_id=body.event_id,
        items=body.wanted,
        expected_amount=body.expected_amount,
        customer=None if body.customer is None else body.customer.value,
        # Anybody becomes any number of guests, so that guests are told apart by their networks, too.
        address=app[ADDRESS_HASHES].hashed(request[NETWORK]) if identity.guest else None,
    )
    if body.code is not None:
        command = CreateBookingWithCode(**dict(command), code=body.code)
    async with limiter.new_booking(identity, client), limiter.promo_code(identity, client, body.code):
        waiter = await _ask(request, command, prefer)
    return _created(request, command, waiter, prefer)


async def _ask(request: web.Request, command: CreateBooking, prefer: Preference) -> Waiter:
    """What is known of the booking when the wait is over. Raises the error with which it was refused."""
    app = request.app
    settings, calls, traceparent = app[SETTINGS], app[CALLS], request[TRACEPARENT]
    now = asyncio.get_running_loop().time
    with app[WAITERS].waiter(str(command.booking_id), command.owner) as waiter:
        async with app[BOOKING_SLOTS]:
            payable_by, seats_by = now() + prefer.wait_s, now() + max(prefer.wait_s, SEATS_SECONDS)
            first_by = min(now() + settings.republish_ms / 1000, seats_by)
            waiter.send(calls, command, traceparent)
            await waiter.until(known, first_by)
        if waiter.booking is None and first_by < seats_by:
            # Redis may have lost the first command. If not, both get the same reply, and either one suffices.
            waiter.send(calls, command, traceparent)
            await waiter.until(known, seats_by)
        await waiter.until(decided, payable_by)
        if waiter.booking is not None:
            # A notification may come first, but only the reply says whether this request created the booking, and
            # whether it belongs to another request under the same key.
            await waiter.until(replied, now() + REPLY_SECONDS)
    return waiter


def _created(request: web.Request, command: CreateBooking, waiter: Waiter, prefer: Preference) -> web.Response:
    headers = {"Location": f"/bookings/{command.booking_id}"}
    if prefer.applied is not None:
        headers["Preference-Applied"] = prefer.applied
    booking = waiter.booking
    if booking is None:
        id = command.booking_id
        queued = QueuedBooking(id=id, reference=reference_of(id), event_id=command.event_id, items=command.items)
        body, status = queued.as_json(), 202
    else:
        booking.refuse_ended(created=waiter.created)
        body = booking.at_position(request.app[QUEUE_POSITIONS].position(booking)).json
        status = 202 if booking.undecided else 201 if waiter.created else 200
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


# --- POST /payment/create-intent --------------------------------------------------------------------------


async def create_payment_intent(request: web.Request) -> web.Response:
    """Answers with the booking's intent: a repeated request gets the same one."""
    app, owner = request.app, request[IDENTITY].subject
    settings = app[SETTINGS]
    body = await read(request, NewPaymentIntent)
    wait_s = preference(request, settings.wait_seconds, settings.wait_max_seconds).wait_s
    deadline = asyncio.get_running_loop().time() + wait_s
    message = RequestPayment(booking_id=body.booking_id, owner=owner, amount=body.amount, currency=body.currency)
    with app[WAITERS].waiter(str(body.booking_id), owner) as waiter:
        waiter.receive(BookingView(await call(request, message, body.booking_id)))
        await waiter.until(decided, deadline)
    assert waiter.booking is not None
    return json_response(_intent(waiter.booking, app).model_dump(mode="json"))


def _intent(booking: BookingView, app: web.Application) -> PaymentIntent:
    """What the client pays with. Raises Timeout while it is made, NothingToPay, or why the booking has ended."""
    if booking.undecided:
        position = app[QUEUE_POSITIONS].position(booking)
        extra = {} if position is None else {"queue_position": position}
        raise Timeout("The payment is still being prepared, try again", **extra)
    if (problem := booking.problem()) is not None:
        raise problem
    payment, fields = booking.payment, booking.fields
    if not booking.payable:
        # It is paid, its money is on its way, or it is about to be cancelled.
        raise NothingToPay(booking_status=booking.status, payment_status=payment["status"], closing=booking.closing)
    return PaymentIntent(
        booking_id=booking.id,
        payment_intent_id=payment["intent_id"],
        client_secret=payment["client_secret"],
        amount=fields["amount"],
        currency=fields["currency"],
        currency_exponent=exponent_of(fields["currency"]),
        publishable_key=app[SETTINGS].stripe_publishable_key,
    )
