"""What a token allows: every route for every role, and what operators see of others' bookings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from uuid import uuid4

import pytest

from common.contracts.errors import NotFound
from common.contracts.messages import (
    BOOKING_COMMANDS,
    BOOKING_DOOR,
    BOOKING_QUERIES,
    PAYMENT_QUERIES,
    CancelBooking,
    GetBooking,
    ListBookings,
)
from common.contracts.messages.base import TYPES
from common.contracts.scopes import Scope, allowed_by
from gateway.examples import EXAMPLES
from gateway.openapi import document
from gateway.routes import GUESTS, ROUTES, Access, Route
from tests.gateway.stage import Client, ScriptedBooking, as_json, bearer, booking, keyed

# What the tokens of each role have as their scope.
ROLES: Mapping[str, str | None] = {
    "customer": None,
    "stranger": "openid holdfast:everything",
    "reader": "holdfast:read",
    "box office": "holdfast:box-office",
    "door": "holdfast:door",
    "finance": "openid holdfast:finance",
    "box office and finance": "holdfast:box-office holdfast:finance",
    "admin": "holdfast:admin",
    "operator": "holdfast:operator",
}
ALL = frozenset(ROLES)
READ = ALL - {"customer", "stranger", "door"}
ADMIN = frozenset({"admin", "operator"})
BOX_OFFICE = ADMIN | {"box office", "box office and finance"}
DOOR = BOX_OFFICE | {"door"}
FINANCE = ADMIN | {"finance", "box office and finance"}
# None of these is a guest.
NOBODY = frozenset[str]()
# By the route's view: whom it does not refuse, and the scope that it names to others. Bookings are another owner's.
MAY: Mapping[str, tuple[frozenset[str], str]] = {
    "admin_list_events": (READ, "holdfast:read"),
    "admin_get_event": (READ, "holdfast:read"),
    "admin_get_event_image": (READ, "holdfast:read"),
    "get_event_history": (READ, "holdfast:read"),
    "list_waiting_list": (READ, "holdfast:read"),
    "create_event": (ADMIN, "holdfast:admin"),
    "update_event": (ADMIN, "holdfast:admin"),
    "cancel_event": (ADMIN, "holdfast:admin"),
    "preview_description": (ADMIN, "holdfast:admin"),
    "put_event_image": (ADMIN, "holdfast:admin"),
    "delete_event_image": (ADMIN, "holdfast:admin"),
    "list_promo_codes": (READ, "holdfast:read"),
    "create_promo_codes": (ADMIN, "holdfast:admin"),
    "update_promo_code": (ADMIN, "holdfast:admin"),
    "retry_refunds": (FINANCE, "holdfast:finance"),
    "admin_list_bookings": (READ, "holdfast:read"),
    "export_bookings": (READ, "holdfast:read"),
    "export_seats": (READ, "holdfast:read"),
    "export_money": (READ, "holdfast:read"),
    "sell_seats": (BOX_OFFICE, "holdfast:box-office"),
    "refund_booking": (FINANCE, "holdfast:finance"),
    "revoke_tokens": (ADMIN, "holdfast:admin"),
    "list_revocations": (READ, "holdfast:read"),
    "check_in_ticket": (DOOR, "holdfast:door"),
    "check_in_tickets": (DOOR, "holdfast:door"),
    "undo_check_in": (DOOR, "holdfast:door"),
    "get_door": (DOOR, "holdfast:door"),
    "renew_guest": (NOBODY, ""),
    "create_recovery_code": (NOBODY, ""),
    # To customers, and to those who may not read it either, the booking does not exist.
    "cancel_booking": (BOX_OFFICE | (ALL - READ), "holdfast:box-office"),
    "set_customer": (BOX_OFFICE | (ALL - READ), "holdfast:box-office"),
    "get_attention": (READ, "holdfast:read"),
    "list_mails": (READ, "holdfast:read"),
    "resend_mail": (BOX_OFFICE, "holdfast:box-office"),
    "erase_customers": (ADMIN, "holdfast:admin"),
    **dict.fromkeys(
        (
            "list_webhook_endpoints",
            "create_webhook_endpoint",
            "get_webhook_endpoint",
            "update_webhook_endpoint",
            "delete_webhook_endpoint",
            "rotate_webhook_secret",
            "list_webhook_deliveries",
            "repeat_webhook_deliveries",
            "get_webhook_delivery",
            "repeat_webhook_delivery",
        ),
        (ADMIN, "holdfast:admin"),
    ),
}


async def send(gateway: Client, route: Route, scope: str | None) -> tuple[int, str | None]:
    """The status, and the scope that a refusal names."""
    values = {"id": str(uuid4()), "name": "docs.js", "ticket_id": str(uuid4()), "code_id": str(uuid4())}
    path = re.sub(r"\{(\w+)\}", lambda found: values[found[1]], route.path)
    body = EXAMPLES[route.body.__name__] if route.body is not None else None
    response = await gateway.request(route.method, path, json=body, headers=keyed(scope=scope))
    if response.status != 403:
        return response.status, None
    problem = await response.json()
    # What is for guests alone has an error of its own: no scope opens it.
    assert problem["code"] == ("guest_token_required" if route in GUESTS else "forbidden")
    return 403, problem.get("scope")


def finds_nothing(actor: ScriptedBooking) -> None:
    for kind in set(TYPES.values()):
        if kind.stream in (BOOKING_COMMANDS, BOOKING_QUERIES, BOOKING_DOOR, PAYMENT_QUERIES):
            actor.on(kind, NotFound())


@pytest.mark.parametrize("role", ROLES)
async def test_every_route_is_open_to_the_roles_that_may_use_it_and_to_no_other(
    gateway: Client, actor: ScriptedBooking, role: str
) -> None:
    finds_nothing(actor)
    for route in (*GUESTS, *ROUTES):
        roles, scope = MAY.get(route.view.__name__, (ALL, ""))
        status, named = await send(gateway, route, ROLES[role])
        assert (status == 403, named) == ((False, None) if role in roles else (True, scope or None)), (
            route.view.__name__
        )


def test_the_table_of_roles_is_that_of_the_routes() -> None:
    """Only what this file lists asks for a scope, and each operation says which."""
    for route in (*GUESTS, *ROUTES):
        listed = MAY.get(route.view.__name__)
        if isinstance(route.access, Scope):
            assert listed == (frozenset(n for n, s in ROLES.items() if route.access in allowed(s)), route.access)
        else:
            own = ("cancel_booking", "set_customer")
            assert listed is None or route in GUESTS or route.view.__name__ in own
    assert {route.view.__name__ for route in (*GUESTS, *ROUTES)} >= MAY.keys()


def allowed(scope: str | None) -> frozenset[Scope]:
    return allowed_by((scope or "").split(" "))


def test_the_document_names_the_scope_of_each_operation() -> None:
    for path, operations in document((*GUESTS, *ROUTES))["paths"].items():
        for method, operation in operations.items():
            (route,) = (each for each in (*GUESTS, *ROUTES) if (each.method.lower(), each.path) == (method, path))
            if isinstance(route.access, Scope):
                assert operation["security"] == [{"bearer": [route.access.value]}]
                assert f"`{route.access.value}`" in operation["description"]
            elif route.access is Access.BEARER:
                assert operation["security"] == [{"bearer": []}]


async def test_scopes_are_separated_by_spaces_alone(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(ListBookings, {"items": [], "next": None})
    for scope, expected in (
        ("read holdfast:operator", 200),
        ("holdfast:operators", 403),
        (["holdfast:operator"], 403),
        ("read\u00a0holdfast:operator", 403),
        ("read\u2003holdfast:operator\u2028write", 403),
        ("read\tholdfast:operator", 403),
        ("", 403),
    ):
        answer = await gateway.get("/admin/bookings", headers=bearer("root", scope=scope))
        assert answer.status == expected, scope


@pytest.mark.parametrize("role", ROLES)
async def test_operators_see_others_bookings_without_the_client_secret(
    gateway: Client, actor: ScriptedBooking, role: str
) -> None:
    actor.on(GetBooking, as_json(booking(status="pending")))
    answer = await gateway.get(f"/bookings/{uuid4()}", headers=bearer("someone", scope=ROLES[role]))
    (asked,) = actor.messages(GetBooking)
    secret = (await answer.json())["payment"]["client_secret"]
    assert (asked.owner, secret is None) == ((None, True) if role in READ else ("someone", False))


@pytest.mark.parametrize("role", ROLES)
async def test_who_may_not_cancel_others_bookings_cancels_an_own_one_as_a_customer(
    gateway: Client, actor: ScriptedBooking, role: str
) -> None:
    actor.on(CancelBooking, as_json(booking(status="cancelled", payment="none", reason="by_customer")))
    answer = await gateway.post(f"/bookings/{uuid4()}/cancel", headers=bearer("someone", scope=ROLES[role]))
    (sent,) = actor.messages(CancelBooking)
    assert answer.status == 200
    as_customer = ("someone", "by_customer", True)
    expected = (None, "by_operator", False) if role in BOX_OFFICE else as_customer
    assert (sent.owner, sent.reason, sent.request is None) == expected
