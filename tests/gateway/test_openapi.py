"""The OpenAPI document describes exactly what is served, and its page works without the internet."""

from __future__ import annotations

import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import PurePath
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import ValidationError

from common.contracts.currencies import LARGEST_AMOUNT
from common.contracts.resources import Event, EventDetails
from common.runtime.health import HEALTH
from gateway import schemas as models
from gateway.docs import ASSETS
from gateway.page_views import PAGES
from gateway.schemas import Booking
from tests.gateway.conftest import Gateway
from tests.gateway.stage import EVENT_ID, Client

METHODS = {"get", "post", "patch", "put", "delete"}


# Pages and their files are for browsers, and no part of the interface.
PAGES_SERVED = {("GET", path) for path in (*(page.path for page in PAGES), "/pages/{release}/{name}")}


async def fetched(gateway: Client) -> dict[str, Any]:
    response = await gateway.get("/openapi.json")
    assert (response.status, response.content_type) == (200, "application/json")
    document: dict[str, Any] = await response.json()
    return document


async def test_the_document_is_valid_openapi_3_1(gateway: Client) -> None:
    document = await fetched(gateway)
    assert document["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(document).validate()


async def test_every_route_is_described_and_every_description_is_served(start: Gateway) -> None:
    for guests in (True, False):
        gateway = await start(auth_guests=guests)
        document = await fetched(gateway)
        described = {
            (method.upper(), path)
            for path, operations in document["paths"].items()
            for method in operations
            if method in METHODS
        }
        served = {
            (route.method, route.resource.canonical)
            for route in gateway.app.router.routes()
            if route.resource is not None and route.method not in ("HEAD", "OPTIONS")
        }
        assert described == served - PAGES_SERVED
        assert (("POST", "/auth/guest") in described) is guests


async def test_every_operation_describes_its_errors(gateway: Client) -> None:
    document = await fetched(gateway)
    names = [one["operationId"] for operations in document["paths"].values() for one in operations.values()]
    assert len(set(names)) == len(names)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            if operation["security"] and {} not in operation["security"]:
                assert {"401", "429", "503"} <= set(responses), path
            if "requestBody" in operation:
                assert {"400", "408", "413", "415", "422"} <= set(responses), path
            if path.startswith("/admin"):
                assert "403" in responses, path
            if "{id}" in path:
                assert "404" in responses, path
                assert {
                    key: value
                    for key, value in operation["parameters"][0].items()
                    if key not in ("schema", "description")
                } == {
                    "in": "path",
                    "name": "id",
                    "required": True,
                }


async def test_the_schemas_are_those_of_the_models(gateway: Client) -> None:
    schemas = (await fetched(gateway))["components"]["schemas"]
    for model in (Booking, Event, EventDetails):
        assert set(schemas[model.__name__]["properties"]) == set(model.model_fields)
    assert schemas["NewBooking"]["additionalProperties"] is False
    assert schemas["Booking"]["properties"]["amount"]["maximum"] == LARGEST_AMOUNT


async def test_links_lead_from_a_created_resource_to_operations_on_it(gateway: Client) -> None:
    document = await fetched(gateway)
    operations = {one["operationId"] for methods in document["paths"].values() for one in methods.values()}
    found: dict[str, set[str]] = {}
    for path in ("/bookings", "/admin/events"):
        for status, response in document["paths"][path]["post"]["responses"].items():
            links = response.get("links", {})
            assert bool(links) is status.startswith("2"), (path, status)
            assert {link["operationId"] for link in links.values()} <= operations
            found.setdefault(path, set()).update(links)
    booking = {"get_booking", "get_history", "cancel_booking", "create_payment_intent", "refund_booking"}
    tickets = {"list_tickets", "get_booking_calendar", "check_in_ticket"}
    assert found["/bookings"] == booking | tickets | {"set_customer", "list_mails", "resend_mail"}
    event = {"get_event", "admin_get_event", "update_event", "cancel_event", "retry_refunds", "create_booking"}
    event |= {"get_event_image", "admin_get_event_image", "put_event_image", "delete_event_image", "sell_seats"}
    event |= {"export_bookings", "export_seats", "export_money"}
    event |= {"join_waiting_list", "list_waiting_list"}
    event |= {"get_door", "check_in_ticket", "check_in_tickets"}
    event |= {"create_quote", "list_promo_codes", "create_promo_codes"}
    assert found["/admin/events"] == event | {"get_event_history", "list_bookings", "admin_list_bookings"}


async def test_what_costs_seats_or_money_or_uses_up_a_code_requires_a_key(gateway: Client) -> None:
    document = await fetched(gateway)
    required = {
        one["operationId"]
        for operations in document["paths"].values()
        for one in operations.values()
        for parameter in one.get("parameters", ())
        if parameter["name"] == "Idempotency-Key" and parameter.get("required")
    }
    assert required == {"create_booking", "sell_seats", "refund_booking", "recover_guest", "join_waiting_list"}
    for path in ("/bookings", "/waiting-list", "/admin/bookings/{id}/refund", "/auth/guest/recover"):
        assert "`idempotency_key_required`" in document["paths"][path]["post"]["responses"]["400"]["description"]


@pytest.mark.parametrize(
    ("model", "sent", "wanted"),
    [
        (
            "EventPatch",
            {},
            {"cancel_until", "max_per_owner", "sales_start", "sales_end", "slow_payments_until"}
            | {"description", "category", "venue"},
        ),
        ("TicketTypePatch", {"id": str(EVENT_ID)}, set()),
    ],
)
async def test_only_values_for_which_null_has_a_meaning_may_be_null(
    gateway: Client, model: str, sent: dict[str, Any], wanted: set[str]
) -> None:
    """In the document, and in the models that read requests."""
    schemas = (await fetched(gateway))["components"]["schemas"]
    schema = {**schemas[model], "components": {"schemas": schemas}}
    nullable = {name for name in schema["properties"] if Draft202012Validator(schema).is_valid(sent | {name: None})}
    assert nullable == wanted
    for name in schema["properties"].keys() - wanted:
        with pytest.raises(ValidationError):
            getattr(models, model).model_validate(sent | {name: None})
    assert all("default" not in value for value in schema["properties"].values())


async def test_the_schema_of_health_has_all_that_the_routes_answer(gateway: Client) -> None:
    """One word, whatever is wrong."""
    document = await fetched(gateway)
    schema = document["components"]["schemas"]["HealthState"]

    async def answer(path: str) -> tuple[int, str]:
        response = await gateway.get(path)
        content = document["paths"][path]["get"]["responses"][str(response.status)]["content"]
        assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/HealthState"}
        body: dict[str, Any] = await response.json()
        Draft202012Validator(schema).validate(body)
        assert body.keys() == schema["properties"].keys() == {"status"}
        return response.status, body["status"]

    assert gateway.app is not None
    assert await answer("/health/live") == (200, "live")
    assert await answer("/health/ready") == (200, "ready")
    gateway.app[HEALTH].draining = True
    assert await answer("/health/ready") == (503, "not ready")


async def test_close_codes_are_described(gateway: Client) -> None:
    about = (await fetched(gateway))["paths"]["/ws"]["get"]["description"]
    for code in (1001, 1002, 1003, 1007, 1008, 1009, 1013, 4401):
        assert str(code) in about


class Page(HTMLParser):
    """The addresses that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag in ("script", "link", "img"):
            self.loads.add(found.get("href") or found["src"])
        assert "style" not in found
        assert not any(name.startswith("on") for name in found)


async def test_the_page_loads_only_its_own_assets(gateway: Client) -> None:
    response = await gateway.get("/docs")
    assert (response.status, response.content_type) == (200, "text/html")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    page = Page()
    page.feed(await response.text())
    kinds = {".css": "text/css", ".js": "text/javascript"}
    assert page.loads == {"/assets/swagger-ui.css", "/assets/swagger-ui-bundle.js", "/assets/docs.js"}
    for path in page.loads:
        answer = await gateway.get(path)
        assert (answer.status, answer.content_type) == (200, kinds[PurePath(path).suffix])
        assert "sourceMappingURL" not in (await answer.text())[-200:]
    assert 'url: "/openapi.json"' in await (await gateway.get("/assets/docs.js")).text()


def test_what_the_page_is_made_of_is_what_its_makers_have_published() -> None:
    """Each file that is not ours is the one whose hash was listed when it was taken over."""
    about, *lines = (ASSETS / "SHA256SUMS").read_text().splitlines()
    (version,) = re.findall(r"swagger-ui-dist ([0-9.]+);", about)
    assert f'PACKAGE_VERSION:"{version}"' in (ASSETS / "swagger-ui-bundle.js").read_text()
    listed = {name: digest for digest, name in (line.split() for line in lines)}
    ours = {"docs.html", "docs.js", "holdfast.js", "SHA256SUMS"}
    found = {path.name: sha256(path.read_bytes()).hexdigest() for path in ASSETS.iterdir()}
    assert {name: digest for name, digest in found.items() if name not in ours} == listed


async def test_the_page_can_be_tried_as_a_guest(gateway: Client) -> None:
    """The page gives a guest's token to the security scheme that the document has."""
    document = await fetched(gateway)
    script = await (await gateway.get("/assets/docs.js")).text()
    (scheme,) = re.findall(r'preauthorizeApiKey\("(\w+)", response.body.token\)', script)
    assert document["components"]["securitySchemes"][scheme]["scheme"] == "bearer"
    answer = document["paths"]["/auth/guest"]["post"]["responses"]["201"]["content"]["application/json"]["schema"]
    assert "token" in document["components"]["schemas"][answer["$ref"].rpartition("/")[2]]["required"]


async def test_pages_load_the_client_as_a_module(start: Gateway) -> None:
    """Also pages of another origin that is allowed. The answer is kept for a while, then asked for by its tag."""
    gateway = await start(cors_origins="https://tickets.example")
    headers = {"Origin": "https://tickets.example"}
    response = await gateway.get("/holdfast.js", headers=headers)
    assert (response.status, response.content_type, response.charset) == (200, "text/javascript", "utf-8")
    assert response.headers["Cache-Control"] == "public, max-age=300"
    assert response.headers["Access-Control-Allow-Origin"] == "https://tickets.example"
    assert "export class Holdfast " in await response.text()
    tag = response.headers["ETag"]
    for sent, status in (
        (tag, 304),
        (f'"other", W/{tag}', 304),
        ("*", 304),
        ('"other"', 200),
        (tag.strip('"'), 200),
    ):
        again = await gateway.get("/holdfast.js", headers=headers | {"If-None-Match": sent})
        assert (again.status, again.headers["ETag"]) == (status, tag)
        assert (await again.read() == b"") is (status == 304)


def test_the_client_is_the_one_that_is_packed() -> None:
    """The image has the file that the link leads to."""
    root = ASSETS.parents[1]
    assert (ASSETS / "holdfast.js").resolve() == root / "clients" / "js" / "holdfast.js"
    assert "COPY clients/js/holdfast.js clients/js/holdfast.js\n" in (root / "Dockerfile").read_text()
    assert "!clients/js/holdfast.js" in (root / ".dockerignore").read_text().splitlines()


@pytest.mark.parametrize("name", ["swagger-ui.LICENSE", "SHA256SUMS", "..%2Fapp.py", "docs.css"])
async def test_other_files_are_not_served(gateway: Client, name: str) -> None:
    assert (await gateway.get(f"/assets/{name}")).status == 404
