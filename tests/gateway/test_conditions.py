"""ETag, If-Match and Idempotency-Key of operators' requests, as they go to the booking process."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from common.contracts.errors import IdempotencyKeyReused, PreconditionFailed
from common.contracts.messages import (
    CancelBooking,
    CancelEvent,
    CreateEvent,
    GetBooking,
    GetEvent,
    Message,
    OperatorRequest,
    RefundBooking,
    RetryRefunds,
    SetCustomer,
    UpdateEvent,
)
from gateway.examples import EXAMPLES
from tests.gateway.conftest import Gateway
from tests.gateway.stage import EVENT_ID, Client, ScriptedBooking, as_json, bearer, booking, event, operators_event

OPERATOR = bearer("root", operator=True)
KEY = {"Idempotency-Key": "k-1"}
NEW = {
    "name": "Concert",
    "starts_at": "2031-01-01T22:00:00Z",
    "currency": "eur",
    "ticket_types": [{"name": "Stalls", "unit_amount": 2500, "capacity": 10}],
}
# Each request by which an operator changes something: its method and path, its body, and its message.
OPERATORS_REQUESTS: list[tuple[str, str, Any, type[Message]]] = [
    ("POST", "/admin/events", NEW, CreateEvent),
    ("PATCH", f"/admin/events/{EVENT_ID}", {"name": "Opera", "on_sale": False}, UpdateEvent),
    ("POST", f"/admin/events/{EVENT_ID}/cancel", None, CancelEvent),
    ("POST", f"/admin/events/{EVENT_ID}/refunds/retry", None, RetryRefunds),
    ("POST", f"/admin/bookings/{EVENT_ID}/refund", {"amount": 500}, RefundBooking),
    ("POST", f"/bookings/{EVENT_ID}/cancel", None, CancelBooking),
    ("PUT", f"/bookings/{EVENT_ID}/customer", EXAMPLES["NewCustomer"], SetCustomer),
]
CHANGES = pytest.mark.parametrize(("method", "path", "body", "kind"), OPERATORS_REQUESTS)


def script(actor: ScriptedBooking) -> None:
    seen = as_json(event()) | {"terms_version": 4}
    kind: type[Message]
    for kind in (CreateEvent, UpdateEvent, CancelEvent, RetryRefunds, GetEvent):
        actor.on(kind, seen)
    state = as_json(booking(EVENT_ID, status="confirmed", payment="refund_pending", version=7))
    for kind in (CancelBooking, RefundBooking, GetBooking, SetCustomer):
        actor.on(kind, state)


def sent(actor: ScriptedBooking, kind: type[Message]) -> list[OperatorRequest]:
    return [message.request for message in actor.messages(kind)]


# --- ETag -----------------------------------------------------------------------------------------------------


async def test_events_and_bookings_that_are_read_have_an_etag(gateway: Client, actor: ScriptedBooking) -> None:
    """An event's tag for operators is that of its terms; a booking has its own."""
    script(actor)
    tags = {}
    for path in (f"/events/{EVENT_ID}", f"/admin/events/{EVENT_ID}", f"/bookings/{EVENT_ID}"):
        response = await gateway.get(path, headers=OPERATOR)
        tags[path.rpartition("/")[0]] = response.headers["ETag"]
        assert (await gateway.head(path, headers=OPERATOR)).headers["ETag"] == response.headers["ETag"]
    assert tags.pop("/events").startswith('"4-')
    assert tags == {"/admin/events": '"4"', "/bookings": '"7"'}


@CHANGES
async def test_the_response_to_a_change_has_an_etag(
    gateway: Client, actor: ScriptedBooking, method: str, path: str, body: Any, kind: type[Message]
) -> None:
    script(actor)
    response = await gateway.request(method, path, json=body, headers=OPERATOR | KEY)
    assert response.status in (200, 201, 202)
    # A retry of refunds shows no version: the event does not change.
    tag = None if kind is RetryRefunds else '"7"' if "bookings" in path else '"4"'
    assert response.headers.get("ETag") == tag


async def test_without_a_version_of_the_terms_there_is_no_etag(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(GetEvent, as_json(operators_event()))
    response = await gateway.get(f"/admin/events/{EVENT_ID}", headers=OPERATOR)
    assert (response.status, "ETag" in response.headers) == (200, False)


# --- If-Match -------------------------------------------------------------------------------------------------

MATCHES: list[tuple[list[str], tuple[int, ...] | None]] = [
    ([], None),
    (["*"], None),
    ([" * "], None),
    (['"4"'], (4,)),
    # As GET /events/{id} gives it out: its digest is not compared.
    (['"4-00112233aabbccdd"'], (4,)),
    (['"4-0011"'], ()),
    (['"e-00112233aabbccdd"'], ()),
    (['"0"'], (0,)),
    (['"3", "4"'], (3, 4)),
    (['"3","4"'], (3, 4)),
    ([', "4" , ,'], (4,)),
    (['"3"', '"4"'], (3, 4)),
    # The comparison is a strong one: https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3.2
    (['W/"4"'], ()),
    (['W/"4", "5"'], (5,)),
    # A tag that the gateway never makes matches nothing.
    (['""'], ()),
    (['"04"'], ()),
    (['"4x"'], ()),
    (['"a,b"'], ()),
    (['"*"'], ()),
    (['"99999999999999999999"'], ()),
    (['"\u00e9"'], ()),
]
MALFORMED = [
    "",
    " ",
    ",",
    "4",
    '"4',
    '4"',
    '"4" "5"x',
    '"4"5',
    '*, "4"',
    '"4", *',
    "**",
    'w/"4"',
    'W/ "4"',
    "W/4",
    '"4";"5"',
    '"a b"',
    "'4'",
]


@pytest.mark.parametrize(("values", "versions"), MATCHES)
async def test_if_match_names_versions(
    gateway: Client, actor: ScriptedBooking, values: list[str], versions: tuple[int, ...] | None
) -> None:
    script(actor)
    headers = [*(OPERATOR | KEY).items(), *(("If-Match", value) for value in values)]
    response = await gateway.patch(f"/admin/events/{EVENT_ID}", json={}, headers=headers)
    assert response.status == 200
    assert [message.if_match for message in actor.messages(UpdateEvent)] == [versions]


async def test_the_document_says_which_if_match_is_well_formed(gateway: Client) -> None:
    document = await (await gateway.get("/openapi.json")).json()
    parameters = {each["name"]: each for each in document["paths"]["/admin/events/{id}"]["patch"]["parameters"]}
    schema = Draft202012Validator(parameters["If-Match"]["schema"])
    # Spaces around it, empty elements and characters other than ASCII are accepted, but no client needs them.
    lenient = {" * ", ', "4" , ,', '"\u00e9"'}
    assert {value for values, _ in MATCHES for value in values if not schema.is_valid(value)} == lenient
    assert [value for value in MALFORMED if schema.is_valid(value)] == []


@pytest.mark.parametrize("value", MALFORMED)
async def test_a_malformed_if_match_is_refused(gateway: Client, actor: ScriptedBooking, value: str) -> None:
    """The booking process gets no message."""
    response = await gateway.patch(f"/admin/events/{EVENT_ID}", json={}, headers=OPERATOR | {"If-Match": value})
    problem = await response.json()
    assert (response.status, problem["code"]) == (400, "malformed_request")
    assert "If-Match" in problem["detail"]
    assert actor.received == []


@pytest.mark.parametrize(("method", "path", "body", "kind"), OPERATORS_REQUESTS[1:])
async def test_every_change_can_be_limited_to_one_version(
    gateway: Client, actor: ScriptedBooking, method: str, path: str, body: Any, kind: type[Message]
) -> None:
    """The booking process decides; its refusal carries the current tag."""
    actor.on(kind, PreconditionFailed(etag='"8"'))
    headers = OPERATOR | KEY | {"If-Match": '"7"'}
    response = await gateway.request(method, path, json=body, headers=headers)
    assert (response.status, (await response.json())["code"]) == (412, "precondition_failed")
    assert response.headers["ETag"] == '"8"'
    assert [message.if_match for message in actor.messages(kind)] == [(7,)]


async def test_cors_allows_if_match_and_etag(start: Gateway, actor: ScriptedBooking) -> None:
    gateway = await start(cors_origins="https://shop.example")
    script(actor)
    origin = {"Origin": "https://shop.example"}
    preflight = origin | {
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "if-match,idempotency-key",
    }
    allowed = await gateway.options(f"/admin/events/{EVENT_ID}", headers=preflight)
    assert {"If-Match", "Idempotency-Key"} <= set(allowed.headers["Access-Control-Allow-Headers"].split(", "))
    answered = await gateway.get(f"/events/{EVENT_ID}", headers=origin)
    assert "ETag" in answered.headers["Access-Control-Expose-Headers"].split(", ")


# --- Idempotency-Key ------------------------------------------------------------------------------------------


@CHANGES
async def test_the_message_has_the_operators_subject_operation_and_key(
    gateway: Client, actor: ScriptedBooking, method: str, path: str, body: Any, kind: type[Message]
) -> None:
    """The operation is the method and the path, with the id in it."""
    script(actor)
    same_path = path.replace(str(EVENT_ID), str(EVENT_ID).upper())
    for address, key in ((path, KEY), (path, {}), (same_path, {})):
        await gateway.request(method, address, json=body, headers=OPERATOR | key)
    await gateway.request(method, same_path, json=body, headers=OPERATOR | {"Idempotency-Key": "k-2"})
    requests = sent(actor, kind)
    optional = [] if kind is RefundBooking else [None, None]
    assert [request.key for request in requests] == ["k-1", *optional, "k-2"]
    assert {(request.subject, request.operation) for request in requests} == {("root", f"{method} {path}")}
    assert len({request.content_hash for request in requests}) == 1


@CHANGES
async def test_a_malformed_key_is_refused(
    gateway: Client, actor: ScriptedBooking, method: str, path: str, body: Any, kind: type[Message]
) -> None:
    for wrong in ("", "two words", "x" * 256, "\u00fc"):
        response = await gateway.request(method, path, json=body, headers=OPERATOR | {"Idempotency-Key": wrong})
        assert (response.status, (await response.json())["code"]) == (422, "invalid_request")
    assert actor.received == []


async def test_the_content_hash_ignores_how_the_json_is_written(gateway: Client, actor: ScriptedBooking) -> None:
    script(actor)
    path, headers = f"/admin/events/{EVENT_ID}", OPERATOR | {"Content-Type": "application/json"}
    texts = [
        '{"name": "Opera", "on_sale": false}',
        '{ "on_sale":false,\n"name":"\\u004fpera"}',
        '{"name": "Opera"}',
        '{"name": "opera", "on_sale": false}',
        '{"name": "Opera", "on_sale": false, "cancel_until": null}',
    ]
    for text in texts:
        assert (await gateway.patch(path, data=text, headers=headers)).status == 200
    one, same, *others = [request.content_hash for request in sent(actor, UpdateEvent)]
    assert one == same
    assert len({one, *others}) == 4


async def test_an_empty_body_is_a_refund_without_an_amount(gateway: Client, actor: ScriptedBooking) -> None:
    script(actor)
    path = f"/admin/bookings/{EVENT_ID}/refund"
    await gateway.post(path, headers=OPERATOR | KEY)
    await gateway.post(path, json={}, headers=OPERATOR | KEY)
    await gateway.post(path, json={"amount": 500}, headers=OPERATOR | KEY)
    one, same, other = [request.content_hash for request in sent(actor, RefundBooking)]
    assert (one == same, one == other) == (True, False)


async def test_a_key_with_other_content_is_refused(gateway: Client, actor: ScriptedBooking) -> None:
    for method, path, body, kind in OPERATORS_REQUESTS:
        actor.on(kind, IdempotencyKeyReused())
        response = await gateway.request(method, path, json=body, headers=OPERATOR | {"Idempotency-Key": "k"})
        assert (response.status, (await response.json())["code"]) == (422, "idempotency_key_reused")


async def test_ids_depend_on_subject_operation_and_key(gateway: Client, actor: ScriptedBooking) -> None:
    """Subject, operation and key: no two different requests get the same id."""
    script(actor)
    added = {"ticket_types": [{"name": "Box", "unit_amount": 9000, "capacity": 4}] * 2}
    seen: set[UUID] = set()
    for subject in ("root", "second"):
        for key in ("k-1", "k-2"):
            headers = bearer(subject, operator=True) | {"Idempotency-Key": key}
            for event_id in (EVENT_ID, uuid4()):
                for _ in range(2):
                    await gateway.patch(f"/admin/events/{event_id}", json=added, headers=headers)
                first, again = actor.messages(UpdateEvent)[-2:]
                assert first == again
                assert {each.new for each in first.ticket_types} == {True}
                seen |= {each.id for each in first.ticket_types}
    assert len(seen) == 16
    await gateway.patch(f"/admin/events/{EVENT_ID}", json=added, headers=OPERATOR)
    assert not seen & {each.id for each in actor.messages(UpdateEvent)[-1].ticket_types}


async def test_customers_need_no_key_to_cancel(gateway: Client, actor: ScriptedBooking) -> None:
    """A second cancellation changes nothing; a customer's key is not an operator's."""
    script(actor)
    await gateway.post(f"/bookings/{EVENT_ID}/cancel", headers=bearer() | {"Idempotency-Key": "two-words"})
    (message,) = actor.messages(CancelBooking)
    assert (message.request, message.if_match, message.owner) == (None, None, "alice")


@pytest.mark.parametrize("who", [bearer("alice"), OPERATOR])
@pytest.mark.parametrize("key", ["", "two words", "x" * 256])
async def test_a_malformed_key_of_a_cancel_is_refused_for_customers_and_operators(
    gateway: Client, actor: ScriptedBooking, who: dict[str, str], key: str
) -> None:
    answer = await gateway.post(f"/bookings/{EVENT_ID}/cancel", headers={**who, "Idempotency-Key": key})
    assert (answer.status, (await answer.json())["code"]) == (422, "invalid_request")
    assert actor.messages(CancelBooking) == []
