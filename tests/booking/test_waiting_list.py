"""Who waits for seats gets them in the order of joining: freed seats are reserved, offered, and never sold past
those who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from booking.buyers import BuyerPolicy
from common.contracts.ids import offer_id, waiting_entry_id
from common.contracts.messages import (
    CancelBooking,
    CancelEvent,
    EraseCustomers,
    EventChanges,
    GetBooking,
    GetEvent,
    GetWaitingEntry,
    JoinWaitingList,
    LeaveWaitingList,
    ListWaitingEntries,
    OperatorRequest,
    Reply,
    TicketTypeChange,
    UpdateEvent,
    WaitingEntryChanged,
)
from common.contracts.resources import Booking, OperatorsEvent, WaitingEntry
from common.contracts.statuses import CancelReason, EventStatus, IntentStatus
from tests.booking.samples import CUSTOMER
from tests.booking.stage import TERMS, Show, Stage, of, report

BY = OperatorRequest(subject="op", operation="any", content_hash="")


def wish(show: Show, owner: str, quantity: int = 1, *, type: int = 0, **values: Any) -> JoinWaitingList:
    fields: dict[str, Any] = {
        "entry_id": waiting_entry_id(owner, f"{show.types[type]}"),
        "owner": owner,
        "event_id": show.id,
        "ticket_type_id": show.types[type],
        "quantity": quantity,
    }
    return JoinWaitingList(**(fields | values))


async def join(stage: Stage, *wishes: JoinWaitingList) -> list[WaitingEntry]:
    replies = await stage.call(*wishes)
    assert all(reply.error is None for reply in replies), replies
    return [WaitingEntry.model_validate(reply.result) for reply in replies]


async def entry(stage: Stage, wish: JoinWaitingList) -> WaitingEntry:
    (reply,) = await stage.call(GetWaitingEntry(entry_id=wish.entry_id, owner=wish.owner))
    return WaitingEntry.model_validate(reply.result)


async def statuses(stage: Stage, *wishes: JoinWaitingList) -> list[str]:
    return [(await entry(stage, each)).status for each in wishes]


async def offered(stage: Stage, wish: JoinWaitingList) -> Booking:
    (reply,) = await stage.call(GetBooking(booking_id=offer_id(wish.entry_id), owner=wish.owner))
    return Booking.model_validate(reply.result)


async def counters(stage: Stage, show: Show) -> list[tuple[int, int, int, int]]:
    """(held by bookings, sold, reserved, waiting) of each ticket type, as operators see them."""
    await stage.audit()
    (reply,) = await stage.call(GetEvent(event_id=show.id, operator=True))
    types = OperatorsEvent.model_validate(reply.result).ticket_types
    return [(each.held, each.sold, each.reserved, each.waiting) for each in types]


async def end(stage: Stage, booking: Booking) -> None:
    """The pending booking is cancelled by its owner, and its seats are given back."""
    await stage.give(CancelBooking(booking_id=booking.id, owner=booking.owner, reason=CancelReason.BY_CUSTOMER))
    await stage.apply(report(booking, IntentStatus.CANCELED, 9))


async def sold_out(stage: Stage, *quantities: int, **values: Any) -> tuple[Show, list[Booking]]:
    """A show whose seats are all held: a booking of each of these quantities, each of another owner."""
    show = await stage.show(sum(quantities), **values)
    made = await stage.book(*(show.order(each, owner=f"holder {n}") for n, each in enumerate(quantities)))
    return show, made


async def free_seats(stage: Stage, show: Show) -> int:
    (reply,) = await stage.call(GetEvent(event_id=show.id, operator=True))
    return OperatorsEvent.model_validate(reply.result).ticket_types[0].available


# --- joining


async def test_an_entry_waits_in_its_place_and_its_owner_is_notified(stage: Stage) -> None:
    show, _ = await sold_out(stage, 2)
    published = await stage.give(wish(show, "ann", 2), wish(show, "ben"))
    first, second = (WaitingEntry.model_validate(each.result) for each in of(published, Reply))
    assert (first.status, first.position, first.version) == ("waiting", 1, 1)
    assert (second.position, second.booking_id) == (2, None)
    assert [each.owner for each in of(published, WaitingEntryChanged)] == ["ann", "ben"]
    assert await counters(stage, show) == [(2, 0, 0, 3)]


async def test_a_repeated_request_makes_no_second_entry_and_another_content_is_refused(stage: Stage) -> None:
    show, _ = await sold_out(stage, 2)
    asked = wish(show, "ann", customer=CUSTOMER)
    (made,) = await join(stage, asked)
    both = await join(stage, asked, asked)
    assert [each.id for each in both] == [made.id, made.id]
    (reply,) = await stage.call(asked.model_copy(update={"quantity": 2}))
    assert reply.error == "idempotency_key_reused"
    assert await counters(stage, show) == [(2, 0, 0, 1)]


async def test_an_owner_has_one_entry_for_a_ticket_type(stage: Stage) -> None:
    show = await stage.show(1, 1)
    await stage.book(*(show.order(owner="holder", type=each) for each in show.types))
    replies = await stage.call(
        wish(show, "ann"), wish(show, "ann", entry_id=uuid4()), wish(show, "ann", type=1, entry_id=uuid4())
    )
    assert [each.error for each in replies] == [None, "already_waiting", None]


async def test_seats_that_are_free_are_booked_and_not_waited_for(stage: Stage) -> None:
    show = await stage.show(3)
    await stage.book(show.order(2))
    (reply,) = await stage.call(wish(show, "ann", 2))
    assert (reply.error, reply.extra) == ("not_sold_out", {"available": 1})
    assert await counters(stage, show) == [(2, 0, 0, 0)]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"event_id": UUID(int=1)}, "event_not_found"),
        ({"ticket_type_id": UUID(int=1)}, "ticket_type_not_found"),
        ({"ticket_type_id": None}, None),
        ({"quantity": 11}, "quantity_over_limit"),
    ],
)
async def test_who_could_not_book_cannot_wait(stage: Stage, values: dict[str, Any], code: str | None) -> None:
    show, _ = await sold_out(stage, 1)
    (reply,) = await stage.call(wish(show, "ann", **values))
    assert reply.error == code


async def test_guests_of_an_address_have_so_many_entries_as_they_may_have_holds(stage: Stage) -> None:
    limited = Stage.build(stage.database, stage.redis, buyers=BuyerPolicy(address_holds=2))
    show, _ = await sold_out(limited, 1)
    replies = await limited.call(*(wish(show, f"guest {n}", address="an address") for n in range(3)))
    assert [each.error for each in replies] == [None, None, "too_many_waiting"]
    assert (await limited.call(wish(show, "else", address="another")))[0].error is None
    await limited.reconcile(timedelta(days=8))
    assert not await limited.rows("SELECT FROM waiting_entries WHERE address IS NOT NULL")


async def test_an_owner_who_has_all_seats_that_one_may_have_cannot_wait_for_more(stage: Stage) -> None:
    limited = Stage.build(stage.database, stage.redis, buyers=BuyerPolicy(seats=2))
    show = await limited.show(2)
    await limited.book(show.order(2, owner="ann"))
    (reply,) = await limited.call(wish(show, "ann"))
    assert reply.error == "owner_limit_reached"


# --- seats that become free


async def test_freed_seats_are_reserved_in_the_statement_that_frees_them(stage: Stage) -> None:
    show, (booking,) = await sold_out(stage, 3)
    await join(stage, wish(show, "ann", 2))
    await end(stage, booking)
    assert await counters(stage, show) == [(0, 0, 2, 2)]
    assert await free_seats(stage, show) == 1
    first, second = await stage.book(show.order(1, owner="racer"), show.order(1, owner="racer"))
    assert (first.status, second.status) == ("pending", "failed")


async def test_added_capacity_is_reserved_and_shown_so(stage: Stage) -> None:
    show, _ = await sold_out(stage, 2)
    await join(stage, wish(show, "ann", 2))
    change = TicketTypeChange(id=show.types[0], capacity=5)
    (reply,) = await stage.call(
        UpdateEvent(event_id=show.id, changes=EventChanges(), ticket_types=(change,), request=BY)
    )
    assert reply.result["ticket_types"][0]["available"] == 1
    assert await counters(stage, show) == [(2, 0, 2, 2)]
    less = TicketTypeChange(id=show.types[0], capacity=3)
    await stage.call(UpdateEvent(event_id=show.id, changes=EventChanges(), ticket_types=(less,), request=BY))
    assert await counters(stage, show) == [(2, 0, 1, 2)]


async def test_an_offer_is_a_booking_of_its_own_with_a_long_hold(stage: Stage) -> None:
    show, (booking,) = await sold_out(stage, 2)
    asked = wish(show, "ann", 2, customer=CUSTOMER)
    await join(stage, asked)
    await end(stage, booking)
    await stage.listen(show)
    await stage.reconcile_now()
    offer = await offered(stage, asked)
    assert (offer.owner, offer.status, offer.amount, offer.customer) == ("ann", "pending", 5000, CUSTOMER)
    seen = await entry(stage, asked)
    assert (seen.status, seen.booking_id, seen.position) == ("offered", offer.id, None)
    assert seen.offered_until == offer.expires_at
    assert offer.expires_at == offer.created_at + TERMS.offer
    assert ("payment.create_intent", str(offer.id)) in await stage.published("payment.intents")
    assert await counters(stage, show) == [(2, 0, 0, 0)]
    await stage.reconcile_now()
    assert len(await stage.rows("SELECT FROM bookings WHERE owner = 'ann'")) == 1


async def test_an_offer_lasts_from_when_it_can_be_paid(stage: Stage) -> None:
    show, (booking,) = await sold_out(stage, 1)
    asked = wish(show, "ann")
    await join(stage, asked)
    await end(stage, booking)
    await stage.reconcile_now()
    stage.clock.ahead += timedelta(minutes=4)
    (payable,) = await stage.apply(report(await offered(stage, asked), IntentStatus.REQUIRES_PAYMENT_METHOD, 1))
    assert payable.expires_at is not None
    assert payable.hold_until is not None
    assert payable.expires_at - payable.updated_at == TERMS.offer
    assert payable.hold_until - payable.updated_at == TERMS.offer + TERMS.hold_max - TERMS.hold
    await stage.apply(report(payable, IntentStatus.SUCCEEDED, 2))
    assert await statuses(stage, asked) == ["accepted"]
    assert await counters(stage, show) == [(0, 1, 0, 0)]


async def test_an_offer_that_lapses_goes_to_the_next(stage: Stage) -> None:
    show, (booking,) = await sold_out(stage, 1)
    first, second = wish(show, "ann"), wish(show, "ben")
    await join(stage, first, second)
    await end(stage, booking)
    await stage.reconcile_now()
    assert await statuses(stage, first, second) == ["offered", "waiting"]
    await stage.reconcile(TERMS.offer)
    await stage.apply(report(await offered(stage, first), IntentStatus.CANCELED, 1))
    assert await counters(stage, show) == [(0, 0, 1, 1)]
    await stage.reconcile(timedelta(seconds=2))
    assert await statuses(stage, first, second) == ["lapsed", "offered"]


async def test_an_offer_that_is_declined_goes_to_the_next(stage: Stage) -> None:
    show, (booking,) = await sold_out(stage, 1)
    first, second = wish(show, "ann"), wish(show, "ben")
    await join(stage, first, second)
    await end(stage, booking)
    await stage.reconcile_now()
    (refused,) = await stage.call(LeaveWaitingList(entry_id=first.entry_id, owner="ann"))
    assert refused.error == "offer_made"
    await end(stage, await offered(stage, first))
    await stage.reconcile(timedelta(seconds=2))
    assert await statuses(stage, first, second) == ["left", "offered"]


async def test_nobody_is_passed_over_who_wants_more_than_is_free_yet(stage: Stage) -> None:
    show, (one, three) = await sold_out(stage, 1, 3)
    large, small = wish(show, "ann", 3), wish(show, "ben")
    await join(stage, large, small)
    await end(stage, one)
    await stage.reconcile_now()
    assert await statuses(stage, large, small) == ["waiting", "waiting"]
    assert await counters(stage, show) == [(3, 0, 1, 4)]
    await end(stage, three)
    await stage.reconcile(timedelta(seconds=2))
    assert await statuses(stage, large, small) == ["offered", "offered"]


async def test_who_leaves_frees_what_was_reserved(stage: Stage) -> None:
    show, (one, _) = await sold_out(stage, 1, 1)
    large, small = wish(show, "ann", 2), wish(show, "ben")
    await join(stage, large)
    await end(stage, one)
    assert await counters(stage, show) == [(1, 0, 1, 2)]
    published = await stage.give(LeaveWaitingList(entry_id=large.entry_id, owner="ann"))
    assert [each.entry.status for each in of(published, WaitingEntryChanged)] == ["left"]
    assert await counters(stage, show) == [(1, 0, 0, 0)]
    assert (await stage.call(wish(show, "ben")))[0].error == "not_sold_out"
    again = await stage.call(
        LeaveWaitingList(entry_id=large.entry_id, owner="ann"),
        LeaveWaitingList(entry_id=small.entry_id, owner="ben"),
    )
    assert [each.error for each in again] == [None, "not_found"]
    (other,) = await stage.call(LeaveWaitingList(entry_id=large.entry_id, owner="ben"))
    assert other.error == "not_found"
    assert await counters(stage, show) == [(1, 0, 0, 0)]


async def test_a_free_offer_is_confirmed_at_once(stage: Stage) -> None:
    show, (booking,) = await sold_out(stage, 1, unit_amount=0)
    asked = wish(show, "ann")
    await join(stage, asked)
    await stage.give(CancelBooking(booking_id=booking.id, owner=None, reason=CancelReason.BY_OPERATOR, request=BY))
    await stage.reconcile_now()
    assert await statuses(stage, asked) == ["accepted"]
    assert await counters(stage, show) == [(0, 1, 0, 0)]


async def test_the_price_of_an_offer_is_that_of_its_time(stage: Stage) -> None:
    show, (booking,) = await sold_out(stage, 1)
    asked = wish(show, "ann")
    await join(stage, asked)
    change = TicketTypeChange(id=show.types[0], unit_amount=4000)
    await stage.call(UpdateEvent(event_id=show.id, changes=EventChanges(), ticket_types=(change,), request=BY))
    await end(stage, booking)
    await stage.reconcile_now()
    assert (await offered(stage, asked)).amount == 4000


async def test_an_owner_who_may_have_no_more_seats_by_then_is_closed_and_the_next_gets_them(stage: Stage) -> None:
    limited = Stage.build(stage.database, stage.redis, buyers=BuyerPolicy(seats=1))
    show = await limited.show(1, 1)
    ((held), _) = await limited.book(show.order(owner="holder"), show.order(owner="other", type=show.types[1]))
    first, second = wish(show, "ann"), wish(show, "ben")
    await join(limited, first, second, wish(show, "ann", type=1, entry_id=uuid4()))
    await limited.rows("UPDATE ticket_types SET capacity = 2 WHERE id = $1", show.types[1])
    await limited.reconcile_now()  # another ticket type's offer takes all that ann may have
    await end(limited, held)
    await limited.reconcile(timedelta(seconds=2))
    seen = await entry(limited, first)
    assert (seen.status, seen.reason) == ("closed", "owner_limit_reached")
    assert await statuses(limited, second) == ["offered"]


async def test_late_money_finds_reserved_seats_taken(stage: Stage) -> None:
    show, (booking,) = await sold_out(stage, 1)
    (payable,) = await stage.apply(report(booking, IntentStatus.REQUIRES_PAYMENT_METHOD, 1))
    await join(stage, wish(show, "ann", 1))
    await stage.call(UpdateEvent(event_id=show.id, changes=EventChanges(on_sale=False), request=BY))
    await stage.reconcile(TERMS.hold)
    await stage.reconcile(TERMS.grace)
    assert await counters(stage, show) == [(0, 0, 1, 1)]
    (late,) = await stage.apply(report(payable, IntentStatus.SUCCEEDED, 2))
    assert (late.status, late.payment.status) == ("cancelled", "refund_pending")


# --- the end of a list


@pytest.mark.parametrize("how", ["cancelled", "archived", "over"])
async def test_the_lists_of_an_event_that_is_over_are_closed(stage: Stage, how: str) -> None:
    show, _ = await sold_out(stage, 1)
    asked = wish(show, "ann")
    await join(stage, asked)
    changes: dict[str, tuple[EventChanges, str]] = {
        "archived": (EventChanges(status=EventStatus.ARCHIVED), "not_on_sale"),
        "over": (EventChanges(sales_end=datetime(2030, 1, 1, tzinfo=UTC)), "sales_ended"),
    }
    if how == "cancelled":
        await stage.call(CancelEvent(event_id=show.id, request=BY))
        reason = "event_cancelled"
    else:
        changed, reason = changes[how]
        (reply,) = await stage.call(UpdateEvent(event_id=show.id, changes=changed, request=BY))
        assert reply.error is None
    await stage.reconcile(timedelta(days=1500) if how == "over" else timedelta(seconds=2))
    seen = await entry(stage, asked)
    assert (seen.status, seen.reason) == ("closed", reason)
    assert (await counters(stage, show))[0][2:] == (0, 0)


async def test_a_sale_that_stops_for_a_while_makes_no_offers(stage: Stage) -> None:
    show, (booking,) = await sold_out(stage, 1)
    asked = wish(show, "ann")
    await join(stage, asked)
    await stage.call(UpdateEvent(event_id=show.id, changes=EventChanges(on_sale=False), request=BY))
    await end(stage, booking)
    await stage.reconcile_now()
    assert await statuses(stage, asked) == ["waiting"]
    await stage.call(UpdateEvent(event_id=show.id, changes=EventChanges(on_sale=True), request=BY))
    await stage.reconcile(timedelta(seconds=2))
    assert await statuses(stage, asked) == ["offered"]


# --- beside others


async def test_two_processes_make_one_offer(stage: Stage) -> None:
    show, (booking,) = await sold_out(stage, 2)
    wishes = [wish(show, name) for name in ("ann", "ben", "cas")]
    await join(stage, *wishes)
    await end(stage, booking)
    other = Stage.build(stage.database, stage.redis, clock=stage.clock)
    async with stage.database.transaction() as connection:
        await connection.execute("SELECT FROM ticket_types WHERE id = $1 FOR UPDATE", show.types[0])
        both = asyncio.gather(stage.reconcile_now(), other.reconcile_now())
        await stage.until_somebody_waits_for_a_lock()
    await both
    assert await statuses(stage, *wishes) == ["offered", "offered", "waiting"]
    assert await counters(stage, show) == [(2, 0, 0, 1)]


async def test_a_racer_gets_nothing_of_what_is_freed_at_the_same_moment(stage: Stage) -> None:
    """The statement that frees the seat and the racer's wait for one lock, in both orders."""
    for first in ("freed", "racer"):
        show, (booking,) = await sold_out(stage, 1)
        asked = wish(show, "ann")
        await join(stage, asked)
        other = Stage.build(stage.database, stage.redis)
        racing: Callable[[], Any] = lambda: other.book(show.order(owner="racer"))  # noqa: B023, E731
        freeing: Callable[[], Any] = lambda: end(stage, booking)  # noqa: B023, E731
        async with stage.database.transaction() as connection:
            await connection.execute("SELECT FROM ticket_types WHERE id = $1 FOR UPDATE", show.types[0])
            one = asyncio.ensure_future((freeing if first == "freed" else racing)())
            await stage.until_somebody_waits_for_a_lock()
            two = asyncio.ensure_future((racing if first == "freed" else freeing)())
        made = (await asyncio.gather(one, two))[1 if first == "freed" else 0]
        assert [each.status for each in made] == ["failed"], first
        assert await counters(stage, show) == [(0, 0, 1, 1)]


async def test_memory_of_a_process_that_knows_of_nobody_waiting_sells_nothing_reserved(stage: Stage) -> None:
    show, (booking,) = await sold_out(stage, 1)
    other = Stage.build(stage.database, stage.redis)
    assert (await other.book(show.order(owner="early")))[0].status == "failed"  # other remembers the event
    await join(stage, wish(show, "ann"))
    await other.give(CancelBooking(booking_id=booking.id, owner=booking.owner, reason=CancelReason.BY_CUSTOMER))
    await other.apply(report(booking, IntentStatus.CANCELED, 9))
    assert (await other.book(show.order(owner="racer")))[0].status == "failed"


async def test_what_a_process_of_the_release_before_frees_is_reserved_soon(stage: Stage) -> None:
    show, _ = await sold_out(stage, 1, 1)
    first = wish(show, "ann", 2)
    await join(stage, first)
    # As its statements do: they know of no reserved seats.
    await stage.rows("UPDATE bookings SET status = 'cancelled', expires_at = NULL WHERE owner = 'holder 0'")
    await stage.rows("UPDATE ticket_types SET held = held - 1 WHERE id = $1", show.types[0])
    await stage.reconcile_now()
    assert (await stage.rows("SELECT held, reserved, waiting FROM ticket_types"))[0][:] == (2, 1, 2)
    # It finds the reserved seat taken: to it, it is held.
    with pytest.raises(asyncpg.CheckViolationError, match="ticket_types_not_oversold"):
        await stage.rows("UPDATE ticket_types SET held = held + 1 WHERE id = $1", show.types[0])


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ticket_types SET reserved = waiting + 1, held = held + 1",
        "UPDATE ticket_types SET reserved = 1, held = 0",
        "UPDATE ticket_types SET reserved = -1",
        "UPDATE waiting_entries SET quantity = 0",
        "UPDATE waiting_entries SET status = 'offered'",
        "UPDATE waiting_entries SET status = 'closed'",
        "UPDATE waiting_entries SET status = 'lapsed'",
        "INSERT INTO waiting_entries (id, event_id, ticket_type_id, owner, quantity, status, joined_at, updated_at)"
        " SELECT gen_random_uuid(), event_id, ticket_type_id, owner, 1, status, now(), now() FROM waiting_entries",
    ],
)
async def test_the_database_refuses_what_must_not_be(stage: Stage, change: str) -> None:
    show = await stage.show(2)
    await stage.book(show.order(2, owner="holder"))
    await join(stage, wish(show, "ann"))
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await stage.rows(change)


# --- seen and forgotten


async def test_lists_have_pages_and_others_entries_are_not_found(stage: Stage) -> None:
    show, _ = await sold_out(stage, 1)
    wishes = [wish(show, name) for name in ("ann", "ben", "cas")]
    await join(stage, *wishes)
    (page,) = await stage.call(ListWaitingEntries(event_id=show.id, limit=2))
    assert [each["owner"] for each in page.result["items"]] == ["ann", "ben"]
    (rest,) = await stage.call(ListWaitingEntries(event_id=show.id, limit=2, behind=page.result["next"][0]))
    assert ([each["owner"] for each in rest.result["items"]], rest.result["next"]) == (["cas"], None)
    (own,) = await stage.call(ListWaitingEntries(owner="ben", limit=2))
    assert [each["position"] for each in own.result["items"]] == [2]
    (none,) = await stage.call(ListWaitingEntries(event_id=uuid4(), limit=2))
    assert none.error == "event_not_found"
    (hidden,) = await stage.call(GetWaitingEntry(entry_id=wishes[0].entry_id, owner="ben"))
    assert hidden.error == "not_found"


async def test_a_customer_who_waits_is_erased(stage: Stage) -> None:
    show, _ = await sold_out(stage, 1)
    asked = wish(show, "ann", customer=CUSTOMER)
    await join(stage, asked)
    await stage.call(EraseCustomers(erasure_id=uuid4(), email=CUSTOMER.email.upper(), request=BY))
    (row,) = await stage.rows("SELECT customer FROM waiting_entries")
    assert row["customer"] is None
    assert (await join(stage, asked))[0].id == asked.entry_id
