"""A command that is refused is answered with a code. Nothing changes and no handler raises: a message whose handler
raises is retried in vain, answered 503, and becomes a dead letter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from common.contracts.ids import uuid7
from common.contracts.messages import (
    CancelBooking,
    CancelEvent,
    CreateBooking,
    EventChanges,
    GetBooking,
    GetEvent,
    GetHistory,
    ItemRequest,
    Message,
    NewTicketType,
    RefundBooking,
    RequestPayment,
    RetryRefunds,
    TicketTypeChange,
    UpdateEvent,
)
from common.contracts.resources import Booking
from common.contracts.statuses import CancelReason, IntentStatus
from common.contracts.values import TICKET_TYPES_MAX
from tests.booking.stage import TABLES, Show, Stage, new_event, report

START = datetime(2031, 1, 1, 20, tzinfo=UTC)


@dataclass
class Scene:
    """Two events on sale, a cancelled one, and a booking in each of three states."""

    stage: Stage
    show: Show
    other: Show
    off: Show
    pending: Booking
    paid: Booking
    refunding: Booking

    @classmethod
    async def build(cls, stage: Stage) -> Scene:
        show, other, off = await stage.show(10, 10), await stage.show(10), await stage.show(10)
        refunding = await stage.confirmed(show)
        await stage.give(RefundBooking(booking_id=refunding.id, refund_id=uuid4(), amount=1000))
        await stage.give(CancelEvent(event_id=off.id))
        return cls(stage, show, other, off, await stage.pending(show), await stage.confirmed(show, 2), refunding)

    async def state(self) -> list[Any]:
        """All rows that a command could change."""
        return [await self.stage.rows(f"SELECT * FROM {table} ORDER BY id") for table in TABLES.split(", ")]


def all_values(**values: Any) -> dict[str, Any]:
    return {"id": uuid7(), "name": "Box", "unit_amount": 9000, "capacity": 4} | values


def patch(
    event_id: Any, *types: dict[str, Any], if_match: tuple[int, ...] | None = None, **values: Any
) -> UpdateEvent:
    """PATCH of an event, built without validation: booking also refuses what the gateway should have refused."""
    changes = EventChanges.model_construct(_fields_set=set(values), **values)
    kinds = tuple(TicketTypeChange.model_construct(_fields_set=set(each), **each) for each in types)
    fields = {"event_id": event_id, "changes": changes, "ticket_types": kinds, "if_match": if_match}
    return UpdateEvent.model_construct(_fields_set=set(fields), **fields)


def event(*types: NewTicketType, **values: Any) -> Message:
    made = new_event(10)
    kinds = {"ticket_types": types} if types else {}
    return made.model_copy(update={**kinds, **values})


def new_type(**values: Any) -> NewTicketType:
    return NewTicketType.model_construct(**all_values(**values))


def cancel(booking_id: Any, owner: str | None = None, **values: Any) -> CancelBooking:
    reason = CancelReason.BY_OPERATOR if owner is None else CancelReason.BY_CUSTOMER
    return CancelBooking(booking_id=booking_id, owner=owner, reason=reason, **values)


def refund(booking_id: Any, amount: int | None = None, **values: Any) -> RefundBooking:
    return RefundBooking(booking_id=booking_id, refund_id=uuid4(), amount=amount, **values)


def order(scene: Scene, *items: ItemRequest, **values: Any) -> CreateBooking:
    fields: dict[str, Any] = {"booking_id": uuid4(), "owner": "alice", "event_id": scene.show.id, "items": items}
    return CreateBooking.model_construct(**(fields | values))


def seats(scene: Scene, quantity: int = 1) -> ItemRequest:
    return ItemRequest(ticket_type_id=scene.show.types[0], quantity=quantity)


INVALID = "invalid_request"
REFUSED: dict[str, tuple[Callable[[Scene], Message], str]] = {
    # CreateEvent
    "event: no name": (lambda s: event(name=""), INVALID),
    "event: name too long": (lambda s: event(name="x" * 201), INVALID),
    "event: NUL in the name": (lambda s: event(name="a\0b"), INVALID),
    "event: nobody may book": (lambda s: event(max_per_booking=0), INVALID),
    "event: more seats than a number holds": (lambda s: event(max_per_booking=2**40), INVALID),
    "event: unknown currency": (lambda s: event(currency="eru"), INVALID),
    "event: time zone too long": (lambda s: event(time_zone="x" * 65), INVALID),
    "event: begun": (lambda s: event(starts_at=datetime(2020, 1, 1, tzinfo=UTC)), INVALID),
    "event: policy after the start": (lambda s: event(cancel_until=START + timedelta(days=1)), INVALID),
    "event: NUL in a ticket type": (lambda s: event(new_type(name="a\0b")), INVALID),
    "event: ticket type's name too long": (lambda s: event(new_type(name="x" * 201)), INVALID),
    "event: price below Stripe's": (lambda s: event(new_type(unit_amount=1)), INVALID),
    "event: one id twice": (lambda s: event(*[new_type(id=s.show.id)] * 2), "conflict"),
    "event: another's ticket type": (lambda s: event(new_type(id=s.show.types[0])), "conflict"),
    "event: known id": (lambda s: event(event_id=s.show.id), "idempotency_key_reused"),
    # UpdateEvent
    "patch: unknown event": (lambda s: patch(uuid4(), name="x"), "event_not_found"),
    "patch: cancelled": (lambda s: patch(s.off.id, on_sale=True), "conflict"),
    "patch: another's ticket type": (
        lambda s: patch(s.show.id, {"id": s.other.types[0], "new": False, "capacity": 3}),
        "ticket_type_not_found",
    ),
    "patch: another's ticket type, all values": (
        lambda s: patch(s.show.id, all_values(id=s.other.types[0], new=False)),
        "ticket_type_not_found",
    ),
    "patch: another's ticket type, of an older gateway": (
        lambda s: patch(s.show.id, all_values(id=s.other.types[0])),
        "ticket_type_not_found",
    ),
    "patch: another's ticket type, to be added": (
        lambda s: patch(s.show.id, all_values(id=s.other.types[0], new=True)),
        "ticket_type_not_found",
    ),
    "patch: unknown ticket type": (
        lambda s: patch(s.show.id, all_values(id=uuid4(), new=False)),
        "ticket_type_not_found",
    ),
    "patch: added over one that is there": (
        lambda s: patch(s.show.id, all_values(id=s.show.types[0], new=True)),
        "idempotency_key_reused",
    ),
    "patch: ticket types without end": (
        lambda s: patch(s.show.id, *(all_values(new=True) for _ in range(TICKET_TYPES_MAX - 1))),
        "ticket_types_over_limit",
    ),
    "patch: less than is held and sold": (
        lambda s: patch(s.show.id, {"id": s.show.types[0], "new": False, "capacity": 3}),
        "capacity_below_sold",
    ),
    "patch: no name": (lambda s: patch(s.show.id, name=None), INVALID),
    "patch: not on sale nor off": (lambda s: patch(s.show.id, on_sale=None), INVALID),
    "patch: no start": (lambda s: patch(s.show.id, starts_at=None), INVALID),
    "patch: no limit": (lambda s: patch(s.show.id, max_per_booking=None), INVALID),
    "patch: no time zone": (lambda s: patch(s.show.id, time_zone=None), INVALID),
    "patch: nobody may book": (lambda s: patch(s.show.id, max_per_booking=0), INVALID),
    "patch: NUL in the name": (lambda s: patch(s.show.id, name="a\0b"), INVALID),
    "patch: name too long": (lambda s: patch(s.show.id, name="x" * 201), INVALID),
    "patch: NUL in a ticket type": (
        lambda s: patch(s.show.id, {"id": s.show.types[0], "new": False, "name": "a\0b"}),
        INVALID,
    ),
    "patch: into the past": (lambda s: patch(s.show.id, starts_at=datetime(2020, 1, 1, tzinfo=UTC)), INVALID),
    "patch: policy after the start": (lambda s: patch(s.show.id, cancel_until=START + timedelta(days=1)), INVALID),
    "patch: another version": (lambda s: patch(s.show.id, name="x", if_match=(7,)), "precondition_failed"),
    # CancelEvent
    "cancel an event: unknown event": (lambda s: CancelEvent(event_id=uuid4()), "event_not_found"),
    "cancel an event: version": (
        lambda s: CancelEvent(event_id=s.show.id, if_match=()),
        "precondition_failed",
    ),
    # RetryRefunds
    "retry refunds: unknown event": (lambda s: RetryRefunds(event_id=uuid4(), retry_id=uuid4()), "event_not_found"),
    "retry refunds: another version": (
        lambda s: RetryRefunds(event_id=s.show.id, retry_id=uuid4(), if_match=(9,)),
        "precondition_failed",
    ),
    # CancelBooking
    "cancel: unknown booking": (lambda s: cancel(uuid4()), "not_found"),
    "cancel: another's": (lambda s: cancel(s.paid.id, "mallory"), "not_found"),
    "cancel: outside the policy": (lambda s: cancel(s.paid.id, "alice"), "cancellation_closed"),
    "cancel: another version": (lambda s: cancel(s.paid.id, if_match=(99,)), "precondition_failed"),
    "cancel: customer's, another version": (
        lambda s: cancel(s.pending.id, "alice", if_match=(1,)),
        "precondition_failed",
    ),
    # RefundBooking
    "refund: unknown booking": (lambda s: refund(uuid4()), "not_found"),
    "refund: unpaid": (lambda s: refund(s.pending.id), "conflict"),
    "refund: part of what is unpaid": (lambda s: refund(s.pending.id, 1), "conflict"),
    "refund: one is under way": (lambda s: refund(s.refunding.id, 500), "conflict"),
    "refund: more than is left": (lambda s: refund(s.paid.id, 5001), "amount_over_left"),
    "refund: more than a number holds": (lambda s: refund(s.paid.id, 10**30), "amount_over_left"),
    "refund: another version": (lambda s: refund(s.paid.id, 500, if_match=(1, 2)), "precondition_failed"),
    # CreateBooking, RequestPayment
    "book: nothing": (lambda s: order(s), INVALID),
    "book: unknown event": (lambda s: order(s, seats(s), event_id=uuid4()), "event_not_found"),
    "book: cancelled": (lambda s: order(s, ItemRequest(quantity=1), event_id=s.off.id), "not_on_sale"),
    "book: which of two": (lambda s: order(s, ItemRequest(quantity=1)), "ticket_type_required"),
    "book: another event's ticket type": (
        lambda s: order(s, ItemRequest(ticket_type_id=s.other.types[0], quantity=1)),
        "ticket_type_not_found",
    ),
    "book: too many": (lambda s: order(s, seats(s, 11)), "quantity_over_limit"),
    "book: under another's key": (lambda s: order(s, seats(s), booking_id=s.paid.id), "idempotency_key_reused"),
    "pay: unknown booking": (lambda s: RequestPayment(booking_id=uuid4(), owner="alice"), "not_found"),
    "pay: another amount": (
        lambda s: RequestPayment(booking_id=s.pending.id, owner="alice", amount=10**30),
        "amount_mismatch",
    ),
    "pay: another currency": (
        lambda s: RequestPayment(booking_id=s.pending.id, owner="alice", currency="usd"),
        "amount_mismatch",
    ),
    # Queries
    "query: unknown booking": (lambda s: GetBooking(booking_id=uuid4(), owner=None), "not_found"),
    "query: another's": (lambda s: GetBooking(booking_id=s.paid.id, owner="mallory"), "not_found"),
    "history: unknown booking": (lambda s: GetHistory(booking_id=uuid4(), owner=None), "not_found"),
    "query: unknown event": (lambda s: GetEvent(event_id=uuid4(), operator=True), "event_not_found"),
}


async def test_every_refusal_is_answered_and_changes_nothing(stage: Stage) -> None:
    """All are sent to one scene, which none may change."""
    scene = await Scene.build(stage)
    before = await scene.state()
    codes = {}
    for name, (make, _) in REFUSED.items():
        (reply,) = await stage.call(make(scene))
        codes[name] = reply.error
        assert reply.detail, name
        assert await scene.state() == before, name
    assert codes == {name: code for name, (_, code) in REFUSED.items()}


async def test_a_refusal_says_which_ticket_type_is_not_the_events(stage: Stage) -> None:
    show, other = await stage.show(10), await stage.show(10)
    (reply,) = await stage.call(patch(show.id, {"id": other.types[0], "new": False, "capacity": 3}))
    assert str(other.types[0]) in reply.detail


async def test_a_refused_message_leaves_the_others_of_its_batch_alone(stage: Stage) -> None:
    """The others succeed although all are one transaction."""
    paid = await stage.confirmed(await stage.show(10))
    replies = await stage.call(refund(uuid4()), refund(paid.id, 10**30), refund(paid.id, 500), refund(paid.id, 500))
    assert [reply.error for reply in replies] == ["not_found", "amount_over_left", None, "conflict"]


async def test_a_customer_cancels_though_the_event_is_gone(stage: Stage) -> None:
    """As when the database of events is older than its bookings: no policy is known, and nothing else fails."""
    show = await stage.show(10)
    pending, paid = await stage.pending(show), await stage.confirmed(show)
    await stage.rows("UPDATE bookings SET event_id = $1", uuid4())
    replies = await stage.call(cancel(pending.id, "alice"), cancel(paid.id, "alice"))
    assert [reply.error for reply in replies] == [None, "cancellation_closed"]
    assert (await stage.call(cancel(paid.id)))[0].error is None


async def test_capacity_is_never_less_than_what_is_sold_in_either_order(stage: Stage) -> None:
    """Seats are sold while the capacity falls: each request succeeds or is refused, and none raises."""
    show = await stage.show(12)
    shrink = [
        patch(show.id, {"id": show.types[0], "new": False, "capacity": capacity}) for capacity in (8, 6, 4, 2)
    ]
    orders = [[show.order(2) for _ in range(2)] for _ in range(3)]
    replies = await asyncio.gather(*(stage.call(each) for each in shrink), *(stage.call(*each) for each in orders))
    refused = {reply.error for each in replies for reply in each}
    assert refused <= {None, "capacity_below_sold"}
    await stage.audit()


async def test_only_one_of_concurrent_refunds_is_accepted(stage: Stage) -> None:
    """Four operators ask for the same refund at once: one is accepted, the others are refused."""
    paid = await stage.confirmed(await stage.show(10))
    replies = await asyncio.gather(*(stage.call(refund(paid.id, 1500)) for _ in range(4)))
    assert sorted(str(reply.error) for (reply,) in replies) == ["None", *["conflict"] * 3]
    await stage.apply(report(paid, IntentStatus.SUCCEEDED, 3, amount_refunded=1500))
    await stage.audit()
