"""How a booking begins, case by case and doubled; and that the order of later messages does not matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import pytest

from common.contracts.messages import CreateBooking, ItemRequest, Message, Reply
from common.contracts.resources import Booking
from tests.booking.rows import (
    CANCELED,
    CUSTOMER,
    EXPIRED,
    GRACE_OVER,
    INTENT,
    PAID,
    Scene,
    cancels,
    reported,
    scene,
)
from tests.booking.samples import AMOUNT
from tests.booking.stage import Show, Stage, asked, of


@dataclass(frozen=True)
class Begin:
    """The result of a request: a booking with its seats (held, sold), or an error."""

    status: str = ""
    reason: str | None = None
    payment: str = "none"
    seats: tuple[int, int] = (0, 0)
    asks: bool = False
    error: str | None = None


Order = Callable[[Show], CreateBooking]


def order(*quantities: int, named: bool = True, type: UUID | None = None, event: UUID | None = None) -> Order:
    def made(show: Show) -> CreateBooking:
        items = tuple(
            ItemRequest(ticket_type_id=(type or show.types[number]) if named else None, quantity=quantity)
            for number, quantity in enumerate(quantities)
        )
        return CreateBooking(booking_id=uuid4(), owner="alice", event_id=event or show.id, items=items)

    return made


def refused(code: str) -> Begin:
    return Begin(error=code)


HELD = Begin("pending", payment="creating", seats=(2, 0), asks=True)
# The event's capacities and other values, the request, the result.
BEGINNINGS: dict[str, tuple[tuple[int, ...], dict[str, Any], Order, Begin]] = {
    "seats free": ((2,), {}, order(2), HELD),
    "the only ticket type, not named": ((2,), {}, order(2, named=False), HELD),
    "of two ticket types": ((1, 1), {}, order(1, 1), HELD),
    "costs nothing": ((2,), {"unit_amount": 0}, order(2), Begin("confirmed", seats=(0, 2))),
    "not enough seats": ((1,), {}, order(2), Begin("failed", "sold_out")),
    "not enough seats of one of them": ((2, 0), {}, order(1, 1), Begin("failed", "sold_out")),
    "event unknown": ((2,), {}, order(2, event=uuid4()), refused("event_not_found")),
    "not on sale": ((2,), {"on_sale": False}, order(2), refused("not_on_sale")),
    "ticket type unknown": ((2,), {}, order(2, type=uuid4()), refused("ticket_type_not_found")),
    "one of several, not named": ((2, 2), {}, order(2, named=False), refused("ticket_type_required")),
    "more seats than one may have": ((20,), {}, order(11), refused("quantity_over_limit")),
    "more money than one may have": ((2,), {"unit_amount": 50_000_000}, order(2), refused("amount_over_limit")),
}


def booking_in(reply: Reply) -> Booking:
    return Booking.model_validate(reply.result["booking"])


@pytest.mark.parametrize("case", BEGINNINGS)
async def test_every_way_to_create_a_booking(stage: Stage, case: str) -> None:
    """Doubled in one batch and once more: one booking or none, one request for its intent, the same answer."""
    capacities, values, make, expected = BEGINNINGS[case]
    show = await stage.show(*capacities, **values)
    what = make(show)
    envelopes = await stage.give(what, what)
    later = await stage.give(what)

    replies = [*of(envelopes, Reply), *of(later, Reply)]
    assert [reply.error for reply in replies] == [expected.error] * 3
    assert asked(envelopes) == ["payment.create_intent"] * expected.asks
    assert asked(later) == []
    rows = await stage.rows("SELECT * FROM bookings")
    seats = await stage.seats(show)
    assert (sum(held for held, _ in seats), sum(sold for _, sold in seats)) == expected.seats
    if expected.error is not None:
        assert rows == []
        return
    (row,) = rows
    assert (row["status"], row["reason"], row["payment"]) == (expected.status, expected.reason, expected.payment)
    assert [booking_in(reply) for reply in replies] == [booking_in(replies[0])] * 3
    assert (row["settle_after"] is not None) is expected.asks


OTHERS: dict[str, Callable[[CreateBooking], dict[str, Any]]] = {
    "quantity": lambda first: {"items": (ItemRequest(quantity=1),)},
    "owner": lambda first: {"owner": "bob"},
    "event": lambda first: {"event_id": uuid4()},
    "items": lambda first: {"items": first.items * 2},
}


@pytest.mark.parametrize("case", ["seats free", "costs nothing", "not enough seats"])
@pytest.mark.parametrize("other", OTHERS)
async def test_a_repeated_id_with_other_content_is_refused(stage: Stage, case: str, other: str) -> None:
    """In the same batch or later: it is refused, and nothing changes."""
    capacities, values, make, _ = BEGINNINGS[case]
    show = await stage.show(*capacities, **values)
    first = make(show)
    second = first.model_copy(update=OTHERS[other](first))
    together = of(await stage.give(first, second), Reply)
    before = await stage.rows("SELECT * FROM bookings")
    (later,) = await stage.call(second)

    assert [reply.error for reply in (*together, later)] == [None, *["idempotency_key_reused"] * 2]
    assert await stage.rows("SELECT * FROM bookings") == before
    await stage.audit()


async def silence(made: Scene) -> None:
    """Stripe does not answer: the hold ends, and then the grace time."""
    for end in (EXPIRED, GRACE_OVER):
        if made.row["status"] == "pending":
            await made.happen(end(made))


async def lived(stage: Stage, order: tuple[str, ...]) -> Scene:
    """A new booking after these things have happened in this order; its reports have fixed versions."""
    made = await scene(stage, "creating")
    first, second = INTENT(made), cancels(CUSTOMER)(made)
    made.version = 1
    messages: dict[str, Any] = {
        "intent": first,
        "cancel": second,
        "paid": PAID(made),
        "canceled": CANCELED(made),
    }
    made.version = 0
    for what in order:
        if what in messages:
            assert isinstance(messages[what], Message)
            await made.happen(messages[what])
        elif what == "silence":
            await silence(made)
        elif made.row["status"] == "pending":
            await made.happen(EXPIRED(made))
    return made


@pytest.mark.parametrize("time", ["expiry", "silence"])
@pytest.mark.parametrize("number", range(24))
async def test_money_and_a_cancel_in_every_order(stage: Stage, time: str, number: int) -> None:
    """What arrived first counts, whatever time did: the seats are sold, or all the money goes back."""
    order = list(permutations(("intent", "paid", "cancel", time)))[number]
    made = await lived(stage, order)
    if order.index("paid") < order.index("cancel"):
        assert (made.row["status"], made.row["payment"], made.row["refund_amount"]) == ("confirmed", "paid", None)
        assert await stage.seats(made.show) == [(0, 2)]
        return
    assert (made.row["status"], made.row["reason"]) == ("cancelled", "by_customer")
    assert (made.row["payment"], made.row["refund_amount"]) == ("refund_pending", AMOUNT)
    assert await stage.seats(made.show) == [(0, 0)]

    await made.happen(reported("succeeded", ours=True, amount_refunded=AMOUNT)(made))
    assert (made.row["payment"], made.row["settle_after"]) == ("refunded", None)


@pytest.mark.parametrize("time", ["expiry", "silence"])
@pytest.mark.parametrize("number", range(24))
async def test_a_booking_that_is_not_paid_ends_in_every_order(stage: Stage, time: str, number: int) -> None:
    """Its seats are free again, nothing is owed, and the reconciler no longer handles it."""
    made = await lived(stage, list(permutations(("intent", "canceled", "cancel", time)))[number])

    assert (made.row["status"], made.row["payment"], made.row["refund_amount"]) == ("cancelled", "none", None)
    assert made.row["settle_after"] is None
    assert await stage.seats(made.show) == [(0, 0)]
