"""The OpenAPI 3.1 document, made from the table of routes and the models that validate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic.json_schema import JsonSchemaMode

from common.contracts import errors
from common.contracts.errors import HoldfastError
from common.contracts.scopes import Scope
from common.contracts.statuses import AnnouncementKind, ChangeKind
from common.runtime.web import PROBLEM_JSON
from gateway.component_schemas import REF, component_schemas, without_null
from gateway.examples import EXAMPLES
from gateway.limiter import FREE
from gateway.problems import Problem, described, examples
from gateway.routes import Access, Route
from gateway.schemas import BookingOrQueued, BookingWebhook, EventWebhook
from gateway.socket_messages import RECEIVED, SENT
from gateway.websocket import Close

# The id, in an answer, of what the request has made.
ID = "$response.body#/id"
JSON = "application/json"
# What generators of clients know of files: one has any bytes.
FILE = "application/octet-stream"
BINARY = ("image/", FILE)
BYTES = {"type": "string", "format": "binary"}

# The values that gateway/requests.py accepts, as clients write them.
IF_MATCH = r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$'
HEADERS: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "description": "Makes the request safe to send again: the same key of the same subject, the same result. "
        "Different content under the same key is refused. On requests of operators a key is known for 30 days "
        "unless the installation says otherwise; customers' cancels need none, and ignore it. With a recovery code "
        "it is known for ten minutes.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
        "example": "a-new-one-for-each-intention",
    },
    "If-Match": {
        "description": "`*`, or the `ETag` of the version that the request is meant for. When the current version "
        "is another, the request is refused and changes nothing. https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1",
        "schema": {"type": "string", "pattern": IF_MATCH},
    },
    "If-None-Match": {
        "description": "The `ETag` of an answer that the client has: if that is still right, the answer is 304 and "
        "has no body. https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2",
        "schema": {"type": "string"},
    },
    "Prefer": {
        "description": "`wait=N`: wait up to N seconds for the booking to become payable; `respond-async`: don't "
        "wait. https://www.rfc-editor.org/rfc/rfc7240",
        "schema": {"type": "string"},
    },
}
IDS = {
    "bookings": ("The booking's id", {"type": "string", "format": "uuid"}),
    "events": ("The event's id", {"type": "string", "format": "uuid"}),
    "webhook-endpoints": ("The endpoint's id", {"type": "string", "format": "uuid"}),
    "webhook-deliveries": ("The delivery's id", {"type": "string", "format": "uuid"}),
    "assets": ("The name of a file", {"type": "string"}),
    "tickets": ("The ticket's id", {"type": "string", "format": "uuid"}),
    "codes": ("The promo code's id", {"type": "string", "format": "uuid"}),
}
# In a path: what is named, and the name of its id.
PATH_ID = re.compile(r"([\w-]+)/\{(\w+)\}")
ETAG = {
    "description": "Of a booking; of an image; or of an event (`terms_version`), without how many seats are left. "
    "`GET /events` and `GET /events/{id}` have one of their own that changes with each change of the answer; that "
    "of `GET /events/{id}` is good for `If-Match` as well, where free seats do not count",
    "schema": {"type": "string"},
}
LOCATION = {"description": "Where to read it", "schema": {"type": "string"}}
# What endpoints are sent, by type.
WEBHOOKS = {
    AnnouncementKind.CONFIRMED.value: "A booking is confirmed",
    AnnouncementKind.CANCELLED.value: "A booking is cancelled",
    AnnouncementKind.FAILED.value: "A booking has failed",
    AnnouncementKind.REFUNDED.value: "Money of a booking has gone back",
    AnnouncementKind.REFUND_FAILED.value: "A refund of a booking has failed",
    AnnouncementKind.DISPUTED.value: "The payment of a booking is disputed",
    AnnouncementKind.CUSTOMER_CHANGED.value: "A confirmed booking has another address to write to",
    f"event.{ChangeKind.CREATED}": "An event was created, maybe as a draft: `data.status`",
    f"event.{ChangeKind.CHANGED}": "An event was changed",
    f"event.{ChangeKind.CANCELLED}": "An event is cancelled",
}
WEBHOOK_BODIES = (BookingWebhook, EventWebhook)
SIGNED: dict[str, dict[str, Any]] = {
    "webhook-id": {
        "description": "The same whenever this is sent again, and at each endpoint: what was received before is "
        "known by it",
        "schema": {"type": "string", "format": "uuid"},
    },
    "webhook-timestamp": {"description": "When it was sent, in Unix seconds", "schema": {"type": "integer"}},
    "webhook-signature": {
        "description": "One signature for each secret in use, with spaces between them: `v1,` and the base64 of "
        "HMAC-SHA256 over `webhook-id.webhook-timestamp.body`",
        "schema": {"type": "string"},
    },
}
RECEIVERS_ANSWERS = {
    "2XX": "Received: it is not sent again",
    "410": "Nothing is to be sent to this endpoint any more: it is disabled",
    "4XX": "Sent again later; with 429 not before `Retry-After`",
    "5XX": "Sent again later; with 503 not before `Retry-After`",
}
STATUS_TEXTS = {
    101: "The socket is open",
    200: "OK",
    201: "Created",
    304: "The client has it already",
    202: "Accepted; the result comes later, over the WebSocket or by reading again",
    503: "Not ready",
}
# The version of the interface, not of the program: docs/api-stability.md says when which part of it grows.
API_VERSION = "1.0.0"
SERVERS = [{"url": "/", "description": "The gateway that serves this document"}]
LICENSE = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
TAGS = {
    "tokens": "Who asks: customers' tokens come from an identity provider, or are those of guests.",
    "events": "What is sold. Anyone may read it.",
    "bookings": "A customer's seats, from the request to the payment and its end.",
    "tickets": "What lets customers in: of each seat of a confirmed booking, with a signed code.",
    "door": "Letting people in, with a network and without one. For tokens with the scope `holdfast:door`.",
    "admin": "What operators do. Each operation names the scope that the token's `scope` must have, or one that "
    "includes it: " + "; ".join(f"`{scope}`, to {scope.meaning}" for scope in Scope) + ". `holdfast:operator`, the "
    "former name of `holdfast:admin`, means the same.",
    "webhooks": "What this installation sends to others, in the form of https://www.standardwebhooks.com, and how "
    "operators set that up. `docs/webhooks.md` is for receivers.",
    "live": "Changes as they happen.",
    "operations": "For people and programs that run Holdfast, and this document itself.",
}
ABOUT = """\
Sells seats for events and takes the money through Stripe.

Amounts are in the currency's minor unit and written without a fraction: `1`, not `1.0`; `currency_exponent` says
how many decimals they have. Times are RFC 3339, of the years 1970 to 9000, and answered in UTC. Lists are
`{"items": […], "next_cursor": …}`. Errors are RFC 9457 problem documents with a stable `code`.

Later releases add operations, members of answers, optional members of bodies, codes and values of enumerations that
are said to be open. Clients ignore members that they do not know. What changes how is in `docs/api-stability.md`.
The WebSocket and its messages are also described as AsyncAPI 3, at `/asyncapi.json`.
"""
BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "A token of your identity provider, or of `POST /auth/guest`",
}
ABOUT_WEBSOCKET = """\
Authenticate with the `Authorization` header or, within 10 seconds, with a first message `Auth`; never in the URL.
Then every change of the owner's bookings arrives as `{"type": "booking", "booking": …}` with growing `version`.

`Subscription` to a booking or an event is answered at once with `{"type": "snapshot", "booking" or "event": …}`;
an event's changes are `{"type": "event", "event": …}`. Operators get the event as `OperatorsEvent`, with the
progress of its cancellation. While a booking waits for its intent, its owner also gets
`{"type": "queue", "booking_id": …, "queue_position": N}` as its queue position changes.

A refused message is answered with `{"type": "error", "code", "detail"}`, and the socket stays open. After a
reconnect subscribe again: the snapshot brings you up to date.

Close codes:

"""


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The document for these routes."""
    kinds: list[tuple[Any, JsonSchemaMode]] = [(kind, "validation") for kind in SENT]
    kinds += [(kind, "serialization") for kind in (*RECEIVED, Problem, *WEBHOOK_BODIES)]
    for route in routes:
        if route.body is not None:
            kinds.append((route.body, "validation"))
        kinds += [(kind, "serialization") for kind in route.answers.values() if not isinstance(kind, str | None)]
    refs, schemas = component_schemas(kinds)
    used = {kind.code: kind for route in routes for kinds in _problems(route).values() for kind in kinds}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, routes, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Holdfast", "version": API_VERSION, "description": ABOUT, "license": LICENSE},
        "servers": SERVERS,
        "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
        "paths": paths,
        "webhooks": {type: {"post": _webhook(type, about, refs)} for type, about in WEBHOOKS.items()},
        "components": {
            "schemas": schemas,
            "examples": examples(used.values()),
            "securitySchemes": {"bearer": BEARER},
        },
    }


def _operation(route: Route, routes: Sequence[Route], refs: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.view.__name__ if route.tag != "operations" else f"process_{route.view.__name__}",
        "summary": route.summary,
        "tags": [route.tag],
        "responses": _responses(route, routes, refs),
    }
    if route.tag == "live":
        closes = "\n".join(f"- {int(code)}: {code.meaning}" for code in Close)
        operation["description"] = ABOUT_WEBSOCKET + closes
    elif about := _about(route):
        operation["description"] = about
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.body_required,
            "content": {JSON: {"schema": refs[(route.body, "validation")], **_shown(route.body)}},
        }
    elif route.file:
        operation["requestBody"] = {"required": True, "content": {FILE: {"schema": BYTES}}}
    operation["security"] = _security(route)
    return operation


def _webhook(type: str, about: str, refs: Any) -> dict[str, Any]:
    """What receivers are sent: https://spec.openapis.org/oas/v3.1.0#fixed-fields (`webhooks`)."""
    body = EventWebhook if type.startswith("event.") else BookingWebhook
    content = {"schema": refs[(body, "serialization")], "example": EXAMPLES[body.__name__] | {"type": type}}
    return {
        "operationId": f"receive_{type.replace('.', '_')}",
        "summary": about,
        "tags": ["webhooks"],
        "parameters": [{"name": name, "in": "header", "required": True, **of} for name, of in SIGNED.items()],
        "requestBody": {"required": True, "content": {JSON: content}},
        "responses": {status: {"description": text} for status, text in RECEIVERS_ANSWERS.items()},
        "security": [],
    }


def _about(route: Route) -> str:
    needed = f"The token needs the scope `{route.access}`." if isinstance(route.access, Scope) else ""
    return " ".join(filter(None, (route.about, needed)))


def _security(route: Route) -> list[dict[str, list[str]]]:
    """Beside the scheme the scope that is needed: https://spec.openapis.org/oas/v3.1.0#security-requirement-object"""
    if route.tag == "live":
        return [{"bearer": []}, {}]  # the token may also come in the first message
    if route.access is Access.ANYONE:
        return []
    return [{"bearer": [route.access.value] if isinstance(route.access, Scope) else []}]


def _parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    query = route.query.model_json_schema(ref_template=REF) if route.query is not None else {}
    for noun, name in PATH_ID.findall(route.path):
        about, schema = IDS[noun]
        found.append({"name": name, "in": "path", "required": True, "description": about, "schema": schema})
    for name, schema in query.get("properties", {}).items():
        about = schema["description"]
        found.append({"name": name, "in": "query", "description": about, "schema": without_null(schema)})
    for name in route.headers:
        required = {"required": True} if route.key_required and name == "Idempotency-Key" else {}
        found.append({"name": name, "in": "header", **required, **HEADERS[name]})
    return found


def _responses(route: Route, routes: Sequence[Route], refs: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    common: dict[str, Any] = {"headers": {"ETag": ETAG}} if route.etag else {}
    if "id" in getattr(route.answers.get(201), "model_fields", ()):
        common.setdefault("headers", {})["Location"] = LOCATION
        common["links"] = _links(route, routes)
    for status, answer in route.answers.items():
        response = found[str(status)] = {"description": STATUS_TEXTS[status], **common}
        if isinstance(answer, str):
            text = {"type": "object" if answer == JSON else "string"}
            response["content"] = {
                kind: {"schema": BYTES if kind.startswith(BINARY) else text} for kind in answer.split(", ")
            }
        elif answer is not None:
            response["content"] = {JSON: {"schema": refs[answer, "serialization"], **_shown(answer)}}
    schema = refs[(Problem, "serialization")]
    for status, kinds in _problems(route).items():
        if str(status) in found:
            continue
        shown = {kind.code: {"$ref": f"#/components/examples/{kind.code}"} for kind in kinds}
        response = found[str(status)] = {
            "description": "; ".join(map(described, kinds)),
            "content": {PROBLEM_JSON: {"schema": schema, "examples": shown}},
        }
        if errors.PreconditionFailed in kinds:
            response["headers"] = {"ETag": ETAG}
        if any(kind.retryable for kind in kinds):
            response["headers"] = {"Retry-After": {"description": "In seconds", "schema": {"type": "integer"}}}
    return found


def _shown(answer: Any) -> dict[str, Any]:
    """The example of an answer, or one of each of its shapes."""
    if answer is BookingOrQueued:
        return {"examples": {name: {"value": EXAMPLES[name]} for name in ("Booking", "QueuedBooking")}}
    return {"example": EXAMPLES[answer.__name__]}


def _problems(route: Route) -> dict[int, list[type[HoldfastError]]]:
    """By status, the route's own errors and those that follow from its other fields."""
    live, keyed = route.tag == "live", "Idempotency-Key" in route.headers
    has_body = route.body is not None or route.file
    nature: tuple[tuple[bool, tuple[type[HoldfastError], ...]], ...] = (
        (True, (errors.UnsupportedMediaType,)),  # any request may come with a Content-Encoding
        (route.path not in FREE, (errors.TooManyRequests,)),
        # Unavailable: whether the token is good is not known now.
        (route.access is not Access.ANYONE or live, (errors.Unauthorized, errors.Unavailable)),
        (live, (errors.MalformedRequest,)),
        (isinstance(route.access, Scope), (errors.Forbidden,)),
        ("{" in route.path, (errors.NotFound,)),
        (has_body, (errors.MalformedRequest, errors.RequestTimeout, errors.PayloadTooLarge)),
        # Without a token keys belong to nobody, and are no other request's.
        (keyed and route.access is not Access.ANYONE, (errors.IdempotencyKeyReused,)),
        (route.key_required, (errors.IdempotencyKeyRequired,)),
        ("If-Match" in route.headers, (errors.PreconditionFailed, errors.MalformedRequest)),
        (has_body or route.query is not None or bool(route.headers), (errors.InvalidRequest,)),
        (bool(route.mailboxes), (errors.Unavailable, errors.Timeout)),
    )
    by_status: dict[int, list[type[HoldfastError]]] = {}
    for kind in dict.fromkeys((*route.errors, *(kind for applies, kinds in nature if applies for kind in kinds))):
        by_status.setdefault(kind.status, []).append(kind)
    return dict(sorted(by_status.items()))


def _links(made: Route, routes: Iterable[Route]) -> dict[str, Any]:
    """By operation, what a client can do next with the id in an answer of `made`. The path of `made` ends in the
    plural of what it makes. https://spec.openapis.org/oas/v3.1.0#link-object"""
    noun = made.path.rpartition("/")[2].removesuffix("s")
    name = f"{noun}_id"
    found: dict[str, Any] = {}
    for route in routes:
        link: dict[str, Any] = {"operationId": route.view.__name__}
        if f"/{noun}s/{{id}}" in route.path and route.path.count("{") == 1:
            found[route.view.__name__] = link | {"parameters": {"path.id": ID}}
        elif route.body is not None and name in route.body.model_fields:
            found[route.view.__name__] = link | {"requestBody": {name: ID}}
        elif route.query is not None and name in route.query.model_fields:
            found[route.view.__name__] = link | {"parameters": {f"query.{name}": ID}}
    return found
