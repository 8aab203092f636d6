"""Promo codes: what they take off, how often they are good, and the hidden ticket types that they unlock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from booking.admission import amount_of
from booking.promo_codes import PromoCode
from booking.rules import refund
from booking.state import CONFIRMED, Booking, Item
from booking.tickets import tickets_of
from booking.triggers import Refund
from common.contracts import resources
from common.contracts.codes import code_key
from common.contracts.currencies import CURRENCIES
from common.contracts.messages import (
    BookingChanged,
    CodeTerms,
    CreateBooking,
    CreateBookingWithCode,
    CreatePaymentIntent,
    CreatePromoCodes,
    GetEvent,
    GetEventHistory,
    GetQuote,
    ItemRequest,
    ListEvents,
    ListPromoCodes,
    NewPromoCode,
    OperatorRequest,
    RefundTickets,
    Reply,
    SellSeats,
    TicketTypeChange,
    UpdateEvent,
    UpdatePromoCode,
)
from common.contracts.messages.booking import EventChanges
from common.contracts.statuses import BoxOfficeMethod, IntentStatus, PaymentStatus
from common.contracts.values import BoxOfficeSale
from common.postgres.database import Database
from ops.repair.execution import count_anew
from ops.repair.plan import Action, Kind
from tests.booking.stage import TABLES, TERMS, Show, Stage, new_event, of, report
from tests.servers import empty

SUMMER = "Summer-20"


@pytest.fixture(params=[100, 0], ids=["memory", "locked"])
async def stage(request: pytest.FixtureRequest, database: Database, redis: Redis) -> AsyncIterator[Stage]:
    """Once selling from memory, once only on the locked path."""
    async with database.connection() as connection:
        await empty(connection, TABLES)
    stage = Stage.build(database, redis, request.param)
    yield stage
    await stage.audit()


async def new_codes(stage: Stage, show: Show, *codes: str, **terms: Any) -> list[UUID]:
    """The ids of these new codes; without other `terms` each takes a fifth off."""
    made = tuple(NewPromoCode(id=uuid4(), code=code) for code in codes or (SUMMER,))
    wanted = terms or {"percent_off": 20}
    (reply,) = await stage.call(CreatePromoCodes(event_id=show.id, codes=made, terms=CodeTerms(**wanted)))
    assert reply.error is None, reply
    return [each.id for each in made]


def by_code(order: CreateBooking, code: str = SUMMER) -> CreateBookingWithCode:
    return CreateBookingWithCode(**dict(order), code=code)


def bob(show: Show) -> CreateBookingWithCode:
    return by_code(show.order(owner="bob"))


async def error_of(stage: Stage, *messages: Any) -> list[str | None]:
    return [reply.error for reply in await stage.call(*messages)]


async def counts(stage: Stage, id: UUID) -> tuple[int, int]:
    (row,) = await stage.rows("SELECT held, used FROM promo_codes WHERE id = $1", id)
    return row["held"], row["used"]


async def paid(stage: Stage, booking: resources.Booking) -> resources.Booking:
    (changed,) = await stage.apply(report(booking, IntentStatus.SUCCEEDED, 2))
    return changed


async def expired(stage: Stage, booking: resources.Booking) -> None:
    """The hold ends without an answer of Stripe: money may still come."""
    await stage.reconcile(TERMS.hold + timedelta(seconds=1))
    await stage.reconcile(TERMS.grace + timedelta(seconds=1))
    assert (await stage.row(booking))["status"] == "cancelled"


# --- the price ----------------------------------------------------------------------------------------------


async def test_a_code_takes_a_percentage_off_each_ticket_and_stripe_is_asked_for_the_rest(stage: Stage) -> None:
    show = await stage.show()
    await new_codes(stage, show)
    published = await stage.give(by_code(show.order(2), "  summer20 "))
    (reply,), (asked,) = of(published, Reply), of(published, CreatePaymentIntent)
    booking = resources.Booking.model_validate(reply.result["booking"])
    assert (booking.amount, booking.discount, booking.code) == (4000, 1000, "  summer20 ")
    assert [(item.unit_amount, item.unit_discount) for item in booking.items] == [(2500, 500)]
    assert (asked.amount, (asked.description or "").endswith(", Summer-20")) == (4000, True)


async def test_an_amount_is_taken_off_each_ticket_of_the_named_types_and_never_more_than_its_price(
    stage: Stage,
) -> None:
    show = await stage.show(10, 10)
    await new_codes(stage, show, amount_off=9999, ticket_types=show.types[:1])
    order = show.order(2)
    items = (*order.items, ItemRequest(ticket_type_id=show.types[1], quantity=1))
    (booking,) = await stage.book(by_code(order.model_copy(update={"items": items})))
    assert (booking.amount, booking.discount) == (2500, 5000)
    assert await error_of(stage, by_code(show.order(type=show.types[1]))) == ["code_not_applicable"]


async def test_a_free_booking_is_confirmed_at_once_and_uses_the_code(stage: Stage) -> None:
    show = await stage.show()
    (id,) = await new_codes(stage, show, percent_off=100)
    (booking,) = await stage.book(by_code(show.order()))
    assert (booking.status, booking.amount, await counts(stage, id)) == (CONFIRMED, 0, (0, 1))


async def test_less_than_stripe_takes_is_refused_before_anything_is_held(stage: Stage) -> None:
    show = await stage.show(unit_amount=100)
    (id,) = await new_codes(stage, show, percent_off=60)
    assert await error_of(stage, by_code(show.order())) == ["amount_under_limit"]
    assert (await stage.seats(show), await counts(stage, id)) == ([(0, 0)], (0, 0))


async def test_the_expected_amount_is_the_one_with_the_discount(stage: Stage) -> None:
    show = await stage.show()
    await new_codes(stage, show)
    order = by_code(show.order())
    assert await error_of(stage, order.model_copy(update={"expected_amount": 2500})) == ["price_changed"]
    await stage.book(order.model_copy(update={"expected_amount": 2000}))


async def test_a_ticket_that_is_refunded_alone_gives_back_what_was_paid_for_it(stage: Stage) -> None:
    show = await stage.show()
    await new_codes(stage, show, percent_off=33)
    (booking,) = await stage.book(by_code(show.order(2)))
    await paid(stage, booking)
    (known,) = (await _loaded(stage, booking.id)).values()
    first = next(iter(tickets_of(known)))
    (reply,) = await stage.call(RefundTickets(booking_id=booking.id, refund_id=uuid4(), ticket_ids=(first.id,)))
    assert reply.error is None
    assert (await stage.row(booking))["refund_amount"] == 2500 - 825


async def _loaded(stage: Stage, id: UUID) -> dict[UUID, Booking]:
    async with stage.store.reading() as rows:
        return await rows.bookings.load([id])


prices = st.integers(0, 100_000_000)


@given(
    currency=st.sampled_from(sorted(CURRENCIES)),
    steps=st.lists(st.tuples(st.integers(1, 20), prices), min_size=1, max_size=4),
    off=st.one_of(st.tuples(st.integers(1, 100), st.none()), st.tuples(st.none(), st.integers(1, 10_000_000))),
)
def test_each_ticket_has_a_price_and_they_add_up_to_the_amount(
    currency: str, steps: list[tuple[int, int]], off: tuple[int | None, int | None]
) -> None:
    """In steps of the currency, so that any single ticket can be refunded; the refunds never exceed the amount."""
    step = CURRENCIES[currency].step
    code = PromoCode(UUID(int=1), UUID(int=2), "X", off[0], off[1] and off[1] * step)
    items = tuple(
        Item(id, quantity, number * step, code.unit_discount(id, number * step, currency))
        for id, (quantity, number) in ((uuid4(), each) for each in steps)
    )
    total = sum(item.quantity * item.unit_amount for item in items)
    amount = amount_of(items)
    discount = total - amount
    assert 0 <= discount <= total
    assert all(item.unit_discount % step == 0 and 0 <= item.unit_discount <= item.unit_amount for item in items)
    exact = [item.unit_amount * (off[0] or 0) / 100 for item in items]
    if off[0] is not None:
        assert all(
            abs(item.unit_discount - each) <= step / 2 + 1e-6 for item, each in zip(items, exact, strict=True)
        )
    now = datetime(2030, 1, 1, tzinfo=UTC)
    booking = Booking(
        UUID(int=3), "alice", UUID(int=2), items, amount, currency, CONFIRMED, PaymentStatus.PAID, now, now,
        amount_captured=amount,
    )  # fmt: skip
    back = 0
    for ticket in list(tickets_of(booking))[1:]:
        item = next(each for each in items if each.ticket_type_id == ticket.ticket_type_id)
        if item.unit_amount > item.unit_discount:
            asked = Refund(uuid4(), seats=(ticket.seat,))
            after = refund(booking, asked).booking
            assert after.refund_amount == item.unit_amount - item.unit_discount
            back += after.refund_amount
            booking = after._replace(
                amount_refunded=back, refund_amount=None, payment=PaymentStatus.PARTIALLY_REFUNDED
            )
    assert back <= amount


# --- how often it is good -----------------------------------------------------------------------------------


async def test_a_use_is_held_and_used_with_the_seats_and_given_back_with_them(stage: Stage) -> None:
    show = await stage.show(cancel_until=datetime(2030, 12, 31, tzinfo=UTC))
    (id,) = await new_codes(stage, show, percent_off=20, uses_max=1, uses_per_owner=1)
    (booking,) = await stage.book(by_code(show.order()))
    assert await counts(stage, id) == (1, 0)
    assert await error_of(stage, bob(show)) == ["code_used_up"]
    await paid(stage, booking)
    assert await counts(stage, id) == (0, 1)
    await stage.cancel(booking)
    assert (await stage.seats(show), await counts(stage, id)) == ([(0, 0)], (0, 0))
    (second,) = await stage.book(bob(show))
    await stage.apply(report(second, IntentStatus.REJECTED, 1))
    assert await counts(stage, id) == (0, 0)


async def test_a_booking_that_is_refunded_in_full_gives_its_use_back(stage: Stage) -> None:
    show = await stage.show()
    (id,) = await new_codes(stage, show, percent_off=20, uses_max=1)
    (booking,) = await stage.book(by_code(show.order()))
    await paid(stage, booking)
    await stage.apply(report(booking, IntentStatus.SUCCEEDED, 3, amount_refunded=booking.amount))
    assert await counts(stage, id) == (0, 0)


async def test_within_one_batch_uses_count_as_well(stage: Stage) -> None:
    show = await stage.show()
    (id,) = await new_codes(stage, show, percent_off=20, uses_max=2)
    found = await error_of(stage, *(by_code(show.order(owner=f"owner {n}")) for n in range(4)))
    assert sorted(found, key=str) == [None, None, "code_used_up", "code_used_up"]
    assert await counts(stage, id) == (2, 0)


async def test_an_owner_has_a_limit_of_its_own(stage: Stage) -> None:
    show = await stage.show()
    await new_codes(stage, show, percent_off=20, uses_per_owner=1)
    found = await error_of(stage, by_code(show.order()), by_code(show.order()), bob(show))
    assert sorted(found, key=str) == [None, None, "code_owner_limit_reached"]


async def test_of_statements_that_use_a_code_at_once_no_more_succeed_than_it_has_uses(stage: Stage) -> None:
    show = await stage.show(100)
    (id,) = await new_codes(stage, show, percent_off=20, uses_max=3, uses_per_owner=1)
    orders = [by_code(show.order(owner=f"owner {number // 2}")) for number in range(10)]
    replies = await asyncio.gather(*(stage.call(order) for order in orders))
    errors = [reply.error for (reply,) in replies]
    assert errors.count(None) == 3
    assert set(errors) <= {None, "code_used_up", "code_owner_limit_reached"}
    assert await counts(stage, id) == (3, 0)


async def test_a_sold_out_booking_uses_nothing(stage: Stage) -> None:
    show = await stage.show(0)
    (id,) = await new_codes(stage, show)
    (reply,) = of(await stage.give(by_code(show.order())), Reply)
    assert (reply.result["booking"]["status"], await counts(stage, id)) == ("failed", (0, 0))


async def test_late_money_uses_the_code_again_if_it_may(stage: Stage) -> None:
    show = await stage.show()
    (id,) = await new_codes(stage, show, percent_off=20, uses_max=1, uses_per_owner=1)
    (booking,) = await stage.book(by_code(show.order()))
    await expired(stage, booking)
    assert await counts(stage, id) == (0, 0)
    late = await paid(stage, booking)
    assert (late.status, await counts(stage, id)) == (CONFIRMED, (0, 1))


@pytest.mark.parametrize("limit", ["uses_max", "uses_per_owner"])
async def test_late_money_goes_back_if_the_code_was_used_up_meanwhile(stage: Stage, limit: str) -> None:
    """As where its seats are gone."""
    show = await stage.show()
    (id,) = await new_codes(stage, show, percent_off=20, **{limit: 1})
    (booking,) = await stage.book(by_code(show.order()))
    await expired(stage, booking)
    await stage.book(by_code(show.order()))
    late = await paid(stage, booking)
    assert (late.status, late.payment.status, await counts(stage, id)) == ("cancelled", "refund_pending", (1, 0))


async def test_a_repeated_request_is_the_same_booking_and_another_code_is_another_request(stage: Stage) -> None:
    show = await stage.show()
    (id,) = await new_codes(stage, show)
    order = by_code(show.order())
    for code in (SUMMER, "SUMMER 20"):
        (reply,) = await stage.call(order.model_copy(update={"code": code}))
        assert reply.error is None
    plain = CreateBooking(**{name: getattr(order, name) for name in CreateBooking.model_fields})
    assert await error_of(stage, plain) == ["idempotency_key_reused"]
    assert await counts(stage, id) == (1, 0)


async def test_what_the_release_before_has_changed_is_counted_anew(stage: Stage) -> None:
    show = await stage.show()
    (id,) = await new_codes(stage, show, percent_off=20, uses_max=1, uses_per_owner=1)
    (ended,) = await stage.book(by_code(show.order()))
    # As a process does that does not know the columns of codes: it ends the booking, and sells to late money.
    await stage.rows("UPDATE bookings SET status = 'cancelled', expires_at = NULL WHERE id = $1", ended.id)
    async with stage.store.reading() as rows:
        assert await rows.codes.recount(10) == 1
    assert await counts(stage, id) == (0, 0)
    await stage.book(bob(show))
    await stage.rows("UPDATE bookings SET status = 'confirmed', amount_captured = amount WHERE id = $1", ended.id)
    async with stage.store.reading() as rows:
        assert await rows.codes.recount(10) == 1
    (row,) = await stage.rows("SELECT held, used, uses_max FROM promo_codes")
    assert tuple(row) == (1, 1, 2)
    await stage.rows("UPDATE ticket_types SET held = 1, sold = 1")


async def test_a_repair_counts_anew(stage: Stage) -> None:
    show = await stage.show()
    (id,) = await new_codes(stage, show, percent_off=20, uses_max=1)
    await stage.book(by_code(show.order()))
    await stage.rows("UPDATE promo_codes SET held = 0, used = 1")
    await stage.rows("UPDATE promo_code_owners SET uses = 0")
    with pytest.raises(AssertionError):
        await stage.audit()
    async with stage.database.connection() as connection:
        for key in (str(id), f"{id}:alice"):
            assert await count_anew(connection, [Action(Kind.PROMO_CODE, key)]) == []


# --- when it is good, and for whom --------------------------------------------------------------------------


async def test_a_code_is_good_between_its_times_and_while_it_is_active(stage: Stage) -> None:
    show, now = await stage.show(), stage.clock()
    hour = timedelta(hours=1)
    await new_codes(stage, show, "early", percent_off=20, valid_from=now + hour)
    await new_codes(stage, show, "late", percent_off=20, valid_until=now - hour)
    await new_codes(stage, show, "off", percent_off=20, active=False)
    other = await stage.show()
    orders = [by_code(show.order(), code) for code in ("early", "late", "off", "unknown")]
    wanted = ["code_not_valid_yet", "code_expired", "code_not_found", "code_not_found"]
    assert await error_of(stage, *orders) == wanted
    assert await error_of(stage, by_code(other.order(), "early")) == ["code_not_found"]
    quotes = [GetQuote(owner="a", event_id=each.event_id, items=each.items, code=each.code) for each in orders]
    assert await error_of(stage, *quotes) == wanted


async def test_a_quote_is_what_a_booking_would_cost_and_holds_nothing(stage: Stage) -> None:
    show = await stage.show()
    (id,) = await new_codes(stage, show)
    order = by_code(show.order(2), "SUMMER20")
    (reply,) = await stage.call(GetQuote(owner="a", event_id=show.id, items=order.items, code=order.code))
    quote = resources.Quote.model_validate(reply.result)
    assert (quote.subtotal, quote.discount, quote.amount, quote.code) == (5000, 1000, 4000, SUMMER)
    assert (await stage.seats(show), await counts(stage, id)) == ([(0, 0)], (0, 0))
    await stage.book(order.model_copy(update={"expected_amount": quote.amount}))
    too_many = (ItemRequest(ticket_type_id=show.types[0], quantity=9),)
    assert await error_of(stage, GetQuote(owner="a", event_id=show.id, items=too_many)) == ["sold_out"]


# --- hidden ticket types ------------------------------------------------------------------------------------


async def hidden_show(stage: Stage) -> Show:
    """A show whose second ticket type is hidden, and unlocked by the code `friends`."""
    message = new_event(10, 10)
    types = (message.ticket_types[0], message.ticket_types[1].model_copy(update={"hidden": True}))
    (reply,) = await stage.call(message.model_copy(update={"ticket_types": types}))
    assert [each["hidden"] for each in reply.result["ticket_types"]] == [False, True]
    show = Show(message.event_id, tuple(each.id for each in types))
    await new_codes(stage, show, "friends", unlocks=show.types[1:])
    await new_codes(stage, show)
    return show


async def test_a_hidden_ticket_type_is_answered_like_one_that_does_not_exist(stage: Stage) -> None:
    show = await hidden_show(stage)
    hidden, unknown = (show.order(type=id) for id in (show.types[1], uuid4()))
    for order in (hidden, unknown):
        quote = GetQuote(owner="a", event_id=show.id, items=order.items)
        for message in (order, by_code(order), quote, quote.model_copy(update={"code": SUMMER})):
            (reply,) = await stage.call(message)
            assert (reply.error, reply.extra) == ("ticket_type_not_found", {})
    await stage.book(by_code(hidden, "friends"))
    # The only ticket type that everybody sees need not be named.
    (booking,) = await stage.book(show.order().model_copy(update={"items": (ItemRequest(quantity=1),)}))
    assert booking.items[0].ticket_type_id == show.types[0]


async def test_no_answer_and_no_notification_has_a_hidden_ticket_type_or_shows_that_it_sells(stage: Stage) -> None:
    show = await hidden_show(stage)
    await stage.listen(show)
    asked = (GetEvent(event_id=show.id, details=True), ListEvents(limit=10, starts_from=stage.clock()))
    before = [(await stage.call(message))[0].result for message in asked]
    await stage.book(by_code(show.order(type=show.types[1]), "friends"))
    after = [(await stage.call(message))[0].result for message in asked]
    assert before == after
    assert str(show.types[1]) not in str(after)
    (changed,) = await _notified(stage)
    assert (str(show.types[1]) in str(changed.event), str(show.types[1]) in str(changed.operators)) == (False, True)


async def _notified(stage: Stage) -> list[Any]:
    published: list[Any] = []
    publish = stage.bus.publish

    async def keep(envelopes: Any) -> None:
        published.extend(each.message for each in envelopes)
        await publish(envelopes)

    stage.bus.publish = keep  # type: ignore[method-assign]
    await stage.availability.run_once()
    return published


async def test_who_has_the_code_sees_what_it_unlocks(stage: Stage) -> None:
    show = await hidden_show(stage)
    (reply,) = await stage.call(GetEvent(event_id=show.id, code="Friends"))
    assert [each["id"] for each in reply.result["ticket_types"]] == [str(id) for id in show.types]
    (reply,) = await stage.call(GetEvent(event_id=show.id, code=SUMMER))
    assert [each["id"] for each in reply.result["ticket_types"]] == [str(show.types[0])]
    assert await error_of(stage, GetEvent(event_id=show.id, code="enemies")) == ["code_not_found"]


async def test_the_public_version_grows_when_a_ticket_type_is_hidden_and_shown_again(stage: Stage) -> None:
    show = await stage.show(10, 10)
    await stage.book(show.order(type=show.types[1]))
    versions = []
    for hidden in (False, True, True, False):
        change = TicketTypeChange(id=show.types[1], new=False, hidden=hidden)
        (reply,) = await stage.call(UpdateEvent(event_id=show.id, changes=EventChanges(), ticket_types=(change,)))
        assert reply.error is None
        versions.append((await stage.call(GetEvent(event_id=show.id)))[0].result["version"])
    assert versions == sorted(versions)
    assert len(set(versions)) == 3


async def test_what_is_hidden_is_no_longer_sold_from_memory(stage: Stage) -> None:
    show = await stage.show(10, 10)
    await stage.book(show.order(type=show.types[1]))
    elsewhere = Stage.build(stage.database, stage.redis)
    change = TicketTypeChange(id=show.types[1], new=False, hidden=True)
    await elsewhere.call(UpdateEvent(event_id=show.id, changes=EventChanges(), ticket_types=(change,)))
    assert await error_of(stage, show.order(type=show.types[1])) == ["ticket_type_not_found"]


async def test_operators_sell_what_is_hidden_at_the_box_office(stage: Stage) -> None:
    show = await hidden_show(stage)
    sale = BoxOfficeSale(BoxOfficeMethod.CASH, None)
    items = (ItemRequest(ticket_type_id=show.types[1], quantity=1),)
    assert await error_of(
        stage, SellSeats(booking_id=uuid4(), owner="o", event_id=show.id, items=items, sale=sale)
    ) == [None]


# --- what operators do --------------------------------------------------------------------------------------


async def test_codes_are_listed_changed_and_in_the_events_history_with_who_did_it(stage: Stage) -> None:
    show = await stage.show()
    by = OperatorRequest(subject="ann", operation="POST /codes", key="k", content_hash="h")
    made = CreatePromoCodes(
        event_id=show.id,
        codes=(NewPromoCode(id=uuid4(), code="VIP-1"), NewPromoCode(id=uuid4(), code="VIP-2")),
        terms=CodeTerms(amount_off=500, uses_max=1),
        request=by,
    )
    answers = [(await stage.call(made.model_copy(update={"codes": made.codes[::order]})))[0] for order in (1, -1)]
    assert answers[0].result == answers[1].result
    change = UpdatePromoCode(
        event_id=show.id, code_id=made.codes[0].id, changes=CodeTerms(uses_max=2, active=False)
    )
    (reply,) = await stage.call(change)
    assert (reply.result["uses_max"], reply.result["active"], reply.result["amount_off"]) == (2, False, 500)
    (page,) = await stage.call(ListPromoCodes(event_id=show.id, limit=1))
    (rest,) = await stage.call(ListPromoCodes(event_id=show.id, limit=9, after=page.result["next"][0]))
    listed = [each["code"] for each in (*page.result["items"], *rest.result["items"])]
    assert listed == ["VIP-1", "VIP-2"]
    (one,) = await stage.call(ListPromoCodes(event_id=show.id, limit=9, code="vip 2"))
    assert [each["code"] for each in one.result["items"]] == ["VIP-2"]
    (history,) = await stage.call(GetEventHistory(event_id=show.id, limit=9))
    _, created, changed = history.result["items"]
    assert created["by"] == "ann"
    assert {(each["field"], each["code"], each["new"]) for each in created["changes"]} >= {
        ("codes", "VIP-1", 2), ("amount_off", "VIP-1", 500),
    }  # fmt: skip
    assert {(each["field"], each["old"], each["new"]) for each in changed["changes"]} == {
        ("uses_max", 1, 2), ("active", True, False),
    }  # fmt: skip


async def test_codes_that_differ_in_spelling_alone_are_one(stage: Stage) -> None:
    show = await stage.show()
    await new_codes(stage, show)
    (reply,) = await stage.call(
        CreatePromoCodes(
            event_id=show.id,
            codes=(NewPromoCode(id=uuid4(), code="new"), NewPromoCode(id=uuid4(), code="SUMMER 20")),
            terms=CodeTerms(percent_off=5),
        )
    )
    assert reply.error == "code_exists"
    assert len((await stage.call(ListPromoCodes(event_id=show.id, limit=9)))[0].result["items"]) == 1
    assert code_key(" sum-mer 2 0") == code_key(SUMMER)


@pytest.mark.parametrize(
    ("terms", "fault"),
    [
        ({}, "does_nothing"),
        ({"percent_off": 5, "amount_off": 5}, "one_discount"),
        ({"unlocks": (UUID(int=7),)}, "ticket_type_unknown"),
        ({"percent_off": 5, "ticket_types": (UUID(int=7),)}, "ticket_type_unknown"),
        (
            {
                "percent_off": 5,
                "valid_from": datetime(2030, 1, 1, tzinfo=UTC),
                "valid_until": datetime(2030, 1, 1, tzinfo=UTC),
            },
            "date_before_start",
        ),
    ],
)
async def test_a_code_that_does_nothing_or_not_what_it_says_is_refused(
    stage: Stage, terms: dict[str, Any], fault: str
) -> None:
    show = await stage.show()
    codes = (NewPromoCode(id=uuid4(), code="X"),)
    (reply,) = await stage.call(CreatePromoCodes(event_id=show.id, codes=codes, terms=CodeTerms(**terms)))
    assert (reply.error, reply.extra["errors"][0]["type"]) == ("invalid_request", fault)


async def test_a_code_is_not_limited_to_less_than_its_uses_and_new_terms_are_those_of_later_bookings(
    stage: Stage,
) -> None:
    show = await stage.show()
    (id,) = await new_codes(stage, show)
    (booking,) = await stage.book(by_code(show.order()))
    await stage.book(bob(show))

    def update(**changes: Any) -> UpdatePromoCode:
        return UpdatePromoCode(event_id=show.id, code_id=id, changes=CodeTerms(**changes))

    (reply,) = await stage.call(update(uses_max=1))
    assert (reply.error, reply.extra) == ("uses_below_used", {"uses": 2})
    (reply,) = await stage.call(update(percent_off=50, uses_max=3))
    assert reply.error is None
    (later,) = await stage.book(by_code(show.order()))
    assert (booking.amount, later.amount) == (2000, 1250)
    assert await error_of(stage, by_code(show.order())) == ["code_used_up"]
    elsewhere = await stage.show()
    wrong = update(active=False).model_copy(update={"event_id": elsewhere.id})
    assert await error_of(stage, wrong) == ["code_not_found"]
    assert [
        each.booking.id for each in of(await stage.give(report(later, IntentStatus.SUCCEEDED, 1)), BookingChanged)
    ]
