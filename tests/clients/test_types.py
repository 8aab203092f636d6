"""Both clients have every operation of customers and operators, and the members of what is sent and answered."""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Any

import pytest

from gateway.openapi import document
from gateway.routes import GUESTS, ROUTES
from holdfast_client import types

CLIENTS = Path(__file__).parents[2] / "clients"
SCHEMAS: dict[str, Any] = {
    name: set(schema["properties"])
    for name, schema in document((*GUESTS, *ROUTES))["components"]["schemas"].items()
    if "properties" in schema
}
# What the clients make or read themselves, and pages, which have one generic type.
OWN = {
    "Auth", "BookingMessage", "ErrorMessage", "EventMessage", "ItemRequest", "NewPaymentIntent", "QueueMessage",
    "QueuedBooking", "QueuedPayment", "RecoveredGuest", "SnapshotMessage", "Subscription",
    *(name for name in SCHEMAS if name.endswith("Page")),
}  # fmt: skip
NAMES = sorted(SCHEMAS.keys() - OWN)
SOURCES = {
    "javascript": (CLIENTS / "js" / "holdfast.js").read_text(),
    "python": "".join(path.read_text() for path in sorted((CLIENTS / "python" / "holdfast_client").glob("*.py"))),
}
QUERIES = {
    "EventsQuery": "GET /events",
    "AdminEventsQuery": "GET /admin/events",
    "BookingsQuery": "GET /bookings",
    "AdminBookingsQuery": "GET /admin/bookings",
    "PageQuery": "GET /admin/events/{id}/history",
}


def in_typescript(name: str) -> set[str]:
    """The members of an interface of types.d.ts, with those that it inherits."""
    text = (CLIENTS / "js" / "types.d.ts").read_text()
    found = re.search(
        rf"^export interface {name}(?:<T>)?(?: extends (?P<base>\w+))? \{{(?P<body>.*?)^\}}",
        text,
        re.MULTILINE | re.DOTALL,
    )
    assert found is not None, f"types.d.ts has no {name}"
    inherited = in_typescript(found["base"]) if found["base"] else set()
    return inherited | set(re.findall(r"^  (\w+)\??:", found["body"], re.MULTILINE))


def in_python(name: str) -> set[str]:
    return set(typing.get_type_hints(getattr(types, name)))


@pytest.mark.parametrize("client", SOURCES)
def test_every_operation_of_customers_and_operators_has_a_method(client: str) -> None:
    wanted = {
        f"{route.method} {route.path}" for route in (*GUESTS, *ROUTES) if route.tag not in ("operations", "live")
    }
    sent = set(re.findall(r'"((?:GET|POST|PUT|PATCH|DELETE) /[^"]*)"', SOURCES[client]))
    assert sent == wanted


@pytest.mark.parametrize("client", [in_typescript, in_python])
@pytest.mark.parametrize("name", NAMES)
def test_a_type_has_the_members_of_its_schema(client: Any, name: str) -> None:
    assert client(name) == SCHEMAS[name]


@pytest.mark.parametrize("client", [in_typescript, in_python])
@pytest.mark.parametrize("name", QUERIES)
def test_a_query_has_the_parameters_of_its_operation(client: Any, name: str) -> None:
    method, _, path = QUERIES[name].partition(" ")
    operation = document((*GUESTS, *ROUTES))["paths"][path][method.lower()]
    assert client(name) == {each["name"] for each in operation["parameters"] if each["in"] == "query"}
