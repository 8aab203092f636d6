"""If-Match: a request for another version than the present one is refused, under the row's lock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

from common.contracts.messages import (
    BookingChanged,
    CancelBooking,
    CancelEvent,
    EventChanges,
    GetEvent,
    OperatorRequest,
    RefundBooking,
    Reply,
    UpdateEvent,
)
from common.contracts.statuses import CancelReason
from tests.booking.stage import Stage, of


def rename(event_id: UUID, name: str, version: int | None, key: str | None = None) -> UpdateEvent:
    request = OperatorRequest(subject="root", operation=f"PATCH {event_id}", key=key, content_hash=name)
    match = None if version is None else (version,)
    return UpdateEvent(event_id=event_id, changes=EventChanges(name=name), request=request, if_match=match)


async def terms_version(stage: Stage, event_id: UUID) -> int:
    (reply,) = await stage.call(GetEvent(event_id=event_id))
    (operators,) = await stage.call(GetEvent(event_id=event_id, operator=True))
    assert reply.result["terms_version"] == operators.result["terms_version"]
    return reply.result["terms_version"]  # type: ignore[no-any-return]


async def test_only_one_of_two_changes_from_one_version_is_made(stage: Stage) -> None:
    """Five at the same time, in Postgres: the others are answered with the present version."""
    show = await stage.show(10)
    version = await terms_version(stage, show.id)
    replies = [
        reply
        for each in await asyncio.gather(*(stage.call(rename(show.id, f"Name {n}", version)) for n in range(5)))
        for reply in each
    ]
    (made,) = [reply for reply in replies if reply.error is None]
    refused = [reply for reply in replies if reply.error is not None]
    assert made.result["terms_version"] == version + 1
    assert {(reply.error, reply.extra["etag"]) for reply in refused} == {
        ("precondition_failed", f'"{version + 1}"')
    }
    (row,) = await stage.rows("SELECT name, version FROM events")
    assert (row["name"], row["version"]) == (made.result["name"], version + 1)


async def test_seats_do_not_make_another_version_of_the_terms(stage: Stage) -> None:
    """Seats change all the time, but the terms that an operator has read stay the same."""
    show = await stage.show(10)
    version = await terms_version(stage, show.id)
    await stage.confirmed(show, 2)
    await stage.pending(show)
    (seen,) = await stage.call(GetEvent(event_id=show.id))
    assert seen.result["version"] > version
    assert await terms_version(stage, show.id) == version
    (reply,) = await stage.call(rename(show.id, "Opera", version))
    assert (reply.error, await terms_version(stage, show.id)) == (None, version + 1)


async def test_a_change_without_effect_keeps_the_version(stage: Stage) -> None:
    show = await stage.show(10)
    version = await terms_version(stage, show.id)
    (reply,) = await stage.call(rename(show.id, "Concert", version))
    assert (reply.error, reply.result["terms_version"]) == (None, version)


async def test_an_event_is_cancelled_only_as_it_was_read(stage: Stage) -> None:
    show = await stage.show(10)
    version = await terms_version(stage, show.id)
    await stage.call(rename(show.id, "Opera", None))
    (refused,) = await stage.call(CancelEvent(event_id=show.id, if_match=(version,)))
    assert refused.error == "precondition_failed"
    (done,) = await stage.call(CancelEvent(event_id=show.id, if_match=(version, version + 1)))
    assert (done.error, done.result["terms_version"]) == (None, version + 2)


async def test_a_request_that_was_carried_out_is_answered_as_it_was_whatever_version_is_there(stage: Stage) -> None:
    """Its answer was lost, and it is sent again under its key: it has made the new version itself."""
    show = await stage.show(10)
    version = await terms_version(stage, show.id)
    first = await stage.call(rename(show.id, "Opera", version, "k"))
    assert await stage.call(rename(show.id, "Opera", version, "k")) == first
    # A refused request leaves no row: with the present version it is done.
    (refused,) = await stage.call(rename(show.id, "Ballet", version, "other"))
    (done,) = await stage.call(rename(show.id, "Ballet", version + 1, "other"))
    assert (refused.error, done.error) == ("precondition_failed", None)


async def test_only_one_of_two_operators_with_one_version_changes_the_booking(stage: Stage) -> None:
    """One cancels it, the other refunds a part: the second has read a version that is no longer the present one."""
    booking = await stage.confirmed(await stage.show(10))
    match = (booking.version,)
    cancel = CancelBooking(booking_id=booking.id, owner=None, reason=CancelReason.BY_OPERATOR, if_match=match)
    refund = RefundBooking(booking_id=booking.id, refund_id=uuid4(), amount=500, if_match=match)
    done = await asyncio.gather(stage.give(cancel), stage.give(refund))
    replies = [reply for each in done for reply in of(each, Reply)]
    assert sorted(str(reply.error) for reply in replies) == ["None", "precondition_failed"]
    (changed,) = [changed for each in done for changed in of(each, BookingChanged)]
    etags = {reply.extra["etag"] for reply in replies if reply.error is not None}
    assert etags == {f'"{changed.booking.version}"'}


async def test_a_repeated_cancel_of_a_customer_is_answered_again(stage: Stage) -> None:
    """Its process died after the commit: If-Match has the version before that commit."""
    show = await stage.show(10, cancel_until=datetime(2030, 12, 31, tzinfo=UTC))
    for booking in (await stage.confirmed(show), await stage.pending(show)):
        cancel = CancelBooking(
            booking_id=booking.id, owner="alice", reason=CancelReason.BY_CUSTOMER, if_match=(booking.version,)
        )
        (first,), (again,) = await stage.call(cancel), await stage.call(cancel)
        assert (first.error, again.error) == (None, None)
        assert again.result == first.result
