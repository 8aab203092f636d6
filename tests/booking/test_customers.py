"""Whom a booking is for: given when it is made, set later, shown to its owner and operators, searched, compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from booking.domain import TABLE, decide
from booking.rules import Decision
from booking.triggers import SetCustomer as Asked
from booking.triggers import Trigger
from common.contracts.codes import reference_of
from common.contracts.messages import (
    BookingChanged,
    CancelBooking,
    CreateBooking,
    CreatePaymentIntent,
    EventChanges,
    GetBooking,
    ListBookings,
    OperatorRequest,
    Reply,
    SetCustomer,
    UpdateEvent,
)
from common.contracts.resources import Booking
from common.contracts.statuses import BookingStatus, CancelReason
from common.contracts.values import INTENT_DESCRIPTION_MAX, Customer
from tests.booking.samples import CUSTOMER, NOW, STATES, TERMS
from tests.booking.stage import Show, Stage, asked, of

OTHER = Customer("Grace Hopper", "grace@example.org", "en-US")
OPERATOR = OperatorRequest(subject="root", operation="PUT", key="k-1", content_hash="0" * 64)


def order(show: Show, customer: Customer | None = CUSTOMER, quantity: int = 1, **values: Any) -> CreateBooking:
    return show.order(quantity, **values).model_copy(update={"customer": customer})


def setting(
    booking: Booking, customer: Customer = OTHER, owner: str | None = "alice", **values: Any
) -> SetCustomer:
    request = None if owner is not None else OPERATOR
    return SetCustomer(booking_id=booking.id, owner=owner, customer=customer, request=request, **values)


async def shown(stage: Stage, booking: Booking, owner: str | None = "alice") -> Booking:
    (reply,) = await stage.call(GetBooking(booking_id=booking.id, owner=owner))
    return Booking.model_validate(reply.result)


# --- when it is made


async def test_a_customer_is_kept_and_shown_to_owner_and_operators(stage: Stage) -> None:
    show = await stage.show(10)
    (booking,) = await stage.book(order(show))
    assert booking.customer == CUSTOMER
    assert (await shown(stage, booking)).customer == CUSTOMER
    assert (await shown(stage, booking, None)).customer == CUSTOMER
    (other,) = await stage.call(GetBooking(booking_id=booking.id, owner="mallory"))
    assert (other.error, other.result) == ("not_found", None)


async def test_a_customer_may_have_more_of_a_later_release(stage: Stage) -> None:
    """Which runs beside this one during an upgrade."""
    (booking,) = await stage.book(order(await stage.show(10)))
    await stage.rows("""UPDATE bookings SET customer = customer || '{"title": "Countess"}'""")
    assert (await shown(stage, booking)).customer == CUSTOMER


async def test_a_booking_needs_no_customer(stage: Stage) -> None:
    (booking,) = await stage.book((await stage.show(10)).order())
    assert booking.customer is None
    assert (await stage.row(booking))["customer"] is None


async def test_stripe_is_asked_with_what_people_read(stage: Stage) -> None:
    """The reference, the event's name and the seats, as they were when it was booked; where the receipt goes."""
    show = await stage.show(10, 10, name="Opening night")
    request = order(show)
    items = show.order(2).items + show.order(1, type=show.types[1]).items
    (intent,) = of(await stage.give(request.model_copy(update={"items": items})), CreatePaymentIntent)
    reference = reference_of(request.booking_id)
    assert intent.description == f"{reference}: Opening night, 2 × Type 0, 1 × Type 1"
    assert intent.receipt_email == CUSTOMER.email


async def test_without_a_customer_stripe_sends_no_receipt(stage: Stage) -> None:
    (intent,) = of(await stage.give((await stage.show(10)).order()), CreatePaymentIntent)
    assert intent.receipt_email is None
    assert intent.description is not None


async def test_a_description_is_never_longer_than_stripe_takes(stage: Stage) -> None:
    show = await stage.show(10, name="A" * 200)
    many = tuple(show.order(1).items[0] for _ in range(9))
    request = show.order(1).model_copy(update={"items": many})
    (intent,) = of(await stage.give(request), CreatePaymentIntent)
    assert intent.description is not None
    assert len(intent.description) == INTENT_DESCRIPTION_MAX
    assert intent.description.startswith(reference_of(request.booking_id))
    assert intent.description.endswith("…")


async def test_what_costs_nothing_is_described_to_nobody(stage: Stage) -> None:
    (booking,) = await stage.book(order(await stage.show(10, unit_amount=0)))
    assert (await stage.row(booking))["description"] is None


async def test_an_intent_that_is_asked_for_again_has_the_same_description(stage: Stage) -> None:
    """The event was renamed in between. The first message may have been lost."""
    show = await stage.show(10, name="Opening night")
    (first,) = of(await stage.give(order(show)), CreatePaymentIntent)
    await stage.give(UpdateEvent(event_id=show.id, changes=EventChanges(name="Matinee")))
    await stage.rows("UPDATE bookings SET settle_after = now() - interval '1 s'")
    await stage.reconcile_now()
    entries: Any = await stage.redis.xrange("payment.intents")
    again = CreatePaymentIntent.model_validate_json(entries[-1][1][b"data"])
    assert again == first


# --- the same request again


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("first", [CUSTOMER, None])
@pytest.mark.parametrize(
    "second",
    [
        CUSTOMER,
        None,
        replace(CUSTOMER, name="Ada"),
        replace(CUSTOMER, email="lovelace@example.com"),
        replace(CUSTOMER, locale="de"),
        replace(CUSTOMER, phone=None),
    ],
)
async def test_the_customer_is_part_of_the_request(
    stage: Stage, first: Customer | None, second: Customer | None, memory: bool
) -> None:
    show, id = await stage.show(10), uuid4()
    if not memory:
        stage = Stage.build(stage.database, stage.redis, memory_max=0)
    await stage.book(order(show, first, id=id))
    (reply,) = await stage.call(order(show, second, id=id))
    assert reply.error == (None if first == second else "idempotency_key_reused")


async def test_a_request_is_recognized_after_the_customer_was_changed(stage: Stage) -> None:
    """It is answered with the booking as it is now, and another customer is still another request."""
    show, id = await stage.show(10), uuid4()
    (booking,) = await stage.book(order(show, id=id))
    await stage.give(setting(booking))
    (same, other) = await stage.call(order(show, id=id), order(show, OTHER, id=id))
    assert Booking.model_validate(same.result["booking"]).customer == OTHER
    assert other.error == "idempotency_key_reused"


async def test_a_booking_of_a_release_without_customers_is_found_by_a_request_with_one(stage: Stage) -> None:
    """A process of that release has ignored it."""
    show, id = await stage.show(10), uuid4()
    await stage.book(order(show, None, id=id))
    await stage.rows("UPDATE bookings SET customer_digest = NULL")
    (reply,) = await stage.call(order(show, id=id))
    assert reply.error is None


# --- set later


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("customer", [OTHER, None])
def test_a_customer_is_set_in_every_state(state: str, customer: Customer | None) -> None:
    """Nothing else changes. What is erased is no longer compared with a repeated request."""
    before = STATES[state]._replace(customer=CUSTOMER, customer_digest="0" * 16)
    digest = None if customer is None else before.customer_digest
    decision = decide(before, Asked(customer), NOW, TERMS)
    after = decision.booking
    assert (after.customer, after.customer_digest, after.version) == (customer, digest, before.version + 1)
    left: dict[str, Any] = {"customer": CUSTOMER, "customer_digest": before.customer_digest}
    unseen = {name: getattr(before, name) for name in ("version", "updated_at", "retry_at", "retry_count")}
    assert after._replace(**left, **unseen) == before
    assert (decision.follow_ups, decision.unexpected) == ((), False)
    assert decide(after, Asked(customer), NOW, TERMS) == Decision(after)


def test_every_status_has_the_row() -> None:
    assert {status for status, trigger in TABLE if trigger is Trigger.SET_CUSTOMER} == set(BookingStatus)


@pytest.mark.parametrize("owner", ["alice", None])
async def test_owner_and_box_office_set_the_customer(stage: Stage, owner: str | None) -> None:
    """A change like any other: a version, a transition with who asked, a notification. Payment has no part."""
    booking = await stage.pending(await stage.show(10))
    envelopes = await stage.give(setting(booking, owner=owner))
    (reply,) = of(envelopes, Reply)
    assert Booking.model_validate(reply.result).customer == OTHER
    (changed,) = of(envelopes, BookingChanged)
    assert (changed.owner, changed.booking.customer, changed.booking.version) == (
        "alice",
        OTHER,
        booking.version + 1,
    )
    assert asked(envelopes) == []
    query = "SELECT from_status, to_status, cause_type, by FROM booking_transitions ORDER BY version DESC LIMIT 1"
    assert tuple((await stage.rows(query))[0]) == ("pending", "pending", "booking.set_customer", owner or "root")
    await stage.audit()


async def test_nobody_sets_the_customer_of_anothers_booking(stage: Stage) -> None:
    booking = await stage.pending(await stage.show(10))
    for message in (setting(booking, owner="mallory"), setting(booking.model_copy(update={"id": uuid4()}))):
        assert [reply.error for reply in await stage.call(message)] == ["not_found"]
    assert (await shown(stage, booking)).customer is None


async def test_the_same_customer_again_changes_nothing(stage: Stage) -> None:
    booking = await stage.pending(await stage.show(10))
    await stage.give(setting(booking))
    before = await stage.row(booking)
    envelopes = await stage.give(setting(booking))
    assert dict(await stage.row(booking)) == dict(before)
    (changed,) = of(envelopes, BookingChanged)  # published again: the first notification may be lost
    assert changed.booking.version == before["version"]


async def test_a_customer_is_set_for_one_version(stage: Stage) -> None:
    """What was done already is answered as done, if its message comes again."""
    booking = await stage.pending(await stage.show(10))
    message = setting(booking, if_match=(booking.version,))
    assert [reply.error for reply in await stage.call(message)] == [None]
    assert [reply.error for reply in await stage.call(message)] == [None]
    (late,) = await stage.call(setting(booking, CUSTOMER, if_match=(booking.version,)))
    assert late.error == "precondition_failed"
    assert (await shown(stage, booking)).customer == OTHER


async def test_reports_keep_the_customer(stage: Stage) -> None:
    """From memory, and by the locked path."""
    for memory_max in (100, 0):
        stage = Stage.build(stage.database, stage.redis, memory_max=memory_max)
        show = await stage.show(10)
        (booking,) = await stage.book(order(show))
        await stage.give(setting(booking))
        paid = await stage.confirmed(show)
        await stage.give(setting(paid, CUSTOMER))
        assert (await shown(stage, paid)).customer == CUSTOMER
        assert (await shown(stage, booking)).customer == OTHER


async def test_a_kept_answer_has_no_customer(stage: Stage) -> None:
    """So that it is erased in one place. The repeated request is answered with the customer as it is now."""
    (booking,) = await stage.book(order(await stage.show(10)))
    request = OPERATOR.model_copy(update={"operation": "cancel"})
    reason = CancelReason.BY_OPERATOR
    cancel = CancelBooking(booking_id=booking.id, owner=None, reason=reason, request=request)
    (first,) = await stage.call(cancel)
    assert Booking.model_validate(first.result).customer == CUSTOMER
    kept = await stage.rows("SELECT answer FROM operator_requests")
    assert not any(CUSTOMER.email in row["answer"] for row in kept)
    assert await stage.call(cancel) == [first]
    await stage.give(setting(booking))
    (again,) = await stage.call(cancel)
    assert {**again.result, "customer": None} == {**first.result, "customer": None}
    assert again.result["customer"]["email"] == OTHER.email


# --- found by operators


async def found(stage: Stage, **wanted: Any) -> set[UUID]:
    ids: set[UUID] = set()
    before = None
    while True:  # two on a page
        (reply,) = await stage.call(ListBookings(owner=None, operator=True, limit=2, before=before, **wanted))
        ids |= {Booking.model_validate(each).id for each in reply.result["items"]}
        if (before := reply.result["next"]) is None:
            return ids


@pytest.fixture
async def three(stage: Stage) -> dict[str, UUID]:
    """Bookings of three customers, and one without."""
    show = await stage.show(10)
    customers = {
        "ada": CUSTOMER,
        "grace": OTHER,
        "jean": Customer("Jean-Luc O'Brien", "JEAN@example.com", "fr"),
        "nobody": None,
    }
    booked = await stage.book(*(order(show, each, owner=name) for name, each in customers.items()))
    return {name: booking.id for name, booking in zip(customers, booked, strict=True)}


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("Ada Lovelace", "ada"),
        ("ada", "ada"),
        ("LOVE", "ada"),
        ("love ada", "ada"),
        ("ada hopper", ""),
        ("hopp", "grace"),
        ("opper", ""),
        ("jean-luc", "jean"),
        ("Jean-L", "jean"),
        ("o'brien", "jean"),
        ("brien", "jean"),
        ("a", "ada"),
        ("' | !x & (", ""),
        ("l:*", "ada jean"),
        ("%", ""),
        (" ", ""),
    ],
)
async def test_bookings_are_found_by_beginnings_of_their_customers_names(
    stage: Stage, three: dict[str, UUID], name: str, names: str
) -> None:
    assert await found(stage, name=name) == {three[each] for each in names.split()}


@pytest.mark.parametrize(
    ("email", "name"),
    [("ada@example.com", "ada"), ("ADA@Example.com", "ada"), ("jean@example.com", "jean"), ("da@example.com", "")],
)
async def test_bookings_are_found_by_their_customers_whole_email(
    stage: Stage, three: dict[str, UUID], email: str, name: str
) -> None:
    assert await found(stage, email=email) == {three[each] for each in name.split()}


async def test_bookings_are_found_by_reference_and_intent(stage: Stage, three: dict[str, UUID]) -> None:
    id = three["ada"]
    assert await found(stage, reference=reference_of(id)) == {id}
    assert await found(stage, reference=reference_of(id).lower().replace("-", " ")) == {id}
    assert await found(stage, reference="no reference") == set()
    await stage.rows("UPDATE bookings SET intent_id = 'pi_1' WHERE id = $1", id)
    assert await found(stage, intent_id="pi_1") == {id}
    assert await found(stage, intent_id="pi_2") == set()


async def test_bookings_with_one_reference_are_all_found(stage: Stage) -> None:
    """Newest first, in pages; with the other filters, too."""
    show = await stage.show(10)
    ids = {UUID(int=5 << 88 | number) for number in range(5)}
    for id in ids:
        await stage.book(order(show, id=id))
    await stage.book(order(show, id=UUID(int=6 << 88)))
    assert await found(stage, reference=reference_of(UUID(int=5 << 88))) == ids
    assert await found(stage, reference=reference_of(UUID(int=5 << 88)), status=BookingStatus.CONFIRMED) == set()
    assert await found(stage, email=CUSTOMER.email, reference=reference_of(UUID(int=6 << 88))) == {
        UUID(int=6 << 88)
    }
