"""The client secret leaves a gateway only for the booking's owner, however the booking leaves it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from common.contracts.errors import NotFound
from common.contracts.messages import (
    CancelBooking,
    CreateBooking,
    GetBooking,
    ListBookings,
    RefundBooking,
    RequestPayment,
)
from tests.gateway.stage import EVENT_ID, Client, ScriptedBooking, as_json, as_seen, bearer, booking, create_reply

ALICES = booking(uuid4())
SECRET = "pi_123_secret_456"
assert ALICES.payment.client_secret == SECRET
OPERATOR = bearer("root", operator=True)
Call = tuple[str, str, dict[str, Any] | None]


@pytest.fixture
def careless(actor: ScriptedBooking) -> ScriptedBooking:
    """A booking actor that never redacts the secret, as one of the previous release may, and answers repeated keys
    with the result that it has saved."""
    for kind in (GetBooking, CancelBooking, RefundBooking, RequestPayment):
        actor.on(kind, as_json(ALICES))
    actor.on(ListBookings, {"items": [as_json(ALICES)], "next": None})
    actor.on(CreateBooking, create_reply(ALICES))
    return actor


KEYED = {"Idempotency-Key": "once"}
REFUND: Call = ("POST", f"/admin/bookings/{ALICES.id}/refund", {})
CANCEL = ("POST", f"/bookings/{ALICES.id}/cancel", None)
CREATE = ("POST", "/bookings", {"event_id": str(EVENT_ID), "quantity": 2})
INTENT = ("POST", "/payment/create-intent", {"booking_id": str(ALICES.id)})
GET = ("GET", f"/bookings/{ALICES.id}", None)

OF_OWNERS = [GET, ("GET", "/bookings", None), CANCEL, CREATE, INTENT]
OF_OPERATORS = [GET, ("GET", "/admin/bookings", None), ("GET", "/admin/bookings?owner=alice", None), CANCEL, REFUND]


@pytest.mark.parametrize("call", OF_OWNERS)
async def test_an_owner_gets_the_secret(gateway: Client, careless: ScriptedBooking, call: Call) -> None:
    method, path, body = call
    response = await gateway.request(method, path, json=body, headers=bearer() | KEYED)
    assert (response.ok, (await response.text()).count(SECRET)) == (True, 1)


@pytest.mark.parametrize("call", OF_OPERATORS)
async def test_an_operator_gets_the_booking_without_the_secret(
    gateway: Client, careless: ScriptedBooking, call: Call
) -> None:
    """Also when the same key is repeated."""
    method, path, body = call
    expected = as_seen(ALICES)
    expected["payment"]["client_secret"] = None
    for _ in range(2):
        response = await gateway.request(method, path, json=body, headers=OPERATOR | KEYED)
        shown = await response.json()
        assert (response.ok, shown["items"][0] if "next_cursor" in shown else shown) == (True, expected)


async def test_only_the_owners_sockets_get_the_secret(gateway: Client, careless: ScriptedBooking) -> None:
    """Whatever the others listen for."""
    careless.on(GetBooking, lambda call: as_json(ALICES) if call.owner in ("alice", None) else NotFound())
    seen: dict[str, str] = {}
    async with (
        gateway.ws_connect("/ws", headers=bearer("alice")) as owner,
        gateway.ws_connect("/ws", headers=OPERATOR) as operator,
        gateway.ws_connect("/ws", headers=bearer("mallory")) as other,
    ):
        sockets = {"alice": owner, "root": operator, "mallory": other}
        for subject, socket in sockets.items():
            await socket.send_json({"type": "subscribe", "booking_id": str(ALICES.id)})
            seen[subject] = await socket.receive_str(timeout=10)
        await careless.change("alice", ALICES.model_copy(update={"version": 9}))
        for subject, socket in sockets.items():
            # A booking of its own comes last: all that was sent before has arrived with it.
            last = booking()
            await careless.change(subject, last.with_payment(client_secret=None))
            while str(last.id) not in (text := await socket.receive_str(timeout=10)):
                seen[subject] += text
    assert [seen[subject].count(SECRET) for subject in sockets] == [2, 0, 0]
    assert seen["root"].count(str(ALICES.id)) == 2
