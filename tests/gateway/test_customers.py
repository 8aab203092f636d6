"""Whom a booking is for, as clients say it and operators look for it; and who asks to be forgotten."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import structlog

from common.contracts.codes import reference_of
from common.contracts.ids import GUEST
from common.contracts.messages import CreateBooking, EraseCustomers, GetBooking, ListBookings, SetCustomer
from common.contracts.values import Customer
from tests.gateway.stage import (
    EVENT_ID,
    Client,
    ScriptedBooking,
    as_json,
    bearer,
    booking,
    create_reply,
    keyed,
)

ADA = {"name": "Ada Lovelace", "email": "ada@example.com", "locale": "en-GB", "phone": "+442079460000"}
CUSTOMER = Customer(**ADA)
REQUEST = {"event_id": str(EVENT_ID), "quantity": 2}
OPERATOR = bearer("root", operator=True)
BOX_OFFICE = bearer("till", scope="holdfast:box-office")


def serve(actor: ScriptedBooking) -> None:
    seen = booking(EVENT_ID, status="confirmed", payment="paid").model_copy(update={"customer": CUSTOMER})
    actor.on(CreateBooking, create_reply(seen))
    for kind in (SetCustomer, GetBooking):
        actor.on(kind, as_json(seen))


async def refused(response: Any) -> list[list[Any]]:
    """Where the faults are."""
    body = await response.json()
    assert (response.status, body["code"]) == (422, "invalid_request"), body
    return [error["loc"] for error in body["errors"]]


# --- what clients say


async def test_a_customer_goes_with_the_booking_and_comes_back(gateway: Client, actor: ScriptedBooking) -> None:
    serve(actor)
    response = await gateway.post("/bookings", json=REQUEST | {"customer": ADA}, headers=keyed())
    assert response.status == 201
    seen = await response.json()
    assert (seen["customer"], seen["reference"]) == (ADA, reference_of(EVENT_ID))
    assert [message.customer for message in actor.messages(CreateBooking)] == [CUSTOMER]


async def test_a_customer_is_in_no_log(gateway: Client, actor: ScriptedBooking) -> None:
    """Neither one that is taken nor one that is refused, nor what operators look for."""
    serve(actor)
    actor.on(ListBookings, {"items": [], "next": None})
    with structlog.testing.capture_logs() as logs:
        await gateway.post("/bookings", json=REQUEST | {"customer": ADA}, headers=keyed())
        await gateway.put(f"/bookings/{EVENT_ID}/customer", json=ADA | {"locale": "?"}, headers=bearer())
        await gateway.get("/admin/bookings?email=ada@example.com&name=lovelace", headers=OPERATOR)
    assert {line["route"] for line in logs if "route" in line} >= {"/bookings", "/admin/bookings"}
    assert not any(word in str(logs).lower() for word in ("lovelace", "ada@", "7946"))


async def test_a_booking_needs_no_customer(gateway: Client, actor: ScriptedBooking) -> None:
    serve(actor)
    assert (await gateway.post("/bookings", json=REQUEST, headers=keyed())).status == 201
    assert [message.customer for message in actor.messages(CreateBooking)] == [None]


TAKEN = [
    ("name", " Ada ", "Ada"),
    ("name", "Zoë 👩‍🚀 李", "Zoë 👩‍🚀 李"),
    ("name", "x" * 200, "x" * 200),
    ("email", "Ada.Lovelace+seats@Example.COM", "Ada.Lovelace+seats@example.com"),
    ("email", "ada@münchen.de", "ada@xn--mnchen-3ya.de"),
    ("email", f"{'a' * 64}@example.com", f"{'a' * 64}@example.com"),
    ("locale", "de", "de"),
    ("locale", "zh-Hant-TW", "zh-Hant-TW"),
    ("locale", "es-419", "es-419"),
    ("locale", "de-CH-1996", "de-CH-1996"),
    ("locale", "zh-yue-HK", "zh-yue-HK"),
    ("phone", "+15", "+15"),
    ("phone", "+123456789012345", "+123456789012345"),
    ("phone", None, None),
]


@pytest.mark.parametrize(("name", "value", "kept"), TAKEN)
async def test_what_a_customer_may_be(
    gateway: Client, actor: ScriptedBooking, name: str, value: str | None, kept: str | None
) -> None:
    serve(actor)
    body = REQUEST | {"customer": ADA | {name: value}}
    assert (await gateway.post("/bookings", json=body, headers=keyed())).status == 201
    (message,) = actor.messages(CreateBooking)
    assert message.customer == Customer(**(ADA | {name: kept}))  # type: ignore[arg-type]


REFUSED = [
    ("name", ""),
    ("name", "   "),
    ("name", "x" * 201),
    ("name", "Ada\nLovelace"),
    ("name", "Ada\u202eecalevoL"),
    ("name", None),
    ("name", 7),
    ("email", "ada"),
    ("email", "ada@localhost"),
    ("email", "Ada <ada@example.com>"),
    ("email", '"ada lovelace"@example.com'),
    ("email", "ädä@example.com"),
    ("email", "ada@[127.0.0.1]"),
    ("email", "ada@example..com"),
    ("email", "ada@example.com\n"),
    ("email", f"{'a' * 65}@example.com"),
    ("email", f"ada@{'a.' * 130}com"),
    ("email", None),
    ("locale", ""),
    ("locale", "e"),
    ("locale", "english"),
    ("locale", "en_GB"),
    ("locale", "en-"),
    ("locale", "en-GB\n"),
    ("locale", "de-" + "abcde-" * 6 + "abcde"),
    ("locale", None),
    ("phone", ""),
    ("phone", "020 7946 0000"),
    ("phone", "+0207946000"),
    ("phone", "+1234567890123456"),
    ("phone", "+44\n"),
    ("nickname", "Ada"),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
@pytest.mark.parametrize("path", ["/bookings", f"/bookings/{EVENT_ID}/customer"])
async def test_what_a_customer_may_not_be(
    gateway: Client, actor: ScriptedBooking, path: str, name: str, value: object
) -> None:
    """Every fault is named, and nothing is sent on."""
    customer = ADA | {name: value}
    if path == "/bookings":
        where, response = (
            ["body", "customer"],
            await gateway.post(path, json=REQUEST | {"customer": customer}, headers=keyed()),
        )
    else:
        where, response = ["body"], await gateway.put(path, json=customer, headers=bearer())
    assert await refused(response) == [[*where, name]]
    assert actor.received == []


@pytest.mark.parametrize("name", ["name", "email", "locale"])
async def test_what_a_customer_must_have(gateway: Client, name: str) -> None:
    customer = {key: value for key, value in ADA.items() if key != name}
    response = await gateway.put(f"/bookings/{EVENT_ID}/customer", json=customer, headers=bearer())
    assert await refused(response) == [["body", name]]


async def test_the_owner_sets_the_customer_of_its_booking_and_the_box_office_that_of_any(
    gateway: Client, actor: ScriptedBooking
) -> None:
    serve(actor)
    path = f"/bookings/{EVENT_ID}/customer"
    for headers in (bearer(), OPERATOR, BOX_OFFICE):
        response = await gateway.put(path, json=ADA, headers=headers)
        assert (response.status, (await response.json())["customer"]) == (200, ADA)
        assert response.headers["ETag"] == '"2"'
    asked = [
        (each.owner, each.requester, each.request and each.request.operation)
        for each in actor.messages(SetCustomer)
    ]
    operation = f"PUT /bookings/{EVENT_ID}/customer"
    assert asked == [("alice", "alice", None), (None, "root", operation), (None, "till", operation)]


# --- what operators look for


async def test_operators_find_bookings_by_what_customers_say(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(ListBookings, {"items": [], "next": None})
    query = "reference=hf%207k3m%209q2t&name=ada%20love&email=Ada@Example.COM&intent=pi_1"
    assert (await gateway.get(f"/admin/bookings?{query}", headers=OPERATOR)).status == 200
    (wanted,) = actor.messages(ListBookings)
    assert (wanted.reference, wanted.name, wanted.intent_id) == ("hf 7k3m 9q2t", "ada love", "pi_1")
    assert wanted.email == "Ada@example.com"


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("reference=HF-7K3M", "reference"),
        ("reference=", "reference"),
        ("name=", "name"),
        (f"name={'a' * 201}", "name"),
        ("email=ada", "email"),
        ("intent=", "intent"),
        ("intent_id=pi_1", "intent_id"),
        ("phone=1", "phone"),
    ],
)
async def test_what_is_looked_for_must_have_its_form(
    gateway: Client, actor: ScriptedBooking, query: str, name: str
) -> None:
    response = await gateway.get(f"/admin/bookings?{query}", headers=OPERATOR)
    assert await refused(response) == [["query", name]]
    assert actor.received == []


@pytest.mark.parametrize("query", ["reference=HF-7K3M-9Q2T", "name=ada", "email=ada@example.com", "intent=pi_1"])
async def test_owners_do_not_search(gateway: Client, query: str) -> None:
    (loc,) = await refused(await gateway.get(f"/bookings?{query}", headers=bearer()))
    assert loc == ["query", query.partition("=")[0]]


# --- who asks to be forgotten


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({"email": "Ada@Example.COM"}, ("Ada@example.com", None)),
        ({"subject": f"{GUEST}018f"}, (None, f"{GUEST}018f")),
    ],
)
async def test_who_asks_to_be_forgotten_is_erased_once_for_a_key(
    gateway: Client, actor: ScriptedBooking, body: dict[str, str], kept: tuple[str | None, str | None]
) -> None:
    actor.on(EraseCustomers, {"asked_at": "2030-01-01T00:00:00Z", "by": "root", "bookings": 3})
    for _ in range(2):
        headers = OPERATOR | {"Idempotency-Key": "k-1"}
        response = await gateway.post("/admin/customers/erase", json=body, headers=headers)
        assert (response.status, (await response.json())["bookings"]) == (202, 3)
    first, again = actor.messages(EraseCustomers)
    assert first == again
    assert isinstance(first.erasure_id, UUID)
    assert (first.email, first.subject, first.requester) == (*kept, "root")


@pytest.mark.parametrize("body", [{}, {"email": "ada@example.com", "subject": "alice"}, {"email": "ada"}])
async def test_an_erasure_is_of_one_email_or_one_subject(
    gateway: Client, actor: ScriptedBooking, body: dict[str, str]
) -> None:
    await refused(await gateway.post("/admin/customers/erase", json=body, headers=OPERATOR))
    assert actor.received == []
