"""`docs/asyncapi.json`: the streams between the processes as an AsyncAPI 3 document, from the contracts.

Each stream is a channel, told from the side of the process that reads it.
https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter

from common.contracts.messages import MAILBOXES, NOTIFICATIONS, Message, PaymentReport
from common.contracts.messages.base import OfBooking
from common.contracts.values import PaymentState
from documents import contracts
from documents.messages import meaning, processes
from documents.of_messages import ENVELOPE, STREAMS
from documents.uses import Uses, uses

REF = "#/components/schemas/{model}"
# A stream that gateways read has one address for each.
INBOX = "inbox:{gateway}"
OPTIONAL = {"correlationid", "replyto"}
ABOUT = """\
What the processes of Holdfast say to each other, by Redis streams. It is no interface for others: it may change
with each release, but only so that two releases run side by side. Each entry's fields are CloudEvents attributes,
here `headers`; `data` is the payload. The same as a page: `docs/messages.md`.
"""


def page() -> str:
    return json.dumps(document(), indent=1, ensure_ascii=False)


def document() -> dict[str, Any]:
    kinds = contracts.messages()
    used = uses({kind.__name__ for kind in kinds})
    streams = (*MAILBOXES, NOTIFICATIONS, "")
    by_stream = {stream: [kind for kind in kinds if kind.stream == stream] for stream in streams}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Holdfast: the streams",
            "version": "1.0.0",
            "description": ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"redis": {"host": "127.0.0.1:6379", "protocol": "redis", "description": "`REDIS_URL`"}},
        "channels": {_name(stream): _channel(stream, of) for stream, of in by_stream.items()},
        "operations": {f"read_{_name(stream)}": _operation(stream, of, used) for stream, of in by_stream.items()},
        "components": {
            "schemas": {"Envelope": _envelope(), **_schemas(kinds)},
            "messages": {kind.__name__: _message(kind, used[kind.__name__]) for kind in kinds},
        },
    }


def _name(stream: str) -> str:
    return (stream or "replies").replace(".", "_")


def _channel(stream: str, kinds: Iterable[type[Message]]) -> dict[str, Any]:
    title, text = STREAMS[stream]
    found: dict[str, Any] = {
        "address": stream if stream in MAILBOXES else INBOX,
        "title": title.strip("`"),
        "description": text,
        "messages": {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in kinds},
    }
    if stream not in MAILBOXES:
        found["parameters"] = {"gateway": {"description": "The name of the process that reads it"}}
    return found


def _operation(stream: str, kinds: Iterable[type[Message]], used: dict[str, Uses]) -> dict[str, Any]:
    readers = sorted({process for kind in kinds for process in processes(kind, used[kind.__name__].handlers)})
    channel = f"#/channels/{_name(stream)}"
    return {
        "action": "receive",
        "channel": {"$ref": channel},
        "summary": f"Read by {', '.join(readers)}",
        "messages": [{"$ref": f"{channel}/messages/{kind.__name__}"} for kind in kinds],
    }


def _message(kind: type[Message], of: Uses) -> dict[str, Any]:
    return {
        "name": kind.types[0],
        "title": kind.__name__,
        "summary": meaning(kind),
        "headers": {
            "allOf": [
                {"$ref": REF.format(model="Envelope")},
                {"type": "object", "properties": {"type": {"enum": list(kind.types)}}},
            ]
        },
        "payload": {"$ref": REF.format(model=kind.__name__)},
        "x-sent-by": processes(kind, of.makers),
    }


def _envelope() -> dict[str, Any]:
    names = {name: about for name, about in ENVELOPE.items() if name != "data"}
    return {
        "type": "object",
        "description": "The CloudEvents attributes of each entry",
        "required": [name for name in names if name not in OPTIONAL],
        "properties": {name: {"type": "string", "description": about} for name, about in names.items()},
    }


def _schemas(kinds: Iterable[type[Message]]) -> dict[str, Any]:
    """Of all messages and what they are made of, as JSON Schema's draft 7 has them."""
    wanted: list[Any] = [(kind, "validation", TypeAdapter(kind)) for kind in kinds]
    wanted.append((PaymentState, "validation", TypeAdapter(PaymentState)))
    found: dict[str, Any] = TypeAdapter.json_schemas(wanted, ref_template=REF)[1]["$defs"]
    # It is sent flat.
    booking = {"properties": {"booking_id": OfBooking.model_json_schema()["properties"]["booking_id"]}}
    state = {"$ref": REF.format(model=PaymentState.__name__)}
    flat = {"type": "object", "required": ["booking_id"], **booking}
    found[PaymentReport.__name__] = {"description": PaymentReport.__doc__, "allOf": [state, flat]}
    return {name: _as_draft_7(schema) for name, schema in sorted(found.items())}


def _as_draft_7(schema: Any) -> Any:
    """Without pydantic's titles, which repeat the names; a list whose places have schemas of their own is written
    in another way there."""
    if isinstance(schema, list):
        return [_as_draft_7(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    titled = isinstance(schema.get("title"), str)
    left_out = {"prefixItems", "title"} if titled else {"prefixItems"}
    draft = {name: _as_draft_7(value) for name, value in schema.items() if name not in left_out}
    if "prefixItems" in schema:
        draft |= {"items": _as_draft_7(schema["prefixItems"]), "additionalItems": False}
    return draft
