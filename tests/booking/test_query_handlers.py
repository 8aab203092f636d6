"""Queries: what booking answers, and to whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from common.contracts.messages import (
    GetBooking,
    GetEvent,
    GetHistory,
    ListBookings,
    ListEvents,
    Message,
    Reply,
)
from common.contracts.resources import Booking
from common.contracts.statuses import IntentStatus
from common.contracts.values import Dispute
from tests.booking.stage import Stage, report

OPENED = datetime(2030, 1, 1, 12, tzinfo=UTC)


async def ids(stage: Stage, query: Message) -> list[UUID]:
    (reply,) = await stage.call(query)
    return [UUID(item["id"]) for item in reply.result["items"]]


async def walk(stage: Stage, query: Any, cursor: str) -> list[UUID]:
    """The ids of all pages, in order."""
    found: list[UUID] = []
    while True:
        (reply,) = await stage.call(query)
        found += [UUID(item["id"]) for item in reply.result["items"]]
        if reply.result["next"] is None:
            return found
        time, id = reply.result["next"]
        query = query.model_copy(update={cursor: (datetime.fromisoformat(time), UUID(id))})


async def test_booking_is_shown_to_its_owner_and_to_operators(stage: Stage) -> None:
    booking = await stage.pending(await stage.show(10))
    queries = [GetBooking(booking_id=booking.id, owner=owner) for owner in ("alice", None, "mallory")]
    replies: list[Reply] = await stage.call(*queries, GetBooking(booking_id=uuid4(), owner=None))
    shown = booking.model_dump(mode="json")
    assert booking.payment.client_secret
    seen_by_operators: dict[str, Any] = {"disputes": [], "refunds": [], "client_secret": None}
    for_operators = {**shown, "payment": {**shown["payment"], **seen_by_operators}}
    assert [reply.result for reply in replies[:2]] == [shown, for_operators]
    assert [reply.error for reply in replies] == [None, None, "not_found", "not_found"]


async def test_disputes_are_shown_to_operators_alone(stage: Stage) -> None:
    """Each with its amount and status, also where an owner asks in the same batch; the history has each step."""
    show = await stage.show(10)
    booking = await stage.confirmed(show)
    first = Dispute(id="dp_1", status="lost", amount=2000, currency="eur", reason="fraudulent", opened_at=OPENED)
    second = Dispute(id="dp_2", status="needs_response", amount=500, currency="eur", respond_by=OPENED)
    steps = ((first,), (first, second), (first, replace(second, status="won")))
    for version, disputes in enumerate(steps, start=3):
        values = {"disputed": True, "disputes": disputes}
        (changed,) = await stage.apply(report(booking, IntentStatus.SUCCEEDED, version, **values))
        assert (changed.payment.status, changed.payment.disputes) == ("disputed", None)

    queries = [GetBooking(booking_id=booking.id, owner=owner) for owner in ("alice", None, "alice")]
    seen = [Booking.model_validate(reply.result).payment.disputes for reply in await stage.call(*queries)]
    assert seen == [None, steps[-1], None]
    for operator, expected in ((True, steps[-1]), (False, None)):
        (reply,) = await stage.call(ListBookings(owner="alice", limit=5, operator=operator))
        (listed,) = [Booking.model_validate(each) for each in reply.result["items"]]
        assert listed.payment.disputes == expected
    (reply,) = await stage.call(GetHistory(booking_id=booking.id, owner=None))
    assert [each["cause_type"] for each in reply.result["items"]][-3:] == ["payment.dispute_updated"] * 3

    # A payment process that does not know of disputes sends none: the known ones stay.
    await stage.apply(report(booking, IntentStatus.SUCCEEDED, 6, disputed=True))
    (reply,) = await stage.call(queries[1])
    assert Booking.model_validate(reply.result).payment.disputes == steps[-1]


async def test_history_has_each_change_and_its_cause(stage: Stage) -> None:
    show = await stage.show(10)
    booking = await stage.confirmed(show)
    (reply,) = await stage.call(GetHistory(booking_id=booking.id, owner="alice"))
    seen = [
        (each["version"], each["from_status"], each["to_status"], each["payment_status"], each["cause_type"])
        for each in reply.result["items"]
    ]
    assert seen == [
        (1, None, "pending", "creating", "booking.create"),
        (2, "pending", "pending", "awaiting", "payment.intent_created"),
        (3, "pending", "confirmed", "paid", "payment.succeeded"),
    ]
    assert all(each["cause_id"] for each in reply.result["items"])
    (hidden,) = await stage.call(GetHistory(booking_id=booking.id, owner="mallory"))
    assert hidden.error == "not_found"


async def test_bookings_are_listed_newest_first_page_by_page(stage: Stage) -> None:
    show = await stage.show(100)
    bookings = []
    for _ in range(3):
        bookings += await stage.book(*(show.order() for _ in range(3)))
    await stage.book(show.order(owner="bob"))
    listed = await walk(stage, ListBookings(owner="alice", limit=2), "before")
    newest_first = sorted(bookings, key=lambda booking: (booking.created_at, booking.id), reverse=True)
    assert listed == [booking.id for booking in newest_first]


async def test_bookings_are_filtered(stage: Stage) -> None:
    first, second = await stage.show(10), await stage.show(10)
    paid = await stage.confirmed(first)
    (held,) = await stage.book(first.order(owner="bob"))
    (other,) = await stage.book(second.order())
    assert await ids(stage, ListBookings(owner=None, status="confirmed", limit=10)) == [paid.id]
    assert await ids(stage, ListBookings(owner=None, event_id=first.id, limit=10)) == [held.id, paid.id]
    assert await ids(stage, ListBookings(owner="alice", status="pending", limit=10)) == [other.id]


async def test_bookings_are_filtered_by_how_their_money_stands(stage: Stage) -> None:
    show = await stage.show(10)
    (creating,) = await stage.book(show.order())
    disputed, failed = await stage.confirmed(show), await stage.confirmed(show)
    await stage.apply(report(disputed, IntentStatus.SUCCEEDED, 3, disputed=True))
    await stage.apply(report(failed, IntentStatus.SUCCEEDED, 3, refund_failed=True))
    found = {
        payment: await ids(stage, ListBookings(owner=None, payment=payment, limit=10))
        for payment in ("creating", "disputed", "refund_failed", "refunded")
    }
    assert found == {
        "creating": [creating.id],
        "disputed": [disputed.id],
        "refund_failed": [failed.id],
        "refunded": [],
    }


async def test_bookings_are_filtered_by_when_they_were_made(stage: Stage) -> None:
    show = await stage.show(10)
    bookings = []
    for _ in range(3):
        bookings += await stage.book(show.order())
    first, second, third = (booking.created_at for booking in bookings)
    assert await ids(stage, ListBookings(owner=None, created_from=second, limit=10)) == [
        bookings[2].id, bookings[1].id,
    ]  # fmt: skip
    assert await ids(stage, ListBookings(owner=None, created_before=third, created_from=first, limit=1)) == [
        bookings[1].id
    ]
    pages = ListBookings(owner=None, created_before=third, limit=1)
    assert await walk(stage, pages, "before") == [bookings[1].id, bookings[0].id]


async def test_events_are_listed_by_start_page_by_page(stage: Stage) -> None:
    start = datetime(2031, 1, 1, tzinfo=UTC)
    days = [5, 2, 9, 2, 7]
    shows = [await stage.show(10, 5, starts_at=start + timedelta(days=day)) for day in days]
    listed = await walk(stage, ListEvents(limit=2), "after")
    by_start = sorted(zip(days, (show.id for show in shows), strict=True))
    assert listed == [id for _, id in by_start]


async def test_a_gateway_reads_the_versions_of_all_events(stage: Stage) -> None:
    """They are those of the events themselves, and say that this release publishes each change."""
    show = await stage.show(10, 5)
    await stage.book(show.order(3))
    brief, whole = await stage.call(ListEvents(limit=200, versions_only=True), ListEvents(limit=200))
    names = ("id", "starts_at", "version")
    assert brief.result["items"] == [{name: each[name] for name in names} for each in whole.result["items"]]
    assert [reply.result["published"] for reply in (brief, whole)] == [True, True]
    (event,) = await stage.call(GetEvent(event_id=show.id))
    assert event.result["version"] == brief.result["items"][0]["version"]


async def test_event_says_how_many_seats_are_left(stage: Stage) -> None:
    show = await stage.show(10, 5)
    await stage.book(show.order(3))
    await stage.confirmed(show, 2)
    found, missing = await stage.call(GetEvent(event_id=show.id), GetEvent(event_id=uuid4()))
    assert [each["available"] for each in found.result["ticket_types"]] == [5, 5]
    assert missing.error == "event_not_found"


async def test_version_of_an_event_grows_with_its_availability(stage: Stage) -> None:
    show = await stage.show(10)
    versions = []
    for step in (lambda: stage.book(show.order(1)), lambda: stage.confirmed(show, 2)):
        await step()
        (reply,) = await stage.call(GetEvent(event_id=show.id))
        versions.append(reply.result["version"])
    assert versions == sorted(set(versions))
