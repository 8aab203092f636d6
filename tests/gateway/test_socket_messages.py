"""What the gateway sends over the WebSocket is what the documents describe, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from common.contracts.errors import NotFound
from common.contracts.messages import EventChanged, GetBooking, GetEvent, QueueMoved
from gateway import asyncapi, openapi
from gateway.routes import GUESTS, PROCESS, ROUTES
from gateway.socket_messages import RECEIVED, SENT
from tests.gateway.stage import (
    EVENT_ID,
    Client,
    ScriptedBooking,
    as_json,
    bearer,
    booking,
    event,
    operators_event,
)

DOCUMENT = asyncapi.document()
MINE = booking(payment="creating", version=1)


def shape(message: dict[str, Any]) -> str:
    """The name of the only message that it is one of, with no member that is not described."""
    fitting = [kind.__name__ for kind in RECEIVED if fits(kind.__name__, message)]
    assert len(fitting) == 1, (fitting, message)
    described = DOCUMENT["components"]["schemas"][fitting[0]]["properties"]
    assert message.keys() <= described.keys()
    return fitting[0]


def fits(name: str, message: dict[str, Any]) -> bool:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return bool(Draft202012Validator(schema).is_valid(message))


Step = Callable[[ScriptedBooking], Awaitable[None]]


async def changed(actor: ScriptedBooking) -> None:
    await actor.change("alice", MINE.model_copy(update={"version": 2}))


async def event_changed(actor: ScriptedBooking) -> None:
    await actor.notify(EventChanged(event=event(version=2), operators=operators_event(version=2)))


async def queue_moved(actor: ScriptedBooking) -> None:
    places = ((0, datetime(2020, 1, 1, tzinfo=UTC), uuid4()), (1, MINE.created_at, MINE.id))
    await actor.notify(QueueMoved(places=places, total=2, interval_ms=60_000))


async def nothing(_: ScriptedBooking) -> None: ...


@pytest.mark.parametrize("operator", [False, True])
@pytest.mark.parametrize(
    ("sent", "then", "wanted"),
    [
        ({"type": "subscribe", "booking_id": str(MINE.id)}, nothing, ["SnapshotMessage"]),
        ({"type": "subscribe", "booking_id": str(MINE.id)}, changed, ["SnapshotMessage", "BookingMessage"]),
        ({"type": "subscribe", "event_id": str(EVENT_ID)}, event_changed, ["SnapshotMessage", "EventMessage"]),
        ({"type": "subscribe", "event_id": str(uuid4())}, nothing, ["ErrorMessage"]),
        ({"type": "subscribe"}, nothing, ["ErrorMessage"]),
    ],
)
async def test_each_message_is_one_that_is_described(
    gateway: Client,
    actor: ScriptedBooking,
    sent: dict[str, Any],
    then: Step,
    wanted: list[str],
    operator: bool,
) -> None:
    seen = operators_event() if operator else event()
    actor.on(GetBooking, as_json(MINE))
    actor.on(GetEvent, lambda message: as_json(seen) if message.event_id == EVENT_ID else NotFound())
    who = bearer("root", operator=True) if operator else bearer("alice")
    async with gateway.ws_connect("/ws", headers=who) as socket:
        await socket.send_json(sent)
        found = [shape(await socket.receive_json(timeout=10))]
        if len(wanted) > 1:
            await then(actor)
            found.append(shape(await socket.receive_json(timeout=10)))
    assert found == wanted


async def test_the_place_in_the_queue_is_described(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(GetBooking, as_json(MINE))
    async with gateway.ws_connect("/ws", headers=bearer("alice")) as socket:
        await socket.send_json({"type": "subscribe", "booking_id": str(MINE.id)})
        assert shape(await socket.receive_json(timeout=10)) == "SnapshotMessage"
        await queue_moved(actor)
        assert shape(await socket.receive_json(timeout=10)) == "QueueMessage"


def test_both_documents_have_every_message() -> None:
    names = {kind.__name__ for kind in (*SENT, *RECEIVED)}
    assert set(DOCUMENT["components"]["messages"]) == names
    schemas = openapi.document((*GUESTS, *ROUTES, *PROCESS))["components"]["schemas"]
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert schemas[name] == schema


async def test_the_document_is_served(gateway: Client) -> None:
    response = await gateway.get("/asyncapi.json")
    assert (response.status, response.content_type) == (200, "application/json")
    assert await response.json() == DOCUMENT
