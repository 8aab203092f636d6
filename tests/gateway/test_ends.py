"""What a client is answered about a booking that has ended, by POST /bookings and POST /payment/create-intent."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import Any

import pytest
from aiohttp import ClientResponse

from common.contracts.errors import HoldfastError
from common.contracts.messages import CreateBooking, RequestPayment
from common.contracts.resources import Booking
from common.contracts.statuses import BookingStatus, PaymentStatus, Reason
from gateway.bookings import BookingView
from tests.gateway.stage import Client, ScriptedBooking, as_json, bearer, booking, create_reply
from tests.gateway.test_bookings import ID, ITEMS, creating, keyed

FAILED = {Reason.SOLD_OUT, Reason.PAYMENT_REJECTED, Reason.PAYMENT_MISMATCH}
CODES = {
    Reason.SOLD_OUT: "sold_out",
    Reason.HOLD_EXPIRED: "hold_expired",
    Reason.PAYMENT_REJECTED: "payment_rejected",
    Reason.PAYMENT_MISMATCH: "payment_mismatch",
    Reason.PAYMENT_CANCELED: "payment_canceled",
    Reason.REFUNDED: "booking_cancelled",
    Reason.BY_CUSTOMER: "booking_cancelled",
    Reason.BY_OPERATOR: "booking_cancelled",
    Reason.EVENT_CANCELLED: "event_cancelled",
}
ON_REQUEST = {Reason.BY_CUSTOMER, Reason.BY_OPERATOR}


def ended(reason: str, payment: str = "none") -> Booking:
    status = "failed" if reason in FAILED else "cancelled"
    return booking(ID, status=status, reason=reason, payment=payment, version=3)


def problem_of(state: Booking) -> HoldfastError | None:
    return BookingView(as_json(state)).problem()


def test_every_reason_of_an_end_has_its_problem() -> None:
    """Also a reason that a later release adds; a booking that has not ended has no problem."""
    assert set(CODES) == set(Reason)
    assert {reason: problem_of(ended(reason)).code for reason in Reason} == CODES  # type: ignore[union-attr]
    assert problem_of(ended("some_day")).code == "booking_cancelled"  # type: ignore[union-attr]
    for status in ("pending", "confirmed"):
        assert problem_of(ended("by_customer").model_copy(update={"status": BookingStatus(status)})) is None


async def answered(response: ClientResponse) -> tuple[int, Any]:
    answer = await response.json()
    return response.status, answer["status"] if response.status < 400 else answer["code"]


@pytest.mark.parametrize("reason", CODES)
async def test_a_booking_that_ends_while_its_client_waits_is_a_problem(
    gateway: Client, actor: ScriptedBooking, reason: str
) -> None:
    """Never 201: there is nothing for the client to pay or to wait for."""
    actor.on(CreateBooking, creating)
    request = asyncio.create_task(gateway.post("/bookings", json=ITEMS, headers=keyed()))
    await actor.wait_for(CreateBooking)
    await actor.change("alice", ended(reason))
    response = await request
    assert await answered(response) == (409, CODES[Reason(reason)])
    problem = await response.json()
    assert (problem["booking_id"], problem["reason"]) == (str(ID), reason)


@pytest.mark.parametrize(("reason", "payment"), [*product(CODES, ("none", "refund_pending"))])
async def test_a_repeated_request_gets_a_cancelled_or_refunded_booking(
    gateway: Client, actor: ScriptedBooking, reason: str, payment: str
) -> None:
    """These are a 200; any other end is the same problem as before."""
    now = ended(reason, payment)
    actor.on(CreateBooking, create_reply(now, created=False))
    answer = await answered(await gateway.post("/bookings", json=ITEMS, headers=keyed()))
    shown = reason in ON_REQUEST or payment != PaymentStatus.NONE
    assert answer == ((200, now.status) if shown else (409, CODES[Reason(reason)]))


@pytest.mark.parametrize(("reason", "payment"), [*product(CODES, ("none", "refunded"))])
async def test_a_booking_that_has_ended_cannot_be_paid(
    gateway: Client, actor: ScriptedBooking, reason: str, payment: str
) -> None:
    """The problem says why."""
    actor.on(RequestPayment, as_json(ended(reason, payment)))
    response = await gateway.post("/payment/create-intent", json={"booking_id": str(ID)}, headers=bearer())
    assert await answered(response) == (409, CODES[Reason(reason)])
