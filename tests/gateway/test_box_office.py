"""What operators sell at the box office, as they ask for it, and the tables that they read."""

from __future__ import annotations

import csv
import io
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientPayloadError

from common.contracts.errors import EventNotFound, Unavailable
from common.contracts.messages import GetEvent, ListBookings, SellSeats
from common.contracts.statuses import BoxOfficeMethod
from common.contracts.values import BoxOfficeSale, Customer, Refund
from gateway.exports import safe
from tests.gateway.stage import (
    EVENT_ID,
    TICKET_TYPE_ID,
    Client,
    ScriptedBooking,
    as_json,
    bearer,
    booking,
    keyed,
    operators_event,
)

ID = UUID("01900000-0000-7000-8000-00000000b0b0")
ITEMS = [{"ticket_type_id": str(TICKET_TYPE_ID), "quantity": 2}]
SALE: dict[str, Any] = {"event_id": str(EVENT_ID), "items": ITEMS, "method": "cash", "note": "Receipt 4711"}
READER = bearer("auditor", scope="holdfast:read")
CLERK = keyed("clerk", scope="holdfast:box-office")


def sold(**values: Any) -> dict[str, Any]:
    return as_json(booking(ID, status="confirmed", payment="paid").model_copy(update=values))


async def test_a_sale_is_answered_with_the_booking(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(SellSeats, sold())
    responses = [await gateway.post("/admin/bookings", json=SALE, headers=CLERK) for _ in range(2)]
    assert [response.status for response in responses] == [201, 201]
    first, again = actor.messages(SellSeats)
    assert (first.sale, first.customer) == (BoxOfficeSale(BoxOfficeMethod.CASH, "Receipt 4711"), None)
    assert (first.booking_id, first.owner) == (again.booking_id, f"box-office:{first.booking_id}")
    assert first.requester == "clerk"
    assert responses[0].headers["Location"] == f"/bookings/{first.booking_id}"
    assert (await responses[0].json())["kind"] == "booking"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        (bearer("clerk", scope="holdfast:box-office"), 400, "idempotency_key_required"),
        (keyed("auditor", scope="holdfast:read"), 403, "forbidden"),
        (keyed("cashier", scope="holdfast:finance"), 403, "forbidden"),
        (keyed(), 403, "forbidden"),
    ],
)
async def test_only_the_box_office_sells_and_only_with_a_key(
    gateway: Client, actor: ScriptedBooking, headers: dict[str, str], status: int, code: str
) -> None:
    response = await gateway.post("/admin/bookings", json=SALE, headers=headers)
    assert (response.status, (await response.json())["code"]) == (status, code)
    assert actor.messages(SellSeats) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "cheque"},
        {"method": None},
        {"note": ""},
        {"note": "x" * 201},
        {"items": []},
        {"quantity": 2},
        {"owner": ""},
        {"customer": {"name": "Ada"}},
    ],
)
async def test_a_sale_is_validated(gateway: Client, actor: ScriptedBooking, wrong: dict[str, Any]) -> None:
    response = await gateway.post("/admin/bookings", json=SALE | wrong, headers=CLERK)
    assert (response.status, (await response.json())["code"]) == (422, "invalid_request")
    assert actor.messages(SellSeats) == []


# --- tables


async def table(response: Any) -> list[dict[str, str]]:
    assert (response.status, response.content_type) == (200, "text/csv"), await response.text()
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert response.headers["Cache-Control"] == "no-store"
    raw = await response.read()
    assert raw.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))


def serve(actor: ScriptedBooking, *bookings: dict[str, Any], following: Any = None) -> None:
    actor.on(ListBookings, {"items": list(bookings), "next": following})
    actor.on(GetEvent, operators_event().model_dump(mode="json"))


async def test_a_table_of_bookings(gateway: Client, actor: ScriptedBooking) -> None:
    evil = Customer('=HYPERLINK("http://evil.example","x")', "zoe@example.com", "fr", "+442079460000")
    serve(actor, sold(customer=evil))
    query = f"?event_id={EVENT_ID}&status=confirmed&created_from=2030-01-01T00:00:00Z"
    (row,) = await table(await gateway.get(f"/admin/exports/bookings.csv{query}", headers=READER))
    assert (row["booking_id"], row["event"], row["status"]) == (str(ID), "Concert", "confirmed")
    assert row["name"] == '\'=HYPERLINK("http://evil.example","x")'  # no spreadsheet runs it
    assert (row["phone"], row["email"]) == ("'+442079460000", "zoe@example.com")
    (asked,) = actor.messages(ListBookings)
    assert (asked.event_id, asked.status, asked.operator) == (EVENT_ID, "confirmed", True)


async def test_a_table_of_seats_has_a_row_for_each_ticket_type(gateway: Client, actor: ScriptedBooking) -> None:
    seats = sold()
    seats["items"] = [seats["items"][0], {**seats["items"][0], "ticket_type_id": str(uuid4()), "quantity": 3}]
    serve(actor, seats)
    rows = await table(await gateway.get("/admin/exports/seats.csv", headers=READER))
    assert [row["seats"] for row in rows] == [str(seats["items"][0]["quantity"]), "3"]
    assert [row["ticket_type"] != "" for row in rows] == [True, False]


async def test_a_table_of_money_has_what_came_in_and_what_went_back(
    gateway: Client, actor: ScriptedBooking
) -> None:
    paid = sold()
    refund = Refund(uuid4(), 500, "succeeded", by="ann", stripe_refund_id="re_1")
    paid["payment"] |= {"amount_captured": 5000, "amount_refunded": 500}
    paid["payment"]["refunds"] = [
        {
            "id": str(refund.id),
            "amount": 500,
            "status": "succeeded",
            "by": "ann",
            "stripe_refund_id": "re_1",
            "created_at": None,
        }
    ]
    serve(actor, paid, sold())
    rows = await table(await gateway.get("/admin/exports/money.csv", headers=READER))
    assert [(row["kind"], row["amount"], row["method"]) for row in rows] == [
        ("charge", "5000", "stripe"),
        ("refund", "-500", "stripe"),
    ]
    assert (rows[1]["stripe_refund_id"], rows[1]["by"]) == ("re_1", "ann")


async def test_a_table_without_bookings_has_its_header(gateway: Client, actor: ScriptedBooking) -> None:
    serve(actor)
    response = await gateway.get("/admin/exports/money.csv", headers=READER)
    assert await table(response) == []
    assert (await response.text()).count("\r\n") == 1


async def test_a_booking_whose_event_is_lost_is_in_the_table(gateway: Client, actor: ScriptedBooking) -> None:
    serve(actor, sold())
    actor.on(GetEvent, EventNotFound())
    (row,) = await table(await gateway.get("/admin/exports/bookings.csv", headers=READER))
    assert (row["booking_id"], row["event"]) == (str(ID), "")


async def test_an_error_before_the_first_page_is_an_answer(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(ListBookings, Unavailable())
    response = await gateway.get("/admin/exports/bookings.csv", headers=READER)
    assert (response.status, (await response.json())["code"]) == (503, "unavailable")


async def test_a_table_that_breaks_off_is_not_mistaken_for_a_whole_one(
    gateway: Client, actor: ScriptedBooking
) -> None:
    """The second page fails, when the first is sent already."""
    serve(actor, sold(), following=["2030-01-01T00:00:00Z", str(ID)])
    pages = iter([{"items": [sold()], "next": ["2030-01-01T00:00:00Z", str(ID)]}, Unavailable()])
    actor.on(ListBookings, lambda _: next(pages))
    response = await gateway.get("/admin/exports/bookings.csv", headers=READER)
    assert response.status == 200
    with pytest.raises(ClientPayloadError):
        await response.read()


@pytest.mark.parametrize(
    ("query", "status"), [("?limit=5", 422), ("?event_id=x", 422), ("?status=paid", 422), ("", 403)]
)
async def test_tables_are_for_operators_and_have_filters(
    gateway: Client, actor: ScriptedBooking, query: str, status: int
) -> None:
    headers = READER if query else bearer()
    for name in ("bookings", "seats", "money"):
        response = await gateway.get(f"/admin/exports/{name}.csv{query}", headers=headers)
        assert response.status == status
    assert actor.messages(ListBookings) == []


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("  @SUM(A1)", "'  @SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("-5", "'-5"),
        (-5, -5),
        ("a=b", "a=b"),
        ("", ""),
        (None, None),
    ],
)
def test_no_text_is_run_as_a_formula(cell: object, shown: object) -> None:
    assert safe(cell) == shown
