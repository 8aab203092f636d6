"""GET /events and GET /events/{id}: from memory while it is current, else from the booking actor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from common.contracts.errors import EventNotFound
from common.contracts.messages import CreateEvent, EventChanged, GetEvent, ListEvents
from common.contracts.resources import Event
from common.runtime.telemetry import METRICS
from gateway.catalogue_reader import CATALOGUE
from gateway.reads import PAGE
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
    flush,
    operators_event,
)

OPERATOR = bearer("root", operator=True)
RARELY = 300.0  # seconds: as good as never
OTHER_ID = UUID(int=7)


class Database:
    """The events that the scripted actor has. With `published` it is of this release."""

    def __init__(self, actor: ScriptedBooking, *events: Event, published: bool = True) -> None:
        self.events = {each.id: each for each in events}
        self._published = {"published": True} if published else {}
        actor.on(ListEvents, self._page)
        actor.on(
            GetEvent,
            lambda message: (
                as_json(self.events[message.event_id]) if message.event_id in self.events else EventNotFound()
            ),
        )

    def has(self, *events: Event) -> None:
        self.events = {each.id: each for each in events}

    def _page(self, message: ListEvents) -> dict[str, Any]:
        brief = message.versions_only and bool(self._published)
        names = ("id", "starts_at", "version") if brief else tuple(Event.model_fields)
        items = [{name: as_json(each)[name] for name in names} for each in self.events.values()]
        return {"items": items, "next": None, **self._published}


async def current(gateway: Client) -> Client:
    await until(lambda: gateway.app[CATALOGUE].current)
    return gateway


def asked(actor: ScriptedBooking) -> int:
    """How often the actor was asked, without the reads that keep the catalogue current."""
    lists = [each for each in actor.messages(ListEvents) if each.limit != PAGE]
    return len(lists) + len(actor.messages(GetEvent))


async def names(gateway: Client, query: str = "") -> list[str]:
    response = await gateway.get(f"/events{query}")
    assert response.status == 200, await response.text()
    return [each["name"] for each in (await response.json())["items"]]


async def names_become(gateway: Client, expected: list[str]) -> None:
    async def listed() -> bool:
        return await names(gateway) == expected

    await until(listed)


async def test_no_request_reaches_the_actor(start: Gateway, actor: ScriptedBooking) -> None:
    Database(actor, event(), event(OTHER_ID, name="Other"))
    gateway = await current(await start(event_catalogue_max=10))
    for _ in range(20):
        assert await names(gateway) == ["Other", "Concert"]
        assert await names(gateway, "?q=conc&on_sale=true&sort=name") == ["Concert"]
        response = await gateway.get(f"/events/{EVENT_ID}")
        assert (response.status, await response.json()) == (200, as_details(event()))
    assert asked(actor) == 0
    shown = gateway.app[METRICS].registry.get_sample_value
    assert (shown("holdfast_event_catalogue_events"), shown("holdfast_event_catalogue_current")) == (2, 1)


async def test_a_notification_changes_what_is_answered(start: Gateway, actor: ScriptedBooking) -> None:
    Database(actor, event(version=1))
    gateway = await current(await start(event_catalogue_max=10, event_catalogue_read_seconds=RARELY))
    before = [await gateway.get(path) for path in ("/events", f"/events/{EVENT_ID}")]
    await actor.notify(
        EventChanged(event=event(version=2, available=0), operators=operators_event(version=2, held=10)),
        EventChanged(event=event(OTHER_ID, name="New")),
    )
    await names_become(gateway, ["New", "Concert"])
    for answer in before:
        known = {"If-None-Match": answer.headers["ETag"]}
        after = await gateway.get(answer.url.path, headers=known)
        assert after.status == 200
        assert '"available":0' in (text := await after.text())
        assert "held" not in text
        again = await gateway.get(answer.url.path, headers={"If-None-Match": f'W/"x", {after.headers["ETag"]}'})
        assert (again.status, await again.read()) == (304, b"")
        assert again.headers["ETag"] == after.headers["ETag"]
    await actor.notify(
        EventChanged(event=event(version=1)), EventChanged(event=event(OTHER_ID, name="Newer", version=2))
    )
    await names_become(gateway, ["Newer", "Concert"])
    assert (await (await gateway.get(f"/events/{EVENT_ID}")).json())["version"] == 2
    assert asked(actor) == 0


async def test_a_change_whose_notification_was_lost_is_found(start: Gateway, actor: ScriptedBooking) -> None:
    """Also an older version, as after a backup was restored, and an event that is gone."""
    database = Database(actor, event(version=5), event(OTHER_ID, name="Other"))
    gateway = await current(await start(event_catalogue_max=10, event_catalogue_read_seconds=0.05))
    assert await names(gateway) == ["Other", "Concert"]
    database.has(event(version=3, name="Restored"))
    await names_become(gateway, ["Restored"])


async def test_all_is_read_again_when_notifications_were_missed(
    start: Gateway, actor: ScriptedBooking, redis_url: str
) -> None:
    database = Database(actor, event())
    gateway = await current(await start(event_catalogue_max=10, event_catalogue_read_seconds=RARELY))
    database.has(event(version=2, name="Changed"))
    await flush(redis_url)
    await names_become(gateway, ["Changed"])
    await current(gateway)
    await actor.notify(EventChanged(event=event(version=3, name="Changed again")))
    await names_become(gateway, ["Changed again"])


async def test_beside_a_release_that_does_not_publish_all_changes_the_actor_is_asked(
    start: Gateway, actor: ScriptedBooking
) -> None:
    database = Database(actor, event(), published=False)
    gateway = await start(event_catalogue_max=10, event_catalogue_read_seconds=0.05)
    await actor.wait_for(ListEvents, 3)
    assert not gateway.app[CATALOGUE].current
    first = await gateway.get(f"/events/{EVENT_ID}")
    database.has(event(available=3, name="Été"))
    after = await gateway.get(f"/events/{EVENT_ID}", headers={"If-None-Match": first.headers["ETag"]})
    assert (after.status, (await after.json())["ticket_types"][0]["available"]) == (200, 3)
    assert await names(gateway) == ["Été"]
    assert await names(gateway, "?q=ETE&sort=-starts_at") == ["Été"]
    assert asked(actor) == 3


async def test_a_strange_reply_harms_nothing(start: Gateway, actor: ScriptedBooking) -> None:
    """The reader tries again until it can read the events."""
    actor.on(ListEvents, {"items": [{"name": 1}], "next": None, "published": True})
    gateway = await start(event_catalogue_max=10)
    await actor.wait_for(ListEvents, 2)
    Database(actor, event())
    assert await names(await current(gateway)) == ["Concert"]


async def test_too_many_events_are_not_kept(start: Gateway, actor: ScriptedBooking) -> None:
    database = Database(actor, *(event(UUID(int=number)) for number in range(1, 5)))
    gateway = await start(event_catalogue_max=3, event_catalogue_read_seconds=0.02)
    assert len(await names(gateway)) == 4
    response = await gateway.get("/events?q=concert")
    assert (response.status, (await response.json())["code"]) == (503, "unavailable")
    assert asked(actor) == 1
    database.has(*(event(UUID(int=number)) for number in range(1, 4)))
    await current(gateway)
    await actor.notify(EventChanged(event=event(UUID(int=9), name="One too many")))
    database.has(*(event(UUID(int=number)) for number in range(1, 5)))
    await until(lambda: not gateway.app[CATALOGUE].current)


async def test_an_event_that_is_not_in_the_catalogue_is_asked_for(start: Gateway, actor: ScriptedBooking) -> None:
    """It may have been created at another gateway a moment ago."""
    database = Database(actor, event())
    gateway = await current(await start(event_catalogue_max=10, event_catalogue_read_seconds=RARELY))
    missing = await gateway.get(f"/events/{OTHER_ID}")
    assert (missing.status, (await missing.json())["code"]) == (404, "event_not_found")
    assert missing.headers["Cache-Control"] == "no-store"
    database.has(event(), event(OTHER_ID, name="Other"))
    for _ in range(3):
        assert (await gateway.get(f"/events/{OTHER_ID}")).status == 200
    assert await names(gateway) == ["Other", "Concert"]
    assert asked(actor) == 2


async def test_who_writes_reads_it_at_once(start: Gateway, actor: ScriptedBooking) -> None:
    Database(actor)
    gateway = await current(await start(event_catalogue_max=10, event_catalogue_read_seconds=RARELY))
    actor.on(CreateEvent, lambda message: as_json(event(message.event_id, name=message.name)))
    body = {
        "name": "Premiere",
        "starts_at": "2031-01-01T20:00:00Z",
        "currency": "eur",
        "ticket_types": [{"name": "Stalls", "unit_amount": 2500, "capacity": 10}],
    }
    made = await gateway.post("/admin/events", json=body, headers=OPERATOR)
    assert await names(gateway) == ["Premiere"]
    assert (await gateway.get(made.headers["Location"])).status == 200
    assert asked(actor) == 0


async def test_events_of_long_ago_are_listed_by_the_actor_and_not_searched(
    start: Gateway, actor: ScriptedBooking
) -> None:
    Database(actor, event())
    gateway = await current(await start(event_catalogue_max=10))
    assert await names(gateway, "?from=2020-01-01T00:00:00Z") == ["Concert"]
    assert asked(actor) == 1
    response = await gateway.get("/events?from=2020-01-01T00:00:00Z&q=concert")
    assert (response.status, (await response.json())["errors"][0]["loc"]) == (422, ["query", "from"])


@asynccontextmanager
async def kept(start: Gateway, actor: ScriptedBooking, **settings: Any) -> AsyncIterator[Client]:
    Database(actor, event())
    yield await current(await start(event_catalogue_max=10, **settings))


RAW: dict[str, Callable[[str], dict[str, Any]]] = {
    "HEAD": lambda _: {"method": "HEAD"},
    "close": lambda _: {"method": "GET", "headers": {"Connection": "close"}},
    "body": lambda _: {"method": "GET", "data": b"x"},
}


@pytest.mark.parametrize("kind", RAW)
@pytest.mark.parametrize("path", ["/events", f"/events/{EVENT_ID}"])
async def test_what_is_sent_at_once_is_as_any_other_answer(
    start: Gateway, actor: ScriptedBooking, path: str, kind: str
) -> None:
    """The bytes that are kept have the headers that aiohttp would send."""
    own = {"Date", "Server", "Connection"}
    async with kept(start, actor, events_max_age_seconds=7) as gateway:
        fast, slow = await gateway.get(path), await gateway.request(path=path, **RAW[kind](path))
        heads = [{name: value for name, value in each.headers.items() if name not in own} for each in (fast, slow)]
        assert heads[0] == heads[1]
        assert heads[0]["Cache-Control"] == "public, max-age=7"
        assert "Date" in fast.headers
        assert await slow.read() == (b"" if kind == "HEAD" else await fast.read())


async def test_browsers_of_other_origins_may_read_it_if_they_are_allowed(
    start: Gateway, actor: ScriptedBooking
) -> None:
    async with kept(start, actor, cors_origins="https://shop.example,https://other.example") as gateway:
        for origin in (
            "https://shop.example",
            "https://other.example",
            "https://shop.example",
            "https://evil.example",
        ):
            response = await gateway.get("/events", headers={"Origin": origin})
            allowed = None if "evil" in origin else origin
            assert response.headers.get("Access-Control-Allow-Origin") == allowed
            assert response.headers["Vary"] == "Origin"
        assert (await gateway.get("/events")).headers["Vary"] == "Origin"


async def test_answers_from_memory_are_counted_and_not_logged(start: Gateway, actor: ScriptedBooking) -> None:
    """A line for each would cost as much as the answer. A request that asked the actor has one."""
    async with kept(start, actor) as gateway:
        with capture_logs() as lines:
            for path in ("/events", f"/events/{EVENT_ID}", f"/events/{OTHER_ID}"):
                await gateway.get(path)
        logged = [(line["route"], line["log_level"]) for line in lines if line["event"] == "request"]
        assert logged == [("/events", "debug"), ("/events/{id}", "debug"), ("/events/{id}", "info")]
        count = gateway.app[METRICS].registry.get_sample_value
        labels = {"method": "GET", "route": "/events/{id}", "status": "200"}
        assert count("holdfast_http_requests_total", labels) == 1
