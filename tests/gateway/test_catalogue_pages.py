"""The catalogue by itself: what is in it, and pages of it in each order. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from pydantic import ValidationError

from common.contracts.resources import Event, EventDetails
from gateway.catalogue import PAGES_BYTES_MAX, Catalogue
from gateway.event_queries import EventsQuery, folded, microseconds
from gateway.shared import SharedAnswer
from tests.gateway.stage import event

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = ("Été à Paris", "zebra", "ABBA", "Łódź live", "Straße", "abba again")


def at(day: int) -> datetime:
    return NOW + timedelta(days=day)


def show(number: int, **more: Any) -> Event:
    """An event that starts `number` days from now."""
    fields = event(UUID(int=number)).model_dump() | {"starts_at": at(number), "name": f"Show {number}"} | more
    return Event.model_validate(fields)


def holding(*events: Event) -> Catalogue:
    catalogue = Catalogue(1)
    for each in events:
        catalogue.put(each)
    return catalogue


def listed(catalogue: Catalogue, *, now: datetime = NOW, **query: Any) -> tuple[list[str], str | None]:
    """The names on the page, and its next cursor."""
    answer = orjson.loads(catalogue.page(EventsQuery.model_validate(query), microseconds(now)).body)
    return [each["name"] for each in answer["items"]], answer["next_cursor"]


def all_pages(catalogue: Catalogue, **query: Any) -> list[str]:
    names, cursor = listed(catalogue, **query)
    while cursor is not None:
        more, cursor = listed(catalogue, cursor=cursor, **query)
        names += more
    return names


ORDERS = {
    "starts_at": list(NAMES),
    "-starts_at": list(reversed(NAMES)),
    "name": ["ABBA", "abba again", "Été à Paris", "Łódź live", "Straße", "zebra"],
}


@pytest.mark.parametrize("sort", ORDERS)
@pytest.mark.parametrize("limit", [1, 2, 3, 50])
def test_pages_have_each_event_once_in_order(sort: str, limit: int) -> None:
    catalogue = holding(*(show(number, name=name) for number, name in enumerate(NAMES, 1)))
    assert all_pages(catalogue, sort=sort, limit=limit) == ORDERS[sort]


@pytest.mark.parametrize("sort", ORDERS)
def test_a_cursor_stays_right_while_events_come_and_go(sort: str) -> None:
    catalogue = holding(*(show(number, name=name) for number, name in enumerate(NAMES, 1)))
    first, cursor = listed(catalogue, sort=sort, limit=3)
    last = NAMES.index(first[-1]) + 1
    catalogue.put(show(7, name="aaa", starts_at=at(0)))  # before the place in two orders
    catalogue.put(show(8, name="aaa", starts_at=at(9)))
    catalogue.remove([str(UUID(int=last))])
    following, _ = listed(catalogue, sort=sort, cursor=cursor)
    assert [name for name in following if name != "aaa"] == ORDERS[sort][3:]


def test_a_cursor_is_of_one_order() -> None:
    _, cursor = listed(holding(show(1), show(2)), sort="name", limit=1)
    for sort in ("starts_at", "-starts_at"):
        with pytest.raises(ValidationError):
            EventsQuery.model_validate({"sort": sort, "cursor": cursor})


@pytest.mark.parametrize(
    ("sought", "found"),
    [
        ("abba", ["ABBA", "abba again"]),
        ("ÉTÉ", ["Été à Paris"]),
        ("ete a", ["Été à Paris"]),
        ("lodz", ["Łódź live"]),
        ("STRASSE", ["Straße"]),
        ("strass", ["Straße"]),
        ("nothing", []),
        ("%", []),
    ],
)
def test_a_name_is_found_without_case_and_accents(sought: str, found: list[str]) -> None:
    catalogue = holding(*(show(number, name=name) for number, name in enumerate(NAMES, 1)))
    assert listed(catalogue, q=sought)[0] == found


def test_folding_is_done_once_and_for_all() -> None:
    for text in (*NAMES, "İstanbul", "ﬁn", "Ⅷ", "東京"):
        assert folded(folded(text)) == folded(text)
        assert folded(text.upper()) == folded(text.lower())


def test_only_events_between_from_and_to_are_listed() -> None:
    catalogue = holding(show(9, starts_at=at(-1)), *(show(number) for number in range(1, 4)))
    assert listed(catalogue)[0] == ["Show 1", "Show 2", "Show 3"]
    assert listed(catalogue, to=at(3).isoformat())[0] == ["Show 1", "Show 2"]
    window: dict[str, Any] = {"from": at(2).isoformat(), "to": at(3).isoformat()}
    assert listed(catalogue, **window)[0] == ["Show 2"]
    assert listed(catalogue, sort="-starts_at", **window)[0] == ["Show 2"]


def test_on_sale_is_what_can_be_booked_now() -> None:
    catalogue = holding(
        show(1),
        show(2, on_sale=False),
        show(3, called_off_at=at(-1)),
        show(4, sales_start=at(2)),
        show(5, sales_end=at(2)),
    )
    assert listed(catalogue, on_sale="true")[0] == ["Show 1", "Show 5"]
    assert listed(catalogue, on_sale="false")[0] == ["Show 2", "Show 3", "Show 4"]
    later = at(2) + timedelta(seconds=1)
    assert listed(catalogue, now=later, on_sale="true")[0] == ["Show 4"]


def test_a_kept_page_is_dropped_when_an_event_changes_and_when_time_changes_it() -> None:
    catalogue, query = holding(show(1), show(2)), EventsQuery.model_validate({})
    now = microseconds(NOW)
    page = catalogue.page(query, now)
    catalogue.keep("/events", page, now)
    assert catalogue.kept("/events", microseconds(at(1)) - 1) is page
    assert catalogue.kept("/events", microseconds(at(1)) + 1) is None
    catalogue.keep("/events", page, now)
    catalogue.put(show(2, version=2))
    assert catalogue.kept("/events", now) is None
    assert len(catalogue) == 2


def test_kept_pages_are_bounded() -> None:
    catalogue, now = holding(show(1)), microseconds(NOW)
    size = PAGES_BYTES_MAX // 4
    for number in range(10):
        catalogue.keep(f"/events?q={number}", SharedAnswer(bytes(size), '"e"', 1), now)
    kept = [catalogue.kept(f"/events?q={number}", now) for number in range(10)]
    assert 1 <= len([each for each in kept if each is not None]) <= 4


def test_an_older_version_does_not_replace_a_newer_one_unless_it_was_read() -> None:
    """A database that was restored from a backup has lower versions than before."""
    catalogue = holding(show(1, version=5, name="new"))
    catalogue.put(show(1, version=4, name="old"))
    assert listed(catalogue)[0] == ["new"]
    catalogue.put(show(1, version=4, name="old"), older=True)
    assert listed(catalogue)[0] == ["old"]


def test_what_is_not_public_never_gets_in() -> None:
    shown = event().model_dump(mode="json")
    shown["ticket_types"][0] |= {"held": 3, "sold": 4}
    catalogue = holding(Event.model_validate(shown | {"progress": {"cancelled": 1}, "note": "secret"}))
    (answer,) = [catalogue.find(shown["id"])]
    assert answer is not None
    body = orjson.loads(answer.body)
    assert set(body) == set(Event.model_fields)
    assert set(orjson.loads(answer.answer.body)) == set(EventDetails.model_fields)
    assert set(body["ticket_types"][0]) == {"id", "name", "unit_amount", "capacity", "available", "hidden"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"sort": "price"},
        {"q": ""},
        {"q": " "},
        {"q": "\u0301"},
        {"q": "x" * 201},
        {"on_sale": "yes"},
        {"on_sale": "1"},
        {"to": "tomorrow"},
        {"limit": "0"},
        {"cursor": "x"},
        {"cursor": "x" * 1000},
        {"cursor": "W10"},
        {"colour": "red"},
    ],
    ids=str,
)
def test_a_wrong_query_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        EventsQuery.model_validate(wrong)
