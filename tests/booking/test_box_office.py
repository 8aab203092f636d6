"""Operators sell seats without Stripe, or give them away: confirmed at once, and refunds are only noted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from common.contracts.messages import (
    BookingChanged,
    CancelEvent,
    EventChanges,
    GetHistory,
    ItemRequest,
    ListBookings,
    OperatorRequest,
    RefundBooking,
    Reply,
    RequestPayment,
    SellSeats,
    UpdateEvent,
)
from common.contracts.resources import Booking
from common.contracts.statuses import BoxOfficeMethod, CancelReason, EventStatus, PaymentStatus
from common.contracts.values import BoxOfficeSale
from tests.booking.samples import CUSTOMER
from tests.booking.stage import Show, Stage, asked, of

CASH = BoxOfficeSale(BoxOfficeMethod.CASH, "Receipt 4711")
FREE = BoxOfficeSale(BoxOfficeMethod.COMPLIMENTARY)


def by(content: object = "", key: str = "k-1") -> OperatorRequest:
    return OperatorRequest(subject="clerk", operation="POST /admin/bookings", key=key, content_hash=str(content))


def sale(show: Show, quantity: int = 2, *, sale: BoxOfficeSale = CASH, **values: Any) -> SellSeats:
    id = values.pop("booking_id", None) or uuid4()
    fields: dict[str, Any] = {
        "booking_id": id,
        "owner": f"box-office:{id}",
        "event_id": show.id,
        "items": (ItemRequest(ticket_type_id=show.types[0], quantity=quantity),),
        "sale": sale,
        "customer": CUSTOMER,
        "request": by(key=str(id)),
    }
    return SellSeats(**(fields | values))


async def sold(stage: Stage, message: SellSeats) -> Booking:
    (reply,) = of(await stage.give(message), Reply)
    assert reply.error is None, reply
    return Booking.model_validate(reply.result)


async def refused(stage: Stage, message: SellSeats) -> str | None:
    (reply,) = await stage.call(message)
    return reply.error


async def refund(stage: Stage, booking: Booking, amount: int | None, id: UUID | None = None) -> Reply:
    id = id or uuid4()
    message = RefundBooking(booking_id=booking.id, refund_id=id, amount=amount, request=by(amount, str(id)))
    published = await stage.give(message)
    assert asked(published) == []  # nothing is asked of Stripe
    (reply,) = of(published, Reply)
    return reply


async def test_a_sale_is_confirmed_at_once_and_says_who_sold_it(stage: Stage) -> None:
    show = await stage.show(5)
    message = sale(show, 2)
    published = await stage.give(message)
    (changed,), (reply,) = of(published, BookingChanged), of(published, Reply)
    booking = Booking.model_validate(reply.result)
    payment = booking.payment
    assert (booking.status, booking.amount, booking.customer) == ("confirmed", 5000, CUSTOMER)
    assert (payment.status, payment.amount_captured, payment.intent_id) == ("paid", 5000, None)
    assert (payment.method, payment.note) == ("cash", "Receipt 4711")
    assert (changed.owner, changed.booking.payment.note) == (message.owner, None)  # notes are for operators
    assert asked(published) == []
    assert await stage.seats(show) == [(0, 2)]
    assert await stage.due_at(booking) is None
    (history,) = await stage.call(GetHistory(booking_id=booking.id, owner=None))
    (first,) = history.result["items"]
    assert (first["cause_type"], first["by"], first["to_status"]) == ("booking.sell", "clerk", "confirmed")


async def test_a_complimentary_booking_costs_nothing(stage: Stage) -> None:
    show = await stage.show(5)
    booking = await sold(stage, sale(show, 3, sale=FREE))
    assert (booking.status, booking.amount, booking.payment.status) == ("confirmed", 0, "none")
    assert [item.unit_amount for item in booking.items] == [0]
    (cancelled,) = of(await stage.cancel(booking, CancelReason.BY_OPERATOR), BookingChanged)
    assert (cancelled.booking.status, cancelled.booking.payment.status) == ("cancelled", "none")
    assert await stage.seats(show) == [(0, 0)]


async def test_a_repeated_sale_sells_nothing_and_shows_the_customer_as_now(stage: Stage) -> None:
    show = await stage.show(5)
    message = sale(show, 2)
    first, again = await sold(stage, message), await sold(stage, message)
    assert first == again
    assert await stage.seats(show) == [(0, 2)]
    assert await stage.rows("SELECT 1 FROM operator_requests WHERE answer LIKE '%Lovelace%'") == []
    other = message.model_copy(update={"request": by("other", str(message.booking_id))})
    assert await refused(stage, other) == "idempotency_key_reused"
    # Also when the request's row was deleted: it is sold, whatever is forgotten.
    await stage.rows("DELETE FROM operator_requests")
    assert await sold(stage, message) == first
    more = message.model_copy(update={"items": (ItemRequest(quantity=4),)})
    assert await refused(stage, more) == "idempotency_key_reused"
    assert await stage.seats(show) == [(0, 2)]


async def test_two_sales_in_one_batch_do_not_share_a_seat(stage: Stage) -> None:
    show = await stage.show(3)
    replies = await stage.call(sale(show, 2), sale(show, 2))
    assert [reply.error for reply in replies] == [None, "sold_out"]
    assert await stage.seats(show) == [(0, 2)]
    assert len(await stage.rows("SELECT 1 FROM bookings")) == 1  # what is refused leaves no booking


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"expected_amount": 4999}, "price_changed"),
        ({"expected_amount": 5000}, None),
        ({"items": (ItemRequest(ticket_type_id=uuid4(), quantity=1),)}, "ticket_type_not_found"),
        ({"event_id": uuid4()}, "event_not_found"),
        ({"sale": FREE, "expected_amount": 0}, None),
        ({"sale": FREE, "expected_amount": 5000}, "price_changed"),
    ],
)
async def test_what_cannot_be_sold_is_refused(stage: Stage, values: dict[str, Any], code: str | None) -> None:
    show = await stage.show(5)
    assert await refused(stage, sale(show, 2, **values)) == code


async def test_dates_and_limits_are_for_customers_alone(stage: Stage) -> None:
    show = await stage.show(50, max_per_booking=2, max_per_owner=2)
    await stage.give(
        UpdateEvent(event_id=show.id, changes=EventChanges(sales_start=stage.clock() + timedelta(days=1)))
    )
    booking = await sold(stage, sale(show, 20))
    assert booking.amount == 50_000
    await stage.audit()


@pytest.mark.parametrize("changes", [{"on_sale": False}, {"status": EventStatus.ARCHIVED}])
async def test_an_event_that_is_not_sold_is_not_sold_at_the_box_office(
    stage: Stage, changes: dict[str, Any]
) -> None:
    show = await stage.show(5)
    await stage.give(UpdateEvent(event_id=show.id, changes=EventChanges(**changes)))
    assert await refused(stage, sale(show)) == "not_on_sale"
    draft = await stage.show(5, status=EventStatus.DRAFT)
    assert await refused(stage, sale(draft)) == "not_on_sale"


async def test_refunds_are_noted_and_a_whole_one_ends_the_booking(stage: Stage) -> None:
    show = await stage.show(5)
    booking = await sold(stage, sale(show, 2))
    part = uuid4()
    first = Booking.model_validate((await refund(stage, booking, 1000, part)).result)
    assert (first.status, first.payment.status, first.payment.amount_refunded) == (
        "confirmed",
        "partially_refunded",
        1000,
    )
    assert first.payment.refunds is not None
    assert [(each.id, each.amount, each.status, each.by) for each in first.payment.refunds] == [
        (part, 1000, "succeeded", "clerk")
    ]
    assert (await refund(stage, booking, 1000, part)).error is None  # the same again notes nothing
    assert (await refund(stage, booking, 4001)).error == "amount_over_left"
    last = Booking.model_validate((await refund(stage, booking, None)).result)
    assert (last.status, last.reason, last.payment.status) == ("cancelled", "refunded", "refunded")
    assert last.payment.amount_refunded == 5000
    assert (await refund(stage, booking, None)).error == "conflict"
    assert await stage.seats(show) == [(0, 0)]
    assert await stage.due_at(booking) is None


async def test_a_cancelled_sale_is_owed_until_it_is_noted_that_the_money_went_back(stage: Stage) -> None:
    show = await stage.show(5)
    booking = await sold(stage, sale(show, 2))
    published = await stage.cancel(booking, CancelReason.BY_OPERATOR)
    (changed,) = of(published, BookingChanged)
    assert (changed.booking.status, changed.booking.payment.status) == ("cancelled", "refund_pending")
    assert (asked(published), await stage.due_at(booking)) == ([], None)
    await refund(stage, booking, 2000)
    wanted = ListBookings(owner=None, operator=True, payment=PaymentStatus.REFUND_PENDING, limit=10)
    (found,) = await stage.call(wanted)
    assert [each["id"] for each in found.result["items"]] == [str(booking.id)]
    done = Booking.model_validate((await refund(stage, booking, None)).result)
    assert (done.status, done.reason, done.payment.status) == ("cancelled", "by_operator", "refunded")


async def test_a_cancelled_event_owes_its_sales_at_the_box_office(stage: Stage) -> None:
    show = await stage.show(5)
    booking, free = await sold(stage, sale(show, 2)), await sold(stage, sale(show, 1, sale=FREE))
    await stage.give(CancelEvent(event_id=show.id))
    await stage.reconcile_now()
    rows = [await stage.row(each) for each in (booking, free)]
    assert [(row["status"], row["payment"], row["refund_id"]) for row in rows] == [
        ("cancelled", "refund_pending", None),
        ("cancelled", "none", None),
    ]
    assert await refused(stage, sale(show)) == "not_on_sale"


async def test_nothing_is_to_be_paid_online(stage: Stage) -> None:
    booking = await sold(stage, sale(await stage.show(5), owner="alice"))
    (reply,) = await stage.call(RequestPayment(booking_id=booking.id, owner="alice"))
    shown = Booking.model_validate(reply.result)
    assert (shown.status, shown.payment.client_secret, shown.payment.note) == ("confirmed", None, None)


async def test_the_database_refuses_an_intent_of_a_sale(stage: Stage) -> None:
    booking = await sold(stage, sale(await stage.show(5)))
    with pytest.raises(Exception, match="bookings_box_office"):
        await stage.rows("UPDATE bookings SET intent_id = 'pi_1' WHERE id = $1", booking.id)
