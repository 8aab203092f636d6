"""The AsyncAPI 3 document of the WebSocket, made from the models of its messages: `/asyncapi.json`.

It is told from the gateway's side: what it receives is what clients send.
https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from gateway.component_schemas import component_schemas
from gateway.openapi import API_VERSION, BEARER, LICENSE
from gateway.socket_messages import (
    RECEIVED,
    SENT,
    Auth,
    BookingMessage,
    ErrorMessage,
    EventMessage,
    QueueMessage,
    SnapshotMessage,
    Subscription,
    WaitingEntryMessage,
)
from gateway.websocket import Close

CHANNEL = "socket"
SERVER = {
    "host": "{host}",
    "protocol": "ws",
    "description": "A gateway; behind a proxy that ends TLS the protocol is `wss`",
    "variables": {"host": {"default": "127.0.0.1:8080", "description": "Where the gateway is reached"}},
    "security": [{"$ref": "#/components/securitySchemes/bearer"}],
}
ABOUT = """\
Live changes of bookings and of availability. Messages are JSON text in both directions; clients ignore members and
types that they do not know. The token comes in the `Authorization` header or, within 10 seconds, in a first message
`Auth`; never in the URL. `docs/websocket.md` says how to use it.
"""
# What the gateway does: which messages of clients it receives and answers, and what it sends by itself.
RECEIVES: Mapping[str, tuple[str, type[BaseModel], tuple[type[BaseModel], ...]]] = {
    "authenticate": ("Says, or renews, who the client is; what is right is not answered", Auth, (ErrorMessage,)),
    "subscribe": (
        "Asks for a booking, an event or an entry, or ends that",
        Subscription,
        (SnapshotMessage, ErrorMessage),
    ),
}
SENDS: Mapping[str, tuple[str, type[BaseModel]]] = {
    "booking_changed": (
        "A booking of the owner's, or one that an operator subscribed to, has changed",
        BookingMessage,
    ),
    "event_changed": ("An event that was subscribed to has changed", EventMessage),
    "waiting_entry_changed": ("An entry of the owner's in a waiting list has changed", WaitingEntryMessage),
    "queue_moved": ("The queue position of a waiting booking in front of Stripe has fallen", QueueMessage),
}


def document() -> dict[str, Any]:
    modes = [*((kind, "validation") for kind in SENT), *((kind, "serialization") for kind in RECEIVED)]
    _, schemas = component_schemas(modes)  # type: ignore[arg-type]  # the modes are literals
    closes = "\n".join(f"- {int(code)}: {code.meaning}" for code in Close)
    kinds = [kind.__name__ for kind in (*SENT, *RECEIVED)]
    channel = {
        "address": "/ws",
        "title": "The WebSocket",
        "description": f"The gateway may close it with these codes:\n\n{closes}",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in kinds},
        "bindings": {"ws": {"method": "GET"}},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Holdfast: the WebSocket",
            "version": API_VERSION,
            "description": ABOUT,
            "license": {"name": LICENSE["name"]},
        },
        "defaultContentType": "application/json",
        "servers": {"gateway": SERVER},
        "channels": {CHANNEL: channel},
        "operations": _operations(),
        "components": {
            "schemas": schemas,
            "messages": {kind.__name__: _message(kind) for kind in (*SENT, *RECEIVED)},
            "securitySchemes": {"bearer": BEARER},
        },
    }


def _message(kind: type[BaseModel]) -> dict[str, Any]:
    name = kind.__name__
    return {
        "name": name,
        "title": name,
        "summary": inspect.cleandoc(kind.__doc__ or "").replace("\n", " "),
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }


def _operations() -> dict[str, Any]:
    channel = {"$ref": f"#/channels/{CHANNEL}"}
    found: dict[str, Any] = {}
    for name, (summary, kind, replies) in RECEIVES.items():
        reply = {"channel": channel, "messages": _references(replies)}
        found[name] = {
            "action": "receive",
            "channel": channel,
            "summary": summary,
            "messages": _references([kind]),
            "reply": reply,
        }
    for name, (summary, kind) in SENDS.items():
        found[name] = {
            "action": "send",
            "channel": channel,
            "summary": summary,
            "messages": _references([kind]),
        }
    return found


def _references(kinds: Sequence[type[BaseModel]]) -> list[dict[str, str]]:
    return [{"$ref": f"#/channels/{CHANNEL}/messages/{kind.__name__}"} for kind in kinds]
