"""Reading, paying, cancelling and operators' requests: each is one call to the booking actor."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from common.contracts.errors import (
    AmountMismatch,
    CancellationClosed,
    CapacityBelowSold,
    EventNotFound,
    HoldfastError,
    InvalidRequest,
    NotFound,
    NothingToPay,
)
from common.contracts.messages import (
    CancelBooking,
    CancelEvent,
    CreateEvent,
    GetBooking,
    GetEvent,
    GetEventHistory,
    GetHistory,
    ListBookings,
    ListEvents,
    RefundBooking,
    RequestPayment,
    RetryRefunds,
    UpdateEvent,
)
from gateway.requests import encode_cursor
from tests.gateway.conftest import Gateway
from tests.gateway.stage import (
    EVENT_ID,
    TICKET_TYPE_ID,
    Client,
    ScriptedBooking,
    as_details,
    as_json,
    as_seen,
    bearer,
    booking,
    event,
    operators_event,
)

OPERATOR = bearer("root", operator=True)


# --- reading ----------------------------------------------------------------------------------------------


async def test_events_are_open_to_anyone(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(ListEvents, {"items": [as_json(event())], "next": None})
    response = await gateway.get("/events")
    assert (response.status, await response.json()) == (200, {"items": [as_json(event())], "next_cursor": None})
    (query,) = actor.messages(ListEvents)
    assert (query.limit, query.after, query.starts_from) == (50, None, None)


async def test_past_events_can_be_listed(gateway: Client, actor: ScriptedBooking) -> None:
    """The time may be in any zone; operators ask in the same way."""
    actor.on(ListEvents, {"items": [], "next": None})
    for path, headers in (("/events", {}), ("/admin/events", OPERATOR)):
        response = await gateway.get(f"{path}?from=2024-01-01T00:00:00%2B02:00", headers=headers)
        assert response.status == 200
        for wrong in ("from=yesterday", "from=2024-01-01", "from=1700000000", "starts_from=2024-01-01T00:00:00Z"):
            assert (await gateway.get(f"{path}?{wrong}", headers=headers)).status == 422
    times = {message.starts_from for message in actor.messages(ListEvents)}
    assert times == {datetime(2023, 12, 31, 22, tzinfo=UTC)}


async def test_an_event_is_open_to_anyone(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(GetEvent, as_json(event()))
    response = await gateway.get(f"/events/{EVENT_ID}")
    assert (response.status, await response.json()) == (200, as_details(event()))
    actor.on(GetEvent, EventNotFound())
    response = await gateway.get(f"/events/{EVENT_ID}")
    assert (response.status, (await response.json())["code"]) == (404, "event_not_found")


async def test_a_cursor_leads_to_the_next_page(gateway: Client, actor: ScriptedBooking) -> None:
    last = ["2030-01-01T00:00:00.123456Z", str(uuid4())]
    actor.on(ListBookings, {"items": [as_json(booking())], "next": last})
    first = await (await gateway.get("/bookings?limit=1", headers=bearer())).json()
    assert len(first["items"]) == 1
    path = f"/bookings?limit=1&cursor={first['next_cursor']}&status=confirmed&event_id={EVENT_ID}"
    assert (await gateway.get(path, headers=bearer())).status == 200
    one, two = actor.messages(ListBookings)
    assert (one.owner, one.before, one.limit) == ("alice", None, 1)
    assert two.before == (datetime.fromisoformat("2030-01-01T00:00:00.123456+00:00"), UUID(last[1]))
    assert (two.owner, two.status, two.event_id) == ("alice", "confirmed", EVENT_ID)


async def test_an_owner_reads_a_booking_with_its_secret(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(GetBooking, as_json(booking(EVENT_ID)))
    response = await gateway.get(f"/bookings/{EVENT_ID}", headers=bearer())
    assert (response.status, await response.json()) == (200, as_seen(booking(EVENT_ID)))
    assert response.headers["Cache-Control"] == "no-store"
    assert [query.owner for query in actor.messages(GetBooking)] == ["alice"]


async def test_an_operator_reads_any_booking_without_its_secret(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(GetBooking, as_json(booking(EVENT_ID)))
    response = await gateway.get(f"/bookings/{EVENT_ID}", headers=OPERATOR)
    assert (await response.json())["payment"]["client_secret"] is None
    assert [query.owner for query in actor.messages(GetBooking)] == [None]


async def test_anothers_booking_is_not_found(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(GetBooking, NotFound())
    actor.on(GetHistory, NotFound())
    for path in (f"/bookings/{EVENT_ID}", f"/bookings/{EVENT_ID}/history"):
        response = await gateway.get(path, headers=bearer())
        assert (response.status, (await response.json())["code"]) == (404, "not_found")


async def test_a_history_is_a_list(gateway: Client, actor: ScriptedBooking) -> None:
    change = {"version": 1, "from_status": None, "to_status": "pending"}
    actor.on(GetHistory, {"items": [change]})
    response = await gateway.get(f"/bookings/{EVENT_ID}/history", headers=bearer())
    assert await response.json() == {"items": [change], "next_cursor": None}


async def test_a_query_without_a_reply_in_time_is_503(start: Gateway) -> None:
    """The call was sent, over a connection that was opened for it."""
    gateway = await start(answer_seconds=0.3)
    response = await gateway.get("/events")
    assert (response.status, (await response.json())["code"]) == (503, "timeout")
    assert response.headers["Retry-After"] == "1"


# --- paying -----------------------------------------------------------------------------------------------


def pay(gateway: Client, **body: Any) -> Any:
    return gateway.post("/payment/create-intent", json={"booking_id": str(EVENT_ID), **body}, headers=bearer())


INTENT = {
    "booking_id": str(EVENT_ID),
    "payment_intent_id": "pi_123",
    "client_secret": "pi_123_secret_456",
    "amount": 5000,
    "currency": "eur",
    "currency_exponent": 2,
    "publishable_key": None,
}


async def test_the_intent_is_the_bookings_each_time(start: Gateway, actor: ScriptedBooking) -> None:
    gateway = await start(stripe_publishable_key="pk_test_1")
    actor.on(RequestPayment, as_json(booking(EVENT_ID)))
    for body in ({}, {"amount": 5000, "currency": "eur"}):
        response = await pay(gateway, **body)
        assert (response.status, await response.json()) == (200, INTENT | {"publishable_key": "pk_test_1"})
    seen = [(message.owner, message.amount, message.currency) for message in actor.messages(RequestPayment)]
    assert seen == [("alice", None, None), ("alice", 5000, "eur")]


async def test_a_request_waits_for_an_intent_that_is_being_made(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(RequestPayment, as_json(booking(EVENT_ID, payment="creating", version=1)))
    request = asyncio.create_task(pay(gateway))
    await actor.wait_for(RequestPayment)
    await actor.change("alice", booking(EVENT_ID, version=2))
    response = await request
    assert (response.status, await response.json()) == (200, INTENT)


async def test_an_intent_that_is_not_made_in_time_is_503(start: Gateway, actor: ScriptedBooking) -> None:
    gateway = await start(wait_seconds=0.05)
    actor.on(RequestPayment, as_json(booking(EVENT_ID, payment="creating")))
    response = await pay(gateway)
    assert (response.status, (await response.json())["code"]) == (503, "timeout")
    assert response.headers["Retry-After"] == "1"


async def test_a_booking_that_fails_meanwhile_cannot_be_paid(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(RequestPayment, as_json(booking(EVENT_ID, payment="creating", version=1)))
    request = asyncio.create_task(pay(gateway))
    await actor.wait_for(RequestPayment)
    await actor.change("alice", booking(EVENT_ID, status="failed", reason="payment_rejected", payment="none"))
    response = await request
    assert (response.status, (await response.json())["code"]) == (409, "payment_rejected")


async def test_a_booking_that_is_confirmed_meanwhile_has_nothing_to_pay(
    gateway: Client, actor: ScriptedBooking
) -> None:
    actor.on(RequestPayment, as_json(booking(EVENT_ID, payment="creating", version=1)))
    request = asyncio.create_task(pay(gateway))
    await actor.wait_for(RequestPayment)
    await actor.change("alice", booking(EVENT_ID, status="confirmed", payment="paid"))
    response = await request
    assert (response.status, (await response.json())["code"]) == (409, "nothing_to_pay")


async def test_a_booking_that_is_closing_has_nothing_to_pay(gateway: Client, actor: ScriptedBooking) -> None:
    """It is as good as cancelled: its secret is not shown, whatever the status of its payment."""
    state = as_json(booking(EVENT_ID)) | {"closing": "by_customer"}
    state["payment"]["client_secret"] = None
    actor.on(RequestPayment, state)
    response = await pay(gateway)
    problem = await response.json()
    assert (response.status, problem["code"], problem["booking_status"]) == (409, "nothing_to_pay", "pending")


@pytest.mark.parametrize("error", [NothingToPay(), AmountMismatch(), NotFound()])
async def test_a_refusal_to_pay_is_a_problem(gateway: Client, actor: ScriptedBooking, error: HoldfastError) -> None:
    actor.on(RequestPayment, error)
    response = await pay(gateway, amount=1)
    assert (response.status, (await response.json())["code"]) == (error.status, error.code)


# --- cancelling and refunding -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "payment", "status"),
    [
        ("cancelled", "none", 200),
        ("cancelled", "refunded", 200),
        ("cancelled", "refund_pending", 202),
        ("pending", "awaiting", 202),
    ],
)
async def test_a_cancel_is_200_once_stripe_has_answered(
    gateway: Client, actor: ScriptedBooking, state: str, payment: str, status: int
) -> None:
    actor.on(CancelBooking, as_json(booking(EVENT_ID, status=state, payment=payment)))
    response = await gateway.post(f"/bookings/{EVENT_ID}/cancel", headers=bearer())
    assert (response.status, (await response.json())["status"]) == (status, state)


async def test_every_command_says_who_asks(gateway: Client, actor: ScriptedBooking) -> None:
    """The subject of the token, of operators and of customers."""
    actor.on(CreateEvent, lambda message: as_json(event(message.event_id)))
    actor.on(UpdateEvent, as_json(event()))
    actor.on(CancelEvent, as_json(event()))
    actor.on(RetryRefunds, {})
    actor.on(RefundBooking, as_json(booking(EVENT_ID, status="confirmed", payment="refund_pending")))
    actor.on(CancelBooking, as_json(booking(EVENT_ID)))
    headers = bearer("box-office-7", operator=True) | {"Idempotency-Key": "k"}
    await gateway.post("/admin/events", json=NEW, headers=headers)
    await gateway.patch(f"/admin/events/{EVENT_ID}", json={"on_sale": False}, headers=headers)
    await gateway.post(f"/admin/events/{EVENT_ID}/cancel", headers=headers)
    await gateway.post(f"/admin/events/{EVENT_ID}/refunds/retry", headers=headers)
    await gateway.post(f"/admin/bookings/{EVENT_ID}/refund", headers=headers)
    await gateway.post(f"/bookings/{EVENT_ID}/cancel", headers=headers)
    await gateway.post(f"/bookings/{EVENT_ID}/cancel", headers=bearer())
    asked = [(type(each.message), each.message.requester) for each in actor.received]
    operators = (CreateEvent, UpdateEvent, CancelEvent, RetryRefunds, RefundBooking, CancelBooking)
    assert asked == [*((kind, "box-office-7") for kind in operators), (CancelBooking, "alice")]


async def test_the_message_says_who_cancels(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(CancelBooking, CancellationClosed())
    response = await gateway.post(f"/bookings/{EVENT_ID}/cancel", headers=bearer())
    assert (response.status, (await response.json())["code"]) == (409, "cancellation_closed")
    await gateway.post(f"/bookings/{EVENT_ID}/cancel", headers=OPERATOR)
    cancels = [(message.owner, message.reason) for message in actor.messages(CancelBooking)]
    assert cancels == [("alice", "by_customer"), (None, "by_operator")]


async def test_a_refund_is_made_once_for_a_key(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(RefundBooking, as_json(booking(EVENT_ID, status="confirmed", payment="refund_pending")))
    path = f"/admin/bookings/{EVENT_ID}/refund"
    key = OPERATOR | {"Idempotency-Key": "r-1"}
    for _ in range(2):
        assert (await gateway.post(path, json={"amount": 500}, headers=key)).status == 202
    assert (await gateway.post(path, headers=OPERATOR | {"Idempotency-Key": "r-2"})).status == 202
    assert (await gateway.post(f"/admin/bookings/{uuid4()}/refund", headers=key)).status == 202
    one, again, rest, other = actor.messages(RefundBooking)
    assert (one, one.amount, rest.amount) == (again, 500, None)
    assert len({one.refund_id, rest.refund_id, other.refund_id}) == 3


# --- operators --------------------------------------------------------------------------------------------

NEW = {
    "name": "  Concert ",
    "starts_at": "2031-01-01T22:00:00+02:00",
    "currency": "eur",
    "cancel_until": None,
    "ticket_types": [
        {"name": "Stalls", "unit_amount": 2500, "capacity": 10},
        {"name": "Free", "unit_amount": 0, "capacity": 0},
    ],
}


async def test_an_event_is_created_once_for_a_key(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(CreateEvent, lambda message: as_json(event(message.event_id)))
    headers = OPERATOR | {"Idempotency-Key": "e-1"}
    responses = [await gateway.post("/admin/events", json=NEW, headers=headers) for _ in range(2)]
    responses.append(await gateway.post("/admin/events", json=NEW, headers=OPERATOR))
    one, again, another = actor.messages(CreateEvent)
    assert [response.status for response in responses] == [201] * 3
    assert responses[0].headers["Location"] == f"/events/{one.event_id}"
    assert one == again
    assert one.event_id != another.event_id
    assert (one.name, one.starts_at.isoformat()) == ("Concert", "2031-01-01T20:00:00+00:00")
    assert (one.on_sale, one.max_per_booking, one.cancel_until) == (True, 10, None)
    assert (one.time_zone, one.sales_start, one.sales_end) == ("UTC", None, None)
    assert (one.sell_after_start, one.cancel_after_start) == (False, False)
    assert [(kind.name, kind.unit_amount) for kind in one.ticket_types] == [("Stalls", 2500), ("Free", 0)]
    assert len({kind.id for kind in (*one.ticket_types, *another.ticket_types)}) == 4


async def test_only_the_fields_that_are_sent_change(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(UpdateEvent, as_json(event()))
    body = {
        "on_sale": False,
        "cancel_until": None,
        "ticket_types": [
            {"id": str(TICKET_TYPE_ID), "capacity": 20},
            {"name": "Balcony", "unit_amount": 1, "capacity": 2},
        ],
    }
    response = await gateway.patch(f"/admin/events/{EVENT_ID}", json=body, headers=OPERATOR)
    assert (response.status, await response.json()) == (200, as_json(event()))
    (message,) = actor.messages(UpdateEvent)
    assert message.changes.model_fields_set == {"on_sale", "cancel_until"}
    known, new = message.ticket_types
    assert (known.id, known.model_fields_set) == (TICKET_TYPE_ID, {"id", "new", "capacity"})
    assert (known.new, new.new) == (False, True)
    assert (new.name, new.unit_amount, new.capacity) == ("Balcony", 1, 2)
    actor.on(UpdateEvent, CapacityBelowSold())
    response = await gateway.patch(f"/admin/events/{EVENT_ID}", json={}, headers=OPERATOR)
    assert (response.status, (await response.json())["code"]) == (409, "capacity_below_sold")


async def test_an_invalid_event_is_a_problem_with_rule_and_limit(gateway: Client, actor: ScriptedBooking) -> None:
    """The booking actor says what is wrong; it gets exactly those dates that were sent."""
    wrong = {"loc": ["body", "sales_end"], "msg": "…", "type": "date_after_start", "limit": "2031-01-01T20:00:00Z"}
    actor.on(UpdateEvent, InvalidRequest("…", errors=[wrong]))
    body = {"sales_end": "2032-01-01T20:00:00Z", "sales_start": None, "sell_after_start": False, "time_zone": "UTC"}
    response = await gateway.patch(f"/admin/events/{EVENT_ID}", json=body, headers=OPERATOR)
    problem = await response.json()
    assert (response.status, problem["code"], problem["errors"]) == (422, "invalid_request", [wrong])
    (message,) = actor.messages(UpdateEvent)
    assert message.changes.model_fields_set == set(body)
    assert (message.changes.sales_start, message.changes.sales_end.year) == (None, 2032)


async def test_an_events_history_is_read_in_pages_by_operators(gateway: Client, actor: ScriptedBooking) -> None:
    change = {"version": 2, "what": "changed", "changes": [], "by": "root", "at": "2030-01-01T00:00:00Z"}
    actor.on(GetEventHistory, {"items": [change], "next": [2]})
    path = f"/admin/events/{EVENT_ID}/history"
    first = await (await gateway.get(f"{path}?limit=1", headers=OPERATOR)).json()
    assert first["items"] == [change]
    assert (await gateway.get(f"{path}?cursor={first['next_cursor']}", headers=OPERATOR)).status == 200
    assert [(each.event_id, each.after, each.limit) for each in actor.messages(GetEventHistory)] == [
        (EVENT_ID, None, 1),
        (EVENT_ID, 2, 50),
    ]
    assert (await gateway.get(path, headers=bearer())).status == 403
    # A cursor of another list, and one that nobody has given out.
    for wrong in (encode_cursor(["2030-01-01T00:00:00Z", str(EVENT_ID)]), encode_cursor([-1]), "x"):
        assert (await gateway.get(f"{path}?cursor={wrong}", headers=OPERATOR)).status == 422


async def test_cancelling_an_event_is_202(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(CancelEvent, as_json(event()))
    response = await gateway.post(f"/admin/events/{EVENT_ID}/cancel", headers=OPERATOR)
    assert (response.status, await response.json()) == (202, as_json(event()))


async def test_operators_see_held_seats_and_the_progress_of_a_cancellation(
    gateway: Client, actor: ScriptedBooking
) -> None:
    off = operators_event(cancelled=40)
    actor.on(
        ListEvents, {"items": [as_json(operators_event(held=3))], "next": ["2031-01-01T20:00:00Z", str(EVENT_ID)]}
    )
    actor.on(GetEvent, as_json(off))
    page = await (await gateway.get("/admin/events?limit=1", headers=OPERATOR)).json()
    assert page["items"] == [as_json(operators_event(held=3))]
    await gateway.get(f"/admin/events?cursor={page['next_cursor']}", headers=OPERATOR)
    response = await gateway.get(f"/admin/events/{EVENT_ID}", headers=OPERATOR)
    assert (response.status, await response.json()) == (200, as_details(off))
    first, second = actor.messages(ListEvents)
    assert (first.operator, first.limit, second.after[1]) == (True, 1, EVENT_ID)
    assert [message.operator for message in actor.messages(GetEvent)] == [True]


async def test_customers_do_not_get_what_operators_see(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(GetEvent, as_json(event()))
    actor.on(ListEvents, {"items": [], "next": None})
    for path in ("/events", f"/events/{EVENT_ID}"):
        assert (await gateway.get(path, headers=OPERATOR)).status == 200
        assert (await gateway.get(f"/admin{path}", headers=bearer())).status == 403
    queries = [*actor.messages(GetEvent), *actor.messages(ListEvents)]
    assert [message.operator for message in queries] == [False, False]


async def test_operators_filter_bookings_by_payment_and_time(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(ListBookings, {"items": [], "next": None})
    times = "created_from=2030-01-01T00:00:00Z&created_before=2030-01-02T02:00:00%2B02:00"
    response = await gateway.get(f"/admin/bookings?payment=refund_failed&{times}", headers=OPERATOR)
    assert response.status == 200
    (query,) = actor.messages(ListBookings)
    days = [datetime(2030, 1, day, tzinfo=UTC) for day in (1, 2)]
    assert (query.payment, query.created_from, query.created_before) == ("refund_failed", *days)
    for wrong in ("payment=lost", "created_from=yesterday", "created_from=1893456000", "created_before=2030-01-01"):
        response = await gateway.get(f"/admin/bookings?{wrong}", headers=OPERATOR)
        assert (response.status, (await response.json())["code"]) == (422, "invalid_request")


async def test_operators_list_all_owners_bookings_without_secrets(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(ListBookings, {"items": [as_json(booking())], "next": None})
    page = await (await gateway.get("/admin/bookings?owner=bob&status=pending", headers=OPERATOR)).json()
    assert page["items"][0]["payment"]["client_secret"] is None
    await gateway.get("/admin/bookings", headers=OPERATOR)
    assert [(one.owner, one.status) for one in actor.messages(ListBookings)] == [("bob", "pending"), (None, None)]
