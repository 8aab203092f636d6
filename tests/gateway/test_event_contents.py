"""What events show at a gateway: beside the catalogue, read when it has changed or when somebody wants it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any

import orjson
import pytest

from common.contracts.errors import EventNotFound, NotFound
from common.contracts.messages import (
    EventChanged,
    EventWithdrawn,
    GetEvent,
    GetEventImage,
    ListEvents,
    UpdateEvent,
)
from common.contracts.resources import Event
from common.contracts.statuses import EventStatus
from common.contracts.values import EventImage, Venue
from gateway.catalogue_reader import CATALOGUE
from gateway.event_contents import Recent
from tests.common.stage import until
from tests.gateway.conftest import Gateway
from tests.gateway.stage import (
    EVENT_ID,
    Client,
    ScriptedBooking,
    as_details,
    as_json,
    bearer,
    event,
    operators_event,
)
from tests.gateway.test_catalogue import OTHER_ID, RARELY, current, names, names_become

OPERATOR = bearer("root", operator=True)
BYTES = [b"RIFF\0\0\0\0WEBP" + each for each in (b"one", b"another")]
HASHES = [hashlib.sha256(each).hexdigest()[:32] for each in BYTES]
PATH = f"/events/{EVENT_ID}"


def shown(number: int = 0, *, version: int = 5, content_version: int = 2, **more: Any) -> Event:
    """An event with content."""
    image = EventImage(f"{PATH}/image?v={HASHES[number]}", HASHES[number], 16, 9)
    content = {"category": "Théâtre", "venue": Venue(name="Hall", city="Graz"), "image": image}
    return event(version=version).model_copy(update={**content, "content_version": content_version, **more})


def as_notified(seen: Event) -> Event:
    """The event as it is in a notification."""
    return Event.model_validate(seen.model_dump(exclude={"category", "venue", "image"}))


class Booking:
    """A booking actor with one event, its description and its image."""

    def __init__(self, actor: ScriptedBooking, seen: Event, markdown: str | None = "*Three* acts") -> None:
        self.actor, self.seen, self.markdown, self.image = actor, seen, markdown, 0
        self.there = self.published = True
        actor.on(ListEvents, self._page)
        actor.on(GetEvent, self._event)
        actor.on(GetEventImage, self._image)

    def _page(self, message: ListEvents) -> dict[str, Any]:
        names = ("id", "starts_at", "version") if message.versions_only else Event.model_fields
        listed = self.there and self.seen.status is EventStatus.PUBLISHED
        items = [{name: as_json(self.seen)[name] for name in names}] if listed else []
        return {"items": items, "next": None, "published": self.published}

    def _event(self, message: GetEvent) -> Any:
        if not self.there or message.event_id != self.seen.id:
            return EventNotFound()
        return as_json(self.seen) | ({"description": self.markdown} if message.details else {})

    def _image(self, message: GetEventImage) -> Any:
        if not self.there:
            return EventNotFound()
        if self.seen.image is None:
            return NotFound("The event has no image")
        known = message.known == HASHES[self.image]
        return {"hash": HASHES[self.image], "data": None if known else base64.b64encode(BYTES[self.image]).decode()}

    def read(self, *, details: bool) -> int:
        return len([each for each in self.actor.messages(GetEvent) if each.details is details])


async def listening(start: Gateway, **settings: Any) -> Client:
    return await current(await start(event_catalogue_max=10, event_catalogue_read_seconds=RARELY, **settings))


HTML = "<p><em>Three</em> acts</p>\n"


async def test_a_description_is_asked_for_once_and_then_comes_from_memory(
    start: Gateway, actor: ScriptedBooking
) -> None:
    """However many want it at the same time, and however often seats change."""
    booking = Booking(actor, shown())
    gateway = await listening(start)
    answers = await asyncio.gather(*(gateway.get(PATH) for _ in range(30)))
    assert [await each.json() for each in answers] == [as_details(shown(), "*Three* acts", HTML)] * 30
    (tag,) = {each.headers["ETag"] for each in answers}
    assert (await gateway.get(PATH, headers={"If-None-Match": tag})).status == 304
    await actor.notify(EventChanged(event=as_notified(shown(version=6, name="Opera"))))
    await names_become(gateway, ["Opera"])
    changed = await gateway.get(PATH)
    assert await changed.json() == as_details(shown(version=6, name="Opera"), "*Three* acts", HTML)
    assert changed.headers["ETag"] != tag
    assert (booking.read(details=True), booking.read(details=False)) == (1, 0)


async def test_an_event_without_content_is_not_asked_for(start: Gateway, actor: ScriptedBooking) -> None:
    booking = Booking(actor, event())
    gateway = await listening(start)
    for _ in range(3):
        assert await (await gateway.get(PATH)).json() == as_details(event())
    assert (booking.read(details=True), booking.read(details=False)) == (0, 0)


async def test_content_that_has_changed_is_read_again_and_until_then_the_old_is_whole(
    start: Gateway, actor: ScriptedBooking
) -> None:
    """A list has the members of one version; the event by itself is as booking has it."""
    booking = Booking(actor, shown())
    gateway = await listening(start)
    before = await gateway.get(PATH)
    booking.seen = shown(1, version=6, content_version=3, category="Opera", venue=None)
    booking.markdown = "Four"
    await actor.notify(EventChanged(event=as_notified(booking.seen)))

    async def listed() -> Any:
        (item,) = (await (await gateway.get("/events")).json())["items"]
        old = as_json(shown(version=6))
        assert item in (as_json(shown()), old, as_json(booking.seen))
        return item == as_json(booking.seen)

    await until(listed)
    after = await gateway.get(PATH, headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status, await after.json()) == (200, as_details(booking.seen, "Four", "<p>Four</p>\n"))
    assert booking.read(details=False) == 1


async def test_content_of_an_event_that_was_not_known_is_read(start: Gateway, actor: ScriptedBooking) -> None:
    booking = Booking(actor, shown())
    booking.there = False
    gateway = await listening(start)
    assert await names(gateway) == []
    booking.there = True
    await actor.notify(EventChanged(event=as_notified(booking.seen)))
    await until(lambda: booking.read(details=False) == 1)

    async def complete() -> bool:
        return bool((await (await gateway.get("/events")).json())["items"] == [as_json(booking.seen)])

    await until(complete)


async def test_what_was_not_read_at_once_is_read_later(start: Gateway, actor: ScriptedBooking) -> None:
    booking = Booking(actor, event())
    gateway = await listening(start)
    booking.seen = shown(version=6)
    strange = iter(["no event"])
    actor.on(GetEvent, lambda message: next(strange, None) or booking._event(message))
    await actor.notify(EventChanged(event=as_notified(booking.seen)))

    async def complete() -> bool:
        return bool((await (await gateway.get("/events")).json())["items"] == [as_json(booking.seen)])

    await until(complete)


async def test_a_socket_is_sent_no_content(start: Gateway, actor: ScriptedBooking) -> None:
    """Its snapshot has all but the description; changes have the version of the content."""
    Booking(actor, shown())
    gateway = await listening(start)
    for headers in (bearer(), OPERATOR):
        async with gateway.ws_connect("/ws", headers=headers) as socket:
            await socket.send_json({"type": "subscribe", "event_id": str(EVENT_ID)})
            snapshot = (await socket.receive_json())["event"]
            assert (snapshot["category"], snapshot["content_version"]) == ("Théâtre", 2)
            assert "description" not in snapshot
            await actor.notify(
                EventChanged(event=as_notified(shown(version=9)), operators=operators_event(version=9))
            )
            changed = await socket.receive_json()
            assert changed["type"] == "event"
            assert "description" not in orjson.dumps(changed).decode()


async def test_without_a_catalogue_the_actor_is_asked_for_all_of_it(start: Gateway, actor: ScriptedBooking) -> None:
    booking = Booking(actor, shown())
    gateway = await start()
    for _ in range(2):
        assert await (await gateway.get(PATH)).json() == as_details(shown(), "*Three* acts", HTML)
    assert booking.read(details=True) == 2
    (item,) = (await (await gateway.get("/events")).json())["items"]
    assert item == as_json(shown())


async def test_events_of_a_category_are_listed(start: Gateway, actor: ScriptedBooking) -> None:
    """Without regard to case and accents; also beside a release with which the catalogue cannot be used."""
    booking = Booking(actor, shown())
    gateways = [await listening(start)]
    booking.published = False
    gateways.append(await start(event_catalogue_max=10))
    for gateway in gateways:
        for category, found in (("theatre", ["Concert"]), ("THÉÂTRE", ["Concert"]), ("theat", []), ("Opera", [])):
            assert await names(gateway, f"?category={category}") == found
        for wrong in ("?category=", f"?category={'x' * 65}", "?category=a&category=b"):
            assert (await gateway.get(f"/events{wrong}")).status == 422


async def test_operators_read_the_description_and_its_html(gateway: Client, actor: ScriptedBooking) -> None:
    Booking(actor, shown(), markdown="<b>")
    answer = await (await gateway.get(f"/admin{PATH}", headers=OPERATOR)).json()
    assert (answer["description"], answer["description_html"]) == ("<b>", "<p>&lt;b&gt;</p>\n")
    assert [(each.operator, each.details) for each in actor.messages(GetEvent)] == [(True, True)]


async def test_a_description_is_previewed_and_changes_nothing(gateway: Client, actor: ScriptedBooking) -> None:
    path = "/admin/events/preview-description"
    answer = await gateway.post(path, json={"description": "By the **water**"}, headers=OPERATOR)
    assert await answer.json() == {"description_html": "<p>By the <strong>water</strong></p>\n"}
    answer = await gateway.post(path, json={"description": "<b>"}, headers=OPERATOR)
    assert answer.status == 422
    assert (await answer.json())["errors"][0]["loc"] == ["body", "description"]
    assert actor.received == []


# --- drafts and archived events -----------------------------------------------------------------------------


async def test_a_draft_never_gets_into_the_catalogue(start: Gateway, actor: ScriptedBooking) -> None:
    """Also where an operator has made or changed it at this gateway, or somebody publishes it by mistake."""
    booking = Booking(actor, event(OTHER_ID, name="Public"))
    gateway = await listening(start)
    draft = event().model_copy(update={"status": EventStatus.DRAFT})
    actor.on(UpdateEvent, as_json(draft))
    await gateway.patch(f"/admin{PATH}", json={"name": "Secret"}, headers=OPERATOR)
    await actor.notify(EventChanged(event=draft), EventChanged(event=event(OTHER_ID, version=2, name="Marker")))
    await names_become(gateway, ["Marker"])
    assert (await gateway.get(PATH)).status == 404
    assert len(gateway.app[CATALOGUE].catalogue) == 1
    assert booking.seen.name == "Public"


def of_version(version: int, **values: Any) -> Event:
    """The event, with both of its versions."""
    return event(version=version, **values).model_copy(update={"terms_version": version})


@pytest.mark.parametrize("here", [True, False])
async def test_an_event_that_becomes_a_draft_is_gone_at_once(
    start: Gateway, actor: ScriptedBooking, here: bool
) -> None:
    """At the gateway that was asked, and at the others; and it can come back."""
    booking = Booking(actor, event())
    gateway = await listening(start)
    booking.there = False
    if here:
        actor.on(UpdateEvent, as_json(of_version(2).model_copy(update={"status": EventStatus.DRAFT})))
        await gateway.patch(f"/admin{PATH}", json={"status": "draft"}, headers=OPERATOR)
        assert await names(gateway) == []
    else:
        await actor.notify(EventWithdrawn(event_id=EVENT_ID, version=2))
        await names_become(gateway, [])
    assert (await gateway.get(PATH)).status == 404
    # What was sent before, and arrives late, does not bring it back; nor does a late withdrawal hide it again.
    await actor.notify(EventChanged(event=of_version(1)), EventChanged(event=of_version(3)))
    await names_become(gateway, ["Concert"])
    await actor.notify(
        EventWithdrawn(event_id=EVENT_ID, version=2), EventChanged(event=of_version(4, name="Ballet"))
    )
    await names_become(gateway, ["Ballet"])


async def test_an_event_that_becomes_a_draft_while_all_are_read_stays_gone(
    start: Gateway, actor: ScriptedBooking
) -> None:
    """The read has begun before."""
    booking = Booking(actor, event())
    gateway = await listening(start)
    reader = gateway.app[CATALOGUE]

    def page(message: ListEvents) -> Any:
        reader.withdraw(str(EVENT_ID), 2)
        actor.on(ListEvents, booking._page)
        return {"items": [as_json(event())], "next": None, "published": True}

    actor.on(ListEvents, page)
    lists = len(actor.messages(ListEvents))
    reader.on_missed(None)
    await actor.wait_for(ListEvents, lists + 1)
    await current(gateway)
    assert await names(gateway) == []


async def test_an_archived_event_is_in_no_list_and_read_from_memory(start: Gateway, actor: ScriptedBooking) -> None:
    archived = event(version=2).model_copy(update={"status": EventStatus.ARCHIVED})
    booking = Booking(actor, event())
    gateway = await listening(start)
    booking.seen = archived
    await actor.notify(EventChanged(event=as_notified(archived)))
    await names_become(gateway, [])
    for sort in ("starts_at", "-starts_at", "name"):
        assert await names(gateway, f"?sort={sort}&on_sale=false") == []
    for _ in range(3):
        assert await (await gateway.get(PATH)).json() == as_details(archived)
    assert booking.read(details=True) == 0
    await actor.notify(EventChanged(event=as_notified(event(version=3))))
    await names_become(gateway, ["Concert"])


async def test_operators_filter_by_status(gateway: Client, actor: ScriptedBooking) -> None:
    actor.on(ListEvents, {"items": [], "next": None})
    for query, status in (("", None), ("?status=draft", EventStatus.DRAFT)):
        assert (await gateway.get(f"/admin/events{query}", headers=OPERATOR)).status == 200
        assert actor.messages(ListEvents)[-1].status is status
    assert (await gateway.get("/admin/events?status=secret", headers=OPERATOR)).status == 422
    assert (await gateway.get("/events?status=draft")).status == 422


# --- images -------------------------------------------------------------------------------------------------


async def test_an_image_is_asked_for_once_and_may_be_cached_for_ever(
    start: Gateway, actor: ScriptedBooking
) -> None:
    Booking(actor, shown())
    gateway = await listening(start, events_max_age_seconds=7)
    url = f"{PATH}/image?v={HASHES[0]}"
    answers = await asyncio.gather(*(gateway.get(url) for _ in range(30)))
    for answer in answers:
        assert (answer.status, await answer.read()) == (200, BYTES[0])
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Type"] == "image/webp"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["ETag"] == f'"{HASHES[0]}"'
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    head = await gateway.head(url)
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(BYTES[0])))
    known = await gateway.get(url, headers={"If-None-Match": f'"{HASHES[0]}"'})
    assert (known.status, await known.read()) == (304, b"")
    for other in (f"{PATH}/image", f"{PATH}/image?v={HASHES[1]}", f"{PATH}/image?v=x"):
        answer = await gateway.get(other)
        assert (await answer.read(), answer.headers["Cache-Control"]) == (BYTES[0], "public, max-age=7")
    assert len(actor.messages(GetEventImage)) == 1
    for wrong in ("?v=", f"?v={'x' * 65}", "?w=1", "?v=1&v=2"):
        assert (await gateway.get(f"{PATH}/image{wrong}")).status == (200 if wrong == "?v=" else 422)


async def test_operators_get_an_image_that_no_cache_keeps(start: Gateway, actor: ScriptedBooking) -> None:
    Booking(actor, shown())
    gateway = await listening(start)
    answer = await gateway.get(f"/admin{PATH}/image", headers=OPERATOR)
    assert (answer.status, await answer.read(), answer.headers["Content-Type"]) == (200, BYTES[0], "image/webp")
    assert answer.headers["Cache-Control"] == "no-store"
    assert actor.messages(GetEventImage)[-1].operator
    assert (await gateway.get(f"/admin{PATH}/image")).status == 401


async def test_another_image_is_asked_for_when_the_content_says_so(start: Gateway, actor: ScriptedBooking) -> None:
    booking = Booking(actor, shown())
    gateway = await listening(start)
    assert await (await gateway.get(f"{PATH}/image")).read() == BYTES[0]
    booking.image, booking.seen = 1, shown(1, version=6, content_version=6)
    await actor.notify(EventChanged(event=as_notified(booking.seen)))

    async def other() -> bool:
        return await (await gateway.get(f"{PATH}/image")).read() == BYTES[1]

    await until(other)
    booking.seen = shown(1, version=7, content_version=7, image=None)
    await actor.notify(EventChanged(event=as_notified(booking.seen)))

    async def none() -> bool:
        return (await gateway.get(f"{PATH}/image?v={HASHES[1]}")).status == 404

    await until(none)


async def test_without_a_catalogue_bytes_travel_once(start: Gateway, actor: ScriptedBooking) -> None:
    """Whether the image is still the same is asked each time."""
    booking = Booking(actor, shown())
    gateway = await start()
    for _ in range(3):
        assert await (await gateway.get(f"{PATH}/image?v={HASHES[0]}")).read() == BYTES[0]
    assert [each.known for each in actor.messages(GetEventImage)] == [None, HASHES[0], HASHES[0]]
    booking.there = False
    answer = await gateway.get(f"{PATH}/image?v={HASHES[0]}")
    assert (answer.status, (await answer.json())["code"]) == (404, "event_not_found")
    assert answer.headers["Cache-Control"] == "no-store"


async def test_an_event_without_an_image_has_none(start: Gateway, actor: ScriptedBooking) -> None:
    booking = Booking(actor, event())
    for gateway in (await listening(start), await start()):
        answer = await gateway.get(f"{PATH}/image")
        assert (answer.status, (await answer.json())["detail"]) == (404, "The event has no image")
    assert len(actor.messages(GetEventImage)) == 1
    assert booking.seen.image is None
    assert (await gateway.get("/events/nothing/image")).status == 404


def test_memory_is_bounded_by_bytes_and_forgets_what_was_not_used() -> None:
    recent = Recent[str](100)
    for name in ("a", "b", "c"):
        recent.keep(name, name.upper(), 30)
    assert recent.find("a") == "A"
    recent.keep("d", "D", 30)
    assert [recent.find(name) for name in "abcd"] == ["A", None, "C", "D"]
    recent.keep("d", "DD", 40)
    assert [recent.find(name) for name in "acd"] == ["A", "C", "DD"]
    recent.keep("e", "E", 101)
    assert (len(recent), recent.find("e")) == (0, None)
    recent.keep("f", "F", 100)
    assert recent.find("f") == "F"
