"""What an event shows: changed beside its terms, without touching its sale, and read only where it is wanted."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from common.contracts.messages import (
    CancelEvent,
    CreateEvent,
    EventChanged,
    EventChanges,
    GetEvent,
    GetEventImage,
    ListEvents,
    OperatorCommand,
    SetEventImage,
    TicketTypeChange,
    UpdateEvent,
)
from common.contracts.resources import Event, EventDetails, OperatorsEventDetails
from common.contracts.values import DESCRIPTION_MAX, IMAGE_BYTES_MAX, Venue
from tests.booking.stage import Show, Stage, new_event
from tests.booking.test_event_history import by, history, seen
from tests.booking.test_memory import ways

VENUE = Venue(name="Stadttheater", city="Weimar", country="DE")
CONTENT: dict[str, Any] = {"description": "Three *acts*", "category": "Theatre", "venue": VENUE}
NONE = dict.fromkeys(CONTENT)


def webp(size: int = 100, fill: bytes = b"x") -> bytes:
    """What the database takes for a WebP."""
    return b"RIFF\0\0\0\0WEBP" + fill * (size - 12)


def image(show: Show, data: bytes | None, **values: Any) -> SetEventImage:
    sides = {} if data is None else {"width": 16, "height": 9}
    encoded = None if data is None else base64.b64encode(data).decode()
    return SetEventImage(event_id=show.id, data=encoded, **(sides | by("root") | values))


def change(show: Show, *types: TicketTypeChange, **values: Any) -> UpdateEvent:
    return UpdateEvent(event_id=show.id, changes=EventChanges(**values), ticket_types=types, **by("root"))


async def done(stage: Stage, message: OperatorCommand) -> Event:
    (reply,) = await stage.call(message)
    assert reply.error is None, reply
    return Event.model_validate(reply.result)


async def details(stage: Stage, show: Show) -> EventDetails:
    (reply,) = await stage.call(GetEvent(event_id=show.id, details=True))
    return EventDetails.model_validate(reply.result)


async def test_an_event_is_created_with_what_it_shows(stage: Stage) -> None:
    message: CreateEvent = new_event(10, **CONTENT)
    event = await done(stage, message)
    assert (event.category, event.venue, event.image, event.content_version) == ("Theatre", VENUE, None, 1)
    found = await details(stage, Show(message.event_id, ()))
    assert (found.description, found.category, found.venue) == ("Three *acts*", "Theatre", VENUE)
    assert await done(stage, message) == event
    (other,) = await stage.call(message.model_copy(update={"description": "Four acts"}))
    assert other.error == "idempotency_key_reused"


async def test_an_event_without_content_has_no_rows(stage: Stage) -> None:
    show = await stage.show(10)
    found = await details(stage, show)
    assert (found.content_version, found.description, found.category, found.venue) == (0, None, None, None)
    await done(stage, change(show, **NONE))
    assert await stage.rows("SELECT 1 FROM event_contents UNION ALL SELECT 1 FROM event_images") == []


@pytest.mark.parametrize("name", CONTENT)
async def test_each_part_changes_by_itself_and_can_be_removed(stage: Stage, name: str) -> None:
    show = await stage.show(10, **CONTENT)
    other = {"description": "Two", "category": "Opera", "venue": Venue(name="Hall")}[name]
    for version, value in ((2, other), (3, None)):
        event = await done(stage, change(show, **{name: value}))
        assert (event.version, event.terms_version, event.content_version) == (version, version, version)
        found = await details(stage, show)
        assert {each: getattr(found, each) for each in CONTENT} == CONTENT | {name: value}
    assert (await done(stage, change(show, **{name: None}))).version == 3


async def test_it_is_read_where_it_is_wanted_and_nowhere_else(stage: Stage) -> None:
    """The description where the event is read by itself; the rest in lists, too; nothing where seats change."""
    show = await stage.show(10, **CONTENT)
    for operator, kind in ((False, EventDetails), (True, OperatorsEventDetails)):
        get = GetEvent(event_id=show.id, operator=operator)
        snapshot, detailed = await stage.call(get, get.model_copy(update={"details": True}))
        (listed,) = (await stage.call(ListEvents(limit=5, operator=operator)))[0].result["items"]
        assert kind.model_validate(detailed.result).description == "Three *acts*"
        assert not {"description", "description_html"} & (listed.keys() | snapshot.result.keys())
        for each in (snapshot.result, detailed.result, listed):
            assert (each["category"], each["venue"]["city"], each["image"]) == ("Theatre", "Weimar", None)
    await stage.listen(show)
    stage.availability.touched([show.id])
    await stage.availability.run_once()
    (published,) = await events_published(stage)
    for published_event in (published.event, published.operators):
        assert published_event is not None
        assert published_event.content_version == 1
        assert not {"category", "venue", "image", "description"} & published_event.model_fields_set
    (versions,) = (await stage.call(ListEvents(limit=5, versions_only=True)))[0].result["items"]
    assert versions.keys() == {"id", "starts_at", "version"}


async def events_published(stage: Stage) -> list[EventChanged]:
    entries: Any = await stage.redis.xrange("notifications")
    found = [fields[b"data"] for _, fields in entries if fields[b"type"] == b"event.changed"]
    return [EventChanged.model_validate_json(data) for data in found]


async def tokens(stage: Stage) -> list[UUID]:
    return [row["terms_token"] for row in await stage.rows("SELECT terms_token FROM ticket_types ORDER BY id")]


async def test_content_is_no_term_of_sale(stage: Stage) -> None:
    """No token is renewed, no batch decided from memory is refused, and a ticket type may be locked meanwhile."""
    show = await stage.show(10, 5)
    await stage.book(show.order())
    before = await tokens(stage)
    async with stage.database.transaction() as selling:
        await selling.execute("SELECT FROM ticket_types FOR NO KEY UPDATE")
        await done(stage, change(show, **CONTENT))
        await done(stage, image(show, webp()))
        await done(stage, image(show, None))
    assert await tokens(stage) == before
    with ways() as found:
        await stage.book(show.order())
    assert found == ["statement"]


async def test_terms_that_change_with_content_are_terms(stage: Stage) -> None:
    """Both in one change, with one version; also where a ticket type is added and the event itself stays."""
    show = await stage.show(10)
    await stage.book(show.order())
    added = TicketTypeChange(id=UUID(int=5), new=True, name="Box", unit_amount=9000, capacity=4)
    for version, message in (
        (2, change(show, max_per_booking=2, **CONTENT)),
        (3, change(show, added, description="More")),
    ):
        before = (await tokens(stage))[-1]
        event = await done(stage, message)
        assert (event.terms_version, event.content_version) == (version, version)
        assert (await tokens(stage))[-1] != before
        assert len(await history(stage, show.id)) == version
    (refused,) = await stage.call(show.order(3))
    assert refused.error == "quantity_over_limit"


async def test_a_change_of_content_is_a_change_like_any_other(stage: Stage) -> None:
    """With a history, by a version, and once for each request."""
    show = await stage.show(10)
    message = change(show, **CONTENT).model_copy(update={"if_match": (1,), **by("ann", key="k")})
    assert await done(stage, message) == await done(stage, message)
    with_if_match = image(show, webp()).model_copy(update={"if_match": (1,)})
    (outdated,) = await stage.call(with_if_match)
    assert (outdated.error, outdated.extra["etag"]) == ("precondition_failed", '"2"')
    shown = await done(stage, image(show, webp(), if_match=(2,)))
    assert await done(stage, image(show, webp())) == shown
    await done(stage, image(show, None))
    _, content, with_image, without = await history(stage, show.id)
    assert (content.what, content.by) == ("changed", "ann")
    assert seen(content) == {
        "description": (None, "Three *acts*"),
        "category": (None, "Theatre"),
        "venue.name": (None, "Stadttheater"),
        "venue.city": (None, "Weimar"),
        "venue.country": (None, "DE"),
    }
    assert shown.image is not None
    assert seen(with_image) == {"image": (None, shown.image.hash)}
    assert seen(without) == {"image": (shown.image.hash, None)}


async def test_a_history_has_the_beginning_of_a_long_description(stage: Stage) -> None:
    show = await stage.show(10)
    await done(stage, change(show, description="a" * DESCRIPTION_MAX))
    await done(stage, change(show, description="a" * (DESCRIPTION_MAX - 1) + "b"))
    _, first, second = await history(stage, show.id)
    brief = "a" * 200 + "…"
    assert seen(first) == {"description": (None, brief)}
    assert seen(second) == {"description": (brief, brief)}


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"description": ""}, ["description"]),
    ({"description": "x" * (DESCRIPTION_MAX + 1)}, ["description"]),
    ({"description": "a\0b", "category": "x" * 65}, ["description", "category"]),
    ({"venue": Venue(name="", city="a\0b")}, ["venue.name", "venue.city"]),
]


@pytest.mark.parametrize(("values", "fields"), REFUSED)
async def test_what_the_database_would_refuse_is_refused_with_its_field(
    stage: Stage, values: dict[str, Any], fields: list[str]
) -> None:
    """Also when a gateway has let it pass. Nothing changes, the terms neither."""
    show = await stage.show(10)
    for message in (change(show, name="Other", **values), new_event(10, **values)):
        (reply,) = await stage.call(message)
        assert reply.error == "invalid_request"
        assert [".".join(each["loc"][1:]) for each in reply.extra["errors"]] == fields
    assert len(await history(stage, show.id)) == 1
    assert len(await stage.rows("SELECT 1 FROM events")) == 1


async def test_a_cancelled_event_can_say_so(stage: Stage) -> None:
    """Its content changes, its terms do not, and its cancellation goes on."""
    show = await stage.show(10)
    await stage.confirmed(show)
    await done(stage, CancelEvent(event_id=show.id, **by("root")))
    await done(stage, change(show, description="It is cancelled"))
    await done(stage, image(show, webp()))
    await done(stage, change(show, status="archived"))
    (refused,) = await stage.call(change(show, name="Other", description="Other"))
    assert refused.error == "conflict"
    assert (await details(stage, show)).description == "It is cancelled"
    await stage.reconcile_now()
    assert [row["status"] for row in await stage.rows("SELECT status FROM bookings")] == ["cancelled"]


# --- images -------------------------------------------------------------------------------------------------


async def bytes_of(stage: Stage, show: Show, known: str | None = None) -> tuple[str, bytes | None]:
    (reply,) = await stage.call(GetEventImage(event_id=show.id, known=known))
    assert reply.error is None, reply
    data = reply.result["data"]
    return reply.result["hash"], None if data is None else base64.b64decode(data)


async def test_an_image_is_kept_and_its_address_changes_with_it(stage: Stage) -> None:
    show, other = await stage.show(10), await stage.show(10)
    hashes: list[str] = []
    for data in (webp(), webp(IMAGE_BYTES_MAX)):
        shown = (await done(stage, image(show, data))).image
        assert shown is not None
        assert shown.hash == hashlib.sha256(data).hexdigest()[:32]
        assert (shown.url, shown.width, shown.height) == (f"/events/{show.id}/image?v={shown.hash}", 16, 9)
        assert await bytes_of(stage, show, known=hashes[-1] if hashes else None) == (shown.hash, data)
        assert await bytes_of(stage, show, known=shown.hash) == (shown.hash, None)
        hashes.append(shown.hash)
    assert hashes[0] != hashes[1]
    assert (await done(stage, image(show, None))).image is None
    for each in (show, other):
        (reply,) = await stage.call(GetEventImage(event_id=each.id))
        assert (reply.error, reply.detail) == ("not_found", "The event has no image")
    (reply,) = await stage.call(GetEventImage(event_id=UUID(int=1)))
    assert reply.error == "event_not_found"


async def test_an_image_goes_on_when_other_content_changes(stage: Stage) -> None:
    show = await stage.show(10)
    shown = (await done(stage, image(show, webp()))).image
    assert (await done(stage, change(show, category="Opera"))).image == shown
    assert (await done(stage, change(show, name="Other"))).image == shown
    assert (await details(stage, show)).image == shown


@pytest.mark.parametrize("data", [b"", b"GIF89a" + bytes(100), webp(IMAGE_BYTES_MAX + 1)], ids=len)
async def test_what_is_no_image_that_a_gateway_has_made_is_refused(stage: Stage, data: bytes) -> None:
    """By the actor, and by the database."""
    show = await stage.show(10)
    (reply,) = await stage.call(image(show, data))
    assert reply.error == "image_invalid"
    with pytest.raises(asyncpg.CheckViolationError):
        await stage.rows("INSERT INTO event_images VALUES ($1, 'x', 1, 1, $2)", show.id, data)
    assert len(await history(stage, show.id)) == 1


async def test_an_event_without_an_image_needs_none_removed(stage: Stage) -> None:
    show = await stage.show(10)
    assert (await done(stage, image(show, None))).version == 1
    (reply,) = await stage.call(image(Show(UUID(int=1), ()), None))
    assert reply.error == "event_not_found"
