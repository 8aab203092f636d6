"""What makes an operator's request the same one again: who asks, for what, under which key, with which content."""

from __future__ import annotations

import hashlib
from uuid import UUID, uuid5

import orjson
from aiohttp import web

from common.contracts.ids import uuid7
from common.contracts.messages import OperatorRequest
from gateway.keys import IDENTITY
from gateway.requests import idempotency_key

# The namespace of ids that an operator's Idempotency-Key makes; changing it would make things a second time.
KEYED = UUID("0f7e5d3a-6d0e-5b7c-8c3b-2f6a9d1e4b70")


def operator_request(request: web.Request, id: UUID | None = None, content: bytes = b"") -> OperatorRequest:
    """What the booking process knows `request` by. `id` is the path's, `content` a JSON body that has been checked.
    Raises InvalidRequest for a wrong Idempotency-Key.

    Two bodies are the same content when they are the same JSON: neither spaces nor the order of members count.
    """
    resource = request.match_info.route.resource
    assert resource is not None
    path = resource.canonical.replace("{id}", str(id))
    same = orjson.dumps(orjson.loads(content), option=orjson.OPT_SORT_KEYS) if content else b""
    return OperatorRequest(
        subject=request[IDENTITY].subject,
        operation=f"{request.method} {path}",
        key=idempotency_key(request),
        content_hash=hashlib.sha256(same).hexdigest(),
    )


def keyed_id(by: OperatorRequest, purpose: str) -> UUID:
    """A new id; with an Idempotency-Key always the same one for this subject, key and `purpose`, which says the
    operation. That a key means one content only is for the booking process to see to: it has the row."""
    return uuid7() if by.key is None else uuid5(KEYED, f"{purpose}\0{by.subject}\0{by.key}")
